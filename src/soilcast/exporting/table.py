"""Fields as a table, CSV or Parquet: a row for each cell, day and lead, written block by block of cells."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilcast.cube import read
from soilcast.errors import SoilcastError
from soilcast.exporting.field import Field, about_all
from soilcast.files import harmless_table
from soilcast.ownership import GENERATOR

_ROWS = 1 << 20
"""Rows that are held at a time, or those of one chunk of cells."""

_CELL_COLUMNS = ("cell", "cell_name", "lat", "lon")
_ORDER = ("cell", "time", "lead")

Append = Callable[[pd.DataFrame], None]


def write_table(fields: Sequence[Field], partial: Path, out: Path) -> None:
    """Write fields: cell, its name if it has one, latitude, longitude, days and lead, and a column of values of each.

    Rows are in the order of the cells, of each in that of the days, and of each of these in that of the leads.

    Parameters
    ----------
    fields
        What to write, of the same cells, days and leads; missing values are left empty.
    partial
        Where to write.
    out
        What it will be called: ``.csv`` or ``.parquet``.

    Raises
    ------
    SoilcastError
        Parquet without the extra of that name, or damaged values.
    """
    write = _parquet if out.suffix.lower() == ".parquet" else _csv
    with write(partial, fields) as append:
        for rows in _rows(fields):
            append(rows)


def _rows(fields: Sequence[Field]) -> Iterator[pd.DataFrame]:
    field = fields[0]
    chosen, cells = field.chosen, field.opened.sizes["cell"]
    dims = tuple(dim for dim in _ORDER if dim in chosen[field.name].dims)
    shape = tuple(chosen.sizes[dim] for dim in dims[1:])
    each = int(np.prod(shape))
    step = max(1, _ROWS // each)
    chunk = chosen[field.name].encoding.get("chunks") or chosen[field.name].encoding.get("chunksizes")
    if chunk:  # a chunk of a store is decoded whole, so it is read once
        step = max(step // chunk[0] * chunk[0], chunk[0])
    is_one = len(fields) == 1
    ordered = [one.chosen.assign({one.name: one.chosen[one.name].transpose(*dims)}) for one in fields]
    same = _same_for_all_cells(field, dims[1:], shape, is_one=is_one)
    about = {name: chosen[name].to_numpy() for name in _CELL_COLUMNS if name in chosen}
    for start in range(0, cells, step):
        block = slice(start, start + step)
        columns: dict[str, Any] = {name: np.repeat(one[block], each) for name, one in about.items()}
        columns |= {name: np.tile(one, len(range(cells)[block])) for name, one in same.items()}
        for one, values_of in zip(fields, ordered, strict=True):
            values = read(values_of, one.name, block).ravel()
            columns[one.name if is_one else one.column] = pd.array(values).astype("Int16") if one.is_whole else values
        yield pd.DataFrame(columns)


def _same_for_all_cells(
    field: Field, dims: tuple[str, ...], shape: tuple[int, ...], *, is_one: bool
) -> dict[str, npt.NDArray[Any]]:
    """Columns of days and leads of one cell ``(row,)``, and of a single field those of its quantile and class."""
    chosen = field.chosen
    index = dict(zip(dims, np.indices(shape), strict=True))
    columns: dict[str, npt.NDArray[Any]] = {}
    days = None
    if "time" in chosen.coords and field.has_days:
        stored = np.atleast_1d(chosen["time"].to_numpy()).astype("datetime64[D]")
        days = stored[index["time"]] if "time" in index else np.full(shape, stored[0])
        if field.kind == "forecast":
            columns["issue_date"] = days
    if "lead" in index:
        lead = chosen["lead"].to_numpy()[index["lead"]]
        columns["lead"] = lead
        if days is not None:
            columns["valid_date"] = days + lead.astype("timedelta64[D]")
    elif days is not None and field.kind == "cube":
        columns["date"] = days
    if is_one and field.quantile is not None:
        columns["quantile"] = np.full(shape, field.quantile)
    if is_one and field.drought_class is not None:
        columns["drought_class"] = np.full(shape, field.drought_class)
    flat = {name: np.ravel(one) for name, one in columns.items()}
    return {name: one.astype(str) if one.dtype.kind == "M" else one for name, one in flat.items()}


@contextmanager
def _csv(partial: Path, fields: Sequence[Field]) -> Iterator[Append]:
    with partial.open("w", encoding="utf-8", newline="") as stream:

        def append(rows: pd.DataFrame) -> None:
            # Seven digits are what float32 holds, and a hand's breadth of the place of a cell is enough.
            harmless_table(rows).to_csv(
                stream, index=False, header=stream.tell() == 0, float_format="%.7g", lineterminator="\n"
            )

        yield append


@contextmanager
def _parquet(partial: Path, fields: Sequence[Field]) -> Iterator[Append]:
    try:
        from pyarrow import parquet
        from pyarrow.lib import Table, schema
    except ImportError as error:
        raise SoilcastError("Parquet needs an extra: pip install 'soilcast[parquet]', or write .csv") from error
    writers: list[parquet.ParquetWriter] = []
    units = {one.column: one.units for one in fields} | {fields[0].name: fields[0].units}
    told = {name: text if isinstance(text, str) else json.dumps(text) for name, text in about_all(fields).items()}

    def append(rows: pd.DataFrame) -> None:
        table = Table.from_pandas(rows, preserve_index=False)
        if not writers:
            columns = [
                one.with_metadata({"units": units[one.name]}) if one.name in units else one for one in table.schema
            ]
            about = {**table.schema.metadata, "software": GENERATOR, **told}
            writers.append(parquet.ParquetWriter(partial, schema(columns, about)))
        writers[0].write_table(table.cast(writers[0].schema))

    try:
        yield append
    finally:
        for writer in writers:
            writer.close()
