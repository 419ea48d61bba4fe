"""Errors by lead: over all days, and on the driest and the wettest days."""

from __future__ import annotations

import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.artifacts import leads
from soilcast.reporting.lead_lines import ERROR, Curve, Frame, draw_curves, everyone, median_of
from soilcast.reporting.over_cells import against, medians, ratios
from soilcast.reporting.scores import PERSISTENCE, baselines
from soilcast.reporting.sections.scoreboard import boards
from soilcast.reporting.tables import EXTREMES
from soilcast.reporting.wording import weighted

EXTREME_CURVES = (
    Curve("RMSE on the driest 5 % of the observed days", ERROR, median_of("rmse_dry")),
    Curve("RMSE on the wettest 5 % of the observed days", ERROR, median_of("rmse_wet")),
    Curve("RMSE on the 5 % of days that are forecast the driest", ERROR, median_of("rmse_dry_forecast")),
    Curve("RMSE on the 5 % of days that are forecast the wettest", ERROR, median_of("rmse_wet_forecast")),
)
"""Errors on the days whose observation, or whose forecast, is among a cell's driest or wettest."""

_EXTREMES = (
    "RMSE on the days whose observation is among the driest or wettest 5 % of the observed test days of a cell, and on "
    "those whose forecast is among the driest or wettest 5 % of the model's own. The first are known only afterwards, "
    "and a forecaster who always warns does well on them; the second are the days on which somebody acts on the "
    "forecast. Shown are {}medians over the cells"
)


def errors(scores: xr.Dataset) -> html.Markup:
    """Draw error and skill against the lead."""
    text = (
        f"Shown are {weighted(scores)}medians over the cells; networks in colour, baselines in grey. Below 1 a model "
        "errs less than persistence. Skill is 1 − MSE / MSE of the baseline: 0 is no better than it, 1 is perfect; an "
        "axis that reaches far below −1 is logarithmic there."
    )
    return html.paragraph(text, note=True) + draw_curves(scores, error_curves(scores))


def error_curves(scores: xr.Dataset) -> list[Curve]:
    """Give RMSE, its ratio to persistence, and skill against each other baseline."""
    ratio = Frame("RMSE / RMSE of persistence", level=1.0, logarithmic=True)
    return [
        Curve("RMSE", ERROR, median_of("rmse")),
        Curve("Ratio to persistence", ratio, ratios),
        *(_skill_curve(baseline) for baseline in baselines(scores) if baseline != PERSISTENCE),
    ]


def extremes(scores: xr.Dataset) -> html.Markup:
    """Draw the error on the driest and the wettest days against the lead."""
    return html.paragraph(f"{_EXTREMES.format(weighted(scores))}.", note=True) + draw_curves(scores, EXTREME_CURVES)


def extremes_of_one_lead(scores: xr.Dataset) -> html.Markup:
    """Give the error on the driest and the wettest days as a table."""
    return html.paragraph(f"{_EXTREMES.format(weighted(scores))}, means beneath.", note=True) + boards(
        scores, leads(scores)[0], EXTREMES, marks=False
    )


def _skill_curve(baseline: str) -> Curve:
    """Skill against a baseline, of everyone else."""
    return Curve(
        f"Skill against {baseline}",
        Frame(f"1 − MSE / MSE of {baseline}", level=0.0),
        lambda scores, target: medians(scores, 1 - against(scores, target, baseline) ** 2),
        lambda scores, target: [label for label in everyone(scores, target) if label != baseline],
    )
