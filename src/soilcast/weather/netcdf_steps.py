"""The fields of forecasts in NetCDF and Zarr whose values are not daily, or are accumulated over the forecast.

Of which time an amount or a mean is, bounds of its axis of time say (CF), or what converters of GRIB leave:
``GRIB_stepType`` accum of a centre whose amounts are since the start of the forecast. Whatever says neither is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import is_amount
from soilcast.errors import SoilcastError
from soilcast.sources.netcdf import naming_damage, open_netcdf
from soilcast.sources.opening import DataFile
from soilcast.sources.stamps import method_of
from soilcast.sources.zarr_stores import open_zarr
from soilcast.weather.days import STEPS, TIMES, clock_of, durations, issue_dim_of, reference_times
from soilcast.weather.fields import MEMBERS, direction_of
from soilcast.weather.places import axes_in
from soilcast.weather.quantities import OROGRAPHY, Quantity, quantity_of_variable
from soilcast.weather.step_fields import UNKNOWN, Axes, Doubles, StepField

_BUCKETS = ("kwbc", "7", "cwao", "54")
"""Centres whose amounts are not all since the start of the forecast: NCEP and the Canadian centre."""

_HELD = 64 << 20
"""What successive fields of one chunk of a file take that are read at once, at most [bytes]."""

_SHORT = np.timedelta64(18, "h")

Hours = npt.NDArray[np.int64]


def holds_steps(file: DataFile) -> bool:
    """Whether a file has several values a day, or amounts that are accumulated over the forecast."""
    with _open(file) as opened:
        return any(_is_stepped(opened, variable) for variable in opened.data_vars.values())


def _open(file: DataFile) -> xr.Dataset:
    """Open a file as it is, its dimensions of starts and steps too."""
    path = Path(file.path)
    return open_zarr(path) if file.format == "zarr" else open_netcdf(path)


def _is_stepped(opened: xr.Dataset, variable: xr.DataArray) -> bool:
    clock = next((name for name in (*STEPS, *TIMES) if name in variable.dims), None)
    if clock is None or clock not in opened.variables or variable.dtype.kind not in "fiu":
        return False
    if clock in STEPS and variable.attrs.get("GRIB_stepType") == "accum" and not method_of(variable.attrs):
        return True
    bounds = _bounds(opened, clock)
    if bounds is not None:
        return bool((np.ptp(bounds, axis=1) < _SHORT).any())
    try:
        stamps = opened[clock].to_numpy() if clock in TIMES else durations(opened[clock], "")
    except SoilcastError:
        return False  # which reading it as days says
    if stamps.dtype.kind not in "mM" or stamps.ndim != 1 or np.isnat(stamps).any():
        return False
    unique, day = np.unique(stamps), np.timedelta64(1, "D")
    return len(unique) > 1 and bool((np.diff(unique) < day).any())


def netcdf_fields(file: DataFile, parts: Collection[str], units: dict[str, str]) -> list[StepField]:
    """Index the fields of a NetCDF file or a Zarr store that are of some parts.

    Parameters
    ----------
    file
        The file.
    parts
        Names of `soilcast.weather.quantities.Quantity` that are wanted.
    units
        Part -> unit, stronger than the file's.

    Raises
    ------
    SoilcastError
        The file is damaged; it does not say of which time amounts or means are; a unit contradicts what it says.
    """
    opened = _open(file)
    fields: list[StepField] = []
    for name, variable in opened.data_vars.items():
        quantity = quantity_of_variable(str(name), variable.attrs)
        if quantity is None or quantity.name not in parts or variable.dtype.kind not in "fiu":
            continue
        unit, sign = units.get(quantity.name, quantity.unit), quantity.sign
        if "GRIB_paramId" not in variable.attrs:
            sign = direction_of(opened, variable, quantity.name, str(file))
        fields += _fields(opened, variable, Quantity(quantity.name, unit, sign), str(file))
    return fields


def _fields(opened: xr.Dataset, variable: xr.DataArray, quantity: Quantity, where: str) -> Iterator[StepField]:
    named = f"{where}: {variable.name}"
    quantity.conversion(named)
    lat, lon = axes_in(opened, where)
    is_grid = lat.dims != lon.dims
    south_north, west_east = (np.asarray(one.to_numpy(), dtype=np.float64) for one in (lat, lon))
    axes = Axes(south_north, west_east, is_grid)
    places = tuple(dict.fromkeys((*lat.dims, *lon.dims)))
    member = next((dim for dim in MEMBERS if dim in variable.dims), "")
    if quantity.name == OROGRAPHY:
        first = variable.isel({dim: 0 for dim in variable.dims if dim not in places})
        yield StepField(quantity, 0, None, 0, 0, axes, _Whole(first, places, where), where=where)
        return
    clock = clock_of(variable, where)
    issue = issue_dim_of(opened, variable, clock)
    spare = [d for d in variable.dims if d not in (*places, clock, member, issue) and variable.sizes[d] > 1]
    if spare or not {*places, clock} <= set(variable.dims):
        dims = ", ".join(map(str, variable.dims))
        raise SoilcastError(
            f"{named} has the dimensions ({dims}): latitude, longitude, steps, members and starts are expected; select "
            "one of each other"
        )
    variable = variable.isel({d: 0 for d in variable.dims if d not in (*places, clock, member, issue)})
    numbers = opened[member].to_numpy() if member in opened.variables else np.arange(variable.sizes.get(member, 1))
    origin = str(opened.attrs.get("GRIB_centre", opened.attrs.get("institution", "a file that names no centre")))
    for position, (run, starts, ends) in enumerate(_times(opened, variable, quantity, clock, issue, named)):
        for row in range(variable.sizes.get(member, 1)):
            at = {issue: position} if issue else {}
            at |= {member: row} if member else {}
            series = _Series(variable, at, clock, places, where)
            for step, (start, end) in enumerate(zip(starts, ends, strict=True)):
                if quantity.is_amount and start == end:
                    _refuse_more_than_nothing(series.read(step), named)
                    continue
                yield StepField(
                    quantity=quantity,
                    run=run,
                    member=int(numbers[row]) if member else None,
                    start=int(start),
                    end=int(end),
                    axes=axes,
                    read=_Step(series, step),
                    rounding=abs(float(variable.encoding.get("scale_factor", 0.0))),
                    where=where,
                    origin=origin,
                )


def _times(
    opened: xr.Dataset, variable: xr.DataArray, quantity: Quantity, clock: str, issue: str, where: str
) -> Iterator[tuple[int, Hours, Hours]]:
    """Start of each forecast along ``issue``, and start and end of what each step is of, hours since 1970-01-01."""
    runs: Sequence[int | None]
    if clock in STEPS:
        steps = durations(opened[clock], where)
        references = reference_times(opened, issue, clock, where)
        runs = [_hours(one, where).item() for one in references]
        stamps = [_hours(reference + steps, where) for reference in references]
    else:
        stamps = [_hours(opened[clock].to_numpy(), where)]
        known = reference_times(opened, "", clock, where, needed=False)
        runs = [_hours(known[0], where).item() if len(known) else None]
    bounds = _bounds(opened, clock)
    for run, ends in zip(runs, stamps, strict=True):
        if bounds is None:
            yield (int(ends[0]) if run is None else run), _starts(opened, variable, quantity, run, ends, where), ends
            continue
        _refuse_unit(quantity, method_of(variable.attrs), where)
        begin, end = (_hours(bounds[:, side], where) for side in (0, 1))
        if bounds.dtype.kind == "m":
            begin, end = begin + (run or 0), end + (run or 0)
        if quantity.is_flux or method_of(variable.attrs) in ("mean", "sum"):
            yield (int(begin[0]) if run is None else run), begin, end
        else:
            yield (int(ends[0]) if run is None else run), ends, ends


def _starts(
    opened: xr.Dataset, variable: xr.DataArray, quantity: Quantity, run: int | None, ends: Hours, where: str
) -> Hours:
    """Starts of what steps without bounds are of."""
    attributes, step_type = variable.attrs, str(variable.attrs.get("GRIB_stepType", ""))
    method = method_of(attributes)
    if not quantity.is_flux:
        if step_type == "avg" or method in ("mean", "maximum", "minimum", "sum"):
            raise SoilcastError(
                f"{where} is no instant (GRIB_stepType {step_type or 'none'}, cell_methods {method or 'none'}), and "
                "the file lacks bounds of its times: give the GRIB file, or add time bounds (CF)"
            )
        return ends
    if quantity.is_amount and step_type == "accum" and not method:
        centre = str(opened.attrs.get("GRIB_centre", attributes.get("GRIB_centre", ""))).lower()
        if centre and centre not in _BUCKETS:
            return np.full(len(ends), UNKNOWN if run is None else run, dtype=np.int64)
        told = f"the centre {centre}, whose amounts may be of buckets" if centre else "no centre (GRIB_centre)"
        raise SoilcastError(
            f"{where} is accumulated (GRIB_stepType accum), and the file names {told}: it cannot be told since when; "
            "give the GRIB file, or add time bounds (CF) that enclose what each value is of"
        )
    if not quantity.is_amount and (method == "point" or step_type == "instant"):
        return ends
    what = "an amount" if quantity.is_amount else "an amount or mean by time"
    raise SoilcastError(
        f"{where} in {quantity.unit or 'no unit'} is {what} of which the file does not say the time (it lacks "
        f"GRIB_stepType and time bounds): it cannot be told whether it is since the start of the forecast, of each "
        "step, or an instant; give the GRIB file, or add time bounds (CF) that enclose what each value is of"
    )


def _refuse_more_than_nothing(values: Doubles, where: str) -> None:
    """At the start of a forecast nothing has fallen: sums and means of steps that kept their attributes begin so."""
    if float(np.nanmax(np.abs(values), initial=0.0)) > 0.0:
        raise SoilcastError(
            f"{where} is not 0 at the start of the forecast, since which its file says that it is accumulated "
            "(GRIB_stepType accum): its steps were changed; give the file as its centre writes it"
        )


def _refuse_unit(quantity: Quantity, method: str, where: str) -> None:
    """Refuse a unit that contradicts ``cell_methods``."""
    if quantity.is_flux and method == "mean" and is_amount(quantity.name, quantity.unit):
        raise SoilcastError(
            f"{where} is a mean (cell_methods) of amounts ({quantity.unit}): correct the unit or cell_methods, or "
            "give the GRIB file"
        )
    if quantity.is_flux and method == "sum" and not is_amount(quantity.name, quantity.unit):
        raise SoilcastError(
            f"{where} is a sum (cell_methods) of rates ({quantity.unit}): correct the unit or cell_methods, or give "
            "the GRIB file"
        )


def _bounds(opened: xr.Dataset, clock: str) -> npt.NDArray[Any] | None:
    """Begin and end of each step ``(step, 2)``, as dates or as durations; None where there are none."""
    axis = opened[clock].variable
    named = str({**axis.encoding, **axis.attrs}.get("bounds", ""))
    if named not in opened.variables or opened[named].shape != (axis.size, 2):
        return None
    values = opened[named].to_numpy()
    if values.dtype.kind in "fiu":
        unit = opened[named].attrs.get("units", {**axis.encoding, **axis.attrs}.get("units", ""))
        values = durations(opened[named].assign_attrs(units=unit), named)
    return np.sort(values, axis=1) if values.dtype.kind in "mM" and not np.isnat(values).any() else None


def _hours(moments: npt.NDArray[Any] | np.generic, where: str) -> Hours:
    """Dates or durations as whole hours."""
    values = np.asarray(moments)
    if values.dtype.kind not in "mM" or np.isnat(values).any():
        raise SoilcastError(f"{where} has steps that are no dates of a real calendar: give it CF time units")
    hours = values.astype(f"{'datetime64' if values.dtype.kind == 'M' else 'timedelta64'}[h]")
    if (hours != values).any():
        raise SoilcastError(f"{where} has steps that are no whole hours: give hourly or longer steps")
    return hours.astype(np.int64)


@dataclass(eq=False)
class _Series:
    """The steps of one member of one run; successive ones of a chunk of the file are read at once and kept."""

    variable: xr.DataArray
    at: dict[str, int]
    clock: str
    places: tuple[Any, ...]
    where: str
    _kept: tuple[int, Doubles] = field(default=(-1, np.empty((0,))))

    def read(self, step: int) -> Doubles:
        first, values = self._kept
        if not first <= step < first + len(values) or first < 0:
            each = 4 * int(np.prod([self.variable.sizes[dim] for dim in self.places]))
            sizes = self.variable.encoding.get("chunksizes") or self.variable.encoding.get("chunks") or ()
            chunk = int(dict(zip(self.variable.dims, sizes, strict=False)).get(self.clock, 1))
            count = max(1, min(chunk, _HELD // each))
            first = step // count * count
            with naming_damage(self.where):
                block = self.variable.isel({**self.at, self.clock: slice(first, first + count)}).load()
                values = block.transpose(self.clock, *self.places).to_numpy()
            self._kept = first, values
        return np.asarray(values[step - first], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class _Step:
    series: _Series
    step: int

    def __call__(self) -> Doubles:
        return self.series.read(self.step)


@dataclass(frozen=True, eq=False)
class _Whole:
    variable: xr.DataArray
    places: tuple[Any, ...]
    where: str

    def __call__(self) -> Doubles:
        with naming_damage(self.where):
            return np.asarray(self.variable.load().transpose(*self.places).to_numpy(), dtype=np.float64)
