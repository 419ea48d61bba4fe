"""A weight of the water balance that changes over the epochs, by the plan or by the gradients."""

from __future__ import annotations

import json
import operator
from pathlib import Path

import numpy as np
import pytest
import torch

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.models.native import VARIABLE, engines
from soilcast.training import load_config, loop, open_run, train
from soilcast.training.build import build_loss
from soilcast.training.samples import map_tensors
from tests.helpers.small import small_cube
from tests.training.test_steps import batches_of, config_of, learner_of

TINY = (
    "train.epochs=4",
    "train.validate_every=1",
    "train.batches_per_epoch=6",
    "train.batch_size=16",
    "train.validation_samples=100",
    "network.hidden_size=8",
)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adapting") / "cube"
    save_cube(small_cube(cells=6, days=600), path)
    return path


def test_gradients_of_penalty_and_data_loss_are_as_large_as_l2_to_l1() -> None:
    config = config_of("phy-lstm", 9, 0.0, "loss.weights=[0.2,0.6]")
    batch = map_tensors(batches_of(config, 1, 31, scaled=False), operator.itemgetter(0))
    learner = learner_of(config, 1)
    learner.set_strength(learner.gradient_ratio(batch))
    learner.members.train(False)
    output = learner.backend.infer(batch.windows, None)[..., 0].double().flatten()
    targets = {name: value.double().flatten() for name, value in vars(batch.targets).items() if value is not None}
    # By hand in float64: of Eq. 9 and of Eq. 14.
    error = output - targets["observed"]
    rmse = torch.sqrt(torch.mean(error**2))
    of_data = error / (len(error) * rmse)
    against = torch.relu(-targets["water_sign"] * (output - targets["previous"]) * targets["depth"])
    of_penalty = -2 * against * targets["water_sign"] * targets["depth"] / len(error)
    l1, l2 = learner.loss.guidance.weights
    assert l1 == 0.2
    assert l2 * of_penalty.norm() / (l1 * of_data.norm()) == pytest.approx(0.6 / 0.2, rel=1e-4)


def test_without_any_violation_the_weight_stays() -> None:
    config = config_of("phy-lstm", 9, 0.0)
    batch = map_tensors(batches_of(config, 1, 31, scaled=False), operator.itemgetter(0))
    batch.targets.water_sign.zero_()
    assert learner_of(config, 1).gradient_ratio(batch) == 1.0


@pytest.mark.parametrize("adapt", ["decay", "gradients"])
def test_training_adapts_validation_does_not_and_resuming_changes_no_bit(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapt: str
) -> None:
    config = load_config(settings=[*TINY, f"loss.adapt={adapt}"], model="phy-lstm")
    whole = train(cube, tmp_path / "whole", config)
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    if adapt == "decay":
        np.testing.assert_allclose([record["l2"] for record in log], [0.5, 0.375, 0.25, 0.125])
    else:
        assert len({record["l2"] for record in log}) == 4
    for record in log:
        total = 0.5 * record["train_rmse"] + record["l2"] * record["train_physical"]
        assert record["train_loss"] == pytest.approx(total, rel=0.05)

    calls = []

    def interrupted(*args: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return keep(*args)

    keep = loop._take_steps
    monkeypatch.setattr(loop, "_take_steps", interrupted)
    stopped = train(cube, tmp_path / "stopped", config)
    assert stopped.record["status"] == "interrupted"
    monkeypatch.setattr(loop, "_take_steps", keep)
    resumed = train(cube, tmp_path / "stopped", config, resume=True)
    assert [run.record["status"] for run in (whole, resumed)] == ["finished"] * 2
    kept = [open_run(tmp_path / name).record["weights_sha256"] for name in ("whole", "stopped")]
    assert kept[0] == kept[1]


@pytest.mark.skipif(len(engines()) < 1, reason="the native engine was not built")
@pytest.mark.parametrize("adapt", ["decay", "gradients"])
def test_native_and_torch_adapt_alike(cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapt: str) -> None:
    config = load_config(settings=[*TINY, f"loss.adapt={adapt}", "network.dropout=0"], model="phys-lstm")
    logs = []
    for engine in (engines()[0], "torch"):
        monkeypatch.setenv(VARIABLE, engine)
        logs.append(train(cube, tmp_path / engine, config).record["best_validation_loss"])
    assert logs[0] == pytest.approx(logs[1], rel=1e-3)


def test_validation_has_the_fixed_weights(cube: Path) -> None:
    config = config_of("phy-lstm", 9, 0.0)
    learner = learner_of(config, 1)
    learner.set_strength(0.25)
    fixed = build_loss(config)
    assert learner.loss.guidance.weights == (fixed.guidance.weights[0], 0.25 * fixed.guidance.weights[1])
    assert learner._validated.guidance == fixed.guidance


def test_a_weight_that_is_0_cannot_adapt() -> None:
    with pytest.raises(SoilcastError, match=r"loss\.adapt=decay has no effect while l2 of loss\.weights is 0"):
        load_config(settings=["loss.adapt=decay"])
