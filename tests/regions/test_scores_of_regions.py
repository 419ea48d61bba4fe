"""Scores of the means of regions, beside those of the cells; training and evaluation within an area: whole commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

import soilcast
from soilcast.cube import open_cube, open_forecast, save_cube
from soilcast.errors import SoilcastError
from soilcast.ownership import kind_of
from soilcast.regions.forecasts import regional_forecast
from soilcast.regions.means import regional_mean
from soilcast.regions.weights import open_regions
from soilcast.training import open_run
from tests.helpers.multiday import DAYS, QUICK, quick
from tests.helpers.region_files import write_regions
from tests.helpers.small import small_cube
from tests.test_commands import refusal, run

CELLS = 12
WEST, EAST = shapely.box(-22, 30, -8, 65), shapely.box(-8, 30, 6, 65)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("regions")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    quick(path / "cube", path / "run")
    soilcast.forecast(path / "run", path / "cube", path / "forecast")
    write_regions(path / "halves.gpkg", [WEST, EAST, shapely.box(90, 0, 99, 9)], name=["West", "East", "Far"])
    return path


@pytest.fixture(scope="module")
def scores(folder: Path) -> Path:
    told, _ = run(
        "evaluate", folder / "forecast", "--cube", folder / "cube", "--regions", folder / "halves.gpkg",
        "--out", folder / "scores",
    )  # fmt: skip
    assert "1 of 3 regions have no cell, and are left out (Far)" in told
    return folder / "scores"


@pytest.mark.slow
def test_scores_of_regions_stand_beside_those_of_cells(folder: Path, scores: Path) -> None:
    """Computed here from the forecasts of the means and the means of the observations."""
    found = soilcast.open_scores(scores / "regions")
    assert found["cell_name"].to_numpy().tolist() == ["West", "East"]
    assert "persistence" in found["model"]
    forecast, cube = open_forecast(folder / "forecast"), open_cube(folder / "cube")
    regions = open_regions(folder / "halves.gpkg", forecast)
    made, observed = regional_forecast(forecast, regions), regional_mean(cube, "swvl1", regions)
    at = np.searchsorted(cube["time"].to_numpy(), made["valid_time"].to_numpy())
    truth = observed[:, at]
    own = found.isel(model=0, target=0).transpose("cell", "lead", ...)
    error = np.sqrt(np.mean((made["swvl1_mean"].to_numpy() - truth) ** 2, axis=1, dtype=np.float64))
    np.testing.assert_allclose(own["rmse"], error, rtol=1e-4)
    low, high = (made["swvl1_quantile"].sel(quantile=level).to_numpy() for level in (0.05, 0.95))
    np.testing.assert_allclose(own["coverage_90"], np.mean((truth >= low) & (truth <= high), axis=1), atol=1e-6)
    table = pd.read_csv(scores / "regions" / "cells.csv")
    assert set(table["cell_name"]) == {"West", "East"}
    cells = soilcast.open_scores(scores)
    assert cells.sizes["cell"] == CELLS
    assert "regions" not in cells.attrs


@pytest.mark.slow
def test_scores_of_regions_are_part_of_the_scores(folder: Path, scores: Path, tmp_path: Path) -> None:
    assert sorted(one.name for one in scores.iterdir()) == ["cells.csv", "regions", "scores.nc", "table.csv"]
    assert kind_of(scores) == "scores"
    given = {"cube": folder / "cube", "out": scores}
    with pytest.raises(SoilcastError, match="exists already"):
        soilcast.evaluate(folder / "forecast", **given)
    (scores / "regions" / "mine.txt").write_text("mine")
    with pytest.raises(SoilcastError, match="soilcast did not write"):
        soilcast.evaluate(folder / "forecast", **given, overwrite=True)
    (scores / "regions" / "mine.txt").unlink()
    alone = tmp_path / "alone"
    soilcast.evaluate(folder / "forecast", folder / "cube", alone)
    with xr.open_dataset(alone / "scores.nc") as one, xr.open_dataset(scores / "scores.nc") as other:
        xr.testing.assert_identical(one["rmse"], other["rmse"])


@pytest.mark.slow
def test_only_cells_within_an_area_are_scored(folder: Path, tmp_path: Path) -> None:
    cube = open_cube(folder / "cube")
    inside = cube["lon"].to_numpy() <= -8
    for number, area in enumerate(("-22,30,-8,65", write_regions(tmp_path / "west.geojson", [WEST], name=["West"]))):
        out = tmp_path / str(number)
        told, _ = run("evaluate", folder / "forecast", "--cube", folder / "cube", "--within", area, "--out", out)
        assert f"{inside.sum()} of {CELLS} cells lie within {area}; the others are left out" in told
        found = soilcast.open_scores(out)
        np.testing.assert_array_equal(found["lon"], cube["lon"][inside])
    whole = tmp_path / "whole"
    soilcast.evaluate(folder / "forecast", folder / "cube", whole)
    np.testing.assert_array_equal(found["rmse"], soilcast.open_scores(whole)["rmse"].isel(cell=inside))


@pytest.mark.slow
def test_only_cells_within_an_area_are_learnt_from(folder: Path, tmp_path: Path) -> None:
    cube = open_cube(folder / "cube")
    inside = cube["lon"].to_numpy() <= -8
    save_cube(small_cube(CELLS, DAYS).isel(cell=inside), tmp_path / "part")
    quick(tmp_path / "part", tmp_path / "of-part")
    settings = [word for one in QUICK for word in ("--set", one)]
    given = (
        "train",
        "--cube",
        folder / "cube",
        "--within",
        "-22,30,-8,65",
        "--model",
        "lstm",
        "--out",
        tmp_path / "run",
    )
    told, _ = run(*given, *settings)
    assert f"{inside.sum()} of {CELLS} cells lie within -22,30,-8,65; the others are left out" in told
    one, other = open_run(tmp_path / "run"), open_run(tmp_path / "of-part")
    assert one.record["within"] == {"box": "-22,30,-8,65"}
    assert one.record["cells_total"] == inside.sum()
    for mine, theirs in zip(one.networks[0].parameters(), other.networks[0].parameters(), strict=True):
        np.testing.assert_array_equal(mine.detach().numpy(), theirs.detach().numpy())
    made = soilcast.forecast(tmp_path / "run", folder / "cube", tmp_path / "made", issue="2020-01-20")
    np.testing.assert_array_equal(np.isfinite(made["swvl1"]).all(("time", "lead")), inside)
    assert "the run has not seen the cell, whose statistics it needs" in made.attrs["notes"]
    told = refusal(*given[:4], "-22,30,-8,64", *given[5:], "--resume", *settings)
    assert "is a run with another --within" in told


@pytest.mark.slow
def test_what_cannot_be_is_one_line_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    evaluate = ("evaluate", folder / "forecast", "--cube", folder / "cube", "--out", tmp_path / "scores")
    far = write_regions(tmp_path / "far.geojson", [shapely.box(90, 0, 99, 9)], name=["Far"])
    told = refusal(*evaluate, "--regions", far)
    assert "far.geojson: its regions cannot be scored: far.geojson: none of its 1 regions has a cell" in told
    assert "none of the 12 cells" in refusal(*evaluate, "--within", far)
    assert "no such file of regions" in refusal(*evaluate, "--within", "1,2,3")
    train = ("train", "--cube", folder / "cube", "--out", tmp_path / "run", "--within")
    assert "none of the 12 cells" in refusal(*train, "90,0,99,9")
    assert [one.name for one in tmp_path.iterdir()] == ["far.geojson"]
