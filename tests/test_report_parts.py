"""The parts of the report: the verdict, the table as Markdown, maps, coast and numbers."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from scores_factory import make_scores, with_rmse
from soilcast.reporting import markdown_table, verdict
from soilcast.reporting.coast import coast_lines, land_rings
from soilcast.reporting.figures import zone_boxes
from soilcast.reporting.maps import Canvas, robust_scale
from soilcast.reporting.projection import EqualEarth, Regional
from soilcast.reporting.style import MAPS, pretty_units
from soilcast.reporting.tables import number
from soilcast.verify.summary import summarise

# The verdict


def test_verdict_when_no_network_beats_persistence() -> None:
    scores = with_rmse(make_scores(), LSTM=0.035, PHY_LSTM=0.031, PHYs_LSTM=0.04, persistence=0.012)
    first, *others = verdict(scores)
    assert first.startswith(
        "No network beats persistence: best is PHY-LSTM with a median RMSE of 0.0310 against 0.0120"
    )
    assert "PHY-LSTM has a lower error than persistence on 0\N{NO-BREAK SPACE}% of the scored area." in others
    assert others[-1] == "Differences are not tested for significance."


def test_verdict_when_networks_beat_persistence() -> None:
    scores = with_rmse(make_scores(), LSTM=0.03, PHY_LSTM=0.02, PHYs_LSTM=0.05, persistence=0.04)
    sentences = verdict(scores)
    assert sentences[0].startswith("2 of 3 networks beat persistence; best is PHY-LSTM with a median RMSE of 0.0200")
    assert "(50\N{NO-BREAK SPACE}% lower)" in sentences[0]
    assert any(
        "PHY-LSTM 33\N{NO-BREAK SPACE}% lower, PHYs-LSTM 67\N{NO-BREAK SPACE}% higher" in one for one in sentences
    )
    scores["rmse"].loc[{"model": "PHYs-LSTM"}] = 0.03
    assert verdict(scores)[0].startswith("All 3 networks beat persistence")


def test_verdict_when_equal_to_the_digits_shown() -> None:
    scores = with_rmse(make_scores(), LSTM=0.03001, PHY_LSTM=0.05, PHYs_LSTM=0.05, persistence=0.03)
    assert verdict(scores)[0].startswith("The best network only equals persistence to the digits shown: LSTM")


def test_verdict_of_a_single_network() -> None:
    scores = make_scores(networks=("LSTM",))
    assert verdict(with_rmse(scores, LSTM=0.01, persistence=0.02))[0].startswith("LSTM beats persistence")
    worse = verdict(with_rmse(scores, LSTM=0.03, persistence=0.02))[0]
    assert worse.startswith("The network does not beat persistence: LSTM with a median RMSE of 0.0300 against 0.0200")


def test_verdict_names_a_stronger_baseline_and_a_mean_that_disagrees() -> None:
    scores = with_rmse(make_scores(networks=("LSTM",), cells=5), LSTM=0.02, persistence=0.03)
    scores["rmse"].loc[{"model": "damped anomaly"}] = 0.01
    scores["rmse"].loc[{"model": "LSTM", "cell": scores["cell"][0]}] = 0.9
    text = " ".join(verdict(scores))
    assert "The strongest baseline, damped anomaly, is better than every network: 0.0100 against 0.0200." in text
    assert "By the mean over the area it is the other way round" in text


@given(st.floats(0.0001, 0.2), st.floats(0.0001, 0.2))
def test_verdict_never_contradicts_the_numbers(network: float, persistence: float) -> None:
    scores = with_rmse(make_scores(networks=("LSTM",), cells=3, picks=1), LSTM=network, persistence=persistence)
    first = verdict(scores)[0]
    ours, theirs = number(network, "rmse"), number(persistence, "rmse")
    assert ours in first
    assert theirs in first
    assert first.startswith("LSTM beats persistence") == (ours != theirs and network < persistence)
    assert ("does not beat" in first) == (ours != theirs and network > persistence)


# The table as Markdown


def test_markdown_table_holds_the_numbers_and_persistence() -> None:
    scores = make_scores()
    lines = markdown_table(scores).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    summary = summarise(scores)
    row = next(line for line in lines if "persistence" in line)
    assert f"{summary.loc['persistence', 'rmse_median']:.4f} ({summary.loc['persistence', 'rmse_mean']:.4f})" in row
    assert row.rstrip().endswith("| – | – |")
    assert "RMSE [m³\N{NO-BREAK SPACE}m⁻³]" in lines[0]


def test_markdown_table_is_not_broken_by_a_label() -> None:
    lines = markdown_table(make_scores(networks=("a|b <img src=x>\n# c",), cells=3)).splitlines()
    assert len(lines) == 2 + 4
    assert "<img" not in lines[2]
    assert "a\\|b" in lines[2]


# Maps and coast


def test_coast_stays_in_the_world_and_crosses_no_seam() -> None:
    for line in coast_lines():
        assert (np.abs(line[:, 0]) <= 180).all()
        assert (np.abs(np.diff(line[:, 0])) < 20).all()
        assert (line[:, 1] > -90).all()
    assert sum(map(len, coast_lines())) > 4000
    assert len(land_rings()) > 100


@pytest.mark.parametrize("projection", [EqualEarth(), Regional(40.0)])
@given(lon=st.floats(-179.9, 179.9), lat=st.floats(-89, 89))
def test_projection_comes_back(projection: EqualEarth | Regional, lon: float, lat: float) -> None:
    back = projection.inverse(*projection.forward(np.array([lon]), np.array([lat])))
    assert back[0][0] == pytest.approx(lon, abs=1e-6)
    assert back[1][0] == pytest.approx(lat, abs=1e-6)


def test_equal_earth_keeps_areas() -> None:
    lat = np.linspace(-89.5, 89.5, 360)
    x, y = EqualEarth().forward(np.ones_like(lat), lat)
    area = (x[1:] + x[:-1]) / 2 * np.diff(y) / np.diff(np.sin(np.radians(lat)))
    assert area == pytest.approx(area.mean(), rel=1e-3)


@pytest.mark.parametrize("step", [1.0, -1.0])
def test_every_cell_of_a_regional_grid_is_drawn_in_its_place(step: float) -> None:
    lat, lon = np.arange(-1.5, 2) * step, np.arange(5.5, 9)
    index = np.arange(16)
    scores = make_scores(cells=16).drop_vars(["grid_lat", "grid_lon"])
    scores = scores.assign_coords(
        cell=index,
        lat=("cell", np.repeat(lat, 4)),
        lon=("cell", np.tile(lon, 4)),
        grid_lat=("grid_lat", lat),
        grid_lon=("grid_lon", lon),
    )
    canvas = Canvas(scores)
    north_west = int(np.argmax(scores["lat"].to_numpy() * 100 - scores["lon"].to_numpy()))
    values = xr.zeros_like(scores["rmse"].isel(model=0))
    values[north_west] = 1.0
    scale = robust_scale(np.array([0.0, 1.0]), MAPS["rmse"])
    assert scale is not None
    raw = base64.b64decode(canvas.panel(values, scale).partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(raw)).convert("RGB")).astype(int)
    yellow = (pixels[..., 0] > 200) & (pixels[..., 1] > 200) & (pixels[..., 2] < 100)
    rows, columns = np.nonzero(yellow)
    # The grid of 4 x 4 cells has a margin of half a cell on each side.
    assert rows.mean() / pixels.shape[0] == pytest.approx(1 / 5, abs=0.03)
    assert columns.mean() / pixels.shape[1] == pytest.approx(1 / 5, abs=0.03)
    assert yellow.mean() == pytest.approx(1 / 25, abs=0.005)


def test_colour_scale_is_robust_and_centred() -> None:
    values = np.append(np.linspace(-1, 0.5, 1000), [1e6, np.nan])
    skill = robust_scale(values, MAPS["skill"])
    assert skill is not None
    assert skill.low == -skill.high
    assert skill.high < 1.01
    deep = robust_scale(np.array([-1e5, -3.0, 0.2]), MAPS["skill"])
    assert deep is not None
    assert (deep.low, deep.high) == (-1.0, 1.0)
    assert robust_scale(np.array([np.nan]), MAPS["r"]) is None
    constant = robust_scale(np.full(5, 0.3), MAPS["r"])
    assert constant is not None
    assert constant.low < 0.3 < constant.high


def test_units_are_written_for_people() -> None:
    assert pretty_units("m3 m-3") == "m³\N{NO-BREAK SPACE}m⁻³"
    assert pretty_units("1") == ""


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.03456, "rmse", "0.0346"),
        (-0.00001, "bias", "0.0000"),
        (-0.5, "skill", "−0.500"),
        (-6292.35, "skill", "−6292"),
        (np.nan, "r", "–"),
    ],
)
def test_numbers_are_written_for_people(value: float, metric: str, text: str) -> None:
    assert number(value, metric) == text


def test_boxes_that_reach_very_deep_are_drawn() -> None:
    scores = make_scores(networks=("LSTM",), cells=40)
    scores["skill"].loc[{"model": "LSTM"}] = np.append(-np.logspace(0, 6, 39), np.nan)
    drawn = zone_boxes(scores, "skill", ["LSTM"])
    assert drawn is not None
    assert "-10000" in base64.b64decode(drawn.partition(",")[2]).decode().replace("−", "-")
