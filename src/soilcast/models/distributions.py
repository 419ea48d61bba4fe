"""Predictive distributions of the error of a central forecast: their parameters, quantiles and losses.

The error is e = observed - centre, scaled by the RMSE of persistence. A network gives a centre and P raw numbers for
each lead and layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

_INITIAL_SPREAD = 0.5
"""Standard deviation of the errors that an untrained head predicts: half of the RMSE of persistence."""

# Raw numbers are clipped here: sums of them stay finite in float32, and no error is ten thousand times persistence's.
_LARGEST = 1e4
# Widths stay above a hundredth of persistence's error, or the density would grow without end on days when nothing
# changes; and both tails of a component stay within a hundred times its width.
_SMALLEST_WIDTH = 0.01
_SMALLEST_TAU = 0.01

_AT_ONCE = 2**17  # numbers of one step of the inversion: what stays in the processor's cache
_NEWTON_STEPS, _MOST_STEPS = 8, 100


class Distribution(Protocol):
    """Predictive distribution of the error e, parametrised by a head's raw numbers."""

    @property
    def parameters(self) -> int:
        """Raw numbers P for each lead and layer."""
        ...

    def start(self) -> Tensor:
        """Initial bias of the head, ``(P,)`` float32: errors of about half of those of persistence."""
        ...

    def loss(self, raw: Tensor, error: Tensor) -> Tensor:
        """Score the distribution of each error; finite, with finite gradients, whatever the raw numbers are.

        Parameters
        ----------
        raw
            ``(..., P)``.
        error
            ``(...)``, e = observed - centre.

        Returns
        -------
        ``(...)``, a proper score: the smaller, the better.
        """
        ...

    def mean(self, raw: Tensor) -> Tensor:
        """Expected error, ``(...)``: the mean less the central forecast."""
        ...

    def quantiles(self, raw: Tensor, levels: npt.ArrayLike) -> Tensor:
        """Quantiles of the error.

        Parameters
        ----------
        raw
            ``(..., P)``.
        levels
            ``(Q,)``, increasing, between 0 and 1.

        Returns
        -------
        ``(..., Q)``, nondecreasing along the levels.
        """
        ...


@dataclass(frozen=True)
class Point:
    """No distribution: the squared error alone. Calibration gives the width (`soilcast.training.conformal`)."""

    parameters: int = 0

    def start(self) -> Tensor:
        """See `Distribution`."""
        return torch.zeros(0)

    def loss(self, raw: Tensor, error: Tensor) -> Tensor:
        """See `Distribution`: e^2."""
        return error**2

    def mean(self, raw: Tensor) -> Tensor:
        """See `Distribution`: zero."""
        return raw.new_zeros(raw.shape[:-1])

    def quantiles(self, raw: Tensor, levels: npt.ArrayLike) -> Tensor:
        """See `Distribution`: zeros."""
        return raw.new_zeros(*raw.shape[:-1], len(checked_levels(levels)))


@dataclass(frozen=True)
class Quantiles:
    """Quantiles at given levels, which cannot cross: the middle one, and the positive gaps between neighbours.

    The loss is the mean pinball loss of the levels (Koenker and Bassett 1978, doi:10.2307/1913643) and e^2. The
    gradient of the pinball losses by the centre is that by the middle quantile, which training brings to zero;
    so e^2 alone says where the centre settles, at the mean, and the expected error is zero.

    Parameters
    ----------
    levels
        Trained levels, increasing, between 0 and 1.
    """

    levels: tuple[float, ...]

    def __post_init__(self) -> None:
        checked_levels(self.levels)

    @property
    def parameters(self) -> int:
        """See `Distribution`: one for each level."""
        return len(self.levels)

    def start(self) -> Tensor:
        """See `Distribution`: a normal distribution."""
        normal = np.array([NormalDist(0, _INITIAL_SPREAD).inv_cdf(level) for level in self.levels])
        raw = np.concatenate([normal[self._middle : self._middle + 1], _inverse_softplus(np.diff(normal))])
        return torch.tensor(raw, dtype=torch.float32)

    def loss(self, raw: Tensor, error: Tensor) -> Tensor:
        """See `Distribution`: mean over the levels p of max(p (e - q_p), (p - 1)(e - q_p)), and e^2."""
        away = error.unsqueeze(-1) - self.trained(raw)
        level = constant(self.levels, raw.dtype, raw.device)
        return torch.maximum(level * away, (level - 1) * away).mean(-1) + error**2

    def mean(self, raw: Tensor) -> Tensor:
        """See `Distribution`: zero, as the loss makes the centre the mean."""
        return raw.new_zeros(raw.shape[:-1])

    def quantiles(self, raw: Tensor, levels: npt.ArrayLike) -> Tensor:
        """See `Distribution`: linear in the level between trained ones; extrapolated beyond the outermost."""
        requested, trained = checked_levels(levels), np.array(self.levels)
        values = self.trained(raw)
        if len(trained) == 1:
            return values.expand(*values.shape[:-1], len(requested)).clone()
        index = np.clip(np.searchsorted(trained, requested, side="right") - 1, 0, len(trained) - 2)
        share = raw.new_tensor((requested - trained[index]) / (trained[index + 1] - trained[index]))
        lower = torch.as_tensor(index, device=raw.device)
        between = values[..., lower] * (1 - share) + values[..., lower + 1] * share
        return between.cummax(-1).values  # rounding might cross quantiles of neighbouring levels

    def trained(self, raw: Tensor) -> Tensor:
        """Quantiles of the trained levels, ``(..., level)``, from ``(..., P)``."""
        bounded = raw.clamp(-_LARGEST, _LARGEST)
        gaps = functional.softplus(bounded[..., 1:])
        climb = functional.pad(gaps.cumsum(-1), (1, 0))
        return bounded[..., :1] + (climb - climb[..., self._middle : self._middle + 1])

    @property
    def _middle(self) -> int:
        return len(self.levels) // 2


class Laplacians(NamedTuple):
    """Asymmetric Laplace components, each ``(..., C)``: location mu, width b, asymmetry tau, and log of the weight."""

    mu: Tensor
    b: Tensor
    tau: Tensor
    log_weight: Tensor


@dataclass(frozen=True)
class CMAL:
    """A mixture of C asymmetric Laplace densities.

    f(e) = sum_c pi_c tau_c (1 - tau_c) / b_c exp(-max(tau_c (e - mu_c), (tau_c - 1)(e - mu_c)) / b_c), after Klotz et
    al. (2022), doi:10.5194/hess-26-1673-2022. The loss is -log f(e). The raw numbers are mu, b before softplus, tau
    before the sigmoid and pi before the softmax, C each.

    Parameters
    ----------
    components
        C.
    """

    components: int = 3

    @property
    def parameters(self) -> int:
        """See `Distribution`: four for each component."""
        return 4 * self.components

    def start(self) -> Tensor:
        """See `Distribution`: symmetric, about zero, of different widths, as equal components would stay equal."""
        # A symmetric component (tau = 1/2) has a variance of 8 b^2.
        spread = 2.0 ** np.linspace(-1, 1, self.components) if self.components > 1 else np.ones(1)
        widths = spread * _INITIAL_SPREAD / np.sqrt(8 * np.mean(spread**2))
        raw = np.zeros((4, self.components))
        raw[1] = _inverse_softplus(widths - _SMALLEST_WIDTH)
        return torch.tensor(raw.ravel(), dtype=torch.float32)

    def loss(self, raw: Tensor, error: Tensor) -> Tensor:
        """See `Distribution`: the negative logarithm of the density."""
        mixture = self.mixture(raw)
        away = error.unsqueeze(-1) - mixture.mu
        fall = torch.maximum(mixture.tau * away, (mixture.tau - 1) * away) / mixture.b
        height = torch.log(mixture.tau * (1 - mixture.tau)) - torch.log(mixture.b)
        return -torch.logsumexp(mixture.log_weight + height - fall, dim=-1)

    def mean(self, raw: Tensor) -> Tensor:
        """See `Distribution`: sum of pi (mu + b (1 - 2 tau) / (tau (1 - tau)))."""
        mixture = self.mixture(raw)
        means = mixture.mu + mixture.b * (1 - 2 * mixture.tau) / (mixture.tau * (1 - mixture.tau))
        return (mixture.log_weight.exp() * means).sum(-1)

    @torch.no_grad()
    def quantiles(self, raw: Tensor, levels: npt.ArrayLike) -> Tensor:
        """See `Distribution`: by inverting the distribution function; without gradients."""
        level = raw.new_tensor(checked_levels(levels))
        quantiles = raw.new_empty(raw.shape[:-1].numel(), len(level))
        flat = raw.reshape(len(quantiles), self.parameters)
        rows = max(_AT_ONCE // (len(level) * self.components), 1)
        for start in range(0, len(quantiles), rows):
            part = flat[start : start + rows]
            mixture = Laplacians(*(values.repeat_interleave(len(level), dim=0) for values in self.mixture(part)))
            quantiles[start : start + rows] = _invert(mixture, level.repeat(len(part))).view(-1, len(level))
        # Rounding might cross quantiles of neighbouring levels.
        return quantiles.cummax(-1).values.view(*raw.shape[:-1], len(level))

    def mixture(self, raw: Tensor) -> Laplacians:
        """Components of the mixture that raw numbers ``(..., P)`` parametrise."""
        bounded = raw.clamp(-_LARGEST, _LARGEST)
        mu, width, asymmetry, weight = bounded.view(*raw.shape[:-1], 4, self.components).unbind(-2)
        return Laplacians(
            mu,
            functional.softplus(width) + _SMALLEST_WIDTH,
            _SMALLEST_TAU + (1 - 2 * _SMALLEST_TAU) * torch.sigmoid(asymmetry),
            torch.log_softmax(weight, dim=-1),
        )


def checked_levels(levels: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Give quantile levels as ``(Q,)`` float64; they must increase, between 0 and 1."""
    checked = np.asarray(levels, dtype=np.float64)
    assert checked.ndim == 1, "levels are a list of numbers"
    assert len(checked), "no levels"
    assert (np.diff(checked, prepend=0.0, append=1.0) > 0).all(), "levels increase between 0 and 1"
    return checked


def _tails(mixture: Laplacians, error: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities below and above, and the density, of a mixture ``(..., C)`` at errors ``(..., 1)``: ``(...)``.

    Each probability is a sum of small terms where it is small, so that neither tail is lost to rounding.
    """
    away = error - mixture.mu
    fall = torch.exp(-torch.maximum(mixture.tau * away, (mixture.tau - 1) * away) / mixture.b)
    weight = mixture.log_weight.exp()
    left, right = mixture.tau * fall, (1 - mixture.tau) * fall
    below = (weight * torch.where(away < 0, left, 1 - right)).sum(-1)
    above = (weight * torch.where(away < 0, 1 - left, right)).sum(-1)
    density = (weight * mixture.tau * right / mixture.b).sum(-1)
    return below, above, density


def _invert(mixture: Laplacians, level: Tensor) -> Tensor:
    """Quantiles ``(row,)`` of mixtures ``(row, C)`` at levels ``(row,)``: Newton's steps, halving where these fail.

    Newton's method runs on the logarithm of the smaller tail, which is straight where one component rules: most rows
    are done in three steps, and only the others go on. The quantile of a mixture lies between the least and the
    greatest of its components.
    """
    low, high = _component_quantiles(mixture, level.unsqueeze(-1)).aminmax(dim=-1)
    estimate = 0.5 * (low + high)
    quantiles, rows = estimate.clone(), torch.arange(len(estimate), device=estimate.device)
    tolerance = 8 * torch.finfo(level.dtype).eps
    for step in range(_MOST_STEPS):
        below, above, density = _tails(mixture, estimate.unsqueeze(-1))
        lower = level <= 0.5
        excess = torch.where(lower, below - level, (1 - level) - above)
        low, high = torch.where(excess < 0, estimate, low), torch.where(excess > 0, estimate, high)
        unconverged = (excess.abs() > tolerance) & (high - low > tolerance * (1 + estimate.abs()))
        quantiles[rows] = estimate
        if not unconverged.any():
            break
        tail = torch.where(lower, below, above)
        ratio = torch.where(lower, level / tail, tail / (1 - level))
        newton = estimate + tail / density * torch.log(ratio)
        # Halving bounds the number of steps where Newton is slow, and replaces it where it diverges or gives NaN.
        trusted = (newton > low) & (newton < high) & (step < _NEWTON_STEPS or step % 2 == 0)
        estimate = torch.where(trusted, newton, 0.5 * (low + high))
        mixture = Laplacians(*(part[unconverged] for part in mixture))
        level, low, high, estimate, rows = (values[unconverged] for values in (level, low, high, estimate, rows))
    return quantiles


def _component_quantiles(mixture: Laplacians, level: Tensor) -> Tensor:
    """Quantiles of each component by itself, in closed form, ``(..., C)``."""
    below = torch.log(level / mixture.tau) / (1 - mixture.tau)
    above = torch.log((1 - mixture.tau) / (1 - level)) / mixture.tau
    return mixture.mu + mixture.b * torch.where(level < mixture.tau, below, above)


@lru_cache(maxsize=16)
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers on a device, copied there once: a step captured as a CUDA graph may copy none."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def _inverse_softplus(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.log(np.expm1(values))
