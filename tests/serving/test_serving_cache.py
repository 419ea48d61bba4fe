"""The cache holds no more than it may, and makes each value once."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soilcast.serving.cache import Cache

KIB = 1024


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 40 * KIB)), max_size=60))
def test_holds_no_more_than_its_limit_and_gives_what_was_made(asked: list[tuple[int, int]]) -> None:
    cache, sizes = Cache(100 * KIB), {}
    for key, size in asked:
        found = cache.get(key, lambda size=size: bytes(size), len)
        assert len(found) == sizes.setdefault(key, len(found)) or len(found) == size
        sizes[key] = len(found)
        assert cache.held <= cache.limit
    assert cache.held == sum(size for _, size in cache._kept.values())


def test_the_least_recently_used_goes_first() -> None:
    cache = Cache(50 * KIB)
    for key in "abcd":
        cache.get(key, lambda: bytes(12 * KIB), len)
    cache.get("a", lambda: pytest.fail("a was kept"), len)
    cache.get("e", lambda: bytes(12 * KIB), len)
    cache.get("a", lambda: pytest.fail("a was used last but one"), len)
    made = []
    cache.get("b", lambda: made.append(1) or b"", len)
    assert made, "b was used least recently, and is made anew"


def test_what_is_too_large_is_given_and_not_kept() -> None:
    cache = Cache(40 * KIB)
    assert len(cache.get("large", lambda: bytes(20 * KIB), len)) == 20 * KIB
    assert cache.held == 0


def test_many_threads_make_a_value_once() -> None:
    cache, made, together = Cache(KIB), [], threading.Barrier(8)
    go = threading.Event()
    found: list[bytes] = []

    def make() -> bytes:
        go.wait(60)
        made.append(1)
        return b"value"

    def ask() -> None:
        together.wait(60)
        found.append(cache.get("key", make, len))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join(60)
    assert found == [b"value"] * 8
    assert len(made) == 1


def test_a_failure_is_told_and_not_kept() -> None:
    cache = Cache(KIB)
    with pytest.raises(OSError, match="gone"):
        cache.get("key", lambda: (_ for _ in ()).throw(OSError("gone")), len)
    assert cache.get("key", lambda: b"there again", len) == b"there again"
