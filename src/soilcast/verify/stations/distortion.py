"""How a forecast differs from a station: bias, shift in days, gain and random error, each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from soilcast.cube import usable_target
from soilcast.verify.dayblocks import BLOCK_DAYS, DayBlocks, block_starts, sum_moments
from soilcast.verify.deterministic import Moments, scores_of
from soilcast.verify.estimates import Array, Estimate, combine
from soilcast.verify.significance import draw_blocks

SHIFTS = tuple(range(-5, 6))
"""Days by which a forecast may lag behind the station that are looked at; below 0 it is ahead."""

QUANTITIES = ("offset", "gain", "noise")


@dataclass(frozen=True)
class Distortion:
    """How a forecast of some days differs from one station.

    Parameters
    ----------
    shift
        Days by which it lags behind, those at which it correlates best; 0 where that is not significantly better than
        none; NaN without enough days.
    offset
        Mean of forecast less observed [m3 m-3].
    gain
        Slope of the regression of the shifted forecast on the observations.
    noise
        Standard deviation of what is left of the forecast then [m3 m-3].
    """

    shift: float
    offset: Estimate
    gain: Estimate
    noise: Estimate


def measure_distortion(
    forecast: npt.NDArray[np.floating], observed: Mapping[int, npt.NDArray[np.floating]]
) -> Distortion:
    """Compare a forecast with a station: f(t) = a + g o(t - d) + e.

    The station is taken as the reference: its own random error lowers the gain and counts as the forecast's
    (`soilcast.verify.stations.collocation` tells them apart, with a third product).

    Parameters
    ----------
    forecast
        ``(day,)`` [m3 m-3].
    observed
        Shift d -> observations of as many days before ``(day,)`` [m3 m-3], for all of `SHIFTS`.
    """
    usable = np.isfinite(forecast) & np.all([np.isfinite(values) for values in observed.values()], axis=0)
    starts = block_starts(len(forecast), BLOCK_DAYS)
    names = {shift: f"{shift:+d}" for shift in SHIFTS}
    series = [observed[shift][np.newaxis] for shift in SHIFTS]
    offset, moments = sum_moments(forecast[np.newaxis], usable[np.newaxis], series, starts)
    moves = np.array([usable_target(np.where(usable, observed[0], np.nan)[np.newaxis].astype(np.float32))[0]])
    blocks = DayBlocks(tuple(names.values()), offset, moves, moments, daily={})
    own = int((moments[0, 0, 0] > 0).sum())
    drawn = np.concatenate([np.ones((1, blocks.count)), draw_blocks(blocks.count)])
    by_shift = {shift: blocks.centred(names[shift], drawn) for shift in SHIFTS}
    correlation = {shift: scores_of(m, moves)["r"][:, 0] for shift, m in by_shift.items()}
    shift = _shift(correlation, own)
    values = _quantities(by_shift[0], by_shift[0 if np.isnan(shift) else int(shift)])
    if not moves[0]:
        values["gain"], values["noise"] = (np.full(len(drawn), np.nan) for _ in range(2))
    return Distortion(shift, **{name: _estimate(values[name], own) for name in QUANTITIES})


def _shift(correlation: Mapping[int, Array], own: int) -> float:
    as_is = {shift: float(values[0]) for shift, values in correlation.items()}
    if not np.isfinite(list(as_is.values())).all():
        return float("nan")
    best = max(SHIFTS, key=lambda shift: (as_is[shift], -abs(shift)))
    gained = _estimate(correlation[best] - correlation[0], own)
    if not np.isfinite(gained.low):
        return 0.0 if best == 0 else float("nan")
    return float(best) if gained.low > 0 else 0.0


def _quantities(plain: Moments, shifted: Moments) -> dict[str, Array]:
    """Each ``(1 + resample,)``; in the moments the forecast is what is "observed", the station what is "predicted"."""
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = shifted.product[:, 0] / shifted.predicted[:, 0]
        rest = shifted.observed[:, 0] - gain * shifted.product[:, 0]
        noise = np.sqrt(np.maximum(rest, 0.0) / (shifted.days[:, 0] - 2))
    return {"offset": -plain.bias[:, 0], "gain": gain, "noise": noise}


def _estimate(values: Array, own: int) -> Estimate:
    return combine(values[:1], np.asarray(np.nanvar(values[1:])), own)
