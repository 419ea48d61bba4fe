"""The page on scores: honest and self-contained, whatever the scores hold."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from soilcast.reporting import open_scores, report
from soilcast.reporting.sections import series
from soilcast.reporting.style import OBSERVED
from soilcast.verify import evaluate
from soilcast.verify.summary import summarise
from tests.helpers import forecast_factory
from tests.helpers.html_page import (
    Page,
    anchors,
    counted_pictures,
    decoded,
    loads_nothing_and_only_sorts,
    report_page,
    rows_of,
)
from tests.helpers.scores_factory import (
    BASELINES,
    few,
    loaded,
    make_forecast,
    make_scores,
    save_forecast,
    save_scores,
    with_tests,
)

TWO = ("LSTM", "PHYs-LSTM")


# One lead


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return report_page(tmp_path_factory.mktemp("report"), make_scores())


def test_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    loads_nothing_and_only_sorts(page)


def test_page_has_the_sections_that_its_scores_allow(page: Page) -> None:
    names = ("scores", "maps", "series", "zones", "physics", "training", "provenance")
    assert anchors(page) == {f"{name}0" for name in names}
    assert "No network gives quantiles" in page.text


def test_every_model_and_baseline_is_in_the_table_with_persistence_beside(page: Page) -> None:
    for label in ("LSTM", "PHY-LSTM", "PHYs-LSTM", "persistence", "damped anomaly", "climatology"):
        assert len(page.row(label)) == 10


def test_content_target_periods_and_cells_are_given(page: Page) -> None:
    for text in ("synthetic weather", "swvl1", "2018-01-01 to 2019-06-28", "2020-01-01 to 2020-12-31", "59 of 60"):
        assert text in page.text
    for text in ("Leads 1 day", "that of the issue day", "none: a forecast knows the weather up to its issue day"):
        assert text in page.text


def test_table_shows_the_numbers_of_the_summary(page: Page) -> None:
    summary = summarise(make_scores()).droplevel(["target", "lead"])
    for label in summary.index:
        median, mean = page.row(label)[2].split()
        assert median == f"{summary.loc[label, 'rmse_median']:.4f}"
        assert mean == f"{summary.loc[label, 'rmse_mean']:.4f}"
    assert page.row("persistence")[8:] == ["–", "–"]
    assert "its consistency is not defined" in page.text


def test_pictures_can_be_opened_and_drawings_are_xml(page: Page) -> None:
    # RMSE, R, KGE and bias of three networks and persistence, skill of the networks, two changes of W1 and of W2;
    # two series, four box plots, three training curves.
    assert counted_pictures(page) == {"png": 4 * 4 + 3 + 4, "svg": 2 + 4 + 3}


def test_provenance_and_configs_are_there(page: Page) -> None:
    assert "ab" * 32 in page.text
    assert "Configuration of PHYs-LSTM" in page.text
    assert '"balance": "multi"' in page.text


@pytest.mark.slow
def test_same_scores_give_the_same_pictures(tmp_path: Path) -> None:
    scores = make_scores(networks=("LSTM",), cells=5, picks=1)
    assert report_page(tmp_path / "one", scores).pictures() == report_page(tmp_path / "two", scores).pictures()


@pytest.mark.slow
def test_texts_from_files_are_escaped(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script><img src="https://example.org/x.png" onerror="x">$\\frac$'
    scores = make_scores(networks=(evil, "LSTM"), cells=6, picks=1, gridded=False, title=evil, content=evil, water=evil)
    scores.attrs["provenance"] = json.dumps({evil: {"deep": [evil, "\ud800"]}})
    scores = with_tests(scores.assign_coords(cell_name=("cell", [evil] * 6)))
    page = report_page(tmp_path, scores, title=evil)
    loads_nothing_and_only_sorts(page)
    assert all(uri.startswith("data:image/") for uri in page.pictures())
    assert page.row(evil)
    assert evil.split("$")[0] not in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_places_without_grid_zones_or_fluxes(tmp_path: Path) -> None:
    scores = make_scores(networks=("LSTM",), gridded=False, zones=False, consistency=False, cells=8)
    page = report_page(tmp_path, scores)
    assert "a dot is at the centre of each" in page.text
    assert "physical consistency is not computed" in page.text
    assert not anchors(page) & {"zones0", "physics0"}
    assert len(page.row("persistence")) == 8


@pytest.mark.slow
@pytest.mark.parametrize("gridded", [True, False])
def test_one_cell(tmp_path: Path, gridded: bool) -> None:
    page = report_page(tmp_path, make_scores(networks=("LSTM",), cells=1, gridded=gridded, picks=1))
    assert page.row("persistence")
    assert "maps0" not in anchors(page)


@pytest.mark.slow
def test_metric_without_a_value(tmp_path: Path) -> None:
    scores = make_scores(networks=("LSTM",), cells=5, picks=1)
    scores["kge"][:] = np.nan
    page = report_page(tmp_path, scores)
    assert "No cell has a value of KGE." in page.text
    assert page.row("LSTM")[6] == "–"


@pytest.mark.slow
def test_nothing_scored_gives_no_verdict(tmp_path: Path) -> None:
    scores = make_scores(networks=("LSTM",), cells=5, picks=1)
    for name in ("rmse", "skill", "r", "kge", "bias", "ratio"):
        scores[name][:] = np.nan
    assert "No verdict" in report_page(tmp_path, scores).text


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_only_baselines(tmp_path: Path, count: int) -> None:
    page = report_page(tmp_path, make_scores(networks=(), cells=5, picks=1, leads=count))
    assert "Only baselines were scored" in page.text
    assert page.row("persistence")


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3])
def test_without_series_logs_and_texts(tmp_path: Path, count: int) -> None:
    scores = few(leads=count).drop_dims(["pick", "time", "day"])
    for name in ("training_logs", "configs", "provenance", "title", "water", "weather", "latency_days"):
        del scores.attrs[name]
    page = report_page(tmp_path, scores)
    assert "Time series" not in page.text
    assert "Forecasts and observations" not in page.text
    assert "no training log" in page.text


@pytest.mark.slow
def test_training_without_validation_and_with_broken_losses(tmp_path: Path) -> None:
    log = [{"epoch": 1, "train_loss": 0.5, "validation_loss": None}, {"epoch": 2, "train_loss": float("nan")}]
    scores = make_scores(networks=("LSTM",), cells=3, picks=1, training_logs=json.dumps({"LSTM": log}))
    assert "2 epochs, without validation" in report_page(tmp_path, scores).text


def test_forecasts_are_drawn_on_the_days_that_they_are_for() -> None:
    scores = loaded(make_scores(networks=("LSTM",), cells=3, picks=1))
    scores["predicted"][:] = scores["observed"].rename(day="time").assign_coords(time=scores["time"])
    drawing = decoded(re.findall(r'src="([^"]*)"', series.lines(scores))[0]).decode()
    observed, predicted = (
        re.search(rf'<path d="([^"]*)"[^>]*stroke: {colour}', drawing, re.IGNORECASE)
        for colour in (OBSERVED, "#0072B2")
    )
    assert observed is not None
    assert predicted is not None
    assert observed[1].count("L ") > 30
    assert observed[1] == predicted[1]


@pytest.mark.slow
def test_one_lead_with_quantiles_has_their_worth_and_the_extremes(tmp_path: Path) -> None:
    scores = make_scores(networks=TWO, with_quantiles=("LSTM",), cells=5, picks=1)
    page = report_page(tmp_path, scores)
    assert {"uncertainty0", "extremes0"} <= anchors(page)
    assert "leads0" not in anchors(page)
    one = scores.sel(model="LSTM").squeeze()
    summary = summarise(scores).loc[("LSTM", "swvl1", 1)]
    covered = f"{summary['coverage_90_median']:.3f}"
    uncertain = next(row for row in rows_of(page, "LSTM") if len(row) == 5 and row[3].split()[0] == covered)
    assert [cell.split()[0] for cell in uncertain[1:]] == [
        f"{summary['crps_median']:.4f}",
        f"{summary['coverage_50_median']:.3f}",
        covered,
        f"{summary['width_90_median']:.4f}",
    ]
    assert float(one["width_90"].min()) > 0
    shown = [cell.split()[0] for cell in rows_of(page, "LSTM")[-1][1:]]
    assert shown == [f"{summary[f'rmse_{days}_median']:.4f}" for days in ("dry", "wet", "dry_forecast", "wet_forecast")]
    captions = [str(a["alt"]) for tag, a in page.tags if tag == "img"]
    assert captions.count("LSTM: reliability") == captions.count("LSTM: rank histogram") == 1
    assert "The 90 % interval of LSTM covers" in page.text


# What is written elsewhere


@pytest.mark.slow
def test_what_evaluate_writes_is_shown_with_its_numbers(tmp_path: Path) -> None:
    made_cube, made_forecast = forecast_factory.made_cube, forecast_factory.made_forecast
    cube = made_cube(tmp_path / "cube")
    options = {"targets": ("swvl1", "swvl2"), "leads": 2}
    forecasts = [
        made_forecast(tmp_path / "lstm", cube, **options, levels=(0.05, 0.25, 0.5, 0.75, 0.95)),
        made_forecast(tmp_path / "gru", cube, **options, label="GRU", seed=2),
    ]
    made = evaluate(forecasts, cube, tmp_path / "scores")
    report([tmp_path / "scores"], tmp_path / "report.html")
    found = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    loads_nothing_and_only_sorts(found)
    summary = summarise(made)
    for label in ("LSTM", "GRU", *BASELINES):
        for target, cells in zip(("swvl1", "swvl2"), rows_of(found, label)[:2], strict=True):
            for lead, cell in zip((1, 2), cells[1:], strict=True):
                row = summary.loc[(label, target, lead)]
                assert cell.split() == [f"{row['ratio_median']:.3f}", f"{row['rmse_median']:.4f}"]
    covered = summary["coverage_90_mean"].xs("LSTM").xs("swvl2") * 100
    assert f"interval of LSTM covers {covered.min():.1f} to {covered.max():.1f} % of the observations" in found.text
    assert {"zones0", "physics0", "uncertainty0", "extremes0", "series0"} <= anchors(found)


def test_forecasts_of_a_test_period_have_a_page_of_their_last_issue_day(tmp_path: Path) -> None:
    cube = forecast_factory.made_cube(tmp_path / "cube")
    report([forecast_factory.made_forecast(tmp_path / "lstm", cube)], tmp_path / "report.html")
    found = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Made at the end of 2020-06-29 for 2020-06-30." in found.text
    assert "91; shown is the last" in found.text


# Several artifacts on a page


@pytest.mark.slow
def test_several_scores_have_a_section_each(tmp_path: Path) -> None:
    other = make_scores(
        networks=("LSTM",), gridded=False, cells=4, picks=1, title="A small basin", content="land-model output"
    )
    page = report_page(tmp_path, make_scores(networks=("LSTM",), cells=9, picks=1), other)
    there = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [str(a["href"])[1:] for tag, a in page.tags if tag == "a"]
    assert {"data0", "data1"} <= set(links) <= there
    assert len([row for row in page.rows if row and row[0].strip().startswith("persistence")]) == 4
    assert "land-model output" in page.text
    assert "synthetic weather" in page.text


@pytest.mark.slow
def test_a_page_of_all_kinds(tmp_path: Path) -> None:
    next_day = make_scores(networks=("LSTM",), cells=5, picks=1)
    ahead = few(cells=1).drop_dims(["pick", "bin"])
    found = report_page(tmp_path, next_day, ahead, make_forecast(cells=1, targets=("swvl1",), leads=2))
    there = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    links = [str(a["href"])[1:] for tag, a in found.tags if tag == "a"]
    assert {"data0", "data1", "data2"} <= set(links) <= there
    assert "Made at the end of 2020-05-03 for 2020-05-04 to 2020-05-05." in found.text


@pytest.mark.slow
def test_chapters_of_one_title_are_told_by_their_folders(tmp_path: Path) -> None:
    forecast = make_forecast(cells=1, targets=("swvl1",), leads=1, products=False)
    paths = [save_forecast(forecast, tmp_path / folder / "coming") for folder in ("monday", "tuesday")]
    other = save_forecast(forecast.assign_attrs(title="Another run"), tmp_path / "wednesday" / "coming")
    report([*paths, other], tmp_path / "report.html")
    title = forecast.attrs["title"]
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    for name in (f"{title} (monday)", f"{title} (tuesday)", "Another run"):
        assert page.text.count(name) >= 2  # in the contents, and above the chapter
    assert "Another run (" not in page.text


def test_a_file_serves_as_well_as_its_folder(tmp_path: Path) -> None:
    folder = save_scores(make_scores(networks=("LSTM",), cells=3, picks=1), tmp_path / "scores")
    assert open_scores(folder / "scores.nc").identical(open_scores(folder))
