"""Which variable of a weather forecast is which of the contract, and how its values are gathered at cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import VARIABLES, Conversion, conversion
from soilcast.errors import SoilcastError
from soilcast.sources.netcdf import naming_damage, unit_of
from soilcast.sources.parameters import parameter_of
from soilcast.sources.stamps import refuse_contradictions, sign_of
from soilcast.weather.days import STEPS, TIMES, clock_of, issue_dim_of
from soilcast.weather.places import Places, Positions

Floats = npt.NDArray[np.float32]

MEMBERS = ("number", "member", "realization")
"""Names of the dimension of an ensemble."""

_ALSO: dict[str, tuple[str, ...]] = {
    "tp": ("lwe_thickness_of_precipitation_amount", "precipitation_flux", "precipitation_amount"),
    "sf": ("lwe_thickness_of_snowfall_amount", "snowfall_flux", "snowfall_amount", "solid_precipitation_flux"),
    "smlt": ("surface_snow_melt_flux",),
    "sro": ("surface_runoff_flux",),
    "ssro": ("subsurface_runoff_flux",),
    "ro": ("runoff_flux",),
    "sd": ("surface_snow_amount",),
    "e": ("water_evapotranspiration_flux",),
    "pev": ("water_potential_evaporation_flux",),
    "ssrd": ("surface_downwelling_shortwave_flux",),
    "strd": ("surface_downwelling_longwave_flux",),
}
"""Further standard names of CF for the same quantity: in other units, or older ones."""

_EXTREMES = {"mx2t": "maximum", "mn2t": "minimum"}
_HEIGHTS = {"t2m": 2.0, "mx2t": 2.0, "mn2t": 2.0, "d2m": 2.0, "q": 2.0, "u10": 10.0, "v10": 10.0}  # m

# Values that are read from the file at a time, whatever the block that is asked for; one row at least.
_READ_AT_A_TIME = 8 << 20
_MOST_MEMBERS = 10_000


@dataclass(frozen=True, eq=False)
class Field:
    """One variable of a forecast.

    Parameters
    ----------
    name
        Name in the contract.
    values
        The variable, lazy, with the dimensions of the places, of leads, perhaps of members and issue days, and none
        else.
    member
        Name of the dimension of members; empty where there is none.
    issue
        Name of the dimension of issue days; empty where there is one forecast.
    clock
        Name of the dimension of the leads.
    rows
        Position of each issue day along ``issue`` ``(issue,)``; -1 where the file has no forecast of it.
    conversion
        From the file's unit to the contract's.
    sign
        -1 where the file counts the other way round.
    """

    name: str
    values: xr.DataArray = field(repr=False)
    member: str
    issue: str
    clock: str
    rows: Positions
    conversion: Conversion
    sign: float

    @property
    def stored(self) -> str:
        """Name in the file."""
        return str(self.values.name)

    @property
    def members(self) -> int:
        """Members of the ensemble; 1 without one."""
        return int(self.values.sizes[self.member]) if self.member else 1

    @property
    def leads(self) -> int:
        """Days ahead."""
        return int(self.values.sizes[self.clock])

    def at(self, rows: Positions, leads: slice) -> Field:
        """Keep the forecasts of some issue days, by position in the file, and some of the days ahead."""
        return replace(self, values=self.values.isel({self.clock: leads}), rows=rows)


def fields_of(
    opened: xr.Dataset, names: Sequence[str], places: Places, units: Mapping[str, str], where: str
) -> list[Field]:
    """Find variables of the contract in a forecast.

    Parameters
    ----------
    opened
        The forecast.
    names
        Names in the contract.
    places
        What `places_of` found in it.
    units
        Contract name -> unit, stronger than the file's.
    where
        The forecast's name, for the messages.

    Raises
    ------
    SoilcastError
        A variable is missing or ambiguous, has other dimensions, does not say what it counts, or has no known unit.
    """
    found = {name: _variable(opened, name, where) for name in names}
    missing = [name for name, variable in found.items() if variable is None]
    if missing:
        sought = ", ".join(f"{name} ({VARIABLES[name].standard_name or 'no standard name'})" for name in missing)
        raise SoilcastError(
            f"{where}: no {sought}, which the run needs; it has {_there(opened)}: add it, or give it its short name "
            "or standard_name"
        )
    return [
        _field(opened, name, variable, places, units.get(name), where)
        for name, variable in found.items()
        if variable is not None
    ]


def gather(one: Field, places: Places, cells: slice, where: str) -> Floats:
    """Read a variable at some cells, a few rows of the file at a time.

    Returns
    -------
    ``(member, issue, lead, cell)`` float32 in the contract's unit; NaN in cells and on issue days that the forecasts do
    not cover.
    """
    rows, columns = places.rows[cells], places.columns[cells]
    gathered = np.full((one.members, len(one.rows), one.leads, len(rows)), np.nan, dtype=np.float32)
    covered, issued = np.flatnonzero(rows >= 0), np.flatnonzero(one.rows >= 0)
    if not len(covered) or not len(issued):
        return gathered
    first, stop = int(one.rows[issued].min()), int(one.rows[issued].max()) + 1
    west, east = int(columns[covered].min()), int(columns[covered].max()) + 1
    band = max(1, _READ_AT_A_TIME // (one.members * (stop - first) * one.leads * (east - west)))
    bands = (rows[covered] - rows[covered].min()) // band
    order = *filter(None, (one.member, one.issue, one.clock)), *places.dims
    for number in np.unique(bands):
        chosen = covered[bands == number]
        top, bottom = int(rows[chosen].min()), int(rows[chosen].max()) + 1
        box = dict(zip(places.dims, (slice(top, bottom), slice(west, east)), strict=False))
        box |= {one.issue: slice(first, stop)} if one.issue else {}
        with naming_damage(Path(where)):
            block = one.values.isel(box).load().transpose(*order)
        values = block.to_numpy().reshape(one.members, stop - first, one.leads, bottom - top, east - west)
        picked = values[..., rows[chosen] - top, columns[chosen] - west].astype(np.float32)
        picked = one.conversion(picked) * np.float32(one.sign)
        gathered[:, issued[:, np.newaxis, np.newaxis], np.arange(one.leads)[:, np.newaxis], chosen] = picked[
            :, one.rows[issued] - first
        ]
    return gathered


def _variable(opened: xr.Dataset, name: str, where: str) -> xr.DataArray | None:
    """The variable of the contract's name, else the only one of its standard name."""
    if name in opened.data_vars:
        return opened[name]
    for standard in _standard_names(name):
        named = (one for one in opened.data_vars.values() if str(one.attrs.get("standard_name")) == standard)
        fitting = [variable for variable in named if _fits(variable, name)]
        if len(fitting) > 1:
            raise SoilcastError(
                f"{where}: {', '.join(str(one.name) for one in fitting)} all have the standard_name of {name}: rename "
                f"the right one to {name}"
            )
        if fitting:
            return fitting[0]
    return None


def _standard_names(name: str) -> tuple[str, ...]:
    return (*filter(None, (VARIABLES[name].standard_name,)), *_ALSO.get(name, ()))


def _fits(variable: xr.DataArray, name: str) -> bool:
    """Whether a variable of the right standard name is the mean or the extreme that is meant, and near the ground."""
    methods = str(variable.attrs.get("cell_methods", ""))
    extreme = next((word for word in _EXTREMES.values() if word in methods), None)
    return extreme == _EXTREMES.get(name) and _at_height(variable, name) and _pressure_of(variable) is None


def _at_height(variable: xr.DataArray, name: str) -> bool:
    """Whether a variable may be of the height that the contract means."""
    wanted = _HEIGHTS.get(name)
    named = [one for one in _levels(variable) if str(one.attrs.get("standard_name")) == "height"]
    return wanted is None or not named or any(abs(float(one.item()) - wanted) <= 1.0 for one in named)


def _pressure_of(variable: xr.DataArray) -> str | None:
    """The pressure that a variable is of, in words, where it says that it is aloft."""
    for level in _levels(variable):
        with suppress(SoilcastError):
            conversion("sp", unit_of(level.attrs), "")
            return f"{level.item():g} {unit_of(level.attrs)}"
    return None


def _levels(variable: xr.DataArray) -> list[xr.DataArray]:
    """Numbers that belong to a whole variable, such as its height; xarray gives it those of the file's others too."""
    said = str(variable.encoding.get("coordinates", variable.attrs.get("coordinates", ""))).split()
    own = {*said, *variable.dims}
    return [one for one in variable.coords.values() if one.name in own and one.size == 1 and one.dtype.kind in "fiu"]


def _field(
    opened: xr.Dataset, name: str, variable: xr.DataArray, places: Places, unit: str | None, where: str
) -> Field:
    _refuse_aloft(variable, name, where)
    written = unit or unit_of(variable.attrs)
    refuse_contradictions(name, variable.attrs, None if unit else written, f"{where}: {variable.name}")
    if variable.dtype.kind not in "fiu":
        raise SoilcastError(f"{where}: {variable.name} is not numeric ({variable.dtype}): correct the file")
    clock = clock_of(variable, where)
    issue = issue_dim_of(opened, variable, clock)
    member = next((dim for dim in MEMBERS if dim in variable.dims), "")
    expected = {*places.dims, clock, *filter(None, (member, issue))}
    for dim, size in variable.sizes.items():
        if dim not in expected and size > 1:
            what = "forecasts" if dim in (*STEPS, *TIMES) else "positions"
            raise SoilcastError(
                f"{where}: {variable.name} has {size} {what} along {dim}: select one (xarray: ds.isel({dim}=0))"
            )
    if not expected <= set(variable.dims):
        raise SoilcastError(
            f"{where}: {variable.name} has the dimensions ({', '.join(map(str, variable.dims))}), not all of "
            f"({', '.join(sorted(expected))}): give it the dimensions of lat and lon"
        )
    if member and variable.sizes[member] > _MOST_MEMBERS:
        raise SoilcastError(
            f"{where}: {variable.name} has {variable.sizes[member]} members along {member}: select "
            f"{_MOST_MEMBERS} at most"
        )
    return Field(
        name=name,
        values=variable.isel({dim: 0 for dim in variable.dims if dim not in expected}),
        member=member,
        issue=issue,
        clock=clock,
        rows=np.zeros(1, dtype=np.int64),
        conversion=conversion(name, written, f"{where}: {variable.name}"),
        sign=_sign(opened, variable, name, where),
    )


def _refuse_aloft(variable: xr.DataArray, name: str, where: str) -> None:
    """The short name q is that of humidity at any level; the others are of the ground alone."""
    pressure = _pressure_of(variable) if name == "q" else None
    if pressure is not None:
        raise SoilcastError(
            f"{where}: {variable.name} is at {pressure}, but {name} near the surface is needed: give the variable at "
            "2 m"
        )


def _sign(opened: xr.Dataset, variable: xr.DataArray, name: str, where: str) -> float:
    """Which way a variable counts; the contract has evaporation positive upward, ECMWF's GRIB downward."""
    attributes = variable.attrs
    if name not in ("e", "pev") or "soilcast_kind" in opened.attrs:
        return 1.0
    parameter = parameter_of(str(variable.name), attributes) if "GRIB_paramId" in attributes else None
    if parameter is not None and "positive" not in attributes:
        return parameter.sign
    if (sign := sign_of(name, attributes)) is not None:
        return sign
    raise SoilcastError(
        f"{where}: unknown sign convention of {variable.name}: set its attribute positive to up, or to down where "
        "evaporation is negative"
    )


def _there(opened: xr.Dataset) -> str:
    names = sorted(map(str, opened.data_vars))
    shown = ", ".join(names[:20]) or "no variable"
    return f"{shown}, ..." if len(names) > 20 else shown
