"""Scores of each station and network with intervals that respect autocorrelation, and the answer that follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import reduce

import numpy as np
import numpy.typing as npt

from soilcast.cube import usable_target
from soilcast.verify.aligned import Aligned
from soilcast.verify.dayblocks import BLOCK_DAYS, DayBlocks, block_starts, sum_moments
from soilcast.verify.estimates import FEWEST_BLOCKS, Array, Estimate, combine
from soilcast.verify.kernels import skill_over
from soilcast.verify.significance import draw_blocks

METRICS = ("r", "anomaly_r", "rmse", "ubrmse", "bias")
"""Scores that stand with an interval, of every model."""

_NONE = (-np.inf, np.inf)
_LIMITS = {"r": (-1, 1), "anomaly_r": (-1, 1), "rmse": (0, np.inf), "ubrmse": (0, np.inf), "bias": _NONE}
"""Between which a score can be, and so its interval."""

CLIMATOLOGY = "climatology"
REFERENCES = ("persistence", "damped anomaly")
"""The station's own, which a forecast has to beat both."""


class Answer(IntEnum):
    """Whether a forecast is better than a reference, or than all of them."""

    NOT_ENOUGH = -1
    NO = 0
    YES = 1


@dataclass(frozen=True)
class LeadEstimates:
    """One target and lead at stations.

    Parameters
    ----------
    days, blocks
        Days that count, and blocks of days with any, ``(station,)``.
    scores
        (model, metric) -> estimate ``(station,)``, in the unit of the metric.
    differences
        (forecast, reference) -> RMSE less that of the reference ``(station,)`` [m3 m-3].
    skills
        (forecast, reference) -> 1 - MSE / MSE of the reference ``(station,)``.
    networks
        Network -> (forecast, reference) -> median over its stations of the RMSE less that of the reference, ``()``.
    """

    days: Array
    blocks: npt.NDArray[np.int64]
    scores: Mapping[tuple[str, str], Estimate]
    differences: Mapping[tuple[str, str], Estimate]
    skills: Mapping[tuple[str, str], Estimate]
    networks: Mapping[str, Mapping[tuple[str, str], Estimate]]


def estimate(models: Mapping[str, Aligned], forecasts: Sequence[str], networks: Sequence[str]) -> LeadEstimates:
    """Score models at stations on all days, and on resamples of blocks of `BLOCK_DAYS` days that all stations share.

    Blocks are much longer than errors last, so that the spread over resamples respects their autocorrelation; that
    stations share them respects that they depend on each other.

    Parameters
    ----------
    models
        Label -> what its scores are computed from, ``(station, day)``: forecasts and baselines on the same days.
    forecasts
        Labels of the forecasts.
    networks
        Network of each station ``(station,)``.
    """
    first = next(iter(models.values()))
    observed, usable = first.observed, np.isfinite(first.observed)
    starts = block_starts(observed.shape[1], BLOCK_DAYS)
    moves = usable_target(observed)
    blocks = _sums(models, observed, usable, starts, moves)
    anomalies = None
    if CLIMATOLOGY in models:
        cycle = models[CLIMATOLOGY].mean
        departures = {label: one.mean - cycle for label, one in models.items()}
        anomalies = _blocks(departures, observed - cycle, usable, starts, moves)
    drawn = np.concatenate([np.ones((1, blocks.count)), draw_blocks(blocks.count)])
    scored = {label: _scores(blocks, anomalies, label, drawn) for label in models}
    days_of = blocks.moments[0, 0]
    own = (days_of > 0).sum(axis=-1)
    references = [name for name in REFERENCES if name in models]
    pairs = [(label, name) for label in forecasts for name in references]
    apart = {pair: scored[pair[0]]["rmse"] - scored[pair[1]]["rmse"] for pair in pairs}
    return LeadEstimates(
        days=days_of.sum(axis=-1),
        blocks=own,
        scores={
            (label, metric): _combined(values, own) for label, of in scored.items() for metric, values in of.items()
        },
        differences={pair: _combined(values, own) for pair, values in apart.items()},
        skills={
            pair: _combined(skill_over(scored[pair[0]]["rmse"], scored[pair[1]]["rmse"], moves), own) for pair in pairs
        },
        networks={
            network: {pair: _of_network(pair, scored, own, np.array(networks) == network) for pair in pairs}
            for network in dict.fromkeys(networks)
        },
    )


def answer(difference: Estimate, at: int | tuple[()] = ()) -> Answer:
    """Whether a forecast errs less than a reference: yes where the whole interval of the difference lies below 0.

    No where the RMSE is not lower; and where it is lower, but not shown to be, the days are not enough to tell.
    """
    value, high = float(difference.value[at]), float(difference.high[at])
    if not np.isfinite(high):
        return Answer.NOT_ENOUGH
    if high < 0:
        return Answer.YES
    return Answer.NO if value >= 0 else Answer.NOT_ENOUGH


def answer_over(answers: Sequence[Answer]) -> Answer:
    """One answer over both references: yes over both, no where over either; without both, not enough."""
    if len(answers) < len(REFERENCES):
        return Answer.NO if Answer.NO in answers else Answer.NOT_ENOUGH
    return reduce(min, answers) if Answer.NO not in answers else Answer.NO


def _sums(
    models: Mapping[str, Aligned],
    observed: npt.NDArray[np.floating],
    usable: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.int64],
    moves: npt.NDArray[np.bool_],
) -> DayBlocks:
    return _blocks({label: one.mean for label, one in models.items()}, observed, usable, starts, moves)


def _blocks(
    series: Mapping[str, npt.NDArray[np.floating]],
    observed: npt.NDArray[np.floating],
    usable: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.int64],
    moves: npt.NDArray[np.bool_],
) -> DayBlocks:
    both = usable & np.isfinite(observed) & np.all([np.isfinite(values) for values in series.values()], axis=0)
    offset, moments = sum_moments(observed, both, list(series.values()), starts)
    return DayBlocks(tuple(series), offset, moves, moments, daily={})


def _scores(blocks: DayBlocks, anomalies: DayBlocks | None, label: str, drawn: Array) -> dict[str, Array]:
    """Metric -> ``(1 + resample, station)``, first of the days as they are."""
    found = blocks.scores(label, drawn)
    with np.errstate(invalid="ignore"):
        found["ubrmse"] = np.sqrt(np.maximum(found["rmse"] ** 2 - found["bias"] ** 2, 0.0))
    if anomalies is not None:
        found["anomaly_r"] = anomalies.scores(label, drawn)["r"]
    return {metric: found[metric] for metric in METRICS if metric in found}


def _combined(values: Array, own: npt.NDArray[np.int64]) -> Estimate:
    """Estimate of each station, from ``(1 + resample, station)``, by the number of its own blocks ``(station,)``."""
    known = np.isfinite(values[1:])
    count = known.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(known, values[1:], 0.0).sum(axis=0) / count
        spread = np.where(known, (values[1:] - mean) ** 2, 0.0).sum(axis=0) / count
    parts: list[Array] = [np.full(values.shape[1], np.nan) for _ in range(5)]
    for blocks, where in _by_count(own):
        one = combine(values[:1, where], spread[where], blocks)
        for whole, part in zip(parts, (one.value, one.low, one.high, one.p, one.detectable), strict=True):
            whole[where] = part
    return Estimate(*parts)


def _within(one: Estimate, lowest: float, highest: float) -> Estimate:
    return replace(one, low=np.clip(one.low, lowest, highest), high=np.clip(one.high, lowest, highest))


def _by_count(own: npt.NDArray[np.int64]) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    for blocks in np.unique(own):
        yield int(blocks), own == blocks


def _of_network(
    pair: tuple[str, str],
    scored: Mapping[str, Mapping[str, Array]],
    own: npt.NDArray[np.int64],
    inside: npt.NDArray[np.bool_],
) -> Estimate:
    """Difference of the medians over the stations of a network that have enough blocks."""
    members = inside & (own >= FEWEST_BLOCKS)
    if not members.any():
        return Estimate(*(np.full((), np.nan) for _ in range(5)))
    rmse, reference = (scored[label]["rmse"][:, members] for label in pair)
    known = np.isfinite(rmse).any(axis=0) & np.isfinite(reference).any(axis=0)
    if not known.any():
        return Estimate(*(np.full((), np.nan) for _ in range(5)))
    apart = np.nanmedian(rmse[:, known], axis=1) - np.nanmedian(reference[:, known], axis=1)
    spread = np.asarray(np.nanvar(apart[1:]))
    return combine(apart[:1], spread, int(own[members].max()))
