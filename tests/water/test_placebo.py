"""Placebos: signs without any water data, the same for a cell and a day however they are read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.water import PLACEBOS, draw_uniform, mask_observed
from tests.helpers.small import few

CUBE = few(cells=6, days=300)
UNIFORM = draw_uniform(CUBE)


def test_a_coin_toss_has_both_sides_alike() -> None:
    signs = PLACEBOS["coin_toss"](np.zeros_like(UNIFORM), UNIFORM, 1.0)
    assert set(np.unique(signs)) == {-1, 1}
    # 1,800 tosses: the standard deviation of their mean is 0.024.
    assert abs(signs.mean()) < 0.1
    assert np.abs(np.corrcoef(signs)[np.triu_indices(6, 1)]).max() < 0.25
    assert abs(np.mean(signs[:, 1:] * signs[:, :-1])) < 0.1


@settings(deadline=None)
@given(st.permutations(range(6)), st.integers(1, 6), st.integers(0, 290), st.integers(1, 300))
def test_the_same_cell_and_day_are_drawn_the_same(order: list[int], cells: int, first: int, days: int) -> None:
    part = CUBE.isel(cell=order[:cells], time=slice(first, first + days))
    np.testing.assert_array_equal(draw_uniform(part), UNIFORM[order[:cells], first : first + days])


def test_a_place_is_the_same_whatever_the_way_its_longitude_is_counted() -> None:
    turned = CUBE.assign_coords(lon=CUBE["lon"] + 360.0, lat=CUBE["lat"] + 1e-9)
    np.testing.assert_array_equal(draw_uniform(turned), UNIFORM)
    moved = CUBE.assign_coords(lon=CUBE["lon"] + 0.1)
    assert (draw_uniform(moved) != UNIFORM).all()


def test_placebos_by_hand() -> None:
    change = np.array([[np.nan, 0.1, -0.1, 0.1, -0.1, 0.0, 0.0, 0.0]])
    uniform = np.array([[0.1, 0.1, 0.6, 0.7, 0.9, 0.1, 0.5, 0.9]])
    np.testing.assert_array_equal(PLACEBOS["coin_toss"](change, uniform, 1.0), [[1, 1, -1, -1, -1, 1, -1, -1]])
    # Signs where the number is below 0.8; where nothing changes +1 below 0.4 and -1 above.
    np.testing.assert_array_equal(PLACEBOS["observed"](change, uniform, 0.8), [[0, 1, -1, 1, 0, 1, -1, 0]])


@pytest.mark.parametrize("placebo", PLACEBOS)
@pytest.mark.parametrize("ties", ["keep", "drop"])
def test_what_equation_13_keeps_is_the_observed_sign(placebo: str, ties: str) -> None:
    observed = np.round(CUBE["swvl1"].to_numpy().astype(np.float64), 2)  # with days that do not change
    change = np.diff(observed, axis=1, prepend=np.nan)
    before = PLACEBOS[placebo](change, UNIFORM, 0.7)
    signs = mask_observed(before, observed, ties)  # type: ignore[arg-type]
    moves = np.isfinite(change) & (change != 0)
    assert (signs[moves & (signs != 0)] == np.sign(change)[moves & (signs != 0)]).all()
    expected = {"coin_toss": 0.5, "observed": 0.7}[placebo]
    assert np.mean(signs[moves] != 0) == pytest.approx(expected, abs=0.06)
    assert (signs[change == 0] != 0).any() == (ties == "keep")
    assert not signs[np.isnan(change)].any()
