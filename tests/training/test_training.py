"""Training as users rely on it: the same seed gives the same bits, the best weights stay, faults are named."""

from __future__ import annotations

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.models import NETWORKS, Network, NetworkDesign
from soilcast.models.distributions import Distribution, Point
from soilcast.models.native import VARIABLE
from soilcast.task import Task
from soilcast.training import load_config, open_run, train
from soilcast.training.build import build_loss, build_networks, layout_of
from soilcast.training.checkpoint import Checkpoint
from soilcast.training.config import Config
from soilcast.training.devices import Ranks
from soilcast.training.dropout import DropoutMask
from soilcast.training.learner import Learner
from soilcast.training.loop import _RATES, Training, _plateaus, train_networks
from soilcast.training.losses import LOSSES, Prediction, Targets
from soilcast.training.run_folder import RUN_FORMAT
from soilcast.training.samples import SampleIndex, SampleIndices, Samples
from soilcast.training.sections import NetworkConfig, TrainConfig
from soilcast.training.windows import WindowSource
from tests.helpers.forks import start_command, wait_until
from tests.helpers.small import small_cube

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
    inputs = torch.randn(5, 7, opened.networks[0].design.layout.features)
    assert inputs.shape[-1] == 14
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


@pytest.mark.slow
def test_a_network_learns(cube: Path, tmp_path: Path) -> None:
    settings = ["train.epochs=20", "train.validate_every=5", "train.batches_per_epoch=50", "network.hidden_size=16"]
    run = train(cube, tmp_path / "run", load_config(settings=settings))
    assert run.log[-1]["train_loss"] < 0.8 * run.log[0]["train_loss"]


SEVERAL_DAYS = (
    "task.lead_days=3",
    "task.lags=[swvl1,swvl2]",
    "task.latency={dynamic: 2, tp: 0, lags: 3}",
    "task.known_future=[tp]",
    "task.quantiles=[0.1,0.5,0.9]",
    "head.predict=change",
    "loss.space=persistence",
)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [(), SEVERAL_DAYS], ids=["paper", "several days"])
def test_the_future_does_not_leak_into_training(cube: Path, tmp_path: Path, settings: tuple[str, ...]) -> None:
    changed = small_cube(cells=10, days=800)
    for name in changed.data_vars:
        if "time" in changed[name].dims:
            changed[name][:, 434:] = changed[name][:, 434:] * 0.9
    save_cube(changed, tmp_path / "changed")
    for name, path in (("a", cube), ("b", tmp_path / "changed")):
        train(path, tmp_path / name, quick("phys-lstm", *settings))
    # Day 434 is the first of the test year: 800 days less 366.
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_lags_are_masked_in_training_alone(cube: Path, tmp_path: Path) -> None:
    still = (
        *SEVERAL_DAYS,
        "head.predict=level",
        "network.dropout=0",
        "train.learning_rate=1e-12",
        "train.validate_every=1",
    )
    whole = train(cube, tmp_path / "a", quick("lstm", *still))
    masked = train(cube, tmp_path / "b", quick("lstm", *still, "network.masked_lags=0.5"))
    for one, other in zip(whole.log, masked.log, strict=True):
        assert other["train_loss"] != pytest.approx(one["train_loss"], rel=1e-4)
        assert other["validation_loss"] == pytest.approx(one["validation_loss"], rel=1e-5)


def test_losses_in_physical_space_are_in_soil_moisture_units(cube: Path, tmp_path: Path) -> None:
    normalised = train(cube, tmp_path / "a", quick())
    physical = train(cube, tmp_path / "b", quick("lstm", "loss.space=physical"))
    spread = normalised.statistics.scalings["swvl1"].scale
    ratio = physical.log[0]["train_loss"] / normalised.log[0]["train_loss"]
    assert spread.min() * 0.5 < ratio < spread.max() * 2


SMALL = Config(task=Task(dynamic=("tp", "t2m"), static=("clay",)), network=NetworkConfig(dropout=0.0))


def fixed_samples(cells: int = 6, days: int = 60) -> tuple[Samples, SampleIndex, SampleIndices]:
    torch.manual_seed(0)
    nothing = torch.zeros(cells, days, 0)
    source = WindowSource(
        dynamic=torch.rand(cells, days, 2),
        lags=nothing,
        newest=nothing,
        calendar=torch.zeros(days, 2),
        static=torch.rand(cells, 1),
        rain=torch.zeros(cells, 0, 2),
        physical=torch.zeros(cells, 0),
    )
    observed = torch.rand(cells, days, 1)
    samples = Samples(source, layout_of(SMALL), observed, torch.zeros(cells, days, dtype=torch.int8))
    usable = np.zeros((cells, days), dtype=bool)
    usable[:, 7:50] = True
    validation = SampleIndices(np.repeat(np.arange(cells), 5), np.tile(np.arange(50, 55), cells))
    return samples, SampleIndex(usable), validation


class Drifting(torch.nn.Module):
    """Its validation loss falls, then rises: the weight walks past the best value at the optimiser's pace."""

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__()
        self.hidden_size = design.hidden_size
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.weight + 0 * inputs[..., :1].expand(-1, -1, self.hidden_size), None


def drifting_network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network whose forecast is the one weight of its trunk."""
    monkeypatch.setitem(NETWORKS, "drifting", Drifting)
    network = {"name": "drifting", "hidden_size": 1, "dropout": 0.0}
    (one,) = build_networks(Config.model_validate(SMALL.model_dump() | {"network": network}))
    one.head.linear.weight.data.fill_(1.0)
    one.head.linear.bias.data.zero_()
    one.head.requires_grad_(False)
    return one


@pytest.mark.slow
def test_a_gain_that_is_too_small_ends_the_training_and_its_weights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, usable, validation = fixed_samples()
    samples.observed[:] = 1.0
    options = {"batches_per_epoch": 5, "batch_size": 4, "learning_rate": 0.01, "validate_every": 1, "patience": 3}
    trained = {}
    for smallest in (0.0, 0.5):
        config = TrainConfig(epochs=12, smallest_gain=smallest, freeze=("head",), **options)  # type: ignore[arg-type]
        learner = Learner([drifting_network(monkeypatch)], build_loss(SMALL), config, Ranks())
        note = lambda training, point: None  # noqa: E731
        trained[smallest] = train_networks(learner, samples, usable, validation, config, note, network=SMALL.network)
    assert trained[0.0].status == "finished"
    assert trained[0.5].status == "stopped early"
    assert len(trained[0.5].log) == 4
    # Each loss is lower than the one before, if by too little: the last weights are the best.
    assert trained[0.5].members[0].best_epoch == 4


@pytest.mark.parametrize(
    ("losses", "plateaus"),
    [([], 0), ([3.0, 2.0, 1.0], 0), ([1.0, 2.0], 0), ([1.0, 2.0, 2.0], 1), ([1.0, 1.0, 1.0, 0.5, 0.6, 0.7], 2)],
)
def test_the_learning_rate_is_halved_where_the_loss_stands_still(losses: list[float], plateaus: int) -> None:
    config = TrainConfig(patience=4, schedule="plateau")
    log = [{"validation_loss": one} for loss in losses for one in (None, loss)]
    assert _plateaus(log, config) == plateaus
    assert _RATES["plateau"](0.001, 0.9, plateaus) == 0.001 / 2**plateaus


def test_early_stopping_keeps_the_best_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, usable, validation = fixed_samples()
    # What is learnt lies at 1, what is validated at 0.35: the validation loss is lowest on the way.
    samples.observed[:, :50] = 1.0
    samples.observed[:, 50:] = 0.35
    config = TrainConfig(
        epochs=100,
        batches_per_epoch=5,
        batch_size=4,
        learning_rate=0.01,
        validate_every=1,
        patience=3,
        freeze=("head",),
    )
    records: list[dict[str, object]] = []

    def note(training: Training, point: Checkpoint) -> None:
        records.append(training.log[-1])

    learner = Learner([drifting_network(monkeypatch)], build_loss(SMALL), config, Ranks())
    training = train_networks(learner, samples, usable, validation, config, note, network=SMALL.network)
    losses = [record["validation_loss"] for record in records]
    assert training.status == "stopped early"
    assert training.members[0].best_epoch == losses.index(min(losses)) + 1
    assert len(records) == training.members[0].best_epoch + 3
    assert training.weights["0.trunk.weight"].item() == pytest.approx(0.35, abs=0.03)


def test_early_stopping_by_the_data_loss_keeps_other_weights_than_by_equation_8(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples, usable, _ = fixed_samples()
    # The weight walks from 0 to 1. On the days that are validated soil moisture fell from 0.6 to 0.35 against dW = +1:
    # the RMSE is lowest at 0.35, and Eq. 8 with a heavy water balance just below 0.6.
    samples.observed[:, :49] = 1.0
    samples.observed[:, 49::2] = 0.6
    samples.observed[:, 50::2] = 0.35
    samples.water_sign[:] = 1
    samples = replace(samples, depth=torch.ones(len(samples.observed), 1))
    validation = SampleIndices(np.repeat(np.arange(6), 3), np.tile([50, 52, 54], 6))
    guided = Config.model_validate(SMALL.model_dump() | {"loss": {"balance": "single", "weights": (0.1, 10.0)}})
    options = {"epochs": 100, "batches_per_epoch": 5, "batch_size": 4, "learning_rate": 0.01, "validate_every": 1}
    for monitor, expected in (("loss", 0.595), ("data_loss", 0.35)):
        config = TrainConfig(**options, patience=3, freeze=("head",), monitor=monitor)  # type: ignore[arg-type]
        learner = Learner([drifting_network(monkeypatch)], build_loss(guided), config, Ranks())
        note = lambda training, point: None  # noqa: E731
        training = train_networks(learner, samples, usable, validation, config, note, network=SMALL.network)
        assert training.status == "stopped early"
        assert training.weights["0.trunk.weight"].item() == pytest.approx(expected, abs=0.03)
    # The log holds what is compared: the RMSE without the penalty.
    best = training.log[training.members[0].best_epoch - 1]["validation_loss"]
    assert best == training.best_loss == pytest.approx(0.0, abs=0.03)


def test_validation_is_without_dropout() -> None:
    samples, _, validation = fixed_samples()
    (network,) = build_networks(SMALL)
    learner = Learner([network], build_loss(SMALL), TrainConfig(), Ranks())
    network.train()
    first = learner.evaluate(samples, validation)
    assert torch.equal(first, learner.evaluate(samples, validation))
    assert network.training
    dropout = DropoutMask(0.5, network.mask_shape, [0], 1)
    assert not torch.equal(learner.evaluate(samples, validation, dropout), first)
    windows = samples.gather(validation).windows
    with torch.no_grad():
        levels = network.eval()(windows.transpose(0, 1))[:, 0, 0, 0]
    observed = samples.observed[validation.cells, validation.days, 0]
    torch.testing.assert_close(first[0], ((observed - levels) ** 2).mean().sqrt())


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


@pytest.mark.slow
def test_ctrl_c_ends_with_the_best_weights_so_far(cube: Path, tmp_path: Path) -> None:
    words = ["train", "--cube", cube, "--out", tmp_path / "run"]
    for setting in (
        "train.epochs=100000",
        "train.validate_every=2",
        "train.batches_per_epoch=5",
        "train.patience=99999",
    ):
        words += ["--set", setting]
    log = tmp_path / "run.unfinished" / "log.jsonl"
    with start_command(*words) as process:
        wait_until(lambda: process.poll() is not None or (log.exists() and log.read_text().count("\n") > 4))
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "interrupted after" in printed
    assert "Traceback" not in errors
    run = open_run(tmp_path / "run")
    assert run.record["status"] == "interrupted"
    assert run.record["best_epoch"] >= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.unfinished"]


@pytest.mark.parametrize(
    ("change", "settings", "expected"),
    [
        ({"drop": ("q",)}, ("task.dynamic=paper",), "task.dynamic=[t2m,u10,v10,tp,sp,ssrd,strd]"),
        (
            {"drop": ("clay",)},
            ("task.static=paper",),
            "task.static=[landcover,soil_water_capacity,elevation,sand,silt]",
        ),
        ({"drop": ("e",)}, ("model=phy-lstm",), "no e, which W1 of PHY-LSTM"),
        ({"swvl1": np.full((10, 800), np.nan)}, (), "missing or constant in every cell"),
        ({"swvl1": np.full((10, 800), 0.3)}, (), "missing or constant in every cell"),
        ({"q": np.full((10, 800), np.nan)}, (), "q is missing in every cell, and is in task.dynamic: use --set"),
        ({"clay": np.nan}, (), "clay is missing in every cell, and is in task.static: use --set task.static=[land"),
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


def test_a_run_of_a_former_version_is_refused_by_the_version_that_wrote_it(good_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(good_run, run)
    record = json.loads((run / "run.json").read_text())
    provenance = json.loads(record["provenance"])
    provenance["versions"]["soilcast"] = "0.1.0"
    for former, writer in (
        (record | {"format": 2, "provenance": json.dumps(provenance)}, "soilcast 0.1.0"),
        (record | {"format": 2, "provenance": "torn"}, "another soilcast"),
    ):
        (run / "run.json").write_text(json.dumps(former))
        # Its config has keys of that version, which are not what is refused.
        (run / "config.yaml").write_text("inputs: {target: swvl1}\n")
        with pytest.raises(SoilcastError) as caught:
            open_run(run)
        assert str(caught.value) == (
            f"{run}: a run of {writer} (format 2), but this version of soilcast reads format "
            f"{RUN_FORMAT}: train it again"
        )


def test_an_existing_run_is_not_overwritten_unless_asked(cube: Path, good_run: Path) -> None:
    before = (good_run / "run.json").read_bytes()
    with pytest.raises(SoilcastError, match="exists already"):
        train(cube, good_run, quick())
    assert (good_run / "run.json").read_bytes() == before
    assert [path.name for path in good_run.parent.iterdir()] == ["run"]


def test_windows_longer_than_the_days_there_are_named(cube: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"the training period is shorter than task\.window 500"):
        train(cube, tmp_path / "run", quick("lstm", "task.window=500"))
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_there_is_said_and_the_cpu_goes_on(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    run = train(cube, tmp_path / "run", quick("lstm", "train.device=cuda"))
    assert "no GPU found (train.device=cuda): using the CPU" in capsys.readouterr().err
    assert json.loads(run.record["provenance"])["device"] == "cpu"
    train(cube, tmp_path / "other", quick("lstm", "train.device=auto"))
    assert capsys.readouterr().err == ""


def test_a_gpu_without_memory_is_told_in_one_line_and_other_faults_stay_loud(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Learner, *given: object) -> None:
        raise fault

    monkeypatch.setenv(VARIABLE, "torch")
    monkeypatch.setattr(Learner, "learn", fail)
    fault: RuntimeError = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the docs")
    with pytest.raises(SoilcastError, match=r"^too little memory on the GPU: take a smaller .*train\.device=cpu$"):
        train(cube, tmp_path / "run", quick())
    fault = RuntimeError("CUDA error: an illegal memory access was encountered")
    with pytest.raises(RuntimeError, match="illegal"):
        train(cube, tmp_path / "run", quick(), overwrite=True)


def test_mixed_precision_stays_near_float32(cube: Path, tmp_path: Path) -> None:
    exact = train(cube, tmp_path / "exact", quick())
    mixed = train(cube, tmp_path / "mixed", quick("lstm", "train.precision=bfloat16"))
    losses = [[record["train_loss"] for record in run.log] for run in (exact, mixed)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert losses[0] != losses[1]
    assert mixed.networks[0].state_dict()["trunk.weight_hh_l0"].dtype == torch.float32


class Together:
    """A loss of one's own that averages over all members, as no loss may."""

    distribution: Distribution = Point()

    def __call__(self, prediction: Prediction, targets: Targets) -> torch.Tensor:
        return torch.mean(targets.error(prediction.level) ** 2)


def test_a_loss_of_all_members_together_is_refused(cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "mse", lambda quantiles: Together())
    run = train(cube, tmp_path / "one", quick("lstm", "loss.name=mse"))
    assert run.log[0]["train_mse"] == run.log[0]["train_loss"]
    with pytest.raises(SoilcastError, match=r"1 number\(s\) for train.ensemble=2: return one number per member"):
        train(cube, tmp_path / "two", quick("lstm", "loss.name=mse", "train.ensemble=2"))
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
