"""Figures of scores by lead: errors, skill, what the intervals cover, reliability diagrams and rank histograms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import matplotlib
import matplotlib.ticker
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soilcast.reporting.figures import LOOK, svg
from soilcast.reporting.lead_lines import Frame, Look, lead_lines, looks
from soilcast.reporting.outlook_scores import (
    against,
    baselines,
    leads,
    means,
    medians,
    ratios,
    shown_leads,
    with_intervals,
)
from soilcast.reporting.outlook_verdict import HELD
from soilcast.reporting.scores import PERSISTENCE, networks
from soilcast.reporting.style import pretty_units

Values = npt.NDArray[np.float64]

_SIDE = 3.4  # inch, of the figures that are square
_SHADES = ("#fde725", "#35b779", "#31688e", "#440154")
"""Of viridis, light to dark: further leads are darker. The lightest is too light for a line on white."""

_MOISTURE = pretty_units("m3 m-3")


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
        Which models are drawn.
    """

    caption: str
    frame: Frame
    values: Callable[[xr.Dataset, str], xr.DataArray]
    of: Callable[[xr.Dataset, str], list[str]]


def _everyone(scores: xr.Dataset, target: str) -> list[str]:
    return [*networks(scores), *baselines(scores)]


def _median_of(name: str) -> Callable[[xr.Dataset, str], xr.DataArray]:
    return lambda scores, target: medians(scores, scores[name].sel(target=target))


def _mean_of(name: str) -> Callable[[xr.Dataset, str], xr.DataArray]:
    return lambda scores, target: means(scores, scores[name].sel(target=target))


def _crps_ratio(scores: xr.Dataset, target: str) -> xr.DataArray:
    crps = scores["crps"].sel(target=target)
    reference = crps.sel(model=PERSISTENCE, drop=True)
    return medians(scores, crps / reference.where(reference > 0))


_ERROR = Frame(f"RMSE [{_MOISTURE}]", zero=True, logarithmic=True)

EXTREMES = (
    Curve("RMSE on the driest 5 % of the days", _ERROR, _median_of("rmse_dry"), _everyone),
    Curve("RMSE on the wettest 5 % of the days", _ERROR, _median_of("rmse_wet"), _everyone),
)
"""Errors on the days whose observation is among a cell's driest or wettest."""

UNCERTAINTY = (
    Curve(
        "Coverage of the 90 % interval",
        Frame("share of observations", level=0.9, band=HELD),
        _mean_of("coverage_90"),
        with_intervals,
    ),
    Curve(
        "Width of the 90 % interval",
        Frame(f"width [{_MOISTURE}]", zero=True),
        _median_of("width_90"),
        with_intervals,
    ),
    Curve("CRPS", Frame(f"CRPS [{_MOISTURE}]", zero=True, logarithmic=True), _median_of("crps"), _everyone),
    Curve(
        "CRPS over that of persistence",
        Frame("CRPS / error of persistence", level=1.0, logarithmic=True),
        _crps_ratio,
        _everyone,
    ),
)
"""What the intervals are worth by lead."""


def curve(scores: xr.Dataset, target: str, shown: Curve) -> str | None:
    """Draw a curve of each of its models against the lead; None without a value."""
    values = shown.values(scores, target)
    lines = {label: values.sel(model=label).to_numpy() for label in shown.of(scores, target)}
    return lead_lines(leads(scores), lines, model_looks(scores), shown.frame)


def error_curves(scores: xr.Dataset) -> list[Curve]:
    """Give RMSE, its ratio to persistence, and skill against each other baseline."""
    ratio = Frame("RMSE / RMSE of persistence", level=1.0, logarithmic=True)
    return [
        Curve("RMSE", _ERROR, _median_of("rmse"), _everyone),
        Curve("Ratio to persistence", ratio, ratios, _everyone),
        *(_skill_curve(baseline) for baseline in baselines(scores)[1:]),
    ]


def model_looks(scores: xr.Dataset) -> dict[str, Look]:
    """How the line of every model is drawn."""
    return looks(networks(scores), baselines(scores))


def reliability(scores: xr.Dataset, target: str, label: str) -> str | None:
    """Draw the reliability diagram of a model: nominal level against observed share, at a few leads."""
    if not {"reliability", "quantile"} <= set(scores.variables):
        return None
    levels = scores["quantile"].to_numpy()
    shares = scores["reliability"].sel(target=target, model=label)
    if not np.isfinite(shares).any():
        return None
    with matplotlib.rc_context(LOOK):
        figure, axes = _square()
        axes.plot([0, 1], [0, 1], color="#9aa1ab", linewidth=0.9, zorder=1)
        for lead, colour, marker in _leads_drawn(scores):
            axes.plot(levels, shares.sel(lead=lead), color=colour, marker=marker, markersize=4.5, linewidth=1.4,
                      label=_days(lead))  # fmt: skip
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xlabel("level of the forecast quantile")
        axes.set_ylabel("share of observations at or below it")
        axes.legend(frameon=False, loc="upper left", fontsize=9.5)
        return svg(figure)


def rank_histogram(scores: xr.Dataset, target: str, label: str) -> str | None:
    """Draw the rank histogram of a model: where in the forecast distribution the observations fall, at a few leads."""
    if "rank_histogram" not in scores:
        return None
    shares = scores["rank_histogram"].sel(target=target, model=label)
    if not np.isfinite(shares).any():
        return None
    edges = np.linspace(0, 1, scores.sizes["bin"] + 1)
    with matplotlib.rc_context(LOOK):
        figure, axes = _square()
        axes.axhline(1 / scores.sizes["bin"], color="#9aa1ab", linewidth=0.9, zorder=1)
        for lead, colour, _ in _leads_drawn(scores):
            axes.stairs(
                shares.sel(lead=lead).to_numpy(), edges, baseline=None, color=colour, linewidth=1.6, label=_days(lead)
            )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, max(1.25 * float(shares.max()), 2 / scores.sizes["bin"]))
        axes.set_xlabel("rank of the observation in the forecast")
        axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
        axes.set_ylabel("share of observations")
        axes.legend(frameon=False, loc="upper center", fontsize=9.5, ncols=3, columnspacing=1.2, handlelength=1.4)
        return svg(figure)


def _square() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_SIDE + 0.2, _SIDE))
    figure.subplots_adjust(0.72 / (_SIDE + 0.2), 0.48 / _SIDE, 1 - 0.15 / (_SIDE + 0.2), 1 - 0.1 / _SIDE)
    return figure, figure.subplots()


def _leads_drawn(scores: xr.Dataset) -> list[tuple[int, str, str]]:
    there = shown_leads(scores)
    return list(zip(there, _SHADES[-len(there) :], ("o", "s", "^")[: len(there)], strict=True))


def _days(lead: int) -> str:
    return "1 day" if lead == 1 else f"{lead} days"


def _skill_curve(baseline: str) -> Curve:
    """Skill against a baseline, of everyone else."""
    return Curve(
        f"Skill against {baseline}",
        Frame(f"1 − MSE / MSE of {baseline}", level=0.0),
        lambda scores, target: medians(scores, 1 - against(scores, target, baseline) ** 2),
        lambda scores, target: [label for label in _everyone(scores, target) if label != baseline],
    )
