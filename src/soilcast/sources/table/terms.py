"""What a mapping says, worked out on opened files: places, variables, arithmetic, rules for cells."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import Conversion, conversion_between, daily_axis, days_of
from soilcast.cube.calendar import Days, period_of, refuse_other_days
from soilcast.errors import SoilcastError
from soilcast.sources.netcdf import unit_of
from soilcast.sources.stamps import covered_days, refuse_contradictions, sign_of
from soilcast.sources.table.mapping import Mapped, Mapping, Quantity, Term
from soilcast.sources.table.places import Floats, Places, holders_of
from soilcast.sources.table.tabular import Opened

AS_IT_IS = Conversion(1.0, 0.0)

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

    def evaluate(self, term: Term, targets: Sequence[str] = ()) -> tuple[xr.Variable | float, Days | None]:
        """Work out a term.

        Parameters
        ----------
        term
            What to work out.
        targets
            Names in the contract, by whose units files of a variable, and variables that are added, are converted to
            the unit of the first; without one they must have one unit.

        Returns
        -------
        ``(time, cell)``, ``(cell,)`` or a number, and the days of the first, lazy where the files are lazy.

        Raises
        ------
        SoilcastError
            A variable that no file has, of other dimensions, in another unit, or on other days than its partner.
        """
        value: Any
        days: Days | None = None
        if term.multiply_by or term.divide_by:
            targets = ()  # what a product means depends on the unit of its factors
        if term.name is None:
            value = term.value
        else:
            value, days = self._variable(term, targets)
        for name, operation in OPERATIONS.items():
            is_sum = name in ("add", "subtract")
            for operand in getattr(term, name):
                other, other_days = self.evaluate(operand, targets if is_sum else ())
                if days is not None and other_days is not None:
                    refuse_other_days(other_days, days, operand.text(), term.text())
                days = days if days is not None else other_days
                if is_sum:
                    other = self._in_unit_of(term, operand, targets)(other)
                value = operation(value, other)
        if isinstance(value, xr.Variable):
            value = value.transpose("time", "cell", missing_dims="ignore")
        return value, days

    def static(self, term: Term, targets: Sequence[str] = ()) -> Floats:
        """Work out a term that has no time, ``(cell,)``; targets as in `evaluate`.

        Raises
        ------
        SoilcastError
            It varies in time.
        """
        value, _ = self.evaluate(term, targets)
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
        """Unit in which `evaluate` gives a quantity: what the mapping says, else that of its first file.

        Parameters
        ----------
        quantity
            Of the mapping; its unit is None where the files' own are to be used.
        """
        if quantity.unit is not None:
            return quantity.unit
        if quantity.multiply_by or quantity.divide_by or quantity.name is None:
            return None
        return self._written_unit(quantity.name, (quantity.name,))

    def check_meaning(self, name: str, mapped: Mapped) -> None:
        """Refuse what the files' attributes say cannot be a daily value of a variable, or counts the other way.

        Parameters
        ----------
        name
            Name in the contract.
        mapped
            Where it comes from.

        Raises
        ------
        SoilcastError
            See `soilcast.sources.stamps.refuse_contradictions` and `soilcast.sources.stamps.sign_of`.
        """
        is_product = bool(mapped.multiply_by or mapped.divide_by)
        for term in (mapped, *mapped.add, *mapped.subtract):
            for file in holders_of(self.files, term.name) if term.name else ():
                attributes, where = file.data[term.name].attrs, f"{file.label}: {term.name}"
                unit = None if is_product or mapped.unit is not None else unit_of(attributes)
                if not is_product:
                    refuse_contradictions(name, attributes, unit, where)
                sign = sign_of(name, attributes)
                if (
                    term is mapped
                    and sign is not None
                    and "sign" not in mapped.model_fields_set
                    and sign != mapped.sign
                ):
                    raise SoilcastError(
                        f"{where}: {name} counts downward as positive by its attributes, in soilcast upward: add sign: "
                        f"-1 to variables.{name} of the mapping (or sign: 1 if the attributes are wrong)"
                    )

    def label(self, term: Term) -> str:
        """File or files that a term starts from, for messages and origins."""
        holders = self.files if term.name is None else holders_of(self.files, term.name)
        return holders[0].label if len(holders) == 1 else f"{holders[0].label} .. {holders[-1].label}"

    def _written_unit(self, name: str, targets: Sequence[str]) -> str | None:
        """Unit of the first file; where the user states one, of the first that has any."""
        units = [unit_of(file.data[name].attrs) for file in holders_of(self.files, name)]
        return units[0] if targets else next((unit for unit in units if unit is not None), None)

    def _in_unit_of(self, term: Term, operand: Term, targets: Sequence[str]) -> Conversion:
        """From the unit of what is added to that of what it is added to; numbers, and products, have none."""
        if term.name is None or operand.name is None or operand.multiply_by or operand.divide_by:
            return AS_IT_IS
        own, reference = (self._written_unit(name, targets) for name in (operand.name, term.name))
        listed = f"{term.name} [{reference or 'none'}], {operand.name} [{own or 'none'}]"
        what = f"{self.label(term)}: {term.text()} adds variables of different units ({listed})"
        return _between(own, reference, targets, what)

    def _variable(self, term: Term, targets: Sequence[str]) -> tuple[xr.Variable, Days | None]:
        assert term.name is not None
        pieces: list[tuple[Days, xr.Variable]] = []
        constants: list[xr.Variable] = []
        holders = holders_of(self.files, term.name)
        reference = self._written_unit(term.name, targets)
        for file in holders:
            array = file.data[term.name].variable
            if array.dtype.kind not in "fiub":
                raise SoilcastError(f"{file.label}: {term.name} is not numeric ({array.dtype}): correct the file")
            own = unit_of(array.attrs)
            convert = _between(
                own,
                reference,
                targets,
                f"{file.label}: {term.name} is in {own or 'no unit'}, but in {holders[0].label} in "
                f"{reference or 'no unit'}",
            )
            values = convert(self._flattened(array, term, file))
            if "time" in values.dims:
                pieces.append((_days(file, self.recipe.time), values))
            elif constants and not np.allclose(values, constants[0], rtol=1e-5, atol=0.0, equal_nan=True):
                raise SoilcastError(
                    f"{file.label}: {term.name} differs from that of {holders[0].label}: give one of the two"
                )
            else:
                constants.append(values)
        if not pieces:
            return constants[0], None
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


def _between(unit: str | None, reference: str | None, targets: Sequence[str], what: str) -> Conversion:
    """From one unit to another that means the same variable.

    Raises
    ------
    SoilcastError
        Only one of them is known, or they do not convert to each other.
    """
    if unit == reference or (not targets and None in (unit, reference)):
        return AS_IT_IS
    if unit is not None and reference is not None:
        for target in targets:
            with suppress(SoilcastError):
                return conversion_between(target, unit, reference, what)
    remedy = "correct the units attributes" if targets else "give files of one unit, since the mapping counts on one"
    raise SoilcastError(f"{what}: {remedy}")


def _time_dim(file: Opened, time: str) -> str | None:
    return str(file.data[time].dims[0]) if time in file.data.variables and file.data[time].dims else None


def _days(file: Opened, time: str) -> Days:
    return daily_axis(covered_days(file.data, time, file.label), file.label)


def _during(period: str | None, array: xr.Variable, days: Days, label: str) -> tuple[xr.Variable, Days]:
    if period is None:
        return array, days
    first, last = days_of(period)
    inside = np.flatnonzero((days >= first) & (days <= last))
    if len(inside) == 0:
        raise SoilcastError(f"{label}: no day in the period {period}: the file has {period_of(days)}")
    chosen = slice(int(inside[0]), int(inside[-1]) + 1)
    return array.isel(time=chosen), days[chosen]
