"""The chapter on a verdict at stations: what was compared, the numbers, and the answers at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.artifacts import check_dims, check_leads, leads, loaded
from soilcast.reporting.station_words import (
    WORDS,
    answer_sentence,
    collocation_sentence,
    distortion_sentence,
    summary,
)
from soilcast.reporting.tables import number
from soilcast.reporting.wording import PERCENT, newest_observation, period, span, target_words, weather_words
from soilcast.verify.dayblocks import BLOCK_DAYS
from soilcast.verify.stations.estimates import METRICS, Answer

_AGAIN = "make the verdict again"
_HEADS = {"r": "R", "anomaly_r": "R of anomalies", "rmse": "RMSE", "ubrmse": "ubRMSE", "bias": "bias"}
_REQUIRED = {
    "answer": ("forecast", "target", "lead", "cell"),
    "network_answer": ("forecast", "target", "lead", "network"),
    "difference": ("forecast", "reference", "target", "lead", "cell"),
    "reason": ("forecast", "target", "cell"),
    "rmse": ("model", "target", "lead", "cell"),
    "cell_name": ("cell",),
    "cell_network": ("cell",),
}


def load_verdict(opened: xr.Dataset, file: Path) -> xr.Dataset:
    """Load a verdict, and refuse one that no page can be made of."""
    verdict = loaded(opened, file, _AGAIN)
    check_dims(verdict, file, _REQUIRED, _AGAIN)
    check_leads(verdict, file, _AGAIN)
    return verdict


def headline(verdict: xr.Dataset) -> html.Markup:
    """The count of answers, and what was compared with what."""
    first, *rest = summary(verdict)
    attributes = {key: str(value) for key, value in verdict.attrs.items()}
    reach = verdict["distance"].to_numpy()
    rows = {
        "Stations": f"{verdict.sizes['cell']}, {attributes.get('stations', '')}",
        "Targets": "; ".join(target_words(str(target)) for target in verdict["target"].to_numpy()),
        "Leads": span(leads(verdict)),
        "Newest observation": newest_observation(attributes.get("latency_days", "")),
        "Weather of the days ahead": weather_words(attributes.get("weather", "")),
        "Test": period(attributes.get("test_period", "")),
        "Matching": attributes.get("matching", ""),
        "Bounds of the layers [m]": attributes.get("layers", ""),
        "Distance from the cell [km]": f"{np.nanmin(reach):.1f} to {np.nanmax(reach):.1f}",
        "Third product": attributes.get("third", ""),
        **({"Left out": "; ".join(attributes["left_out"].splitlines())} if attributes.get("left_out") else {}),
    }
    badge = html.badge(f"Forecasts: {attributes.get('content', '')}; stations: {attributes.get('stations', '')}")
    return badge + html.verdict(first, html.listed(rest)) + html.facts(rows)


def scores(verdict: xr.Dataset) -> html.Markup:
    """Medians over the stations of every score, of forecasts and of the stations' own baselines."""
    note = html.paragraph(
        "Medians over the stations, on the same days for all; each station's numbers and 95"
        f"{PERCENT} intervals are in stations.csv. R of anomalies: of the departures from the station's annual cycle, "
        "learnt before the test.",
        note=True,
    )
    parts = [note]
    heads = [_HEADS[metric] for metric in METRICS]
    for target in verdict["target"].to_numpy():
        for lead in dict.fromkeys((leads(verdict)[0], leads(verdict)[-1])):
            at = verdict.sel(target=target, lead=lead)
            rows = []
            for model in verdict["model"].to_numpy():
                medians = [_median(at[metric].sel(model=model).to_numpy()) for metric in METRICS]
                cells = [
                    number(value, "rmse" if unit else "r")
                    for value, unit in zip(
                        medians, [metric in ("rmse", "ubrmse", "bias") for metric in METRICS], strict=True
                    )
                ]
                rows.append(("", str(model), cells))
            parts += [html.heading(f"{target_words(str(target))}, lead {lead}"), html.table("model", heads, rows)]
    return html.joined(parts)


def answers(verdict: xr.Dataset) -> html.Markup:
    """For every network and station the answer and its reason."""
    rule = html.paragraph(
        "Is the forecast better than the station's own persistence and damped anomaly? Yes where its RMSE is lower "
        f"than both, with 95{PERCENT} intervals below 0; no where it is not lower than one of them; else the days are "
        f"not enough to tell. Intervals are by resampling blocks of {BLOCK_DAYS} days, which respects autocorrelation; "
        f"of stations without any difference 2.5{PERCENT} would be called better than one reference by chance. A "
        "network is answered by the medians over its stations, on days that they share.",
        note=True,
    )
    parts = [rule]
    for forecast in verdict["forecast"].to_numpy():
        for target in verdict["target"].to_numpy():
            chosen = verdict.sel(forecast=forecast, target=target)
            parts.append(html.heading(f"{forecast}: {target_words(str(target))}"))
            for network in verdict["network"].to_numpy():
                parts.append(_network(chosen, str(forecast), str(network)))
    return html.joined(parts)


def _network(chosen: xr.Dataset, forecast: str, network: str) -> html.Markup:
    members = np.flatnonzero(chosen["cell_network"].to_numpy() == network)
    own = chosen.sel(network=network)
    name = network or "Stations without a network"
    heads = [f"lead {lead}" for lead in leads(chosen)]
    rows = [("", name, [_cell(value) for value in own["network_answer"].to_numpy()])]
    sentences = []
    for member in members:
        station = chosen.isel(cell=int(member))
        label = str(station["cell_name"].item())
        rows.append(("", label, [_cell(value) for value in station["answer"].to_numpy()]))
        sentences.append(f"{label}: {' '.join(_said(station, forecast))}")
    return (
        html.paragraph(f"{name}: {answer_sentence(own, 'network_')}")
        + html.table("", heads, rows)
        + html.folded(f"{name}: every station and its reason", html.listed(sentences))
    )


def _said(station: xr.Dataset, forecast: str) -> Iterator[str]:
    yield answer_sentence(station)
    for sentence in (
        distortion_sentence(station, forecast),
        collocation_sentence(station, str(station.attrs.get("third", "")) or "a third product"),
    ):
        if sentence:
            yield sentence


def _cell(value: int) -> str | html.Cell:
    answer = Answer(int(value))
    return html.Cell(upper=WORDS[answer], kind="mark") if answer is Answer.YES else WORDS[answer]


def _median(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
