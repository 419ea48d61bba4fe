"""What was observed beside a forecast: from a cube, in the cells of the fans, as points where there are gaps."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from soilcast.cube import assemble, cells_of_places, save_cube
from soilcast.errors import SoilcastError
from soilcast.reporting import report
from soilcast.reporting.figures import day_axis, draw_observed
from soilcast.reporting.forecasts import fan_cells, load_forecast
from soilcast.reporting.observations import with_observations
from soilcast.reporting.style import OBSERVED
from tests.helpers.figure_texts import drawn_texts
from tests.helpers.html_page import Page, decoded
from tests.helpers.scores_factory import few, make_forecast, save_forecast, save_scores

ISSUED = np.datetime64("2020-05-03")
DAYS = np.arange("2020-03-01", "2020-05-06", dtype="datetime64[D]").astype("datetime64[ns]")
DAY = np.timedelta64(1, "D")


@pytest.fixture
def forecast() -> xr.Dataset:
    return make_forecast(cells=9, leads=5, gridded=False, targets=("swvl1",))


def cube_of(forecast: xr.Dataset, path: Path, *, days: np.ndarray = DAYS, name: str = "swvl1") -> np.ndarray:
    """Save a cube with the cells of a forecast in another order, and give its values in that of the forecast."""
    values = np.random.default_rng(0).uniform(0.1, 0.4, (forecast.sizes["cell"], len(days))).astype(np.float32)
    values[:, -20::3] = np.nan
    turned = np.arange(forecast.sizes["cell"])[::-1]
    lat, lon = (forecast[axis].to_numpy()[turned] for axis in ("lat", "lon"))
    cells = cells_of_places(lat, lon, np.ones(len(lat)), [f"basin {at}" for at in turned])
    layers = {name: values[turned], f"slthick{name[-1]}": np.full(len(lat), 0.07)}
    cube = assemble(layers, cells=cells, time=days, title="The basins", source="test", content="made")
    save_cube(cube, path)
    return values


def refused(forecast: xr.Dataset, tmp_path: Path, message: str) -> None:
    path = save_forecast(forecast, tmp_path / "forecast")
    with pytest.raises(SoilcastError, match=message) as caught:
        report(path, tmp_path / "report.html", cube=tmp_path / "cube")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_the_weeks_before_and_what_came_since_are_those_of_the_cube(forecast: xr.Dataset, tmp_path: Path) -> None:
    values = cube_of(forecast, tmp_path / "cube")
    loaded = load_forecast(forecast, tmp_path / "forecast")
    found = with_observations(loaded, tmp_path / "cube")
    np.testing.assert_array_equal(found["day"], DAYS[(DAYS > ISSUED - 28 * DAY) & (DAYS <= ISSUED + 5 * DAY)])
    np.testing.assert_array_equal(found["fan_cell"], fan_cells(loaded))
    expected = values[np.ix_(fan_cells(loaded), np.isin(DAYS, found["day"]))]
    np.testing.assert_array_equal(found["swvl1_observed"], expected)


@pytest.mark.slow
def test_the_page_draws_them_and_says_whose_they_are(forecast: xr.Dataset, tmp_path: Path) -> None:
    cube_of(forecast, tmp_path / "cube")
    path = save_forecast(forecast, tmp_path / "forecast")
    pages = []
    for name, cube in (("with", tmp_path / "cube"), ("without", None)):
        report(path, tmp_path / f"{name}.html", cube=cube)
        pages.append(Page((tmp_path / f"{name}.html").read_text(encoding="utf-8")))
    lines = [
        sum(
            bool(re.search(rf"stroke: {OBSERVED}", decoded(uri).decode(), re.IGNORECASE))
            for uri in page.pictures()
            if "svg" in uri[:20]
        )
        for page in pages
    ]
    assert lines == [6, 0]
    assert "Observed: The basins, as points where there are gaps." in pages[0].text
    assert "observed LSTM usual for the date (dashed)" in pages[0].text  # the run by its label
    assert "Observed:" not in pages[1].text


@pytest.mark.slow
def test_cells_that_the_cube_lacks_are_counted(forecast: xr.Dataset, tmp_path: Path) -> None:
    cube_of(forecast.isel(cell=slice(0, 4)), tmp_path / "cube")
    path = save_forecast(forecast, tmp_path / "forecast")
    report(path, tmp_path / "report.html", cube=tmp_path / "cube")
    shown = fan_cells(load_forecast(forecast, path))
    missing = sum(cell >= 4 for cell in shown)
    assert 0 < missing < len(shown)
    assert f"{missing} of {len(shown)} cells have none." in Page((tmp_path / "report.html").read_text()).text


@pytest.mark.slow
def test_a_cube_without_the_layer_is_said_to_have_no_observation(forecast: xr.Dataset, tmp_path: Path) -> None:
    cube_of(forecast, tmp_path / "cube", name="swvl2")
    report(save_forecast(forecast, tmp_path / "forecast"), tmp_path / "report.html", cube=tmp_path / "cube")
    assert "6 of 6 cells have none." in Page((tmp_path / "report.html").read_text()).text


def test_a_cube_of_other_cells_or_days_is_refused(forecast: xr.Dataset, tmp_path: Path) -> None:
    cube_of(forecast.assign_coords(lat=forecast["lat"] + 1), tmp_path / "cube")
    refused(forecast, tmp_path, "cube: has no cell where the forecast has one: give the cube that the forecast")


def test_a_cube_of_other_days_is_refused(forecast: xr.Dataset, tmp_path: Path) -> None:
    cube_of(forecast, tmp_path / "cube", days=DAYS[:20])
    refused(forecast, tmp_path, r"cube: has no day of 2020-04-06 \.\. 2020-05-08")


def test_what_is_no_cube_is_refused(forecast: xr.Dataset, tmp_path: Path) -> None:
    save_forecast(forecast, tmp_path / "cube")
    refused(forecast, tmp_path, "a cube is expected, but this is a forecast")


def test_a_cube_beside_scores_alone_is_refused(forecast: xr.Dataset, tmp_path: Path) -> None:
    cube_of(forecast, tmp_path / "cube")
    scores = save_scores(few(), tmp_path / "scores")
    with pytest.raises(SoilcastError, match="cube: a cube is shown beside forecasts, and none is given"):
        report(scores, tmp_path / "report.html", cube=tmp_path / "cube")


# Lines, points and days


def test_observations_are_points_where_they_have_gaps() -> None:
    values = np.array([0.1, 0.2, np.nan, 0.3, np.nan, np.nan, 0.4, 0.5, 0.6, 0.7])
    axes = Figure().subplots()
    draw_observed(axes, DAYS[: len(values)], values)
    line, points = axes.lines
    np.testing.assert_array_equal(line.get_ydata(), values)
    np.testing.assert_array_equal(points.get_ydata(), [0.2, 0.3, 0.4])
    assert points.get_linestyle() == "None"
    assert points.get_marker() == "o"


def test_days_that_are_left_out_are_gaps() -> None:
    axes = Figure().subplots()
    draw_observed(axes, DAYS[[0, 1, 2, 5, 6]], np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    line, points = axes.lines
    assert np.isnan(line.get_ydata()).tolist() == [False, False, False, True, True, False, False]
    np.testing.assert_array_equal(points.get_ydata(), [0.3, 0.4])


def test_observations_without_a_gap_are_a_line_alone() -> None:
    axes = Figure().subplots()
    draw_observed(axes, DAYS[:4], np.full(4, 0.2))
    draw_observed(axes, DAYS[:0], np.empty(0))
    assert len(axes.lines) == 1


@pytest.mark.parametrize(
    ("first", "last", "labels"),
    [
        ("2020-12-29", "2021-01-03", ["29 Dec\n2020", "31 Dec\n ", "2 Jan\n2021"]),
        ("2019-12-20", "2020-07-04", ["Jan\n2020", "Mar\n ", "May\n ", "Jul\n "]),
        ("1990-06-01", "2020-07-04", ["Jan\n2000", "Jan\n2010", "Jan\n2020"]),
    ],
)
def test_days_carry_their_year_where_it_begins(first: str, last: str, labels: list[str]) -> None:
    figure = Figure()
    axes = figure.subplots()
    day_axis(axes, np.datetime64(first, "ns"), np.datetime64(last, "ns"), len(labels) + 1)
    assert [text.get_text() for text, _ in drawn_texts(figure) if "\n" in text.get_text()] == labels
