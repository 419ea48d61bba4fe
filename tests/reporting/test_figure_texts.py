"""No text of any figure of a page lies on another or leaves its figure, whatever the labels, leads and cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from soilcast.reporting.fans import bands, fan
from tests.helpers.figure_texts import text_faults, watched_figures
from tests.helpers.html_page import report_page
from tests.helpers.scores_factory import LEVELS, in_region, make_forecast, make_scores

SHORT = ("A", "B")
LONG = (
    "multi-day, ensemble of five, without weather of the days ahead",
    "multi-day, ensemble of five, with degraded weather of the days ahead",
    "a",
)


@pytest.mark.parametrize(
    ("overlapping", "fault"),
    [(True, "'one' lies on 'other'"), (False, "'beyond the right edge' leaves the figure")],
)
def test_a_text_on_another_or_beyond_the_edge_is_found(overlapping: bool, fault: str) -> None:
    figure = Figure(figsize=(4, 3))
    figure.text(0.1, 0.5, "one")
    figure.text(*((0.11, 0.5, "other") if overlapping else (0.8, 0.2, "beyond the right edge")))
    assert text_faults(figure) == [fault]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leads", "place", "labels"),
    [
        (1, "world", SHORT),
        (1, "region", LONG),
        (1, "places", LONG),
        (10, "world", LONG),
        (10, "places", LONG),
    ],
)
def test_figures_of_scores(
    leads: int, place: str, labels: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_scores(
        networks=labels, with_quantiles=labels[:1], leads=leads, cells=60 if place == "world" else 9, days=50, picks=1,
        gridded=place != "places", drought=True,
    )  # fmt: skip
    made["observed"][..., 10:20:2] = np.nan
    with watched_figures(monkeypatch) as figures:
        report_page(tmp_path, in_region(made) if place == "region" else made)
    assert len(figures) > 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("leads", "cells", "place"), [(1, 2, "region"), (10, 900, "region"), (10, 30, "places"), (1, 60, "world")]
)
def test_figures_of_forecasts(
    leads: int, cells: int, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_forecast(targets=("swvl1",), leads=leads, cells=cells, gridded=place != "places")
    with watched_figures(monkeypatch) as figures:
        report_page(tmp_path, in_region(made, step=0.1 if cells > 100 else 1.0) if place == "region" else made)
    assert len(figures) >= 3


@pytest.mark.parametrize("leads", [1, 3, 10, 30])
@pytest.mark.parametrize("past", [0, 5, 28])
def test_fans(leads: int, past: int, monkeypatch: pytest.MonkeyPatch) -> None:
    valid = np.datetime64("2020-12-30", "ns") + np.arange(leads) * np.timedelta64(1, "D")
    centre = 0.3 + 0.01 * np.arange(leads)
    quantiles = centre[:, np.newaxis] + [-0.1, -0.05, 0.0, 0.05, 0.1]
    days = valid[0] - np.arange(past, 0, -1) * np.timedelta64(1, "D")
    observed = (days, np.linspace(0.2, 0.3, past)) if past else None
    with watched_figures(monkeypatch) as figures:
        fan(valid, centre, quantiles, bands(LEVELS), "#0072B2", np.full(leads, 0.25), observed)
    assert len(figures) == 1
