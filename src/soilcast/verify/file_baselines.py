"""Others' forecasts of soil moisture, such as of IFS or AIFS, as baselines: in the climate of the observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.climate_matching import FEWEST_PAIRS, MATCHINGS
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.models.regressions import REGRESSIONS
from soilcast.schema import nearest
from soilcast.verify.extremes import Floats
from soilcast.verify.overlap import Overlap
from soilcast.weather import ARCHIVE, Weather, open_weather

if TYPE_CHECKING:
    from soilcast.verify.plan import Plan

Positions = npt.NDArray[np.int64]

_KINDS = (ARCHIVE, "forecast")
"""Artifacts of soilcast that hold forecasts by issue day and lead."""

_READ_BYTES = 64 << 20
"""Values of all members that are read at a time [bytes]."""


@dataclass(frozen=True)
class FileBaseline:
    """An archive of forecasts that is a baseline.

    Parameters
    ----------
    path
        The file.
    matching
        Key of `soilcast.climate_matching.MATCHINGS`.
    issued
        Issue days that it has, as positions along the cube's time, ascending ``(issue,)``.
    has_periods
        Whether its forecast days are in training and in validation often enough to learn the quantiles of its errors.
    title
        What it says that it is.
    sha256
        Hash of its content.
    """

    path: Path
    matching: str
    issued: Positions = field(repr=False)
    has_periods: bool
    title: str
    sha256: str

    def record(self) -> dict[str, str]:
        """What the scores say of it."""
        return {"path": str(self.path), "title": self.title, "sha256": self.sha256, "matching": self.matching}

    def valid_days(self, leads: int) -> Positions:
        """Days that it forecasts, as positions along the cube's time ``(issue, lead)``; they may lie outside it."""
        return self.issued[:, np.newaxis] + np.arange(1, leads + 1)


def split_names(baselines: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Path]]:
    """Tell regressions from files.

    Parameters
    ----------
    baselines
        Keys of `REGRESSIONS`, paths, or ``LABEL=PATH``.

    Returns
    -------
    The regressions, and label -> path; without a label that is the name of the file.

    Raises
    ------
    SoilcastError
        One is neither, or a label is used twice.
    """
    regressions, files = [], {}
    for text in baselines:
        if text in REGRESSIONS:
            regressions.append(text)
            continue
        label, equals, rest = text.partition("=")
        path = Path(text) if Path(text).exists() or not equals else Path(rest)
        label = path.stem if path == Path(text) else label.strip()
        if not path.exists():
            raise SoilcastError(
                f"no baseline {text} to ask for: {nearest(text, REGRESSIONS)}; nor is there a file of this name"
            )
        if not label or label in files or label in (*BASELINES, *REGRESSIONS):
            raise SoilcastError(f"--baseline {text}: the label {label!r} is used already: write LABEL={path}")
        files[label] = path
    return tuple(regressions), files


def plan_files(
    files: Mapping[str, Path],
    matching: str,
    targets: Sequence[str],
    overlap: Overlap,
    cube: xr.Dataset,
    is_calibrated: bool,
) -> dict[str, FileBaseline]:
    """Look at archives of forecasts; their values are not read, unless they are few.

    Parameters
    ----------
    files
        Label -> path.
    matching
        Key of `soilcast.climate_matching.MATCHINGS`.
    targets
        Soil layers that are evaluated.
    overlap
        Cells, days and leads.
    cube
        The opened cube.
    is_calibrated
        Whether the cube has training and validation days.

    Raises
    ------
    SoilcastError
        There is no such matching; an archive lacks a layer, a cell, the issue days that are scored or enough days
        of training and validation; and what `soilcast.weather.open_weather` raises.
    """
    if matching not in MATCHINGS:
        raise SoilcastError(f"--matching {matching} is unknown: {nearest(matching, MATCHINGS)}")
    evaluated = cube.isel(cell=overlap.cells)
    planned = {}
    for label, path in files.items():
        looked_at = np.union1d(np.flatnonzero(overlap.learn), overlap.issued)
        candidates = np.arange(int(looked_at[0]) - overlap.leads, int(looked_at[-1]) + 1)
        weather = _open(path, evaluated, targets, candidates, overlap.leads)
        issued = candidates[weather.covered]
        if not np.isin(overlap.issued, issued).any():
            days = evaluated["time"].to_numpy()[0] + overlap.issued[[0, -1]] * np.timedelta64(1, "D")
            begin, end = days.astype("datetime64[D]")
            raise SoilcastError(
                f"{path}: it has no forecast of the issue days that are scored ({begin} .. {end}): give forecasts "
                "issued on them"
            )
        found = FileBaseline(path.absolute(), matching, issued, False, weather.title, weather.sha256)
        days_of = {name: _counts(found, getattr(overlap, name), overlap.leads) for name in ("learn", "validation")}
        if matching != "none" and days_of["learn"].min() < FEWEST_PAIRS:
            raise SoilcastError(
                f"{path}: {days_of['learn'].min()} of its forecasts are of days of training and validation, to which "
                f"it is matched, but {FEWEST_PAIRS} are needed: give an archive that covers more of them, or "
                "--matching none"
            )
        training = _counts(found, overlap.training, overlap.leads)
        enough = min(training.min() if matching != "none" else FEWEST_PAIRS, days_of["validation"].min())
        has_periods = bool(is_calibrated and enough >= FEWEST_PAIRS)
        planned[label] = FileBaseline(found.path, matching, issued, has_periods, weather.title, weather.sha256)
    return planned


def open_baseline(baseline: FileBaseline, cube: xr.Dataset, target: str, leads: int) -> Weather:
    """Open the forecasts of a target.

    Raises
    ------
    SoilcastError
        The file has changed, or cannot be read.
    """
    return _open(baseline.path, cube, (target,), baseline.issued, leads)


def matched_forecasts(
    plan: Plan, label: str, opened: Weather, history: Floats, cells: slice
) -> tuple[Floats, Floats | None]:
    """Match the forecasts of some cells to the climate of their observations, each lead by itself.

    The mapping of the forecasts is fitted to the days of training and validation; that of the errors, which dress
    them, to the training days. No other day is looked at.

    Parameters
    ----------
    plan
        The evaluation.
    label
        Of the baseline.
    opened
        What `open_baseline` gave.
    history
        Observations of these cells of all days of `Plan.time`, ``(cell, time)`` [m3 m-3].
    cells
        Which of the cells that are evaluated.

    Returns
    -------
    ``(cell, issue day, lead)`` [m3 m-3] of the issue days that are scored, NaN where there is none; and, where it is
    dressed, observed less forecast on the days from the first of validation to the last, ``(lead, cell, day)``.
    """
    baseline, overlap, leads = plan.files[label], plan.overlap, plan.leads
    valid = baseline.valid_days(leads)
    inside = (valid >= 0) & (valid < len(plan.time))
    at = np.where(inside, valid, 0)
    periods = {name: _at(getattr(overlap, name), valid) for name in ("learn", "training", "validation")}
    there = np.isin(overlap.issued, baseline.issued)
    rows = np.searchsorted(baseline.issued, overlap.issued[there])
    found = np.full((len(history), plan.issues, leads), np.nan, dtype=np.float32)
    errors = None
    if baseline.has_periods:
        days = np.flatnonzero(overlap.validation)
        errors = np.full((leads, len(history), days[-1] + 1 - days[0]), np.nan, dtype=np.float32)
    fit = MATCHINGS[baseline.matching][1]
    step = max(1, _READ_BYTES // max(1, 4 * opened.size))
    for start in range(0, len(history), step):
        block = slice(cells.start + start, min(cells.start + start + step, cells.start + len(history)))
        values = opened.values(block)[..., 0].mean(axis=0, dtype=np.float64)
        observed = np.where(inside, history[start : start + len(values)][:, at], np.nan).astype(np.float64)
        is_pair = np.isfinite(values) & np.isfinite(observed)
        for cell, lead in np.ndindex(len(values), leads):
            own, truth, pairs = values[cell, :, lead], observed[cell, :, lead], is_pair[cell, :, lead]
            learnt = pairs & periods["learn"][:, lead]
            if baseline.matching == "none" or learnt.sum() >= FEWEST_PAIRS:
                found[start + cell, there, lead] = fit(own[learnt], truth[learnt])(own[rows])
            if errors is None:
                continue
            trained, held_out = pairs & periods["training"][:, lead], pairs & periods["validation"][:, lead]
            if baseline.matching == "none" or trained.sum() >= FEWEST_PAIRS:
                error = truth[held_out] - fit(own[trained], truth[trained])(own[held_out])
                errors[lead, start + cell, valid[held_out, lead] - days[0]] = error
    return np.clip(found, 0.0, 1.0), errors


def describe_files(files: Mapping[str, FileBaseline]) -> str:
    """State what baselines are read from files, and how they are matched, a line each."""
    return "\n".join(
        f"{label}: {one.title} ({one.path.name}), "
        + (
            "as it is"
            if one.matching == "none"
            else f"matched by {MATCHINGS[one.matching][0]} on the days of training and validation"
        )
        + ("" if one.has_periods else "; points, for lack of training or validation days")
        for label, one in files.items()
    )


def _open(path: Path, cube: xr.Dataset, targets: Sequence[str], issued: Positions, leads: int) -> Weather:
    first: np.datetime64 = cube["time"].to_numpy()[0].astype("datetime64[D]")
    return open_weather(path, cube, targets, first + issued, leads, gaps=True, kinds=_KINDS)


def _counts(baseline: FileBaseline, days: npt.NDArray[np.bool_], leads: int) -> Positions:
    """How many forecasts of each lead are of some days of the cube ``(lead,)``."""
    return np.asarray(_at(days, baseline.valid_days(leads)).sum(axis=0))


def _at(days: npt.NDArray[np.bool_], positions: Positions) -> npt.NDArray[np.bool_]:
    """Whether days are among those of the cube that are marked."""
    inside = (positions >= 0) & (positions < len(days))
    return inside & days[np.where(inside, positions, 0)]
