"""What a forecast says of how its cells depend on each other: ranks of observations on days that all cells share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from soilcast.cube import open_cube, save_cube
from soilcast.forecasting import forecast
from soilcast.products.indices import distribution_at
from soilcast.training import open_run
from soilcast.training.copula import FEWEST_DAYS, MOST_DAYS, CellRanks, day_ranks, shared_days
from tests.helpers.multiday import CELLS, DAYS, LEADS, quick
from tests.helpers.small import small_cube

ISSUE = "2020-01-20"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranks")
    cube = small_cube(CELLS, DAYS)
    gaps = cube["swvl1"].to_numpy().copy()
    gaps[2, 600:640] = np.nan
    cube["swvl1"] = (cube["swvl1"].dims, gaps, cube["swvl1"].attrs)
    save_cube(cube, path / "cube")
    quick(path / "cube", path / "run", "task.lags=[swvl2]", "head.predict=level", "normalise.scope=global")
    return path


@pytest.mark.slow
def test_ranks_are_those_of_observations_among_the_forecasts_of_validation_days(folder: Path, tmp_path: Path) -> None:
    """Computed here from a forecast over the validation period and the cube."""
    run, cube = open_run(folder / "run"), open_cube(folder / "cube")
    made = forecast(folder / "run", folder / "cube", tmp_path / "made", issue=ISSUE)
    ranks = made["swvl1_cell_rank"]
    assert ranks.dims == ("cell", "template_day", "lead")
    assert ranks.shape[::2] == (CELLS, LEADS)
    validated = forecast(folder / "run", folder / "cube", tmp_path / "val", period=run.record["validation_period"])
    validated = validated.sel(time=made["template_day"].to_numpy())
    days = validated["valid_time"].to_numpy()
    observed = cube["swvl1"].to_numpy()[:, np.searchsorted(cube["time"].to_numpy(), days)]
    levels = validated["quantile"].to_numpy()
    transforms = distribution_at(validated["swvl1_quantile"].to_numpy(), levels, observed)
    for cell in range(CELLS):
        for lead in range(LEADS):
            own, known = transforms[cell, :, lead], np.isfinite(transforms[cell, :, lead])
            found = ranks.to_numpy()[cell, :, lead]
            np.testing.assert_array_equal(found > 0, known)
            assert sorted(found[known]) == list(range(1, known.sum() + 1))
            # Rounding may have neighbours change places; their transforms are then the same but for it.
            by_rank = own[known][np.argsort(found[known])]
            assert (np.diff(by_rank) > -1e-3).all()
    assert (ranks[2] == 0).any(), "a cell without observations on some of the days"
    assert (ranks[0] > 0).all()


def test_every_forecast_has_the_ranks_of_its_cells_and_leads(folder: Path, tmp_path: Path) -> None:
    run = open_run(folder / "run")
    assert run.cell_ranks is not None
    rank = run.cell_ranks.rank[..., 0]
    two = forecast(folder / "run", folder / "cube", tmp_path / "two.nc", issue=ISSUE, leads=2)
    np.testing.assert_array_equal(two["swvl1_cell_rank"], rank[:, :, :2])
    np.testing.assert_array_equal(two["template_day"].to_numpy().astype("datetime64[D]"), run.cell_ranks.issue_day)
    other = small_cube(CELLS, DAYS).isel(cell=[4, 1, 2])
    other["lat"][2] += 1.5
    save_cube(other.drop_vars(["grid_lat", "grid_lon"]).assign_coords(cell_name=("cell", list("abc"))), tmp_path / "c")
    moved = forecast(folder / "run", tmp_path / "c", tmp_path / "moved", issue=ISSUE)
    np.testing.assert_array_equal(moved["swvl1_cell_rank"][:2], rank[[4, 1]])
    assert not moved["swvl1_cell_rank"][2].any(), "a cell that the run does not know"


def test_a_run_from_before_ranks_were_kept_has_none_and_damaged_ones_are_named(folder: Path) -> None:
    arrays = load_file(folder / "run" / "weights.safetensors")
    without = {name: value.numpy() for name, value in arrays.items() if not name.startswith("cell_ranks")}
    assert CellRanks.from_arrays(without, CELLS) is None
    whole = {name: value.numpy() for name, value in arrays.items()}
    found = CellRanks.from_arrays(whole, CELLS)
    assert found is not None
    for changed in (
        {"cell_ranks.rank": whole["cell_ranks.rank"][:, 1:]},
        {"cell_ranks.rank": whole["cell_ranks.rank"] + 9},
    ):
        with pytest.raises(ValueError, match=r"cell_ranks\.rank has"):
            CellRanks.from_arrays({**whole, **changed}, CELLS)
    with pytest.raises(ValueError, match="is of 6 cells"):
        CellRanks.from_arrays(whole, CELLS + 1)


def test_shared_days_are_those_on_which_most_cells_are_known() -> None:
    usable = np.ones((10, 400), dtype=np.bool_)
    usable[:6, 100:300] = False
    found = shared_days(usable, 20)
    assert len(found) == MOST_DAYS == len(set(found))
    assert ((found < 100) | (found >= 300)).all()
    assert (found[0], found[-1]) == (0, 399)
    assert len(shared_days(usable[:, :FEWEST_DAYS], 20)) == FEWEST_DAYS
    assert len(shared_days(usable[:, : FEWEST_DAYS - 1], 20)) == 0
    assert len(shared_days(np.zeros((3, 100), dtype=np.bool_), 20)) == 0
    assert len(shared_days(usable, 1 << 18)) == 25, "many steps for each cell-day: fewer days"


@given(st.lists(st.one_of(st.just(float("nan")), st.floats(-0.5, 1.5)), min_size=1, max_size=60))
def test_ranks_count_the_known_days(transforms: list[float]) -> None:
    values = np.array(transforms)
    found = day_ranks(values[np.newaxis, :, np.newaxis])[0, :, 0]
    known = np.isfinite(values)
    assert (found[~known] == 0).all()
    assert sorted(found[known]) == list(range(1, known.sum() + 1))
    assert (np.diff(values[known][np.argsort(found[known])]) >= 0).all()
