"""A network and a loss of one's own, registered in one line each: trained, opened and forecast at several leads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.models import HEADS, Head
from soilcast.models.distributions import Distribution, Point
from soilcast.training import load_config, open_run
from soilcast.training.losses import LOSSES, Prediction, ScoreLoss, Targets
from tests.helpers.multiday import AHEAD, CELLS, DAYS, LEADS, quick
from tests.helpers.networks import register_gru
from tests.helpers.small import small_cube


class MeanAbsoluteError:
    """A loss as a user would write it (docs/own-loss.md); it counts its calls."""

    distribution: Distribution = Point()

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, prediction: Prediction, targets: Targets) -> Tensor:
        self.calls += 1
        error = targets.error(prediction.level)
        there = torch.isfinite(error)
        total = torch.where(there, error.abs(), 0.0).flatten(1).sum(dim=-1)
        return total / there.flatten(1).sum(dim=-1)


class Squares:
    """The RMSE, written by a user."""

    distribution: Distribution = Point()

    def __call__(self, prediction: Prediction, targets: Targets) -> Tensor:
        return (targets.error(prediction.level) ** 2).flatten(1).mean(dim=-1).sqrt()


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "cube"
    save_cube(small_cube(CELLS, DAYS), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("settings", [(), (AHEAD, "task.layers=[swvl1,swvl2]", "train.ensemble=2")])
def test_a_network_and_a_loss_of_ones_own_are_trained_opened_and_forecast(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...]
) -> None:
    own = MeanAbsoluteError()
    with monkeypatch.context() as patch:
        register_gru(patch)
        patch.setitem(LOSSES, "mae", lambda quantiles: own)
        run = quick(cube, tmp_path / "run", "loss.name=mae", *settings, model="phys-gru")
        assert own.calls > 0
        assert all(isinstance(network.trunk, nn.GRU) for network in run.networks)
        for line in run.log:
            assert line["train_loss"] == pytest.approx(0.1 * line["train_mae"] + 0.9 * line["train_physical"], rel=1e-5)
        opened = open_run(tmp_path / "run")
        assert opened.config == run.config
        assert (opened.config.network.name, opened.config.loss.name, opened.config.loss.balance) == (
            "gru",
            "mae",
            "multi",
        )
        for mine, theirs in zip(opened.networks[-1].parameters(), run.networks[-1].parameters(), strict=True):
            assert torch.equal(mine, theirs)
        made = forecast(tmp_path / "run", cube, tmp_path / "forecast")
        assert made.sizes["lead"] == LEADS
        for layer in run.config.task.layers:
            assert np.isfinite(made[layer]).all()
            assert (np.diff(made[f"{layer}_quantile"], axis=-1) >= 0).all()
    # Where it is not registered, the run is not taken for another.
    with pytest.raises(SoilcastError, match="phys-gru: no such model: did you mean phys-lstm"):
        open_run(tmp_path / "run")


@pytest.mark.parametrize("leads", [1, 3])
def test_the_loss_that_is_registered_is_the_one_that_trains(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leads: int
) -> None:
    """Written anew it trains the same network as soilcast's own; another one trains another."""
    monkeypatch.setitem(LOSSES, "squares", lambda quantiles: Squares())
    monkeypatch.setitem(LOSSES, "mae", lambda quantiles: MeanAbsoluteError())
    monkeypatch.setitem(LOSSES, "absolute", lambda quantiles: ScoreLoss(Absolute()))
    weights = {}
    for name in ("rmse", "squares", "mae", "absolute"):
        run = quick(cube, tmp_path / name, f"loss.name={name}", f"task.lead_days={leads}", "train.threads=1")
        weights[name] = torch.cat([one.flatten() for one in run.networks[0].parameters()])
        assert f"train_{name}" in run.log[0]
    torch.testing.assert_close(weights["squares"], weights["rmse"], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(weights["absolute"], weights["mae"], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(weights["mae"], weights["rmse"], atol=1e-5, rtol=1e-4)


class Absolute(Point):
    """A point whose errors cost what they are."""

    def loss(self, raw: Tensor, error: Tensor) -> Tensor:
        del raw
        return error.abs()


class Persisting(Head):
    """A head of one's own: the newest soil moisture, but for one number."""

    def forward(self, states: Tensor, windows: Tensor, mask: Tensor | None) -> Tensor:
        output = super().forward(states, windows, mask)
        newest = windows[:, :1, self.design.layout.channels["newest"]].expand(-1, output.shape[1], -1)
        return torch.cat(((newest + 0 * output[..., 0] + self.linear.bias[0]).unsqueeze(-1), output[..., 1:]), dim=-1)


def test_a_head_of_ones_own_is_trained_and_forecast(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HEADS, "persisting", Persisting)
    run = quick(cube, tmp_path / "run", "head.name=persisting", "task.quantiles=[]")
    made = forecast(tmp_path / "run", cube, tmp_path / "forecast", issue="2020-01-20")
    newest = small_cube(CELLS, DAYS)["swvl1"].sel(time="2020-01-20").to_numpy()
    away = run.networks[0].head.linear.bias[0].item() * run.statistics.scalings["swvl1"].scale
    np.testing.assert_allclose(made["swvl1"][:, 0], (newest + away)[:, np.newaxis].repeat(LEADS, axis=1), atol=1e-6)


def test_what_is_not_registered_is_refused_by_the_nearest_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    register_gru(monkeypatch)
    for setting, nearest in (
        ("network.name=grv", "gru"),
        ("head.name=buckets", "bucket"),
        ("loss.name=quantile", "quantiles"),
    ):
        with pytest.raises(SoilcastError, match=f"no such .*: did you mean {nearest}"):
            load_config(settings=[setting])
