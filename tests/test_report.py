"""The report: one honest, self-contained page, whatever the scores hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from html_page import Page, counted_pictures, loads_and_runs_nothing
from scores_factory import make_scores, save_scores
from soilcast.errors import SoilcastError
from soilcast.reporting import open_scores, report
from soilcast.verify.summary import summarise


def _report(tmp_path: Path, *many: xr.Dataset, title: str | None = None) -> Page:
    folders = [save_scores(scores, tmp_path / f"scores{number}") for number, scores in enumerate(many)]
    report(folders, tmp_path / "report.html", title=title)
    return Page((tmp_path / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return _report(tmp_path_factory.mktemp("report"), make_scores())


def test_page_loads_nothing_and_runs_nothing(page: Page) -> None:
    loads_and_runs_nothing(page)


def test_every_model_and_baseline_is_in_the_table_with_persistence_beside(page: Page) -> None:
    for label in ("LSTM", "PHY-LSTM", "PHYs-LSTM", "persistence", "damped anomaly", "climatology"):
        assert len(page.row(label)) == 10


def test_content_target_periods_and_cells_are_said(page: Page) -> None:
    for text in ("synthetic weather", "swvl1", "2018-01-01 to 2019-06-28", "2020-01-01 to 2020-12-31", "60 of 62"):
        assert text in page.text


def test_table_shows_the_numbers_of_the_summary(page: Page) -> None:
    summary = summarise(make_scores())
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
    assert '"name": "phys-lstm"' in page.text


def test_same_scores_give_the_same_pictures(tmp_path: Path) -> None:
    scores = make_scores(networks=("LSTM",), cells=5, picks=1)
    assert _report(tmp_path / "one", scores).pictures() == _report(tmp_path / "two", scores).pictures()


def test_texts_from_files_are_escaped(tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script><img src="https://example.org/x.png" onerror="x">$\\frac$'
    scores = make_scores(networks=(evil, "LSTM"), cells=6, picks=1, gridded=False, title=evil, content=evil, water=evil)
    scores.attrs["provenance"] = json.dumps({evil: {"deep": [evil, "\ud800"]}})
    scores = scores.assign_coords(cell_name=("cell", [evil] * 6))
    page = _report(tmp_path, scores, title=evil)
    assert "script" not in {tag for tag, _ in page.tags}
    assert all(uri.startswith("data:image/") for uri in page.pictures())
    assert page.row(evil)
    assert evil.split("$")[0] not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_places_without_grid_zones_or_fluxes(tmp_path: Path) -> None:
    page = _report(tmp_path, make_scores(networks=("LSTM",), gridded=False, zones=False, consistency=False, cells=8))
    assert "a dot stands at the centre of each" in page.text
    assert "physical consistency is not computed" in page.text
    assert "Climate zones" not in page.text
    assert len(page.row("persistence")) == 8


@pytest.mark.parametrize("gridded", [True, False])
def test_one_cell(tmp_path: Path, gridded: bool) -> None:
    scores = make_scores(networks=("LSTM",), cells=1, gridded=gridded, picks=1)
    assert _report(tmp_path, scores).row("persistence")


def test_metric_without_a_value(tmp_path: Path) -> None:
    scores = make_scores(networks=("LSTM",), cells=5, picks=1)
    scores["kge"][:] = np.nan
    page = _report(tmp_path, scores)
    assert "No cell has a value of KGE." in page.text
    assert page.row("LSTM")[6] == "–"


def test_nothing_scored_gives_no_verdict(tmp_path: Path) -> None:
    scores = make_scores(networks=("LSTM",), cells=5, picks=1)
    for name in ("rmse", "skill", "r", "kge", "bias"):
        scores[name][:] = np.nan
    assert "No verdict" in _report(tmp_path, scores).text


def test_only_baselines(tmp_path: Path) -> None:
    page = _report(tmp_path, make_scores(networks=(), cells=5, picks=1))
    assert "Only baselines were scored" in page.text
    assert page.row("persistence")


def test_without_series_logs_and_configs(tmp_path: Path) -> None:
    scores = make_scores(networks=("LSTM",), cells=5).drop_dims(["pick", "time"])
    for name in ("training_logs", "configs", "provenance", "title", "water"):
        del scores.attrs[name]
    page = _report(tmp_path, scores)
    assert "Time series" not in page.text
    assert "no training log" in page.text


def test_training_without_validation_and_with_broken_losses(tmp_path: Path) -> None:
    log = [{"epoch": 1, "train_loss": 0.5, "validation_loss": None}, {"epoch": 2, "train_loss": float("nan")}]
    scores = make_scores(networks=("LSTM",), cells=3, picks=1, training_logs=json.dumps({"LSTM": log}))
    assert "2 epochs, without validation" in _report(tmp_path, scores).text


def test_several_scores_have_a_section_each(tmp_path: Path) -> None:
    other = make_scores(
        networks=("LSTM",), gridded=False, cells=4, picks=1, title="A small basin", content="land-model output"
    )
    page = _report(tmp_path, make_scores(networks=("LSTM",), cells=9, picks=1), other)
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [str(a["href"])[1:] for tag, a in page.tags if tag == "a"]
    assert {"data0", "data1"} <= set(links) <= anchors
    assert len([row for row in page.rows if row and row[0].strip().startswith("persistence")]) == 4
    assert "land-model output" in page.text
    assert "synthetic weather" in page.text


def test_a_file_serves_as_well_as_its_folder(tmp_path: Path) -> None:
    folder = save_scores(make_scores(networks=("LSTM",), cells=3, picks=1), tmp_path / "scores")
    assert open_scores(folder / "scores.nc").identical(open_scores(folder))


# Errors


def _fails(tmp_path: Path, path: Path, message: str) -> None:
    out = tmp_path / "out" / "report.html"
    with pytest.raises(SoilcastError, match=message):
        report([path], out)
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_path_that_is_not_there(tmp_path: Path) -> None:
    _fails(tmp_path, tmp_path / "nowhere", "there is no such scores")


def test_folder_without_scores(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _fails(tmp_path, tmp_path / "empty", "no scores.nc in this folder")


def test_something_else_than_scores(tmp_path: Path) -> None:
    xr.Dataset(attrs={"soilcast_kind": "cube"}).to_netcdf(tmp_path / "cube.nc", engine="h5netcdf")
    _fails(tmp_path, tmp_path / "cube.nc", "this is a cube")
    (tmp_path / "text.nc").write_text("no NetCDF")
    _fails(tmp_path, tmp_path / "text.nc", "cannot be read")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_truncated_scores(tmp_path: Path, share: float) -> None:
    file = save_scores(make_scores(cells=500), tmp_path / "scores") / "scores.nc"
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * share)])
    _fails(tmp_path, file.parent, "cannot be read")


def test_scores_without_persistence(tmp_path: Path) -> None:
    scores = make_scores(cells=3).drop_sel(model="persistence")
    _fails(tmp_path, save_scores(scores, tmp_path / "scores"), "no score is shown without it")


@pytest.mark.parametrize("name", ["rmse", "area", "is_baseline"])
def test_scores_without_a_variable(tmp_path: Path, name: str) -> None:
    _fails(tmp_path, save_scores(make_scores(cells=3).drop_vars(name), tmp_path / "scores"), name)


@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"LSTM": 5}', '{"LSTM": [{"epoch": "x"}]}', '{"a":' * 5000])
def test_damaged_attribute(tmp_path: Path, text: str) -> None:
    scores = make_scores(networks=("LSTM",), cells=3, picks=1, training_logs=text)
    _fails(tmp_path, save_scores(scores, tmp_path / "scores"), "scores.nc: .*training.?log.*evaluate again")


def test_what_stands_is_kept_unless_overwrite_is_said(tmp_path: Path) -> None:
    folder = save_scores(make_scores(networks=("LSTM",), cells=3, picks=1), tmp_path / "scores")
    out = tmp_path / "report.html"
    out.write_text("mine")
    with pytest.raises(SoilcastError, match="exists already"):
        report([folder], out)
    assert out.read_text() == "mine"
    report([folder], out, overwrite=True)
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_no_scores_at_all(tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match="no scores are given"):
        report([], tmp_path / "report.html")


@pytest.mark.parametrize(
    ("fault", "told"), [("axis", "one axis of its grid"), ("pick", "pick_cell names cells"), ("area", "area is not a")]
)
def test_scores_that_do_not_fit_together_are_refused(tmp_path: Path, fault: str, told: str) -> None:
    scores = make_scores()
    if fault == "axis":
        scores = scores.drop_vars("grid_lon")
    elif fault == "pick":
        scores["pick_cell"] = scores["pick_cell"] + 10**6
    else:
        scores["area"] = scores["area"] * np.inf
    with pytest.raises(SoilcastError, match=told):
        report([save_scores(scores, tmp_path / "scores")], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()
