"""Work that takes long leaves threads to quick answers."""

from __future__ import annotations

import threading

import pytest

from soilcast.serving.faults import BusyError
from soilcast.serving.turns import Turns
from tests.helpers.forks import wait_until


def test_some_work_some_wait_and_the_rest_is_refused() -> None:
    turns, go = Turns(2, 3), threading.Event()
    at_work: list[int] = []
    done: list[int] = []

    def work() -> None:
        with turns.turn():
            at_work.append(1)
            go.wait(60)
        done.append(1)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(at_work) == 2 and turns._there._value == 0)  # type: ignore[attr-defined]
    with pytest.raises(BusyError, match="ask again"), turns.turn():
        pytest.fail("too many are there")
    assert len(at_work) == 2
    go.set()
    for thread in threads:
        thread.join(60)
    assert len(done) == 5
    with turns.turn():
        pass
