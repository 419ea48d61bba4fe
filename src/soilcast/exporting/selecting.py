"""Which values of an artifact are exported: one variable, one day or for tables many, leads, one quantile or class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube import days_of, open_artifact
from soilcast.cube.calendar import period_of
from soilcast.errors import SoilcastError
from soilcast.exporting.field import Field
from soilcast.products.variables import DROUGHT_CLASS

_KINDS = ("forecast", "cube")
_DIMS = {"cell", "time", "lead", "quantile", DROUGHT_CLASS}


def select(
    opened: xr.Dataset,
    kind: str,
    path: Path,
    variable: str,
    *,
    lead: int | Sequence[int] | None = None,
    issue: str | None = None,
    day: str | None = None,
    quantile: float | None = None,
    drought_class: str | None = None,
    several: bool = False,
) -> Field:
    """Choose what is to be exported, of one day or, for tables, of ``several``; see `soilcast.export`.

    Parameters
    ----------
    opened, kind
        What `open_exportable` gave, or what was made of it.
    path
        Where it is from, for messages.

    Raises
    ------
    SoilcastError
        Something is not there, or has to be named.
    """
    name = _name(opened, variable, quantile, path)
    places: dict[str, Any] = {}
    if "quantile" in opened[name].dims:
        places["quantile"] = _level(opened, name, quantile, path)
    if DROUGHT_CLASS in opened[name].dims:
        places[DROUGHT_CLASS] = _class(opened, name, drought_class, path)
    elif drought_class is not None:
        raise SoilcastError(f"{path}: {name} is of no drought class: remove --drought-class")
    if "lead" in opened[name].dims:
        places["lead"] = _leads(opened, 1 if lead is None and day is not None else lead, path)
    elif lead is not None:
        raise SoilcastError(f"{path}: {name} has no leads: remove --lead")
    if "time" in opened[name].dims:
        ahead = [int(opened["lead"][place]) for place in places.get("lead", ())]
        places["time"] = _days(opened, kind, issue, day, ahead, path, several=several)
    elif issue is not None or day is not None:
        raise SoilcastError(f"{path}: {name} has no days: leave --{'day' if day is not None else 'issue'} out")
    return Field(opened, kind, name, opened.isel(places), has_days="time" in places)


def select_all(
    opened: xr.Dataset,
    kind: str,
    path: Path,
    *,
    lead: int | Sequence[int] | None = None,
    issue: str | None = None,
    day: str | None = None,
    several: bool = False,
) -> list[Field]:
    """Choose every variable of each cell, day and, of a forecast, lead, with each quantile and class: see `select`.

    Raises
    ------
    SoilcastError
        As `select`; there is no such variable.
    """
    days = {"time", "lead"} if kind == "forecast" else {"time"}
    fields = []
    for name in _exportable(opened):
        dims = set(opened[name].dims) - {"cell"}
        if dims - {"quantile", DROUGHT_CLASS} != days:
            continue
        levels = opened["quantile"].to_numpy().tolist() if "quantile" in dims else [None]
        classes = opened[DROUGHT_CLASS].to_numpy().tolist() if DROUGHT_CLASS in dims else [None]
        given: dict[str, Any] = {"lead": lead, "issue": issue, "day": day, "several": several}
        fields += [
            select(opened, kind, path, name, quantile=level, drought_class=one, **given)
            for level in levels
            for one in classes
        ]
    if not fields:
        raise SoilcastError(f"{path}: no variable of {' and '.join(sorted(days))}: name one with --variable")
    return fields


def near_days(opened: xr.Dataset, kind: str, issue: str | None, day: str | None) -> xr.Dataset:
    """Keep the days that a selection may take, so that others need not be read; faults are left to `select`."""
    text = issue if day is None else day
    if text is None or "time" not in opened.dims:
        return opened
    first, last = days_of(text)
    if kind == "forecast" and day is not None:
        first = first - np.timedelta64(int(opened["lead"].max()), "D")
    days = opened["time"].to_numpy().astype("datetime64[D]")
    near = np.flatnonzero((days >= first) & (days <= last))
    return opened.isel(time=slice(int(near[0]), int(near[-1]) + 1)) if len(near) else opened


def open_exportable(path: Path) -> tuple[xr.Dataset, str]:
    """Open an artifact of a kind that can be exported, and say which.

    Raises
    ------
    SoilcastError
        It is of another kind, or damaged.
    """
    for kind in _KINDS:
        try:
            opened = open_artifact(path, kind)
        except SoilcastError as error:
            if f" {kind} is expected, but this is" not in str(error):
                raise
            continue
        _refuse_damaged(opened, path)
        return opened, kind
    raise SoilcastError(f"{path}: cannot be exported: give a {' or '.join(_KINDS)}")


def _refuse_damaged(opened: xr.Dataset, path: Path) -> None:
    """What is relied on later: cells with places, on the grid if there is one; days; leads."""
    dims = {"lat": ("cell",), "lon": ("cell",), "cell": ("cell",)}
    dims |= {
        name: (name,)
        for name in ("time", "lead", "quantile", DROUGHT_CLASS, "grid_lat", "grid_lon")
        if name in opened.dims
    }
    kinds = {"time": "M", "lead": "iu", "cell": "iu", DROUGHT_CLASS: "UOT"}
    lacking = [
        name
        for name, expected in dims.items()
        if name not in opened.coords
        or opened[name].dims != expected
        or opened[name].dtype.kind not in kinds.get(name, "fiu")
        or not opened.sizes[expected[0]]
    ]
    if not lacking and "grid_lat" in opened.coords:
        points = opened.sizes["grid_lat"] * opened.sizes.get("grid_lon", 0)
        index = opened["cell"].to_numpy()
        lacking = ["cell"] if index.min() < 0 or index.max() >= points else []
    if lacking:
        raise SoilcastError(f"{path}: {', '.join(lacking)} is missing or invalid: damaged, or not written by soilcast")


def _exportable(opened: xr.Dataset) -> list[str]:
    return [
        str(name)
        for name, one in opened.data_vars.items()
        if "cell" in one.dims and set(one.dims) <= _DIMS and one.dtype.kind in "fiu"
    ]


def _name(opened: xr.Dataset, variable: str, quantile: float | None, path: Path) -> str:
    """Name of the variable that is meant."""
    exportable = _exportable(opened)
    if variable not in exportable:
        raise SoilcastError(f"{path}: no variable {variable} by cell; it has: {_listed(exportable)}: name one of them")
    if quantile is None or "quantile" in opened[variable].dims:
        return variable
    if f"{variable}_quantile" not in exportable:
        raise SoilcastError(f"{path}: {variable} has no quantiles: remove --quantile")
    return f"{variable}_quantile"


def _level(opened: xr.Dataset, name: str, quantile: float | None, path: Path) -> int:
    levels = opened["quantile"].to_numpy()
    found = np.flatnonzero(np.isclose(levels, np.nan if quantile is None else quantile, rtol=0, atol=1e-6))
    if not len(found):
        fault = "holds several quantiles" if quantile is None else f"has no quantile {quantile:g}"
        raise SoilcastError(f"{path}: {name} {fault}; there are: {_listed(levels)}: name one with --quantile")
    return int(found[0])


def _class(opened: xr.Dataset, name: str, drought_class: str | None, path: Path) -> int:
    classes = [str(one) for one in opened[DROUGHT_CLASS].to_numpy()]
    if drought_class not in classes:
        fault = "holds several drought classes" if drought_class is None else f"has no drought class {drought_class}"
        raise SoilcastError(f"{path}: {name} {fault}; there are: {_listed(classes)}: name one with --drought-class")
    return classes.index(drought_class)


def _leads(opened: xr.Dataset, lead: int | Sequence[int] | None, path: Path) -> list[int]:
    there = opened["lead"].to_numpy().tolist()
    wanted = there if lead is None else [lead] if isinstance(lead, int) else list(lead)
    for one in wanted:
        if one not in there:
            raise SoilcastError(f"{path}: no lead {one}; it has: {_listed(there)}: name one of them with --lead")
    return [there.index(one) for one in dict.fromkeys(wanted)]


def _days(
    opened: xr.Dataset,
    kind: str,
    issue: str | None,
    day: str | None,
    leads: Sequence[int],
    path: Path,
    *,
    several: bool,
) -> int | slice:
    """Positions of issue days, by themselves or by the days that they forecast; or of the days of a cube."""
    if issue is not None and kind == "cube":
        raise SoilcastError(f"{path}: this cube has no issue days: use --day instead of --issue")
    if issue is not None and day is not None:
        raise SoilcastError(f"{path}: --issue and --day exclude each other: give one of them")
    if day is not None and kind == "forecast" and len(leads) != 1:
        fault = "several leads are wanted" if leads else "the variable has no leads"
        raise SoilcastError(f"{path}: {fault}, so --day is ambiguous: use --issue")
    shift = leads[0] if day is not None and leads else 0
    days = (opened["time"] + np.timedelta64(shift, "D")).to_numpy().astype("datetime64[D]")
    options = ["--day"] if kind == "cube" else ["--issue", "--day"][: 2 if len(leads) == 1 else 1]
    text = issue if day is None else day
    if text is None:
        if several and len(days) > 1:
            return slice(None)
        if len(days) > 1:
            raise SoilcastError(f"{path}: has the days {period_of(days)}: choose one with {' or '.join(options)}")
        return 0
    first, last = days_of(text)
    option = "--issue" if day is None else "--day"
    if first != last and not several:
        raise SoilcastError(f"{option} {text}: is more than one day, and a map is of one: write it as {days[0]}")
    matches = np.flatnonzero((days >= first) & (days <= last))
    if not len(matches):
        what = "issue day" if day is None else "day"
        raise SoilcastError(f"{path}: no {what} {text} among {period_of(days)}: name one of them")
    return int(matches[0]) if len(matches) == 1 else slice(int(matches[0]), int(matches[-1]) + 1)


def _listed(names: Iterable[object]) -> str:
    shown = [f"{name:g}" if isinstance(name, float) else str(name) for name in names]
    return ", ".join(shown) or "none"
