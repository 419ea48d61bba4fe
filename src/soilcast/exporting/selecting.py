"""Which values of an artifact are exported: one variable, one day or for tables many, leads, one quantile or class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import days_of, open_artifact, read
from soilcast.cube.calendar import period_of
from soilcast.errors import SoilcastError
from soilcast.products.variables import DROUGHT_CLASS

_KINDS = ("forecast", "cube")
_DIMS = {"cell", "time", "lead", "quantile", DROUGHT_CLASS}


@dataclass(frozen=True)
class Band:
    """Values of one lead.

    Parameters
    ----------
    lead
        Days after the issue day [d]; None where there is none.
    day
        The day that the values are of; None where they are of none, or of all leads together.
    """

    lead: int | None
    day: np.datetime64 | None


@dataclass(frozen=True)
class Field:
    """What is exported.

    Parameters
    ----------
    opened
        The artifact: its cells and attributes.
    kind
        ``forecast`` or ``cube``.
    name
        Of the variable.
    chosen
        The days, leads, quantile and drought class of it, lazily.
    has_days
        Whether the variable is of days.
    """

    opened: xr.Dataset
    kind: str
    name: str
    chosen: xr.Dataset
    has_days: bool

    @cached_property
    def values(self) -> npt.NDArray[np.float32]:
        """Values of one day, ``(band, cell)``, NaN where missing."""
        order = [dim for dim in ("lead", "cell") if dim in self.chosen[self.name].dims]
        values = read(self.chosen.assign({self.name: self.chosen[self.name].transpose(*order)}), self.name)
        return values.reshape(-1, self.opened.sizes["cell"]).astype(np.float32, copy=False)

    @property
    def bands(self) -> tuple[Band, ...]:
        """What each band of `values` is."""
        return _bands(self.chosen, self.name, self.kind)

    @property
    def issue(self) -> np.datetime64 | None:
        """Day at whose end a forecast was made."""
        return _day(self.chosen) if self.kind == "forecast" and self.has_days else None

    @property
    def quantile(self) -> float | None:
        """Level of the values; None where they are no quantile."""
        return float(self.chosen["quantile"]) if "quantile" in self.opened[self.name].dims else None

    @property
    def drought_class(self) -> str | None:
        """Class of the values, D0 .. D4; None where they are not of one."""
        return str(self.chosen[DROUGHT_CLASS].item()) if DROUGHT_CLASS in self.opened[self.name].dims else None

    @cached_property
    def is_whole(self) -> bool:
        """Whether the values are classes or are stored as int8, and fit it; of many days by how they are stored."""
        variable = self.opened[self.name]
        stored = np.dtype(variable.encoding.get("dtype", variable.dtype))
        if "time" in self.chosen[self.name].dims:
            return bool(stored == np.int8)
        finite = self.values[np.isfinite(self.values)]
        fit = bool((np.abs(finite) < np.iinfo(np.int8).max).all() and (finite == np.rint(finite)).all())
        return fit and (stored == np.int8 or "flag_values" in variable.attrs)

    @property
    def attributes(self) -> dict[Any, Any]:
        """Of the variable."""
        return self.opened[self.name].attrs

    @property
    def long_name(self) -> str:
        """What the values are, in words."""
        name = str(self.attributes.get("long_name", self.name))
        quantile = "" if self.quantile is None else f", quantile {self.quantile:g}"
        return f"{name}{quantile}" if self.drought_class is None else f"{name}{quantile}, {self.drought_class}"

    @property
    def units(self) -> str:
        """As CF writes them."""
        return str(self.attributes.get("units", "1"))

    @property
    def nature(self) -> str:
        """What kind of numbers these are, in words: nobody shall take a forecast for an observation."""
        content = str(self.opened.attrs.get("content", "unknown data"))
        if self.kind == "cube":
            return content
        return f"model forecast, not an observation (trained on {content})"

    def about(self) -> dict[str, str]:
        """What every export says of the values: title, unit, issue day, what they are and whose."""
        told = {
            "title": str(self.opened.attrs.get("title", "")),
            "variable": self.name,
            "long_name": self.long_name,
            "units": self.units,
            "nature": self.nature,
            "source": str(self.opened.attrs.get("source", "")),
            "license": str(self.opened.attrs.get("license", "")),
            "issue_date": "" if self.issue is None else str(self.issue),
        }
        return {name: text for name, text in told.items() if text}


def select(
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

    Raises
    ------
    SoilcastError
        Something is not there, or has to be named.
    """
    opened, kind = _opened(path)
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


def _opened(path: Path) -> tuple[xr.Dataset, str]:
    """Open an artifact of a kind that can be exported."""
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


def _name(opened: xr.Dataset, variable: str, quantile: float | None, path: Path) -> str:
    """Name of the variable that is meant."""
    exportable = [
        str(name)
        for name, one in opened.data_vars.items()
        if "cell" in one.dims and set(one.dims) <= _DIMS and one.dtype.kind in "fiu"
    ]
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


def _bands(chosen: xr.Dataset, name: str, kind: str) -> tuple[Band, ...]:
    """What each band of the chosen values is."""
    at = _day(chosen)
    if "lead" not in chosen[name].dims:
        return (Band(None, None if kind == "forecast" else at),)
    leads = [int(lead) for lead in chosen["lead"].to_numpy()]
    return tuple(Band(lead, None if at is None else at + np.timedelta64(lead, "D")) for lead in leads)


def _day(chosen: xr.Dataset) -> np.datetime64 | None:
    """The one day that was chosen; None where nothing was."""
    if "time" not in chosen.coords or chosen["time"].ndim:
        return None
    return np.datetime64(str(np.datetime_as_string(chosen["time"].to_numpy(), "D")))


def _listed(names: Iterable[object]) -> str:
    shown = [f"{name:g}" if isinstance(name, float) else str(name) for name in names]
    return ", ".join(shown) or "none"
