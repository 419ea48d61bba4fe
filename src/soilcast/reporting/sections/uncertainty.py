"""What the intervals of the networks are worth: coverage, width, CRPS, reliability diagrams and rank histograms."""

from __future__ import annotations

from dataclasses import replace

import matplotlib
import matplotlib.ticker
import numpy as np
import xarray as xr

from soilcast.cube.check import SMALLEST_ERROR
from soilcast.reporting import html
from soilcast.reporting.artifacts import leads, selected_leads
from soilcast.reporting.figures import LOOK, canvas, svg
from soilcast.reporting.lead_lines import MOISTURE, Curve, Frame, draw_curves, mean_of, median_of
from soilcast.reporting.over_cells import medians, with_intervals
from soilcast.reporting.scores import PERSISTENCE, baselines, targets
from soilcast.reporting.sections.scoreboard import boards, numbers_note
from soilcast.reporting.tables import INTERVALS, coverages, model_table
from soilcast.reporting.verdict import CALIBRATED
from soilcast.reporting.wording import days, target_words, weighted

SIDE = 3.4
"""Of the figures that are square [inch]."""

_SHADES = ("#fde725", "#35b779", "#31688e", "#440154")
"""Of viridis, light to dark: further leads are darker. The lightest is too light for a line on white."""

_BAND = "; the band shows 88 to 92 %"
_OF_CURVES = "Coverage is the {}mean of the cells, width and CRPS are medians."


def _crps_ratio(scores: xr.Dataset, target: str) -> xr.DataArray:
    crps = scores["crps"].sel(target=target)
    reference = crps.sel(model=PERSISTENCE, drop=True)
    is_defined = scores["ratio"].sel(target=target).notnull()
    return medians(scores, crps / reference.where(reference >= SMALLEST_ERROR).where(is_defined))


CURVES = (
    Curve(
        "Coverage of the 90 % interval",
        Frame("share of observations", level=0.9, band=CALIBRATED),
        mean_of("coverage_90"),
        with_intervals,
    ),
    Curve("Width of the 90 % interval", Frame(f"width [{MOISTURE}]", zero=True), median_of("width_90"), with_intervals),
    Curve("CRPS", Frame(f"CRPS [{MOISTURE}]", zero=True, logarithmic=True), median_of("crps")),
    Curve(
        "CRPS over that of persistence",
        Frame("CRPS / CRPS of persistence", level=1.0, logarithmic=True),
        _crps_ratio,
    ),
)
"""What the intervals are worth by lead."""


def _curves(scores: xr.Dataset) -> tuple[Curve, ...]:
    """`CURVES`, of which the last says so where persistence is a point forecast."""
    if np.isfinite(scores["width_90"].sel(model=PERSISTENCE)).any():
        return CURVES
    frame = replace(CURVES[-1].frame, label="CRPS / absolute error of a point forecast, persistence")
    return (*CURVES[:-1], replace(CURVES[-1], frame=frame))


def _baselines(scores: xr.Dataset) -> str:
    words = str(scores.attrs.get("baselines", ""))
    return f"Baselines are {words}. " if words else ""


def uncertainty(scores: xr.Dataset) -> html.Markup:
    """Give coverage, width and CRPS, of several leads as curves and of one as a table, and the diagrams."""
    several = scores.sizes["lead"] > 1
    text = (
        f"The 90 % interval of calibrated quantiles contains 90 % of the observations{_BAND if several else ''}. The "
        "narrower an interval that does so, the better. The CRPS scores the whole distribution, lower is better; of a "
        "forecast without quantiles it is the absolute error of a point forecast. "
        f"{_baselines(scores)}" + (_OF_CURVES.format(weighted(scores)) if several else numbers_note(scores))
    )
    diagrams = (
        "Reliability: points on the diagonal are calibrated quantiles; a curve that is flatter belongs to intervals "
        "that are too narrow. Rank histogram: flat is calibrated, U-shaped too narrow, hump-shaped too wide, sloped "
        "biased."
    )
    worth = (
        draw_curves(scores, _curves(scores)) if several else boards(scores, leads(scores)[0], INTERVALS, marks=False)
    )
    drawn = html.joined(_diagrams(scores, target) for target in targets(scores))
    return (
        html.paragraph(text, note=True)
        + worth
        + _coverages(scores)
        + (html.paragraph(diagrams, note=True) + drawn if drawn else html.NOTHING)
    )


def _coverages(scores: xr.Dataset) -> html.Markup:
    """Tabulate the coverage of the 90 % interval by lead, with its range over the cells and what chance makes of it."""
    rows = {target: coverages(scores, target) for target in targets(scores)}
    parts = [
        html.heading(f"Coverage of the 90 % interval: {target_words(target)}")
        + model_table("Days ahead", [str(lead) for lead in leads(scores)], of_target, baselines(scores))
        for target, of_target in rows.items()
        if of_target
    ]
    scored = scores["days"].where(scores["days"] > 0).median()
    error = np.sqrt(0.9 * 0.1 / scored)
    text = (
        f"{weighted(scores)}mean over the cells, and in brackets the lowest and the highest of any cell. If the "
        f"{scored:.0f} days of a cell are independent, its coverage has a standard error of {error:.3f} by chance, and "
        "a larger one as they resemble each other."
    )
    return html.joined(parts) + html.paragraph(text[0].upper() + text[1:], note=True) if parts else html.NOTHING


def reliability(scores: xr.Dataset, target: str, label: str) -> str | None:
    """Draw the reliability diagram of a model: nominal level against observed share, at a few leads."""
    if not {"reliability", "quantile"} <= set(scores.variables):
        return None
    levels = scores["quantile"].to_numpy()
    shares = scores["reliability"].sel(target=target, model=label)
    if not np.isfinite(shares).any():
        return None
    with matplotlib.rc_context(LOOK):
        figure, axes = canvas(SIDE + 0.2, SIDE, right=0.15)
        axes.plot([0, 1], [0, 1], color="#9aa1ab", linewidth=0.9, zorder=1)
        for lead, colour, marker in leads_drawn(scores):
            axes.plot(levels, shares.sel(lead=lead), color=colour, marker=marker, markersize=4.5, linewidth=1.4,
                      label=days(lead))  # fmt: skip
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
        figure, axes = canvas(SIDE + 0.2, SIDE, right=0.15)
        axes.axhline(1 / scores.sizes["bin"], color="#9aa1ab", linewidth=0.9, zorder=1)
        for lead, colour, _ in leads_drawn(scores):
            axes.stairs(
                shares.sel(lead=lead).to_numpy(), edges, baseline=None, color=colour, linewidth=1.6, label=days(lead)
            )
        axes.set_xlim(0, 1)
        axes.set_ylim(0, max(1.25 * float(shares.max()), 2 / scores.sizes["bin"]))
        axes.set_xlabel("rank of the observation in the forecast")
        axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
        axes.set_ylabel("share of observations")
        axes.legend(frameon=False, loc="upper center", fontsize=9.5, ncols=3, columnspacing=1.2, handlelength=1.4)
        return svg(figure)


def _diagrams(scores: xr.Dataset, target: str) -> html.Markup:
    rows: list[list[str]] = []
    for words, draw in (("reliability", reliability), ("rank histogram", rank_histogram)):
        drawn = [(label, draw(scores, target, label)) for label in with_intervals(scores, target)]
        rows.append([html.picture(uri, f"{label}: {words}") for label, uri in drawn if uri])
    if all(len(row) < 2 for row in rows):
        rows = [[picture for row in rows for picture in row]]
    pictures = html.joined(html.panels(row, three=True) for row in rows if row)
    return html.heading(target_words(target)) + pictures if pictures else html.NOTHING


def leads_drawn(scores: xr.Dataset) -> list[tuple[int, str, str]]:
    """Give a few leads, with the colour and the marker of each."""
    chosen = selected_leads(scores)
    return list(zip(chosen, _SHADES[-len(chosen) :], ("o", "s", "^")[: len(chosen)], strict=True))
