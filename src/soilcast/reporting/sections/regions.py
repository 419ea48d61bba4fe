"""Regions one by one: what is forecast of each, and how good forecasts of each are."""

from __future__ import annotations

import numpy as np
import xarray as xr

from soilcast.products.indices import CLASS_NAMES
from soilcast.reporting import html
from soilcast.reporting.artifacts import leads, selected_leads
from soilcast.reporting.drought import CLASSES, percent
from soilcast.reporting.fans import bands
from soilcast.reporting.forecasts import has_product, layer_words, layers
from soilcast.reporting.over_cells import best_network
from soilcast.reporting.scores import targets
from soilcast.reporting.tables import column_head, number, numbers
from soilcast.reporting.wording import PERCENT, ahead, target_words, with_weather

_DASH = "–"
_SCORES = ("ratio", "rmse", "coverage_90", "width_90")


def of_forecast(forecast: xr.Dataset) -> html.Markup:
    """Soil moisture, percentile, class and odds of each region at the first, the middle and the last lead."""
    text = (
        "Means of the regions, weighted by the area of each cell in the region; percentile, class and odds are in the "
        "climate of the region's mean. Odds are those of the class or a drier one"
    )
    parts = [html.paragraph(f"{text} [{PERCENT.strip()}].", note=True)]
    days = np.datetime_as_string(forecast["valid_time"].to_numpy(), "D")
    dates = dict(zip(leads(forecast), days, strict=True))
    for target in layers(forecast):
        for lead in selected_leads(forecast):
            title = f"{layer_words(forecast, target)}: {dates[lead]}, {ahead(lead)}"
            parts += [html.heading(title), _table(forecast.sel(lead=lead), target)]
    notes = str(forecast.attrs.get("notes", "")).splitlines()
    return html.joined([*parts, html.listed(notes)])


def of_scores(scores: xr.Dataset) -> html.Markup:
    """Scores of the best network in each region at the first, the middle and the last lead."""
    parts = [html.paragraph("Of the mean of each region, by the best network of each target.", note=True)]
    shown = [name for name in _SCORES if name in scores]
    names = [str(name) for name in scores["cell_name"].to_numpy()]
    for target in targets(scores):
        label = best_network(scores, target)
        if label is None:
            continue
        for lead in selected_leads(scores):
            values = scores[shown].sel(model=label, target=target, lead=lead)
            rows = [
                ("network", name, [number(float(values[metric][at]), metric) for metric in shown])
                for at, name in enumerate(names)
            ]
            title = f"{target_words(target)}: {with_weather(scores, label)}, {ahead(lead)}"
            parts += [html.heading(title), html.table("Region", [*map(column_head, shown)], rows)]
    return html.joined(parts)


def _table(forecast: xr.Dataset, target: str) -> html.Markup:
    """One row a region, of one lead."""
    columns: dict[str, list[str | html.Cell]] = {"m³ m⁻³": _moisture(forecast, target)}
    if has_product(forecast, target, "percentile"):
        ranks = forecast[f"{target}_percentile"].to_numpy()
        columns["percentile"] = [f"{rank:.0f}" if np.isfinite(rank) else _DASH for rank in ranks]
    if has_product(forecast, target, "drought"):
        classes = forecast[f"{target}_drought"].to_numpy()
        names = {number: name.partition(" ")[0] for number, (name, _) in CLASSES.items()}
        columns["class"] = [names[int(one)] if np.isfinite(one) else _DASH for one in classes]
    if has_product(forecast, target, "drought_probability"):
        odds = forecast[f"{target}_drought_probability"].transpose("cell", "drought_class").to_numpy()
        columns |= {f"odds of {name}": [*map(percent, odds[:, at])] for at, name in enumerate(CLASS_NAMES)}
    names_of_regions = [str(name) for name in forecast["cell_name"].to_numpy()]
    rows = [("network", name, [values[at] for values in columns.values()]) for at, name in enumerate(names_of_regions)]
    return html.table("Region", [*columns], rows)


def _moisture(forecast: xr.Dataset, target: str) -> list[str | html.Cell]:
    """Soil moisture, and beneath it the widest interval."""
    values = forecast[target].to_numpy()
    if f"{target}_quantile" not in forecast:
        return [number(float(value), "rmse") for value in values]
    levels = forecast["quantile"].to_numpy()
    widest = next(iter(bands(levels)), None)
    if widest is None:
        return [number(float(value), "rmse") for value in values]
    ends = forecast[f"{target}_quantile"].transpose("cell", "quantile").to_numpy()[:, [widest.low, widest.high]]
    beneath = [" to ".join(number(float(one), "rmse") for one in pair) for pair in ends]
    return [numbers(number(float(value), "rmse"), text) for value, text in zip(values, beneath, strict=True)]
