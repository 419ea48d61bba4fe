"""All stamps of one parameter, from however many files, in the order of time and on one grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import Conversion, Grid, conversion_between, is_amount
from soilcast.errors import SoilcastError
from soilcast.sources.era5land.recognising import Field, Hours, read_stamps
from soilcast.sources.gridded import is_monotonic, order_on
from soilcast.sources.opening import DataFile, open_datasets
from soilcast.sources.parameters import Parameter

DAY = 24
"""Hours of a day."""

_MOST_TWICE = 24
"""Stamps that two files may share, such as the midnight at which a month ends and the next begins."""


@dataclass(frozen=True, eq=False)
class Record:
    """One parameter in time.

    Parameters
    ----------
    parameter
        What it is.
    fields
        Where it lies.
    hours
        Stamps, ascending, each once ``(stamp,)``, hours since 1970-01-01 00 UTC.
    field, position
        Which of the fields holds a stamp, and where in it ``(stamp,)``.
    columns
        Of each field: position in its flattened (lat, lon) of each point of the flattened grid ``(point,)``.
    step
        Hours between stamps; 24 for daily values, and for a single stamp.
    conversions
        Of each field: from its unit to that of the first.
    """

    parameter: Parameter
    fields: tuple[Field, ...]
    hours: Hours
    field: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]
    columns: tuple[npt.NDArray[np.int64], ...]
    step: int
    conversions: tuple[Conversion, ...]

    @property
    def where(self) -> str:
        """The files, for messages."""
        first, *others = self.fields
        return f"{first.file}{f' and {len(others)} more' if others else ''}"

    def runs(self, chosen: npt.NDArray[np.int64], most: int) -> Iterator[tuple[int, slice, slice]]:
        """Cut chosen stamps into runs that lie side by side in one field.

        Parameters
        ----------
        chosen
            Numbers of stamps, ascending ``(chosen,)``.
        most
            Longest run.

        Returns
        -------
        Triples of a field's number, the positions in it, and the places in ``chosen``.
        """
        field, position = self.field[chosen], self.position[chosen]
        breaks = np.flatnonzero((np.diff(field) != 0) | (np.diff(position) != 1)) + 1
        for first, last in zip([0, *breaks], [*breaks, len(chosen)], strict=True):
            for start in range(int(first), int(last), most):
                stop = min(start + most, int(last))
                at = int(position[start])
                yield int(field[start]), slice(at, at + stop - start), slice(start, stop)

    def read(self, hours: Hours, points: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Read stamps at some points of the flattened grid, ``(stamp, point)`` in the first file's unit.

        Parameters
        ----------
        hours
            Stamps of the record, ascending.
        points
            Positions in the flattened grid.
        """
        values = np.empty((len(hours), len(points)), dtype=np.float32)
        with ExitStack() as stack:
            at_hand: tuple[DataFile, list[xr.Dataset]] | None = None
            for number, positions, places in self.runs(np.searchsorted(self.hours, hours), len(hours)):
                field = self.fields[number]
                if at_hand is None or at_hand[0] != field.file:
                    stack.close()  # a member of an archive is held in memory while it is read
                    at_hand = field.file, stack.enter_context(open_datasets(field.file))
                stamps = read_stamps(field, at_hand[1][field.dataset], positions)
                values[places] = self.conversions[number](stamps[:, self.columns[number][points]])
        return values


def whole_grid(fields: Sequence[Field]) -> Grid:
    """Give the grid of the first field, whole; all others are laid on it.

    Raises
    ------
    SoilcastError
        There is no field on a grid.
    """
    first = fields[0]
    lat = first.lat if is_monotonic(first.lat) else np.sort(first.lat)
    return Grid(lat, np.sort(first.lon), np.arange(len(first.lat) * len(first.lon), dtype=np.int64))


def make_record(fields: Sequence[Field], grid: Grid, reference: str) -> Record:
    """Put the fields of one parameter in the order of time.

    Raises
    ------
    SoilcastError
        Fields on other latitudes or longitudes, in other units, stamps that occur twice with other values.
    """
    # Files of one grid have the same columns, which are then kept, and sent to workers, once.
    kept: dict[bytes, npt.NDArray[np.int64]] = {}
    found = (columns_on(field, grid, reference) for field in fields)
    columns = tuple(kept.setdefault(one.tobytes(), one) for one in found)
    conversions = tuple(_to_unit_of(fields[0], field) for field in fields)
    hours = np.concatenate([field.hours for field in fields])
    owner = np.repeat(np.arange(len(fields)), [len(field.hours) for field in fields])
    position = np.concatenate([np.arange(len(field.hours)) for field in fields])
    order = np.argsort(hours, kind="stable")
    hours, owner, position = hours[order], owner[order], position[order]
    again = np.flatnonzero(np.diff(hours) == 0) + 1
    for number in again:
        _refuse_contradiction(
            fields, owner, position, columns, conversions, int(number), len(again), int(hours[number])
        )
    first = np.setdiff1d(np.arange(len(hours)), again)
    hours = hours[first]
    steps = np.diff(hours)
    return Record(
        parameter=fields[0].parameter,
        fields=tuple(fields),
        hours=hours,
        field=owner[first],
        position=position[first],
        columns=columns,
        step=int(min(steps.min(), DAY)) if len(steps) else DAY,
        conversions=conversions,
    )


def columns_on(field: Field, grid: Grid, reference: str) -> npt.NDArray[np.int64]:
    """Position in a field's flattened (lat, lon) of each point of the flattened grid ``(point,)``.

    Raises
    ------
    SoilcastError
        The field lies on other latitudes or longitudes than the grid.
    """
    rows, columns = order_on(field.lat, field.lon, grid, str(field.file), reference)
    return np.asarray((rows[:, np.newaxis] * len(field.lon) + columns).ravel())


def _to_unit_of(first: Field, field: Field) -> Conversion:
    """From the unit of a field to that of the first, which is of the same kind: amounts of an hour are no rates."""
    name, unit, reference = first.parameter.name, field.unit, first.unit
    if unit == reference:
        return Conversion(1.0, 0.0)
    where = (
        f"{field.file}: {name} is in {unit or 'no unit'}, but in {first.file} in {reference or 'no unit'}: give "
        "files with the same unit"
    )
    is_flux = first.parameter.kind == "accumulated"
    if unit is None or reference is None or (is_flux and is_amount(name, unit) != is_amount(name, reference)):
        raise SoilcastError(where)
    try:
        return conversion_between(name, unit, reference, where)
    except SoilcastError as error:
        raise SoilcastError(where) from error


def _refuse_contradiction(
    fields: Sequence[Field],
    owner: npt.NDArray[np.int64],
    position: npt.NDArray[np.int64],
    columns: Sequence[npt.NDArray[np.int64]],
    conversions: Sequence[Conversion],
    number: int,
    repeated: int,
    hour: int,
) -> None:
    """A stamp may occur twice at the seam of two files, if both say the same."""
    files = [fields[owner[one]].file for one in (number - 1, number)]
    name, stamp = fields[0].parameter.name, np.datetime64(hour, "h")
    if files[0] == files[1]:
        raise SoilcastError(f"{files[0]}: {name} holds {stamp} twice: remove the duplicate")
    if repeated > _MOST_TWICE:
        raise SoilcastError(
            f"{files[0]} and {files[1]} both hold {name} at {repeated} time(s), such as {stamp}: remove one of the "
            "files"
        )
    values = []
    for one in (number - 1, number):
        field, at = fields[owner[one]], int(position[one])
        with open_datasets(field.file) as datasets:
            stamp_values = read_stamps(field, datasets[field.dataset], slice(at, at + 1))[0, columns[owner[one]]]
            values.append(conversions[owner[one]](stamp_values))
    # Conversion of single precision leaves a last digit.
    rounding = 0.0 if conversions[owner[number - 1]] == conversions[owner[number]] else 1e-6
    if not np.allclose(values[0], values[1], rtol=rounding, atol=0.0, equal_nan=True):
        raise SoilcastError(
            f"{files[0]} and {files[1]} disagree: {name} has different values at {stamp}: remove one of the files"
        )
