"""Forecasts as departures from the damped anomaly: a network that adds nothing is that baseline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.models import Network, NetworkDesign
from soilcast.models.baselines import damped_anomaly, fit_damped_anomaly
from soilcast.task import Layout, Task
from soilcast.training import load_config, open_run
from soilcast.training.dataset import make_dataset
from soilcast.training.predictor import shrinkage
from soilcast.training.run import save_run
from soilcast.training.split import split_days
from tests.helpers.multiday import CELLS, DAYS, LEADS, quick
from tests.helpers.small import small_cube

DEPARTURE = ("head.predict=departure", "task.quantiles=[]", "train.epochs=1")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("departure") / "cube"
    save_cube(small_cube(CELLS, DAYS), path)
    return path


@pytest.mark.parametrize("latency", [0, 2])
def test_a_network_that_adds_nothing_forecasts_the_damped_anomaly(cube: Path, tmp_path: Path, latency: int) -> None:
    settings = (*DEPARTURE, "task.window=8", f"task.latency={{lags: {latency}}}", "task.layers=[swvl1,swvl2]")
    run = quick(cube, tmp_path / "run", *settings)
    for network in run.networks:
        torch.nn.init.zeros_(network.head.linear.weight)
        torch.nn.init.zeros_(network.head.linear.bias)
    silent = tmp_path / "silent"
    silent.mkdir()
    save_run(silent, replace(run, record={**run.record, "weights_sha256": None}))
    made = forecast(silent, cube, tmp_path / "forecast.zarr")
    with open_cube(cube) as opened:
        days = opened["time"].to_numpy()
        learn = np.zeros(len(days), dtype=np.bool_)
        for part in split_days(days, run.config.split, "cube").train:
            learn[part] = True
        issued = np.searchsorted(days, made["time"].to_numpy())
        for layer in ("swvl1", "swvl2"):
            observed = opened[layer].to_numpy()
            for lead in range(1, LEADS + 1):
                whole = damped_anomaly(observed, days, learn, slice(0, len(days)), lag=lead + latency)
                expected = whole[:, issued + lead]
                np.testing.assert_allclose(made[layer].to_numpy()[:, :, lead - 1], expected, rtol=0, atol=2e-6)


def test_its_statistics_are_part_of_the_run(cube: Path, tmp_path: Path) -> None:
    run = quick(cube, tmp_path / "run", *DEPARTURE)
    stored = open_run(tmp_path / "run").statistics
    assert stored.climatology is not None
    assert stored.climatology.shape == (CELLS, LEADS, 1, 7)
    assert stored.damping is not None
    assert stored.damping.shape == (CELLS, LEADS, 1)
    np.testing.assert_array_equal(stored.damping, run.statistics.damping)
    assert quick(cube, tmp_path / "change").statistics.damping is None


def test_what_is_learnt_is_what_the_baseline_forecasts_with() -> None:
    days = np.arange("2018-01-01", "2021-01-01", dtype="datetime64[D]").astype("datetime64[ns]")
    random = np.random.default_rng(3)
    observed = np.cumsum(random.normal(size=(2, len(days))), axis=1) * 0.01
    learn = np.arange(len(days)) < 730
    coefficients, damping = fit_damped_anomaly(observed, days, learn, [1, 5])
    angle = 2 * np.pi * days.astype("datetime64[D]").astype(np.int64) / 365.2425
    waves = np.stack([np.ones_like(angle), *(f(k * angle) for k in (1, 2, 3) for f in (np.cos, np.sin))])
    for position, lag in enumerate((1, 5)):
        climate = coefficients[:, position] @ waves
        expected = climate[:, 730:] + damping[:, [position]] * (observed - climate)[:, 730 - lag : -lag]
        given = damped_anomaly(observed, days, learn, slice(730, len(days)), lag=lag)
        np.testing.assert_allclose(given, expected, atol=1e-6)


def test_each_lead_keeps_of_its_departures_what_validation_days_confirm(cube: Path, tmp_path: Path) -> None:
    """Nothing is gained by shrinking again, and the factors are in the weights and in the record."""
    run = quick(cube, tmp_path / "run", *DEPARTURE, "task.quantiles=[0.1,0.5,0.9]", "train.learning_rate=0.05")
    kept = np.array(run.record["shrinkage"])
    assert kept.shape == (LEADS, 1)
    assert ((kept >= 0) & (kept <= 1)).all()
    assert (kept < 1).any()
    with open_cube(cube) as opened:
        days = split_days(opened["time"].to_numpy(), run.config.split, "cube")
        dataset = make_dataset(opened, run.config, days, None)
    again = shrinkage(run, dataset)
    np.testing.assert_allclose(again[(kept > 0) & (kept < 1)], 1.0, rtol=1e-3)


def test_a_head_shrinks_soil_moisture_and_not_its_distribution() -> None:
    torch.manual_seed(0)
    layout = Layout(Task(window=4, lead_days=3, lags=("swvl1",), dynamic=("tp",), static=()), damped=True)
    network = Network(NetworkDesign(layout, hidden_size=5, origin="damped", spread=(0.1, 0.2))).eval()
    windows = torch.randn(2, layout.steps, layout.channels["damped"].stop)
    origin = windows[:, 3:, layout.channels["damped"]]
    before = network(windows)
    share = torch.tensor([[0.5], [0.0], [1.0]])
    network.head.shrink(share)
    after = network(windows)
    torch.testing.assert_close(after[..., 0] - origin, share * (before[..., 0] - origin))
    torch.testing.assert_close(after[..., 1:], before[..., 1:])


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        (["normalise.scope=global"], "set normalise.scope=per_cell"),
        (["head.name=rollout"], "set head.predict=change"),
        (["head.name=bucket", "task.known_future=[tp]"], "set head.predict=change"),
        (["task.lags=[]"], "not in task.lags"),
    ],
)
def test_what_does_not_go_with_it_is_refused(settings: list[str], remedy: str) -> None:
    with pytest.raises(SoilcastError, match="head"):
        load_config(settings=["head.predict=departure", "task.lags=[swvl1]", *settings])
    with pytest.raises(SoilcastError) as error:
        load_config(settings=["head.predict=departure", "task.lags=[swvl1]", *settings])
    assert remedy in str(error.value)
