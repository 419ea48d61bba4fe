"""What runs on a GPU, beside the same on the CPU; skipped where torch finds no GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.models import NETWORKS
from soilcast.models.backends import AutogradBackend, LSTMBackend, make_backend, takes_sequences
from soilcast.models.members import Members
from soilcast.training import load_config, loop, train
from soilcast.training.build import build_loss, build_networks
from soilcast.training.config import Config
from soilcast.training.dataset import make_dataset
from soilcast.training.devices import Ranks
from soilcast.training.learner import Learner
from soilcast.training.loop import Training, train_networks
from soilcast.training.samples import Samples, fixed_sample
from soilcast.training.split import split_days
from tests.helpers.designs import CASES, PAPER, QUANTILES, SEVERAL, Case
from tests.helpers.multiday import AHEAD
from tests.helpers.multiday import QUICK as SEVERAL_DAYS
from tests.helpers.networks import register_gru
from tests.helpers.small import small_cube

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")

GPU = torch.device("cuda", 0)

QUICK = (
    "train.epochs=4",
    "train.validate_every=1",
    "train.batches_per_epoch=10",
    "train.batch_size=16",
    "network.hidden_size=8",
)
SEVERAL_RUNS = {
    "quantiles": ("lstm", ("loss.name=quantiles",)),
    "an ensemble, cmal, late soil moisture": (
        "lstm",
        ("loss.name=cmal", "train.ensemble=3", "task.latency={lags: 2}", "network.masked_lags=0.2"),
    ),
    "weather ahead, penalties": ("phy-lstm", ("loss.bounds=1", "loss.rain=1", AHEAD)),
    "rollout": ("lstm", ("head.name=rollout", "task.calendar=true")),
    "bucket": ("lstm", ("head.name=bucket", AHEAD, "task.layers=[swvl1,swvl2]")),
    "water balance": ("lstm", ("head.name=water_balance", AHEAD, "task.layers=[swvl1,swvl2]")),
    "Monte Carlo dropout": ("lstm", ("network.mc_dropout=3", "train.ensemble=2")),
}
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "next day": ("lstm", (*QUICK, "train.batch_size=64", "network.hidden_size=128")),
    "next day, an ensemble": ("phys-lstm", (*QUICK, "train.ensemble=3")),
    "next day, bfloat16": ("phy-lstm", (*QUICK, "train.precision=bfloat16", "train.ensemble=2")),
    "next day, a network that drops by itself": ("gru", (*QUICK, "train.ensemble=2", "train.schedule=cosine")),
    **{name: (model, (*SEVERAL_DAYS, *more)) for name, (model, more) in SEVERAL_RUNS.items()},
    "several days, bfloat16": ("lstm", (*SEVERAL_DAYS, "loss.name=cmal", "train.precision=bfloat16")),
}
WITHOUT_AUTOGRAD = {
    "a GRU": Case(PAPER, members=2, options={"network": "gru"}),
    "rollout": Case({**SEVERAL, "known_future": ("tp",)}, "rollout", 2, {"change": True, "spread": QUANTILES}),
}


class DroppingGRU(nn.GRU):
    """A trunk that drops some of its states by itself."""

    def forward(self, inputs: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        states, memory = super().forward(inputs, memory)
        return nn.functional.dropout(states, 0.3, self.training), memory


@pytest.fixture(autouse=True)
def _gru(monkeypatch: pytest.MonkeyPatch) -> None:
    register_gru(monkeypatch)
    monkeypatch.setitem(
        NETWORKS, "gru", lambda design: DroppingGRU(design.layout.features, design.hidden_size, batch_first=True)
    )


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gpu") / "cube"
    save_cube(small_cube(cells=6, days=780), path)
    return path


def config(name: str, *more: str) -> Config:
    model, settings = RUNS[name]
    return load_config(settings=["train.threads=1", *settings, *more], model=model)


def learnt(
    cube: Path, chosen: Config, device: torch.device, *, captured: bool = True
) -> tuple[Tensor, list[dict[str, float]]]:
    """Weights ``(member, parameter)`` after the last step of a training, and the losses of its epochs."""
    opened = open_cube(cube)
    dataset = make_dataset(opened, chosen, split_days(opened["time"].to_numpy(), chosen.split, "cube"), None)
    learner = Learner(
        [network.to(device) for network in build_networks(chosen)], build_loss(chosen), chosen.train, Ranks()
    )
    with pytest.MonkeyPatch.context() as patch:
        if not captured:
            patch.setattr("soilcast.training.loop.make_step", lambda learner: learner.learn)
        training = train_networks(
            learner, dataset.samples.to(device), dataset.training, fixed_sample(dataset.validation, 500, 0),
            chosen.train, lambda training, point: None, network=chosen.network,
        )  # fmt: skip
    return learner.members.weights.cpu(), [
        {name: value for name, value in record.items() if "loss" in name or name.startswith("train_")}
        for record in training.log
    ]


def near(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one.cpu(), other, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [*CASES, *WITHOUT_AUTOGRAD])
def test_forecasts_and_gradients_are_those_of_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = {**CASES, **WITHOUT_AUTOGRAD}[name]
    there = Members([case.network(number).to(GPU) for number in range(case.members)])
    here = case.stacked()
    backend, reference = make_backend(there), make_backend(here)
    assert isinstance(backend, AutogradBackend) == (name in WITHOUT_AUTOGRAD)
    for members in (there, here):
        members.train(True)
    for number, samples in enumerate((11, 4, 11)):
        windows, grad, mask = case.windows(samples, number), case.grad(samples, number), case.mask(samples, number)
        near(backend.forward(windows.to(GPU), mask.to(GPU)), reference.forward(windows, mask))
        backend.backward(grad.to(GPU))
        reference.backward(grad)
        near(there.gradients, here.gradients)
        near(backend.infer(windows.to(GPU), mask.to(GPU)), reference.infer(windows, mask))
        near(backend.infer(windows.to(GPU)), reference.infer(windows))
    if takes_sequences(case.network()):
        length = case.layout.task.window
        sequences = torch.rand(3, length + 5, case.layout.features)
        near(backend.predict_windows(sequences.to(GPU), length), reference.predict_windows(sequences, length))


@pytest.mark.parametrize("name", list(RUNS))
def test_a_captured_step_learns_the_same_bits_as_one_that_is_not_and_nearly_what_the_cpu_learns(
    cube: Path, name: str
) -> None:
    chosen = config(name)
    weights, losses = learnt(cube, chosen, GPU)
    plain_weights, plain_losses = learnt(cube, chosen, GPU, captured=False)
    assert torch.equal(weights, plain_weights)
    assert losses == plain_losses
    if name == "next day, a network that drops by itself":
        return  # a GPU draws other numbers
    on_cpu, losses_on_cpu = learnt(cube, chosen, torch.device("cpu"))
    exact = chosen.train.precision == "float32"
    assert (weights - on_cpu).norm() < (1e-4 if exact else 2e-2) * on_cpu.norm()
    for one, other in zip(losses, losses_on_cpu, strict=True):
        assert one == pytest.approx(other, rel=1e-4 if exact else 2e-2)


def test_one_network_is_trained_by_cudnn_and_several_together() -> None:
    for members, expected in ((1, AutogradBackend), (2, LSTMBackend)):
        chosen = config("next day", f"train.ensemble={members}")
        networks = [network.to(GPU) for network in build_networks(chosen)]
        assert type(Learner(networks, build_loss(chosen), chosen.train, Ranks()).backend) is expected


@pytest.mark.parametrize(
    "name", ["next day", "next day, an ensemble", "next day, a network that drops by itself", "quantiles"]
)
def test_a_resumed_training_ends_with_the_same_bits(
    cube: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config(name, "train.device=cuda", "train.epochs=4")
    run = train(cube, tmp_path / "whole", chosen)
    assert json.loads(run.record["provenance"])["device"] == "cuda:0"

    genuine = loop._run_epoch

    def stopped(*given: Any) -> None:
        if any(isinstance(one, Training) and len(one.log) == 2 for one in given):
            raise KeyboardInterrupt
        genuine(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_run_epoch", stopped)
        assert train(cube, tmp_path / "run", chosen).record["status"] == "interrupted"
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules["soilcast.training.produce"], "choose_device", lambda wanted: torch.device("cpu"))
        with pytest.raises(SoilcastError, match='is of device "cuda", but this training of "cpu"'):
            train(cube, tmp_path / "run", chosen, resume=True)
    train(cube, tmp_path / "run", chosen, resume=True)
    weights = [(tmp_path / one / "weights.safetensors").read_bytes() for one in ("whole", "run")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("name", list(RUNS))
def test_forecasts_are_those_of_the_cpu(cube: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train(cube, tmp_path / "run", config(name, "train.device=cuda"))
    there = forecast(tmp_path / "run", cube, tmp_path / "there", period="2020-01")
    rounded = forecast(tmp_path / "run", cube, tmp_path / "rounded", period="2020-01", precision="bfloat16")
    monkeypatch.setattr("soilcast.forecasting.produce.choose_device", lambda wanted: torch.device("cpu"))
    here = forecast(tmp_path / "run", cube, tmp_path / "here", period="2020-01")
    for layer in here.data_vars:
        np.testing.assert_allclose(there[layer], here[layer], rtol=0, atol=2e-5, err_msg=str(layer))
        np.testing.assert_allclose(rounded[layer], here[layer], rtol=0, atol=2e-2, err_msg=str(layer))
    assert rounded.attrs["bfloat16_largest_error"] < 1e-2


def test_samples_that_do_not_fit_are_gathered_in_memory_and_give_the_same_bits(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = config("quantiles", "train.device=cuda")
    train(cube, tmp_path / "there", chosen)
    moved: list[Samples] = []
    genuine = Samples.to
    monkeypatch.setattr("soilcast.training.samples.SHARE_OF_GPU", 0.0)
    monkeypatch.setattr(Samples, "to", lambda self, device: moved.append(genuine(self, device)) or moved[-1])
    train(cube, tmp_path / "here", chosen)
    assert [one.device.type for one in moved] == ["cpu"]
    weights = [(tmp_path / one / "weights.safetensors").read_bytes() for one in ("there", "here")]
    assert weights[0] == weights[1]


def test_too_little_memory_is_told_in_one_line_and_leaves_a_training_that_goes_on(cube: Path, tmp_path: Path) -> None:
    chosen = config("next day, an ensemble", "train.device=cuda", "train.ensemble=1024", "network.hidden_size=512")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.01)
    try:
        with pytest.raises(SoilcastError, match=r"^too little memory on the GPU: take a smaller train\.ensemble"):
            train(cube, tmp_path / "run", chosen)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert not (tmp_path / "run").exists()
