"""What the probabilities of drought are worth: reliability, frequencies, skill, ROC and economic value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import matplotlib
import matplotlib.ticker
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from soilcast.reporting import html
from soilcast.reporting.artifacts import leads
from soilcast.reporting.figures import LOOK, canvas, svg
from soilcast.reporting.lead_lines import Curve, Frame, Look, draw_curves, lead_lines, median_of, model_looks
from soilcast.reporting.scores import baselines, networks, ordered, targets
from soilcast.reporting.sections.uncertainty import SIDE, leads_drawn
from soilcast.reporting.style import OBSERVED
from soilcast.reporting.tables import model_table, number
from soilcast.reporting.wording import days, target_words, weighted
from soilcast.verify.drought import WITHIN

_DRY, _SEVERE = "D1", "D2"
_FEWEST = 1e-3
"""Share of the forecasts below which a bin is not drawn: its frequency is of a few days."""

_WHAT = (
    "The probability that soil moisture is at least as dry as a class of the U.S. Drought Monitor, by the cell's own "
    "record of the date: D1 is the driest fifth of the days around the date, D2 the driest tenth. Reliable are "
    "probabilities on the diagonal: of all days with a probability of 30 % the event comes on 30 %. Skill is against "
    "the frequency in the record of the cell and date: 1 is perfect, 0 no better. The area under the ROC curve is the "
    "chance that a day with the event had a higher probability than one without: 0.5 is none. The value is what a user "
    "saves who acts where the probability is at least the ratio of cost to loss, as a share of what a perfect forecast "
    "would save. Skill is the {}median over the cells; all else is of all cell-days together."
)


def event_of(name: str, event: str) -> Callable[[xr.Dataset, str], xr.DataArray]:
    """Give what is verified of an event over all cells by lead, ``(model, lead)``."""
    return lambda scores, target: scores[f"event_{name}"].sel(target=target, event=event, drop=True)


def with_probabilities(scores: xr.Dataset, target: str) -> list[str]:
    """Labels of the models that give probabilities of the drought classes of a target, in the order of the tables."""
    has = scores["event_brier"].sel(target=target).notnull().any(("lead", "event"))
    return [label for label in ordered(scores) if bool(has.sel(model=label))]


CURVES = (
    Curve(
        "Skill of the drought classes (RPSS)",
        Frame("1 − RPS / RPS of the climate", level=0.0),
        median_of("rps_skill"),
        with_probabilities,
    ),
    Curve(
        f"Brier skill of {_DRY} or drier",
        Frame("1 − BS / BS of the climate", level=0.0),
        median_of("brier_skill_d1"),
        with_probabilities,
    ),
    Curve(
        f"Brier skill of {_SEVERE} or drier",
        Frame("1 − BS / BS of the climate", level=0.0),
        median_of("brier_skill_d2"),
        with_probabilities,
    ),
    Curve(
        f"Area under the ROC curve, {_SEVERE} or drier",
        Frame("ROC area", level=0.5),
        event_of("roc_area", _SEVERE),
        with_probabilities,
    ),
)
"""What the probabilities are worth by lead."""


def probabilities(scores: xr.Dataset) -> html.Markup:
    """Give frequencies, skill and ROC area, of several leads as curves, of one as a table; and diagrams of networks."""
    several = scores.sizes["lead"] > 1
    parts = [html.paragraph(_WHAT.format(weighted(scores)), note=True)]
    for target in targets(scores):
        labels = with_probabilities(scores, target)
        if labels:
            of_target = scores.sel(target=[target])
            parts.append(draw_curves(of_target, CURVES) if several else html.heading(target_words(target)))
            parts.append(_frequencies(scores, target) if several else _table(scores, target))
            parts += [
                html.panels(_diagrams(scores, target, label), three=True)
                for label in labels
                if label in networks(scores)
            ]
    return html.joined(parts)


def frequencies(scores: xr.Dataset, target: str, event: str = _SEVERE) -> str | None:
    """Draw how often an event is forecast and how often it came, by lead."""
    labels = with_probabilities(scores, target)
    forecast, came = (event_of(name, event)(scores, target) for name in ("probability", "frequency"))
    lines = {label: forecast.sel(model=label).to_numpy() for label in labels}
    lines["observed"] = came.sel(model=labels[0]).to_numpy()
    look: Mapping[str, Look] = model_looks(scores) | {"observed": Look(OBSERVED, "", "-")}
    return lead_lines(leads(scores), lines, look, Frame("share of cell-days", zero=True))


def reliability(scores: xr.Dataset, target: str, label: str, event: str) -> str | None:
    """Draw forecast probability against observed frequency of an event at a few leads, without bins of few days."""
    chosen = scores.sel(target=target, model=label, event=event)
    drawn = chosen["event_share"] >= _FEWEST

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="#9aa1ab", linewidth=0.9, zorder=1)
        for lead, colour, marker in leads_drawn(scores):
            forecast, observed = (
                chosen[f"event_{name}"].where(drawn).sel(lead=lead).dropna("probability_bin")
                for name in ("forecast", "observed")
            )
            axes.plot(forecast, observed, color=colour, marker=marker, markersize=4.5, linewidth=1.4, label=days(lead))
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xlabel("forecast probability")
        axes.set_ylabel("observed frequency")

    return _square(draw, bool(np.isfinite(chosen["event_brier"]).any()))


def operating_characteristic(scores: xr.Dataset, target: str, label: str, event: str) -> str | None:
    """Draw the hit rate against the false alarm rate of warnings from each probability on, at a few leads."""
    chosen = scores.sel(target=target, model=label, event=event)

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="#9aa1ab", linewidth=0.9, zorder=1)
        for lead, colour, marker in leads_drawn(scores):
            false_alarms, hits = (
                np.concatenate([[1.0], chosen[f"event_{name}"].sel(lead=lead), [0.0]])
                for name in ("false_alarm_rate", "hit_rate")
            )
            axes.plot(false_alarms, hits, color=colour, marker=marker, markersize=3.5, linewidth=1.4, label=days(lead))
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xlabel("false alarm rate")
        axes.set_ylabel("hit rate")

    return _square(draw, bool(np.isfinite(chosen["event_roc_area"]).any()), "lower right")


def value(scores: xr.Dataset, target: str, label: str, event: str) -> str | None:
    """Draw the relative economic value against the ratio of cost to loss, at a few leads."""
    chosen = scores.sel(target=target, model=label, event=event)["event_value"]

    def draw(axes: Axes) -> None:
        axes.axhline(0, color="#9aa1ab", linewidth=0.9, zorder=1)
        for lead, colour, marker in leads_drawn(scores):
            axes.plot(
                chosen["threshold"], chosen.sel(lead=lead), color=colour, marker=marker, markersize=3.5, linewidth=1.4,
                label=days(lead),
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(matplotlib.ticker.FixedLocator([0.01, 0.1, 0.5]))
        axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.set_ylim(-0.2, 1)
        axes.set_xlabel("ratio of cost to loss")
        axes.set_ylabel("relative economic value")

    return _square(draw, bool(np.isfinite(chosen).any()), "lower left")


def _square(
    draw: Callable[[Axes], None],
    has_value: bool,
    legend: Literal["upper left", "lower left", "lower right"] = "upper left",
) -> str | None:
    """Draw a figure that is square, with a legend of the leads; None where there is nothing to draw."""
    if not has_value:
        return None
    with matplotlib.rc_context(LOOK):
        figure, axes = canvas(SIDE + 0.2, SIDE, right=0.15)
        draw(axes)
        axes.legend(frameon=False, loc=legend, fontsize=9.5)
        return svg(figure)


def _diagrams(scores: xr.Dataset, target: str, label: str) -> list[html.Markup]:
    drawn = [
        (f"{label}: reliability of {_DRY} or drier", reliability(scores, target, label, _DRY)),
        (f"{label}: ROC of {_DRY} or drier", operating_characteristic(scores, target, label, _DRY)),
        (f"{label}: value of {_DRY} or drier", value(scores, target, label, _DRY)),
    ]
    if WITHIN in scores["event"].to_numpy() and scores.sizes["lead"] > 1:
        caption = f"{label}: reliability of {_DRY} or drier at least once up to the lead"
        drawn.append((caption, reliability(scores, target, label, WITHIN)))
    return [html.picture(uri, caption) for caption, uri in drawn if uri]


def _frequencies(scores: xr.Dataset, target: str) -> html.Markup:
    uri = frequencies(scores, target)
    return html.panels([html.picture(uri, f"How often {_SEVERE} or drier is forecast, and came")] if uri else [])


def _table(scores: xr.Dataset, target: str) -> html.Markup:
    """Tabulate one lead: a row a model."""
    columns: dict[str, tuple[Callable[[xr.Dataset, str], xr.DataArray], str]] = {
        "RPSS": (median_of("rps_skill"), "skill"),
        f"Brier skill {_DRY}": (median_of("brier_skill_d1"), "skill"),
        f"Brier skill {_SEVERE}": (median_of("brier_skill_d2"), "skill"),
        f"ROC area {_SEVERE}": (event_of("roc_area", _SEVERE), "r"),
        f"{_SEVERE} forecast": (event_of("probability", _SEVERE), "r"),
        f"{_SEVERE} observed": (event_of("frequency", _SEVERE), "r"),
    }
    values = {name: of(scores, target).isel(lead=0) for name, (of, _) in columns.items()}
    rows = {
        label: [number(float(values[name].sel(model=label)), kind) for name, (_, kind) in columns.items()]
        for label in with_probabilities(scores, target)
    }
    return model_table("Model", list(columns), rows, baselines(scores))
