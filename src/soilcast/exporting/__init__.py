"""From a forecast or a cube to files that maps, spreadsheets and data frames open: GeoTIFF, PNG, CSV, Parquet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from soilcast.errors import SoilcastError
from soilcast.exporting.geojson import write_geojson
from soilcast.exporting.geotiff import write_geotiff
from soilcast.exporting.selecting import Field, select
from soilcast.exporting.table import write_table
from soilcast.files import atomic_write, refuse_existing

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
    drought_class: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one variable as a map of one day, or as a table of one day or many.

    Parameters
    ----------
    source
        A forecast or a cube.
    out
        File to write, by its name: ``.tif`` is a cloud-optimised GeoTIFF of the cells' grid with a band for each lead,
        ``.geojson`` a feature for each cell with a property for each lead, ``.png`` a drawn map for each lead, ``.csv``
        and ``.parquet`` a row for each cell, day and lead.
    variable
        Its name, such as ``swvl1_percentile``.
    lead
        Leads to write [d]; by default all.
    issue
        Issue day of a forecast, such as ``2020-03-01``; a map of a forecast that has several needs this or ``day``.
        For tables also a period, such as ``2020-03``; by default all days.
    day
        Day of a cube, which a map needs where it has several; or valid day of a forecast, at one lead (default 1). For
        tables also a period.
    quantile
        Level, where the variable has quantiles. Of ``swvl1`` it stands for ``swvl1_quantile``.
    drought_class
        ``D0`` .. ``D4``, which ``swvl1_drought_probability`` needs.
    overwrite
        Replace ``out`` if it exists.

    Returns
    -------
    ``out``.

    Raises
    ------
    SoilcastError
        Another kind of artifact or of file, a variable, lead, level, class or day that does not exist or is not given,
        cells without a regular grid (GeoTIFF), nothing to draw (PNG), an extra that is not installed, or a full disk.
    """
    path, out = Path(source), Path(out)
    kind, write = _WRITERS.get(out.suffix.lower(), ("", None))
    if write is None:
        raise SoilcastError(f"{out}: unknown file type: end the name in {', '.join(_WRITERS)}")
    refuse_existing(out, kind=kind, overwrite=overwrite)
    is_table = write is write_table
    field = select(
        path,
        variable,
        lead=lead,
        issue=issue,
        day=day,
        quantile=quantile,
        drought_class=drought_class,
        several=is_table,
    )
    with atomic_write(out, kind=kind, overwrite=overwrite) as partial:
        write(field, partial, out)
    return out


def _write_picture(field: Field, partial: Path, out: Path) -> None:
    # Imported here, since it brings matplotlib along, for which the other formats should not wait.
    from soilcast.exporting.picture import write_picture

    write_picture(field, partial, out)


_WRITERS: dict[str, tuple[str, Callable[[Field, Path, Path], None]]] = {
    ".tif": ("GeoTIFF", write_geotiff),
    ".tiff": ("GeoTIFF", write_geotiff),
    ".png": ("picture", _write_picture),
    ".csv": ("table", write_table),
    ".parquet": ("table", write_table),
    ".geojson": ("GeoJSON", write_geojson),
}
"""End of the file's name -> what it is, and how a field is written: ``(field, where to write, file it will be)``."""
