"""What a forecast leaves out is counted with its reason; what it does not need is not asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast, produce
from soilcast.inspecting import inspect
from soilcast.training.statistics import MOST_BEYOND
from tests.helpers.multiday import quick
from tests.helpers.small import small_cube

CELLS, DAYS = 4, 780
SOIL = ("swvl1", "swvl2", "swvl3", "swvl4")
WEATHER_ONLY = ("task.lags=[]", "head.predict=level", "task.lead_days=1", "loss.space=normalised", "task.quantiles=[]")
PERIOD = "2020-01-01:2020-02-19"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("left-out")
    save_cube(small_cube(CELLS, DAYS, grid=False), path / "cube")
    quick(path / "cube", path / "run", *WEATHER_ONLY)
    quick(path / "cube", path / "lagged")
    quick(path / "cube", path / "global", *WEATHER_ONLY, "normalise.scope=global")
    return path


def world(
    path: Path, change: Callable[[xr.Dataset], None] = lambda cube: None, cells: int = CELLS, drop: tuple[str, ...] = ()
) -> Path:
    cube = small_cube(cells, DAYS, grid=False, drop=drop)
    change(cube)
    save_cube(cube, path)
    return path


def notes(found: xr.Dataset) -> list[str]:
    return str(found.attrs.get("notes", "")).splitlines()


def test_a_forecast_of_everything_leaves_nothing_out(folder: Path, tmp_path: Path) -> None:
    assert notes(forecast(folder / "run", folder / "cube", tmp_path / "out")) == []


@pytest.mark.parametrize("options", [{"period": PERIOD}, {"issue": "2020-01-20"}])
def test_weather_alone_serves_a_run_that_takes_no_soil_moisture(
    folder: Path, tmp_path: Path, options: dict[str, str]
) -> None:
    bare = world(tmp_path / "bare", drop=SOIL)
    whole = forecast(folder / "run", folder / "cube", tmp_path / "a", **options)  # type: ignore[arg-type]
    found = forecast(folder / "run", bare, tmp_path / "b", **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found["swvl1"], whole["swvl1"])
    assert np.isfinite(found["swvl1"]).all()
    assert any("no percentile" in line for line in notes(found)) == ("issue" in options)
    with pytest.raises(SoilcastError, match="no soil moisture swvl1, swvl2"):
        forecast(folder / "lagged", bare, tmp_path / "c")


def test_soil_moisture_may_be_missing_in_some_cells(folder: Path, tmp_path: Path) -> None:
    def change(cube: xr.Dataset) -> None:
        for layer in SOIL:
            cube[layer].values[1] = np.nan

    found = forecast(folder / "run", world(tmp_path / "some", change), tmp_path / "out")
    whole = forecast(folder / "run", folder / "cube", tmp_path / "whole")
    np.testing.assert_array_equal(found["swvl1"], whole["swvl1"])


def test_a_new_cell_does_not_keep_the_others_from_being_forecast(folder: Path, tmp_path: Path) -> None:
    cube = small_cube(CELLS, DAYS, grid=False)
    places = cube.isel(cell=[0, 1, 2, 3, 0])
    lat = places["lat"].to_numpy().copy()
    lat[-1] += 1.5
    names = np.array([*cube["cell_name"].to_numpy(), "new"])
    places = places.assign_coords(lat=("cell", lat, cube["lat"].attrs), cell=np.arange(5), cell_name=("cell", names))
    for name in ("cell", "cell_name"):
        places[name].attrs = cube[name].attrs
    save_cube(places, tmp_path / "more")
    found = forecast(folder / "run", tmp_path / "more", tmp_path / "out")
    known = forecast(folder / "run", folder / "cube", tmp_path / "known")
    np.testing.assert_array_equal(found["swvl1"][:4], known["swvl1"])
    assert np.isnan(found["swvl1"][4]).all()
    issues = found.sizes["time"]
    (line,) = notes(found)
    assert line.startswith(f"{issues} of {5 * issues} cell-days are not forecast: the run has not seen the cell")
    assert line.endswith("(new)")
    assert f"note: {line}" in inspect(tmp_path / "out")
    everywhere = forecast(folder / "global", tmp_path / "more", tmp_path / "everywhere")
    assert np.isfinite(everywhere["swvl1"]).all()


def test_each_reason_is_counted(folder: Path, tmp_path: Path) -> None:
    def change(cube: xr.Dataset) -> None:
        cube["elevation"].values[0] = np.nan
        cube["tp"].values[2, 760] = np.nan

    found = forecast(folder / "run", world(tmp_path / "gaps", change), tmp_path / "out")
    issues = found.sizes["time"]
    assert notes(found) == [
        f"{issues} of {4 * issues} cell-days are not forecast: elevation is missing (place-000)",
        f"7 of {4 * issues} cell-days are not forecast: an input is missing within the window (place-002)",
        "tp missing on 1 of the cell-days that were read (place-002)",
    ]
    assert int(np.isnan(found["swvl1"]).sum()) == issues + 7


def test_values_far_beyond_the_training_range_are_clipped_and_counted(folder: Path, tmp_path: Path) -> None:
    def shifted(by: float) -> Callable[[xr.Dataset], None]:
        def change(cube: xr.Dataset) -> None:
            cube["tp"].values[3, 750] += by

        return change

    width = float(np.ptp(small_cube(CELLS, DAYS, grid=False)["tp"].values[3, :547]))
    far = [
        forecast(folder / "run", world(tmp_path / f"cube-{times}", shifted(times * width)), tmp_path / f"{times}")
        for times in (MOST_BEYOND + 2, MOST_BEYOND + 3)
    ]
    np.testing.assert_array_equal(*(one["swvl1"] for one in far))
    for found in far:
        (line,) = notes(found)
        assert line.startswith("tp clipped on 1 of the cell-days that were read (place-003)")


def test_counts_survive_an_interruption(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(cube: xr.Dataset) -> None:
        cube["tp"].values[:, 760] = np.nan

    cube = world(tmp_path / "gaps", change)
    monkeypatch.setattr("soilcast.forecasting.block._AT_ONCE", {True: {"cpu": 50}, False: {"cpu": 50}})
    monkeypatch.setattr(produce, "block_size", lambda *_: 1)
    whole = forecast(folder / "run", cube, tmp_path / "whole")
    made = produce.tally_block

    def stop(opened: produce.OpenedRequest, block: produce.BlockForecast, cells: slice) -> produce.Tally:
        if cells.start >= 2:
            raise KeyboardInterrupt
        return made(opened, block, cells)

    monkeypatch.setattr(produce, "tally_block", stop)
    with pytest.raises(KeyboardInterrupt):
        forecast(folder / "run", cube, tmp_path / "out")
    monkeypatch.setattr(produce, "tally_block", made)
    resumed = forecast(folder / "run", cube, tmp_path / "out", resume=True)
    assert notes(resumed) == notes(whole)
    assert notes(whole)[0].startswith("28 of")


def test_a_refused_forecast_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    def change(cube: xr.Dataset) -> None:
        cube["swvl1"].values[1, 749] = np.nan

    cube = world(tmp_path / "gaps", change)
    for _ in range(2):
        with pytest.raises(SoilcastError, match=r"1 of 4 cells .* have no swvl1 on 2020-01-20"):
            forecast(folder / "lagged", cube, tmp_path / "out", issue="2020-01-20")
        assert [path.name for path in tmp_path.iterdir()] == ["gaps"]
    found = forecast(folder / "lagged", cube, tmp_path / "out", issue="2020-01-20", gaps="missing")
    assert notes(found) == ["1 of 4 cell-days are not forecast: no swvl1 to start from (place-001)"]


def test_intervals_that_cannot_be_calibrated_are_stated(folder: Path, tmp_path: Path) -> None:
    few = ("split.train=2018", "split.validation=2019-01-01:2019-01-04", "task.lead_days=1")
    run = quick(folder / "cube", tmp_path / "run", *few)
    expected = "quantiles 0.05, 0.95 are not calibrated: 16 validation cell-day(s), of 19 needed"
    assert sum(line.startswith(expected) for line in run.record["notes"]) == 1
    found = forecast(tmp_path / "run", folder / "cube", tmp_path / "out")
    assert any(line.startswith(expected) for line in notes(found))
