"""A batch split over threads: the same forecasts and gradients as in one thread, and faults that arrive."""

from __future__ import annotations

import pytest
import torch

from soilcast.models import lstm_kernel
from soilcast.models.backends import make_backend
from soilcast.models.thread_pool import SplitBackend, ThreadPool
from tests.helpers.designs import CASES

pytestmark = pytest.mark.skipif(lstm_kernel.library() is None, reason="soilcast was installed without a compiler")


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("parts", [2, 3])
def test_threads_give_what_one_thread_gives(name: str, parts: int) -> None:
    case = CASES[name]
    stacked = case.stacked()
    alone, pool = make_backend(stacked), ThreadPool(parts)
    split = SplitBackend(stacked, make_backend, pool, parts)
    for number, samples in enumerate((16, 5, 16)):
        windows, grad, mask = case.windows(samples, number), case.grad(samples, number), case.mask(samples, number)
        torch.testing.assert_close(split.forward(windows, mask), alone.forward(windows, mask), atol=1e-6, rtol=1e-5)
        for one in (None, mask):
            torch.testing.assert_close(split.infer(windows, one), alone.infer(windows, one), atol=1e-6, rtol=1e-5)
        alone.backward(grad)
        expected = stacked.gradients.clone()
        split.backward(grad)
        assert (expected != 0).any()
        torch.testing.assert_close(stacked.gradients, expected, atol=2e-5, rtol=1e-4)
    pool.close()


def test_sequences_go_through_one_thread() -> None:
    stacked, sequences = CASES["an ensemble of the paper's"].stacked(), torch.rand(3, 12, 3)
    pool = ThreadPool(2)
    split = SplitBackend(stacked, make_backend, pool, 2)
    assert torch.equal(split.predict_windows(sequences, 7), make_backend(stacked).predict_windows(sequences, 7))
    pool.close()


def test_a_fault_in_a_thread_is_raised_where_the_work_was_asked_for() -> None:
    pool = ThreadPool(3)
    with pytest.raises(ZeroDivisionError):
        pool.run([int, int, lambda: 1 // 0])
    with pytest.raises(ZeroDivisionError):
        pool.run([lambda: 1 // 0, int, int])
    assert pool.run([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]
    pool.close()
