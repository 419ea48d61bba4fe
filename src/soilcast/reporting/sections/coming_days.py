"""The forecast of an issue day: what it comes to, its drought classes, and a few cells with their intervals."""

from __future__ import annotations

import numpy as np
import xarray as xr

from soilcast.cube.contract import BRIDGED
from soilcast.products.indices import CLASS_NAMES
from soilcast.reporting import html
from soilcast.reporting.artifacts import leads
from soilcast.reporting.drought import ODDS_OF, drought_table, expected_shares, odds_table, percent, share_in_drought
from soilcast.reporting.fans import NORMAL, Days, Values, band_names, bands, fan
from soilcast.reporting.forecasts import ISSUE_DAYS, fan_cells, forecast_cells, has_product, layer_words, layers
from soilcast.reporting.lead_lines import MOISTURE
from soilcast.reporting.observations import OBSERVED_IN
from soilcast.reporting.over_cells import means
from soilcast.reporting.style import OBSERVED, palette
from soilcast.reporting.tables import number
from soilcast.reporting.wording import (
    PERCENT,
    ahead,
    bridged_words,
    content,
    extent,
    location_name,
    newest_observation,
    period,
    span,
    weather_words,
)


def headline(forecast: xr.Dataset) -> html.Markup:
    """What is forecast, from when and from what, and what it comes to."""
    attrs = {key: str(value) for key, value in forecast.attrs.items()}
    first, *remaining = sentences(forecast)
    names = layers(forecast)
    levels = forecast["quantile"].to_numpy() if _has_quantiles(forecast) else np.empty(0)
    rows = {
        "Model": attrs.get("label", ""),
        "Targets": "; ".join(layer_words(forecast, name) for name in names),
        "Leads": span(leads(forecast)),
        "Newest observation": newest_observation(attrs.get("latency_days", "")),
        "Weather of the days ahead": weather_words(attrs.get("weather", "")),
        "Days that the reanalysis lacks": bridged_words(attrs.get(BRIDGED, "")),
        "Quantiles": ", ".join(f"{100 * level:g}" for level in levels) + (PERCENT if levels.size else ""),
        "Regions forecast"
        if "regions" in attrs
        else "Cells forecast": f"{len(forecast_cells(forecast))} of {forecast.sizes['cell']}",
        "Training": period(attrs.get("train_period", "")),
        "Source": attrs.get("source", ""),
        "Issue days in the file": f"{attrs[ISSUE_DAYS]}; shown is the last" if attrs[ISSUE_DAYS] != "1" else "",
    }
    return html.badge(f"Data: {content(forecast)}") + html.verdict(first, html.listed(remaining)) + html.facts(rows)


def sentences(forecast: xr.Dataset) -> list[str]:
    """State from and for which days the forecast is, and what it comes to, in plain sentences from the numbers."""
    lead_days = leads(forecast)
    issued = np.datetime_as_string(forecast["time"].to_numpy(), "D")
    valid = np.datetime_as_string(forecast["valid_time"].to_numpy(), "D")
    ends = sorted({0, len(lead_days) - 1})
    lines = [f"Made at the end of {issued} for {' to '.join(valid[ends])}."]
    for target in layers(forecast):
        mean = [f"{number(float(value), 'rmse')} {MOISTURE}" for value in means(forecast, forecast[target])[ends]]
        sentence = f"{target}: the mean over the {extent(forecast)} is {_from_to(mean, lead_days)}"
        if has_product(forecast, target, "drought_probability"):
            expected = expected_shares(forecast, target)[CLASS_NAMES.index(ODDS_OF)]
            share = [f"{percent(float(value))}{PERCENT}" for value in expected[ends]]
            sentence += f"; the expected share of the {extent(forecast)} in severe drought ({ODDS_OF}) or drier is "
            sentence += _from_to(share, lead_days)
        elif has_product(forecast, target, "drought"):
            share = [f"{percent(float(value))}{PERCENT}" for value in share_in_drought(forecast, target)[ends]]
            sentence += f"; by the point forecast the share of the {extent(forecast)} in drought (D1 or worse) is "
            sentence += _from_to(share, lead_days)
        lines.append(f"{sentence}.")
    return [*lines, "This page shows a forecast, not its skill, which soilcast evaluate measures."]


def drought(forecast: xr.Dataset) -> html.Markup:
    """Give the odds of each drought class, and the share of the cells that the central forecast is in, lead by lead."""
    classified = [target for target in layers(forecast) if has_product(forecast, target, "drought")]
    text = (
        f"Share of the {extent(forecast)} [%] in each class of the U.S. Drought Monitor; cells without a class are "
        "left out. "
    )
    if any(has_product(forecast, target, "drought_probability") for target in classified):
        text += (
            "First the share that is expected in the class or a drier one, the mean of its odds; then the share that "
            "the median is in, which with growing lead is less often dry than what comes."
        )
    else:
        text += (
            "The classes are of a point forecast: the run gives no quantiles, and so no odds. With growing lead it is "
            "less often dry than what comes."
        )
    return html.paragraph(text, note=True) + html.joined(_drought_tables(forecast, target) for target in classified)


def _drought_tables(forecast: xr.Dataset, target: str) -> html.Markup:
    has_odds = has_product(forecast, target, "drought_probability")
    odds = odds_table(forecast, target) if has_odds else html.NOTHING
    return html.heading(layer_words(forecast, target)) + odds + drought_table(forecast, target)


def fans(forecast: xr.Dataset) -> html.Markup:
    """Draw the forecast of a few cells, with its intervals."""
    colour = next(iter(palette([""], []).values()))
    chosen = fan_cells(forecast)
    intervals = bands(forecast["quantile"].to_numpy()) if _has_quantiles(forecast) else []
    usual = any(has_product(forecast, target, "anomaly") for target in layers(forecast))
    label = str(forecast.attrs.get("label", "")).strip() or "forecast"
    is_observed = OBSERVED_IN in forecast.attrs
    key = html.legend(
        ({"observed": OBSERVED} if is_observed else {})
        | {label: colour}
        | ({"usual for the date (dashed)": NORMAL} if usual else {})
    )
    if len(chosen) == len(forecast_cells(forecast)):
        text = "Every cell with a forecast."
    else:
        text = f"{len(chosen)} of {forecast.sizes['cell']} cells, evenly spread from the driest to the wettest."
    if intervals:
        text += f" Bands: the {band_names(intervals)} intervals."
    else:
        text += " The run gives no quantiles: there are no intervals."
    if is_observed:
        text += f" {_observed_words(forecast)}"
    parts = [html.paragraph(text, note=True), key]
    for target in layers(forecast):
        drawn = [_fan_of(forecast, target, cell, colour) for cell in chosen]
        if any(drawn):
            parts += [html.heading(layer_words(forecast, target)), html.panels(drawn)]
    return html.joined(parts)


def _from_to(values: list[str], leads: list[int]) -> str:
    """Write a value at the first lead and, if there is another, at the last one."""
    ends = [leads[0], leads[-1]][: len(values)]
    return " and ".join(f"{value} ({ahead(lead)})" for value, lead in zip(values, ends, strict=True))


def _fan_of(forecast: xr.Dataset, target: str, cell: int, colour: str) -> html.Markup:
    values = forecast.isel(cell=cell)
    centre = values[target].to_numpy()
    if not np.isfinite(centre).any():
        return html.NOTHING
    quantiles = np.empty((len(centre), 0))
    drawn = []
    if f"{target}_quantile" in forecast and np.isfinite(values[f"{target}_quantile"]).any():
        quantiles, drawn = values[f"{target}_quantile"].to_numpy(), bands(forecast["quantile"].to_numpy())
    normal = np.full(len(centre), np.nan)
    if has_product(forecast, target, "anomaly"):
        normal = centre - values[f"{target}_anomaly"].to_numpy()
    observed = _observed(forecast, target, cell)
    drawing = fan(forecast["valid_time"].to_numpy(), centre, quantiles, drawn, colour, normal, observed)
    return html.picture(drawing, location_name(values), _detail(values, target))


def _observed(forecast: xr.Dataset, target: str, cell: int) -> tuple[Days, Values] | None:
    """Days and observations beside the forecast of a cell: see `soilcast.reporting.observations`."""
    name = f"{target}_observed"
    if name not in forecast:
        return None
    values = forecast[name].isel(fan=forecast["fan_cell"].to_numpy().tolist().index(cell)).to_numpy()
    return (forecast["day"].to_numpy(), values) if np.isfinite(values).any() else None


def _observed_words(forecast: xr.Dataset) -> str:
    """Say what the observations are of, and which of the cells have none."""
    known = [any(_observed(forecast, target, cell) for target in layers(forecast)) for cell in fan_cells(forecast)]
    missing = "" if all(known) else f" {known.count(False)} of {len(known)} cells have none."
    return (
        f"Observed: {forecast.attrs[OBSERVED_IN]}, as points where there are gaps. What came after the issue day, "
        f"which is dotted, the forecast did not know.{missing}"
    )


def _detail(forecast: xr.Dataset, target: str) -> str:
    """Percentile and drought class of a cell at the first and the last lead."""
    parts = []
    ends = sorted({0, forecast.sizes["lead"] - 1})
    if f"{target}_percentile" in forecast:
        ranks = forecast[f"{target}_percentile"].to_numpy()[ends]
        if np.isfinite(ranks).all():
            parts.append("percentile " + " → ".join(dict.fromkeys(f"{rank:.0f}" for rank in ranks)))
    if f"{target}_drought" in forecast:
        classes = forecast[f"{target}_drought"].to_numpy()[ends]
        if np.isfinite(classes).all():
            names = [f"D{int(number)}" if number >= 0 else "no drought" for number in classes]
            parts.append(" → ".join(dict.fromkeys(names)))
    return ", ".join(parts)


def _has_quantiles(forecast: xr.Dataset) -> bool:
    names = [f"{target}_quantile" for target in layers(forecast)]
    return any(name in forecast and bool(np.isfinite(forecast[name]).any()) for name in names)
