"""The page in a real browser that reaches nothing but the server: what it shows is what the files hold."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from soilcast.cube import assemble, cells_of_places, open_cube, open_forecast, save_cube
from soilcast.regions.forecasts import regional_forecast
from soilcast.regions.weights import open_regions
from tests.helpers.browser import Opened, opened, started
from tests.helpers.regional import districts, made_forecast, made_record
from tests.helpers.served import ISSUES, Served, make_served
from tests.helpers.serving import loaded, server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PHONE = (390, 844)
NEWEST = ISSUES[-1]
DAYS = ("2004-03-01", "2004-03-02")
CHANGED = 5.0
"""Mean difference of colours from which pictures are told apart, and below which they are the same [of 255]."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Served:
    return make_served(tmp_path_factory.mktemp("page") / "served")


@pytest.fixture(scope="module")
def address(made: Served) -> Iterator[str]:
    with server(made.folder) as (found, _):
        yield found


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Opened]:
    with opened(browser, address) as shown:
        yield shown


@pytest.fixture(scope="module")
def plain(browser: Browser, address: str) -> Iterator[Opened]:
    """The page as it opens, for tests that leave it so."""
    with opened(browser, address) as shown:
        yield shown


@pytest.fixture(scope="module")
def placed(browser: Browser, address: str, made: Served) -> Iterator[Opened]:
    """The page with the panel of a cell open, for tests that leave it so."""
    with opened(browser, address, at(made, 3)) as shown:
        yield shown


def place_of(made: Served, cell: int) -> tuple[float, float]:
    """Latitude and longitude of a cell [degrees]."""
    cube = open_cube(made.cube)
    return float(cube["lat"][cell]), float(cube["lon"][cell])


def at(made: Served, cell: int, **more: object) -> str:
    """Address of the page with the panel of a cell open."""
    lat, lon = place_of(made, cell)
    return "#" + "&".join(f"{key}={value}" for key, value in {"lat": lat, "lon": lon, **more}.items())


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


def test_page_says_what_it_shows(plain: Opened) -> None:
    picture = plain.picture()
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50  # a map and no empty canvas
    assert "Model forecast, not an observation" in plain.page.locator("#credit").inner_text()
    assert "Synthetic data" in plain.page.locator("#credit").inner_text()
    assert "small" in plain.page.locator("#credit .source").inner_text()
    assert re.search(r"Licence: \S", plain.page.locator("#credit").inner_text())
    assert "Natural Earth" in plain.page.locator("#credit").inner_text()
    assert "12 Feb 2020" in plain.page.locator("#issue-text").inner_text()
    assert "13 Feb 2020 · 1 day ahead" in plain.page.locator("#lead-text").inner_text()
    assert plain.page.locator("#legend").inner_text().startswith("Odds of D2 or drier")


def test_tiles_are_drawn_where_the_cells_are_in_their_colours(page: Opened, made: Served) -> None:
    """The pixel over the middle of each cell has the colour that the legend gives its drought class."""
    page.page.select_option("#variable", "swvl1_drought")
    page.settle()
    picture = page.picture()
    legend = page.page.request.get(f"{page.address}/legend/lstm/swvl1_drought").json()["colours"]
    colours = [tuple(int(entry["colour"][at : at + 2], 16) for at in (1, 3, 5)) for entry in legend]
    forecast = loaded(made.forecast(NEWEST))
    state = dict(re.findall(r"(\w+)=([^&]*)", page.page.url.partition("#")[2]))
    zoom, lat, lon = (float(state[key]) for key in ("zoom", "centre_lat", "centre_lon"))
    scale = 512 * 2**zoom / (2 * np.pi)  # pixels a radian

    def mercator(degrees: np.ndarray) -> np.ndarray:
        return np.log(np.tan(np.pi / 4 + np.radians(degrees) / 2))

    x = picture.shape[1] / 2 + scale * np.radians(forecast["lon"].to_numpy() - lon)
    y = picture.shape[0] / 2 - scale * (mercator(forecast["lat"].to_numpy()) - mercator(np.array(lat)))
    classes = forecast["swvl1_drought"].isel(time=0, lead=0).to_numpy().astype(int)
    found = 0
    for cell in range(forecast.sizes["cell"]):
        row, column = int(y[cell]), int(x[cell])
        around = picture[row - 6 : row + 7, column - 6 : column + 7].reshape(-1, 3)
        shares = [(around == np.array(colour)).all(axis=1).mean() for colour in colours]
        found += int(np.argmax(shares) == classes[cell] + 1 and max(shares) > 0.4)
    assert found >= 0.8 * forecast.sizes["cell"]  # names and rivers lie over the others


def test_sliders_change_the_picture(page: Opened) -> None:
    page.page.select_option("#variable", "swvl1")
    page.settle()
    before, words = page.picture(), page.page.locator("#timeline").inner_text()
    for slider, there, back in (("#lead", "ArrowRight", "ArrowLeft"), ("#issue", "ArrowLeft", "ArrowRight")):
        page.page.focus(slider)
        page.page.keyboard.press(there)
        page.settle()
        assert page.page.locator("#timeline").inner_text() != words
        assert difference(before, page.picture()) > 0.05
        page.page.focus(slider)
        page.page.keyboard.press(back)
        page.settle()
        assert difference(before, page.picture()) < 0.05


def test_click_shows_the_numbers_of_the_files(page: Opened, made: Served) -> None:
    cell = 5
    lat, lon = place_of(made, cell)
    page.page.goto(f"{page.address}/#zoom=4&centre_lat={lat}&centre_lon={lon}")
    page.page.reload()
    page.settle()
    box = page.page.locator("#map").bounding_box()
    page.page.mouse.click(box["x"] + box["width"] / 2 + 12, box["y"] + box["height"] / 2 - 12)
    page.page.wait_for_selector("#coming-days", state="attached")
    forecast = loaded(made.forecast(NEWEST)).isel(time=0, cell=cell)
    rows = np.array(page.numbers("coming-days"))
    quantiles = forecast["swvl1_quantile"].transpose("lead", "quantile").to_numpy()
    file = [forecast["lead"], forecast["swvl1"], forecast["swvl1_mean"], *quantiles.T, forecast["swvl1_percentile"]]
    assert np.array_equal(rows.astype(np.float32), np.stack([np.asarray(one, np.float32) for one in file], axis=1))
    odds = forecast["swvl1_drought_probability"].transpose("lead", "drought_class").to_numpy()
    assert np.array_equal(np.array(page.numbers("odds"), np.float32), odds.astype(np.float32))
    past = np.array(page.numbers("past-days"), np.float32)[::-1, 0]
    record = open_cube(made.cube)["swvl1"].isel(cell=cell).sel(time=slice(None, NEWEST)).to_numpy()[-len(past) :]
    assert len(past) > 30
    assert np.array_equal(past, record)


def test_chart_draws_the_fan(placed: Opened) -> None:
    chart = placed.page.locator("#part-coming .chart")
    drawn = chart.evaluate(
        """box => { const canvas = box.querySelector("canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const seen = new Set(); for (let at = 0; at < data.length; at += 4) if (data[at + 3])
        seen.add(`${data[at]},${data[at + 1]},${data[at + 2]}`); return seen.size; }"""
    )
    assert drawn > 20
    assert "Chart of soil moisture" in chart.get_attribute("aria-label")
    before = placed.page.locator("#part-coming .readout").inner_text()
    chart.hover()
    assert placed.page.locator("#part-coming .readout").inner_text() != before
    assert placed.numbers("skill-by-lead")
    assert "a forecast of no change errs by" in placed.page.locator("#part-skill").inner_text()


def test_more_rain_is_wetter(placed: Opened, made: Served) -> None:
    placed.page.click("#part-what_if summary")
    result = placed.page.locator("#what-if-result")
    assert "nothing is added" in result.inner_text()
    placed.page.fill('[name="rain-1"]', "15")
    result.filter(has_text="becomes").wait_for()
    before, after = (float(one) for one in re.findall(r"\d\.\d{3}", result.inner_text())[:2])
    assert after > before
    assert placed.page.locator(".chart-key .only-changed").is_visible()
    with placed.page.expect_response(
        lambda answer: "what-if" in answer.url and "rain=10%2C10%2C10" in answer.url
    ) as told:
        placed.page.click("#wetter")
    layer = told.value.json()["layers"]["swvl1"]
    assert np.all(np.array(layer["changed"]) > np.array(layer["as_forecast"]))
    central = loaded(made.forecast(NEWEST))["swvl1"].isel(time=0, cell=3).to_numpy()
    assert np.allclose(layer["as_forecast"], central, atol=2e-6)
    placed.page.click("#reset")
    result.filter(has_text="nothing").wait_for()
    assert not placed.page.locator(".chart-key .only-changed").is_visible()
    placed.page.click("#part-what_if summary")


def test_keyboard_alone_is_enough(page: Opened, made: Served) -> None:
    press, focused = page.page.keyboard.press, "document.activeElement"
    press("Tab")
    assert page.page.evaluate(f"{focused}.getAttribute('href')") == "#map"
    state = page.page.url
    press("Enter")
    assert "maplibregl-canvas" in page.page.evaluate(f"{focused}.className")
    assert page.page.url == state
    page.page.focus(".skip")
    seen = []
    for _ in range(30):
        press("Tab")
        seen.append(page.page.evaluate(f"{focused}.id || {focused}.className"))
        if "maplibregl-canvas" in seen[-1]:
            break
    assert {"search-text", "copy-link", "about-button"} <= set(seen)
    assert page.page.locator("#crosshair").is_visible()
    lat, lon = place_of(made, 0)
    page.page.focus("#search-text")
    page.page.keyboard.type(f"{lat}, {lon}")
    press("Enter")
    page.page.wait_for_selector("#coming-days", state="attached")
    page.page.wait_for_selector("h2:focus")
    press("Escape")
    assert page.page.locator("#place").is_hidden()
    assert "maplibregl-canvas" in page.page.evaluate(f"{focused}.className")
    page.settle()
    press("Enter")  # the map looks at the place that was sought
    page.page.wait_for_selector("#coming-days", state="attached")
    assert f"{abs(lat):.2f}° N" in page.page.locator("#place .where").inner_text()


def test_search_finds_places_by_name(plain: Opened) -> None:
    plain.page.focus("#search-text")
    plain.page.keyboard.type("zuri")
    plain.page.wait_for_selector("#search-results [role=option]")
    assert "Zürich" in plain.page.locator("#search-results [role=option]").first.inner_text()
    assert "Switzerland" in plain.page.locator("#search-results [role=option]").first.inner_text()
    plain.page.keyboard.press("ArrowDown")
    assert plain.page.get_attribute("#search-text", "aria-activedescendant") == "search-result-0"
    plain.page.fill("#search-text", "nowhere at all")
    plain.page.wait_for_selector("#search-results .none")


def test_link_shows_the_same_again(browser: Browser, address: str, made: Served) -> None:
    state = at(
        made, 7, issue=ISSUES[1], lead=2, variable="swvl2", quantile="0.05", zoom=3.4, centre_lat=48, centre_lon=-6
    )
    with opened(browser, address, state) as page:
        page.page.check("#change")
        page.settle()
        link, picture = page.page.url, page.picture()
        words = page.page.locator("main").inner_text()
    with opened(browser, address, link.removeprefix(f"{address}/")) as page:
        assert page.page.locator("main").inner_text() == words
        assert page.page.input_value("#variable") == "swvl2"
        assert page.page.input_value("#quantile") == "0.05"
        assert page.page.is_checked("#change")
        assert "11 Feb 2020" in page.page.locator("#issue-text").inner_text()
        assert difference(picture, page.picture()) < 0.05


def test_phone_needs_no_sideways_scroll(browser: Browser, address: str, made: Served) -> None:
    wider = "document.scrollingElement.scrollWidth - innerWidth"
    with opened(browser, address, size=PHONE, has_touch=True) as page:
        assert page.page.evaluate(wider) <= 0
        assert page.page.locator("#variable").is_visible()
        assert page.page.locator("#lead").is_visible()
    with opened(browser, address, at(made, 3), size=PHONE) as page:
        assert page.page.evaluate(wider) <= 0
        sheet, stage = page.page.locator("#place").bounding_box(), page.page.locator("#stage").bounding_box()
        assert sheet["x"] == 0
        assert sheet["width"] == PHONE[0]
        assert stage["height"] > 200
        assert sheet["y"] >= stage["y"] + stage["height"] - 20
        inside = "[...document.querySelectorAll('#place .part')].every(one => one.scrollWidth <= one.clientWidth)"
        assert page.page.evaluate(inside)


def luminance(colour: str) -> float:
    """Relative luminance of a computed colour, as the guidelines for accessible content define it."""
    parts = np.array([float(one) for one in re.findall(r"[\d.]+", colour)[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(browser: Browser, address: str, made: Served, scheme: str) -> None:
    with opened(browser, address, at(made, 3), color_scheme=scheme, reduced_motion="reduce") as page:
        for selector in (
            "#place h2",
            "#place .where",
            "#place .note",
            "#place th",
            "#credit",
            ".tick",
            "#legend .ends",
        ):
            ink, ground = page.page.locator(selector).first.evaluate(
                """one => { let below = one; while (getComputedStyle(below).backgroundColor === "rgba(0, 0, 0, 0)")
                below = below.parentElement; return [getComputedStyle(one).color,
                getComputedStyle(below).backgroundColor]; }"""
            )
            dark, bright = sorted([luminance(ink), luminance(ground)])
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, selector
            assert (luminance(ground) < 0.2) == (scheme == "dark"), selector


def test_everything_that_can_be_used_has_a_name(placed: Opened) -> None:
    placed.page.click("#part-what_if summary")
    tree = placed.page.context.new_cdp_session(placed.page).send("Accessibility.getFullAXTree")["nodes"]
    placed.page.click("#part-what_if summary")
    roles = {"button", "combobox", "searchbox", "slider", "spinbutton", "checkbox", "radio", "link", "textbox"}
    usable = [one for one in tree if not one["ignored"] and one["role"]["value"] in roles]
    assert len(usable) > 20
    assert [one["role"]["value"] for one in usable if not one["name"]["value"].strip()] == []


def test_broken_forecast_leaves_the_others(browser: Browser, made: Served, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    for issue in ISSUES:
        shutil.copytree(made.forecast(issue), folder / issue)
    (folder / ISSUES[0] / "zarr.json").write_text("{")
    with server(folder) as (address, _), opened(browser, address, at(made, 3)) as page:
        assert "1 forecast could not be read" in page.page.locator("#map-message").inner_text()
        page.page.click("#map-message button")
        assert ISSUES[0] in page.page.locator("#broken").inner_text()
        assert str(tmp_path) not in page.page.content()
        page.page.keyboard.press("Escape")
        assert page.page.get_attribute("#issue", "max") == "1"
        assert page.numbers("coming-days")
        # What there is no source for says so in a line.
        assert "--scores" in page.page.locator("#part-skill .reason").inner_text()
        assert page.page.locator("#part-what_if .reason").inner_text()


def test_new_forecast_is_offered(browser: Browser, made: Served, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    shutil.copytree(made.forecast(ISSUES[0]), folder / ISSUES[0])
    with server(folder) as (address, _), opened(browser, address) as page:
        page.page.clock.install()
        page.page.reload()
        page.settle()
        shutil.copytree(made.forecast(NEWEST), tmp_path / NEWEST)
        (tmp_path / NEWEST).rename(folder / NEWEST)
        for _ in range(20):  # minutes of the page; the server looks again every few seconds
            page.page.clock.run_for(60_000)
            page.page.wait_for_timeout(500)
            if page.page.locator("#map-message button").is_visible():
                break
        page.page.click("#map-message button")
        page.settle()
        assert "12 Feb 2020" in page.page.locator("#issue-text").inner_text()


def test_cells_without_a_grid_are_circles(browser: Browser, tmp_path: Path) -> None:
    made = make_served(tmp_path / "places", grid=False, cells=5, scores=False)
    lat, lon = place_of(made, 2)
    state = f"#zoom=5&centre_lat={lat}&centre_lon={lon}&variable=swvl1"
    with server(made.folder) as (address, _), opened(browser, address, state) as page:
        picture = page.picture()
        middle = picture[picture.shape[0] // 2, picture.shape[1] // 2]
        value = loaded(made.forecast(NEWEST))["swvl1"].isel(time=0, lead=0).to_numpy()
        features = page.page.request.get(
            f"{address}/map/places?collection=lstm&issue={NEWEST}&variable=swvl1&lead=1"
        ).json()["features"]
        told = next(one["properties"] for one in features if one["properties"]["cell"] == 2)
        assert np.float32(told["value"]) == value[2]
        assert np.abs(middle - [int(told["colour"][at : at + 2], 16) for at in (1, 3, 5)]).max() < 12
        box = page.page.locator("#map").bounding_box()
        page.page.mouse.click(box["x"] + box["width"] / 2 + 3, box["y"] + box["height"] / 2)
        page.page.wait_for_selector("#coming-days", state="attached")
        assert page.page.locator("#place h2").inner_text() == "place-002"
        assert np.array(page.numbers("coming-days"), np.float32)[0, 1] == value[2]


def test_station_shows_what_it_observed(browser: Browser, made: Served, tmp_path: Path) -> None:
    """A station stands in the middle of cell 4; what it observed stands beside the record of the cell."""
    record = open_cube(made.cube)
    lat, lon = place_of(made, 4)
    places = cells_of_places(np.array([lat]), np.array([lon]), np.array([1.0]), ["Well field"])
    observed = (record["swvl1"].to_numpy()[4:5] + 0.02).astype(np.float32)
    about = {"title": "A station", "source": "test", "content": "observations"}
    days = record["time"].to_numpy()
    save_cube(
        assemble({"swvl1": observed, "slthick1": np.array([0.07])}, cells=places, time=days, **about), tmp_path / "at"
    )
    state = f"#zoom=5&centre_lat={lat}&centre_lon={lon}&variable=swvl1"
    with server(made.folder, "--stations", tmp_path / "at") as (address, _), opened(browser, address, state) as page:
        box = page.page.locator("#map").bounding_box()
        page.page.mouse.click(box["x"] + box["width"] / 2 + 2, box["y"] + box["height"] / 2)
        page.page.wait_for_selector("#past-days", state="attached")
        assert page.page.locator("#place h2").inner_text() == "Well field"
        assert "Station at" in page.page.locator("#place .where").inner_text()
        rows = np.array(page.numbers("past-days"), np.float32)[::-1]
        assert np.allclose(rows[:, -1], rows[:, 0] + np.float32(0.02), atol=1e-6)
        assert "station=" in page.page.url


def test_region_shows_the_forecast_of_its_mean(browser: Browser, tmp_path: Path) -> None:
    forecast, cube = tmp_path / "forecasts" / "one", tmp_path / "cube"
    made_forecast(forecast, made_record(cube), DAYS)
    districts(tmp_path / "districts.gpkg")
    regions = ("--regions", tmp_path / "districts.gpkg", "--region-name", "name")
    with server(tmp_path, *regions) as (address, _), opened(browser, address) as page:
        page.page.focus("#search-text")
        page.page.keyboard.type("north")
        page.page.wait_for_selector("#search-results [role=option]")
        assert "region" in page.page.locator("#search-results [role=option]").first.inner_text()
        page.page.keyboard.press("Enter")
        page.page.wait_for_selector("#coming-days", state="attached")
        page.settle()
        assert page.page.locator("#place h2").inner_text() == "North"
        assert page.page.locator("#place .where").inner_text().startswith("Mean of the region")
        assert "not for a region" in page.page.locator("#part-what_if .reason").inner_text()
        with open_forecast(forecast) as opened_forecast, open_cube(cube) as record:
            shares = open_regions(tmp_path / "districts.gpkg", opened_forecast, name="name")
            newest = opened_forecast.isel(time=[-1])
            mean = regional_forecast(newest, shares, record)["swvl1"].isel(time=0, cell=0).to_numpy()
        assert np.array_equal(np.array(page.numbers("coming-days"), np.float32)[:, 1], mean.astype(np.float32))
        before = page.picture()
        page.page.reload()
        page.settle()
        assert "station=North" in page.page.url
        assert difference(before, page.picture()) < 0.5


def test_sea_says_that_nothing_is_forecast(plain: Opened) -> None:
    plain.page.fill("#search-text", "-45, 100")
    plain.page.press("#search-text", "Enter")
    plain.page.locator("#place .reason").wait_for()
    assert plain.page.locator("#place .reason").inner_text().startswith("No cell")
    plain.page.click("#close-place")
    assert plain.page.locator("#place").is_hidden()
    assert [fault.partition(" ")[0] for fault in plain.faults] == ["404"]
    plain.faults.clear()


def test_without_webgl_the_numbers_are_there(browser: Browser, address: str, made: Served) -> None:
    lat, lon = place_of(made, 3)
    with started(browser.browser_type, "--disable-3d-apis") as plain:
        shown = plain.new_page()
        shown.goto(address)
        shown.wait_for_selector("#map-message:not([hidden])")
        assert "WebGL" in shown.locator("#map-message").inner_text()
        shown.fill("#search-text", f"{lat}, {lon}")
        shown.press("#search-text", "Enter")
        shown.wait_for_selector("#coming-days", state="attached")
