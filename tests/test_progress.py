"""Progress of long work in a log: a line now and then, none of quick work."""

from __future__ import annotations

import itertools

import pytest

from soilcast import progress
from soilcast.progress import progress_bar


def printed(capsys: pytest.CaptureFixture[str], *, shown: bool = True) -> list[str]:
    """Do the last five of ten units of work."""
    with progress_bar("training", 10, shown=shown, done=5) as advance:
        for unit in range(5):
            advance(f"loss {unit}")
    return capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(("seconds", "lines"), [(1.0, 0), (10.0, 1), (40.0, 5)])
def test_a_line_is_printed_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: float, lines: int
) -> None:
    clock = itertools.count(100.0, seconds)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    found = printed(capsys)
    assert len(found) == lines
    if lines == 5:
        assert found[0] == "training 6/10, 0:02:40 left: loss 0"
        assert found[-1] == "training 10/10, 0:00:00 left: loss 4"


def test_nothing_is_printed_unless_wished(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    assert printed(capsys, shown=False) == []
