"""How the error of a central forecast is distributed: what a head's raw numbers mean, and their loss.

Everything here is about the error e = observed - centre, in units in which persistence errs by 1. A network gives a
centre and P raw numbers for each lead and layer.
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

_EXPECTED = 0.5
"""Standard deviation of the errors that an untrained head expects: half of what persistence errs."""

# Raw numbers count up to here: sums of them stay finite in float32, and no error is ten thousand times persistence's.
_LARGEST = 1e4
# Widths stay above a hundredth of persistence's error, or the density would grow without end on days when nothing
# changes; and both tails of a component stay within a hundred times its width.
_SMALLEST_WIDTH = 0.01
_SMALLEST_TAU = 0.01

_AT_ONCE = 2**17  # numbers of one step of the inversion: what stays in the processor's cache
_NEWTON_STEPS, _MOST_STEPS = 8, 100


class Distribution(Protocol):
    """What a head's raw numbers say of the error e."""

    @property
    def parameters(self) -> int:
        """Raw numbers P for each lead and layer."""
        ...

    def start(self) -> Tensor:
        """Give the bias of the head to begin with, ``(P,)`` float32: errors of about half of persistence's."""
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
        """Give the expected error, ``(...)``: what the central forecast lacks of the mean."""
        ...

    def quantiles(self, raw: Tensor, levels: npt.ArrayLike) -> Tensor:
        """Give quantiles of the error.

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
    """No distribution: the squared error alone. Calibration gives the width (`soilcast.training.calibration`)."""

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
        normal = np.array([NormalDist(0, _EXPECTED).inv_cdf(level) for level in self.levels])
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
        """See `Distribution`: linear in the level between trained ones; beyond the outermost the last slope goes on."""
        asked, trained = checked_levels(levels), np.array(self.levels)
        values = self.trained(raw)
        if len(trained) == 1:
            return values.expand(*values.shape[:-1], len(asked)).clone()
        left = np.clip(np.searchsorted(trained, asked, side="right") - 1, 0, len(trained) - 2)
        share = raw.new_tensor((asked - trained[left]) / (trained[left + 1] - trained[left]))
        lower = torch.as_tensor(left, device=raw.device)
        between = values[..., lower] * (1 - share) + values[..., lower + 1] * share
        return between.cummax(-1).values  # rounding might cross quantiles of neighbouring levels

    def trained(self, raw: Tensor) -> Tensor:
        """Give the quantiles of the trained levels, ``(..., level)``, from ``(..., P)``."""
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
        widths = spread * _EXPECTED / np.sqrt(8 * np.mean(spread**2))
        raw = np.zeros((4, self.components))
        raw[1] = _inverse_softplus(widths - _SMALLEST_WIDTH)
        return torch.tensor(raw.ravel(), dtype=torch.float32)

    def loss(self, raw: Tensor, error: Tensor) -> Tensor:
        """See `Distribution`: the negative logarithm of the density."""
        one = self.mixture(raw)
        away = error.unsqueeze(-1) - one.mu
        fall = torch.maximum(one.tau * away, (one.tau - 1) * away) / one.b
        height = torch.log(one.tau * (1 - one.tau)) - torch.log(one.b)
        return -torch.logsumexp(one.log_weight + height - fall, dim=-1)

    def mean(self, raw: Tensor) -> Tensor:
        """See `Distribution`: sum of pi (mu + b (1 - 2 tau) / (tau (1 - tau)))."""
        one = self.mixture(raw)
        means = one.mu + one.b * (1 - 2 * one.tau) / (one.tau * (1 - one.tau))
        return (one.log_weight.exp() * means).sum(-1)

    @torch.no_grad()
    def quantiles(self, raw: Tensor, levels: npt.ArrayLike) -> Tensor:
        """See `Distribution`: by inverting the distribution function; without gradients."""
        level = raw.new_tensor(checked_levels(levels))
        found = raw.new_empty(raw.shape[:-1].numel(), len(level))
        flat = raw.reshape(len(found), self.parameters)
        rows = max(_AT_ONCE // (len(level) * self.components), 1)
        for start in range(0, len(found), rows):
            part = flat[start : start + rows]
            one = Laplacians(*(of.repeat_interleave(len(level), dim=0) for of in self.mixture(part)))
            found[start : start + rows] = _invert(one, level.repeat(len(part))).view(-1, len(level))
        # Rounding might cross quantiles of neighbouring levels.
        return found.cummax(-1).values.view(*raw.shape[:-1], len(level))

    def mixture(self, raw: Tensor) -> Laplacians:
        """Give the components that raw numbers ``(..., P)`` mean."""
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
    asked = np.asarray(levels, dtype=np.float64)
    assert asked.ndim == 1, "levels are a list of numbers"
    assert len(asked), "no levels"
    assert (np.diff(asked, prepend=0.0, append=1.0) > 0).all(), "levels increase between 0 and 1"
    return asked


def _tails(one: Laplacians, error: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities below and above, and the density, of a mixture ``(..., C)`` at errors ``(..., 1)``: ``(...)``.

    Each probability is a sum of small terms where it is small, so that neither tail is lost to rounding.
    """
    away = error - one.mu
    fall = torch.exp(-torch.maximum(one.tau * away, (one.tau - 1) * away) / one.b)
    weight = one.log_weight.exp()
    left, right = one.tau * fall, (1 - one.tau) * fall
    below = (weight * torch.where(away < 0, left, 1 - right)).sum(-1)
    above = (weight * torch.where(away < 0, 1 - left, right)).sum(-1)
    density = (weight * one.tau * right / one.b).sum(-1)
    return below, above, density


def _invert(one: Laplacians, level: Tensor) -> Tensor:
    """Quantiles ``(row,)`` of mixtures ``(row, C)`` at levels ``(row,)``: Newton's steps, halving where these fail.

    Newton's method runs on the logarithm of the smaller tail, which is straight where one component rules: most rows
    are done in three steps, and only the others go on. The quantile of a mixture lies between the least and the
    greatest of its components.
    """
    low, high = _component_quantiles(one, level.unsqueeze(-1)).aminmax(dim=-1)
    at = 0.5 * (low + high)
    found, rows = at.clone(), torch.arange(len(at), device=at.device)
    close = 8 * torch.finfo(level.dtype).eps
    for step in range(_MOST_STEPS):
        below, above, density = _tails(one, at.unsqueeze(-1))
        lower = level <= 0.5
        beyond = torch.where(lower, below - level, (1 - level) - above)
        low, high = torch.where(beyond < 0, at, low), torch.where(beyond > 0, at, high)
        far = (beyond.abs() > close) & (high - low > close * (1 + at.abs()))
        found[rows] = at
        if not far.any():
            break
        tail = torch.where(lower, below, above)
        ratio = torch.where(lower, level / tail, tail / (1 - level))
        newton = at + tail / density * torch.log(ratio)
        # Halving bounds the number of steps where Newton creeps, and stands in where it leads away or to NaN.
        trusted = (newton > low) & (newton < high) & (step < _NEWTON_STEPS or step % 2 == 0)
        at = torch.where(trusted, newton, 0.5 * (low + high))
        one = Laplacians(*(part[far] for part in one))
        level, low, high, at, rows = level[far], low[far], high[far], at[far], rows[far]
    return found


def _component_quantiles(one: Laplacians, level: Tensor) -> Tensor:
    """Quantiles of each component by itself, in closed form, ``(..., C)``."""
    left = torch.log(level / one.tau) / (1 - one.tau)
    right = torch.log((1 - one.tau) / (1 - level)) / one.tau
    return one.mu + one.b * torch.where(level < one.tau, left, right)


@lru_cache(maxsize=16)
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers on a device, brought there once: a captured step of training may bring none."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def _inverse_softplus(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.log(np.expm1(values))
