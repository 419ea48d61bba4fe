"""What a training leaves out is counted, named and explained; inputs that a cube lacks are left out or insisted on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from soilcast.cube import PAPER_DYNAMIC, PAPER_STATIC, save_cube
from soilcast.errors import SoilcastError
from soilcast.inspecting import inspect
from soilcast.training import Run, load_config, open_run, train
from tests.helpers.small import small_cube

CELLS, DAYS = 4, 800
QUICK = ("train.epochs=1", "train.validate_every=1", "train.batches_per_epoch=2", "network.hidden_size=4")


def world(path: Path, change: Callable[[xr.Dataset], None] = lambda cube: None, drop: tuple[str, ...] = ()) -> Path:
    """Save a small cube of named places."""
    cube = small_cube(CELLS, DAYS, grid=False, drop=drop)
    change(cube)
    save_cube(cube, path)
    return path


def learn(cube: Path, *settings: str, model: str = "lstm") -> tuple[Run, list[str]]:
    """Train for a moment and give the run with the lines that were logged."""
    lines: list[str] = []
    config = load_config(settings=[*QUICK, *settings], model=model)
    return train(cube, cube.parent / "run", config, log=lines.append), lines


def missing(name: str, cell: int, days: slice = slice(None)) -> Callable[[xr.Dataset], None]:
    def change(cube: xr.Dataset) -> None:
        cube[name].values[(cell, days) if "time" in cube[name].dims else cell] = np.nan

    return change


def constant(cube: xr.Dataset) -> None:
    cube["swvl1"].values[2] = 0.25


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (missing("clay", 1), "1 of 4 cells left out of training: clay is missing (place-001)"),
        (missing("t2m", 3), "1 of 4 cells left out of training: t2m is missing on all days (place-003)"),
        (missing("swvl1", 0), "1 of 4 cells left out of training: swvl1 is missing on all training days (place-000)"),
        (
            missing("swvl1", 0, slice(0, 400)),
            "1 of 4 cells left out of training: swvl1 is missing on all training days (place-000)",
        ),
        (constant, "1 of 4 cells left out of training: swvl1 is constant on the training days (place-002)"),
    ],
)
def test_a_cell_that_is_left_out_is_named_with_the_reason(
    tmp_path: Path, change: Callable[[xr.Dataset], None], expected: str
) -> None:
    run, lines = learn(world(tmp_path / "cube", change), "split.development=2018-01-01:2019-03-01")
    assert expected in lines
    assert run.record["cells_trained"] == 3
    assert open_run(tmp_path / "run").record["notes"] == lines
    assert f"note: {expected}" in inspect(tmp_path / "run")


def test_gaps_in_the_weather_are_counted_with_what_they_cost(tmp_path: Path) -> None:
    def change(cube: xr.Dataset) -> None:
        for name in ("tp", "q"):
            cube[name].values[1, 10:400:20] = np.nan
        cube["sp"].values[2, 17] = np.nan

    _, lines = learn(world(tmp_path / "cube", change))
    _, whole = learn(world(tmp_path / "whole" / "cube"))
    days = DAYS - 366
    gaps = [line for line in lines if "missing on" in line]
    assert [line.partition(" (")[0] for line in gaps] == [
        f"tp, q missing on 20 of {CELLS * days:,} cell-days",
        f"sp missing on 1 of {CELLS * days:,} cell-days",
    ]
    assert "(place-001)" in gaps[0]
    assert not any("missing on" in line for line in whole)
    kept = next(line for line in lines if line.startswith("training: 4 of 4 cells"))
    assert kept != next(line for line in whole if line.startswith("training: 4 of 4 cells"))


def test_days_without_soil_moisture_are_counted(tmp_path: Path) -> None:
    _, lines = learn(world(tmp_path / "cube", missing("swvl1", 1, slice(20, 50))), "split.development=2018")
    assert f"swvl1 missing on 30 of {CELLS * 274:,} cell-days of training (place-001)" in lines


def test_cells_without_days_of_their_own_in_the_test_period_are_named(tmp_path: Path) -> None:
    _, lines = learn(world(tmp_path / "cube", missing("swvl1", 2, slice(400, None))))
    (line,) = (line for line in lines if "test period" in line)
    assert line.startswith("1 of 4 cells have no swvl1 in the test period")
    assert "(place-002)" in line


def test_inputs_are_by_default_those_of_the_paper_that_the_cube_has(tmp_path: Path) -> None:
    run, lines = learn(world(tmp_path / "cube", drop=("q", "sp", "clay")))
    task = run.config.task
    assert task.dynamic == tuple(name for name in PAPER_DYNAMIC if name not in ("q", "sp"))
    assert task.static == tuple(name for name in PAPER_STATIC if name != "clay")
    (line,) = (line for line in lines if "auto" in line)
    assert "the cube lacks sp, q, clay" in line
    written = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["task"]
    assert (written["dynamic"], written["static"]) == (list(task.dynamic), list(task.static))
    assert not any("auto" in line for line in learn(world(tmp_path / "whole" / "cube"))[1])


def test_all_that_is_missing_is_named_at_once_with_a_command_that_works(tmp_path: Path) -> None:
    cube = world(tmp_path / "cube", drop=("q", "clay", "e", "sro", "ro"))
    insisting = ("task.dynamic=paper", "task.static=paper")
    with pytest.raises(SoilcastError) as caught:
        learn(cube, *insisting, model="phy-lstm")
    message = str(caught.value)
    assert "\n" not in message
    for name in ("no q, which is in task.dynamic", "no clay, which is in task.static", "no e, sro, which W1"):
        assert name in message
    words = message.partition(": use ")[2].partition(", or other")[0].split(" ")
    options = [word for word in words if word != "--set"]
    assert learn(cube, *insisting, *options, model="phy-lstm")[0].record["cells_trained"] == 4


@pytest.mark.parametrize(
    "settings",
    [
        ("task.dynamic=[]", "task.lags=[swvl1]"),
        ("task.dynamic=[]", "task.static=[]", "task.calendar=true"),
        ("task.dynamic=[]", "task.static=[]", "task.calendar=true", "task.lags=[swvl1]", "head.predict=change"),
    ],
)
def test_lags_and_calendar_alone_can_be_learnt_from(tmp_path: Path, settings: tuple[str, ...]) -> None:
    weather = ("t2m", "u10", "v10", "tp", "sp", "q", "ssrd", "strd")
    run, _ = learn(world(tmp_path / "cube", drop=weather), *settings)
    assert run.config.task.dynamic == ()
    assert run.record["cells_trained"] == CELLS


def test_without_any_input_of_the_paper_the_inputs_are_asked_for(tmp_path: Path) -> None:
    cube = world(tmp_path / "cube", drop=PAPER_DYNAMIC)
    with pytest.raises(SoilcastError, match=r"no t2m, u10, .*name others in task\.dynamic"):
        learn(cube)


def test_an_input_that_hardly_varies_in_a_cell_is_named(tmp_path: Path) -> None:
    def change(cube: xr.Dataset) -> None:
        cube["tp"].values[1, :500] = 0.0
        cube["tp"].values[1, 40] = 1e-5

    _, lines = learn(world(tmp_path / "cube", change))
    assert any(line.startswith("tp hardly varies on the training days in 1 of 4 cells (place-001)") for line in lines)
