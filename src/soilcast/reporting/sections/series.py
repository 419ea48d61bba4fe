"""Series of the picked cells: forecasts beside what was observed."""

from __future__ import annotations

import matplotlib
import matplotlib.dates
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soilcast.reporting import html
from soilcast.reporting.artifacts import selected_leads
from soilcast.reporting.fans import band_names, bands, fans_of_pick
from soilcast.reporting.figures import LOOK, day_axis, draw_observed, set_margins, svg
from soilcast.reporting.lead_lines import MOISTURE, model_looks
from soilcast.reporting.over_cells import best_network
from soilcast.reporting.scores import PERSISTENCE, networks, targets
from soilcast.reporting.style import OBSERVED, RAIN, colours, pretty_units
from soilcast.reporting.tables import number
from soilcast.reporting.wording import ahead, location_of_pick, target_words, with_weather

_DAY = np.timedelta64(1, "D")
_GAPS = "Observations are points where they have gaps."


def lines(scores: xr.Dataset) -> html.Markup:
    """Draw observed and forecast soil moisture of the picked cells at one lead as lines."""
    palette = colours(scores)
    drawn = {"observed": OBSERVED} | {label: palette[label] for label in networks(scores)}
    parts = [html.paragraph(_GAPS, note=True)] if _has_gaps(scores) else []
    parts.append(html.legend(drawn | ({"rain": RAIN} if "precipitation" in scores else {}), bars=["rain"]))
    for target in targets(scores):
        of_target = scores.sel(target=target).isel(lead=0)
        parts += [html.heading(target_words(target))] if scores.sizes["target"] > 1 else []
        parts += [
            _wide(_time_series(of_target, pick), scores, pick, _errors(of_target, pick))
            for pick in range(scores.sizes["pick"])
        ]
    return html.joined(parts)


def fans(scores: xr.Dataset) -> html.Markup:
    """Draw forecasts of several leads of the picked cells beside what was then observed."""
    parts = []
    for target in targets(scores):
        label = best_network(scores, target)
        if label is None:
            continue
        colour = model_looks(scores)[label].colour
        drawn = [_fans(scores, target, pick, label, colour) for pick in range(scores.sizes["pick"])]
        if any(drawn):
            key = html.legend({"observed": OBSERVED, with_weather(scores, label): colour})
            parts += [html.heading(target_words(target), key), *drawn]
    if not parts:
        return html.NOTHING
    shares = band_names(bands(scores["quantile"].to_numpy())) if "quantile" in scores.variables else ""
    intervals = f" Bands: the {shares} intervals, where the network gives them." if shares else ""
    text = (
        "The best network of each target. Above: the test period, with the forecasts of the first issue day and of "
        f"others at equal distances. Beneath: some of them large, each from its issue day, which is dotted.{intervals}"
        f"{f' {_GAPS}' if _has_gaps(scores) else ''}"
    )
    return html.paragraph(text, note=True) + html.joined(parts)


def _has_gaps(scores: xr.Dataset) -> bool:
    return bool(scores["observed"].isnull().any())


def _time_series(scores: xr.Dataset, pick: int) -> str:
    """Draw one picked cell at one target and lead, with its rain as bars beneath."""
    day, valid = scores["day"].to_numpy(), scores["time"].to_numpy() + int(scores["lead"]) * _DAY
    palette = colours(scores)
    wet = "precipitation" in scores
    with matplotlib.rc_context(LOOK):
        figure = Figure(figsize=(11.2, 3.8 if wet else 2.8))
        set_margins(figure, left=0.85, bottom=0.5, right=0.25)
        figure.subplots_adjust(hspace=0.12)
        rows = figure.subplots(2 if wet else 1, 1, sharex=True, squeeze=False, height_ratios=[2.6, 1] if wet else [1])[
            :, 0
        ]
        axes: Axes = rows[0]
        draw_observed(axes, day, scores["observed"].isel(pick=pick).to_numpy(), width=1.9)
        for label in networks(scores):
            axes.plot(valid, scores["predicted"].sel(model=label).isel(pick=pick), color=palette[label], linewidth=1.2)
        axes.set_ylabel(f"soil moisture\n[{MOISTURE}]")
        if wet:
            rain = scores["precipitation"].isel(pick=pick).to_numpy().astype(np.float64) * 1000
            edges = np.append(day, day[-1:] + _DAY) if len(day) else day
            rows[1].stairs(rain, matplotlib.dates.date2num(edges), fill=True, color=RAIN)  # type: ignore[no-untyped-call]
            rows[1].set_ylim(bottom=0)
            rows[1].set_ylabel(f"rain\n[{pretty_units('mm d-1')}]")
        if len(day):
            day_axis(rows[-1], day[0] - 2 * _DAY, day[-1] + 2 * _DAY, 12)
        figure.align_ylabels()
        return svg(figure)


def _errors(scores: xr.Dataset, pick: int) -> str:
    cell = int(scores["pick_cell"].to_numpy()[pick])
    labels = [*networks(scores), PERSISTENCE]
    values = scores["rmse"].isel(cell=cell).sel(model=labels).to_numpy()
    return "RMSE here: " + ", ".join(
        f"{label} {number(float(v), 'rmse')}" for label, v in zip(labels, values, strict=True)
    )


def _fans(scores: xr.Dataset, target: str, pick: int, label: str, colour: str) -> html.Markup:
    uri = fans_of_pick(scores, target, pick, label, colour)
    if uri is None:
        return html.NOTHING
    cell = int(scores["pick_cell"].to_numpy()[pick])
    ratio = scores["ratio"].sel(target=target, model=label).isel(cell=cell)
    values = ", ".join(
        f"{number(float(ratio.sel(lead=lead)), 'ratio')} ({ahead(lead)})" for lead in selected_leads(scores)
    )
    return _wide(uri, scores, pick, f"ratio to persistence here: {values}")


def _wide(uri: str, scores: xr.Dataset, pick: int, detail: str) -> html.Markup:
    return html.picture(uri, location_of_pick(scores, pick), detail, wide=True)
