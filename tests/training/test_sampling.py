"""Point sampling: which cell-days are drawn, which can be, and whose days the statistics are of."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from soilcast.task import Task
from soilcast.training.inputs import any_of_next, fit_scalings, load_inputs
from soilcast.training.samples import SAMPLERS, SampleIndex, draw_cell_days, draw_shared_days, fixed_sample
from soilcast.training.sections import NormaliseConfig
from tests.helpers.small import small_cube


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_only_usable_cell_days_are_drawn(name: str) -> None:
    usable = np.random.default_rng(0).random((20, 50)) < 0.1
    draw = SAMPLERS[name](SampleIndex(usable), 40, 16, np.random.default_rng(1))
    assert draw.cells.shape == draw.days.shape == (40, 16)
    assert usable[draw.cells, draw.days].all()


def test_cell_days_are_drawn_uniformly() -> None:
    usable = np.ones((5, 8), dtype=bool)
    usable[2] = False
    draw = draw_cell_days(SampleIndex(usable), 100, 320, np.random.default_rng(2))
    counts = np.zeros((5, 8))
    np.add.at(counts, (draw.cells.ravel(), draw.days.ravel()), 1)
    assert counts[2].sum() == 0
    # 1000 expected in each of 32 boxes: a chi-square above 80 has a chance below 1e-5.
    assert ((counts[usable] - 1000) ** 2 / 1000).sum() < 80


def test_a_shared_day_is_one_day_a_batch() -> None:
    draw = draw_shared_days(SampleIndex(np.ones((30, 40), dtype=bool)), 25, 16, np.random.default_rng(3))
    assert (draw.days == draw.days[:, :1]).all()
    assert len(np.unique(draw.days)) > 5


@given(st.integers(0, 60), st.integers(0, 5))
def test_the_fixed_sample_is_complete_or_without_repetition(largest: int, seed: int) -> None:
    usable = np.random.default_rng(4).random((6, 8)) < 0.7
    draw = fixed_sample(SampleIndex(usable), largest, seed)
    pairs = set(zip(draw.cells.tolist(), draw.days.tolist(), strict=True))
    total = int(usable.sum())
    assert len(pairs) == len(draw.cells) == (largest if 0 < largest < total else total)
    assert usable[draw.cells, draw.days].all()
    again = fixed_sample(SampleIndex(usable), largest, seed)
    np.testing.assert_array_equal(draw.cells, again.cells)


EVERY = np.ones(4, dtype=bool)


def gappy_cube(**missing: slice | int) -> xr.Dataset:
    """A small cube, in whose second cell variables are missing on some days."""
    cube = small_cube(cells=4, days=40)
    for name, days in missing.items():
        values = cube[name].to_numpy().copy()
        values[1, days] = np.nan
        cube[name] = (cube[name].dims, values, cube[name].attrs)
    return cube


def first_days(cube: xr.Dataset, task: Task, leads: int = 1) -> np.ndarray:
    inputs = load_inputs(cube, task, fit_scalings(cube, task, NormaliseConfig(), (slice(0, 40),), EVERY))
    return inputs.first_days(task, leads)


def unusable(cube: xr.Dataset, task: Task, leads: int = 1) -> list[int]:
    """Days that cannot be the first forecast day in the cell with gaps, but can in another."""
    usable = first_days(cube, task, leads)
    return np.flatnonzero(usable[0] & ~usable[1]).tolist()


def test_a_missing_input_makes_the_days_after_it_unready() -> None:
    cube = gappy_cube(tp=20)
    clay = cube["clay"].to_numpy().copy()
    clay[3] = np.nan
    cube = cube.assign(clay=(("cell",), clay))
    ready = load_inputs(cube, Task(), fit_scalings(cube, Task(), NormaliseConfig(), (slice(0, 40),), EVERY)).ready
    assert not ready[:, :7].any()
    assert ready[0, 7:].all()
    np.testing.assert_array_equal(np.flatnonzero(~ready[1, 7:]) + 7, range(21, 28))
    assert not ready[3].any()


@pytest.mark.parametrize(
    ("latency", "first"), [({}, 21), ({"all": 3}, 24), ({"tp": 3}, 24), ({"t2m": 3}, 21), ({"dynamic": 5, "tp": 2}, 23)]
)
def test_a_late_input_is_missed_only_where_its_window_would_know_it(latency: dict[str, int], first: int) -> None:
    assert unusable(gappy_cube(tp=20), Task(latency=latency)) == list(range(first, 28))


def test_what_is_known_ahead_must_be_there_for_all_leads_that_are_forecast() -> None:
    task = Task(lead_days=3, known_future=("tp",))
    assert unusable(gappy_cube(tp=20), task, 3) == list(range(18, 28))
    assert unusable(gappy_cube(tp=20), task, 1) == list(range(20, 28))
    assert unusable(gappy_cube(t2m=20), task, 3) == list(range(21, 28))


def test_a_forecast_needs_its_newest_soil_moisture_and_no_other() -> None:
    task = Task(lags=("swvl1", "swvl2"))
    gaps = gappy_cube(swvl1=slice(20, 23), swvl2=slice(10, 30))
    assert unusable(gaps, task) == [21, 22, 23]
    assert unusable(gaps, Task(lags=("swvl1",), latency={"lags": 2})) == [23, 24, 25]
    assert unusable(gaps, Task(lags=("swvl1",), fill_days=2)) == [23]
    assert unusable(gaps, Task(lags=("swvl2",))) == []
    assert unusable(gaps, Task(layers=("swvl1", "swvl2"), lags=("swvl1", "swvl2"))) == list(range(11, 31))


@given(st.integers(0, 2**32 - 1), st.integers(1, 7))
def test_days_ahead_are_looked_at_as_a_plain_loop_does(seed: int, leads: int) -> None:
    days = np.random.default_rng(seed).random((3, 12)) < 0.6
    padded = np.pad(days, ((0, 0), (0, leads)))
    for every, of in ((True, np.all), (False, np.any)):
        expected = np.stack([of(padded[:, day : day + leads], axis=1) for day in range(12)], axis=1)
        np.testing.assert_array_equal(any_of_next(days, leads, all_days=every), expected)


def test_statistics_come_from_the_training_days_alone() -> None:
    cube = small_cube(cells=4, days=60)
    changed = cube.copy(deep=True)
    for name in ("t2m", "tp", "swvl1", "swvl2"):
        changed[name][:, 30:] = changed[name][:, 30:] * 1.1
    task = Task(lags=("swvl2",))
    before, after, later = (
        fit_scalings(one, task, NormaliseConfig(), (days,), EVERY)
        for one, days in ((cube, slice(0, 30)), (changed, slice(0, 30)), (changed, slice(30, 60)))
    )
    assert set(before) == {*task.dynamic, *task.static, "swvl1", "swvl2"}
    for name in before:
        np.testing.assert_array_equal(before[name].offset, after[name].offset)
        np.testing.assert_array_equal(before[name].scale, after[name].scale)
    assert not np.array_equal(before["swvl2"].scale, later["swvl2"].scale)
