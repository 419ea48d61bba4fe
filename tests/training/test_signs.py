"""What guides a training: after Eq. 13 the observed sign, and of a placebo as many signs as of the balance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import open_cube, save_cube
from soilcast.training import inputs, load_config
from soilcast.training.dataset import Dataset, make_dataset
from soilcast.training.split import split_days
from tests.helpers.small import small_cube

SEVERAL = ("task.lead_days=3", "task.lags=[swvl1]", "task.layers=[swvl1,swvl2]", "water.deep_layers=[swvl3]")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[xr.Dataset]:
    path = tmp_path_factory.mktemp("signs") / "cube"
    made = small_cube(cells=10, days=800)
    moisture = made["swvl1"].to_numpy().copy()
    moisture[:, 100:110] = moisture[:, 99:100]  # ties
    moisture[3, 150:160] = np.nan
    moisture[7] = 0.25  # never to be learnt: all ties
    save_cube(made.assign(swvl1=(("cell", "time"), moisture, made["swvl1"].attrs)), path)
    with open_cube(path) as opened:
        yield opened


def dataset(cube: xr.Dataset, *settings: str, model: str = "phy-lstm", folder: Path | None = None) -> Dataset:
    config = load_config(settings=["water.sign=inflow", "water.snow=closing", *settings], model=model)
    return make_dataset(cube, config, split_days(cube["time"].to_numpy(), config.split, "cube"), folder)


def observed_change(cube: xr.Dataset, made: Dataset) -> np.ndarray:
    days = slice(made.first, made.first + made.samples.water_sign.shape[1])
    return np.diff(cube["swvl1"].to_numpy()[:, days].astype(np.float64), axis=1, prepend=np.nan)


@pytest.mark.parametrize("ties", ["keep", "drop"])
@pytest.mark.parametrize("several", [(), SEVERAL], ids=["one day", "several days"])
def test_a_placebo_has_as_many_signs_as_its_balance_and_all_are_observed(
    cube: xr.Dataset, ties: str, several: tuple[str, ...]
) -> None:
    settings = (f"water.ties={ties}", *several)
    made = {
        placebo: dataset(cube, *settings, f"water.placebo={placebo}", model="phys-lstm")
        for placebo in ("none", "observed", "coin_toss")
    }
    shares = {placebo: one.water_sign_share for placebo, one in made.items()}
    assert 0.6 < shares["none"] < 0.95
    # About 3,000 cell-days, on which the number of signs scatters by less than 0.01.
    assert shares["observed"] == pytest.approx(shares["none"], abs=0.03)
    assert shares["coin_toss"] == pytest.approx(0.5, abs=0.03)
    for one in made.values():
        signs, change = one.samples.water_sign.numpy(), observed_change(cube, one)
        moves = (signs != 0) & (change != 0)
        np.testing.assert_array_equal(signs[moves], np.sign(change)[moves])
        assert (signs[change == 0] != 0).any() == (ties == "keep")
        assert not signs[~np.isfinite(change)].any()


@pytest.mark.parametrize("placebo", ["observed", "coin_toss"])
def test_blocks_and_files_do_not_change_a_placebo(
    cube: xr.Dataset, placebo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dataset(cube, f"water.placebo={placebo}").samples.water_sign.numpy()
    monkeypatch.setattr(inputs, "BLOCK_BYTES", 3 * 4 * 8 * 450)
    assert len(list(inputs.cell_blocks(10, whole.shape[1], 8))) > 2
    mapped = dataset(cube, f"water.placebo={placebo}", folder=tmp_path / "samples")
    np.testing.assert_array_equal(mapped.samples.water_sign.numpy(), whole)


def test_a_placebo_without_guidance_is_refused() -> None:
    with pytest.raises(Exception, match=r"water\.placebo has no effect while loss\.balance is none"):
        load_config(settings=["water.placebo=coin_toss"])
