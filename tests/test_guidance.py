"""Guidance of outlooks: losses by hand and against Eq. 14."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from soilcast.water.guidance import against_rain, against_water, beyond_bounds
from soilcast.water.losses import Outcome, physical_loss

moisture = st.floats(0, 1)


def test_movement_against_the_water_by_hand() -> None:
    increment = torch.tensor([[-0.1, 0.1, 0.2], [-0.2, 0.3, 0.0]])
    sign = torch.tensor([[1.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
    expected = torch.tensor([[0.01, 0.0, 0.04], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(against_water(increment, sign), expected)


@given(st.lists(st.tuples(moisture, moisture, st.sampled_from([-1.0, 0.0, 1.0])), min_size=1))
def test_on_the_first_lead_it_is_equation_14(rows: list[tuple[float, float, float]]) -> None:
    predicted, before, sign = (torch.tensor(column, dtype=torch.float64) for column in zip(*rows, strict=True))
    of_level = physical_loss(Outcome(predicted, before, before, sign))
    torch.testing.assert_close(against_water(predicted - before, sign).mean(), of_level)


def test_one_step_down_the_slope_moves_with_the_water() -> None:
    increment = torch.tensor([-0.1, 0.1], requires_grad=True)
    against_water(increment, torch.tensor([1.0, -1.0])).sum().backward()
    assert increment.grad is not None
    assert increment.grad[0] < 0 < increment.grad[1]


def test_excess_beyond_the_bounds_by_hand() -> None:
    level = torch.tensor([0.5, 0.4, 0.05, -0.1, 0.0])
    porosity = torch.tensor([0.4, 0.4, 0.4, 0.4, 0.4])
    torch.testing.assert_close(beyond_bounds(level, porosity), torch.tensor([0.01, 0.0, 0.0, 0.01, 0.0]))
    torch.testing.assert_close(
        beyond_bounds(level, porosity, lowest=0.1), torch.tensor([0.01, 0.0, 0.0025, 0.04, 0.01])
    )


def test_bounds_of_each_cell_spread_over_leads() -> None:
    level = torch.tensor([[0.5, 0.3], [0.5, 0.3]])
    excess = beyond_bounds(level, torch.tensor([[0.4], [0.6]]), torch.tensor([[0.0], [0.4]]))
    torch.testing.assert_close(excess, torch.tensor([[0.01, 0.0], [0.0, 0.01]]))


def test_drying_by_more_rain_by_hand() -> None:
    torch.testing.assert_close(against_rain(torch.tensor([0.2, 0.0, -0.3])), torch.tensor([0.0, 0.0, 0.09]))


@given(st.lists(st.tuples(moisture, st.floats(0, 0.5)), min_size=1))
def test_forecasts_that_do_nothing_wrong_cost_nothing(rows: list[tuple[float, float]]) -> None:
    level, change = (torch.tensor(column) for column in zip(*rows, strict=True))
    assert not against_water(change, torch.ones_like(change)).any()
    assert not beyond_bounds(level, torch.ones_like(level)).any()
    assert not against_rain(change).any()
