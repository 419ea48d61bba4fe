"""Maps of the forecast of an issue day and of its products at the first, the middle and the last lead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, to_hex

from soilcast.products.variables import DROUGHT_CLASS
from soilcast.reporting import html
from soilcast.reporting.artifacts import leads, selected_leads
from soilcast.reporting.drought import ODDS, ODDS_OF, swatch_colours
from soilcast.reporting.drought import SCALE as CLASSES_SCALE
from soilcast.reporting.forecasts import has_product, layer_words, layers
from soilcast.reporting.maps import Canvas, Scale, robust_scale
from soilcast.reporting.style import MapStyle, pretty_units
from soilcast.reporting.wording import ahead, cells_text, days

_MOISTURE = pretty_units("m3 m-3")
_DRY_TO_WET = MapStyle("YlGnBu", False, "dry", "wet")
_DEPARTURE = MapStyle("BrBG", True, "drier than usual", "wetter than usual")
_RANK = Scale(0.0, 100.0, MapStyle("BrBG", False, "driest of the record", "wettest of the record"))
_NOT_REACHED = "#ffffff"


@dataclass(frozen=True)
class Mapped:
    """One row of maps of a layer.

    Parameters
    ----------
    suffix
        What follows the layer in the name of the variable; empty for the forecast itself.
    title
        Above the row.
    units
        Beneath the colour scale.
    scale
        Colours and limits of all panels of the row, from ``(cell, lead)``.
    """

    suffix: str
    title: str
    units: str
    scale: Callable[[npt.NDArray[np.float64]], Scale | None]


_MAPPED = (
    Mapped("", "forecast", _MOISTURE, lambda values: robust_scale(values, _DRY_TO_WET)),
    Mapped("anomaly", "departure from the usual", _MOISTURE, lambda values: robust_scale(values, _DEPARTURE)),
    Mapped("percentile", "percentile", "percentile", lambda _: _RANK),
    Mapped("drought_probability", f"odds of severe drought ({ODDS_OF}) or drier", "probability", lambda _: ODDS),
    Mapped("drought", "drought class of the central forecast", "", lambda _: CLASSES_SCALE),
)


def maps(forecast: xr.Dataset) -> html.Markup:
    """Map forecast and products at the first, the middle and the last lead."""
    canvas = Canvas(forecast)
    references = dict.fromkeys(_reference_text(forecast, target) for target in layers(forecast))
    text = f"{cells_text(forecast, 'has no forecast')} {' '.join(filter(None, references))}"
    parts = [html.paragraph(text.strip(), note=True)]
    for target in layers(forecast):
        parts += [_map_row(forecast, canvas, target, row) for row in _MAPPED]
        parts.append(_days_to_dry(forecast, canvas, target))
    return html.joined(parts)


def _map_row(forecast: xr.Dataset, canvas: Canvas, target: str, row: Mapped) -> html.Markup:
    name = f"{target}_{row.suffix}" if row.suffix else target
    if name not in forecast:
        return html.NOTHING
    values = forecast[name].sel(lead=selected_leads(forecast))
    if DROUGHT_CLASS in values.dims:
        values = values.sel({DROUGHT_CLASS: ODDS_OF}, drop=True)
    scale = row.scale(values.to_numpy().astype(np.float64))
    title = f"{layer_words(forecast, target)}: {row.title}"
    if scale is None or not np.isfinite(values).any():
        return html.heading(title) + html.paragraph("No cell has a value.", note=True)
    valid = np.datetime_as_string(forecast["valid_time"].to_numpy(), "D")
    dates = dict(zip(leads(forecast), valid, strict=True))
    drawn = [
        html.picture(canvas.panel(values.sel(lead=lead), scale), dates[lead], ahead(lead))
        for lead in selected_leads(forecast)
    ]
    key = html.legend(swatch_colours(), squares=True) if scale is CLASSES_SCALE else html.colour_bar(scale, row.units)
    return html.heading(title, key) + html.panels(drawn, three=True)


def _days_to_dry(forecast: xr.Dataset, canvas: Canvas, target: str) -> html.Markup:
    """Map in how many days each cell is dry; white where it is not within the leads."""
    if not has_product(forecast, target, "days_to_dry"):
        return html.NOTHING
    until = forecast[f"{target}_days_to_dry"]
    last = leads(forecast)[-1]
    hues = [to_hex(colormaps["YlOrRd_r"](position)) for position in np.linspace(0.05, 0.85, last)]
    style = MapStyle(ListedColormap([_NOT_REACHED, *hues]), False, "", "")
    drawn = canvas.panel(until.where(~(until < 0), 0), Scale(-0.5, last + 0.5, style))
    names = {days(lead): hues[lead - 1] for lead in selected_leads(forecast)}
    key = html.legend(names | {f"not within {days(last)}": _NOT_REACHED}, squares=True)
    dry = str(until.attrs.get("dry", ""))
    dates = np.datetime_as_string(forecast["valid_time"].to_numpy(), "D")
    caption = html.picture(drawn, " to ".join(dict.fromkeys((dates[0], dates[-1]))))
    definition = html.paragraph(f"Dry is {dry}.", note=True) if dry else html.NOTHING
    return (
        html.heading(f"{layer_words(forecast, target)}: days until dry", key)
        + definition
        + html.panels([caption], three=True)
    )


def _reference_text(forecast: xr.Dataset, target: str) -> str:
    """What the products are measured against, as the forecast has it."""
    name = f"{target}_percentile"
    comment = str(forecast[name].attrs.get("comment", "")).strip() if name in forecast else ""
    return f"Percentile, departure and class are {comment}." if comment else ""
