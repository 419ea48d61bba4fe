"""The head of the chapter on scores: the verdict, and the data, periods and leads that it is of."""

from __future__ import annotations

import numpy as np
import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.artifacts import leads
from soilcast.reporting.over_cells import medians
from soilcast.reporting.scores import targets
from soilcast.reporting.verdict import scored_cells, verdict
from soilcast.reporting.wording import content, newest_observation, period, span, target_words, weather_words


def headline(scores: xr.Dataset) -> html.Markup:
    """What data, which periods, what is known when, and the verdict."""
    attrs = {key: str(value) for key, value in scores.attrs.items()}
    first, *remaining = verdict(scores)
    names = targets(scores)
    scored, total = scored_cells(scores)
    rows = {
        "Target" if len(names) == 1 else "Targets": "; ".join(target_words(target) for target in names),
        "Leads": span(leads(scores)),
        "Newest observation": newest_observation(attrs.get("latency_days", "")),
        "Weather of the days ahead": weather_words(attrs.get("weather", "")),
        **(
            {"Others' forecasts": "; ".join(others)} if (others := attrs.get("baseline_files", "").splitlines()) else {}
        ),
        "Training": period(attrs.get("train_period", "")),
        "Validation": period(attrs.get("validation_period", "")),
        "Test": period(attrs.get("test_period", "")),
        "Cells scored": f"{scored} of {total}",
        "Days scored": _days_scored(scores),
        **({"Left out": "; ".join(attrs["left_out"].splitlines())} if attrs.get("left_out") else {}),
        "Source": attrs.get("source", ""),
    }
    details = html.paragraph(" ".join(remaining)) if len(names) == scores.sizes["lead"] == 1 else html.listed(remaining)
    return html.badge(f"Data: {content(scores)}") + html.verdict(first, details) + html.facts(rows)


def _days_scored(scores: xr.Dataset) -> str:
    median = medians(scores, scores["days"].where(scores["days"] > 0)).to_numpy()
    valid = median[np.isfinite(median)]
    if not valid.size:
        return "none"
    low, high = int(valid.min()), int(valid.max())
    return f"{low} a cell" if low == high else f"{low} to {high} a cell, by target and lead"
