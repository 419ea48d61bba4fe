"""train.refit: validation days say how long to train, and then are learnt from too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from soilcast.cube import save_cube
from soilcast.training import Run, load_config, open_run, train
from soilcast.training.config import Config
from tests.helpers.multiday import CELLS, DAYS, QUICK, changed_cube
from tests.helpers.processes import bits, stop_at
from tests.helpers.small import small_cube

EPOCHS, MEMBERS = 5, 2
REFIT = (*QUICK, f"train.epochs={EPOCHS}", f"train.ensemble={MEMBERS}", "train.threads=1")
PERIODS = ("split.train=2018-01-11:2019-08-23", "split.validation=2019-08-24:2019-12-31")


def config(*changes: str) -> Config:
    return load_config(settings=[*REFIT, *PERIODS, *changes], model="lstm")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("refit") / "cube"
    save_cube(small_cube(CELLS, DAYS), path)
    return path


@pytest.fixture(scope="module")
def refit(cube: Path) -> Run:
    return train(cube, cube.with_name("refit"), config("train.refit=true"))


@pytest.fixture(scope="module")
def once(cube: Path) -> Run:
    return train(cube, cube.with_name("once"), config())


def weights(run: Run) -> list[torch.Tensor]:
    return [parameter for network in run.networks for parameter in network.parameters()]


def test_only_the_networks_are_anew(refit: Run, once: Run) -> None:
    assert not any(torch.equal(*pair) for pair in zip(weights(refit), weights(once), strict=True))
    assert [line["validation_loss"] for line in refit.log] == [line["validation_loss"] for line in once.log]
    assert refit.record["refit_epochs"] == refit.record["best_epoch"] == once.record["best_epoch"]
    assert "refit_epochs" not in once.record
    assert refit.calibration is not None
    assert once.calibration is not None
    np.testing.assert_array_equal(refit.calibration.shift, once.calibration.shift)


@pytest.mark.slow
def test_validation_days_are_learnt_from_and_test_days_are_not(cube: Path, refit: Run, tmp_path: Path) -> None:
    test = slice(730, DAYS)
    for name, days, same in (("test", test, True), ("validation", slice(660, 729), False)):
        changed = changed_cube(tmp_path / name, 0, days=days)
        again = train(changed, tmp_path / f"{name}-run", config("train.refit=true"))
        equal = [torch.equal(*pair) for pair in zip(weights(again), weights(refit), strict=True)]
        assert all(equal) if same else not any(equal)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [EPOCHS, EPOCHS + 2])
def test_interrupted_it_goes_on_with_the_same_bits(cube: Path, refit: Run, tmp_path: Path, epoch: int) -> None:
    """In the first training, and in the one on all development days."""
    del refit
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, (epoch - 1) * MEMBERS + 1)
        stopped = train(cube, out, config("train.refit=true"))
    assert stopped.record["status"] == "interrupted"
    assert "refit_epochs" not in stopped.record
    train(cube, out, config("train.refit=true"), resume=True)
    assert bits(out) == bits(cube.with_name("refit"))
    assert open_run(out).record["status"] == open_run(cube.with_name("refit")).record["status"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
