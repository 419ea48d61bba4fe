"""The page on the coming days: the forecast of an issue day, its products and its cells."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from PIL import Image

from soilcast.errors import SoilcastError
from soilcast.reporting import report
from soilcast.reporting.drought import CLASSES, class_shares
from soilcast.reporting.forecasts import fan_cells, load_forecast
from soilcast.reporting.maps import Canvas
from soilcast.reporting.wording import bridged_words
from tests.helpers.html_page import Page, counted_pictures, decoded, loads_nothing_and_only_sorts, report_page, rows_of
from tests.helpers.scores_factory import make_forecast, save_forecast


@pytest.fixture(scope="module")
def forecast() -> xr.Dataset:
    return make_forecast(cells=40, leads=4)


@pytest.fixture(scope="module")
def coming(forecast: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return report_page(tmp_path_factory.mktemp("coming"), forecast)


def test_coming_days_load_nothing_and_run_nothing(coming: Page) -> None:
    loads_nothing_and_only_sorts(coming)


def test_coming_days_have_maps_drought_and_fans(coming: Page) -> None:
    anchors = {attributes["id"] for tag, attributes in coming.tags if tag == "h3"}
    assert anchors == {"maps0", "drought0", "fans0", "provenance0"}
    # For each of two layers: five rows of maps of three leads and one of days until dry; six cells with a fan.
    assert counted_pictures(coming) == {"png": 2 * (5 * 3 + 1), "svg": 2 * 6}
    for text in (
        "Made at the end of 2020-05-03 for 2020-05-04 to 2020-05-07.",
        "that of 5 days before the issue day",
        "5, 25, 50, 75, 95 %",
        "39 of 40",
        "Bands: the 90 % and 50 % intervals",
        "Dry is at or below percentile 20 of the valid day.",
        "Percentile, departure and class are against the cell's own days of 2018 to 2019.",
        "not within 4 days",
        "This page shows a forecast, not its skill",
        "First the share that is expected in the class or a drier one, the mean of its odds",
    ):
        assert text in coming.text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            '{"days": ["2020-04-29", "2020-05-03"], "variables": ["tp", "t2m"]}',
            "2020-04-29 to 2020-05-03: tp, t2m from weather forecasts",
        ),
        ('{"days": ["2020-05-03"], "variables": []}', "2020-05-03 to 2020-05-03: no weather"),
        ("[" * 9, ""),
        ('{"days": []}', ""),
        ("", ""),
    ],
)
def test_days_that_weather_forecasts_bridge_are_named(said: str, words: str) -> None:
    assert bridged_words(said) == words


def test_coming_days_show_the_numbers_of_the_forecast(forecast: xr.Dataset, coming: Page) -> None:
    area = forecast["area"].to_numpy()[:-1]
    names = [name for name, _ in CLASSES.values()]
    tables = {name: rows_of(coming, name) for name in (*names, "D1 to D4")}
    text = coming.text.replace("\N{NO-BREAK SPACE}", " ")
    for position, layer in enumerate(("swvl1", "swvl2")):
        classes = forecast[f"{layer}_drought"].to_numpy()[:-1, 0]
        shares = {
            number: [100 * area[classes[:, lead] == number].sum() / area.sum() for lead in range(4)]
            for number in CLASSES
        }
        for name, number in zip(names, CLASSES, strict=True):
            # D4 stands in the table of the odds too, as the driest.
            own = tables[name][1::2] if number == 4 else tables[name]
            assert own[position][1:] == [f"{share:.1f}" for share in shares[number]]
        dry = np.sum([shares[number] for number in (1, 2, 3, 4)], axis=0)
        assert tables["D1 to D4"][position][1:] == [f"{share:.1f}" for share in dry]
        mean = [float(np.average(forecast[layer].to_numpy()[:-1, 0, lead], weights=area)) for lead in (0, 3)]
        assert f"{layer}: the mean over the area is {mean[0]:.4f} m³ m⁻³ (1 day ahead) and {mean[1]:.4f}" in text
        odds = forecast[f"{layer}_drought_probability"].to_numpy()[:-1, 0]
        expected = [[100 * np.average(odds[:, lead, one], weights=area) for lead in range(4)] for one in range(5)]
        for one, name in enumerate(names[1:]):
            rows = rows_of(coming, f"{name} or drier") if one < 4 else tables[name][::2]
            assert rows[position][1:] == [f"{share:.1f}" for share in expected[one]]
        severe = [f"{share:.1f}" for share in expected[2]]
        assert f"severe drought (D2) or drier is {severe[0]} % (1 day ahead) and {severe[3]} % (4 days ahead)" in text


def test_the_odds_of_severe_drought_are_mapped_before_the_classes(coming: Page) -> None:
    titles = ("odds of severe drought (D2) or drier", "drought class of the central forecast", "days until dry")
    places = [coming.text.index(title) for title in titles]
    assert places == sorted(places)


def test_classes_of_a_point_forecast_are_said_to_be_so(tmp_path: Path) -> None:
    found = report_page(tmp_path, make_forecast(cells=5, leads=2, targets=("swvl1",), quantiles=False))
    assert "The classes are of a point forecast: the run gives no quantiles, and so no odds." in found.text
    assert "by the point forecast the share of the area in drought (D1 or worse) is" in found.text
    assert "odds of severe drought" not in found.text


def test_last_issue_day_of_several_is_shown(tmp_path: Path) -> None:
    several = make_forecast(cells=3, leads=2, issue_days=4, targets=("swvl1",), quantiles=False, products=False)
    found = report_page(tmp_path, several)
    assert "Made at the end of 2020-05-06 for 2020-05-07 to 2020-05-08." in found.text
    assert "4; shown is the last" in found.text
    assert "The run gives no quantiles" in found.text
    assert "Drought classes by day" not in found.text
    mean = float(several["swvl1"].isel(time=-1, lead=0).weighted(several["area"]).mean())
    assert f"{mean:.4f}" in found.text


def test_root_zone_is_shown_if_it_is_there(tmp_path: Path) -> None:
    forecast = make_forecast(cells=1, leads=3, targets=("swvl1", "swvl2"), quantiles=False, products=False)
    long_name = {"long_name": "volumetric soil water of the layers 1 to 3", "units": "m3 m-3"}
    forecast["root_zone"] = (0.3 * forecast["swvl1"] + 0.7 * forecast["swvl2"]).assign_attrs(long_name)
    found = report_page(tmp_path, forecast)
    mean = float(forecast["root_zone"].isel(cell=0, time=0, lead=0))
    assert f"root_zone: the mean over the area is {mean:.4f}" in found.text
    assert "volumetric soil water of the layers 1 to 3 (root_zone)" in found.text
    assert counted_pictures(found) == {"png": 0, "svg": 3}


def test_one_cell_and_one_day_as_netcdf(tmp_path: Path) -> None:
    path = save_forecast(make_forecast(cells=1, leads=1, gridded=False, targets=("swvl1",)), tmp_path / "forecast.nc")
    report([path], tmp_path / "report.html")
    found = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert counted_pictures(found) == {"png": 0, "svg": 1}
    assert "Every cell with a forecast." in found.text
    assert "basin 0" in found.text


def test_percentiles_as_shares_and_valid_days_that_are_missing() -> None:
    given = make_forecast(cells=7, leads=2, targets=("swvl1",))
    other = given.drop_vars("valid_time")
    shares = given["swvl1_percentile"] / 100
    other["swvl1_percentile"] = shares.assign_attrs(given["swvl1_percentile"].attrs | {"units": "1"})
    one, two = (load_forecast(each, Path("forecast")) for each in (given, other))
    xr.testing.assert_allclose(one, two)
    assert one["swvl1_percentile"].attrs == two["swvl1_percentile"].attrs


def test_classes_beyond_the_known_ones_are_missing() -> None:
    given = make_forecast(cells=3, leads=1, targets=("swvl1",))
    given["swvl1_drought"][:, 0, 0] = [-128, 4, 5]
    given["swvl1_days_to_dry"][:, 0] = [-128, -1, 1]
    forecast = load_forecast(given, Path("forecast"))
    np.testing.assert_array_equal(forecast["swvl1_drought"].to_numpy()[:, 0], [np.nan, 4, np.nan])
    np.testing.assert_array_equal(forecast["swvl1_days_to_dry"], [np.nan, -1, 1])


def test_cells_of_fans_run_from_the_driest_to_the_wettest() -> None:
    loaded = load_forecast(make_forecast(cells=40, leads=3), Path("forecast"))
    chosen = fan_cells(loaded)
    ranks = loaded["swvl1_percentile"].isel(lead=-1).to_numpy()
    assert len(set(chosen)) == 6
    assert (np.diff(ranks[chosen]) >= 0).all()
    assert ranks[chosen[0]] == np.nanmin(ranks)
    assert ranks[chosen[-1]] == np.nanmax(ranks)


def test_shares_of_the_area_by_hand() -> None:
    classes = np.array([[-1, 0], [4, np.nan], [2, np.nan], [2, -128]])
    shares = class_shares(classes, np.array([1.0, 2.0, 3.0, 4.0]))
    assert shares[:, 0].tolist() == [0.1, 0.0, 0.0, 0.7, 0.0, 0.2]
    assert shares[:, 1].tolist() == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert np.isnan(class_shares(np.full((4, 1), np.nan), np.ones(4))).all()


@pytest.mark.slow
def test_drought_map_shows_the_colours_of_the_classes(tmp_path: Path) -> None:
    lat, lon = np.arange(2.0), np.arange(3.0)
    six = make_forecast(cells=6, leads=1, targets=("swvl1",), gridded=False).drop_vars("cell_name")
    six = six.assign_coords(
        lat=("cell", np.repeat(lat, 3)), lon=("cell", np.tile(lon, 2)), grid_lat=lat, grid_lon=lon, cell=np.arange(6)
    )
    six["swvl1"][:] = 0.2
    six["swvl1_drought"][:, 0, 0] = [-1, 0, 1, 2, 3, 4]
    found = report_page(tmp_path, six)
    titles = [str(a["alt"]) for tag, a in found.tags if tag == "img"]
    drawn = found.pictures()[: titles.index("2020-05-04")][-1]  # the last map before that of days until dry
    canvas = Canvas(six)
    pixels = np.asarray(Image.open(BytesIO(decoded(drawn))).convert("RGB"))[canvas.frame].astype(float)
    west, east, south, north = canvas.box
    for _, colour in CLASSES.values():
        near = np.abs(pixels - 255 * np.array(to_rgb(colour))).max(axis=2) < 5
        assert near.mean() == pytest.approx(1 / ((east - west) * (north - south)), rel=0.1)


def test_drought_colours_are_told_apart_under_colour_blindness() -> None:
    colours = [to_rgb(colour) for _, colour in CLASSES.values()]
    for matrix in (np.eye(3), *_BLINDNESS):
        lab = np.array([_lab(np.clip(matrix @ _linear(np.array(colour)), 0, 1)) for colour in colours])
        assert (np.diff(lab[1:, 0]) < 0).all()  # D0 to D4 are ever darker
        apart = np.linalg.norm(lab[:, np.newaxis] - lab, axis=-1) + 1000 * np.eye(len(lab))
        assert apart.min() > 12


# Machado, Oliveira and Fernandes (2009), severity 1: protanopia, deuteranopia, tritanopia, on linear RGB.
_BLINDNESS = (
    np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
)


def _linear(colour: np.ndarray) -> np.ndarray:
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ linear / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


# Errors


def fails(tmp_path: Path, one: xr.Dataset, message: str) -> None:
    with pytest.raises(SoilcastError, match=message) as caught:
        report_page(tmp_path, one)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda forecast: forecast.assign_attrs(targets="swvl1,swvl9"),
            r"forecast0: swvl9 .* is missing.*forecast again",
        ),
        (lambda forecast: forecast.assign_attrs(targets=" "), "attribute targets names no layer"),
        (lambda forecast: forecast.isel(time=[]), "no issue day"),
        (lambda forecast: forecast.assign(swvl1=forecast["swvl1"] * np.nan), "no cell has a forecast from 2020-05-03"),
        (lambda forecast: forecast.assign_coords(lead=[-1, 1]), "leads are not distinct whole days.*forecast again"),
        (lambda forecast: forecast.assign(swvl1_drought=forecast["area"]), "swvl1_drought .* is missing"),
        (
            lambda forecast: forecast.assign_coords(drought_class=["D4", "D3", "D2", "D1", "D0"]),
            "drought_class is not D0, D1, D2, D3, D4: the file is damaged; forecast again",
        ),
        (lambda forecast: forecast.assign_attrs(config="[]"), "config is no JSON object.*forecast again"),
        (lambda forecast: forecast.assign(area=forecast["area"] * np.nan), "cell area is missing.*forecast again"),
    ],
)
def test_forecasts_that_no_page_can_be_made_of(
    tmp_path: Path, change: Callable[[xr.Dataset], xr.Dataset], message: str
) -> None:
    fails(tmp_path, change(make_forecast(cells=3, leads=2, targets=("swvl1",))), message)


def test_truncated_files(tmp_path: Path) -> None:
    path = save_forecast(make_forecast(cells=200), tmp_path / "forecast.nc")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(SoilcastError, match=r"forecast\.nc: cannot be read"):
        report([path], tmp_path / "report.html")
    store = save_forecast(make_forecast(cells=20), tmp_path / "store")
    next(path for path in (store / "swvl1" / "c").rglob("*") if path.is_file()).unlink()
    with pytest.raises(SoilcastError, match="swvl1 is incomplete"):
        report([store], tmp_path / "report.html")
    chunk = next(path for path in (store / "swvl2_quantile" / "c").rglob("*") if path.is_file())
    save_forecast(make_forecast(cells=20), tmp_path / "damaged")
    damaged = tmp_path / "damaged" / chunk.relative_to(store)
    damaged.write_bytes(damaged.read_bytes()[:-3] + b"abc")
    with pytest.raises(SoilcastError, match=r"damaged: swvl2_quantile changed after it was written"):
        report([tmp_path / "damaged"], tmp_path / "report.html")
