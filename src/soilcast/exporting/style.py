"""The style of a map in QGIS: a .qml file beside a GeoTIFF or GeoJSON, which QGIS takes by its name."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from soilcast.cube import grid_of
from soilcast.cube.grid import OUTLINE
from soilcast.exporting.field import Band, Field
from soilcast.exporting.geojson import property_name
from soilcast.exporting.scales import Class, classes_of, scale_of
from soilcast.ownership import GENERATOR, STYLE_START
from soilcast.reporting.maps import Scale

_VERSION = "3.38.0"
"""Of QGIS: the first that knows the time of each band; earlier ones take the colours alone."""

_BAND_TIMES = "3"
"""QGIS's number of the mode in which each band has a time of its own."""

_STOPS = 17
"""Colours of a scale, between which those of a raster are interpolated."""

_STEPS = 10
"""Steps in which polygons and points are coloured."""

_BEYOND = 1e9
"""Farther from 0 than any value."""

_FILL, _MARKER = ("fill", "SimpleFill"), ("marker", "SimpleMarker")
_EDGE = "55,65,81,255"


def write_style(field: Field, partial: Path) -> None:
    """Write the style of a map: the colours of the report's maps for its first lead, and the day of each band.

    It is that of a GeoTIFF and of a GeoJSON at once: QGIS takes a style by the name of the map without its ending.

    Parameters
    ----------
    field
        What the map holds.
    partial
        Where to write.
    """
    root = Element("qgis", version=_VERSION, styleCategories="Symbology|Temporal")
    _band_times(root, field.bands)
    classes, scale = classes_of(field), scale_of(field)
    if classes or scale is not None:
        _raster(SubElement(root, "pipe"), classes, scale)
        _vector(root, field, classes, scale)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    partial.write_text(f"{STYLE_START}\n<!-- made by {GENERATOR} -->\n{text}\n", encoding="utf-8")


def _raster(pipe: Element, classes: list[Class], scale: Scale | None) -> None:
    """Colour the first band: classes one by one, a scale between its colours."""
    common = {"band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""}
    if classes:
        renderer = SubElement(pipe, "rasterrenderer", common | {"type": "paletted"})
        palette = SubElement(renderer, "colorPalette")
        for one in classes:
            entry = {"value": str(one.value), "label": one.name, "color": one.colour, "alpha": "255"}
            SubElement(palette, "paletteEntry", entry)
        return
    assert scale is not None
    low, high = f"{scale.low:g}", f"{scale.high:g}"
    limits = {"classificationMin": low, "classificationMax": high}
    renderer = SubElement(pipe, "rasterrenderer", common | limits | {"type": "singlebandpseudocolor"})
    how = {"colorRampType": "INTERPOLATED", "classificationMode": "1", "clip": "0"}
    shader = SubElement(SubElement(renderer, "rastershader"), "colorrampshader", how)
    shader.attrib.update(minimumValue=low, maximumValue=high)
    for value, colour in zip(np.linspace(scale.low, scale.high, _STOPS), scale.gradient, strict=True):
        SubElement(shader, "item", value=f"{value:g}", label=f"{value:.3g}", color=colour, alpha="255")


def _vector(root: Element, field: Field, classes: list[Class], scale: Scale | None) -> None:
    """Colour polygons or points by the property of the first lead: classes one by one, a scale in steps."""
    is_area = OUTLINE in field.opened.coords or grid_of(field.opened) is not None
    common = {"attr": property_name(field.bands[0]), "forceraster": "0", "symbollevels": "0", "enableorderby": "0"}
    if classes:
        renderer = SubElement(root, "renderer-v2", common | {"type": "categorizedSymbol"})
        groups = SubElement(renderer, "categories")
        for number, one in enumerate(classes):
            shown = {"value": str(one.value), "type": "integer", "label": one.name, "render": "true"}
            SubElement(groups, "category", shown | {"symbol": str(number)})
        colours = [one.colour for one in classes]
    else:
        assert scale is not None
        graduated = {"type": "graduatedSymbol", "graduatedMethod": "GraduatedColor"}
        renderer = SubElement(root, "renderer-v2", common | graduated)
        groups = SubElement(renderer, "ranges")
        steps = _steps(scale)
        for number, (low, high, _) in enumerate(steps):
            shown = {"lower": f"{low:g}", "upper": f"{high:g}", "label": _label(low, high), "render": "true"}
            SubElement(groups, "range", shown | {"symbol": str(number)})
        colours = [colour for _, _, colour in steps]
    _symbols(renderer, _FILL if is_area else _MARKER, colours)
    SubElement(root, "layerGeometryType").text = "2" if is_area else "0"


def _band_times(root: Element, bands: tuple[Band, ...]) -> None:
    """Say from when to when each band is valid, for QGIS's temporal controller."""
    if any(band.day is None for band in bands):
        return
    temporal = SubElement(root, "temporal", enabled="1", mode=_BAND_TIMES, bandNumber="1", fetchMode="0")
    ranges = SubElement(temporal, "ranges")
    for number, band in enumerate(bands, start=1):
        assert band.day is not None
        ends = {"begin": f"{band.day}T00:00:00Z", "end": f"{band.day + np.timedelta64(1, 'D')}T00:00:00Z"}
        SubElement(ranges, "range", ends | {"band": str(number), "includeBeginning": "1", "includeEnd": "0"})


def _steps(scale: Scale) -> list[tuple[float, float, str]]:
    """Equal steps of a scale, from low to high, each with its colour."""
    edges = np.linspace(scale.low, scale.high, _STEPS + 1)
    colours = matplotlib.colormaps.get_cmap(scale.style.colours)((np.arange(_STEPS) + 0.5) / _STEPS)
    # What lies beyond the limits has the colour of the end, as on a map.
    low, high = np.append(-_BEYOND, edges[1:-1]), np.append(edges[1:-1], _BEYOND)
    return [(float(low[at]), float(high[at]), to_hex(colours[at])) for at in range(_STEPS)]


def _label(low: float, high: float) -> str:
    if low == -_BEYOND:
        return f"below {high:.3g}"
    return f"{low:.3g} – {high:.3g}" if high < _BEYOND else f"above {low:.3g}"


def _symbols(renderer: Element, kind: tuple[str, str], colours: list[str]) -> None:
    symbols = SubElement(renderer, "symbols")
    for number, colour in enumerate(colours):
        symbol = SubElement(symbols, "symbol", type=kind[0], name=str(number), alpha="1", clip_to_extent="1")
        layer = SubElement(symbol, "layer", {"class": kind[1], "enabled": "1", "locked": "0", "pass": "0"})
        options = SubElement(layer, "Option", type="Map")
        red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
        look = {"color": f"{red},{green},{blue},255", "outline_color": _EDGE, "outline_width": "0.1"}
        for name, value in look.items():
            SubElement(options, "Option", name=name, type="QString", value=value)
