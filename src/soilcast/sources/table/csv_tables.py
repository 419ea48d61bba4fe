"""Tables of text, whatever their layout, as one dataset ``(time, cell)``: rows are joined by cell and day."""

from __future__ import annotations

from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.schema import nearest
from soilcast.sources.delimited import NotATableError, TextTable, read_table
from soilcast.sources.table.csv_rows import Rows, place_rows, refuse_files_of_one_cell, zone_notes
from soilcast.sources.table.mapping import COLUMNS, Mapping

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CSV_CELL = "cell"
"""Name of the cell dimension that tables of text get, and of the column of cells where the mapping names none."""

_NAMED_CELLS = 5
_LONGEST_GAP = 3653
"""Days without a row in any cell, above which a date is taken to be wrong."""

_DENSE, _SPARSEST = 10_000_000, 1e-3
"""More cell-days than the first are made only if at least the second of them, as a share, have rows."""


def open_csv(files: Sequence[Path], mapping: Mapping) -> tuple[str, xr.Dataset, list[str]]:
    """Read long tables (a row per cell and day) and static tables (a row per cell), and join them.

    A table without a column of cells is one cell, named as its file.

    Parameters
    ----------
    files
        All the tables: one in all, one a variable, one a cell, one a year, in any order.
    mapping
        Names the columns.

    Returns
    -------
    Name of the files, for messages; their columns, ``(time, cell)`` or where the mapping takes one value a cell
    ``(cell,)``, every day and the cells sorted by name, with those that the mapping does not name as scalars without a
    value; and notes on what is missing.

    Raises
    ------
    SoilcastError
        As `read_table`; a time is no day, or a day has several rows in a cell; tables contradict each other; a cell has
        more than one value of what is static, or no row in a static table.
    """
    label = files[0].name if len(files) == 1 else f"{files[0].name} .. {files[-1].name}"
    tables, notes = _read(files, mapping, label)
    names, rows = place_rows(tables, mapping)
    notes += [note for table in tables for note in table.notes] + zone_notes(rows)
    long, static = [one for one in rows if one.days is not None], [one for one in rows if one.days is None]
    constant = mapping.static_names()
    refuse_files_of_one_cell(long, names, constant, mapping.cells.lat, mapping.cells.lon)
    time = _days(long, names, label)
    data = xr.Dataset(coords={mapping.time: time.astype("datetime64[ns]"), CSV_CELL: np.array(names)})
    covered: dict[str, Mask] = {}
    for name in dict.fromkeys(name for one in rows for name in one.table.numbers):
        holders = [one for one in rows if name in one.table.numbers]
        if name in constant or any(one.days is None for one in holders):
            data[name] = (CSV_CELL, _one_a_cell(name, holders, names))
        else:
            values, covered[name] = _joined(name, holders, time, names)
            data[name] = ((mapping.time, CSV_CELL), values)
        data[name].attrs.update(_unit(name, holders))
    labels = (*mapping.time.split(COLUMNS), mapping.cells.name or CSV_CELL)
    for column in dict.fromkeys(column for table in tables for column in table.columns):
        if column not in data and column not in labels:
            data[column] = ((), np.nan)
    return label, data, [*notes, *_missing_rows(label, covered, names), *_cells_left_out(static)]


def _read(files: Sequence[Path], mapping: Mapping, label: str) -> tuple[list[TextTable], list[str]]:
    """Read the files, and say which are left out: texts that are no tables, and tables of nothing that is needed."""
    name = mapping.cells.name or CSV_CELL
    tables: list[TextTable] = []
    others: list[SoilcastError] = []
    for file in files:
        try:
            table = read_table(
                file,
                time=mapping.time.split(COLUMNS),
                name=name,
                numbers=mapping.names() - {name},
                missing=mapping.missing_texts,
                remedy="name its columns in the mapping (time, cells.name)",
            )
        except NotATableError as error:
            if file.suffix.lower() not in (".txt", ".dat"):
                raise
            others.append(error)
            continue
        if table.numbers:
            tables.append(table)
        else:
            columns = ", ".join(one for one in table.columns if one != name and one not in mapping.time.split(COLUMNS))
            others.append(
                SoilcastError(
                    f"{file}: no column is one of the mapping ({_shortened(columns)}): name them there; if they are "
                    "stations, write the table long: a row per day and station"
                )
            )
    if not any(table.time for table in tables):
        if others:
            raise others[0]
        known = dict.fromkeys(column for table in tables for column in table.columns)
        raise SoilcastError(
            f"{label}: no CSV has the time column {mapping.time!r} ({nearest(mapping.time, known)}): name it in the "
            "mapping (time)"
        )
    return tables, [f"left out: {error}" for error in others]


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]} ..."


def _days(long: Sequence[Rows], names: Sequence[str], label: str) -> npt.NDArray[np.datetime64]:
    days = np.concatenate([one.days for one in long if one.days is not None])
    present = np.unique(days)
    first, last = present[0], present[-1]
    steps = np.diff(present).astype(int)
    if (steps > _LONGEST_GAP).any():
        after = int(np.argmax(steps))
        raise SoilcastError(
            f"{label}: no row between {present[after]} and {present[after + 1]}: correct the date that is far off, or "
            "give the tables before and after apart"
        )
    size = int((last - first).astype(int) + 1) * len(names)
    if size > _DENSE and len(days) < _SPARSEST * size:
        raise SoilcastError(
            f"{label}: {len(days)} rows for {first} .. {last} in {len(names)} cells: correct the dates that are far off"
        )
    return np.arange(first, last + 1)


def _joined(
    name: str, holders: Sequence[Rows], time: npt.NDArray[np.datetime64], names: Sequence[str]
) -> tuple[Floats, Mask]:
    """A column of all tables, and where it has rows, both ``(time, cell)``."""
    values, covered = np.full((len(time), len(names)), np.nan), np.zeros((len(time), len(names)), dtype=np.bool_)
    for one in holders:
        assert one.days is not None
        at = ((one.days - time[0]).astype(np.int64), one.cells)
        given, before = one.table.numbers[name], values[at]
        differ = (given != before) & np.isfinite(given) & np.isfinite(before)
        if differ.any():
            row = int(np.argmax(differ))
            raise SoilcastError(
                f"{one.at(row)}, column {name!r}: {given[row]:g} for cell {names[one.cells[row]]} on {one.days[row]}, "
                f"but another file has {before[row]:g}: remove one of the two"
            )
        values[at] = np.where(np.isnan(given), before, given)
        covered[at] = True
    return values, covered


def _one_a_cell(name: str, holders: Sequence[Rows], names: Sequence[str]) -> Floats:
    """A column with one value a cell, ``(cell,)``."""
    values, has_row = np.full(len(names), np.nan), np.zeros(len(names), dtype=np.bool_)
    for one in holders:
        mine = one.cells >= 0
        cells, given, lines = one.cells[mine], one.table.numbers[name][mine], np.flatnonzero(mine)
        present, first = np.unique(cells, return_index=True)
        fresh = ~has_row[present] | np.isnan(values[present])
        values[present[fresh]] = given[first][fresh]
        has_row[present] = True
        differ = (given != values[cells]) & ~(np.isnan(given) & np.isnan(values[cells]))
        if differ.any():
            row = int(np.argmax(differ))
            raise SoilcastError(
                f"{one.at(lines[row])}, column {name!r}: {_number(given[row])} for cell {names[cells[row]]}, but "
                f"{_number(values[cells[row]])} elsewhere: give each cell one value"
            )
    if not has_row.all():
        raise SoilcastError(
            f"{holders[0].table.path}: {int((~has_row).sum())} cell(s) have no row with {name!r}, such as "
            f"{names[int(np.argmin(has_row))]}: add them"
        )
    return values


def _number(value: float) -> str:
    return "no value" if np.isnan(value) else f"{value:.10g}"


def _unit(name: str, holders: Sequence[Rows]) -> dict[str, str]:
    units = {one.table.units.get(name, ""): one.table.path for one in holders}
    if len(units) > 1:
        written = ", ".join(f"{unit or 'none'} in {path}" for unit, path in units.items())
        raise SoilcastError(f"column {name!r} has different units ({written}): write all files in one unit")
    unit = next(iter(units))
    return {"units": unit} if unit else {}


def _missing_rows(label: str, covered: MappingOf[str, Mask], names: Sequence[str]) -> list[str]:
    """Count the days without a row, cell by cell, of columns that have them alike."""
    alike: dict[bytes, list[str]] = {}
    for name, mask in covered.items():
        alike.setdefault(np.packbits(mask).tobytes(), []).append(name)
    notes = []
    for columns in alike.values():
        mask = covered[columns[0]]
        missing = (~mask).sum(axis=0)
        cells = np.flatnonzero(missing)
        if len(cells):
            counts = ", ".join(f"{names[cell]} on {missing[cell]}" for cell in cells[:_NAMED_CELLS])
            more = f" (and in {len(cells) - _NAMED_CELLS} more cells)" if len(cells) > _NAMED_CELLS else ""
            empty = int((~mask.any(axis=1)).sum())
            everywhere = f", {empty} of these in all cells" if empty and len(names) > 1 else ""
            what = "" if len(alike) == 1 else f"{', '.join(columns)}: "
            notes.append(f"{label}: {what}no row in {counts} of {len(mask)} days{everywhere}{more}")
    return notes


def _cells_left_out(static: Sequence[Rows]) -> list[str]:
    counts = {one.table.path.name: int((one.cells < 0).sum()) for one in static}
    return [f"{name}: left out are {count} cell(s) without any day" for name, count in counts.items() if count]
