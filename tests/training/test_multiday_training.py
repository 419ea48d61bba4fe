"""Training of several lead times: what it may not see, what it begins from, and what is amiss is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.files import sha256_of
from soilcast.forecasting import forecast
from soilcast.training import load_config, open_run, train
from soilcast.training.build import build_networks
from soilcast.training.finetune import take_weights
from tests.helpers.multiday import AHEAD, CELLS, DAYS, QUICK, changed_cube, quick
from tests.helpers.small import small_cube


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("multiday")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    quick(path / "cube", path / "run")
    quick(path / "cube", path / "ahead", AHEAD)
    return path


@pytest.mark.slow
def test_the_test_days_have_no_part_in_training_or_calibration(folder: Path, tmp_path: Path) -> None:
    changed = changed_cube(tmp_path / "changed", 730)  # the first test day
    for name, settings in (("run", ()), ("ahead", (AHEAD,))):
        again = quick(changed, tmp_path / name, *settings)
        first = open_run(folder / name)
        for mine, theirs in zip(again.networks[0].parameters(), first.networks[0].parameters(), strict=True):
            assert torch.equal(mine, theirs)
        assert again.calibration is not None
        assert first.calibration is not None
        np.testing.assert_array_equal(again.calibration.shift, first.calibration.shift)
        theirs = first.statistics.scalings
        assert all(np.array_equal(again.statistics.scalings[one].scale, theirs[one].scale) for one in theirs)


@pytest.mark.slow
def test_validation_days_have_no_part_in_the_statistics_and_steps(folder: Path, tmp_path: Path) -> None:
    first = open_run(folder / "run")
    start = np.datetime64(str(first.record["validation_period"])[:10])
    at = int((start - np.datetime64("2018-01-01")) / np.timedelta64(1, "D"))
    again = quick(changed_cube(tmp_path / "changed", at), tmp_path / "run")
    assert [line["train_loss"] for line in again.log] == [line["train_loss"] for line in first.log]
    assert again.log[-1]["validation_loss"] != first.log[-1]["validation_loss"]


@pytest.mark.slow
def test_samples_in_files_and_many_jobs_give_the_same_bits(folder: Path, tmp_path: Path) -> None:
    config = load_config(settings=[*QUICK, "train.threads=1"])
    plain = train(folder / "cube", tmp_path / "plain", config)
    mapped = train(folder / "cube", tmp_path / "mapped", config, samples=tmp_path / "samples", memory=2**40)
    for mine, theirs in zip(plain.networks[0].parameters(), mapped.networks[0].parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.slow
def test_a_share_of_the_cells_and_a_climate_left_out(folder: Path, tmp_path: Path) -> None:
    settings = ["normalise.scope=global", "split.cells_share=0.5"]
    run = quick(folder / "cube", tmp_path / "half", *settings)
    assert run.record["cells_trained"] == 3
    zone = small_cube(CELLS, DAYS)["climate_zone"].to_numpy()
    letters = np.array(
        ["A" if one <= 3 else "B" if one <= 7 else "C" if one <= 16 else "D" if one <= 28 else "E" for one in zone]
    )
    left = str(letters[0])
    without = quick(folder / "cube", tmp_path / "without", "normalise.scope=global", f"split.without_climate={left}")
    assert without.record["cells_trained"] == int((letters != left).sum())
    cube = small_cube(CELLS, DAYS)
    for name in ("tp", "t2m", "swvl1", "swvl2", "elevation"):
        values = cube[name].to_numpy().copy()
        values[letters == left] *= np.float32(0.9)
        cube[name] = (cube[name].dims, values, cube[name].attrs)
    save_cube(cube, tmp_path / "other")
    again = quick(tmp_path / "other", tmp_path / "again", "normalise.scope=global", f"split.without_climate={left}")
    for mine, theirs in zip(without.networks[0].parameters(), again.networks[0].parameters(), strict=True):
        assert torch.equal(mine, theirs)
    found = forecast(tmp_path / "without", folder / "cube", tmp_path / "forecast")
    assert np.isfinite(found["swvl1"]).all()


@pytest.mark.slow
def test_a_training_begins_with_another_run(folder: Path, tmp_path: Path) -> None:
    settings = ("normalise.scope=global",)
    globe = quick(folder / "cube", tmp_path / "globe", *settings)
    region = small_cube(CELLS, DAYS, seed=3)
    save_cube(region, tmp_path / "region")
    tuned = quick(tmp_path / "region", tmp_path / "tuned", *settings, "train.freeze=[trunk]", init=tmp_path / "globe")
    before, after = globe.networks[0].state_dict(), tuned.networks[0].state_dict()
    for name, values in before.items():
        assert torch.equal(values, after[name]) == name.startswith("trunk"), name
    for name, scaling in globe.statistics.scalings.items():
        np.testing.assert_array_equal(scaling.scale, tuned.statistics.scalings[name].scale)
    assert tuned.record["init_sha256"] == open_run(tmp_path / "globe").record["weights_sha256"]
    with pytest.raises(SoilcastError, match=r"task\.lags is"):
        quick(tmp_path / "region", tmp_path / "no", *settings, "task.lags=[swvl1]", init=tmp_path / "globe")
    with pytest.raises(SoilcastError, match=r"network\.hidden_size is 6, but 5 of this training"):
        quick(tmp_path / "region", tmp_path / "no", *settings, "network.hidden_size=5", init=tmp_path / "globe")
    with pytest.raises(SoilcastError, match=r"weights of --init are of another network"):
        take_weights(build_networks(load_config(settings=[*QUICK, "network.hidden_size=5"])), globe)
    with pytest.raises(SoilcastError, match=r"task\.layers is"):
        quick(tmp_path / "region", tmp_path / "no", *settings, "task.layers=[swvl2]", init=tmp_path / "globe")
    with pytest.raises(SoilcastError, match=r"it was trained on 2019-07-03 to 2019-12-31, which overlaps the test"):
        quick(
            tmp_path / "region", tmp_path / "no", *settings, "split.test=2019-12-01:2020-01-30", init=tmp_path / "globe"
        )
    with pytest.raises(SoilcastError, match=r"train\.freeze is for fine-tuning"):
        quick(tmp_path / "region", tmp_path / "no", "train.freeze=[head]")


def test_a_period_that_is_too_short_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"the validation period of 2 day\(s\) is shorter than task.lead_days 3"):
        quick(folder / "cube", tmp_path / "run", "split.development=2019-12-24:2019-12-31")


def test_a_layer_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    save_cube(small_cube(CELLS, DAYS, drop=["swvl3"]), tmp_path / "shallow")
    with pytest.raises(SoilcastError, match=r"no target swvl3: set task\.layers"):
        quick(tmp_path / "shallow", tmp_path / "run", "head.predict=level", "task.layers=[swvl3]")


def test_a_damaged_calibration_is_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    file = tmp_path / "run" / "weights.safetensors"
    tensors = load_file(file)
    del tensors["calibration.shift"]
    save_file(tensors, file)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(record | {"weights_sha256": sha256_of(file)}))
    with pytest.raises(SoilcastError, match="do not fit the network"):
        open_run(tmp_path / "run")
