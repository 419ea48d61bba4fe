"""Sums over blocks of days: all that scores, and their scores on resampled days, are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.progress import progress_bar
from soilcast.training.inputs import block_size
from soilcast.verify.aligned import Aligned
from soilcast.verify.blocks import measure
from soilcast.verify.case import Case, Opened, make_case, open_files
from soilcast.verify.consistency import Readings
from soilcast.verify.entries import open_entries
from soilcast.verify.loading import GROUP, align, load_target
from soilcast.verify.metrics import BUILT_IN, crps_by_day

BLOCK_DAYS = 45
"""Days of a block. Blocks much longer than errors last can be taken as independent of one another, and a year should
hold enough of them. Differences of squared errors of the built-in planet's networks last for days to weeks: the error
of their mean hardly grows with the block from 45 days on, in most cells."""

_MOMENTS = ("days", "observed", "predicted", "observed squared", "predicted squared", "product")
_HELD = 512 * 2**20
"""Sums of so many bytes are taken in one pass over the files."""

_SMALLEST_VARIANCE = 1e-12  # [m6 m-6] of a day: below it, soil moisture is constant but for rounding

Array = npt.NDArray[np.float64]
_Part = tuple[Array, Array, dict[str, Array], dict[str, Array]]


@dataclass(frozen=True)
class DayBlocks:
    """Sums over blocks of days of one target and lead, of every model and cell, over the days that all models have.

    Parameters
    ----------
    models
        Labels: the forecasts, then the baselines.
    offset
        Mean observation ``(cell,)``, which is taken off all that is summed [m3 m-3].
    moments
        ``(6, model, cell, block)``: the number of days, and the sums of observed, predicted, their squares and their
        product.
    followed
        Metric that is a mean over days -> ``(2, model, cell, block)``: its sum over days, and days counted. It is
        ``crps``; and of consistency (Eq. 19), whose sum is that of the days consistent with the water balance.
    whole
        Metric of the user's own -> ``(model, cell)``, of all days together: it has no sums that days could be resampled
        from.
    """

    models: tuple[str, ...]
    offset: Array
    moments: Array
    followed: Mapping[str, Array]
    whole: Mapping[str, Array] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of blocks."""
        return int(self.moments.shape[-1])

    @property
    def metrics(self) -> tuple[str, ...]:
        """What `scores` gives."""
        return ("r", "rmse", "r2", "kge", "bias", *self.followed, *self.whole)

    def of_cells(self, inside: npt.NDArray[np.bool_]) -> DayBlocks:
        """Keep some of the cells."""
        followed = {name: days[:, :, inside] for name, days in self.followed.items()}
        whole = {name: values[:, inside] for name, values in self.whole.items()}
        return DayBlocks(self.models, self.offset[inside], self.moments[:, :, inside], followed, whole)

    def scores(self, model: str, weights: Array | None = None) -> dict[str, Array]:
        """Score a model on the test days, or on resamples of their blocks.

        Parameters
        ----------
        model
            Its label.
        weights
            ``(resample, block)``, how often each block counts; by default once.

        Returns
        -------
        Metric -> ``(resample, cell)``; NaN where it is not defined, as in `soilcast.verify.metrics.score_cells`, and of
        resamples in a metric of the user's own.
        """
        position = self.models.index(model)
        taken = np.ones((1, self.count)) if weights is None else weights
        with np.errstate(divide="ignore", invalid="ignore"):
            measured = _scores([taken @ one.T for one in self.moments[:, position]], self.offset)
            for name, days in self.followed.items():
                total, counted = (taken @ one.T for one in days[:, position])
                measured[name] = np.where(counted > 0, total / counted, np.nan)
        for name, values in self.whole.items():
            known = values[position] if weights is None else np.nan
            measured[name] = np.broadcast_to(known, (len(taken), len(self.offset)))
        return measured


def sum_day_blocks(
    forecasts: Sequence[str | Path],
    cube: str | Path,
    readings: Readings,
    *,
    target: str | None = None,
    block_days: int = BLOCK_DAYS,
    progress: bool = False,
) -> dict[tuple[str, int], DayBlocks]:
    """Sum forecasts and baselines over blocks of the issue days, of each target and lead.

    Parameters
    ----------
    forecasts
        What `forecast` wrote on this cube: see `soilcast.evaluate`.
    cube
        The cube.
    readings
        Name -> water balance by which consistency is measured, of every target; each gives a metric of this name, and
        one with ``_masked`` at its end for the days that Eq. 13 keeps.
    target
        Sum this one alone; by default all that the forecasts have in common.
    block_days
        Days of a block; blocks are of equal length to a day, and none is shorter.
    progress
        Show a bar.

    Returns
    -------
    (target, lead) -> sums; target by target, and each lead by lead.

    Raises
    ------
    SoilcastError
        Forecasts that do not belong to this cube or to each other, no cell-day that all models have.
    """
    case = case_of(forecasts, cube, readings)
    return dict(sum_case(case if target is None else replace(case, targets=(target,)), block_days, progress=progress))


def case_of(forecasts: Sequence[str | Path], cube: str | Path, readings: Readings) -> Case:
    """Lay down what is summed, as `sum_day_blocks` takes it.

    Raises
    ------
    SoilcastError
        Forecasts that do not belong to this cube or to each other.
    """
    with open_cube(cube) as opened:
        entries = open_entries([Path(path) for path in forecasts], opened, reserved=tuple(BASELINES))
        return make_case(entries, opened, Path(cube), dict.fromkeys(entries[0].targets, readings))


def sum_case(
    case: Case, block_days: int = BLOCK_DAYS, *, progress: bool = False
) -> Iterator[tuple[tuple[str, int], DayBlocks]]:
    """Do what `sum_day_blocks` does, of what is evaluated: target by target, and each lead by lead.

    The files are read once for as many leads as there is room for the sums of: who takes one after the other holds no
    more than that, however many leads there are. A lead without a cell-day that all models have is passed over.

    Raises
    ------
    SoilcastError
        No lead has any.
    """
    starts = block_starts(case.issues, block_days)
    wanted = [(target, lead) for target in case.targets for lead in range(1, case.leads + 1)]
    followed = 1 + 2 * max(len(of) for of in case.readings.values())
    is_empty = True
    with open_files(case) as files:
        sums = len(case.models) * files.cube.sizes["cell"] * len(starts) * (len(_MOMENTS) + 2 * followed)
        together = max(1, _HELD // (8 * sums))
        for first in range(0, len(wanted), together):
            parts = _sum_blocks(case, files, wanted[first : first + together], starts, progress=progress)
            for one, of in parts:
                if any(part[1][0].any() for part in of):
                    is_empty = False
                    yield one, _joined(case, of)
                of.clear()
    if is_empty:
        raise SoilcastError(
            f"{case.cube}: no cell-day is common to observations and all models: forecast a period with observations"
        )


def _sum_blocks(
    case: Case, files: Opened, wanted: Sequence[tuple[str, int]], starts: npt.NDArray[np.int64], *, progress: bool
) -> list[tuple[tuple[str, int], list[_Part]]]:
    """Give the sums of blocks of cells of some targets and leads, read in one pass."""
    parts: dict[tuple[str, int], list[_Part]] = {one: [] for one in wanted}
    cells, days = files.cube.sizes["cell"], files.cube.sizes["time"]
    levels = sum(len(of) for label in case.forecasts for of in case.levels[label].values())
    readings = max(len(of) for of in case.readings.values())
    held = case.leads * (len(case.models) + levels) + len(case.models) + 4 * readings
    size = max(GROUP, block_size(days + case.issues * held, 1))
    with progress_bar("sums", -(-cells // size), shown=progress) as advance:
        for start in range(0, cells, size):
            block = slice(start, min(start + size, cells))
            for target in dict(wanted):
                loaded = load_target(case, files, target, block)
                for lead in (lead for one, lead in wanted if one == target):
                    models, _ = align(case, loaded, lead)
                    parts[target, lead].append(_sum(case, target, models, starts))
            advance("")
    return list(parts.items())


def block_starts(days: int, block_days: int) -> npt.NDArray[np.int64]:
    """First day of each block: as many blocks of ``block_days`` or a few more as there is room for, at least one."""
    count = max(1, days // block_days)
    return np.array([days * block // count for block in range(count)], dtype=np.int64)


def _sum(case: Case, target: str, models: Mapping[str, Aligned], starts: npt.NDArray[np.int64]) -> _Part:
    """Offset, moments, metric -> its sums and the days counted, and metric of the user's own, of one block of cells."""
    observed = next(iter(models.values())).observed
    usable = np.isfinite(observed)
    offset, moments = sum_moments(observed, usable, [one.central for one in models.values()], starts)
    names = ("crps", *next(iter(models.values())).signs)
    followed = {name: np.empty((2, *moments.shape[1:])) for name in names}
    for position, aligned in enumerate(models.values()):
        moved = aligned.previous.astype(np.float64) - aligned.central
        for name, sign in aligned.signs.items():
            product = sign * moved
            for number, series in enumerate((product < 0, np.abs(product) > 0)):
                followed[name][number, position] = np.add.reduceat(series.astype(np.float64), starts, axis=1)
        score = np.where(usable, crps_by_day(aligned), 0.0)
        followed["crps"][0, position] = np.add.reduceat(score, starts, axis=1)
        followed["crps"][1, position] = moments[0, position]
    whole = {name: np.full((len(models), len(observed)), np.nan) for name in case.measured if name not in BUILT_IN}
    for name, values in whole.items():
        for position, (label, aligned) in enumerate(models.items()):
            if case.is_measured(case.metrics[name], label, target):
                values[position] = measure(case.metrics[name], aligned)
    return offset, moments, followed, whole


def _joined(case: Case, parts: Sequence[_Part]) -> DayBlocks:
    return DayBlocks(
        models=tuple(case.models),
        offset=np.concatenate([part[0] for part in parts]),
        moments=np.concatenate([part[1] for part in parts], axis=2),
        followed={name: np.concatenate([part[2][name] for part in parts], axis=2) for name in parts[0][2]},
        whole={name: np.concatenate([part[3][name] for part in parts], axis=1) for name in parts[0][3]},
    )


def sum_moments(
    observed: npt.NDArray[np.floating],
    usable: npt.NDArray[np.bool_],
    models: Sequence[npt.NDArray[np.floating]],
    starts: npt.NDArray[np.int64],
) -> tuple[Array, Array]:
    """Sum observations and models over blocks of days.

    Parameters
    ----------
    observed, usable
        ``(cell, day)`` [m3 m-3], and the days that count.
    models
        Of each model ``(cell, day)`` [m3 m-3].
    starts
        First day of each block.

    Returns
    -------
    ``offset`` and ``moments`` of `DayBlocks`.
    """
    days = usable.sum(axis=1)
    offset = np.where(usable, observed, 0).sum(axis=1, dtype=np.float64) / np.maximum(days, 1)
    y = np.where(usable, observed - offset[:, np.newaxis], 0.0)
    moments = np.empty((len(_MOMENTS), len(models), len(observed), len(starts)))
    for position, values in enumerate(models):
        f = np.where(usable, values - offset[:, np.newaxis], 0.0)
        for number, series in enumerate((usable.astype(np.float64), y, f, y * y, f * f, y * f)):
            moments[number, position] = np.add.reduceat(series, starts, axis=1)
    return offset, moments


def _scores(moments: Sequence[Array], offset: Array) -> dict[str, Array]:
    """Eq. 15-18 from the six sums ``(resample, cell)``."""
    n, y, f, yy, ff, yf = moments
    spread_y, spread_f, together = yy - y * y / n, ff - f * f / n, yf - y * f / n
    spread_y, spread_f = (np.where(spread > n * _SMALLEST_VARIANCE, spread, np.nan) for spread in (spread_y, spread_f))
    error = np.maximum(yy - 2 * yf + ff, 0.0)
    r = np.clip(together / np.sqrt(spread_y * spread_f), -1.0, 1.0)
    ratio = (f / n + offset) / (y / n + offset)
    found = {
        "r": r,
        "rmse": np.sqrt(error / n),
        "r2": 1 - error / spread_y,
        "kge": 1 - np.sqrt((r - 1) ** 2 + (np.sqrt(spread_f / spread_y) - 1) ** 2 + (ratio - 1) ** 2),
        "bias": (f - y) / n,
    }
    return {name: np.where(n >= 2, values, np.nan) for name, values in found.items()}
