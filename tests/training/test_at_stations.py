"""A run of a grid is fine-tuned on stations with the weather of their cells, and forecasts one that was left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.sources import prepare
from soilcast.stations import verdict
from tests.helpers.ismn_archive import MadeSensor, write_sensor
from tests.helpers.multiday import CELLS, DAYS, quick
from tests.helpers.small import small_cube


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid, and an archive of stations in four of its cells whose sensors are wetter and lag behind by a day."""
    root = tmp_path_factory.mktemp("at-stations")
    grid = small_cube(CELLS, DAYS)
    save_cube(grid, root / "grid")
    hours = np.arange(0, 24 * DAYS, 6)
    for number in range(4):
        wet = np.clip(np.roll(grid["swvl1"].to_numpy()[number], 1) + 0.05, 0, 0.6)
        times = grid["time"].to_numpy()[0].astype("datetime64[h]") + hours
        place = {"lat": float(grid["lat"][number]) + 0.5, "lon": float(grid["lon"][number]) - 0.5}
        write_sensor(root / "ISMN", MadeSensor(times, np.repeat(wet, 4), station=f"S{number}", **place))
    return root


def stations(folder: Path, out: str, **options: object) -> Path:
    prepare("stations", folder / "ISMN", out=folder / out, least_hours=4, weather=folder / "grid", **options)
    return folder / out


@pytest.mark.slow
def test_stations_take_the_weather_of_their_cells(folder: Path) -> None:
    cube, grid = open_cube(stations(folder, "all")), open_cube(folder / "grid")
    for name in ("t2m", "tp", "clay"):
        np.testing.assert_array_equal(cube[name], grid[name][:4])
    assert float(np.abs(cube["swvl1"] - grid["swvl1"][:4].to_numpy()).mean()) > 0.02
    assert "of the nearest cell of" in cube.attrs["notes"]


@pytest.mark.slow
def test_a_run_is_fine_tuned_on_all_but_one_station_and_judged_at_that_one(folder: Path) -> None:
    settings = ("normalise.scope=global", "task.lags=[swvl1]")
    globe = quick(folder / "grid", folder / "globe", *settings)
    rest = stations(folder, "rest", without=["NET/S2"])
    assert open_cube(rest)["cell_name"].to_numpy().tolist() == ["NET/S0", "NET/S1", "NET/S3"]
    tuned = quick(rest, folder / "tuned", *settings, init=folder / "globe")
    assert not torch.equal(*(next(iter(run.networks[0].parameters())) for run in (globe, tuned)))
    left_out = stations(folder, "left-out", only=["NET/S2"])
    assert open_cube(left_out).sizes["cell"] == 1
    for run in ("globe", "tuned"):
        assert np.isfinite(forecast(folder / run, left_out, folder / f"forecast-{run}")["swvl1"]).any()
    found = verdict([folder / "forecast-globe", folder / "forecast-tuned"], left_out, folder / "verdict")
    assert found.sizes["forecast"] == 2
    assert np.isfinite(found["rmse"]).all()


@pytest.mark.slow
def test_stations_without_weather_and_unknown_names_are_refused(folder: Path, tmp_path: Path) -> None:
    far = MadeSensor(np.datetime64("2018-01-01", "h") + np.arange(96), np.full(96, 0.2), lat=-80.0, lon=0.0)
    write_sensor(tmp_path, far)
    for options, words in (
        ({"weather": folder / "grid"}, "lies in none of its cells"),
        ({"only": ["NET/Elm"]}, "did you mean NET/Oak"),
        ({"without": ["NET/Oak"]}, "leave no station"),
    ):
        with pytest.raises(SoilcastError, match=words):
            prepare("stations", tmp_path, out=tmp_path / "out", **options)
