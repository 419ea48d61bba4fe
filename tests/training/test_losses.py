"""The loss: Eq. 8, 9 and 14 of one lead or several, in every space, the penalties, and losses of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from soilcast.models.distributions import CMAL, Distribution, Point, Quantiles
from soilcast.training.losses import LOSSES, Guidance, Loss, Prediction, ScoreLoss, Targets, join_targets
from soilcast.training.statistics import Scaling, Statistics, column_depth, error_scale, layer_bounds
from soilcast.water.guidance import against_rain, against_water, beyond_bounds

RMSE = ScoreLoss(Point(), root=True)
LEVELS = (0.1, 0.5, 0.9)


def exact(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def column(values: Sequence[float]) -> Tensor:
    """One member's samples, of one lead and layer."""
    return exact(values).view(1, -1, 1, 1)


def paper(
    level: Sequence[float], observed: Sequence[float], previous: Sequence[float], sign: Sequence[float]
) -> tuple[Tensor, Targets]:
    """The output of the paper's network, and its targets."""
    targets = Targets(
        column(observed),
        column(previous).squeeze(-1),
        column(sign).squeeze(-1),
        depth=torch.ones(1, len(sign), 1).double(),
    )
    return column(level).unsqueeze(-1), targets


def guided(l1: float, l2: float) -> Loss:
    return Loss("rmse", RMSE, Guidance((l1, l2)))


def rmse_of(output: Tensor, targets: Targets) -> Tensor:
    return guided(1.0, 0.0)(output, targets)[0]


def physical_of(output: Tensor, targets: Targets) -> Tensor:
    return guided(1.0, 1.0)(output, targets)[1]["physical"]


# One lead: the paper


def test_rmse_by_hand() -> None:
    assert rmse_of(*paper([0.1, 0.4], [0.2, 0.2], [0, 0], [0, 0])).item() == pytest.approx(np.sqrt(0.05 / 2))


def test_physical_loss_by_hand() -> None:
    # More water, but 0.05 drier: counts. More water and wetter, less and drier: do not. No change of W: does not.
    one = paper([0.15, 0.30, 0.10, 0.90], [0.2] * 4, [0.20, 0.20, 0.20, 0.20], [1, 1, -1, 0])
    assert physical_of(*one).item() == pytest.approx(0.05**2 / 4)


def test_weights_of_equation_8() -> None:
    one = paper([0.15, 0.30], [0.2, 0.2], [0.2, 0.2], [1, 1])
    total, parts = guided(0.3, 0.7)(*one)
    assert set(parts) == {"rmse", "physical"}
    assert parts["rmse"].item() == rmse_of(*one).item()
    assert total.item() == pytest.approx(0.3 * parts["rmse"].item() + 0.7 * parts["physical"].item())
    plain, alone = guided(1.0, 0.0)(*one)
    assert set(alone) == {"rmse"}
    assert plain.item() == pytest.approx(parts["rmse"].item())


numbers = st.lists(
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from([-1.0, 0.0, 1.0])),
    min_size=1,
    max_size=20,
)


@settings(deadline=None)
@given(numbers)
def test_losses_equal_plain_loops(rows: list[tuple[float, float, float, float]]) -> None:
    squares = [(observed - level) ** 2 for level, observed, _, _ in rows]
    against = [max(0.0, sign * (before - level)) ** 2 for level, _, before, sign in rows]
    one = paper(*(list(part) for part in zip(*rows, strict=True)))
    assert rmse_of(*one).item() == pytest.approx(np.sqrt(np.mean(squares)), abs=2e-8)
    assert physical_of(*one).item() == pytest.approx(np.mean(against), abs=1e-15)


def test_a_perfect_batch_has_finite_gradients() -> None:
    output, targets = paper([0.2] * 4, [0.2] * 4, [0.2] * 4, [1.0] * 4)
    leaf = output.clone().requires_grad_(True)
    guided(0.5, 0.5)(leaf, targets)[0].sum().backward()
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()
    known = guided(0.5, 0.5).with_gradient(output, targets)
    assert known is not None
    assert torch.isfinite(known[2]).all()


def test_the_physical_loss_pushes_with_the_water() -> None:
    """One step down raises a forecast that fell while W grew, and lowers one that rose while W fell."""
    output, targets = paper([0.1, 0.3], [0.2, 0.2], [0.2, 0.2], [1.0, -1.0])
    leaf = output.requires_grad_(True)
    physical_of(leaf, targets).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad[0, 0] < 0 < leaf.grad[0, 1]


@pytest.mark.parametrize("space", ["normalised", "physical", "persistence"])
@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.3, 0.7)])
@settings(deadline=None)
@given(numbers, st.integers(0, 99))
def test_analytic_gradients_are_those_of_autograd(
    space: str, weights: tuple[float, float], rows: list[tuple[float, float, float, float]], seed: int
) -> None:
    """In each space: errors times 1, or a scale of each sample, and its change of water in the same units."""
    output, targets = paper(*(list(part) for part in zip(*rows, strict=True)))
    if space != "normalised":
        random = np.random.default_rng(seed)
        scale = torch.from_numpy(random.uniform(0.02, 0.4, (1, len(rows), 1, 1)))
        scale = scale if space == "physical" else 1 / scale
        targets = replace(targets, error_scale=scale, depth=scale[:, :, 0])
    loss = guided(*weights)
    leaf = output.clone().requires_grad_(True)
    expected, expected_parts = loss(leaf, targets)
    (by_autograd,) = torch.autograd.grad(expected.sum(), leaf)
    known = loss.with_gradient(output, targets)
    assert known is not None
    total, parts, grad = known
    assert total.item() == expected.item()
    assert set(parts) == set(expected_parts)
    assert grad.shape == output.shape
    if parts["rmse"] > 1e-7:  # below, the root's gradient is cut off
        torch.testing.assert_close(grad, by_autograd, atol=1e-12, rtol=1e-9)


def test_a_loss_is_a_number_for_each_member() -> None:
    rows = [([0.15, 0.30], [0.2, 0.2], [0.2, 0.2], [1.0, 1.0]), ([0.1, 0.4], [0.2, 0.3], [0.0, 0.5], [-1.0, 0.0])]
    apart = [paper(*row) for row in rows]
    output = torch.cat([one for one, _ in apart])
    names = [name for name, value in vars(apart[0][1]).items() if value is not None]
    targets = Targets(**{name: torch.cat([getattr(one, name) for _, one in apart]) for name in names})
    loss = guided(0.3, 0.7)
    known = loss.with_gradient(output, targets)
    assert known is not None
    assert known[0].shape == (2,)
    for member, one in enumerate(apart):
        alone = loss.with_gradient(*one)
        assert alone is not None
        assert known[0][member] == alone[0]
        assert torch.equal(known[2][member], alone[2][0])


# Several leads and layers


def several(**changes: Any) -> tuple[Tensor, Targets]:
    """One sample, three leads, two layers; lead 2 of the second layer was not observed."""
    targets = Targets(
        observed=exact([[0.5, 0.2], [0.4, np.nan], [0.6, 0.1]]).view(1, 1, 3, 2),
        previous=exact([[[0.4, 0.2]]]),
        water_sign=exact([[[1.0, -1.0, 1.0]]]),
    )
    level = exact([[0.3, 0.3], [0.5, 0.9], [0.2, 0.2]]).view(1, 1, 3, 2, 1)
    return level, replace(targets, **changes)


def test_errors_of_all_leads_and_layers_count_but_those_that_are_not_known() -> None:
    # Errors 0.2, -0.1; -0.1, missing; 0.4, -0.1.
    total, _ = Loss("rmse", RMSE, Guidance(), 3)(*several())
    assert total.item() == pytest.approx(np.sqrt((0.04 + 0.01 + 0.01 + 0.16 + 0.01) / 5))
    level, targets = several()
    leaf = level.clone().requires_grad_(True)
    Loss("rmse", RMSE, Guidance(), 3)(leaf, targets)[0].sum().backward()
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad[0, 0, 1, 1, 0] == 0
    assert Loss("rmse", RMSE, Guidance(), 3).with_gradient(level, targets) is None


def test_errors_are_scaled_to_the_space_of_the_loss_by_lead_and_layer() -> None:
    scale = exact([[1.0, 2.0], [0.5, 1.0], [0.25, 3.0]]).view(1, 1, 3, 2)
    total, _ = Loss("rmse", RMSE, Guidance(), 3)(*several(error_scale=scale))
    # 0.2, -0.2; -0.05, missing; 0.1, -0.3.
    assert total.item() == pytest.approx(np.sqrt((0.04 + 0.04 + 0.0025 + 0.01 + 0.09) / 5))


def test_later_leads_count_less_by_the_power_that_is_asked_for() -> None:
    total, _ = Loss("rmse", RMSE, Guidance(), 3, lead_decay=1.0)(*several())
    weight = np.array([1, 1 / 2, 1 / 3]) / np.mean([1, 1 / 2, 1 / 3])
    squares = weight[0] * 0.05 + weight[1] * 0.01 + weight[2] * 0.17
    assert total.item() == pytest.approx(np.sqrt(squares / 5))


def test_the_water_of_a_lead_is_that_since_the_lead_before() -> None:
    """Eq. 14 of every lead: of the first since what was observed, of the others since the forecast before."""
    depth = exact([[[0.5, 0.0]]])  # the first layer's water, in the space of the loss
    _, parts = Loss("rmse", RMSE, Guidance((0.5, 0.5)), 3)(*several(depth=depth))
    # Changes 0.3 - 0.4, 0.5 - 0.3, 0.2 - 0.5; dW up, down, up: all against it.
    assert parts["physical"].item() == pytest.approx((0.05**2 + 0.1**2 + 0.15**2) / 3)
    _, parts = Loss("rmse", RMSE, Guidance((0.5, 0.5)), 3)(*several(depth=exact([[[0.5, 1.0]]])))
    # With the second layer's 0.3 - 0.2, 0.9 - 0.3, 0.2 - 0.9: -0.05 + 0.1, 0.1 + 0.6, -0.15 - 0.7.
    assert parts["physical"].item() == pytest.approx((0.0 + 0.7**2 + 0.85**2) / 3)
    _, parts = Loss("rmse", RMSE, Guidance((0.5, 0.5)), 3)(
        *several(depth=depth, water_sign=exact([[[0.0, 1.0, -1.0]]]))
    )
    assert parts["physical"].item() == 0


def test_forecasts_beyond_the_bounds_cost_their_excess_in_the_space_of_the_loss() -> None:
    bounds = exact([[[[0.25, 0.45], [0.0, 0.8]]]])
    loss = Loss("rmse", RMSE, Guidance(bounds=3.0), 3)
    total, parts = loss(*several(bounds=bounds))
    # Layer 1: 0.3 within, 0.5 is 0.05 too high, 0.2 is 0.05 too low; layer 2: 0.9 is 0.1 too high.
    assert parts["bounds"].item() == pytest.approx((0.0025 + 0.0025 + 0.01) / 6)
    assert total.item() == pytest.approx(parts["rmse"].item() + 3 * parts["bounds"].item())
    # One unit for all leads, that of the first: a bound is a bound whatever persistence does.
    scale = exact([[2.0, 3.0], [9.0, 9.0], [9.0, 9.0]]).view(1, 1, 3, 2)
    _, parts = loss(*several(bounds=bounds, error_scale=scale))
    assert parts["bounds"].item() == pytest.approx((4 * (0.0025 + 0.0025) + 9 * 0.01) / 6)


def test_falling_with_more_rain_costs_in_the_space_of_the_loss() -> None:
    level, targets = several()
    response = exact([[0.1, -0.2], [0.0, 0.3], [-0.1, 0.1]]).view(1, 1, 3, 2, 1)
    loss = Loss("rmse", RMSE, Guidance(rain=2.0), 3)
    total, parts = loss(torch.cat((level, response), dim=-1), targets)
    assert parts["rain"].item() == pytest.approx((0.04 + 0.01) / 6)
    assert total.item() == pytest.approx(parts["rmse"].item() + 2 * parts["rain"].item())
    _, without = loss(level, targets)
    assert set(without) == {"rmse"}


@pytest.mark.parametrize("distribution", [Quantiles(LEVELS), CMAL()])
def test_the_water_and_the_bounds_are_of_the_mean_of_the_distribution(distribution: Distribution) -> None:
    torch.manual_seed(0)
    level, targets = several(
        depth=exact([[[0.5, 1.0]]]),
        bounds=exact([[[[0.25, 0.45], [0.0, 0.8]]]]),
        error_scale=torch.rand(1, 1, 3, 2).double() + 0.5,
    )
    raw = distribution.start().double() + torch.randn(1, 1, 3, 2, distribution.parameters).double()
    loss = Loss("any", ScoreLoss(distribution), Guidance((0.5, 0.5), bounds=1.0), 3)
    _, parts = loss(torch.cat((level, raw), dim=-1), targets)
    assert targets.error_scale is not None
    mean = level[..., 0] + distribution.mean(raw) / targets.error_scale
    _, of_mean = Loss("rmse", RMSE, Guidance((0.5, 0.5), bounds=1.0), 3)(mean.unsqueeze(-1), targets)
    for name in ("physical", "bounds"):
        torch.testing.assert_close(parts[name], of_mean[name])
    error = targets.error(level[..., 0])
    there = torch.isfinite(error)
    score = distribution.loss(raw[there], error[there])
    assert parts["any"].item() == pytest.approx(score.mean().item())


def test_samples_are_joined_member_by_member() -> None:
    apart = [several(depth=exact([[[0.5, number]]]))[1] for number in (1.0, 2.0, 3.0)]
    joined = join_targets(apart)
    assert joined.observed.shape == (1, 3, 3, 2)
    assert joined.error_scale is None
    assert joined.depth is not None
    assert joined.depth[0, :, 1].tolist() == [1.0, 2.0, 3.0]


# Spaces


LAYERS = ("swvl1", "swvl2")
STATISTICS = Statistics(
    scalings={
        "swvl1": Scaling(np.array([0.1, 0.2]), np.array([0.2, 0.4])),
        "swvl2": Scaling(np.array([0.3, 0.1]), np.array([0.1, 0.2])),
    },
    persistence_error=np.array([[[0.5, 1.0], [0.8, 2.0]], [[0.1, 0.2], [0.4, 0.5]]]),
    porosity=np.array([[0.5, 0.4], [0.4, np.nan]]),
)
THICKNESS = np.array([[0.07, 0.21], [0.07, 0.21]])


def test_errors_are_taken_to_their_space() -> None:
    assert error_scale("normalised", STATISTICS, LAYERS) is None
    found = error_scale("physical", STATISTICS, LAYERS)
    np.testing.assert_array_equal(found, [[[0.2, 0.1], [0.2, 0.1]], [[0.4, 0.2], [0.4, 0.2]]])
    found = error_scale("persistence", STATISTICS, LAYERS)
    np.testing.assert_allclose(found, [[[2.0, 1.0], [1.25, 0.5]], [[10.0, 5.0], [2.5, 2.0]]])


@pytest.mark.parametrize(
    ("space", "guided_layers", "expected"),
    [
        # One layer: its normalised soil moisture, in m3 m-3, over the error of persistence at lead 1.
        ("normalised", slice(1), [[1.0, 0.0], [1.0, 0.0]]),
        ("physical", slice(1), [[0.2, 0.0], [0.4, 0.0]]),
        ("persistence", slice(1), [[2.0, 0.0], [10.0, 0.0]]),
        # Two: 0.2 * 0.07 = 0.014 m and 0.1 * 0.21 = 0.021 m of water, twice as much in the second cell.
        ("normalised", slice(None), [[0.4, 0.6], [0.4, 0.6]]),
        ("physical", slice(None), [[0.05, 0.075], [0.1, 0.15]]),
        (
            "persistence",
            slice(None),
            [
                [0.014 / np.hypot(0.007, 0.021), 0.021 / np.hypot(0.007, 0.021)],
                [0.028 / np.hypot(0.0028, 0.0084), 0.042 / np.hypot(0.0028, 0.0084)],
            ],
        ),
    ],
)
def test_changes_are_taken_to_a_change_of_water_in_their_space(
    space: str, guided_layers: slice, expected: list[list[float]]
) -> None:
    found = column_depth(space, STATISTICS, LAYERS, THICKNESS, guided_layers)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_bounds_are_normalised_as_soil_moisture_is() -> None:
    found = layer_bounds(STATISTICS, LAYERS)
    np.testing.assert_allclose(found[0], [[-0.5, 2.0], [-3.0, 1.0]])
    np.testing.assert_allclose(found[1], [[-0.5, 0.5], [-0.5, 0.0]])  # no porosity is known of the last


@pytest.mark.parametrize("space", ["normalised", "physical", "persistence"])
def test_the_loss_of_a_space_is_that_of_errors_in_its_units(space: str) -> None:
    """Worked from soil moisture in m3 m-3: the first cell, two leads, one layer."""
    observed, forecast, previous = np.array([0.30, 0.25]), np.array([0.26, 0.27]), 0.28
    scaling, errors = STATISTICS.scalings["swvl1"].of_cells(slice(0, 1)), STATISTICS.persistence_error[:1, :, :1]
    statistics = Statistics({"swvl1": scaling}, errors, STATISTICS.porosity[:1, :1])
    offset, scale = scaling.offset[0], scaling.scale[0]
    of_error = error_scale(space, statistics, LAYERS[:1])
    targets = Targets(
        observed=exact((observed - offset) / scale).view(1, 1, 2, 1),
        previous=exact([[[(previous - offset) / scale]]]),
        water_sign=exact([[[1.0, -1.0]]]),
        error_scale=None if of_error is None else exact(of_error).unsqueeze(0),
        depth=exact(column_depth(space, statistics, LAYERS[:1], THICKNESS[:1, :1], slice(1))).unsqueeze(0),
    )
    level = exact((forecast - offset) / scale).view(1, 1, 2, 1, 1)
    total, parts = Loss("rmse", RMSE, Guidance((0.3, 0.7)), 2)(level, targets)
    units = {"normalised": [0.2, 0.2], "physical": [1.0, 1.0], "persistence": [0.2 * 0.5, 0.2 * 0.8]}[space]
    assert parts["rmse"].item() == pytest.approx(np.sqrt(((0.04 / units[0]) ** 2 + (0.02 / units[1]) ** 2) / 2))
    # Drier by 0.02 while water came, then wetter by 0.01 while it went; both in the unit of lead 1.
    assert parts["physical"].item() == pytest.approx(((0.02 / units[0]) ** 2 + (0.01 / units[0]) ** 2) / 2)
    assert total.item() == pytest.approx(0.3 * parts["rmse"].item() + 0.7 * parts["physical"].item())


# Losses of one's own


class AbsoluteErrors:
    """A distribution of one's own: a point whose errors cost what they are."""

    parameters = 0

    def start(self) -> Tensor:
        return torch.zeros(0)

    def loss(self, raw: Tensor, error: Tensor) -> Tensor:
        return error.abs()

    def mean(self, raw: Tensor) -> Tensor:
        return raw.new_zeros(raw.shape[:-1])

    def quantiles(self, raw: Tensor, levels: Any) -> Tensor:
        return raw.new_zeros(*raw.shape[:-1], len(levels))


@dataclass(frozen=True)
class Cubed(ScoreLoss):
    """A loss of one's own that begins from soilcast's."""

    def __call__(self, prediction: Prediction, targets: Targets, lead_weights: Tensor | None = None) -> Tensor:
        return super().__call__(prediction, targets, lead_weights) ** 3


@pytest.mark.parametrize("own", [ScoreLoss(AbsoluteErrors(), root=True), Cubed(Point(), root=True)])
def test_a_loss_of_ones_own_is_given_no_gradient_but_its_own(own: ScoreLoss) -> None:
    one = paper([0.15, 0.30], [0.2, 0.25], [0.2, 0.2], [1, 1])
    loss = Loss("own", own, Guidance((0.3, 0.7)))
    assert loss(*one)[1]["own"].item() != pytest.approx(rmse_of(*one).item())
    assert loss.with_gradient(*one) is None


def test_every_loss_is_about_a_distribution() -> None:
    built = {name: make(LEVELS) for name, make in LOSSES.items()}
    assert {name: one.distribution.parameters for name, one in built.items()} == {"rmse": 0, "quantiles": 3, "cmal": 12}


# The parts of guidance, elementwise


moisture = st.floats(0, 1)


def test_movement_against_the_water_by_hand() -> None:
    increment = torch.tensor([[-0.1, 0.1, 0.2], [-0.2, 0.3, 0.0]])
    sign = torch.tensor([[1.0, 1.0, -1.0], [-1.0, 0.0, 1.0]])
    expected = torch.tensor([[0.1, 0.0, 0.2], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(against_water(increment, sign), expected)


@settings(deadline=None)
@given(st.lists(st.tuples(moisture, moisture, st.sampled_from([-1.0, 0.0, 1.0])), min_size=1))
def test_on_the_first_lead_it_is_equation_14(rows: list[tuple[float, float, float]]) -> None:
    level, before, sign = (exact(one) for one in zip(*rows, strict=True))
    eq14 = torch.relu(sign * (before - level)) ** 2
    torch.testing.assert_close(against_water(level - before, sign) ** 2, eq14)


def test_one_step_down_the_gradient_moves_with_the_water() -> None:
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


@settings(deadline=None)
@given(st.lists(st.tuples(moisture, st.floats(0, 0.5)), min_size=1))
def test_forecasts_that_do_nothing_wrong_cost_nothing(rows: list[tuple[float, float]]) -> None:
    level, change = (torch.tensor(one) for one in zip(*rows, strict=True))
    assert not against_water(change, torch.ones_like(change)).any()
    assert not beyond_bounds(level, torch.ones_like(level)).any()
    assert not against_rain(change).any()
