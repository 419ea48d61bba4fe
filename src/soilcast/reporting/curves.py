"""Numbers by lead that figures show: which, of which models, and how they follow from the scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.artifacts import leads
from soilcast.reporting.lead_lines import Frame, Look, lead_lines, looks
from soilcast.reporting.over_cells import means, medians
from soilcast.reporting.scores import baselines, networks, ordered, targets
from soilcast.reporting.style import pretty_units
from soilcast.reporting.wording import target_words

MOISTURE = pretty_units("m3 m-3")
ERROR = Frame(f"RMSE [{MOISTURE}]", zero=True, logarithmic=True)

Values = Callable[[xr.Dataset, str], xr.DataArray]


def everyone(scores: xr.Dataset, _target: str) -> list[str]:
    """All models, in the order of the tables."""
    return ordered(scores)


@dataclass(frozen=True)
class Curve:
    """A number by lead that a figure shows: its caption, its axis, and how it follows from the scores.

    Parameters
    ----------
    caption
        Above the figure.
    frame
        The axis.
    values
        ``(scores, target) -> (model, lead)``.
    of
        ``(scores, target) ->`` labels of the models that are drawn.
    """

    caption: str
    frame: Frame
    values: Values
    of: Callable[[xr.Dataset, str], list[str]] = everyone


def median_of(name: str) -> Values:
    """Area-weighted median of a metric over the cells."""
    return lambda scores, target: medians(scores, scores[name].sel(target=target))


def mean_of(name: str) -> Values:
    """Area-weighted mean of a metric over the cells."""
    return lambda scores, target: means(scores, scores[name].sel(target=target))


def draw_curves(scores: xr.Dataset, curves: Sequence[Curve]) -> html.Markup:
    """Draw curves against the lead, target by target, as HTML; a target without any value is left out."""
    parts = []
    look = model_looks(scores)
    for target in targets(scores):
        drawn = []
        for curve in curves:
            values = curve.values(scores, target)
            lines = {label: values.sel(model=label).to_numpy() for label in curve.of(scores, target)}
            uri = lead_lines(leads(scores), lines, look, curve.frame)
            drawn += [html.picture(uri, curve.caption)] if uri else []
        parts.append(html.heading(target_words(target)))
        parts.append(html.panels(drawn) if drawn else html.paragraph("No cell has a value.", note=True))
    return html.joined(parts)


def model_looks(scores: xr.Dataset) -> dict[str, Look]:
    """How the line of every model is drawn."""
    return looks(networks(scores), baselines(scores))
