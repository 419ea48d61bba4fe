"""From a forecast or a cube to files that maps, spreadsheets and data frames open: GeoTIFF, NetCDF, PNG, CSV, .."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.exporting.description import write_description
from soilcast.exporting.field import Field
from soilcast.exporting.geojson import write_geojson
from soilcast.exporting.geotiff import write_geotiff
from soilcast.exporting.netcdf import KIND as NETCDF
from soilcast.exporting.netcdf import write_netcdf
from soilcast.exporting.selecting import near_days, open_exportable, select, select_all
from soilcast.exporting.table import write_table
from soilcast.files import atomic_write, refuse_existing
from soilcast.progress import Log

__all__ = ["export"]


def export(
    source: str | Path,
    out: str | Path,
    *,
    variable: str | None = None,
    lead: int | Sequence[int] | None = None,
    issue: str | None = None,
    day: str | None = None,
    quantile: float | None = None,
    drought_class: str | None = None,
    regions: str | Path | None = None,
    region_name: str | None = None,
    cube: str | Path | None = None,
    overwrite: bool = False,
    log: Log = lambda line: None,
) -> Path:
    """Write one variable or all as a map of one day, or as a table of one day or many, of cells or of regions.

    Beside a GeoTIFF or GeoJSON of one variable stands a style for QGIS (``.qml``), beside a CSV what its columns are
    (``.csv-metadata.json``).

    Parameters
    ----------
    source
        A forecast or a cube.
    out
        File to write, by its name: ``.tif`` is a cloud-optimised GeoTIFF of the cells' grid with a band for each lead,
        ``.nc`` NetCDF on the cells' grid by valid day, ``.geojson`` a feature for each cell with a property for each
        lead, ``.png`` a drawn map for each lead, ``.csv`` and ``.parquet`` a row for each cell, day and lead.
    variable
        Its name, such as ``swvl1_percentile``. By default all, each quantile and class by itself, which GeoTIFF and PNG
        have no room for.
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
    regions
        File of regions (`soilcast.regions.reading.read_outlines`), whose means are written instead of cells: see
        `soilcast.regions.forecasts.regional_forecast`.
    region_name
        Attribute that names them.
    cube
        The cube that a forecast was made for, which percentile, class and odds of regions take.
    overwrite
        Replace ``out`` if it exists.
    log
        Called with each line that says what of the regions is left out, mended or assumed.

    Returns
    -------
    ``out``.

    Raises
    ------
    SoilcastError
        Another kind of artifact or of file, a variable, lead, level, class or day that does not exist or is not given,
        cells without a regular grid (GeoTIFF, NetCDF), nothing to draw (PNG), regions that cannot be read or overlap no
        cell, an extra that is not installed, or a full disk.
    """
    path, out = Path(source), Path(out)
    writer = _WRITERS.get(out.suffix.lower())
    if writer is None:
        raise SoilcastError(f"{out}: unknown file type: end the name in {', '.join(_WRITERS)}")
    if variable is None and not writer.takes_all:
        raise SoilcastError(f"{out}: a map of this kind is of one variable: name it with --variable")
    if variable is None and (quantile is not None or drought_class is not None):
        raise SoilcastError(f"{out}: --quantile and --drought-class are of one variable: name it with --variable")
    beside = writer.beside if variable is not None or writer.kind == "table" else None
    also = None if beside is None else out.with_name(beside.name(out))
    refuse_existing(out, kind=writer.kind, overwrite=overwrite)
    if beside is not None and also is not None:
        refuse_existing(also, kind=beside.kind, overwrite=True)  # what is ours there is of an earlier or another map
    opened, kind = open_exportable(path)
    if regions is not None:
        opened = _of_regions(near_days(opened, kind, issue, day), kind, regions, region_name, cube, variable, path)
        for line in filter(None, str(opened.attrs.get("notes", "")).splitlines()):
            log(line)
    chosen: dict[str, Any] = {"lead": lead, "issue": issue, "day": day, "several": writer.kind == "table"}
    if variable is None:
        fields = select_all(opened, kind, path, **chosen)
    else:
        fields = [select(opened, kind, path, variable, quantile=quantile, drought_class=drought_class, **chosen)]
    with atomic_write(out, kind=writer.kind, overwrite=overwrite) as partial:
        writer.write(fields, partial, out)
        if beside is not None and also is not None:
            with atomic_write(also, kind=beside.kind, overwrite=True) as place:
                beside.write(fields, out, place)
    return out


def _of_regions(
    opened: xr.Dataset,
    kind: str,
    regions: str | Path,
    name: str | None,
    cube: str | Path | None,
    variable: str | None,
    path: Path,
) -> xr.Dataset:
    """Means over regions of a forecast, or of the variables of a cube that are wanted."""
    # Imported here, since it brings an extra along.
    from soilcast.regions.forecasts import regional_forecast
    from soilcast.regions.means import regional_means
    from soilcast.regions.weights import open_regions

    weighed = open_regions(regions, opened, name=name)
    if kind == "forecast":
        with ExitStack() as stack:
            record = None if cube is None else stack.enter_context(open_cube(cube))
            return regional_forecast(opened, weighed, record)
    names = [str(one) for one in opened.data_vars if one != "area" and variable in (None, one)]
    if not names:
        raise SoilcastError(f"{path}: no variable {variable} by cell: name one that it has")
    return regional_means(opened, weighed, names).assign_attrs(notes="\n".join(weighed.notes))


@dataclass(frozen=True)
class _Beside:
    """A file that stands beside another: what it is, its name, and how it is written: ``(fields, file, partial)``."""

    kind: str
    name: Callable[[Path], str]
    write: Callable[[Sequence[Field], Path, Path], None]


@dataclass(frozen=True)
class _Writer:
    """How fields are written: ``(fields, where to write, file it will be)``, and whether they may be all variables."""

    kind: str
    write: Callable[[Sequence[Field], Path, Path], None]
    takes_all: bool
    beside: _Beside | None = None


def _write_picture(fields: Sequence[Field], partial: Path, out: Path) -> None:
    # Imported here, since it brings matplotlib along, for which the other formats should not wait.
    from soilcast.exporting.picture import write_picture

    write_picture(fields[0], partial, out)


def _write_style(fields: Sequence[Field], _: Path, partial: Path) -> None:
    from soilcast.exporting.style import write_style

    write_style(fields[0], partial)


_STYLE = _Beside("style", lambda out: f"{out.stem}.qml", _write_style)
_DESCRIPTION = _Beside("description", lambda out: f"{out.name}-metadata.json", write_description)
_GEOTIFF = _Writer("GeoTIFF", lambda fields, *paths: write_geotiff(fields[0], *paths), False, _STYLE)

_WRITERS: dict[str, _Writer] = {
    ".tif": _GEOTIFF,
    ".tiff": _GEOTIFF,
    ".nc": _Writer(NETCDF, write_netcdf, True),
    ".png": _Writer("picture", _write_picture, False),
    ".csv": _Writer("table", write_table, True, _DESCRIPTION),
    ".parquet": _Writer("table", write_table, True),
    ".geojson": _Writer("GeoJSON", write_geojson, True, _STYLE),
}
"""End of the file's name -> how it is written."""
