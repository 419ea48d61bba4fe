"""The parts of a page: tables as Markdown, maps, coast, numbers, the curves behind figures, and fans."""

from __future__ import annotations

import base64
import io
import re
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from PIL import Image

from soilcast.reporting import markdown_leads, markdown_table
from soilcast.reporting.fans import bands, draw_fan, issue_days
from soilcast.reporting.figures import LOOK, canvas, svg
from soilcast.reporting.geography import shore_of, world_land
from soilcast.reporting.lead_lines import spread
from soilcast.reporting.maps import Canvas, robust_scale
from soilcast.reporting.projection import EqualEarth, Regional
from soilcast.reporting.sections.leads import EXTREME_CURVES, error_curves
from soilcast.reporting.sections.uncertainty import CURVES
from soilcast.reporting.sections.zones import zone_boxes
from soilcast.reporting.style import MAPS, pretty_units
from soilcast.reporting.tables import number
from soilcast.verify.summary import summarise
from tests.helpers.scores_factory import LEVELS, make_scores

TWO = ("LSTM", "PHYs-LSTM")

# The tables as Markdown


def test_markdown_table_holds_the_numbers_and_persistence() -> None:
    scores = make_scores()
    lines = markdown_table(scores).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    summary = summarise(scores).loc[("persistence", "swvl1", 1)]
    row = next(line for line in lines if "persistence" in line)
    assert f"{summary['rmse_median']:.4f} ({summary['rmse_mean']:.4f})" in row
    assert row.rstrip().endswith("| – | – |")
    assert "RMSE [m³\N{NO-BREAK SPACE}m⁻³]" in lines[0]


def test_markdown_table_is_of_any_target_and_lead() -> None:
    scores = make_scores(targets=("swvl1", "swvl2"), leads=3)
    summary = summarise(scores).loc[("LSTM", "swvl2", 3)]
    row = next(line for line in markdown_table(scores, "swvl2", 3).splitlines() if line.startswith("| LSTM"))
    assert f"{summary['rmse_median']:.4f} ({summary['rmse_mean']:.4f})" in row


def test_markdown_table_is_not_broken_by_a_label() -> None:
    lines = markdown_table(make_scores(networks=("a|b <img src=x>\n# c",), cells=3)).splitlines()
    assert len(lines) == 2 + 4
    assert "<img" not in lines[2]
    assert "a\\|b" in lines[2]


def test_markdown_by_lead_holds_ratios_coverage_and_the_error_of_persistence() -> None:
    scores = make_scores(networks=TWO, with_quantiles=("LSTM",), targets=("swvl1", "swvl2"), leads=3, cells=9)
    lines = markdown_leads(scores, "swvl2").splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[0] == "| Days ahead | 1 | 2 | 3 |"
    summary = summarise(scores).xs("swvl2", level="target")
    ratios = summary.loc["PHYs-LSTM", "ratio_median"]
    assert "| PHYs-LSTM | " + " | ".join(f"{one:.3f}" for one in ratios) + " |" in lines
    covered = summary.loc["LSTM", "coverage_90_mean"]
    ends = (summary.loc["LSTM", f"coverage_90_{end}"] for end in ("lowest", "highest"))
    shares = " | ".join(f"{one:.3f} ({low:.3f}–{high:.3f})" for one, low, high in zip(covered, *ends, strict=True))
    assert [line for line in lines if "90 % interval" in line] == [
        f"| LSTM, share within its 90 % interval, and of single cells | {shares} |"
    ]
    errors = summary.loc["persistence", "rmse_median"]
    assert lines[-1] == "| *persistence*, RMSE [m³ m⁻³] | " + " | ".join(f"{one:.4f}" for one in errors) + " |"
    assert "interval" not in markdown_leads(make_scores(leads=2, cells=3), "swvl1")


# Maps and coast


def test_coast_stays_in_the_world_and_crosses_no_seam() -> None:
    for line in shore_of(world_land()):
        assert (np.abs(line[:, 0]) <= 180).all()
        assert (np.abs(np.diff(line[:, 0])) < 20).all()
        assert (line[:, 1] > -90).all()
    assert sum(map(len, shore_of(world_land()))) > 4000
    assert len(world_land()) > 100


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
    values = xr.zeros_like(scores["rmse"].isel(model=0, target=0, lead=0))
    values[north_west] = 1.0
    scale = robust_scale(np.array([0.0, 1.0]), MAPS["rmse"])
    assert scale is not None
    raw = base64.b64decode(canvas.panel(values, scale).partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(raw)).convert("RGB")).astype(int)
    shown = pixels[canvas.frame][..., 0]
    cell = 1 / ((canvas.box[1] - canvas.box[0]) * (canvas.box[3] - canvas.box[2]))
    yellow = (pixels[..., 0] > 200) & (pixels[..., 1] > 200) & (pixels[..., 2] < 100)
    # Waters, borders and names lie over a few of its pixels.
    assert yellow.mean() == pytest.approx(cell * shown.size / yellow.size, rel=0.1)
    rows, columns = np.nonzero(yellow[canvas.frame])
    west, east, south, north = canvas.box
    assert (north - (rows.mean() + 0.5) / shown.shape[0] * (north - south)) == pytest.approx(1.5, abs=0.03)
    assert (west + (columns.mean() + 0.5) / shown.shape[1] * (east - west)) == pytest.approx(5.5, abs=0.03)


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
        (0.03456, "crps", "0.0346"),
        (0.9, "coverage_90", "0.900"),
    ],
)
def test_numbers_are_written_for_people(value: float, metric: str, text: str) -> None:
    assert number(value, metric) == text


def test_a_figure_keeps_its_texts_and_leaves_out_what_no_screen_shows() -> None:
    with matplotlib.rc_context(LOOK):
        figure, axes = canvas(6, 2)
        axes.plot(np.random.default_rng(0).random(50))
        axes.set(xlabel="0.12345 of it", ylabel="upright")
        drawing = base64.b64decode(svg(figure).partition(",")[2]).decode()
    root = ElementTree.fromstring(drawing)
    texts = {text.text: text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"0.12345 of it", "upright"} <= texts.keys()
    assert "rotate(-90" in texts["upright"].attrib["transform"]
    assert "transform" not in texts["0.12345 of it"].attrib
    assert drawing.count("font-family") == 1
    assert "system-ui" in root.attrib["font-family"]
    places = re.findall(r' (?:d|x|y)="([^"]*)"', drawing)
    assert len(places) > 20
    assert not any(re.search(r"\.\d{3}", place) for place in places)


def test_boxes_that_reach_very_deep_are_drawn() -> None:
    scores = make_scores(networks=("LSTM",), cells=40)
    scores["skill"].loc[{"model": "LSTM"}] = np.append(-np.logspace(0, 6, 39), np.nan)
    drawn = zone_boxes(scores.isel(target=0, lead=0), "skill", ["LSTM"])
    assert drawn is not None
    assert "-10000" in base64.b64decode(drawn.partition(",")[2]).decode().replace("−", "-")


# The numbers behind the figures


def test_curves_are_the_medians_and_means_over_the_cells() -> None:
    scores = make_scores(networks=TWO, with_quantiles=TWO, targets=("swvl1", "swvl2"), cells=9, leads=3)
    scores["area"][:] = 1.0
    curves = {one.caption: one for one in (*error_curves(scores), *EXTREME_CURVES, *CURVES)}
    target = scores.sel(target="swvl2")
    expected = {
        "RMSE": target["rmse"].median("cell"),
        "Ratio to persistence": target["ratio"].median("cell"),
        "Skill against climatology": 1
        - ((target["rmse"] / target["rmse"].sel(model="climatology", drop=True)) ** 2).median("cell"),
        "RMSE on the driest 5 % of the observed days": target["rmse_dry"].median("cell"),
        "RMSE on the wettest 5 % of the observed days": target["rmse_wet"].median("cell"),
        "RMSE on the 5 % of days that are forecast the driest": target["rmse_dry_forecast"].median("cell"),
        "Coverage of the 90 % interval": target["coverage_90"].mean("cell"),
        "Width of the 90 % interval": target["width_90"].median("cell"),
        "CRPS": target["crps"].median("cell"),
    }
    for caption, values in expected.items():
        found = curves[caption].values(scores, "swvl2")
        np.testing.assert_allclose(found.transpose("model", "lead"), values.transpose("model", "lead"), rtol=1e-12)
    assert "climatology" not in curves["Skill against climatology"].of(scores, "swvl2")
    assert curves["Width of the 90 % interval"].of(scores, "swvl2") == ["LSTM", "PHYs-LSTM"]


def test_means_over_the_cells_weigh_their_area() -> None:
    scores = make_scores(networks=("LSTM",), with_quantiles=("LSTM",), leads=4, cells=4)
    scores["coverage_90"].loc[{"model": "LSTM"}] = np.array([0.8, 1.0, 0.0, np.nan])
    scores["area"][:] = np.array([1.0, 3.0, 0.0, 5.0])
    found = CURVES[0].values(scores, "swvl1").sel(model="LSTM")
    np.testing.assert_allclose(found, 0.95)


# Names beside lines


@given(st.lists(st.tuples(st.floats(-0.2, 1.2), st.floats(0.001, 0.3)), min_size=1, max_size=12))
def test_names_are_moved_apart_and_stay_in_order(boxes: list[tuple[float, float]]) -> None:
    wishes = sorted(wish for wish, _ in boxes)
    high = np.array([height for _, height in boxes])
    places = np.array(spread(wishes, high))
    high /= max(high.sum(), 1.0)
    assert len(places) == len(wishes)
    assert (np.diff(places) >= (high[1:] + high[:-1]) / 2 - 1e-9).all()
    assert (places - high / 2 >= -1e-9).all()
    assert (places + high / 2 <= 1 + 1e-9).all()
    low, top = np.array(wishes) - high / 2, np.array(wishes) + high / 2
    if low.min() >= 0 and top.max() <= 1 and (low[1:] >= top[:-1]).all():
        np.testing.assert_allclose(places, wishes, atol=1e-12)


# Fans


def test_bands_are_the_intervals_that_the_levels_allow() -> None:
    assert [(band.share, band.low, band.high) for band in bands(LEVELS)] == [(0.9, 0, 4), (0.5, 1, 3)]
    many = np.array([0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99])
    assert [(band.share, band.low, band.high) for band in bands(many)] == [(0.9, 1, 7), (0.5, 3, 5)]
    assert [band.share for band in bands(np.array([0.1, 0.5, 0.9]))] == [0.8]
    assert bands(np.array([0.1, 0.5])) == []


def test_a_fan_is_drawn_where_its_quantiles_are() -> None:
    valid = np.datetime64("2020-05-04") + np.arange(3)
    centre = np.array([0.2, 0.21, 0.22])
    quantiles = centre[:, np.newaxis] + np.array([-0.05, -0.02, 0.0, 0.02, 0.05])
    axes = Figure().subplots()
    draw_fan(axes, valid, centre, quantiles, bands(LEVELS), "#0072B2")
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), centre)
    wide, narrow = (one for one in axes.collections if isinstance(one, PolyCollection))
    for drawn, low, high in ((wide, 0, 4), (narrow, 1, 3)):
        heights = drawn.get_paths()[0].vertices[:, 1]
        assert heights.min() == quantiles[:, low].min()
        assert heights.max() == quantiles[:, high].max()


@given(st.lists(st.booleans(), max_size=400), st.integers(1, 15))
def test_fans_begin_at_the_first_forecast_and_never_lie_on_each_other(there: list[bool], leads: int) -> None:
    mask = np.array(there, dtype=bool)
    chosen = issue_days(mask, leads)
    assert bool(chosen) == bool(mask.any())
    assert mask[chosen].all()
    assert (np.diff(chosen) > leads).all()
    if chosen:
        assert chosen[0] == np.flatnonzero(mask)[0]


def test_a_year_has_a_fan_every_thirty_days() -> None:
    assert issue_days(np.ones(357, dtype=bool), 10) == list(range(0, 357, 30))
