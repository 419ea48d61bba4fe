"""Training as users rely on it: the same seed gives the same bits, the best weights stay, faults are named."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from small import small_cube
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.training import load_config, open_run, train
from soilcast.training.config import Config, TrainConfig
from soilcast.training.learner import Learner
from soilcast.training.loop import Watch, train_networks
from soilcast.training.ranks import Ranks
from soilcast.training.samples import CellDays, Draw, Samples
from soilcast.water.losses import LOSSES, Outcome

QUICK = ["train.epochs=4", "train.validate_every=2", "train.batches_per_epoch=10", "network.hidden_size=8"]


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("training") / "cube"
    save_cube(small_cube(cells=10, days=800), path)
    return path


def quick(model: str = "lstm", *settings: str) -> Config:
    return load_config(settings=[*QUICK, *settings], model=model)


@pytest.mark.parametrize("model", ["lstm", "phy-lstm", "phys-lstm"])
def test_a_run_can_be_opened_and_gives_what_was_trained(cube: Path, tmp_path: Path, model: str) -> None:
    trained = train(cube, tmp_path / "run", quick(model))
    opened = open_run(tmp_path / "run")
    assert opened.config == trained.config
    assert opened.log == trained.log == [json.loads(line) for line in (tmp_path / "run/log.jsonl").open()]
    assert {file.name for file in (tmp_path / "run").iterdir()} == {
        "config.yaml",
        "weights.safetensors",
        "log.jsonl",
        "run.json",
    }
    inputs = torch.randn(5, 7, 14)
    assert torch.equal(opened.networks[0](inputs), trained.networks[0](inputs))
    assert [record["epoch"] for record in opened.log] == [1, 2, 3, 4]
    assert [record["validation_loss"] is not None for record in opened.log] == [False, True, False, True]
    if model == "lstm":
        assert opened.record["water_sign_share"] is None
    else:
        assert 0 < opened.record["water_sign_share"] < 1


@pytest.mark.parametrize("sampling", ["cell_days", "shared_day"])
def test_the_same_seed_gives_the_same_bits(cube: Path, tmp_path: Path, sampling: str) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(cube, tmp_path / name, quick("phys-lstm", f"train.seed={seed}", f"train.sampling={sampling}"))
    weights = {name: (tmp_path / name / "weights.safetensors").read_bytes() for name in "abc"}
    assert weights["a"] == weights["b"]
    assert weights["a"] != weights["c"]


def test_training_leaves_the_callers_random_state_and_threads_alone(cube: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    train(cube, tmp_path / "run", quick("lstm", "train.threads=1"))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_a_network_learns(cube: Path, tmp_path: Path) -> None:
    settings = ["train.epochs=20", "train.validate_every=5", "train.batches_per_epoch=50", "network.hidden_size=16"]
    run = train(cube, tmp_path / "run", load_config(settings=settings))
    assert run.log[-1]["train_loss"] < 0.8 * run.log[0]["train_loss"]


def test_the_future_does_not_leak_into_training(cube: Path, tmp_path: Path) -> None:
    changed = small_cube(cells=10, days=800)
    for name in changed.data_vars:
        if "time" in changed[name].dims:
            changed[name][:, 434:] = changed[name][:, 434:] * 0.9
    save_cube(changed, tmp_path / "changed")
    for name, path in (("a", cube), ("b", tmp_path / "changed")):
        train(path, tmp_path / name, quick("phys-lstm"))
    # Day 434 is the first of the test year: 800 days less 366.
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_losses_in_physical_space_are_in_soil_moisture_units(cube: Path, tmp_path: Path) -> None:
    normalised = train(cube, tmp_path / "a", quick())
    physical = train(cube, tmp_path / "b", quick("lstm", "loss.space=physical"))
    spread = normalised.scalings["swvl1"].scale
    ratio = physical.log[0]["train_loss"] / normalised.log[0]["train_loss"]
    assert spread.min() * 0.5 < ratio < spread.max() * 2


def fixed_samples(cells: int = 6, days: int = 60) -> tuple[Samples, np.ndarray, Draw]:
    torch.manual_seed(0)
    samples = Samples(
        dynamic=torch.rand(cells, days, 2),
        static=torch.rand(cells, 1),
        target=torch.rand(cells, days),
        water_sign=torch.zeros(cells, days, dtype=torch.int8),
        to_loss_space=torch.tensor([[1.0, 0.0]]).repeat(cells, 1),
        length=7,
    )
    usable = np.zeros((cells, days), dtype=bool)
    usable[:, 7:50] = True
    return samples, usable, Draw(np.repeat(np.arange(cells), 5), np.tile(np.arange(50, 55), cells))


class Drifting(torch.nn.Module):
    """Its validation loss falls, then rises: the weight walks past the best value at the optimiser's pace."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.weight + 0 * inputs[:, 0, 0]


def test_early_stopping_keeps_the_best_weights() -> None:
    samples, usable, validation = fixed_samples()
    target = samples.target.clone()
    # What is learnt lies at 1, what is validated at 0.35: the validation loss is lowest on the way.
    target[:, :50] = 1.0
    target[:, 50:] = 0.35
    samples = Samples(**{**vars(samples), "target": target})
    network = Drifting()
    config = TrainConfig(
        epochs=100, batches_per_epoch=5, batch_size=4, learning_rate=0.01, validate_every=1, patience=3
    )
    records: list[dict[str, object]] = []
    learner = Learner([network], LOSSES["rmse"]((1, 0)), config, Ranks())
    watch = Watch(records.append, lambda words: None)
    training = train_networks(learner, samples, CellDays(usable), validation, config, watch)
    losses = [record["validation_loss"] for record in records]
    assert training.status == "stopped early"
    assert training.members[0].best_epoch == losses.index(min(losses)) + 1
    assert len(records) == training.members[0].best_epoch + 3
    assert training.weights["0.weight"].item() == pytest.approx(0.35, abs=0.03)


def test_validation_is_without_dropout() -> None:
    samples, _, validation = fixed_samples()
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(21, 1), torch.nn.Flatten(0)
    )
    learner = Learner([network], LOSSES["rmse"]((1, 0)), TrainConfig(), Ranks())
    first = learner.judge(samples, validation)
    assert torch.equal(first, learner.judge(samples, validation))
    assert network.training


def test_validation_keeps_dropout_where_that_is_asked_for(cube: Path, tmp_path: Path) -> None:
    logs = []
    for name, kept in (("without", "false"), ("with", "true"), ("again", "true")):
        config = quick("lstm", "network.dropout=0.5", f"train.validation_dropout={kept}")
        logs.append(train(cube, tmp_path / name, config).log)
    validated = [[record["validation_loss"] for record in log] for log in logs]
    assert validated[1] == validated[2]
    assert all(with_it != without for without, with_it in zip(*validated[:2], strict=True) if without is not None)
    # What is drawn for validation takes nothing from what is drawn for training.
    trained = [[record["train_loss"] for record in log] for log in logs]
    assert trained[0] == trained[1]


def test_a_diverging_training_is_named_and_leaves_nothing(cube: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"diverged.*train\.learning_rate"):
        train(cube, tmp_path / "run", quick("lstm", "train.learning_rate=1e38"))
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_with_the_best_weights_so_far(cube: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "soilcast", "train", "--cube", str(cube), "--out", str(tmp_path / "run")]
    for setting in (
        "train.epochs=100000",
        "train.validate_every=2",
        "train.batches_per_epoch=5",
        "train.patience=99999",
    ):
        command += ["--set", setting]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        logs = list(tmp_path.glob("run.unfinished/log.jsonl"))
        if logs and logs[0].read_text().count("\n") > 4:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted after" in said
    assert "Traceback" not in errors
    run = open_run(tmp_path / "run")
    assert run.record["status"] == "interrupted"
    assert run.record["best_epoch"] >= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.unfinished"]


@pytest.mark.parametrize(
    ("change", "settings", "expected"),
    [
        ({"drop": ("q",)}, (), "inputs.dynamic=[t2m,u10,v10,tp,sp,ssrd,strd]"),
        ({"drop": ("clay",)}, (), "inputs.static=[landcover,soil_water_capacity,elevation,sand,silt]"),
        ({"drop": ("e",)}, ("model=phy-lstm",), "no e, which W1 of PHY-LSTM"),
        ({"swvl1": np.full((10, 800), np.nan)}, (), "missing or constant in every cell"),
        ({"swvl1": np.full((10, 800), 0.3)}, (), "missing or constant in every cell"),
        ({"q": np.full((10, 800), np.nan)}, (), "no usable cell-day in the training period"),
        ({}, ("split.test=2031",), "is outside the cube"),
    ],
)
def test_a_cube_that_cannot_be_learnt_from_is_named(
    tmp_path: Path, change: dict[str, object], settings: tuple[str, ...], expected: str
) -> None:
    save_cube(small_cube(cells=10, days=800, **change), tmp_path / "cube")
    with pytest.raises(SoilcastError) as caught:
        train(tmp_path / "cube", tmp_path / "run", load_config(settings=[*QUICK, *settings]))
    assert expected in str(caught.value)
    assert "cube" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["cube"]


def test_cells_without_a_target_are_masked_and_counted(tmp_path: Path) -> None:
    target = small_cube(cells=10, days=800)["swvl1"].to_numpy().copy()
    target[2] = np.nan
    target[5] = 0.25
    save_cube(small_cube(cells=10, days=800, swvl1=target), tmp_path / "cube")
    run = train(tmp_path / "cube", tmp_path / "run", quick())
    assert (run.record["cells_total"], run.record["cells_trained"], run.record["cells_masked"]) == (10, 8, 2)
    np.testing.assert_array_equal(np.flatnonzero(~run.usable), [2, 5])


@pytest.fixture(scope="module")
def good_run(cube: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    train(cube, path, quick())
    return path


@pytest.mark.parametrize("fault", ["truncated", "flipped", "foreign", "gone", "other", "record", "format", "no run"])
def test_a_damaged_or_foreign_run_is_named(good_run: Path, tmp_path: Path, fault: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(good_run, run)
    weights = run / "weights.safetensors"
    content = weights.read_bytes()
    record = json.loads((run / "run.json").read_text())
    if fault == "truncated":
        weights.write_bytes(content[: len(content) // 2])
    elif fault == "flipped":
        weights.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif fault == "foreign":
        weights.write_bytes(b"\x80\x04\x95not safetensors but a pickle")
    elif fault == "gone":
        weights.unlink()
    elif fault == "other":
        (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("hidden_size: 8", "hidden_size: 9"))
    elif fault == "record":
        (run / "run.json").write_text("{")
    elif fault == "format":
        (run / "run.json").write_text(json.dumps(record | {"format": 99}))
    else:
        (run / "run.json").unlink()
    with pytest.raises(SoilcastError, match=str(run)):
        open_run(run)


def test_an_existing_run_is_not_overwritten_unless_asked(cube: Path, good_run: Path) -> None:
    before = (good_run / "run.json").read_bytes()
    with pytest.raises(SoilcastError, match="exists already"):
        train(cube, good_run, quick())
    assert (good_run / "run.json").read_bytes() == before
    assert [path.name for path in good_run.parent.iterdir()] == ["run"]


def test_windows_longer_than_the_days_there_are_named(cube: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"inputs\.sequence_length 500 leaves no day of the training period"):
        train(cube, tmp_path / "run", quick("lstm", "inputs.sequence_length=500"))
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_there_is_said_and_the_cpu_goes_on(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = train(cube, tmp_path / "run", quick("lstm", "train.device=cuda"))
    assert "torch finds no GPU (train.device=cuda): going on with the CPU" in capsys.readouterr().err
    assert json.loads(run.record["provenance"])["device"] == "cpu"
    train(cube, tmp_path / "other", quick("lstm", "train.device=auto"))
    assert capsys.readouterr().err == ""


def test_mixed_precision_stays_near_float32(cube: Path, tmp_path: Path) -> None:
    exact = train(cube, tmp_path / "exact", quick())
    mixed = train(cube, tmp_path / "mixed", quick("lstm", "train.precision=bfloat16"))
    losses = [[record["train_loss"] for record in run.log] for run in (exact, mixed)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert losses[0] != losses[1]
    assert mixed.networks[0].state_dict()["lstm.weight_hh_l0"].dtype == torch.float32


def test_a_loss_of_all_members_together_is_refused(cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Together:
        def __call__(self, outcome: Outcome) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            error = torch.mean((outcome.observed - outcome.predicted) ** 2)
            return error, {"mse": error}

    monkeypatch.setitem(LOSSES, "rmse", lambda weights: Together())
    run = train(cube, tmp_path / "one", quick())
    assert run.log[0]["train_mse"] == run.log[0]["train_loss"]
    with pytest.raises(SoilcastError, match=r"1 number\(s\) for train.ensemble=2.*last axis"):
        train(cube, tmp_path / "two", quick("lstm", "train.ensemble=2"))
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
