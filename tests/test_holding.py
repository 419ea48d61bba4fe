"""A command holds one version of a cube while it works, and what was killed while it replaced something goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import soilcast
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.training import load_config, open_run
from soilcast.training.checkpoint import CHECKPOINT
from tests.helpers.forks import wait_until
from tests.helpers.processes import Job, finish, fork_command
from tests.helpers.small import small_cube

QUICK = ("train.epochs=2", "train.batches_per_epoch=2", "train.batch_size=16", "network.hidden_size=4")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    save_cube(small_cube(cells=6, days=900), folder / "cube")
    soilcast.train(folder / "cube", folder / "run", load_config(None, QUICK))
    soilcast.forecast(folder / "run", folder / "cube", folder / "forecast")
    return folder


COMMANDS: dict[str, Callable[[Path], Any]] = {
    "train": lambda at: soilcast.train(at / "cube", at / "out", load_config(None, QUICK)),
    "forecast": lambda at: soilcast.forecast(at / "run", at / "cube", at / "out"),
    "evaluate": lambda at: soilcast.evaluate([at / "forecast"], at / "cube", at / "out"),
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("in_place", [False, True])
def test_a_cube_that_is_replaced_meanwhile_stops_the_command_and_nothing_is_written(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[[Path], Any], in_place: bool
) -> None:
    for name in ("cube", "run", "forecast"):
        shutil.copytree(made / name, tmp_path / name)
    before = sorted(path.name for path in tmp_path.iterdir())
    to_numpy, reads = xr.DataArray.to_numpy, []

    def replaced_after_some(self: xr.DataArray) -> np.ndarray:
        values = to_numpy(self)
        if self.name == "swvl1" and "lead" not in self.dims and not reads:
            reads.append(self.name)
            if in_place:
                with (tmp_path / "cube" / "swvl1" / "c" / "0" / "1").open("r+b") as chunk:
                    chunk.seek(-1, 2)
                    chunk.write(b"\x5a")
            else:
                save_cube(small_cube(cells=6, days=900, seed=5), tmp_path / "cube", overwrite=True)
        return values

    monkeypatch.setattr(xr.DataArray, "to_numpy", replaced_after_some)
    noticed = (
        r"cube: (it was replaced or changed while it was read|swvl1 (cannot be read|changed after it was written))"
    )
    with pytest.raises(SoilcastError, match=noticed):
        command(tmp_path)
    assert reads
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".unfinished")) == before


@pytest.mark.slow
@pytest.mark.parametrize("resume", [{"resume": True}, {"resume": True, "overwrite": True}])
def test_a_training_that_was_to_replace_a_run_of_other_settings_and_is_killed_goes_on(
    made: Path, tmp_path: Path, resume: dict[str, bool]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(made / "run", out)
    job = Job(made / "cube", out, (*QUICK, "train.seed=9", "train.epochs=300"), options=resume)
    process = fork_command(job, "--overwrite")
    wait_until(lambda: process.poll() is not None or job.epochs_logged() > 3)
    process.kill()
    process.wait()
    assert open_run(out).config.train.seed != 9
    assert (tmp_path / "run.unfinished" / CHECKPOINT).exists()
    finish(job)
    assert open_run(out).config.train.seed == 9
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_resuming_replaces_no_run_of_other_settings_that_nobody_gave_leave_to(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "run", tmp_path / "run")
    with pytest.raises(SoilcastError, match=r"run is a run of train\.seed \d+: give another --out, or --overwrite"):
        soilcast.train(made / "cube", tmp_path / "run", load_config(None, ("train.seed=9", *QUICK)), resume=True)
