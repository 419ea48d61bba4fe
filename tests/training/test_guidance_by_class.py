"""Guidance that differs by a class of cells: each class is guided as a run of its own settings would be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from soilcast.cube import open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.training import load_config, open_run, train
from soilcast.training.build import build_loss, build_networks
from soilcast.training.dataset import Dataset, make_dataset
from soilcast.training.split import split_days
from tests.helpers.small import small_cube

CELLS, DAYS = 9, 500
ZONES = np.array([1, 1, 1, 6, 6, 6, 15, 15, 15], dtype=np.float32)  # A, B and C
BY_CLIMATE = (
    "loss.by=climate_zone",
    "loss.classes={B: {loss.balance: none}, C: {loss.balance: multi, loss.weights: [0.2,0.8], water.sign: inflow}}",
)
QUICK = (
    "train.epochs=2",
    "train.validate_every=1",
    "train.batches_per_epoch=5",
    "train.batch_size=16",
    "train.validation_samples=100",
    "network.hidden_size=5",
)


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[xr.Dataset]:
    path = tmp_path_factory.mktemp("classes") / "cube"
    save_cube(small_cube(CELLS, DAYS, climate_zone=ZONES, landcover=np.repeat([3.0, 7.0, 9.0], 3)), path)
    with open_cube(path) as opened:
        yield opened


def dataset(cube: xr.Dataset, *settings: str, model: str = "phy-lstm") -> Dataset:
    config = load_config(settings=settings, model=model)
    return make_dataset(cube, config, split_days(cube["time"].to_numpy(), config.split, "cube"), None)


@pytest.mark.parametrize("space", ["normalised", "persistence"])
def test_each_class_has_the_signs_and_the_weight_of_its_own_settings(cube: xr.Dataset, space: str) -> None:
    made = dataset(cube, *BY_CLIMATE, f"loss.space={space}")
    alone = (
        dataset(cube, f"loss.space={space}"),
        dataset(cube, "water.sign=inflow", f"loss.space={space}", model="phys-lstm"),
    )
    signs, depth = made.samples.water_sign, made.samples.depth
    assert depth is not None
    for cells, other in ((slice(0, 3), alone[0]), (slice(6, 9), alone[1])):
        assert torch.equal(signs[cells], other.samples.water_sign[cells])
        assert signs[cells].any()
    assert not signs[3:6].any()
    assert (depth[3:6] == 0).all()
    # l2 / l1 is 1 of A and 4 of C, which is then that of the loss.
    assert alone[0].samples.depth is not None
    assert alone[1].samples.depth is not None
    torch.testing.assert_close(depth[:3] ** 2, alone[0].samples.depth[:3] ** 2 / 4)
    torch.testing.assert_close(depth[6:], alone[1].samples.depth[6:])
    assert load_config(settings=BY_CLIMATE, model="phy-lstm").guidance_weights == pytest.approx((0.5, 2.0))


def test_the_loss_is_that_of_equation_8_with_the_weights_of_each_cell(cube: xr.Dataset) -> None:
    config = load_config(settings=["network.hidden_size=5", "network.dropout=0", *BY_CLIMATE], model="phy-lstm")
    made = make_dataset(cube, config, split_days(cube["time"].to_numpy(), config.split, "cube"), None)
    indices = made.training.at(np.arange(0, len(made.training), 7)[np.newaxis])
    batch = made.samples.gather(indices)
    network = build_networks(config)[0]
    output = network(batch.windows[0].transpose(0, 1))[None]
    total, parts = build_loss(config)(output, batch.targets)
    level, targets = output[0, :, 0, 0, 0].double(), batch.targets
    error = targets.observed[0, :, 0, 0].double() - level
    change = (level - targets.previous[0, :, 0]) * torch.where(targets.water_sign[0, :, 0] != 0, 1.0, 0.0)
    ratio = torch.tensor(np.array([1.0, 0.0, 4.0]).repeat(3))[indices.cells[0]]
    against = torch.relu(-targets.water_sign[0, :, 0] * change) ** 2
    expected = 0.5 * ((error**2).mean().sqrt() + (ratio * against).mean())
    torch.testing.assert_close(total[0].double(), expected, rtol=1e-5, atol=1e-7)
    known = build_loss(config).with_gradient(output, batch.targets)
    assert known is not None
    torch.testing.assert_close(known[0], total)
    assert set(parts) == {"rmse", "physical"}


def test_one_guidance_for_all_is_what_it_was(cube: xr.Dataset) -> None:
    plain = dataset(cube)
    same = dataset(cube, "loss.by=landcover", "loss.classes={7: {loss.weights: [0.5,0.5]}}")
    assert plain.samples.depth is not None
    assert same.samples.depth is not None
    assert torch.equal(plain.samples.water_sign, same.samples.water_sign)
    assert torch.equal(plain.samples.depth, same.samples.depth)


@pytest.mark.slow
def test_a_run_says_what_guides_where_and_is_opened_again(cube: xr.Dataset, tmp_path: Path) -> None:
    config = load_config(settings=[*QUICK, *BY_CLIMATE], model="phy-lstm")
    made = train(cube.encoding["source"], tmp_path / "run", config)
    assert made.record["notes"][2:5] == [
        "guidance of climate_zone (other classes), 3 cells: single water balance, weights 0.5 and 0.5",
        "guidance of climate_zone B, 3 cells: none",
        "guidance of climate_zone C, 3 cells: multi water balance, weights 0.2 and 0.8",
    ]
    assert 0 < made.record["water_sign_share"] < 1
    opened = open_run(tmp_path / "run")
    assert opened.config == made.config
    assert "guided (single and multi, by climate_zone)" in opened._repr_html_()


@pytest.mark.slow
def test_a_run_may_be_guided_in_some_classes_alone(cube: xr.Dataset, tmp_path: Path) -> None:
    settings = [*QUICK, "loss.by=landcover", "loss.classes={7: {loss.balance: single, loss.weights: [1,3]}}"]
    made = train(cube.encoding["source"], tmp_path / "run", load_config(settings=settings))
    assert made.config.guidance_weights == (1.0, 3.0)
    assert all("train_physical" in line for line in made.log)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("loss.classes={B: {loss.balance: none}}",), "no effect while loss.by is none"),
        (("loss.by=climate_zone",), "no effect without loss.classes"),
        (("loss.by=tp", "loss.classes={1: {}}"), "loss.by=tp is no static variable of the cube"),
        (("loss.by=climate_zone", "loss.classes={F: {}}"), "names F, which is no main climate: use A, B, C, D, E"),
        (
            ("loss.by=climate_zone", "loss.classes={B: {loss.nam: rmse}}"),
            "B sets loss.nam: valid are|B sets loss.nam: did",
        ),
        (
            ("loss.by=climate_zone", "loss.classes={B: {water.snow: mine}}"),
            r"loss.classes: B: water\.snow: Input should be",
        ),
        (
            ("loss.by=climate_zone", "loss.classes={B: {loss.balance: single, loss.weights: [1,0]}}"),
            "loss.classes: B: loss.balance=single has no effect while l2",
        ),
        (("loss.by=landcover", "loss.classes={7: {}}", "water.placebo=coin_toss"), "one guidance of all cells"),
    ],
)
def test_a_guidance_that_cannot_be_is_refused(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(SoilcastError, match=message):
        load_config(settings=settings, model="phy-lstm")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ("loss.by=climate_zone", "loss.classes={E: {loss.balance: none}}"),
            r"class E of climate_zone.*there are A, B, C\)",
        ),
        (
            ("loss.by=soil_type", "loss.classes={1: {loss.balance: none}}"),
            "no soil_type, by which the guidance is to differ",
        ),
        (
            ("loss.by=climate_zone", "loss.classes={B: {loss.balance: none}}", "split.without_climate=B"),
            "no cell of the class B of climate_zone has a training sample",
        ),
    ],
)
def test_a_map_without_such_cells_is_refused(
    cube: xr.Dataset, tmp_path: Path, settings: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SoilcastError, match=message):
        train(cube.encoding["source"], tmp_path / "run", load_config(settings=[*QUICK, *settings], model="phy-lstm"))
    assert not (tmp_path / "run").exists()


def test_a_term_that_a_cell_lacks_is_left_out_there_alone(tmp_path: Path) -> None:
    made = small_cube(CELLS, DAYS, climate_zone=ZONES)
    gone = {"e": [1, 4], "swvl3": [4, 5], "sd": [8], "sro": [8], "tp": []}
    for name, cells in gone.items():
        made[name].to_numpy()[cells] = np.nan
    made["e"].to_numpy()[2, 100:200] = np.nan  # gaps of some days are no lack
    save_cube(made, tmp_path / "lacking")
    save_cube(small_cube(CELLS, DAYS, climate_zone=ZONES), tmp_path / "whole")
    settings = ("water.sign=inflow", "water.snow=closing")
    with open_cube(tmp_path / "lacking") as lacking, open_cube(tmp_path / "whole") as whole:
        signs = dataset(lacking, *settings, model="phys-lstm").samples.water_sign

        def alone(*of: str) -> torch.Tensor:
            return dataset(whole, *settings, *of, model="phys-lstm").samples.water_sign

        for cell, of in (
            (0, ()),
            (1, ("water.terms=[P,SRO,dSD]",)),
            (4, ("water.terms=[P,SRO,dSD]", "water.deep_layers=[swvl2]")),
            (5, ("water.deep_layers=[swvl2]",)),
            (8, ("water.terms=[P,E]",)),
        ):
            assert torch.equal(signs[cell], alone(*of)[cell]), cell
        assert not torch.equal(signs[2], alone()[2])
        run = train(lacking.encoding["source"], tmp_path / "run", load_config(settings=QUICK, model="phys-lstm"))
    told = "\n".join(run.record["notes"])
    assert "e has no value on any day in 1 of 9 cells: there the water balance is without it" in told
    assert "e, swvl3 has no value on any day in 1 of 9 cells" in told
    assert "sro, sd has no value on any day in 1 of 9 cells" in told


def test_a_cell_without_any_term_is_not_guided(tmp_path: Path) -> None:
    made = small_cube(CELLS, DAYS)
    made["tp"].to_numpy()[3, :] = np.nan
    save_cube(made.drop_vars("u10"), tmp_path / "cube")
    with open_cube(tmp_path / "cube") as opened:
        of_rain = dataset(opened, "water.terms=[P]", "task.dynamic=[t2m]")
    assert not of_rain.samples.water_sign[3].any()
    assert of_rain.samples.depth is not None
    assert of_rain.samples.depth[3].item() == 0
    assert (of_rain.samples.depth[:3] > 0).all()
