"""Which values of an artifact are exported: one variable, one issue day or day, some leads, at most one quantile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import days_of, open_artifact, read
from soilcast.cube.calendar import period_of
from soilcast.errors import SoilcastError

_KINDS = ("forecast", "cube")
_DIMS = {"cell", "time", "lead", "quantile"}


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
    values
        ``(band, cell)`` float32, NaN where missing.
    bands
        What each band is.
    issue
        Day at whose end a forecast was made.
    quantile
        Level of the values; None where they are no quantile.
    is_whole
        Whether the values are small whole numbers, such as classes.
    """

    opened: xr.Dataset
    kind: str
    name: str
    values: npt.NDArray[np.float32]
    bands: tuple[Band, ...]
    issue: np.datetime64 | None
    quantile: float | None
    is_whole: bool

    @property
    def attributes(self) -> dict[Any, Any]:
        """Of the variable."""
        return self.opened[self.name].attrs

    @property
    def long_name(self) -> str:
        """What the values are, in words."""
        name = str(self.attributes.get("long_name", self.name))
        return name if self.quantile is None else f"{name}, quantile {self.quantile:g}"

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


def select(
    path: Path,
    variable: str,
    *,
    lead: int | Sequence[int] | None = None,
    issue: str | None = None,
    day: str | None = None,
    quantile: float | None = None,
) -> Field:
    """Read what is to be exported; see `soilcast.export`.

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
    if "lead" in opened[name].dims:
        places["lead"] = _leads(opened, 1 if lead is None and day is not None else lead, path)
    elif lead is not None:
        raise SoilcastError(f"{path}: {name} has no leads: remove --lead")
    if "time" in opened[name].dims:
        ahead = [int(opened["lead"][place]) for place in places.get("lead", ())]
        places["time"] = _moment(opened, kind, issue, day, ahead, path)
    elif issue is not None or day is not None:
        raise SoilcastError(f"{path}: {name} has no days: leave --{'day' if day is not None else 'issue'} out")
    chosen = opened.isel(places)
    order = [dim for dim in ("lead", "cell") if dim in chosen[name].dims]
    values = read(chosen.assign({name: chosen[name].transpose(*order)}), name)
    return Field(
        opened,
        kind,
        name,
        values.reshape(-1, opened.sizes["cell"]).astype(np.float32, copy=False),
        _bands(chosen, name, kind),
        _day(chosen) if kind == "forecast" and "time" in places else None,
        float(chosen["quantile"]) if "quantile" in places else None,
        _are_whole(opened[name], values),
    )


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
    dims |= {name: (name,) for name in ("time", "lead", "quantile", "grid_lat", "grid_lon") if name in opened.dims}
    kinds = {"time": "M", "lead": "iu", "cell": "iu"}
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


def _leads(opened: xr.Dataset, lead: int | Sequence[int] | None, path: Path) -> list[int]:
    there = opened["lead"].to_numpy().tolist()
    wanted = there if lead is None else [lead] if isinstance(lead, int) else list(lead)
    for one in wanted:
        if one not in there:
            raise SoilcastError(f"{path}: no lead {one}; it has: {_listed(there)}: name one of them with --lead")
    return [there.index(one) for one in dict.fromkeys(wanted)]


def _moment(opened: xr.Dataset, kind: str, issue: str | None, day: str | None, leads: Sequence[int], path: Path) -> int:
    """Position of the issue day of a forecast, by itself or by the day that it is of; or of the day of a cube."""
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
        if len(days) > 1:
            raise SoilcastError(f"{path}: has the days {period_of(days)}: choose one with {' or '.join(options)}")
        return 0
    first, last = days_of(text)
    option = "--issue" if day is None else "--day"
    if first != last:
        raise SoilcastError(f"{option} {text}: is more than one day: write it as {days[0]}")
    wanted = first.astype("datetime64[D]")
    found = np.flatnonzero(days == wanted)
    if not len(found):
        what = "issue day" if day is None else "day"
        raise SoilcastError(f"{path}: no {what} {wanted} among {period_of(days)}: name one of them")
    return int(found[0])


def _are_whole(variable: xr.DataArray, values: npt.NDArray[Any]) -> bool:
    """Whether the values are classes or are stored as int8, and fit it."""
    stored = np.dtype(variable.encoding.get("dtype", variable.dtype))
    finite = values[np.isfinite(values)]
    fit = bool((np.abs(finite) < np.iinfo(np.int8).max).all() and (finite == np.rint(finite)).all())
    return fit and (stored == np.int8 or "flag_values" in variable.attrs)


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
