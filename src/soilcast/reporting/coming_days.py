"""The sections of the page on the coming days: one outlook, in the order in which it is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, to_hex

from soilcast.reporting import html
from soilcast.reporting.drought import SCALE as CLASSES_SCALE
from soilcast.reporting.drought import drought_table, percent, share_in_drought, swatch_colours
from soilcast.reporting.fans import NORMAL, band_names, bands, fan
from soilcast.reporting.maps import Canvas, Scale, robust_scale
from soilcast.reporting.outlook_scores import ahead, leads, means, shown_leads
from soilcast.reporting.outlook_sections import newest_observation, span, weather_words
from soilcast.reporting.outlooks import ISSUE_DAYS, has_product, layer_words, outlook_layers
from soilcast.reporting.scores import flat, json_attribute, place_name
from soilcast.reporting.sections import cells_note, content, period
from soilcast.reporting.style import MapStyle, palette, pretty_units
from soilcast.reporting.tables import number

_PERCENT = "\N{NO-BREAK SPACE}%"
_FEW_CELLS = 6
"""So many cells at most are drawn as fan charts."""

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
    Mapped("drought", "drought class", "", lambda _: CLASSES_SCALE),
)


def headline(outlook: xr.Dataset) -> str:
    """What is forecast, from when and from what, and what it comes to."""
    attrs = {key: str(value) for key, value in outlook.attrs.items()}
    first, *others = coming_sentences(outlook)
    names = outlook_layers(outlook)
    levels = outlook["quantile"].to_numpy() if _has_quantiles(outlook) else np.empty(0)
    rows = {
        "Model": attrs.get("label", ""),
        "Targets": "; ".join(layer_words(outlook, name) for name in names),
        "Leads": span(leads(outlook)),
        "Newest observation": newest_observation(attrs.get("latency_days", "")),
        "Weather of the days ahead": weather_words(attrs.get("weather", "")),
        "Quantiles": ", ".join(f"{100 * level:g}" for level in levels) + (_PERCENT if levels.size else ""),
        "Cells forecast": f"{len(_forecast_cells(outlook))} of {outlook.sizes['cell']}",
        "Training": period(attrs.get("train_period", "")),
        "Source": attrs.get("source", ""),
        "Issue days in the file": f"{attrs[ISSUE_DAYS]}; shown is the last" if attrs[ISSUE_DAYS] != "1" else "",
    }
    return html.badge(f"Data: {content(outlook)}") + html.verdict(first, html.listed(others)) + html.facts(rows)


def coming_sentences(outlook: xr.Dataset) -> list[str]:
    """Say from and for which days the outlook is, and what it comes to, in plain sentences from the numbers."""
    there = leads(outlook)
    issued = np.datetime_as_string(outlook["time"].to_numpy(), "D")
    days = np.datetime_as_string(outlook["valid_time"].to_numpy(), "D")
    ends = list(dict.fromkeys((0, len(there) - 1)))
    told = [f"Made at the end of {issued} for {' to '.join(days[ends])}."]
    for target in outlook_layers(outlook):
        mean = [f"{number(float(one), 'rmse')} {_MOISTURE}" for one in means(outlook, outlook[target])[ends]]
        sentence = f"{target}: the mean over the area is {_from_to(mean, there)}"
        if has_product(outlook, target, "drought"):
            share = [f"{percent(float(one))}{_PERCENT}" for one in share_in_drought(outlook, target)[ends]]
            sentence += f"; the share of the area in drought (D1 or worse) is {_from_to(share, there)}"
        told.append(f"{sentence}.")
    return [*told, "This page says what is forecast, not how well such outlooks have done: soilcast evaluate does."]


def maps(outlook: xr.Dataset) -> str:
    """Map forecast and products at the first, the middle and the last lead."""
    if outlook.sizes["cell"] < 2:
        return ""
    canvas = Canvas(outlook)
    notes = dict.fromkeys(_reference_note(outlook, target) for target in outlook_layers(outlook))
    text = f"{cells_note(outlook, 'has no forecast')} {' '.join(note for note in notes if note)}"
    parts = [html.paragraph(text.strip(), note=True)]
    for target in outlook_layers(outlook):
        parts += [_map_row(outlook, canvas, target, row) for row in _MAPPED]
        parts.append(_days_to_dry(outlook, canvas, target))
    return "".join(parts)


def drought(outlook: xr.Dataset) -> str:
    """Give the share of the area in each drought class, lead by lead."""
    there = [target for target in outlook_layers(outlook) if has_product(outlook, target, "drought")]
    if not there:
        return ""
    text = "Share of the area [%] in each class of the U.S. Drought Monitor; cells without a class are left out."
    return html.paragraph(text, note=True) + "".join(
        html.heading(layer_words(outlook, target)) + drought_table(outlook, target) for target in there
    )


def fan_charts(outlook: xr.Dataset) -> str:
    """Draw the outlook of a few cells, with its intervals."""
    colour = next(iter(palette([""], []).values()))
    chosen = fan_cells(outlook)
    drawn_bands = bands(outlook["quantile"].to_numpy()) if _has_quantiles(outlook) else []
    usual = any(has_product(outlook, target, "anomaly") for target in outlook_layers(outlook))
    key = html.legend({"forecast": colour} | ({"usual for the date (dashed)": NORMAL} if usual else {}))
    if len(chosen) == len(_forecast_cells(outlook)):
        text = "Every cell with a forecast."
    else:
        text = f"{len(chosen)} of {outlook.sizes['cell']} cells, evenly spread from the driest to the wettest."
    if drawn_bands:
        text += f" Bands: the {band_names(drawn_bands)} intervals."
    else:
        text += " The run gives no quantiles: there are no intervals."
    parts = [html.paragraph(text, note=True), key]
    for target in outlook_layers(outlook):
        drawn = [_fan_of(outlook, target, cell, colour) for cell in chosen]
        if any(drawn):
            parts += [html.heading(layer_words(outlook, target)), html.panels(drawn)]
    return "".join(parts)


def provenance(outlook: xr.Dataset) -> str:
    """What the outlook was made from, and the configuration of its run."""
    apart = ("provenance", "training_log", "config", "soilcast_kind", ISSUE_DAYS)
    attributes = {key: str(value) for key, value in outlook.attrs.items() if key not in apart}
    config = json.dumps(json_attribute(outlook, "config"), indent=2, ensure_ascii=False)
    return html.keys(attributes | flat(json_attribute(outlook, "provenance"))) + html.folded(
        f"Configuration of {outlook.attrs.get('label', 'the run')}", f"<pre>{escape(config)}</pre>"
    )


def fan_cells(outlook: xr.Dataset) -> list[int]:
    """Choose the cells whose outlook is drawn: all if they are few, else evenly from the driest to the wettest.

    What is dry is told by the last lead of the first layer: by its percentile, or where there is none by the forecast.

    Returns
    -------
    Positions along cell.
    """
    names, there = outlook_layers(outlook), _forecast_cells(outlook)
    if len(there) <= _FEW_CELLS:
        return there
    by = f"{names[0]}_percentile" if has_product(outlook, names[0], "percentile") else names[0]
    values = outlook[by].isel(lead=-1).to_numpy()[there]
    order = [there[at] for at in np.argsort(values, kind="stable")]  # NaN comes last
    known = order[: int(np.isfinite(values).sum())] or order
    return [known[round(place)] for place in np.linspace(0, len(known) - 1, min(_FEW_CELLS, len(known)))]


def _forecast_cells(outlook: xr.Dataset) -> list[int]:
    """Positions of the cells with a forecast."""
    there = outlook[outlook_layers(outlook)].to_dataarray().notnull().any(("variable", "lead"))
    return [int(cell) for cell in np.flatnonzero(there)]


def _map_row(outlook: xr.Dataset, canvas: Canvas, target: str, row: Mapped) -> str:
    name = f"{target}_{row.suffix}" if row.suffix else target
    if name not in outlook:
        return ""
    shown = outlook[name].sel(lead=shown_leads(outlook))
    scale = row.scale(shown.to_numpy().astype(np.float64))
    title = f"{layer_words(outlook, target)}: {row.title}"
    if scale is None or not np.isfinite(shown).any():
        return html.heading(title) + html.paragraph("No cell has a value.", note=True)
    days = np.datetime_as_string(outlook["valid_time"].to_numpy(), "D")
    dates = dict(zip(leads(outlook), days, strict=True))
    drawn = [
        html.picture(canvas.panel(shown.sel(lead=lead), scale), dates[lead], ahead(lead))
        for lead in shown_leads(outlook)
    ]
    key = html.swatches(swatch_colours()) if scale is CLASSES_SCALE else html.colour_bar(scale, row.units)
    return html.heading(title, key) + html.panels(drawn, three=True)


def _days_to_dry(outlook: xr.Dataset, canvas: Canvas, target: str) -> str:
    """Map in how many days each cell is dry; white where it is not within the leads."""
    if not has_product(outlook, target, "days_to_dry"):
        return ""
    days = outlook[f"{target}_days_to_dry"]
    last = leads(outlook)[-1]
    hues = [to_hex(colormaps["YlOrRd_r"](place)) for place in np.linspace(0.05, 0.85, last)]
    style = MapStyle(ListedColormap([_NOT_REACHED, *hues]), False, "", "")
    drawn = canvas.panel(days.where(~(days < 0), 0), Scale(-0.5, last + 0.5, style))
    names = {("1 day" if lead == 1 else f"{lead} days"): hues[lead - 1] for lead in shown_leads(outlook)}
    key = html.swatches(names | {f"not within {last} day{'s' if last > 1 else ''}": _NOT_REACHED})
    dry = str(days.attrs.get("dry", ""))
    dates = np.datetime_as_string(outlook["valid_time"].to_numpy(), "D")
    caption = html.picture(drawn, " to ".join(dict.fromkeys((dates[0], dates[-1]))))
    note = html.paragraph(f"Dry is {dry}.", note=True) if dry else ""
    return (
        html.heading(f"{layer_words(outlook, target)}: days until dry", key) + note + html.panels([caption], three=True)
    )


def _from_to(values: list[str], there: list[int]) -> str:
    """Write a value at the first lead and, if there is another, at the last one."""
    ends = [there[0], there[-1]][: len(values)]
    return " and ".join(f"{value} ({ahead(lead)})" for value, lead in zip(values, ends, strict=True))


def _reference_note(outlook: xr.Dataset, target: str) -> str:
    """What the products are measured against, as the outlook says."""
    name = f"{target}_percentile"
    comment = str(outlook[name].attrs.get("comment", "")).strip() if name in outlook else ""
    return f"Percentile, departure and class are {comment}." if comment else ""


def _fan_of(outlook: xr.Dataset, target: str, cell: int, colour: str) -> str:
    one = outlook.isel(cell=cell)
    centre = one[target].to_numpy()
    if not np.isfinite(centre).any():
        return ""
    quantiles = np.empty((len(centre), 0))
    drawn = []
    if f"{target}_quantile" in outlook and np.isfinite(one[f"{target}_quantile"]).any():
        quantiles, drawn = one[f"{target}_quantile"].to_numpy(), bands(outlook["quantile"].to_numpy())
    normal = np.full(len(centre), np.nan)
    if has_product(outlook, target, "anomaly"):
        normal = centre - one[f"{target}_anomaly"].to_numpy()
    detail = _detail(one, target)
    return html.picture(
        fan(outlook["valid_time"].to_numpy(), centre, quantiles, drawn, colour, normal), place_name(one), detail
    )


def _detail(one: xr.Dataset, target: str) -> str:
    """Percentile and drought class of a cell at the first and the last lead."""
    parts = []
    ends = list(dict.fromkeys((0, one.sizes["lead"] - 1)))
    if f"{target}_percentile" in one:
        ranks = one[f"{target}_percentile"].to_numpy()[ends]
        if np.isfinite(ranks).all():
            parts.append("percentile " + " → ".join(dict.fromkeys(f"{rank:.0f}" for rank in ranks)))
    if f"{target}_drought" in one:
        classes = one[f"{target}_drought"].to_numpy()[ends]
        if np.isfinite(classes).all():
            names = [f"D{int(one)}" if one >= 0 else "no drought" for one in classes]
            parts.append(" → ".join(dict.fromkeys(names)))
    return ", ".join(parts)


def _has_quantiles(outlook: xr.Dataset) -> bool:
    names = [f"{target}_quantile" for target in outlook_layers(outlook)]
    return any(name in outlook and bool(np.isfinite(outlook[name]).any()) for name in names)
