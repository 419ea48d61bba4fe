"""To which cell and which day each row of a table of text belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from soilcast.errors import SoilcastError
from soilcast.sources.delimited import TextTable, table_name
from soilcast.sources.delimited.dates import order_of_days
from soilcast.sources.delimited.times import stamps_of, time_texts
from soilcast.sources.table.mapping import Mapping

_CLOCKS = np.array([0, 12 * 3600], dtype="timedelta64[s]")
"""What a day may be stamped with: its begin, or its middle."""


@dataclass(frozen=True)
class Rows:
    """A table whose rows have a cell and, unless it is static, a day.

    Parameters
    ----------
    table
        The file.
    cells
        Position of the cell of each row among the names of all, ``(row,)``; -1 where a static table has others.
    days
        The day of each row, ``(row,)``; None of a static table.
    zones
        The offsets from UTC that are written in it.
    """

    table: TextTable
    cells: npt.NDArray[np.int64]
    days: npt.NDArray[np.datetime64] | None
    zones: tuple[str, ...] = ()

    def at(self, row: int | np.int64) -> str:
        """Name the file and the row."""
        return f"{self.table.path}: row {self.table.lines[row]}"


def place_rows(tables: Sequence[TextTable], mapping: Mapping) -> tuple[list[str], list[Rows]]:
    """Find the cell and the day of each row.

    Parameters
    ----------
    tables
        Long and static tables; at least one is long.
    mapping
        Says how times are written.

    Returns
    -------
    The names of the cells of all long tables, sorted; the rows of each table.

    Raises
    ------
    SoilcastError
        A row has no cell or no day, a time is no date or can be several, a cell has several rows of a day.
    """
    names = sorted({name for table in tables if table.time for name in _names(table)[1]})
    position = {name: number for number, name in enumerate(names)}
    texts = [time_texts(table) for table in tables]
    orders = {order for _, written in texts if (order := order_of_days(written)) is not None}
    order = orders.pop() if len(orders) == 1 else None
    rows = []
    for table, (codes, written) in zip(tables, texts, strict=True):
        cell_codes, cell_names = _names(table)
        if "" in cell_names:
            line = table.lines[np.argmax(cell_codes == cell_names.index(""))]
            raise SoilcastError(f"{table.path}: row {line} names no cell: add its name")
        cells = np.array([position.get(name, -1) for name in cell_names], dtype=np.int64)[cell_codes]
        if not table.time:
            _refuse_repeated(Rows(table, cell_codes, None), cell_names)
            rows.append(Rows(table, cells, None))
            continue
        stamps = stamps_of(table, codes, written, mapping.time, mapping.time_format, order_of_days(written) or order)
        placed = Rows(table, cells, stamps.days[codes], stamps.zones)
        _refuse_other_clocks(placed, stamps.clock[codes], mapping)
        _refuse_repeated(placed, names)
        rows.append(placed)
    return names, rows


def refuse_files_of_one_cell(
    long: Sequence[Rows], names: Sequence[str], constant: set[str], lat: str, lon: str
) -> None:
    """Raise `SoilcastError` if tables without a column of cells seem to be parts of one cell.

    Parameters
    ----------
    long
        The long tables.
    names
        Names of the cells.
    constant
        Columns of which each cell has one value.
    lat, lon
        The columns of the place.
    """
    remedy = "add a column that names the cell of each row (cells.name)"
    kinds: dict[frozenset[str], Rows] = {}
    places: dict[tuple[float, float] | None, Rows] = {}
    for one in long:
        if one.table.name is not None:
            continue
        kinds.setdefault(frozenset(one.table.numbers.keys() - constant), one)
        before = places.setdefault(place := _place(one, lat, lon), one)
        if place is not None and before.cells[0] != one.cells[0] and _are_apart(before, one):
            raise SoilcastError(
                f"{before.table.path} and {one.table.path} have one place, other days and no column of cells, so that "
                f"they would be two cells, {names[before.cells[0]]} and {names[one.cells[0]]}: {remedy}"
            )
    for (columns, one), (others, other) in combinations(kinds.items(), 2):
        if not columns & others and one.cells[0] != other.cells[0]:
            raise SoilcastError(
                f"{one.table.path} and {other.table.path} have other variables and no column of cells, so that they "
                f"would be two cells, {names[one.cells[0]]} and {names[other.cells[0]]}: {remedy}"
            )


def _are_apart(one: Rows, other: Rows) -> bool:
    """Whether two tables have no day in common."""
    assert one.days is not None
    assert other.days is not None
    return not np.isin(one.days, other.days).any()


def zone_notes(rows: Sequence[Rows]) -> list[str]:
    """Say which days are not those of UTC."""
    zones = sorted({zone for one in rows for zone in one.zones})
    return [f"days are calendar days as written, at UTC{' and UTC'.join(zones)}, not days of UTC"] if zones else []


def _place(rows: Rows, lat: str, lon: str) -> tuple[float, float] | None:
    numbers = rows.table.numbers
    return (float(numbers[lat][0]), float(numbers[lon][0])) if lat in numbers and lon in numbers else None


def _names(table: TextTable) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    if table.name is None:
        return np.zeros(len(table.lines), dtype=np.int64), (table_name(table.path),)
    return table.name.codes, table.name.values


def _refuse_other_clocks(rows: Rows, clock: npt.NDArray[np.timedelta64], mapping: Mapping) -> None:
    clocks = np.unique(clock)
    if len(clocks) == 1 and clocks[0] in _CLOCKS:
        return
    assert rows.days is not None
    _, counts = np.unique(np.stack([rows.cells, rows.days.astype(np.int64)]), axis=1, return_counts=True)
    times = " .. ".join(dict.fromkeys(str(one.astype("datetime64[s]"))[11:16] for one in clocks[[0, -1]]))
    if (counts > 1).any():
        raise SoilcastError(
            f"{rows.table.path}: {counts.sum()} rows of {len(counts)} days (column {mapping.time!r}, {times}), but one "
            "value a day is expected: aggregate the rows of each day first (sum rain, average soil moisture)"
        )
    raise SoilcastError(
        f"{rows.table.path}: column {mapping.time!r} stamps days with {times}, so that it is not certain which day is "
        "meant: write the date of each day alone"
    )


def _refuse_repeated(rows: Rows, names: Sequence[str]) -> None:
    days = np.zeros(len(rows.cells), dtype=np.int64) if rows.days is None else rows.days.astype(np.int64)
    order = np.lexsort((days, rows.cells))
    same = (np.diff(rows.cells[order]) == 0) & (np.diff(days[order]) == 0)
    if not same.any():
        return
    first, second = sorted(order[[np.argmax(same), np.argmax(same) + 1]])
    lines = rows.table.lines[[first, second]]
    what = "occurs twice in a static table" if rows.days is None else f"has {rows.days[first]} more than once"
    raise SoilcastError(
        f"{rows.table.path}: rows {lines[0]} and {lines[1]}: cell {names[rows.cells[first]]} {what}: remove one"
    )
