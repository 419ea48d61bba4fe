"""From a forecast or a cube to files that maps and spreadsheets open: GeoTIFF, PNG, CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from soilcast.errors import SoilcastError
from soilcast.exporting.geotiff import write_geotiff
from soilcast.exporting.selecting import Field, select
from soilcast.files import atomic_write, harmless_table, refuse_existing

__all__ = ["export"]


def export(
    source: str | Path,
    out: str | Path,
    *,
    variable: str,
    lead: int | Sequence[int] | None = None,
    issue: str | None = None,
    day: str | None = None,
    quantile: float | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one variable of one issue day, or of one day, as a map or a table.

    Parameters
    ----------
    source
        A forecast or a cube.
    out
        File to write, by its name: ``.tif`` is a GeoTIFF of the cells' grid with a band for each lead, ``.png`` a
        drawn map for each lead, ``.csv`` a line for each lead and cell.
    variable
        Its name, such as ``swvl1_percentile``.
    lead
        Leads to write [d]; by default all.
    issue
        Issue day of a forecast, such as ``2020-03-01``; where it has several, this or ``day`` is needed.
    day
        Day of a cube, needed where it has several; or valid day of a forecast, at one lead (default 1).
    quantile
        Level, where the variable has quantiles. Of ``swvl1`` it stands for ``swvl1_quantile``.
    overwrite
        Replace ``out`` if it exists.

    Returns
    -------
    ``out``.

    Raises
    ------
    SoilcastError
        Another kind of artifact or of file, a variable, lead, level or day that does not exist or is not given, cells
        without a regular grid (GeoTIFF), nothing to draw (PNG), an extra that is not installed, or a full disk.
    """
    path, out = Path(source), Path(out)
    kind, write = _WRITERS.get(out.suffix.lower(), ("", None))
    if write is None:
        raise SoilcastError(f"{out}: unknown file type: end the name in {', '.join(_WRITERS)}")
    refuse_existing(out, kind=kind, overwrite=overwrite)
    field = select(path, variable, lead=lead, issue=issue, day=day, quantile=quantile)
    with atomic_write(out, kind=kind, overwrite=overwrite) as partial:
        write(field, partial, out)
    return out


def _write_picture(field: Field, partial: Path, out: Path) -> None:
    # Imported here, since it brings matplotlib along, for which the other formats should not wait.
    from soilcast.exporting.picture import write_picture

    write_picture(field, partial, out)


def write_table(field: Field, partial: Path, out: Path) -> None:
    """Write a field: cell, its name if it has one, latitude, longitude, days and lead, and the value.

    Parameters
    ----------
    field
        What to write; missing values are left empty.
    partial
        Where to write.
    out
        What it will be called.
    """
    cells = field.opened.sizes["cell"]
    places = {
        name: field.opened[name].to_numpy() for name in ("cell", "cell_name", "lat", "lon") if name in field.opened
    }
    with partial.open("w", encoding="utf-8", newline="") as stream:
        for number, (band, values) in enumerate(zip(field.bands, field.values, strict=True)):
            columns: dict[str, Any] = dict(places)
            if field.issue is not None:
                columns["issue_date"] = np.full(cells, str(field.issue))
            if band.lead is not None:
                columns["lead"] = np.full(cells, band.lead)
            if band.day is not None:
                columns["date" if field.kind == "cube" else "valid_date"] = np.full(cells, str(band.day))
            if field.quantile is not None:
                columns["quantile"] = np.full(cells, field.quantile)
            columns[field.name] = pd.array(values).astype("Int16") if field.is_whole else values
            # Seven digits are what float32 holds, and a hand's breadth of the place of a cell is enough.
            harmless_table(pd.DataFrame(columns)).to_csv(
                stream, index=False, header=number == 0, float_format="%.7g", lineterminator="\n"
            )


_WRITERS: dict[str, tuple[str, Callable[[Field, Path, Path], None]]] = {
    ".tif": ("GeoTIFF", write_geotiff),
    ".tiff": ("GeoTIFF", write_geotiff),
    ".png": ("picture", _write_picture),
    ".csv": ("table", write_table),
}
"""End of the file's name -> what it is, and how a field is written: ``(field, where to write, file it will be)``."""
