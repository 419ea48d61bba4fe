"""Distributions of the error: densities, means and quantiles against scipy and scores; finite gradients always."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import integrate, stats
from scores.continuous import quantile_score

from soilcast.models.distributions import CMAL, Distribution, Point, Quantiles, _tails

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
DISTRIBUTIONS: dict[str, Distribution] = {"point": Point(), "quantiles": Quantiles(LEVELS), "cmal": CMAL()}
DISTRIBUTION_NAMES = list(DISTRIBUTIONS)


def build(name: str) -> Distribution:
    return DISTRIBUTIONS[name]


def cdf(one: CMAL, raw: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """Probability of an error at most as large, which `quantiles` inverts."""
    below, _, _ = _tails(one.mixture(raw), error.unsqueeze(-1))
    return below


def numbers(bound: float) -> st.SearchStrategy[float]:
    return st.floats(-bound, bound, width=32)


def raw_of(mu: list[float], b: list[float], tau: list[float], weight: list[float]) -> torch.Tensor:
    """Raw numbers of a mixture that is known, float64."""
    share = (np.array(tau) - 0.01) / 0.98
    return torch.tensor(
        np.concatenate([mu, np.log(np.expm1(np.array(b) - 0.01)), np.log(share / (1 - share)), np.log(weight)])
    )


def scipy_laplace(mu: float, b: float, tau: float) -> stats.rv_continuous:
    kappa = np.sqrt(tau / (1 - tau))
    return stats.laplace_asymmetric(kappa, loc=mu, scale=b / np.sqrt(tau * (1 - tau)))


@pytest.mark.parametrize("name", DISTRIBUTION_NAMES)
def test_shapes(name: str) -> None:
    one = build(name)
    raw, error = torch.randn(2, 3, 4, one.parameters), torch.randn(2, 3, 4)
    assert one.start().shape == (one.parameters,)
    assert one.start().dtype == torch.float32
    assert one.loss(raw, error).shape == (2, 3, 4)
    assert one.mean(raw).shape == (2, 3, 4)
    assert one.quantiles(raw, [0.1, 0.5, 0.8]).shape == (2, 3, 4, 3)
    assert one.quantiles(raw[:0], [0.1, 0.5]).shape == (0, 3, 4, 2)


def test_parameters_by_name() -> None:
    assert {name: build(name).parameters for name in DISTRIBUTION_NAMES} == {"point": 0, "quantiles": 7, "cmal": 12}


@pytest.mark.parametrize("name", ["quantiles", "cmal"])
def test_a_head_starts_with_errors_of_half_of_what_persistence_errs(name: str) -> None:
    one = build(name)
    raw = one.start()
    low, median, high = one.quantiles(raw, [0.16, 0.5, 0.84]).tolist()
    assert one.mean(raw).item() == pytest.approx(0, abs=1e-6)
    assert median == pytest.approx(0, abs=1e-6)
    assert 0.25 < high < 0.6
    assert low == pytest.approx(-high, abs=1e-5)


def test_cmal_starts_with_a_standard_deviation_of_one_half() -> None:
    one = CMAL()
    raw = one.start().double()
    density = lambda e: e**2 * np.exp(-one.loss(raw, torch.tensor(e, dtype=torch.float64)).item())  # noqa: E731
    variance, _ = integrate.quad(density, -20, 20, points=[0], limit=200)
    assert np.sqrt(variance) == pytest.approx(0.5, rel=1e-4)


def test_components_start_apart() -> None:
    """Equal components would have equal gradients, and stay one."""
    mixture = CMAL().mixture(CMAL().start())
    assert len(set(mixture.b.tolist())) == 3


@pytest.mark.parametrize("name", DISTRIBUTION_NAMES)
@pytest.mark.parametrize("extreme", [0.0, 1e3, -1e3, 1e20, -1e20, 3.4e38, -3.4e38])
def test_extreme_numbers_of_a_network_have_finite_losses_and_gradients(name: str, extreme: float) -> None:
    one = build(name)
    rows = [torch.full((one.parameters,), extreme), torch.randn(one.parameters) * extreme / 10]
    rows += [torch.randn(one.parameters).index_fill(0, torch.tensor([k]), extreme) for k in range(one.parameters)]
    raw = torch.stack(rows).clamp(-3.4e38, 3.4e38).requires_grad_(True)
    error = torch.zeros(len(raw)).add_(0.3).requires_grad_(True)
    loss = one.loss(raw, error) + one.mean(raw)
    assert torch.isfinite(loss).all()
    gradients = torch.autograd.grad(loss.sum(), [raw, error], allow_unused=True)
    assert all(torch.isfinite(one).all() for one in gradients if one is not None)
    quantiles = one.quantiles(raw.detach(), LEVELS)
    assert torch.isfinite(quantiles).all()
    assert (quantiles.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("name", DISTRIBUTION_NAMES)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_quantiles_never_cross(name: str, data: st.DataObject) -> None:
    one = build(name)
    raw = torch.from_numpy(data.draw(hnp.arrays(np.float32, (4, one.parameters), elements=numbers(100))))
    asked = sorted(data.draw(st.sets(st.floats(0.001, 0.999), min_size=1, max_size=12)))
    assert (one.quantiles(raw, asked).diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("name", DISTRIBUTION_NAMES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    torch.manual_seed(3)
    one = build(name)
    raw = torch.randn(5, one.parameters, dtype=torch.float64, requires_grad=True)
    error = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(one.loss, (raw, error))


@pytest.mark.parametrize("levels", [[], [0.5, 0.1], [0.0, 0.5], [0.5, 1.0], [0.5, 0.5], [[0.5]]])
def test_levels_increase_between_0_and_1(levels: list[float]) -> None:
    with pytest.raises(AssertionError, match="levels"):
        CMAL().quantiles(torch.zeros(12), levels)


# A point


def test_a_point_has_no_width() -> None:
    one, raw = build("point"), torch.zeros(3, 0)
    assert one.loss(raw, torch.tensor([1.0, -2.0, 0.5])).tolist() == [1.0, 4.0, 0.25]
    assert one.quantiles(raw, LEVELS).tolist() == [[0.0] * 7] * 3
    assert one.mean(raw).tolist() == [0.0] * 3


# Quantiles


def test_the_pinball_loss_by_hand() -> None:
    one = Quantiles((0.1, 0.9))
    raw = torch.tensor([1.0, np.log(np.expm1(3.0))])  # the upper one of two is the middle: 1, and 1 - 3 below it
    assert one.trained(raw).tolist() == pytest.approx([-2.0, 1.0])
    # 0.1 * (2 + 2) and (1 - 0.9) * 0 for e = 2 above both: 0.1 * 4, 0.9 * 1.
    assert one.loss(raw, torch.tensor(2.0)).item() == pytest.approx((0.1 * 4 + 0.9 * 1) / 2 + 4)
    assert one.loss(raw, torch.tensor(-3.0)).item() == pytest.approx((0.9 * 1 + 0.1 * 4) / 2 + 9)


def test_the_pinball_loss_is_the_quantile_score() -> None:
    torch.manual_seed(0)
    one = Quantiles(LEVELS)
    raw, error = torch.randn(50, 7, dtype=torch.float64), torch.randn(50, dtype=torch.float64)
    seen = xr.DataArray(error.numpy(), dims="sample")
    scored = [
        quantile_score(xr.DataArray(trained, dims="sample"), seen, level, preserve_dims="all").to_numpy()
        for level, trained in zip(LEVELS, one.trained(raw).numpy().T, strict=True)
    ]
    np.testing.assert_allclose(one.loss(raw, error), np.mean(scored, axis=0) + seen.to_numpy() ** 2, rtol=1e-12)


def test_trained_levels_are_given_as_trained() -> None:
    one = Quantiles(LEVELS)
    raw = torch.randn(20, 7)
    assert torch.equal(one.quantiles(raw, LEVELS), one.trained(raw))


def test_other_levels_lie_between_and_tails_go_on_straight() -> None:
    one = Quantiles((0.1, 0.5, 0.7))
    raw = torch.tensor([2.0, np.log(np.expm1(4.0)), np.log(np.expm1(1.0))], dtype=torch.float64)  # -2, 2, 3
    asked = [0.05, 0.1, 0.2, 0.5, 0.6, 0.7, 0.9]
    assert one.quantiles(raw, asked).tolist() == pytest.approx([-2.5, -2.0, -1.0, 2.0, 2.5, 3.0, 4.0])


def test_a_single_level_stands_for_all() -> None:
    assert Quantiles((0.5,)).quantiles(torch.tensor([[1.5]]), [0.1, 0.9]).tolist() == [[1.5, 1.5]]


def train(one: Distribution, observed: torch.Tensor, steps: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Fit one centre and the raw numbers of one head to observations."""
    centre, raw = torch.zeros(1, requires_grad=True), one.start().requires_grad_(True)
    optimiser = torch.optim.Adam([centre, raw], lr=0.03)
    slowing = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        one.loss(raw.expand(len(observed), -1), observed - centre).mean().backward()
        optimiser.step()
        slowing.step()
    return centre.detach(), raw.detach()


@pytest.mark.parametrize("name", ["quantiles", "cmal"])
def test_training_finds_the_mean_and_the_quantiles_of_skewed_errors(name: str) -> None:
    skewed = stats.gamma(1.5, loc=-0.2, scale=0.4)
    observed = torch.tensor(skewed.ppf((np.arange(300) + 0.5) / 300), dtype=torch.float32)
    one = build(name)
    centre, raw = train(one, observed)
    tolerance = 0.02 if name == "quantiles" else 0.08  # no mixture of three is a gamma distribution
    assert (centre + one.mean(raw)).item() == pytest.approx(skewed.mean(), abs=tolerance)
    np.testing.assert_allclose((centre + one.quantiles(raw, LEVELS)).numpy(), skewed.ppf(LEVELS), atol=tolerance)


# Mixtures of asymmetric Laplace densities


@pytest.mark.parametrize("tau", [0.05, 0.3, 0.5, 0.8, 0.97])
@pytest.mark.parametrize(("mu", "b"), [(0.0, 0.2), (-1.5, 1.0), (0.4, 0.02)])
def test_one_component_is_the_asymmetric_laplace_distribution(mu: float, b: float, tau: float) -> None:
    one, raw, reference = CMAL(1), raw_of([mu], [b], [tau], [1.0]), scipy_laplace(mu, b, tau)
    errors = mu + b * np.linspace(-30, 30, 61)
    at = torch.tensor(errors)
    np.testing.assert_allclose(one.loss(raw, at), -reference.logpdf(errors), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(cdf(one, raw, at), reference.cdf(errors), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one.mean(raw), reference.mean(), rtol=1e-9)
    np.testing.assert_allclose(one.quantiles(raw, LEVELS), reference.ppf(LEVELS), rtol=1e-9, atol=1e-9)


MIXTURES: list[tuple[list[float], ...]] = [
    ([0.0, 0.3, -0.5], [0.1, 0.2, 0.4], [0.5, 0.2, 0.7], [0.5, 0.3, 0.2]),
    ([-4.0, 4.0, 0.0], [0.05, 0.05, 1.0], [0.5, 0.9, 0.1], [0.45, 0.45, 0.1]),
    ([0.0, 0.0, 0.0], [0.02, 0.02, 3.0], [0.5, 0.5, 0.5], [0.8, 0.1, 0.1]),
]


def mixed(parts: tuple[list[float], ...], of: Callable[[stats.rv_continuous], np.ndarray]) -> np.ndarray:
    mu, b, tau, weight = parts
    return sum(w * of(scipy_laplace(*one)) for w, one in zip(weight, zip(mu, b, tau, strict=True), strict=True))


@pytest.mark.parametrize("parts", MIXTURES)
def test_a_mixture_is_the_weighted_sum_of_its_components(parts: tuple[list[float], ...]) -> None:
    one, raw, errors = CMAL(), raw_of(*parts), np.linspace(-8, 8, 81)
    at = torch.tensor(errors)
    np.testing.assert_allclose(torch.exp(-one.loss(raw, at)), mixed(parts, lambda of: of.pdf(errors)), rtol=1e-9)
    np.testing.assert_allclose(cdf(one, raw, at), mixed(parts, lambda of: of.cdf(errors)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(one.mean(raw), mixed(parts, lambda of: of.mean()), rtol=1e-9)


@pytest.mark.parametrize("parts", MIXTURES)
def test_the_density_integrates_to_one_and_to_the_mean(parts: tuple[list[float], ...]) -> None:
    one, raw = CMAL(), raw_of(*parts)
    away = (-400, -80, -20, -5, -1, -0.2, 0, 0.2, 1, 5, 20, 80, 400)  # the density has kinks at the locations
    edges = np.unique(np.add.outer(parts[0], away))
    density = lambda e: np.exp(-one.loss(raw, torch.tensor(e, dtype=torch.float64)).item())  # noqa: E731
    pieces = list(itertools.pairwise(edges))
    total = sum(integrate.quad(density, *piece, epsabs=1e-9)[0] for piece in pieces)
    mean = sum(integrate.quad(lambda e: e * density(e), *piece, epsabs=1e-9)[0] for piece in pieces)
    assert total == pytest.approx(1, abs=1e-6)
    assert mean == pytest.approx(one.mean(raw).item(), abs=1e-5)


@settings(deadline=None, max_examples=40)
@given(hnp.arrays(np.float64, (3, 12), elements=numbers(8)), st.lists(st.floats(0.001, 0.999), min_size=1, unique=True))
def test_quantiles_invert_the_distribution_function(raw: np.ndarray, levels: list[float]) -> None:
    one, asked = CMAL(), sorted(levels)
    given_raw = torch.from_numpy(raw)
    quantiles = one.quantiles(given_raw, asked)
    reached = cdf(one, given_raw.unsqueeze(1), quantiles)
    np.testing.assert_allclose(reached, np.broadcast_to(asked, reached.shape), atol=1e-9)


def test_many_quantiles_at_once_are_those_of_each_alone() -> None:
    torch.manual_seed(1)
    one, raw = CMAL(), CMAL().start() + torch.randn(9000, 12)
    together = one.quantiles(raw, LEVELS)
    reached = cdf(one, raw.unsqueeze(1), together)
    np.testing.assert_allclose(reached, np.broadcast_to(np.float32(LEVELS), reached.shape), atol=1e-4)
    torch.testing.assert_close(together[-3:], one.quantiles(raw[-3:], LEVELS))


def test_quantiles_give_no_gradients() -> None:
    raw = CMAL().start().requires_grad_(True)
    assert not CMAL().quantiles(raw, LEVELS).requires_grad
