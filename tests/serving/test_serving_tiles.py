"""Each pixel of a tile has the colour of the value of the cell that it lies in, as reports have it, and no other."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import matplotlib
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from soilcast.cube import open_cube
from soilcast.reporting import drought
from tests.helpers.forecast_factory import made_cube, made_forecast
from tests.helpers.serving import client, issue, loaded

DAY = "2020-05-03"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, xr.Dataset]]:
    folder = tmp_path_factory.mktemp("tiles")
    forecast = loaded(issue(folder, DAY, cells=700, step=4.0))
    issue(folder, "2020-05-02", cells=700, step=4.0, seed=0)
    with client(folder) as http:
        yield http, forecast


def picture(http: httpx.Client, path: str, **parameters: object) -> np.ndarray:
    """Pixels of a tile ``(row, column, 4)``."""
    answer = http.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.array(Image.open(io.BytesIO(answer.content)).convert("RGBA"))


def places_of(z: int, x: int, y: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Latitude of rows and longitude of columns of a tile, by the formulas of Web Mercator."""
    n = 2.0**z
    steps = (np.arange(side) + 0.5) / side
    lon = (x + steps) / n * 360 - 180
    lat = np.degrees(2 * np.arctan(np.exp(np.pi * (1 - 2 * (y + steps) / n))) - np.pi / 2)
    return lat, lon


def cell_of(forecast: xr.Dataset, lat: float, lon: float) -> int | None:
    """The cell whose box a place lies in."""
    near = (np.abs(forecast["lat"].to_numpy() - lat) < 2) & (
        np.abs((forecast["lon"].to_numpy() - lon + 180) % 360 - 180) < 2
    )
    found = np.flatnonzero(near)
    return int(found[0]) if len(found) else None


def check(
    pixels: np.ndarray, forecast: xr.Dataset, values: np.ndarray, colours: np.ndarray, at: tuple[int, int, int]
) -> None:
    """See that a sample of pixels has the colours ``(cell, 3)`` of the cells, transparent where there is none."""
    side = len(pixels)
    lat, lon = places_of(*at, side)
    rng = np.random.default_rng(0)
    seen = 0
    for row, column in rng.integers(0, side, (600, 2)):
        cell = cell_of(forecast, lat[row], lon[column])
        if cell is None or np.isnan(values[cell]):
            assert pixels[row, column, 3] == 0
        else:
            assert pixels[row, column, 3] == 255
            assert np.array_equal(pixels[row, column, :3], colours[cell]), (row, column, cell)
            seen += 1
    assert seen > 20


@pytest.mark.parametrize("at", [(0, 0, 0), (1, 1, 0), (2, 2, 1), (4, 9, 5)])
@pytest.mark.parametrize("end", ["", "@2x"])
def test_pixels_have_the_colour_of_their_cell(
    made: tuple[httpx.Client, xr.Dataset], at: tuple[int, int, int], end: str
) -> None:
    http, forecast = made
    z, x, y = at
    pixels = picture(http, f"/tiles/lstm/{DAY}/swvl1_percentile/{z}/{x}/{y}{end}.png", lead=4)
    assert pixels.shape == ((512, 512, 4) if end else (256, 256, 4))
    values = forecast["swvl1_percentile"].isel(time=0).sel(lead=4).to_numpy()
    position = np.clip(np.nan_to_num(values) / 100 * 250, 0, 249).astype(int)
    colours = matplotlib.colormaps["BrBG"](np.linspace(0, 1, 250), bytes=True)[position][:, :3]
    if at == (4, 9, 5):  # few cells
        assert set(map(tuple, pixels[..., :3][pixels[..., 3] > 0])) <= set(map(tuple, colours))
    else:
        check(pixels, forecast, values, colours, at)


def test_classes_have_the_colours_of_reports(made: tuple[httpx.Client, xr.Dataset]) -> None:
    http, forecast = made
    pixels = picture(http, f"/tiles/lstm/{DAY}/swvl1_drought/0/0/0.png", lead=2)
    values = forecast["swvl1_drought"].isel(time=0).sel(lead=2).to_numpy()
    table = {number: matplotlib.colors.to_rgb(colour) for number, (_, colour) in drought.CLASSES.items()}
    colours = np.array([np.rint(255 * np.array(table.get(value, (0, 0, 0)))) for value in values])
    check(pixels, forecast, values, colours, (0, 0, 0))
    entries = http.get("/legend/lstm/swvl1_drought").json()["colours"]
    assert [(one["label"], one["colour"]) for one in entries] == list(drought.CLASSES.values())


def test_quantile_lead_and_class_are_those_that_were_asked_for(made: tuple[httpx.Client, xr.Dataset]) -> None:
    http, forecast = made
    path = f"/tiles/lstm/{DAY}/swvl1"
    legend = http.get("/legend/lstm/swvl1").json()["colours"]
    low, high = legend[0]["from"], legend[-1]["to"]
    for lead, level in ((1, 0.05), (10, 0.95)):
        values = forecast["swvl1_quantile"].isel(time=0).sel(lead=lead, quantile=level).to_numpy()
        # As float32, as the server has them.
        position = np.clip((values - np.float32(low)) * (250 / (high - low)), 0, 249)
        table = matplotlib.colormaps["YlGnBu"](np.linspace(0, 1, 250), bytes=True)
        colours = table[np.nan_to_num(position).astype(int)][:, :3]
        pixels = picture(http, f"{path}/0/0/0.png", lead=lead, quantile=level)
        lat, lon = places_of(0, 0, 0, 256)
        pairs = [(row, column) for row in range(60, 180, 7) for column in range(0, 256, 5)]
        found = [(row, column, cell_of(forecast, lat[row], lon[column])) for row, column in pairs]
        shown = [one for one in found if one[2] is not None and np.isfinite(values[one[2]])]
        away = [np.abs(pixels[row, column, :3].astype(int) - colours[cell]).max() for row, column, cell in shown]
        assert max(away) <= 6, "but for a step of the scale, which rounding may tell either way"
    odds = [picture(http, f"{path}_drought_probability/0/0/0.png", lead=1, drought_class=one) for one in ("D0", "D4")]
    assert not np.array_equal(*odds)


def test_the_scale_is_the_same_for_all_leads_days_and_quantiles(made: tuple[httpx.Client, xr.Dataset]) -> None:
    http, _ = made
    legends = [http.get(f"/legend/lstm/{name}").json()["colours"] for name in ("swvl1", "swvl1_quantile")]
    assert legends[0] == legends[1]
    assert all(first["to"] == second["from"] for first, second in zip(legends[0], legends[0][1:], strict=False))


def test_legends_are_drawn(made: tuple[httpx.Client, xr.Dataset]) -> None:
    http, _ = made
    for name in ("swvl1", "swvl1_drought", "swvl1_days_to_dry", "swvl1_drought_probability"):
        pixels = picture(http, f"/legend/lstm/{name}.png")
        found = {tuple(colour) for colour in pixels.reshape(-1, 4)[:, :3]}
        for entry in http.get(f"/legend/lstm/{name}").json()["colours"]:
            assert tuple(bytes.fromhex(entry["colour"][1:])) in found


def test_days_to_dry_ends_with_later(made: tuple[httpx.Client, xr.Dataset]) -> None:
    http, forecast = made
    pixels = picture(http, f"/tiles/lstm/{DAY}/swvl1_days_to_dry/0/0/0.png")
    values = forecast["swvl1_days_to_dry"].isel(time=0).to_numpy()
    position = np.clip((np.where(values == -1, 11, np.nan_to_num(values, nan=1)) - 1) * (250 / 10), 0, 249).astype(int)
    colours = matplotlib.colormaps["YlOrBr_r"](np.linspace(0, 1, 250), bytes=True)[position][:, :3]
    check(pixels, forecast, values, colours, (0, 0, 0))


def test_a_change_is_the_forecast_less_the_record(tmp_path: Path) -> None:
    cube = made_cube(tmp_path / "cube")
    made_forecast(tmp_path / "forecast", cube, leads=3)
    forecast = loaded(tmp_path / "forecast")
    day = str(forecast["time"].to_numpy()[20])[:10]
    with client(tmp_path / "forecast", cube=cube) as http, open_cube(cube) as opened:
        points = http.get("/map/places", params={"collection": "lstm", "issue": day, "variable": "swvl1", "change": 7})
        assert points.json()["features"] == [], "cells of a grid are shown by tiles"
        pixels = picture(http, f"/tiles/lstm/{day}/swvl1/0/0/0.png", lead=2, change=7)
        before = opened["swvl1"].sel(time=np.datetime64(day) - 7).to_numpy()
        values = forecast["swvl1"].isel(time=20).sel(lead=2).to_numpy() - before
        entries = http.get("/legend/lstm/swvl1", params={"change": 7}).json()
        assert entries["title"].startswith("change in 7 days: ")
        low, high = entries["colours"][0]["from"], entries["colours"][-1]["to"]
        assert low == -high
        lat, lon = forecast["lat"].to_numpy(), forecast["lon"].to_numpy()
        table = matplotlib.colormaps["BrBG"](np.linspace(0, 1, 250), bytes=True)[:, :3].astype(int)
        rows, columns = places_of(0, 0, 0, 256)
        seen = 0
        for cell, value in enumerate(values):
            row, column = (int(np.abs(axis - one).argmin()) for axis, one in ((rows, lat[cell]), (columns, lon[cell])))
            if np.isnan(value):
                assert pixels[row, column, 3] == 0
                continue
            expected = table[int(np.clip((value - low) * (250 / (high - low)), 0, 249))]
            assert np.abs(pixels[row, column, :3].astype(int) - expected).max() <= 6
            seen += 1
        assert seen > 4
        refused = http.get(f"/tiles/lstm/{day}/swvl1/0/0/0.png", params={"change": 900})
        assert refused.status_code == 400


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("lstm/2020-05-03/swvl1/0/0/1.png", 400, "no tile 0/0/1"),
        ("lstm/2020-05-03/swvl1/40/0/0.png", 400, "z is 0 to 22"),
        ("lstm/2020-05-03/swvl1/-1/0/0.png", 400, "no tile"),
        ("lstm/2020-05-03/swvl1/a/0/0.png", 400, "z"),
        ("lstm/2020-05-03/swvl1/0/0/0@3x.png", 400, "y"),
        ("lstm/2020-05-03/swvl9/0/0/0.png", 400, "no variable 'swvl9'"),
        ("lstm/2020-05-03/swvl1/0/0/0.png?lead=11", 400, "no lead 11"),
        ("lstm/2020-05-03/swvl1/0/0/0.png?quantile=0.3", 400, "needs one of the quantiles 0.05, 0.25, 0.5"),
        ("lstm/2020-05-03/swvl1_percentile/0/0/0.png?quantile=0.5", 400, "has no quantiles"),
        ("lstm/2020-05-03/swvl1_drought_probability/0/0/0.png", 400, "needs one of the drought classes D0, D1"),
        ("lstm/2020-05-03/swvl1/0/0/0.png?change=7", 400, "needs a layer of soil moisture and a cube"),
        ("lstm/2020-06-03/swvl1/0/0/0.png", 404, "no issue day"),
        ("none/2020-05-03/swvl1/0/0/0.png", 404, "no collection"),
    ],
)
def test_what_is_not_there_is_refused(made: tuple[httpx.Client, xr.Dataset], path: str, status: int, told: str) -> None:
    answer = made[0].get(f"/tiles/{path}")
    assert answer.status_code == status
    assert told in answer.json()["description"]


def test_tiles_are_known_again(made: tuple[httpx.Client, xr.Dataset]) -> None:
    http, _ = made
    path = f"/tiles/lstm/{DAY}/swvl1/1/0/0.png"
    first = http.get(path)
    assert first.headers["etag"]
    assert http.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    assert http.get(path, params={"lead": 2}).headers["etag"] != first.headers["etag"]


def test_cells_without_a_grid_are_points(tmp_path: Path) -> None:
    forecast = loaded(issue(tmp_path, DAY, cells=30, gridded=False))
    with client(tmp_path) as http:
        refused = http.get(f"/tiles/lstm/{DAY}/swvl1/0/0/0.png")
        assert refused.status_code == 404
        assert "no grid" in refused.json()["description"]
        found = http.get("/map/places", params={"collection": "lstm", "variable": "swvl2", "lead": 3}).json()[
            "features"
        ]
    values = forecast["swvl2"].isel(time=0).sel(lead=3).to_numpy()
    assert [one["properties"]["name"] for one in found] == [f"basin {number}" for number in range(30)]
    assert [one["properties"]["id"] for one in found][:2] == ["basin-0", "basin-1"]
    got = [np.nan if one["properties"]["value"] is None else one["properties"]["value"] for one in found]
    assert np.array_equal(np.array(got, dtype=np.float32), values, equal_nan=True)
    assert all(
        (one["properties"]["colour"] is None) == np.isnan(value) for one, value in zip(found, values, strict=True)
    )
