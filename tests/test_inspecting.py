"""What `inspect` writes of forecasts and of scores, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import write_dataset
from soilcast.errors import SoilcastError
from soilcast.inspecting import inspect
from soilcast.verify import evaluate, summarise
from tests.helpers.forecast_factory import LEADS, LEVELS, made_cube, made_forecast


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_cube(tmp_path_factory.mktemp("cube") / "cube")


def row_of(table: str, model: str) -> list[str]:
    """Numbers of a model's row in a printed table."""
    return next(line for line in table.splitlines() if line.startswith(model)).removeprefix(model).split()


@pytest.mark.parametrize("name", ["forecast", "forecast.nc"])
def test_a_forecast_of_several_days(cube: Path, tmp_path: Path, name: str) -> None:
    def with_more(forecast: xr.Dataset) -> xr.Dataset:
        forecast["swvl2"][0, :4] = np.nan
        return forecast.assign(swvl1_drought=forecast["swvl1"])

    options = {"leads": LEADS, "levels": LEVELS, "targets": ("swvl1", "swvl2"), "weather": "forecast"}
    text = inspect(made_forecast(tmp_path / name, cube, **options, latency_days=5, change=with_more))
    for words in (
        "forecast: a made forecast",
        "content: random numbers",
        "8 cells of a 4 x 3 grid, 89 issue day(s): 2020-03-31 .. 2020-06-27",
        "leads 1 .. 3 days (3); observation latency 5 d; weather of the forecast days: forecast",
        "trained on 2019-01-01:2019-12-31, validated on 2020-01-01:2020-03-31",
        "swvl1: 2,136 of 2,136 cell-days forecast",
        "swvl2: 2,124 of 2,136 cell-days forecast",
        "with swvl1_drought",
        "with swvl2_quantile",
        "quantiles: 0.05, 0.25, 0.5, 0.75, 0.95",
    ):
        assert words in text


def test_a_forecast_of_the_next_day(cube: Path, tmp_path: Path) -> None:
    text = inspect(made_forecast(tmp_path / "forecast", cube))
    assert "91 issue day(s): 2020-03-31 .. 2020-06-29" in text
    assert "lead 1 day(s); observation latency 0 d; weather of the forecast days: none" in text
    assert "swvl1: 728 of 728 cell-days forecast" in text
    assert "quantiles" not in text


@pytest.mark.slow
def test_scores_of_the_next_day_are_one_table_a_target(cube: Path, tmp_path: Path) -> None:
    made = made_forecast(tmp_path / "forecast", cube, targets=("swvl1", "swvl2"))
    scores = evaluate([made], cube, tmp_path / "scores")
    text = inspect(tmp_path / "scores")
    assert "scores: a made cube" in text
    assert "test period: 2020-04-01:2020-06-30; 91 issue days; 7 of 8 cells scored" in text
    shown = ["r", "rmse", "ubrmse", "bias", "r2", "kge", "skill", "consistency_w1", "consistency_w2"]
    for target in ("swvl1", "swvl2"):
        table = text.partition(f"{target}, median over the cells by area:")[2]
        assert table.splitlines()[1].split() == shown
        medians = summarise(scores).loc[("LSTM", target, 1), [f"{name}_median" for name in shown]]
        assert row_of(table, "LSTM") == [f"{value:.4f}".replace("nan", "NaN") for value in medians]
        assert row_of(table, "persistence")[6] == "0.0000"


@pytest.mark.slow
def test_scores_of_several_days_are_tables_by_lead(cube: Path, tmp_path: Path) -> None:
    made = [
        made_forecast(tmp_path / "a", cube, leads=LEADS, levels=LEVELS, targets=("swvl1", "swvl2"), latency_days=5),
        made_forecast(tmp_path / "b", cube, leads=LEADS, label="point", targets=("swvl1", "swvl2"), latency_days=5),
    ]
    scores = evaluate(made, cube, tmp_path / "scores")
    text = inspect(tmp_path / "scores")
    assert "leads 1 .. 3 days (3); observation latency 5 d;" in text
    assert "weather of the forecast days: none" in text
    table = summarise(scores)
    for target in ("swvl1", "swvl2"):
        for name, statistic, words in (
            ("ratio", "median", "RMSE relative to persistence, median over the cells by area, by lead [d]:"),
            ("crps", "median", "CRPS [m3 m-3], median over the cells by area, by lead [d]:"),
            (
                "coverage_90",
                "mean",
                "share of days within the 90 % interval, mean over the cells by area, by lead [d]:",
            ),
        ):
            shown = text.partition(f"{target}, {words}")[2]
            expected = [f"{table.loc[('LSTM', target, lead), f'{name}_{statistic}']:.4f}" for lead in (1, 2, 3)]
            assert row_of(shown, "LSTM") == expected
    last = text.partition("swvl2, share of days within the 90 % interval")[2]
    assert "point" not in last  # without quantiles there is nothing to tell
    evaluate(made[1:], cube, tmp_path / "point")
    assert "interval" not in inspect(tmp_path / "point")


@pytest.mark.parametrize("kind", ["forecast", "scores"])
def test_what_a_bare_one_lacks_is_named(tmp_path: Path, kind: str) -> None:
    bare = xr.Dataset(attrs={"soilcast_kind": kind, "soilcast_format": 4})
    write_dataset(bare, tmp_path / "bare.nc", netcdf=True)
    with pytest.raises(SoilcastError, match=r"bare\.nc: title, content.*lead.* is missing"):
        inspect(tmp_path / "bare.nc")


def test_a_target_that_is_not_there_is_named(cube: Path, tmp_path: Path) -> None:
    made = made_forecast(tmp_path / "f.nc", cube, change=lambda one: one.assign_attrs(targets="swvl1,swvl3"))
    with pytest.raises(SoilcastError, match=r"f\.nc: swvl3 is missing"):
        inspect(made)


def test_something_else_is_refused(tmp_path: Path) -> None:
    xr.Dataset().to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(
        SoilcastError,
        match=r"a cube or a forecast or a scores or a verdict or a weather archive is expected, but this is n",
    ):
        inspect(tmp_path / "other.nc")
