"""The table of outlooks as Markdown, for pages that are read as text."""

from __future__ import annotations

import numpy as np
import xarray as xr

from soilcast.reporting.outlook_scores import baselines, leads, means, medians, ratios
from soilcast.reporting.scores import networks
from soilcast.reporting.tables import number, plain


def markdown_leads(scores: xr.Dataset, target: str) -> str:
    """Give the RMSE ratio to persistence of each model by lead as GitHub Markdown, and below it what intervals hold.

    Parameters
    ----------
    scores
        Scores of outlooks.
    target
        The variable that is forecast.
    """
    labels = [*networks(scores), *baselines(scores)]
    ratio = ratios(scores, target).sel(model=labels).to_numpy()
    rmse = medians(scores, scores["rmse"].sel(target=target)).sel(model=labels).to_numpy()
    covered = means(scores, scores["coverage_90"].sel(target=target)).sel(model=labels).to_numpy()
    lines = ["| Days ahead | " + " | ".join(map(str, leads(scores))) + " |", "|:--|" + "--:|" * len(leads(scores))]
    for row, label in enumerate(labels):
        name = plain(label) if label in networks(scores) else f"*{plain(label)}*"
        lines.append(f"| {name} | " + " | ".join(number(value, "ratio") for value in ratio[row]) + " |")
    for row, label in enumerate(labels):
        if np.isfinite(covered[row]).any():
            values = " | ".join(number(value, "coverage_90") for value in covered[row])
            lines.append(f"| {plain(label)}, share within its 90 % interval | {values} |")
    at = labels.index("persistence")
    values = " | ".join(number(value, "rmse") for value in rmse[at])
    lines.append(f"| *persistence*, RMSE [m³ m⁻³] | {values} |")
    return "\n".join(lines) + "\n"
