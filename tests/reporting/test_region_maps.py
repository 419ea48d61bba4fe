"""Maps of regions: what Natural Earth has there, coordinates at the edge, and names that lie on nothing else."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from soilcast.reporting.basemap import Basemap, coordinate, print_pen
from soilcast.reporting.geography import Box, lines_within, places_within, rivers_within
from soilcast.reporting.map_names import Sheet, overlap
from soilcast.reporting.maps import Canvas, robust_scale
from soilcast.reporting.projection import EqualEarth, Regional
from soilcast.reporting.style import MAPS
from tests.helpers.figure_texts import drawn_texts, watched_figures
from tests.helpers.scores_factory import in_region, make_scores

MOSELLE = Box(5.0, 8.0, 47.5, 50.5)
WORLD = Box(-180.0, 180.0, -90.0, 90.0)

# Natural Earth


@pytest.mark.parametrize("layer", ["land", "lakes", "borders", "provinces"])
def test_lines_stay_in_the_world_and_cross_no_seam(layer: str) -> None:
    lines = lines_within(layer, WORLD)  # type: ignore[arg-type]
    assert len(lines) >= 300
    points = np.concatenate(lines)
    assert (np.abs(points) <= [180.0, 90.0]).all()
    if layer != "land":  # which has a cut along 180 degrees; one border is a parallel of 28 degrees
        assert max(float(np.abs(np.diff(line[:, 0])).max()) for line in lines) < 40


def distance(line: np.ndarray, lon: float, lat: float) -> float:
    """From a point to the nearest one of a line [degrees]."""
    walked = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    every = np.arange(0.0, walked[-1], 0.005)
    near = [np.interp(every, walked, line[:, axis]) - at for axis, at in enumerate((lon, lat))]
    return float(np.hypot(*near).min())


@pytest.mark.parametrize(
    ("name", "lon", "lat"),
    [("Moselle", 6.17, 49.1), ("Rhine", 7.6, 47.6), ("Delaware", -74.78, 40.2), ("Nile", 32.9, 24.1)],
)
def test_rivers_run_where_they_do(name: str, lon: float, lat: float) -> None:
    near = Box(lon - 0.5, lon + 0.5, lat - 0.5, lat + 0.5)
    courses = [course for river, course in rivers_within(near) if river == name]
    assert min(distance(course, lon, lat) for course in courses) < 0.06


def test_places_of_a_box_lie_in_it_the_most_important_first() -> None:
    places = places_within(MOSELLE)
    names = [place.name for place in places]
    assert {"Luxembourg", "Metz", "Nancy", "Koblenz"} <= set(names)
    assert all(MOSELLE.west < one.lon < MOSELLE.east and MOSELLE.south < one.lat < MOSELLE.north for one in places)
    assert names.index("Luxembourg") < names.index("Metz")
    metz = places[names.index("Metz")]
    assert (metz.lon, metz.lat) == pytest.approx((6.18, 49.12), abs=0.03)


def test_a_border_runs_along_the_rhine() -> None:
    assert min(distance(border, 7.8, 48.5) for border in lines_within("borders", MOSELLE)) < 0.1


def test_what_is_packaged_is_small_and_no_pickle() -> None:
    data = [one for one in files("soilcast.reporting").joinpath("data").iterdir() if one.name.endswith(".npz")]
    assert {one.name for one in data} == {"coast110m.npz", "regions.npz"}
    assert sum(len(one.read_bytes()) for one in data) < 2.5e6
    for one in data:
        with one.open("rb") as stream, np.load(stream, allow_pickle=False) as packed:
            assert all(packed[name].dtype.kind in "iuf" for name in packed.files)


# Names

NAMES = st.text(st.characters(codec="latin-1", categories=("L",)), min_size=1, max_size=20)
POINTS = st.tuples(NAMES, st.floats(0, 600), st.floats(0, 400))


def outlines(sheet: Sheet) -> list[np.ndarray]:
    return sheet._taken


@pytest.mark.slow
@given(st.lists(POINTS, max_size=12), st.lists(POINTS, max_size=4), st.floats(5, 30))
def test_no_name_lies_on_another_or_across_the_edge(
    places: list[tuple[str, float, float]], bends: list[tuple[str, float, float]], font: float
) -> None:
    sheet = Sheet(600.0, 400.0, font, np.zeros((40, 60), dtype=bool))
    sheet.place(places, 7)
    rivers = [(name, np.array([(0.0, y), (x, 200.0), (600.0, y / 2)])) for name, x, y in bends]
    sheet.follow(rivers, 4)
    taken = outlines(sheet)
    for at, one in enumerate(taken):
        assert (one >= 0).all()
        assert (one <= [600.0, 400.0]).all()
        assert not any(overlap(one, other) for other in taken[:at])


def test_the_most_important_place_is_named_first_and_beside_the_cells() -> None:
    covered = np.zeros((100, 100), dtype=bool)
    covered[:, 50:] = True
    sheet = Sheet(300.0, 300.0, 10.0, covered)
    named = sheet.place([("first", 149.0, 150.0), ("second", 150.0, 151.0), ("third", 40.0, 40.0)], 7)
    assert [name.text for _, name in named] == ["first", "third"]
    assert named[0][1].x < 149.0


@pytest.mark.parametrize(("course", "angle"), [([(0, 0), (300, 300)], 45), ([(300, 0), (0, 300)], -45)])
def test_the_name_of_a_river_follows_it_upright(course: list[tuple[float, float]], angle: float) -> None:
    sheet = Sheet(300.0, 300.0, 10.0, np.zeros((10, 10), dtype=bool))
    (name,) = sheet.follow([("river", np.array(course, dtype=float)), ("river", np.array(course, dtype=float))], 4)
    assert name.angle == pytest.approx(angle)
    assert name.italic


def test_rectangles_overlap_where_they_share_an_area() -> None:
    square = np.array([(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)])
    tip = np.array([(1.9, 3.0), (2.9, 2.0), (3.9, 3.0), (2.9, 4.0)])  # whose bounding box has a corner in common
    assert overlap(square, square + 1.9)
    assert not overlap(square, square + np.array([2.0, 0.0]))
    assert not overlap(square, tip - [0.2, 0.2])
    assert overlap(square, tip - [1.0, 1.0])


# What is drawn


@pytest.mark.parametrize(("value", "text"), [(-74.5, "74.5° W"), (6.0, "6° E"), (0.0, "0°"), (74.2 + 1e-13, "74.2° E")])
def test_coordinates_are_written_for_people(value: float, text: str) -> None:
    assert coordinate(value, "° W", "° E") == text


@pytest.mark.slow
def test_a_region_has_coordinates_and_names_and_the_world_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {}
    for where, made in (("region", in_region(make_scores(cells=100))), ("world", make_scores(cells=100))):
        values = made["rmse"].isel(model=0, target=0, lead=0)
        scale = robust_scale(values.to_numpy(), MAPS["rmse"])
        assert scale is not None
        with watched_figures(monkeypatch) as figures:
            Canvas(made).panel(values, scale)
        texts[where] = {text.get_text() for figure in figures for text, _ in drawn_texts(figure)}
    # Of 47 to 49.5 degrees north and 5 to 7.5 degrees east.
    assert {"48° N", "6° E", "Metz", "Moselle"} <= texts["region"]
    assert not texts["world"]


def test_maps_in_print_have_them_too() -> None:
    made = in_region(make_scores(cells=100))
    figure = Figure(figsize=(4, 4))
    axes = figure.subplots()
    values = made["rmse"].isel(model=0, target=0, lead=0).to_numpy()
    scale = robust_scale(values, MAPS["rmse"])
    assert scale is not None
    Canvas(made).draw(axes, values, scale, width=3.0)
    assert {"48° N", "6° E", "Metz"} <= {text.get_text() for text, _ in drawn_texts(figure)}


@pytest.mark.parametrize(
    ("south", "west", "step"),
    [(-60.0, -140.0, 1.0), (84.0, -30.0, 0.5), (-20.0, 178.0, 0.1), (49.0, 6.0, 0.001), (-35.0, -70.0, 6.0)],
    ids=["ocean", "arctic", "seam", "hamlet", "continent"],
)
def test_regions_anywhere_and_of_any_size_are_drawn(
    south: float, west: float, step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = in_region(make_scores(cells=9), south, west, step)
    values = made["rmse"].isel(model=0, target=0, lead=0)
    scale = robust_scale(values.to_numpy(), MAPS["rmse"])
    assert scale is not None
    canvas = Canvas(made)
    with watched_figures(monkeypatch):
        picture = canvas.picture(values, scale)
    assert not canvas.is_world
    assert canvas.shape == picture[canvas.frame].shape[:2]


def test_a_map_of_the_world_is_recognised_by_its_projection() -> None:
    world = Basemap(EqualEarth(), (-1.0, 1.0, -0.5, 0.5), dotted=False)
    region = Basemap(Regional(48.0), (3.0, 4.0, 47.0, 48.0), dotted=False)
    assert world.is_world
    assert not region.is_world
    assert print_pen(7.2).font > print_pen(2.4).font


def test_cells_without_a_value_are_told_from_those_with_one() -> None:
    made = in_region(make_scores(cells=100))
    values = xr.zeros_like(made["rmse"].isel(model=0, target=0, lead=0))
    values[50:] = np.nan
    scale = robust_scale(np.array([0.0, 1.0]), MAPS["rmse"])
    assert scale is not None
    canvas = Canvas(made)
    west, east, south, north = canvas.box
    cell = 0.25**2 * np.cos(np.radians((south + north) / 2)) / (east - west) / (north - south)
    assert (canvas.colours(values, scale)[..., 3] > 0).mean() == pytest.approx(50 * cell, rel=0.02)
