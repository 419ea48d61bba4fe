"""Draw a field as maps, one for each lead, all on one colour scale."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from soilcast.colours import product_of
from soilcast.errors import SoilcastError
from soilcast.exporting.field import Band, Field
from soilcast.exporting.scales import drawable, last_lead, scale_of
from soilcast.products.variables import DAYS_TO_DRY, DROUGHT, Product
from soilcast.reporting import drought
from soilcast.reporting.figures import WIDE, png, print_look
from soilcast.reporting.maps import Canvas, Scale
from soilcast.reporting.style import pretty_units

_MOST_MAPS = 40
_DOTS = 200  # an inch
_FILLED = 0.92  # share of a column that its map fills; the rest is for coordinates and space


def write_picture(field: Field, partial: Path, out: Path) -> None:
    """Draw a field as PNG.

    Parameters
    ----------
    field
        What to draw.
    partial
        Where to write.
    out
        Final path, for messages.

    Raises
    ------
    SoilcastError
        There are more leads than fit a page, or no value to draw.
    """
    if len(field.bands) > _MOST_MAPS:
        raise SoilcastError(f"{out}: {len(field.bands)} maps do not fit on a page: select leads with --lead")
    product, values, scale = product_of(field.name), drawable(field), scale_of(field)
    if scale is None:
        raise SoilcastError(f"{out}: {field.name} has no value at this selection: choose another lead or day")
    canvas = Canvas(field.opened)
    columns = min(len(field.bands), 1 if len(field.bands) == 1 else 2 if len(field.bands) <= 4 else 3)
    rows = -(-len(field.bands) // columns)
    wide = _FILLED * WIDE / columns
    tall = wide * canvas.shape[0] / canvas.shape[1]
    with print_look():
        layout = ConstrainedLayoutEngine(h_pad=0.06, w_pad=0.05)
        figure = Figure(figsize=(WIDE, rows * (tall + 0.4) + 1.3), layout=layout)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels:
            panel.set_axis_off()
        for panel, band, cell_values in zip(panels, field.bands, values, strict=False):
            canvas.draw(panel, cell_values.astype(np.float64), scale, width=wide, as_shapes=False)
            panel.set_title(_title(field, band), loc="left")
        head = figure.suptitle(_wrapped(_capital(field.long_name), 80), ha="left", fontsize=10)
        _bar(figure, list(panels), field, product, scale)
        foot = figure.supxlabel(_wrapped(_footer(field), 130), ha="left", fontsize=6.5, color="#4b5563")
        for text in (head, foot):  # the layout leaves them room where it sets them itself, and keeps to this edge
            text.set_x(0.01)
        partial.write_bytes(png(figure, _DOTS))


def _bar(figure: Figure, panels: list[Axes], field: Field, product: Product | None, scale: Scale) -> None:
    colours = ScalarMappable(Normalize(scale.low, scale.high), scale.style.colours)
    units = "" if product is DROUGHT else pretty_units(field.units)
    ends = "" if product is DROUGHT else f"{scale.style.low} … {scale.style.high}"
    options: dict[str, Any] = {"orientation": "horizontal", "shrink": 0.7, "aspect": 40}
    bar = figure.colorbar(colours, ax=panels, label=f"{ends} [{units}]" if units else ends, **options)
    if product is DROUGHT:
        bar.set_ticks(list(drought.CLASSES), labels=[name.partition(" ")[0] for name, _ in drought.CLASSES.values()])
    if product is DAYS_TO_DRY:
        last = last_lead(field)
        step = -(-last // 15)
        ticks = list(range(1, last + 1, step))
        bar.set_ticks([*ticks, last + 1], labels=[*map(str, ticks), "later"])


def _title(field: Field, band: Band) -> str:
    if band.lead is not None:
        ahead = f"{band.lead} day{'s' if band.lead > 1 else ''} ahead"
        return ahead if band.day is None else f"{band.day}, {ahead}"
    return "" if band.day is None else str(band.day)


def _footer(field: Field) -> str:
    issued = "" if field.issue is None else f", made at the end of {field.issue}"
    told = field.about()
    whose = [f"{name}: {told[key]}." for name, key in (("Source", "source"), ("Licence", "license")) if key in told]
    return " ".join([f"{_capital(field.nature)}{issued}.", *filter(None, [told.get("title", "")]), *whose])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _wrapped(text: str, width: int) -> str:
    return textwrap.fill(" ".join(text.split()), width)
