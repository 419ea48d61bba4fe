"""What a mapping says, worked out on opened files: places, variables, arithmetic, rules for cells."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import daily_axis, days_of
from soilcast.cube.calendar import Days, period_of, refuse_other_days
from soilcast.errors import SoilcastError
from soilcast.sources.netcdf import unit_of
from soilcast.sources.table.mapping import Mapping, Quantity, Term
from soilcast.sources.table.places import Floats, Places, holders_of
from soilcast.sources.table.tabular import Opened

OPERATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply_by": operator.mul,
    "divide_by": operator.truediv,
}
"""The arithmetic of a mapping, in the order in which it is done."""

RULES: dict[str, Callable[[Any, Any], Any]] = {
    "above": operator.gt,
    "at_least": operator.ge,
    "below": operator.lt,
    "at_most": operator.le,
    "one_of": np.isin,
}
"""The comparisons of ``cells.select``."""


@dataclass(frozen=True)
class Tables:
    """The opened files, read as ``(time, cell)`` and ``(cell,)``.

    Parameters
    ----------
    files
        The files.
    recipe
        The mapping.
    places
        All positions.
    kept
        The positions that are read, ``(cell,)``.
    """

    files: tuple[Opened, ...]
    recipe: Mapping
    places: Places
    kept: npt.NDArray[np.int64] = field(repr=False)

    def at(self, kept: npt.NDArray[np.int64]) -> Tables:
        """Read these positions alone."""
        return replace(self, kept=kept)

    def evaluate(self, term: Term) -> tuple[xr.Variable | float, Days | None]:
        """Work out a term.

        Returns
        -------
        ``(time, cell)``, ``(cell,)`` or a number, and the days of the first, lazy where the files are lazy.

        Raises
        ------
        SoilcastError
            A variable that no file has, of other dimensions, or on other days than its partner.
        """
        value: Any
        days: Days | None = None
        if term.name is None:
            value = term.value
        else:
            value, days = self._variable(term)
        for name, operation in OPERATIONS.items():
            for operand in getattr(term, name):
                other, other_days = self.evaluate(operand)
                if days is not None and other_days is not None:
                    refuse_other_days(other_days, days, operand.text(), term.text())
                days = days if days is not None else other_days
                value = operation(value, other)
        if isinstance(value, xr.Variable):
            value = value.transpose("time", "cell", missing_dims="ignore")
        return value, days

    def static(self, term: Term) -> Floats:
        """Work out a term that has no time, ``(cell,)``.

        Raises
        ------
        SoilcastError
            It varies in time.
        """
        value, _ = self.evaluate(term)
        if not isinstance(value, xr.Variable):
            return np.full(len(self.kept), value, dtype=np.float64)
        values = np.asarray(value.to_numpy(), dtype=np.float64)
        if "time" in value.dims:
            varies = ~((values == values[0]) | (np.isnan(values) & np.isnan(values[0]))).all(axis=0)
            if varies.any():
                raise SoilcastError(
                    f"{self.label(term)}: {term.text()} varies in time in {int(varies.sum())} cell(s), but one value "
                    "per cell is expected: name a static variable"
                )
            values = values[0]
        return values

    def unit(self, quantity: Quantity) -> str | None:
        """Unit of a quantity: what the mapping says, else what the files say.

        Raises
        ------
        SoilcastError
            Variables of different units are added, or the unit of a product is left open.
        """
        named = [quantity.name] if quantity.name else []
        units = {name: self._written_unit(name) for name in [*named, *_added(quantity)]}
        said = {unit for unit in units.values() if unit is not None}
        if len(said) > 1:
            listed = ", ".join(f"{name} [{unit}]" for name, unit in units.items())
            raise SoilcastError(
                f"{self.label(quantity)}: {quantity.text()} adds variables of different units ({listed}): convert "
                "them to one unit with multiply_by first"
            )
        if quantity.unit is not None:
            return quantity.unit
        if quantity.multiply_by or quantity.divide_by or quantity.name is None:
            return None
        return units[quantity.name]

    def label(self, term: Term) -> str:
        """File or files that a term starts from, for messages and origins."""
        holders = self.files if term.name is None else holders_of(self.files, term.name)
        return holders[0].label if len(holders) == 1 else f"{holders[0].label} .. {holders[-1].label}"

    def _written_unit(self, name: str) -> str | None:
        return unit_of(holders_of(self.files, name)[0].data[name].attrs)

    def _variable(self, term: Term) -> tuple[xr.Variable, Days | None]:
        assert term.name is not None
        pieces: list[tuple[Days, xr.Variable]] = []
        for file in holders_of(self.files, term.name):
            array = file.data[term.name].variable
            if array.dtype.kind not in "fiub":
                raise SoilcastError(f"{file.label}: {term.name} is not numeric ({array.dtype}): correct the file")
            values = self._flattened(array, term, file)
            if "time" not in values.dims:
                return values, None
            pieces.append((_days(file, self.recipe.time), values))
        pieces.sort(key=lambda piece: piece[0][0])
        joined = np.concatenate([values.data for _, values in pieces])
        days = daily_axis(np.concatenate([days for days, _ in pieces]), self.label(term))
        return _during(self.recipe.period, xr.Variable(("time", "cell"), joined), days, self.label(term))

    def _flattened(self, array: xr.Variable, term: Term, file: Opened) -> xr.Variable:
        for dim, position in term.at.items():
            if dim not in array.dims or not -array.sizes[dim] <= position < array.sizes[dim]:
                raise SoilcastError(
                    f"{file.label}: {term.name} has no position {position} along {dim!r}: "
                    f"its dimensions are {dict(array.sizes)}"
                )
        array = array.isel(term.at).copy(deep=False)
        clock = _time_dim(file, self.recipe.time)
        expected = (*((clock,) if clock in array.dims else ()), *self.places.dims)
        array = array.isel({dim: 0 for dim, size in array.sizes.items() if dim not in expected and size == 1})
        if set(array.dims) != set(expected):
            raise SoilcastError(
                f"{file.label}: {term.name} has the dimensions ({', '.join(map(str, array.dims))}); expected are "
                f"({', '.join(map(str, expected))}): select one position of any other dimension by at: {{DIMENSION: "
                "POSITION}"
            )
        array = array.transpose(*expected)
        size = len(self.places.lat)
        if int(np.prod([array.sizes[dim] for dim in self.places.dims])) != size:
            raise SoilcastError(
                f"{file.label}: lat/lon mismatch: {term.name} does not have the {size} points of lat and lon: give "
                "files of one grid"
            )
        timed = len(expected) > len(self.places.dims)
        shape = (array.shape[0], size) if timed else (size,)
        data = array.data.reshape(shape)[..., self.kept]
        for missing in self.recipe.missing_numbers:
            data = np.where(data == missing, np.nan, data)
        return xr.Variable(("time", "cell") if timed else ("cell",), data)


def keep_selected(tables: Tables) -> npt.NDArray[np.int64]:
    """Positions that every rule of ``cells.select`` lets pass.

    Raises
    ------
    SoilcastError
        None is left.
    """
    passing = np.ones(len(tables.kept), dtype=bool)
    told = []
    for name, rule in tables.recipe.cells.select.items():
        values = tables.static(Term(name=name))
        for comparison, limit in rule.model_dump(exclude_none=True).items():
            passes = np.asarray(RULES[comparison](values, limit), dtype=bool)
            told.append(f"{name} {comparison} {limit} passes {int(passes.sum())} of {len(passes)}")
            passing &= passes
    if not passing.any():
        raise SoilcastError(f"no cell is selected: {'; '.join(told)}: loosen cells.select of the mapping")
    return tables.kept[passing]


def _added(term: Term) -> list[str]:
    """Names that are added as they are; those with arithmetic of their own may have been brought to the unit."""
    operands = [*term.add, *term.subtract]
    return [item.name for item in operands if item.name and not (item.multiply_by or item.divide_by)]


def _time_dim(file: Opened, time: str) -> str | None:
    return str(file.data[time].dims[0]) if time in file.data.variables and file.data[time].dims else None


def _days(file: Opened, time: str) -> Days:
    return daily_axis(file.data[time].to_numpy(), file.label)


def _during(period: str | None, array: xr.Variable, days: Days, label: str) -> tuple[xr.Variable, Days]:
    if period is None:
        return array, days
    first, last = days_of(period)
    inside = np.flatnonzero((days >= first) & (days <= last))
    if len(inside) == 0:
        raise SoilcastError(f"{label}: no day in the period {period}: the file has {period_of(days)}")
    chosen = slice(int(inside[0]), int(inside[-1]) + 1)
    return array.isel(time=chosen), days[chosen]
