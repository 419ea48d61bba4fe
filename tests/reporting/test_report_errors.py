"""What no page can be made of is refused in one line, and leaves nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.reporting import report
from tests.helpers.scores_factory import few, make_scores, save_scores


def fails(tmp_path: Path, path: Path, message: str) -> None:
    out = tmp_path / "out" / "report.html"
    with pytest.raises(SoilcastError, match=message) as caught:
        report([path], out)
    assert "\n" not in str(caught.value)
    assert not out.parent.exists() or not list(out.parent.iterdir())


def test_path_that_is_not_there(tmp_path: Path) -> None:
    fails(tmp_path, tmp_path / "nowhere", "no such scores")


def test_folder_without_scores(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    fails(tmp_path, tmp_path / "empty", "no scores.nc in this folder")


def test_something_else_than_scores(tmp_path: Path) -> None:
    xr.Dataset(attrs={"soilcast_kind": "cube"}).to_netcdf(tmp_path / "cube.nc", engine="h5netcdf")
    fails(tmp_path, tmp_path / "cube.nc", "a scores or a forecast or a verdict is expected, but this is a cube")
    (tmp_path / "text.nc").write_text("no NetCDF")
    fails(tmp_path, tmp_path / "text.nc", "cannot be read")


@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_truncated_scores(tmp_path: Path, share: float) -> None:
    file = save_scores(make_scores(cells=500), tmp_path / "scores") / "scores.nc"
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * share)])
    fails(tmp_path, file.parent, "cannot be read")


@pytest.mark.parametrize("name", ["rmse", "ratio", "area", "is_baseline"])
def test_scores_without_a_variable(tmp_path: Path, name: str) -> None:
    folder = save_scores(make_scores(cells=3).drop_vars(name), tmp_path / "scores")
    fails(tmp_path, folder, rf"scores\.nc: {name} .* is missing: .*evaluate again")


@pytest.mark.slow
@pytest.mark.parametrize("text", ["no JSON", "[1]", '{"LSTM": 5}', '{"LSTM": [{"epoch": "x"}]}', '{"a":' * 5000])
def test_damaged_attribute(tmp_path: Path, text: str) -> None:
    scores = make_scores(networks=("LSTM",), cells=3, picks=1, training_logs=text)
    fails(tmp_path, save_scores(scores, tmp_path / "scores"), "scores.nc: .*training.?log.*evaluate again")


@pytest.mark.slow
def test_an_existing_page_is_kept_without_overwrite(tmp_path: Path) -> None:
    folder = save_scores(make_scores(networks=("LSTM",), cells=3, picks=1), tmp_path / "scores")
    out = tmp_path / "report.html"
    out.write_text("mine")
    for overwrite, message in ((False, "exists already"), (True, "a file that soilcast did not write")):
        with pytest.raises(SoilcastError, match=message):
            report([folder], out, overwrite=overwrite)
        assert out.read_text() == "mine"
    out.unlink()
    report([folder], out)
    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    with pytest.raises(SoilcastError, match="exists already"):
        report([folder], out)
    report([folder], out, title="another", overwrite=True)
    assert "another" in out.read_text(encoding="utf-8")


def test_no_scores_at_all(tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match="no scores are given"):
        report([], tmp_path / "report.html")


FAULTS: list[tuple[Callable[[xr.Dataset], xr.Dataset], str]] = [
    (lambda scores: scores.drop_sel(model="persistence"), "but reports always show it: evaluate again"),
    (lambda scores: scores.drop_vars("days"), r"days \('target', 'lead', 'cell'\) is missing"),
    (lambda scores: scores.assign_coords(lead=scores["lead"] - 1), "leads are not distinct whole days from 1"),
    (lambda scores: scores.assign_coords(lead=scores["lead"] + 0.5), "leads are not distinct whole days"),
    (lambda scores: scores.isel(target=[]), "no target"),
    (
        lambda scores: scores.assign(pick_cell=scores["pick_cell"] + 10**6),
        "pick_cell names cells that do not exist",
    ),
    (lambda scores: scores.assign(reliability=scores["rmse"]), "reliability .* is missing"),
    (lambda scores: scores.assign(difference=scores["rmse"]), "difference .* is missing"),
    (lambda scores: scores.assign(kge=scores["area"]), "kge .* is missing"),
    (lambda scores: scores.assign_attrs(configs="{"), "configs is not JSON"),
    (lambda scores: scores.drop_vars("grid_lon"), "an axis of its grid is missing"),
    (lambda scores: scores.assign(area=scores["area"] * np.inf), "cell area is missing"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "change", "message"), [((1, 3)[number % 2], *fault) for number, fault in enumerate(FAULTS)]
)
def test_scores_that_no_page_can_be_made_of(
    tmp_path: Path, count: int, change: Callable[[xr.Dataset], xr.Dataset], message: str
) -> None:
    fails(tmp_path, save_scores(change(few(leads=count)), tmp_path / "scores"), message)


def test_leads_that_are_there_twice(tmp_path: Path) -> None:
    folder = save_scores(few().assign_coords(lead=[1, 1, 2]), tmp_path / "scores")
    fails(tmp_path, folder, "leads are not distinct whole days from 1")
