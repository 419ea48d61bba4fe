"""A field as a table, CSV or Parquet: a row for each cell, day and lead, written block by block of cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from soilcast.cube import read
from soilcast.errors import SoilcastError
from soilcast.exporting.selecting import Field
from soilcast.files import harmless_table
from soilcast.ownership import GENERATOR

_ROWS = 1 << 20
"""Rows that are held at a time, or those of one chunk of cells."""

_CELL_COLUMNS = ("cell", "cell_name", "lat", "lon")
_ORDER = ("cell", "time", "lead")

Append = Callable[[pd.DataFrame], None]


def write_table(field: Field, partial: Path, out: Path) -> None:
    """Write a field: cell, its name if it has one, latitude, longitude, days and lead, and the value.

    Rows are in the order of the cells, of each in that of the days, and of each of these in that of the leads.

    Parameters
    ----------
    field
        What to write; missing values are left empty.
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
    with write(partial) as append:
        for rows in _rows(field):
            append(rows)


def _rows(field: Field) -> Iterator[pd.DataFrame]:
    chosen, cells = field.chosen, field.opened.sizes["cell"]
    dims = tuple(dim for dim in _ORDER if dim in chosen[field.name].dims)
    shape = tuple(chosen.sizes[dim] for dim in dims[1:])
    each = int(np.prod(shape))
    step = max(1, _ROWS // each)
    chunk = chosen[field.name].encoding.get("chunks") or chosen[field.name].encoding.get("chunksizes")
    if chunk:  # a chunk of a store is decoded whole, so it is read once
        step = max(step // chunk[0] * chunk[0], chunk[0])
    ordered = chosen.assign({field.name: chosen[field.name].transpose(*dims)})
    same = _same_for_all_cells(field, dims[1:], shape)
    about = {name: chosen[name].to_numpy() for name in _CELL_COLUMNS if name in chosen}
    for start in range(0, cells, step):
        block = slice(start, start + step)
        values = read(ordered, field.name, block)
        columns: dict[str, Any] = {name: np.repeat(one[block], each) for name, one in about.items()}
        columns |= {name: np.tile(one, len(values)) for name, one in same.items()}
        columns[field.name] = pd.array(values.ravel()).astype("Int16") if field.is_whole else values.ravel()
        yield pd.DataFrame(columns)


def _same_for_all_cells(field: Field, dims: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, npt.NDArray[Any]]:
    """Columns of days, leads, quantile and drought class of one cell, ``(row,)``."""
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
    if field.quantile is not None:
        columns["quantile"] = np.full(shape, field.quantile)
    if field.drought_class is not None:
        columns["drought_class"] = np.full(shape, field.drought_class)
    flat = {name: np.ravel(one) for name, one in columns.items()}
    return {name: one.astype(str) if one.dtype.kind == "M" else one for name, one in flat.items()}


@contextmanager
def _csv(partial: Path) -> Iterator[Append]:
    with partial.open("w", encoding="utf-8", newline="") as stream:

        def append(rows: pd.DataFrame) -> None:
            # Seven digits are what float32 holds, and a hand's breadth of the place of a cell is enough.
            harmless_table(rows).to_csv(
                stream, index=False, header=stream.tell() == 0, float_format="%.7g", lineterminator="\n"
            )

        yield append


@contextmanager
def _parquet(partial: Path) -> Iterator[Append]:
    try:
        from pyarrow import parquet
        from pyarrow.lib import Table
    except ImportError as error:
        raise SoilcastError("Parquet needs an extra: pip install 'soilcast[parquet]', or write .csv") from error
    writers: list[parquet.ParquetWriter] = []

    def append(rows: pd.DataFrame) -> None:
        table = Table.from_pandas(rows, preserve_index=False)
        table = table.replace_schema_metadata({**table.schema.metadata, "software": GENERATOR})
        if not writers:
            writers.append(parquet.ParquetWriter(partial, table.schema))
        writers[0].write_table(table)

    try:
        yield append
    finally:
        for writer in writers:
            writer.close()
