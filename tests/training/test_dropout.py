"""Dropout where it is sampled in forecasts: reproducible, the same in any block, and as wide as it should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from soilcast.cube import save_cube
from soilcast.forecasting import forecast
from soilcast.training import Run
from soilcast.training.predictor import Predictor
from tests.helpers.multiday import AHEAD, CELLS, DAYS, quick
from tests.helpers.small import small_cube

MC = ("network.mc_dropout=5", "network.dropout=0.4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dropout")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("settings", [(), (AHEAD, "train.ensemble=2"), ("task.lags=[]", "head.predict=level")])
def test_samples_of_dropout_are_the_same_again_and_in_any_block(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    quick(folder / "cube", tmp_path / "run", *MC, *settings)
    monkeypatch.setattr("soilcast.forecasting.block._AT_ONCE", {way: {"cpu": 100} for way in (True, False)})
    made = {}
    for name, cells in (("whole", 6), ("again", 6), ("in twos", 2), ("in fours", 4)):
        monkeypatch.setattr("soilcast.forecasting.produce.block_size", lambda *_, most=cells: most)
        made[name] = forecast(tmp_path / "run", folder / "cube", tmp_path / name).load()
    for name in ("again", "in twos", "in fours"):
        for variable in ("swvl1", "swvl1_quantile"):
            np.testing.assert_array_equal(made[name][variable], made["whole"][variable])


def run_of(folder: Path, out: Path, *settings: str) -> Run:
    return quick(folder / "cube", out, *settings, "train.threads=1")


@pytest.mark.slow
def test_samples_of_dropout_are_pooled(folder: Path, tmp_path: Path) -> None:
    run = run_of(folder, tmp_path / "run", *MC)
    plain = run.config.model_copy(update={"network": run.config.network.model_copy(update={"mc_dropout": 0})})
    layout = run.networks[0].design.layout
    windows = torch.rand(1, layout.steps, 20, layout.features)
    scale = torch.ones(20, 3, 1)
    device = torch.device("cpu")
    sampled, alone = Predictor(run.networks, run.config, device), Predictor(run.networks, plain, device)
    first, other, again = (sampled.from_windows(windows, scale, number) for number in (1, 2, 1))
    assert torch.equal(first.centre, again.centre)
    assert not torch.equal(first.centre, other.centre)
    without = alone.from_windows(windows, scale, 1)
    assert not torch.equal(first.centre, without.centre)
    # A point without dropout has no width of its own; samples of it have.
    assert (without.errors == 0).all()
    assert (first.errors[..., -1] > first.errors[..., 0]).all()
    many = run.config.network.model_copy(update={"mc_dropout": 1000})
    drawn = Predictor(run.networks, run.config.model_copy(update={"network": many}), device)
    spread = (drawn.from_windows(windows, scale, 1).centre - without.centre).abs()
    # What is dropped is made up for: the mean of many samples is what the network gives without.
    assert spread.mean() < 0.3 * (first.centre - without.centre).abs().mean()


def test_dropout_changes_the_training_and_not_a_forecast_without_samples(folder: Path, tmp_path: Path) -> None:
    without = run_of(folder, tmp_path / "a", "network.dropout=0")
    dropped = run_of(folder, tmp_path / "b", "network.dropout=0.4")
    assert without.log[0]["train_loss"] != dropped.log[0]["train_loss"]
    made = [forecast(tmp_path / "b", folder / "cube", tmp_path / name) for name in ("one", "two")]
    np.testing.assert_array_equal(made[0]["swvl1"], made[1]["swvl1"])
