"""Daily weather of the days after issue days, from forecasts as their centres give them: step by step, run by run.

Fields are indexed first, by their headers. Then each day of each member is summed up, field after field, and laid onto
the cells: beside the result one day's field is held, and two of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from soilcast.cube import check_bounds
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.progress import progress_bar
from soilcast.sources.opening import DataFile
from soilcast.sources.parameters import NEVER_NEGATIVE
from soilcast.weather.day_terms import Terms
from soilcast.weather.forecast_runs import ChosenRun, Samples, by_run, choose_run, members_of, moment, refuse_days
from soilcast.weather.grib_steps import grib_fields
from soilcast.weather.netcdf_steps import netcdf_fields
from soilcast.weather.onto_cells import Cells, Floats
from soilcast.weather.quantities import OROGRAPHY, WEATHER_RECIPES
from soilcast.weather.step_fields import Axes, Doubles, Sample, StepField, samples_of

_AT_ONCE = 64 << 20
"""Daily fields of one member that are laid onto the cells at once, at most [bytes]; one at least."""


@dataclass(frozen=True, eq=False)
class DailyForecasts:
    """What is made of the files.

    Parameters
    ----------
    values
        ``(member, cell, issue, lead, feature)`` float32 in the contract's units; NaN on issue days without a forecast.
    covered
        Whether there is a forecast of the issue day ``(issue,)``.
    starts
        Start of the run that stands for each issue day ``(issue,)``, datetime64[h]; NaT for none.
    title
        Whose forecasts they are.
    notes
        What was left out, and which runs were taken.
    """

    values: Floats
    covered: npt.NDArray[np.bool_]
    starts: npt.NDArray[np.datetime64]
    title: str
    notes: tuple[str, ...]


def daily_forecasts(
    files: Sequence[DataFile],
    cells: Cells,
    names: Sequence[str],
    issues: Days,
    leads: int,
    *,
    units: Mapping[str, str],
    gaps: bool,
    lapse_rate: float | None = None,
    memory: int | None = None,
    progress: bool = False,
) -> DailyForecasts:
    """Make daily weather of forecasts in GRIB, NetCDF or Zarr.

    Parameters
    ----------
    files
        All that belong together: other parameters, members, steps, runs.
    cells
        Whose weather is wanted.
    names
        Variables of the contract.
    issues
        The issue days ``(issue,)``, datetime64[D]. A run stands for an issue day if it starts on that day after 00 UTC,
        or at 00 UTC of the next: at the end of the issue day.
    leads
        How many days are wanted.
    units
        Variable -> unit, stronger than the files'.
    gaps
        Issue days may have no forecast; without, the newest run that has all the days stands for an issue day, however
        old.
    lapse_rate
        By how much temperature falls with height [K km-1]: it is corrected by the difference of elevation between a
        cell and the forecast model; None leaves it.
    memory
        Memory limit [bytes], of which the result may take half.
    progress
        Show a progress bar.

    Raises
    ------
    SoilcastError
        A file is damaged or does not say of which time its values are; a variable, a step or a member is missing; runs
        contradict each other; needed cells are not covered; values out of bounds; the result takes too much memory.
    """
    where = _name(files)
    if lapse_rate is not None and "t2m" not in names:
        raise SoilcastError(
            f"--lapse-rate {lapse_rate:g}: corrects t2m, which the run does not know of the forecast days: leave it out"
        )
    fields, samples, notes = _indexed(files, names, units, lapse_rate is not None)
    chosen = [choose_run(samples, int(day), cells, leads, gaps, where) for day in issues.astype(np.int64)]
    covered = np.array([one is not None for one in chosen])
    refuse_days(chosen, issues, samples, gaps, where)
    members = members_of(chosen, where)
    shape = (len(members), len(cells), len(issues), leads, len(names))
    _refuse_memory(shape, memory, where)
    for axes in {id(one.axes): one.axes for one in fields}.values():
        cells.refuse_uncovered(axes, where)
    above = _above(fields, cells, where) if lapse_rate is not None else None
    values = np.full(shape, np.nan, dtype=np.float32)
    with progress_bar("weather", len(names) * len(members), shown=progress) as advance:
        for feature, name in enumerate(names):
            for row, member in enumerate(members):
                for issue, one in enumerate(chosen):
                    if one is not None:
                        values[row, :, issue, :, feature] = _days(name, one, member, cells, where)
                advance("")
            if above is not None and lapse_rate is not None and name == "t2m":
                values[..., feature] -= (lapse_rate * 1e-3 * above)[:, np.newaxis, np.newaxis].astype(np.float32)
            check_bounds(name, values[..., feature], where)
            if not gaps:
                cells.refuse_missing(name, values[..., feature], issues, where)
    runs = sorted({one.run for one in chosen if one is not None})
    notes += list(dict.fromkeys(note for one in chosen if one is not None for note in one.notes))
    starts = np.array([np.datetime64("NaT") if one is None else np.datetime64(one.run, "h") for one in chosen])
    return DailyForecasts(
        values, covered, starts.astype("datetime64[h]"), _title(fields, runs, len(members)), tuple(notes)
    )


def newest_start(
    files: Sequence[DataFile], cells: Cells, names: Sequence[str], issue: Days, leads: int, units: Mapping[str, str]
) -> np.datetime64:
    """Start of the forecast that stands for an issue day [h], as `daily_forecasts` chooses it; values are not read.

    Raises
    ------
    SoilcastError
        No run has all the days, or what `daily_forecasts` raises of headers.
    """
    where = _name(files)
    _, samples, _ = _indexed(files, names, units, with_orography=False)
    chosen = choose_run(samples, int(issue.astype(np.int64)), cells, leads, False, where)
    refuse_days([chosen], np.atleast_1d(issue), samples, False, where)
    assert chosen is not None
    return np.datetime64(chosen.run, "h")


def _indexed(
    files: Sequence[DataFile], names: Sequence[str], units: Mapping[str, str], with_orography: bool
) -> tuple[list[StepField], Samples, list[str]]:
    """All fields of the files that variables are made of, the variables run by run, and what is left out."""
    fields, notes = _read_index(files, names, dict(units), with_orography)
    samples = {name: by_run(samples_of(name, fields)) for name in names}
    _refuse_absent(samples, fields, _name(files))
    return fields, samples, notes


def _read_index(
    files: Sequence[DataFile], names: Sequence[str], units: dict[str, str], with_orography: bool
) -> tuple[list[StepField], list[str]]:
    """All fields of the files that variables are made of."""
    parts = {part for name in names for recipe in WEATHER_RECIPES.get(name, ()) for part in recipe.parts}
    parts |= {OROGRAPHY} if with_orography else set()
    fields: list[StepField] = []
    notes: list[str] = []
    for file in files:
        if file.format == "grib":
            found, left_out = grib_fields(Path(file.path), parts, units)
            fields, notes = fields + found, notes + left_out
        else:
            fields += netcdf_fields(file, parts, units)
    return fields, notes


def _days(name: str, chosen: ChosenRun, member: int | None, cells: Cells, where: str) -> Floats:
    """Daily values of a variable of one member, ``(cell, lead)``."""
    by_offset = chosen.days[name].get(member) or chosen.days[name][None]
    leads = len(next(iter(by_offset.values())))
    made = np.full((len(cells), leads), np.nan, dtype=np.float32)
    offsets = cells.offsets
    for offset, days in by_offset.items():
        own = np.flatnonzero(offsets == offset)
        reader = _Reader()
        first = days[0][0][0].fields[0].axes
        size = 4 * len(first.lat) * (len(first.lon) if first.is_grid else 1)
        at_once = max(1, _AT_ONCE // size)
        for start in range(0, leads, at_once):
            part = days[start : start + at_once]
            sums = [_sum(name, terms, reader, where) for terms in part]
            made[own, start : start + len(part)] = cells.lay(np.stack(sums), first, own, where).T
    return made


class _Reader:
    """Reads samples; the last is kept, as one day ends where the next begins."""

    def __init__(self) -> None:
        self._kept: tuple[Sample, tuple[Doubles, float]] | None = None

    def __call__(self, sample: Sample) -> tuple[Doubles, float]:
        if self._kept is None or self._kept[0] is not sample:
            self._kept = sample, sample.values()
        return self._kept[1]


def _sum(name: str, terms: Terms, reader: _Reader, where: str) -> Floats:
    """Weighted sum of the fields of a day."""
    total: Doubles | None = None
    rounding, axes = 0.0, terms[0][0].fields[0].axes
    for sample, weight in terms:
        for one in sample.fields:
            _refuse_other_grid(one, axes, name, where)
        values, error = reader(sample)
        total = weight * values if total is None else total + weight * values
        rounding += abs(weight) * error
    assert total is not None
    if name in NEVER_NEGATIVE:
        lowest = float(np.nanmin(total, initial=0.0))
        if lowest < -2 * rounding:
            first, last = terms[0][0], terms[-1][0]
            raise SoilcastError(
                f"{where}: {name} falls by {-lowest:.3g} between {moment(first.end)} and {moment(last.end)}, but its "
                "files say that it is accumulated since one time: they are not as their centre writes them; give the "
                "GRIB files, or amounts with time bounds (CF)"
            )
        total = np.where(total < 0.0, 0.0, total)
    return total.astype(np.float32)


def _refuse_other_grid(one: StepField, axes: Axes, name: str, where: str) -> None:
    if not one.axes.same_as(axes):
        raise SoilcastError(
            f"{where}: fields of {name} lie on different grids ({one.axes.extent}; {axes.extent}): give files of one"
        )


def _above(fields: Sequence[StepField], cells: Cells, where: str) -> Doubles:
    found = next((one for one in fields if one.quantity.name == OROGRAPHY), None)
    if found is None:
        raise SoilcastError(
            f"{where}: --lapse-rate needs the elevation of the forecast model: add the file of its geopotential or "
            "orography at the surface (z or orog, step 0), or leave --lapse-rate out"
        )
    change = found.quantity.conversion(found.where)
    return cells.elevation(found.read() * change.scale, found.axes, where)


def _refuse_absent(samples: Samples, fields: Sequence[StepField], where: str) -> None:
    missing = [name for name, each in samples.items() if not each]
    if missing:
        there = ", ".join(sorted({one.quantity.name for one in fields})) or "nothing of it"
        recipes = (recipe.parts for name in missing for recipe in WEATHER_RECIPES.get(name, ()))
        ways = "; or ".join(" with ".join(parts) for parts in recipes)
        raise SoilcastError(
            f"{where}: no {', '.join(missing)}, which the run needs; of what makes it the files hold {there}: add "
            f"{ways} of the same steps"
        )


def _refuse_memory(shape: tuple[int, ...], memory: int | None, where: str) -> None:
    size = 4 * int(np.prod(shape))
    if memory is not None and size > memory // 2:
        raise SoilcastError(
            f"{where}: the daily weather of {shape[0]} member(s) and {shape[1]} cells takes {size / 2**20:.0f} MiB, "
            f"more than half of --memory {memory / 2**20:.0f} MiB: increase it, or give fewer members"
        )


def _title(fields: Sequence[StepField], runs: Sequence[int], members: int) -> str:
    origins = ", ".join(sorted({one.origin for one in fields if one.origin}))
    started = moment(runs[0]) if len(runs) == 1 else f"{moment(runs[0])} .. {moment(runs[-1])}"
    return f"weather forecast of {started} ({origins}{f', {members} members' if members > 1 else ''})"


def _name(files: Sequence[DataFile]) -> str:
    return f"{files[0]}{f' and {len(files) - 1} more' if len(files) > 1 else ''}"
