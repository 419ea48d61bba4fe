"""Polygons from a file of any coordinate system: valid, named, in degrees of longitude and latitude."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from soilcast.errors import SoilcastError, printable, raise_system_fault

try:
    import pyogrio
    import rasterio.crs
    import rasterio.warp
    import shapely
    from rasterio._err import CPLE_BaseError, CPLE_NotSupportedError
    from rasterio.errors import CRSError
except ImportError as missing:
    raise SoilcastError("regions from files need an extra: pip install 'soilcast[regions]'") from missing

Geometries = npt.NDArray[np.object_]

_FORMATS = {".geojson": b"{", ".json": b"{", ".gpkg": b"SQLite format 3\0", ".shp": b"\0\0'\n"}
"""End of the name -> how such a file begins: GDAL goes by the content, and some contents name other files to open."""

_LAYER = "|layername="
"""Between a file and the name of a layer in it, as QGIS writes it."""

_NAMES = (
    "name", "name_en", "region", "district", "county", "province", "state", "country", "basin", "catchment",
    "shapename", "admin", "nuts_name", "id", "code",
)  # fmt: skip
"""Attributes that are taken for the name, whatever their case."""

_DEGREES = "EPSG:4326"
_FARTHEST, _POLE = 540.0, 90.0
"""No longitude and no latitude is farther from 0 [degrees]; polygons beyond the date line go on there."""

_HALF = 180.0

_PIECES = 200
"""Into so many pieces at least a polygon is cut along its width before it is projected: a straight line bends."""

_LISTED = 5


@dataclass(frozen=True)
class Outlines:
    """Polygons of a file.

    Parameters
    ----------
    title
        Name of the file.
    names
        Of each region, all distinct.
    geometry
        Valid polygons and multipolygons of shapely ``(region,)`` [degrees], of which longitudes may go beyond 180.
    notes
        What was left out, mended or assumed, a line each.
    """

    title: str
    names: tuple[str, ...]
    geometry: Geometries = field(repr=False)
    notes: tuple[str, ...] = ()


def read_outlines(path: str | Path, name: str | None = None) -> Outlines:
    """Read the regions of a GeoJSON, GeoPackage or Shapefile.

    Parameters
    ----------
    path
        The file; of a GeoPackage of several layers ``FILE|layername=LAYER``.
    name
        Attribute that names the regions; by default one that is called so, such as ``name`` or ``id``, else the only
        one that tells all regions apart, else their number. Features of one name are one region.

    Returns
    -------
    The polygons. Invalid ones are mended; features that are none are left out; both are in the notes.

    Raises
    ------
    SoilcastError
        The extra is not installed; the file is not there, damaged or of another format, has no polygon, no such
        attribute or layer, or a coordinate system that cannot be converted to degrees.
    """
    text, _, layer = str(path).partition(_LAYER)
    file = Path(text)
    _refuse_other_format(file)
    meta, geometry, attributes = _read(file, layer or None)
    notes: list[str] = []
    polygons = _polygons(geometry, file, notes)
    polygons = _in_degrees(polygons, meta["crs"], file, notes)
    kept = np.array([polygon is not None for polygon in polygons])
    if not kept.any():
        raise SoilcastError(f"{file}: it has no polygon: give a file of regions")
    names = _names(file, name, dict(zip(meta["fields"], attributes, strict=True)), kept, notes)
    named: dict[str, list[Any]] = {}
    for one, polygon in zip(names, polygons[kept], strict=True):
        named.setdefault(one, []).append(polygon)
    joined = _joined(named, notes)
    return Outlines(printable(file.name), tuple(named), joined, tuple(f"{file.name}: {note}" for note in notes))


def listed(names: Sequence[str]) -> str:
    """Name a few of many; the others are counted."""
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _refuse_other_format(file: Path) -> None:
    if not file.is_file():
        raise SoilcastError(f"{file}: no such file of regions")
    begin = _FORMATS.get(file.suffix.lower())
    if begin is None:
        raise SoilcastError(f"{file}: unknown kind of file of regions: give one that ends in {', '.join(_FORMATS)}")
    with file.open("rb") as stream:
        if not stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n").startswith(begin):
            raise SoilcastError(f"{file}: its content is not what its name says: damaged, or of another format")


def _read(file: Path, layer: str | None) -> tuple[dict[str, Any], Geometries, list[npt.NDArray[Any]]]:
    """Attributes of the file, geometries as WKB ``(feature,)``, and the columns of the attributes of features."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rings that are not closed, which are mended
            layers = [str(one) for one, kind in pyogrio.list_layers(file) if kind is not None]
            if layer is not None and layer not in layers:
                raise SoilcastError(f"{file}: no layer {layer}; it has: {listed(layers) or 'none'}: name one of them")
            if layer is None and len(layers) > 1:
                raise SoilcastError(
                    f"{file}: it has several layers ({listed(layers)}): name one as '{file}{_LAYER}{layers[0]}'"
                )
            meta, _, geometry, attributes = pyogrio.raw.read(file, layer=layer)
    except SoilcastError:
        raise
    except (RuntimeError, ValueError, OSError, UnicodeError) as error:
        raise_system_fault(error)
        why = str(error).partition(";")[0].removesuffix(".")
        raise SoilcastError(f"{file}: cannot be read as regions ({why}): damaged, or incomplete") from error
    return meta, np.array([], dtype=object) if geometry is None else geometry, attributes


def _polygons(wkb: Geometries, file: Path, notes: list[str]) -> Geometries:
    """Valid polygons ``(feature,)``; None where a feature is none."""
    found = shapely.force_2d(shapely.from_wkb(wkb, on_invalid="ignore"))
    is_mended = ~shapely.is_valid(found) & (found != None)  # noqa: E711 - elementwise
    found[is_mended] = shapely.make_valid(found[is_mended], method="structure", keep_collapsed=False)
    polygons = np.array([_polygonal(one) for one in found], dtype=object)
    is_none = np.array([one is None for one in polygons], dtype=np.bool_)
    if is_none.any():
        notes.append(f"{is_none.sum():,} of {len(found):,} features are no polygons with an area, and are left out")
    if (mended := is_mended & ~is_none).any():
        notes.append(f"{mended.sum():,} of {len(found):,} polygons are invalid (they cross themselves), and are mended")
    return polygons


def _polygonal(geometry: Any) -> Any:
    """Polygons in a geometry, together; None where they have no area."""
    parts = [one for one in _parts(geometry) if one.geom_type == "Polygon" and one.area > 0]
    if not parts:
        return None
    return shapely.union_all(parts) if geometry.geom_type == "GeometryCollection" else geometry


def _parts(geometry: Any) -> Iterator[Any]:
    for part in getattr(geometry, "geoms", [] if geometry is None else [geometry]):
        if hasattr(part, "geoms"):
            yield from _parts(part)
        else:
            yield part


def _in_degrees(polygons: Geometries, crs: str | None, file: Path, notes: list[str]) -> Geometries:
    """Convert to longitude and latitude, and refuse what is no place on Earth."""
    there = np.array([one is not None for one in polygons], dtype=np.bool_)
    if not there.any():
        return polygons
    if crs is None:
        notes.append("it says no coordinate system; longitude and latitude are assumed")
    elif crs != _DEGREES:
        polygons = polygons.copy()
        polygons[there] = _converted(polygons[there], crs, file)
    west, south, east, north = shapely.total_bounds(polygons[there])
    if not (-_FARTHEST <= west < east <= _FARTHEST and -_POLE <= south < north <= _POLE):
        raise SoilcastError(
            f"{file}: its coordinates ({west:g} .. {east:g}, {south:g} .. {north:g}) are no longitudes and latitudes: "
            "give a file that says its coordinate system (a Shapefile needs its .prj)"
        )
    return polygons


def _converted(polygons: Geometries, crs: str, file: Path) -> Geometries:
    # Not by pyproj, which fails where eccodes was imported before it (`soilcast.eccodes_library`).
    try:
        source = rasterio.crs.CRS.from_user_input(crs)
        if not source.is_geographic:
            width = np.max(shapely.bounds(polygons)[:, 2:] - shapely.bounds(polygons)[:, :2], axis=1)
            polygons = shapely.segmentize(polygons, width / _PIECES)
        moved = shapely.transform(
            polygons, lambda points: np.column_stack(rasterio.warp.transform(source, _DEGREES, *points.T))
        )
    except (CRSError, CPLE_NotSupportedError) as error:
        raise SoilcastError(
            f"{file}: its coordinate system cannot be converted to degrees ({printable(crs)[:80]}): convert the file "
            "to EPSG:4326, as with ogr2ogr -t_srs EPSG:4326"
        ) from error
    except CPLE_BaseError as error:
        raise _outside(file, crs) from error
    if not np.isfinite(shapely.get_coordinates(moved)).all():
        raise _outside(file, crs)
    # Conversion rounds: what touched itself may cross itself.
    mended = shapely.make_valid(moved, method="structure", keep_collapsed=False)
    return np.array([_polygonal(one) for one in mended], dtype=object)


def _outside(file: Path, crs: str) -> SoilcastError:
    return SoilcastError(
        f"{file}: some of its coordinates lie outside its coordinate system ({printable(crs)[:80]}): mend the file"
    )


def _names(
    file: Path, wanted: str | None, columns: dict[str, npt.NDArray[Any]], kept: npt.NDArray[np.bool_], notes: list[str]
) -> list[str]:
    """Name of each feature that is kept."""
    texts = {str(key): [_text(value) for value in column[kept]] for key, column in columns.items()}
    if wanted is not None:
        if wanted not in texts:
            raise SoilcastError(
                f"{file}: no attribute {wanted}; it has: {listed(list(texts)) or 'none'}: name one with --region-name"
            )
        chosen: str | None = wanted
    else:
        chosen = _obvious(texts)
        notes.append("regions are numbered" if chosen is None else f"regions are named by the attribute {chosen}")
    if chosen is None:
        return [f"region {number}" for number in range(1, int(kept.sum()) + 1)]
    return [text or f"region {number}" for number, text in enumerate(texts[chosen], start=1)]


def _obvious(texts: dict[str, list[str]]) -> str | None:
    by_case = {key.lower(): key for key, values in reversed(texts.items()) if any(values)}
    for name in _NAMES:
        if name in by_case:
            return by_case[name]
    telling = [key for key, values in texts.items() if all(values) and len(set(values)) == len(values)]
    return telling[0] if len(telling) == 1 else None


def _text(value: object) -> str:
    if value is None or value != value or isinstance(value, bytes):
        return ""
    number = isinstance(value, float | np.floating) and float(value).is_integer()
    return " ".join(printable(str(int(value) if number else value)).split())  # type: ignore[call-overload]


def _joined(named: dict[str, list[Any]], notes: list[str]) -> Geometries:
    """One geometry for each name."""
    several = [name for name, polygons in named.items() if len(polygons) > 1]
    if several:
        notes.append(f"{len(several):,} names are of several features, which are one region each ({listed(several)})")
    joined = [polygons[0] if len(polygons) == 1 else shapely.union_all(polygons) for polygons in named.values()]
    wide = [name for name, geometry in zip(named, joined, strict=True) if _has_long_edge(geometry)]
    if wide:
        notes.append(
            f"edges of {listed(wide)} go more than half around the Earth: cut polygons at the date line, or write "
            "longitudes beyond 180, if they are meant to cross it"
        )
    return np.array(joined, dtype=object)


def _has_long_edge(geometry: Any) -> bool:
    """Whether an edge goes more than half around the Earth, and not the whole way, as one along a pole does."""
    for ring in shapely.get_rings(geometry):
        length = np.abs(np.diff(shapely.get_coordinates(ring)[:, 0]))
        if ((length > _HALF) & (length < 2 * _HALF)).any():
            return True
    return False
