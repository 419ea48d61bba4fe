"""A forecast with quantiles is one calibrated distribution: its median, its mean, and how its leads go together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.products.indices import probability_by
from soilcast.training import open_run
from soilcast.training.calibration_groups import season_of
from soilcast.training.run import save_run
from tests.helpers.multiday import CELLS, DAYS, LEADS, quick
from tests.helpers.small import small_cube

ISSUE = "2020-01-20"
OUTER = "task.quantiles=[0.1,0.9]"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube, a run whose levels have the median (loss rmse), and one whose levels lack it (loss quantiles)."""
    path = tmp_path_factory.mktemp("distribution")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    quick(path / "cube", path / "run")
    quick(path / "cube", path / "outer", OUTER, "loss.name=quantiles")
    return path


def test_the_central_forecast_is_the_median_and_lies_in_its_own_interval(folder: Path, tmp_path: Path) -> None:
    made = forecast(folder / "run", folder / "cube", tmp_path / "made")
    low, middle, high = (made["swvl1_quantile"].sel(quantile=level).to_numpy() for level in (0.25, 0.5, 0.75))
    central, mean = made["swvl1"].to_numpy(), made["swvl1_mean"].to_numpy()
    np.testing.assert_array_equal(central, middle)
    assert ((central >= low) & (central <= high)).all()
    assert ((mean < low) | (mean > high)).any()  # what was the central forecast is not always in it
    assert made["swvl1"].attrs["comment"] == "median of the calibrated predictive distribution"
    long_name = "mean of the predictive distribution of volumetric soil water, layer 1"
    assert made["swvl1_mean"].attrs["long_name"] == long_name


def test_the_median_is_there_without_being_asked_for(folder: Path, tmp_path: Path) -> None:
    made = forecast(folder / "outer", folder / "cube", tmp_path / "made", issue=ISSUE)
    assert open_run(folder / "outer").calibration.levels.tolist() == [0.1, 0.5, 0.9]  # type: ignore[union-attr]
    assert made["quantile"].to_numpy().tolist() == [0.1, 0.9]
    low, high = made["swvl1_quantile"].to_numpy().transpose(3, 0, 1, 2)
    central = made["swvl1"].to_numpy()
    assert ((low <= central) & (central <= high)).all()
    assert (central != made["swvl1_mean"]).any()
    classes = made["swvl1_drought_probability"]
    assert classes.dims == ("cell", "time", "lead", "drought_class")
    assert classes["drought_class"].to_numpy().tolist() == ["D0", "D1", "D2", "D3", "D4"]
    assert (np.diff(classes, axis=-1) <= 0).all()
    np.testing.assert_array_equal(classes.sel(drought_class="D1"), made["swvl1_probability_dry"])


def test_every_forecast_has_the_rank_templates_of_the_run(folder: Path, tmp_path: Path) -> None:
    calibration = open_run(folder / "run").calibration
    assert calibration is not None
    assert calibration.template.shape == (500, LEADS, 1)
    whole = forecast(folder / "run", folder / "cube", tmp_path / "whole")
    np.testing.assert_array_equal(whole["swvl1_rank_template"], calibration.template[..., 0])
    two = forecast(folder / "run", folder / "cube", tmp_path / "two.nc", issue=ISSUE, leads=2)
    templates = two["swvl1_rank_template"].to_numpy()
    np.testing.assert_array_equal(templates, calibration.template[:, :2, 0])
    expected = probability_by(two["swvl1_probability_dry"].to_numpy()[:, 0], templates)
    np.testing.assert_array_equal(two["swvl1_probability_dry_by"][:, 0], expected)
    one = forecast(folder / "run", folder / "cube", tmp_path / "one", issue=ISSUE, leads=1)
    assert not {"swvl1_rank_template", "swvl1_probability_dry_by"} & set(one.data_vars)


def test_a_cell_and_season_that_is_calibrated_by_itself_is_so_by_its_valid_days(folder: Path, tmp_path: Path) -> None:
    run = open_run(folder / "run")
    calibration = run.calibration
    assert calibration is not None
    shift = np.concatenate([calibration.shift, calibration.shift + 0.3])
    row = calibration.row.copy()
    row[2, 1] = len(calibration.shift)  # cell 2 in spring
    planted = replace(calibration, shift=shift, samples=np.repeat(calibration.samples, 2, axis=0), row=row)
    (tmp_path / "run").mkdir()
    save_run(tmp_path / "run", replace(run, calibration=planted))
    period = "2019-02-20:2019-03-10"
    before, after = (
        forecast(path / "run", folder / "cube", path / "made", period=period) for path in (folder, tmp_path)
    )
    spring = season_of(before["valid_time"].to_numpy(), np.array(50.0)) == 1
    assert spring.any()
    assert not spring.all()
    moved = before["swvl1"].to_numpy() != after["swvl1"].to_numpy()
    np.testing.assert_array_equal(moved, (np.arange(CELLS) == 2)[:, np.newaxis, np.newaxis] & spring)
    np.testing.assert_array_equal(before["swvl1_mean"], after["swvl1_mean"])


@pytest.mark.slow
def test_cells_elsewhere_are_calibrated_by_their_climate(folder: Path, tmp_path: Path) -> None:
    quick(folder / "cube", tmp_path / "global", "normalise.scope=global")
    run = open_run(tmp_path / "global")
    calibration = run.calibration
    assert calibration is not None
    row = calibration.row.copy()
    row[CELLS + 2] = len(calibration.shift)  # unknown cells of climate C
    planted = replace(
        calibration,
        shift=np.concatenate([calibration.shift, calibration.shift + 0.3]),
        samples=np.repeat(calibration.samples, 2, axis=0),
        row=row,
    )
    (tmp_path / "planted").mkdir()
    save_run(tmp_path / "planted", replace(run, calibration=planted))
    there = small_cube(CELLS, DAYS)
    moved = there.assign_coords(lat=there["lat"] - 0.5, grid_lat=there["grid_lat"] - 0.5)
    moved["climate_zone"] = there["climate_zone"].copy(data=np.float32([8, 16, 1, 17, 29, 0]))
    save_cube(moved, tmp_path / "elsewhere")
    for cube, expected in ((folder / "cube", [False] * CELLS), (tmp_path / "elsewhere", [True] * 2 + [False] * 4)):
        one, other = (
            forecast(tmp_path / name, cube, tmp_path / f"{name} of {cube.name}", period="2020-01")
            for name in ("global", "planted")
        )
        np.testing.assert_array_equal((one["swvl1"] != other["swvl1"]).all(("time", "lead")), expected)


def test_a_run_of_the_former_format_is_refused(folder: Path, tmp_path: Path) -> None:
    run = open_run(folder / "run")
    (tmp_path / "run").mkdir()
    save_run(tmp_path / "run", run)
    record = (tmp_path / "run" / "run.json").read_text().replace('"format": 5', '"format": 4')
    (tmp_path / "run" / "run.json").write_text(record)
    with pytest.raises(SoilcastError, match=r"a run of .* \(format 4\), but this version of soilcast reads format 5"):
        open_run(tmp_path / "run")
