"""The pages of outlooks: their scores by lead and their uncertainty, and the coming days."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import to_rgb
from PIL import Image

from forecast_factory import made_cube
from html_page import Page, counted_pictures, loads_and_runs_nothing
from outlook_factory import made_outlook
from outlook_scores_factory import make_outlook, make_outlook_scores, save_outlook
from scores_factory import BASELINES, make_scores, save_scores
from soilcast.errors import SoilcastError
from soilcast.inspecting import inspect
from soilcast.reporting import outlook_sections, report
from soilcast.reporting.coming_days import fan_cells
from soilcast.reporting.drought import CLASSES, area_shares
from soilcast.reporting.outlook_scores import load_outlook_scores
from soilcast.reporting.outlooks import load_outlook
from soilcast.verify import evaluate, summarise

NETWORKS = ("LSTM", "PHYs-LSTM")


def read_page(tmp_path: Path, *many: xr.Dataset) -> Page:
    paths = []
    for number, one in enumerate(many):
        if one.attrs["soilcast_kind"] == "outlook":
            paths.append(save_outlook(one, tmp_path / f"outlook{number}"))
        else:
            paths.append(save_scores(one, tmp_path / f"scores{number}"))
    report(paths, tmp_path / "report.html")
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def rows_of(page: Page, label: str) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in page.rows if row and row[0].strip() == label]


def tinted(page: Page) -> int:
    return sum(tag == "td" and "lead" in str(attributes.get("class", "")).split() for tag, attributes in page.tags)


def few(**options: object) -> xr.Dataset:
    """Scores whose page is quickly made."""
    return make_outlook_scores(
        **{"networks": ("LSTM",), "targets": ("swvl1",), "cells": 5, "picks": 1, "days": 60, "leads": 3} | options  # type: ignore[arg-type]
    )


def loaded(scores: xr.Dataset) -> xr.Dataset:
    return load_outlook_scores(scores, Path("scores.nc"))


# The page of scores


@pytest.fixture(scope="module")
def scores() -> xr.Dataset:
    made = make_outlook_scores(networks=NETWORKS, with_quantiles=("LSTM",), cells=30, picks=1, leads=4, days=90)
    made["area"][:] = 1.0  # so that medians over the area are those of numpy
    return made


@pytest.fixture(scope="module")
def page(scores: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return read_page(tmp_path_factory.mktemp("outlook"), scores)


def test_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    loads_and_runs_nothing(page)


def test_every_section_and_picture_is_there(page: Page) -> None:
    anchors = {attributes["id"] for tag, attributes in page.tags if tag == "h3"}
    names = ("scores", "leads", "maps", "uncertainty", "extremes", "fans", "training", "provenance")
    assert anchors == {f"{name}0" for name in names}
    # For each of two targets: maps of three leads; four curves of errors, four of uncertainty, two of extremes, a
    # reliability diagram and a rank histogram, a cell with fans. And two training curves.
    assert counted_pictures(page) == {"png": 2 * 3, "svg": 2 * (4 + 4 + 2 + 2 + 1) + 2}


def test_what_was_known_when_is_said_plainly(page: Page) -> None:
    for text in (
        "synthetic weather",
        "observed weather: the score of a perfect weather forecast",
        "that of 5 days before the issue day",
        "2018-01-01 to 2019-06-28",
        "2020-01-01 to 2020-12-31",
        "29 of 30",
        "86 a cell",
        "1 to 4 days",
        "volumetric soil water, layer 2 (swvl2)",
    ):
        assert text in page.text


@pytest.mark.parametrize(
    ("weather", "latency", "texts"),
    [
        ("none", 0, ("none: a forecast knows the weather up to its issue day", "that of the issue day")),
        ("forecast", 1, ("a weather forecast", "that of 1 day before the issue day")),
        ("none; of a kind", 2, ("none: a forecast knows the weather up to its issue day; of a kind",)),
        (
            "A: none; B: forecast",
            2,
            ("A: none: a forecast knows the weather up to its issue day; B: a weather forecast",),
        ),
    ],
)
def test_other_weather_and_latency(weather: str, latency: int, texts: tuple[str, ...]) -> None:
    told = outlook_sections.headline(loaded(few(weather=weather, latency_days=latency)))
    assert all(f">{text}<" in told for text in texts)


def test_tables_show_the_medians_of_the_scores(scores: xr.Dataset, page: Page) -> None:
    shown = 0
    for label in (*NETWORKS, *BASELINES):
        tables = rows_of(page, label)
        assert len(tables) == 2
        for target, cells in zip(("swvl1", "swvl2"), tables, strict=True):
            one = scores.sel(model=label, target=target)
            for lead, cell in zip((1, 2, 3, 4), cells[1:], strict=True):
                ratio, rmse = (float(np.nanmedian(one[name].sel(lead=lead))) for name in ("ratio", "rmse"))
                assert cell.split() == [f"{ratio:.3f}", f"{rmse:.4f}"]
                shown += float(f"{ratio:.3f}") < 1
    assert tinted(page) == shown > 0


def test_network_without_quantiles_is_in_no_diagram(page: Page) -> None:
    captions = [str(a["alt"]) for tag, a in page.tags if tag == "img"]
    assert captions.count("LSTM: reliability") == captions.count("LSTM: rank histogram") == 2
    assert not [caption for caption in captions if caption.startswith("PHYs-LSTM: r")]


def test_same_scores_give_the_same_pictures() -> None:
    one, two = loaded(few()), loaded(few())
    for section in (outlook_sections.lead_figures, outlook_sections.maps, outlook_sections.fan_charts):
        assert section(one) == section(two)


def test_one_cell_one_lead_and_no_quantiles(tmp_path: Path) -> None:
    bare = few(cells=1, leads=1, with_quantiles=(), gridded=False)
    found = read_page(tmp_path, bare)
    assert "no network gives intervals" in found.text
    assert "No network gives quantiles" in found.text
    assert "maps0" not in {attributes.get("id") for _, attributes in found.tags}
    ratio = float(bare["ratio"].sel(model="LSTM").squeeze())
    assert rows_of(found, "LSTM")[0][1].split()[0] == f"{ratio:.3f}"
    assert f"LSTM beats persistence at lead 1 (median RMSE ratio {ratio:.3f})" in found.text


def test_scores_that_know_no_quantiles_at_all() -> None:
    bare = loaded(few(with_quantiles=()).drop_dims(["quantile", "bin"]))
    assert "No network gives quantiles" in outlook_sections.uncertainty(bare)
    assert "Bands" not in outlook_sections.fan_charts(bare)


def test_one_lead_with_quantiles(tmp_path: Path) -> None:
    assert counted_pictures(read_page(tmp_path, few(leads=1))) == {"png": 1, "svg": 4 + 4 + 2 + 2 + 1 + 1}


def test_nothing_scored(tmp_path: Path) -> None:
    empty = few()
    for name, values in empty.data_vars.items():
        if values.dims == ("model", "target", "lead", "cell"):
            empty[name][:] = np.nan
    found = read_page(tmp_path, empty)
    assert "no verdict" in found.text
    assert rows_of(found, "LSTM")[0][1] == "– –"
    assert "0 of 5" in found.text


def test_a_target_and_a_lead_that_were_not_scored() -> None:
    holed = few(targets=("swvl1", "swvl2"))
    for name, values in holed.data_vars.items():
        if values.dims == ("model", "target", "lead", "cell"):
            holed[name].loc[{"target": "swvl2"}] = np.nan
            holed[name].loc[{"lead": 2}] = np.nan
    holed = loaded(holed)
    told = outlook_sections.headline(holed)
    assert "Over 2 pairs of target and lead, the best network of each target beats persistence at all 2," in told
    assert "swvl2: no verdict" in told
    assert "at 2 of 3 leads (1, 3)" in told
    assert outlook_sections.lead_tables(holed).count("<b>–</b><i>–</i>") == 4 * (1 + 3)
    assert "swvl2: no cell has a ratio to persistence." in outlook_sections.maps(holed)


def test_only_baselines(tmp_path: Path) -> None:
    found = read_page(tmp_path, few(networks=(), cells=1))
    assert "Only baselines were scored" in found.text
    assert len(rows_of(found, "persistence")) == 1


def test_scores_without_series_and_texts(tmp_path: Path) -> None:
    bare = few(cells=1).drop_dims(["pick", "time", "day"])
    for name in ("training_logs", "configs", "provenance", "title", "weather", "latency_days"):
        del bare.attrs[name]
    found = read_page(tmp_path, bare)
    assert "Outlooks and what came" not in found.text
    assert "no training log" in found.text


def test_order_of_dimensions_and_leads_does_not_matter() -> None:
    straight = few()
    turned = loaded(straight.transpose(*reversed(list(straight.sizes))).isel(lead=[2, 0, 1]))
    xr.testing.assert_identical(turned, loaded(straight))


def test_texts_from_files_are_escaped(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script><img src="https://example.org/x.png" onerror="x">$\\frac$'
    bad = few(networks=(evil,), targets=(evil,), gridded=False, title=evil, content=evil, weather=evil)
    bad = bad.assign_coords(cell_name=("cell", [evil] * 5))
    found = read_page(tmp_path, bad)
    loads_and_runs_nothing(found)
    assert all(uri.startswith("data:image/") for uri in found.pictures())
    assert evil.split("$")[0] not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_page_of_all_kinds(tmp_path: Path) -> None:
    next_day = make_scores(networks=("LSTM",), cells=5, picks=1)
    ahead = few(cells=1).drop_dims(["pick", "bin"])
    found = read_page(tmp_path, next_day, ahead, make_outlook(cells=1, targets=("swvl1",), leads=2))
    anchors = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    links = [str(a["href"])[1:] for tag, a in found.tags if tag == "a"]
    assert {"data0", "data1", "data2"} <= set(links) <= anchors
    assert "Made at the end of 2020-05-03 for 2020-05-04 to 2020-05-05." in found.text


def test_what_evaluate_writes_is_shown_with_its_numbers(tmp_path: Path) -> None:
    cube = made_cube(tmp_path / "cube")
    outlooks = [
        made_outlook(tmp_path / "lstm", cube, targets=("swvl1", "swvl2")),
        made_outlook(tmp_path / "gru", cube, targets=("swvl1", "swvl2"), label="GRU", levels=(), seed=2),
    ]
    made = evaluate(outlooks, cube, tmp_path / "scores")
    report([tmp_path / "scores"], tmp_path / "report.html")
    found = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    loads_and_runs_nothing(found)
    summary = summarise(made)
    for label in ("LSTM", "GRU", *BASELINES):
        for target, cells in zip(("swvl1", "swvl2"), rows_of(found, label), strict=True):
            for lead, cell in zip((1, 2, 3), cells[1:], strict=True):
                row = summary.loc[(label, target, lead)]
                assert cell.split() == [f"{row['ratio_median']:.3f}", f"{row['rmse_median']:.4f}"]
    covered = summary["coverage_90_mean"].xs("LSTM").xs("swvl2") * 100
    told = found.text.replace("\N{NO-BREAK SPACE}", " ")
    assert f"interval of LSTM covers {covered.min():.1f} to {covered.max():.1f} % of the observations" in told


# The page of the coming days


@pytest.fixture(scope="module")
def outlook() -> xr.Dataset:
    return make_outlook(cells=40, leads=4)


@pytest.fixture(scope="module")
def coming(outlook: xr.Dataset, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return read_page(tmp_path_factory.mktemp("coming"), outlook)


def test_coming_days_load_nothing_and_run_nothing(coming: Page) -> None:
    loads_and_runs_nothing(coming)


def test_coming_days_have_maps_drought_and_fans(coming: Page) -> None:
    anchors = {attributes["id"] for tag, attributes in coming.tags if tag == "h3"}
    assert anchors == {"maps0", "drought0", "fans0", "provenance0"}
    # For each of two layers: four rows of maps of three leads and one of days until dry; six cells with a fan.
    assert counted_pictures(coming) == {"png": 2 * (4 * 3 + 1), "svg": 2 * 6}
    for text in (
        "Made at the end of 2020-05-03 for 2020-05-04 to 2020-05-07.",
        "that of 5 days before the issue day",
        "5, 25, 50, 75, 95 %",
        "39 of 40",
        "Bands: the 90 % and 50 % intervals",
        "Dry is at or below percentile 20 of the valid day.",
        "Percentile, departure and class are against the cell's own days of 2018 to 2019.",
        "not within 4 days",
        "This page says what is forecast, not how well such outlooks have done",
    ):
        assert text in coming.text.replace("\N{NO-BREAK SPACE}", " ")


def test_coming_days_show_the_numbers_of_the_outlook(outlook: xr.Dataset, coming: Page) -> None:
    area = outlook["area"].to_numpy()[:-1]
    names = [name for name, _ in CLASSES.values()]
    tables = {name: rows_of(coming, name) for name in (*names, "D1 to D4")}
    said = coming.text.replace("\N{NO-BREAK SPACE}", " ")
    for position, layer in enumerate(("swvl1", "swvl2")):
        classes = outlook[f"{layer}_drought"].to_numpy()[:-1, 0]
        shares = {
            number: [100 * area[classes[:, lead] == number].sum() / area.sum() for lead in range(4)]
            for number in CLASSES
        }
        for name, number in zip(names, CLASSES, strict=True):
            assert tables[name][position][1:] == [f"{share:.1f}" for share in shares[number]]
        dry = np.sum([shares[number] for number in (1, 2, 3, 4)], axis=0)
        assert tables["D1 to D4"][position][1:] == [f"{share:.1f}" for share in dry]
        mean = [float(np.average(outlook[layer].to_numpy()[:-1, 0, lead], weights=area)) for lead in (0, 3)]
        assert f"{layer}: the mean over the area is {mean[0]:.4f} m³ m⁻³ (1 day ahead) and {mean[1]:.4f}" in said
        assert f"(D1 or worse) is {dry[0]:.1f} % (1 day ahead) and {dry[3]:.1f} % (4 days ahead)" in said


def test_last_issue_day_of_several_is_shown(tmp_path: Path) -> None:
    several = make_outlook(cells=3, leads=2, issue_days=4, targets=("swvl1",), quantiles=False, products=False)
    found = read_page(tmp_path, several)
    assert "Made at the end of 2020-05-06 for 2020-05-07 to 2020-05-08." in found.text
    assert "4; shown is the last" in found.text
    assert "The run gives no quantiles" in found.text
    assert "Drought classes by day" not in found.text
    mean = float(several["swvl1"].isel(time=-1, lead=0).weighted(several["area"]).mean())
    assert f"{mean:.4f}" in found.text


def test_root_zone_is_shown_if_it_is_there(tmp_path: Path) -> None:
    outlook = make_outlook(cells=1, leads=3, targets=("swvl1", "swvl2"), quantiles=False, products=False)
    long_name = {"long_name": "volumetric soil water of the layers 1 to 3", "units": "m3 m-3"}
    outlook["root_zone"] = (0.3 * outlook["swvl1"] + 0.7 * outlook["swvl2"]).assign_attrs(long_name)
    found = read_page(tmp_path, outlook)
    mean = float(outlook["root_zone"].isel(cell=0, time=0, lead=0))
    assert f"root_zone: the mean over the area is {mean:.4f}" in found.text
    assert "volumetric soil water of the layers 1 to 3 (root_zone)" in found.text
    assert counted_pictures(found) == {"png": 0, "svg": 3}


def test_one_cell_and_one_day_as_netcdf(tmp_path: Path) -> None:
    path = save_outlook(make_outlook(cells=1, leads=1, gridded=False, targets=("swvl1",)), tmp_path / "outlook.nc")
    report([path], tmp_path / "report.html")
    found = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert counted_pictures(found) == {"png": 0, "svg": 1}
    assert "Every cell with a forecast." in found.text
    assert "basin 0" in found.text


def test_percentiles_as_shares_and_valid_days_that_are_missing() -> None:
    given = make_outlook(cells=7, leads=2, targets=("swvl1",))
    other = given.drop_vars("valid_time")
    shares = given["swvl1_percentile"] / 100
    other["swvl1_percentile"] = shares.assign_attrs(given["swvl1_percentile"].attrs | {"units": "1"})
    one, two = (load_outlook(each, Path("outlook")) for each in (given, other))
    xr.testing.assert_allclose(one, two)
    assert one["swvl1_percentile"].attrs == two["swvl1_percentile"].attrs


def test_classes_beyond_the_known_ones_are_missing() -> None:
    given = make_outlook(cells=3, leads=1, targets=("swvl1",))
    given["swvl1_drought"][:, 0, 0] = [-128, 4, 5]
    given["swvl1_days_to_dry"][:, 0] = [-128, -1, 1]
    outlook = load_outlook(given, Path("outlook"))
    np.testing.assert_array_equal(outlook["swvl1_drought"].to_numpy()[:, 0], [np.nan, 4, np.nan])
    np.testing.assert_array_equal(outlook["swvl1_days_to_dry"], [np.nan, -1, 1])


def test_cells_of_fans_run_from_the_driest_to_the_wettest() -> None:
    loaded = load_outlook(make_outlook(cells=40, leads=3), Path("outlook"))
    chosen = fan_cells(loaded)
    ranks = loaded["swvl1_percentile"].isel(lead=-1).to_numpy()
    assert len(set(chosen)) == 6
    assert (np.diff(ranks[chosen]) >= 0).all()
    assert ranks[chosen[0]] == np.nanmin(ranks)
    assert ranks[chosen[-1]] == np.nanmax(ranks)


def test_shares_of_the_area_by_hand() -> None:
    classes = np.array([[-1, 0], [4, np.nan], [2, np.nan], [2, -128]])
    shares = area_shares(classes, np.array([1.0, 2.0, 3.0, 4.0]))
    assert shares[:, 0].tolist() == [0.1, 0.0, 0.0, 0.7, 0.0, 0.2]
    assert shares[:, 1].tolist() == [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert np.isnan(area_shares(np.full((4, 1), np.nan), np.ones(4))).all()


def test_drought_map_shows_the_colours_of_the_classes(tmp_path: Path) -> None:
    lat, lon = np.arange(2.0), np.arange(3.0)
    six = make_outlook(cells=6, leads=1, targets=("swvl1",), gridded=False).drop_vars("cell_name")
    six = six.assign_coords(
        lat=("cell", np.repeat(lat, 3)), lon=("cell", np.tile(lon, 2)), grid_lat=lat, grid_lon=lon, cell=np.arange(6)
    )
    six["swvl1"][:] = 0.2
    six["swvl1_drought"][:, 0, 0] = [-1, 0, 1, 2, 3, 4]
    found = read_page(tmp_path, six)
    titles = [str(a["alt"]) for tag, a in found.tags if tag == "img"]
    drawn = found.pictures()[: titles.index("2020-05-04")][-1]  # the last map before that of days until dry
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.partition(",")[2]))).convert("RGB")).astype(float)
    for _, colour in CLASSES.values():
        near = np.abs(pixels - 255 * np.array(to_rgb(colour))).max(axis=2) < 5
        # Six cells, with a margin of half a cell around them, of a world of 2 x 3 in 3 x 4.
        assert near.mean() == pytest.approx(1 / 12, rel=0.2)


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


# What an artifact is


def test_inspect_says_what_scores_of_outlooks_are(scores: xr.Dataset, tmp_path: Path) -> None:
    said = inspect(save_scores(scores, tmp_path / "scores"))
    assert "scores of outlooks: A made-up planet" in said
    assert "leads 1 .. 4 days (4); newest observation 5 day(s) before" in said
    assert "weather ahead: observed" in said
    ratio = float(np.nanmedian(scores["ratio"].sel(model="PHYs-LSTM", target="swvl2", lead=3)))
    table = said.partition("swvl2, RMSE over that of persistence")[2]
    line = next(line for line in table.splitlines() if line.startswith("PHYs-LSTM"))
    assert line.split()[3] == f"{ratio:.4f}"


@pytest.mark.parametrize("name", ["outlook", "outlook.nc"])
def test_inspect_says_what_an_outlook_is(outlook: xr.Dataset, tmp_path: Path, name: str) -> None:
    said = inspect(save_outlook(outlook, tmp_path / name))
    for text in (
        "outlook: LSTM: the coming days",
        "40 cells",
        "1 issue day(s): 2020-05-03 .. 2020-05-03",
        "leads 1 .. 4 days (4)",
        "weather ahead: forecast",
        "swvl2: 156 of 160 forecasts there",
        "with swvl1_drought",
        "quantiles: 0.05, 0.25, 0.5, 0.75, 0.95",
    ):
        assert text in said


@pytest.mark.parametrize("kind", ["outlook", "outlook_scores"])
def test_inspect_names_what_a_bare_one_lacks(tmp_path: Path, kind: str) -> None:
    xr.Dataset(attrs={"soilcast_kind": kind}).to_netcdf(tmp_path / "bare.nc", engine="h5netcdf")
    with pytest.raises(SoilcastError, match=r"bare\.nc: title, content.* is missing"):
        inspect(tmp_path / "bare.nc")


def test_inspect_of_something_else(tmp_path: Path) -> None:
    xr.Dataset().to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(SoilcastError, match=r"a cube or .* or an outlook scores is expected, but this is not of soil"):
        inspect(tmp_path / "other.nc")


# Errors


def fails(tmp_path: Path, one: xr.Dataset, message: str) -> None:
    with pytest.raises(SoilcastError, match=message) as caught:
        read_page(tmp_path, one)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: scores.drop_sel(model="persistence"), "no score is shown without it: evaluate again"),
        (lambda scores: scores.drop_vars("ratio"), r"scores\.nc: ratio .* is missing: .*evaluate again"),
        (lambda scores: scores.drop_vars("days"), r"days \('target', 'lead', 'cell'\) is missing"),
        (lambda scores: scores.assign_coords(lead=[1, 1, 2]), "lead is not whole days from 1 on, each once"),
        (lambda scores: scores.assign_coords(lead=[0, 1, 2]), "lead is not whole days"),
        (lambda scores: scores.assign_coords(lead=[0.5, 1, 2]), "lead is not whole days"),
        (lambda scores: scores.isel(target=[]), "it scores no target"),
        (lambda scores: scores.assign(pick_cell=scores["pick_cell"] + 10**6), "pick_cell names cells that are not"),
        (lambda scores: scores.assign(reliability=scores["rmse"]), "reliability .* is missing"),
        (lambda scores: scores.assign_attrs(configs="{"), "configs is not JSON"),
        (lambda scores: scores.drop_vars("grid_lon"), "one axis of its grid is missing"),
    ],
)
def test_scores_that_no_page_can_be_made_of(
    tmp_path: Path, change: Callable[[xr.Dataset], xr.Dataset], message: str
) -> None:
    fails(tmp_path, change(few()), message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda outlook: outlook.assign_attrs(targets="swvl1,swvl9"), r"outlook0: swvl9 .* is missing.*forecast again"),
        (lambda outlook: outlook.assign_attrs(targets=" "), "attribute targets names no layer"),
        (lambda outlook: outlook.isel(time=[]), "it has no issue day"),
        (lambda outlook: outlook.assign(swvl1=outlook["swvl1"] * np.nan), "no cell has a forecast from 2020-05-03"),
        (lambda outlook: outlook.assign_coords(lead=[-1, 1]), "lead is not whole days.*forecast again"),
        (lambda outlook: outlook.assign(swvl1_drought=outlook["area"]), "swvl1_drought .* is missing"),
        (lambda outlook: outlook.assign_attrs(config="[]"), "config is not a JSON object.*forecast again"),
        (lambda outlook: outlook.assign(area=outlook["area"] * np.nan), "area is not a number.*forecast again"),
    ],
)
def test_outlooks_that_no_page_can_be_made_of(
    tmp_path: Path, change: Callable[[xr.Dataset], xr.Dataset], message: str
) -> None:
    fails(tmp_path, change(make_outlook(cells=3, leads=2, targets=("swvl1",))), message)


def test_truncated_files(tmp_path: Path) -> None:
    path = save_outlook(make_outlook(cells=200), tmp_path / "outlook.nc")
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(SoilcastError, match=r"outlook\.nc: cannot be read"):
        report([path], tmp_path / "report.html")
    store = save_outlook(make_outlook(cells=20), tmp_path / "store")
    next(path for path in (store / "swvl1" / "c").rglob("*") if path.is_file()).unlink()
    with pytest.raises(SoilcastError, match="swvl1 is incomplete"):
        report([store], tmp_path / "report.html")
    chunk = next(path for path in (store / "swvl2_quantile" / "c").rglob("*") if path.is_file())
    save_outlook(make_outlook(cells=20), tmp_path / "damaged")
    damaged = tmp_path / "damaged" / chunk.relative_to(store)
    damaged.write_bytes(damaged.read_bytes()[:-3] + b"abc")
    with pytest.raises(SoilcastError, match=r"damaged: cannot be read.*forecast again"):
        report([tmp_path / "damaged"], tmp_path / "report.html")


def test_something_else_is_named(tmp_path: Path) -> None:
    cube = xr.Dataset(attrs={"soilcast_kind": "cube"})
    cube.to_netcdf(tmp_path / "cube.nc", engine="h5netcdf")
    with pytest.raises(
        SoilcastError, match="a scores or an outlook scores or an outlook is expected, but this is a cu"
    ):
        report([tmp_path / "cube.nc"], tmp_path / "report.html")
