"""The amounts of the water balance as a constraint: what they are, and what a forecast that misses them costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.training import load_config, train
from soilcast.training.build import build_loss
from soilcast.training.dataset import Dataset, make_dataset
from soilcast.training.split import split_days
from soilcast.water.guidance import missed_water
from tests.helpers.small import small_cube

CELLS, DAYS = 6, 500
CLOSING = (
    "loss.balance=multi",
    "loss.amounts=2",
    "loss.weights=[1,0]",
    "water.snow=closing",
    "water.runoff=total",
    "water.deep_layers=[swvl2,swvl3,swvl4]",
)
SEVERAL = ("task.lead_days=3", "task.lags=[swvl1]", "head.predict=change")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[xr.Dataset]:
    made = small_cube(CELLS, DAYS)
    moisture = made["swvl1"].to_numpy().copy()
    moisture[2, 50:60] = np.nan
    made["e"][4] *= np.float32(0.5)  # a cell whose balance does not close
    path = tmp_path_factory.mktemp("amounts") / "cube"
    save_cube(made.assign(swvl1=(("cell", "time"), moisture, made["swvl1"].attrs)), path)
    with open_cube(path) as opened:
        yield opened


def dataset(cube: xr.Dataset, *settings: str) -> Dataset:
    config = load_config(settings=[*CLOSING, *settings])
    return make_dataset(cube, config, split_days(cube["time"].to_numpy(), config.split, "cube"), None)


def test_amounts_are_the_change_of_water_where_the_balance_closes(cube: xr.Dataset) -> None:
    made = dataset(cube)
    inflow, tolerance = made.samples.inflow, made.samples.tolerance
    assert inflow is not None
    assert tolerance is not None
    days = slice(made.first, made.first + inflow.shape[1])
    water = cube["swvl1"].to_numpy()[:, days].astype(np.float64) * cube["slthick1"].to_numpy()[:, np.newaxis]
    change = np.diff(water, axis=1, prepend=np.nan)
    closing = [0, 1, 3, 5]
    np.testing.assert_allclose(inflow[closing][:, 1:], change[closing][:, 1:], atol=1e-6)
    assert (tolerance[closing] < 1e-6).all()
    assert tolerance[4] > 5e-5
    learnt = made.training.first + made.training.usable.shape[1]
    missed = change[4, 1:learnt] - inflow[4, 1:learnt].numpy()
    assert tolerance[4] == pytest.approx(np.sqrt(np.mean(missed**2)), rel=0.02)
    before = np.isnan(water[2, :-1])
    assert before.any()
    assert torch.isnan(inflow[2, 1:][torch.from_numpy(before)]).all()


@pytest.mark.parametrize("space", ["normalised", "physical", "persistence"])
@pytest.mark.parametrize("several", [(), SEVERAL], ids=["next day", "several days"])
def test_the_observed_change_costs_nothing_and_another_its_square(
    cube: xr.Dataset, space: str, several: tuple[str, ...]
) -> None:
    settings = (*several, f"loss.space={space}")
    made = dataset(cube, *settings)
    loss = build_loss(load_config(settings=[*CLOSING, *settings]))
    closes = ~np.isin(made.training.at(np.arange(len(made.training))).cells, [2, 4])
    at = np.flatnonzero(closes)[::9]
    batch = made.samples.gather(made.training.at(at[np.newaxis]))
    right = torch.nan_to_num(batch.targets.observed).unsqueeze(-1)
    _, parts = loss(right, batch.targets)
    assert parts["amounts"].item() < 1e-9
    wrong = right.clone()
    wrong[..., -1, 0, 0] += 0.1  # of the last lead alone
    total, parts = loss(wrong, batch.targets)
    depth, tolerance = batch.targets.depth, batch.targets.tolerance
    assert depth is not None
    assert tolerance is not None
    expected = torch.relu(0.1 * depth[..., 0] - tolerance) ** 2 / right.shape[2]
    torch.testing.assert_close(parts["amounts"], expected.mean(dim=1), rtol=2e-3, atol=1e-9)
    torch.testing.assert_close(total, parts["rmse"] + 2 * parts["amounts"])
    assert "physical" not in parts


def test_what_is_not_known_costs_nothing() -> None:
    change, inflow = torch.tensor([[1.0, -3.0, 2.0]]), torch.tensor([[0.5, float("nan"), 4.0]])
    found = missed_water(change.requires_grad_(), inflow, torch.tensor([[1.0]]))
    assert found.tolist() == [[0.0, 0.0, 1.0]]
    (grad,) = torch.autograd.grad(found.sum(), change)
    assert grad.tolist() == [[0.0, 0.0, -2.0]]


@pytest.mark.slow
@pytest.mark.parametrize("several", [(), SEVERAL], ids=["next day", "several days"])
def test_a_run_learns_to_keep_the_balance(cube: xr.Dataset, tmp_path: Path, several: tuple[str, ...]) -> None:
    quick = ("train.epochs=4", "train.validate_every=1", "train.batches_per_epoch=20", "network.hidden_size=8")
    for name, samples in (("run", None), ("mapped", tmp_path / "samples")):
        config = load_config(settings=[*CLOSING, *several, *quick])
        made = train(cube.encoding["source"], tmp_path / name, config, samples=samples)
        assert made.log[-1]["train_amounts"] < made.log[0]["train_amounts"]
    one, other = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("run", "mapped"))
    assert one == other


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("loss.amounts=1",), "loss.amounts has no effect while loss.balance is none"),
        (
            ("loss.amounts=1", "loss.balance=single", "loss.by=landcover", "loss.classes={7: {loss.balance: none}}"),
            "loss.amounts is for one guidance of all cells",
        ),
    ],
)
def test_amounts_that_cannot_be_are_refused(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(SoilcastError, match=message):
        load_config(settings=settings)


def test_a_placebo_has_the_amounts_of_other_days_of_the_cell(cube: xr.Dataset) -> None:
    made, placebo = dataset(cube), dataset(cube, "water.placebo=coin_toss")
    inflow, shuffled = made.samples.inflow, placebo.samples.inflow
    assert inflow is not None
    assert shuffled is not None
    for cell in (0, 1, 3, 5):
        mine, other = (np.nan_to_num(one[cell].numpy(), nan=-1.0) for one in (inflow, shuffled))
        # The day before the first sample has no observation before it: all but that one are there.
        assert np.isin(np.round(other[1:], 9), np.round(mine, 9)).mean() > 0.99
        assert np.mean(mine == other) < 0.2
    assert made.samples.tolerance is not None
    assert placebo.samples.tolerance is not None
    assert (placebo.samples.tolerance > 10 * made.samples.tolerance)[[0, 1, 3, 5]].all()
    with pytest.raises(SoilcastError, match=r"water\.placebo=observed is a placebo of signs, which loss\.amounts"):
        dataset(cube, "water.placebo=observed")
