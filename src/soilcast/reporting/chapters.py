"""The chapters of a page, on scores, on the forecast of an issue day and on stations, and what their sections need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from soilcast.reporting import html, station_words
from soilcast.reporting.forecasts import has_product, layers, load_forecast
from soilcast.reporting.over_cells import with_intervals
from soilcast.reporting.scores import load_scores, targets
from soilcast.reporting.sections import (
    coming_days,
    coming_maps,
    leads,
    physics,
    probabilities,
    provenance,
    regions,
    score_maps,
    scoreboard,
    series,
    significance,
    stations,
    training,
    uncertainty,
    zones,
)
from soilcast.reporting.sections.headline import headline
from soilcast.reporting.tables import CONSISTENCY, EXTREMES, metrics_in
from soilcast.reporting.verdict import verdict


@dataclass(frozen=True)
class Need:
    """Something that not every artifact has.

    Parameters
    ----------
    is_available
        Whether an artifact has it.
    message
        Sentence of the page where it has not; empty for none.
    """

    is_available: Callable[[xr.Dataset], bool]
    message: str = ""


NEEDS: dict[str, Need] = {
    "one lead": Need(lambda dataset: dataset.sizes["lead"] == 1),
    "several leads": Need(lambda dataset: dataset.sizes["lead"] > 1),
    "several cells": Need(lambda dataset: dataset.sizes["cell"] > 1),
    "series": Need(lambda scores: {"pick_cell", "observed", "predicted", "day", "time"} <= set(scores.variables)),
    "climate zone": Need(lambda scores: "climate_zone" in scores),
    "water": Need(
        lambda scores: bool(metrics_in(scores, CONSISTENCY)),
        "The data lack the water fluxes that Eq. 19 needs: physical consistency is not computed.",
    ),
    "quantiles": Need(
        lambda scores: any(with_intervals(scores, target) for target in targets(scores)),
        "No network gives quantiles: no intervals are evaluated.",
    ),
    "drought probabilities": Need(lambda scores: "event_brier" in scores),
    "extremes": Need(lambda scores: bool(metrics_in(scores, EXTREMES))),
    "drought": Need(lambda forecast: any(has_product(forecast, name, "drought") for name in layers(forecast))),
    "significance": Need(lambda scores: "difference" in scores),
    "regions": Need(lambda dataset: "regions" in dataset.attrs),
}
"""What a section may need, by name."""


@dataclass(frozen=True)
class Section:
    """A part of a chapter.

    Parameters
    ----------
    anchor, heading
        In the page; a section without heading is above the links to the others.
    draw
        Gives its HTML from what the chapter is on; where that is empty, the section is left out.
    needs
        Names of `NEEDS` without any of which it is left out.
    """

    anchor: str
    heading: str
    draw: Callable[[xr.Dataset], html.Markup]
    needs: tuple[str, ...] = ()

    def missing(self, dataset: xr.Dataset) -> list[str]:
        """Names of what it needs and what is not there."""
        return [need for need in self.needs if not NEEDS[need].is_available(dataset)]


@dataclass(frozen=True)
class Chapter:
    """What a page shows of one kind of artifact.

    Parameters
    ----------
    load
        Loads what is opened, given the file for messages, and refuses what no page can be made of.
    sentences
        Plain sentences, of which the first is in the contents of a page on several.
    heading, subtitle
        Of a page; the heading where it is on several artifacts.
    sections
        In the order in which they are read.
    """

    load: Callable[[xr.Dataset, Path], xr.Dataset]
    sentences: Callable[[xr.Dataset], list[str]]
    heading: str
    subtitle: str
    sections: tuple[Section, ...]


SCORES = (
    Section("headline", "", headline),
    Section("scores", "Scores of all models and baselines", scoreboard.of_one_lead, ("one lead",)),
    Section("scores", "Scores of all models and baselines by lead", scoreboard.by_lead, ("several leads",)),
    Section("leads", "Error and skill by lead", leads.errors, ("several leads",)),
    Section("regions", "Region by region", regions.of_scores, ("regions",)),
    Section("maps", "Maps", score_maps.of_one_lead, ("several cells", "one lead")),
    Section("maps", "Maps", score_maps.by_lead, ("several cells", "several leads")),
    Section("series", "Time series", series.lines, ("series", "one lead")),
    Section("series", "Forecasts and observations", series.fans, ("series", "several leads")),
    Section("zones", "Climate zones", zones.zones, ("climate zone",)),
    Section("physics", "Physical consistency", physics.physics, ("water",)),
    Section("uncertainty", "Uncertainty", uncertainty.uncertainty, ("quantiles",)),
    Section("probabilities", "Probability of drought", probabilities.probabilities, ("drought probabilities",)),
    Section("extremes", "Driest and wettest days", leads.extremes, ("extremes", "several leads")),
    Section("extremes", "Driest and wettest days", leads.extremes_of_one_lead, ("extremes", "quantiles", "one lead")),
    Section("significance", "Significance", significance.significance, ("significance",)),
    Section("training", "Training", training.training),
    Section("provenance", "Provenance", provenance.of_scores),
)

FORECAST = (
    Section("headline", "", coming_days.headline),
    Section("regions", "Region by region", regions.of_forecast, ("regions",)),
    Section("maps", "Maps of the coming days", coming_maps.maps, ("several cells",)),
    Section("drought", "Drought classes by day", coming_days.drought, ("drought",)),
    Section("fans", "Cells and their intervals", coming_days.fans),
    Section("provenance", "Provenance", provenance.of_forecast),
)

VERDICT = (
    Section("headline", "", stations.headline),
    Section("scores", "Scores at the stations", stations.scores),
    Section("provenance", "Provenance", provenance.of_verdict),
    Section("answers", "Is the forecast better than the station's own persistence?", stations.answers),
)

CHAPTERS: dict[str, Chapter] = {
    "scores": Chapter(
        load_scores,
        verdict,
        "Soil moisture forecasts: how good are they?",
        "Soil moisture forecasts with physics-guided neural networks, evaluated beside persistence",
        SCORES,
    ),
    "forecast": Chapter(
        load_forecast,
        coming_days.sentences,
        "Soil moisture of the coming days",
        "A forecast of soil moisture by a neural network",
        FORECAST,
    ),
    "verdict": Chapter(
        stations.load_verdict,
        station_words.summary,
        "Soil moisture forecasts at stations",
        "Soil moisture forecasts, compared with what stations measured",
        VERDICT,
    ),
}
"""Every kind of artifact that a page can be made of, by its `soilcast_kind`."""
