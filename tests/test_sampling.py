"""Point sampling: which cell-days are drawn, and that a window holds the days before the forecast and no other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from small import small_cube
from soilcast.training.config import Config, InputsConfig, NormaliseConfig
from soilcast.training.inputs import fit_scalings, load_inputs
from soilcast.training.samples import SAMPLERS, CellDays, draw_cell_days, draw_shared_days, fixed_sample, gather_windows


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_only_usable_cell_days_are_drawn(name: str) -> None:
    usable = np.random.default_rng(0).random((20, 50)) < 0.1
    draw = SAMPLERS[name](CellDays(usable), 40, 16, np.random.default_rng(1))
    assert draw.cells.shape == draw.days.shape == (40, 16)
    assert usable[draw.cells, draw.days].all()


def test_cell_days_are_drawn_uniformly() -> None:
    usable = np.ones((5, 8), dtype=bool)
    usable[2] = False
    draw = draw_cell_days(CellDays(usable), 100, 320, np.random.default_rng(2))
    counts = np.zeros((5, 8))
    np.add.at(counts, (draw.cells.ravel(), draw.days.ravel()), 1)
    assert counts[2].sum() == 0
    # 1000 expected in each of 32 boxes: a chi-square above 80 has a chance below 1e-5.
    assert ((counts[usable] - 1000) ** 2 / 1000).sum() < 80


def test_a_shared_day_is_one_day_a_batch() -> None:
    draw = draw_shared_days(CellDays(np.ones((30, 40), dtype=bool)), 25, 16, np.random.default_rng(3))
    assert (draw.days == draw.days[:, :1]).all()
    assert len(np.unique(draw.days)) > 5


@given(st.integers(0, 60), st.integers(0, 5))
def test_the_fixed_sample_is_complete_or_without_repetition(largest: int, seed: int) -> None:
    usable = np.random.default_rng(4).random((6, 8)) < 0.7
    draw = fixed_sample(CellDays(usable), largest, seed)
    pairs = set(zip(draw.cells.tolist(), draw.days.tolist(), strict=True))
    total = int(usable.sum())
    assert len(pairs) == len(draw.cells) == (largest if 0 < largest < total else total)
    assert usable[draw.cells, draw.days].all()
    again = fixed_sample(CellDays(usable), largest, seed)
    np.testing.assert_array_equal(draw.cells, again.cells)


@settings(deadline=None)
@given(st.integers(1, 6), st.data())
def test_windows_hold_the_days_before_the_forecast(length: int, data: st.DataObject) -> None:
    cells, days = 4, 20
    dynamic = torch.arange(cells * days * 2, dtype=torch.float32).reshape(cells, days, 2)
    static = torch.arange(cells * 3, dtype=torch.float32).reshape(cells, 3)
    cell = data.draw(st.integers(0, cells - 1))
    day = data.draw(st.integers(length, days))
    windows = gather_windows(dynamic, static, torch.tensor([cell]), torch.tensor([day]), length)
    assert windows.shape == (length, 1, 5)
    for step in range(length):
        expected = torch.cat((dynamic[cell, day - length + step], static[cell]))
        assert torch.equal(windows[step, 0], expected)


def test_a_missing_input_makes_the_days_after_it_unready() -> None:
    cube = small_cube(cells=4, days=40)
    rain = cube["tp"].to_numpy().copy()
    rain[1, 20] = np.nan
    clay = cube["clay"].to_numpy().copy()
    clay[3] = np.nan
    cube = cube.assign(tp=(("cell", "time"), rain), clay=(("cell",), clay))
    scalings = fit_scalings(cube, InputsConfig(), NormaliseConfig(), slice(0, 40))
    ready = load_inputs(cube, InputsConfig(), scalings).ready
    assert not ready[:, :7].any()
    assert ready[0, 7:].all()
    np.testing.assert_array_equal(np.flatnonzero(~ready[1, 7:]) + 7, range(21, 28))
    assert not ready[3].any()


def test_statistics_come_from_the_training_days_alone() -> None:
    cube = small_cube(cells=4, days=60)
    changed = cube.copy(deep=True)
    for name in ("t2m", "tp", "swvl1"):
        changed[name][:, 30:] = changed[name][:, 30:] * 1.1
    config = Config()
    before = fit_scalings(cube, config.inputs, config.normalise, slice(0, 30))
    after = fit_scalings(changed, config.inputs, config.normalise, slice(0, 30))
    for name in before:
        np.testing.assert_array_equal(before[name].offset, after[name].offset)
        np.testing.assert_array_equal(before[name].scale, after[name].scale)
