"""The losses of Eq. 8, 9 and 14: hand-worked cases, float64 references, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soilcast.water.losses import LOSSES, LossWithSlope, Outcome, physical_loss, rmse_loss


def outcome(predicted: list[float], observed: list[float], before: list[float], sign: list[float]) -> Outcome:
    return Outcome(*(torch.tensor(part, dtype=torch.float64) for part in (predicted, observed, before, sign)))


def test_rmse_by_hand() -> None:
    assert rmse_loss(outcome([0.1, 0.4], [0.2, 0.2], [0, 0], [0, 0])).item() == pytest.approx(np.sqrt(0.05 / 2))


def test_physical_loss_by_hand() -> None:
    # More water, but 0.05 drier: counts. More water and wetter, less and drier: do not. No change of W: does not.
    one = outcome([0.15, 0.30, 0.10, 0.90], [0.2] * 4, [0.20, 0.20, 0.20, 0.20], [1, 1, -1, 0])
    assert physical_loss(one).item() == pytest.approx(0.05**2 / 4)


def test_weights_of_equation_8() -> None:
    one = outcome([0.15, 0.30], [0.2, 0.2], [0.2, 0.2], [1, 1])
    total, parts = LOSSES["water_balance"]((0.3, 0.7))(one)
    assert total.item() == pytest.approx(0.3 * parts["rmse"].item() + 0.7 * parts["physical"].item())
    plain, _ = LOSSES["rmse"]((1.0, 0.0))(one)
    assert plain.item() == pytest.approx(rmse_loss(one).item())


numbers = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from([-1.0, 0.0, 1.0])),
    min_size=1,
    max_size=20,
)


@given(numbers)
def test_losses_equal_plain_loops(rows: list[tuple[float, float, float, float]]) -> None:
    squares = [(seen - said) ** 2 for said, seen, _, _ in rows]
    against = [max(0.0, sign * (before - said)) ** 2 for said, _, before, sign in rows]
    one = outcome(*(list(column) for column in zip(*rows, strict=True)))
    assert rmse_loss(one).item() == pytest.approx(np.sqrt(np.mean(squares)), abs=2e-8)
    assert physical_loss(one).item() == pytest.approx(np.mean(against), abs=1e-15)


def test_a_perfect_batch_has_finite_slopes() -> None:
    predicted = torch.full((4,), 0.2, requires_grad=True)
    same = torch.full((4,), 0.2)
    total, _ = LOSSES["water_balance"]((0.5, 0.5))(Outcome(predicted, same, same, torch.ones(4)))
    total.backward()
    assert predicted.grad is not None
    assert torch.isfinite(predicted.grad).all()


def test_the_physical_loss_pushes_with_the_water() -> None:
    """One step down the slope raises a forecast that fell while W grew, and lowers one that rose while W fell."""
    predicted = torch.tensor([0.1, 0.3], requires_grad=True)
    before = torch.tensor([0.2, 0.2])
    physical_loss(Outcome(predicted, before, before, torch.tensor([1.0, -1.0]))).backward()
    assert predicted.grad is not None
    assert predicted.grad[0] < 0 < predicted.grad[1]


@pytest.mark.parametrize("name", list(LOSSES))
@given(numbers)
def test_slopes_in_closed_form_are_those_of_autograd(name: str, rows: list[tuple[float, float, float, float]]) -> None:
    one = outcome(*(list(column) for column in zip(*rows, strict=True)))
    loss = LOSSES[name]((0.3, 0.7))
    assert isinstance(loss, LossWithSlope)
    leaf = one.predicted.clone().requires_grad_(True)
    expected, _ = loss(Outcome(leaf, one.observed, one.observed_before, one.water_sign))
    (by_autograd,) = torch.autograd.grad(expected, leaf)
    total, parts, slope = loss.with_slope(one)
    assert total.item() == expected.item()
    assert set(parts) == set(loss(one)[1])
    if rmse_loss(one) > 1e-7:  # below, the root's slope is cut off
        torch.testing.assert_close(slope, by_autograd, atol=1e-12, rtol=1e-9)


def test_a_loss_is_a_number_for_each_member() -> None:
    rows = [([0.15, 0.30], [0.2, 0.2], [0.2, 0.2], [1.0, 1.0]), ([0.1, 0.4], [0.2, 0.3], [0.0, 0.5], [-1.0, 0.0])]
    apart = [outcome(*row) for row in rows]
    together = Outcome(*(torch.stack([getattr(one, field) for one in apart]) for field in vars(apart[0])))
    loss = LOSSES["water_balance"]((0.3, 0.7))
    total, _, slope = loss.with_slope(together)
    for member, one in enumerate(apart):
        alone, _, its_slope = loss.with_slope(one)
        assert total[member] == alone
        assert torch.equal(slope[member], its_slope)
