"""A batch split over threads: the same forecasts and slopes as in one thread, and faults that arrive."""

from __future__ import annotations

import pytest
import torch

from soilcast.models import LSTM, cell
from soilcast.models.members import Members
from soilcast.models.passes import make_pass
from soilcast.models.team import SplitPass, Team

pytestmark = pytest.mark.skipif(not cell.is_compiled(), reason="soilcast was installed without a compiler")


@pytest.mark.parametrize("parts", [2, 3])
def test_a_team_gives_what_one_thread_gives(parts: int) -> None:
    stacked = Members([LSTM(3, 8, dropout=0.0) for _ in range(2)])
    alone, team = make_pass(stacked), Team(parts)
    split = SplitPass(stacked, make_pass, team, parts)
    for samples in (16, 5, 16):
        windows, slope, kept = torch.randn(2, 7, samples, 3), torch.randn(2, samples), torch.rand(2, samples, 8)
        torch.testing.assert_close(split.forward(windows, kept), alone.forward(windows, kept), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(split.infer(windows), alone.infer(windows), atol=1e-6, rtol=1e-5)
        alone.backward(slope)
        expected = stacked.slopes.clone()
        split.backward(slope)
        torch.testing.assert_close(stacked.slopes, expected, atol=2e-5, rtol=1e-4)
    team.close()


def test_a_fault_in_a_team_is_raised_where_the_work_was_asked_for() -> None:
    team = Team(3)
    with pytest.raises(ZeroDivisionError):
        team.do([int, int, lambda: 1 // 0])
    with pytest.raises(ZeroDivisionError):
        team.do([lambda: 1 // 0, int, int])
    assert team.do([lambda: 1, lambda: 2, lambda: 3]) == [1, 2, 3]
    team.close()
