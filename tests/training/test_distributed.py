"""Two processes that train together on loopback: the result of one process, and a clear end if one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from safetensors.torch import load_file
from torch.testing import assert_close

from soilcast.cube import save_cube
from soilcast.training import open_run
from soilcast.training.checkpoint import CHECKPOINT
from soilcast.training.config import Config
from soilcast.training.devices import Ranks
from soilcast.training.split import Split
from tests.helpers.forks import PATIENCE, Fork, ends, wait_until
from tests.helpers.processes import (
    Job,
    bits,
    epochs,
    finish,
    finish_together,
    fork,
    fork_command,
    ranks,
    words,
)
from tests.helpers.small import small_cube

QUICK = (
    "train.epochs=4",
    "train.validate_every=1",
    "train.batches_per_epoch=10",
    "train.batch_size=32",
    "network.hidden_size=8",
)

SEVERAL_DAYS = ("task.lead_days=3", "task.window=7", "task.known_future=[tp]")


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ranks") / "cube"
    save_cube(small_cube(cells=10, days=800), path)
    return path


def assert_agree(first: Path, second: Path) -> None:
    """The same weights and losses, to the rounding of sums that are taken in another order."""
    expected, found = (load_file(out / "weights.safetensors") for out in (first, second))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(found[name], value, atol=1e-4, rtol=1e-3, equal_nan=True)
    expected_log, found_log = epochs(first), epochs(second)
    assert len(found_log) == len(expected_log)
    for one, other in zip(expected_log, found_log, strict=True):
        assert one["validation_loss"] is not None
        assert other == pytest.approx(one, rel=1e-4)


def resume_together(job: Job) -> list[Fork]:
    """Start the command with --resume in two processes."""
    return [fork_command(job, "--resume", environment=environment) for environment in ranks(2)]


def map_samples(
    cube: xr.Dataset, config: Config, split: Split, memory: int | None, folder: Path, *weather: object
) -> Path | None:
    """Stands for `choose_folder` where memory is short, which it is for the second process alone."""
    del cube, config, split, memory, weather
    return folder if os.environ.get("RANK") == "1" else None


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [0, 1, 2, 33, 64])
def test_every_sample_is_one_process_s_share(size: int, count: int) -> None:
    shares = [np.arange(count)[Ranks(rank, size).share(count)] for rank in range(size)]
    np.testing.assert_array_equal(np.concatenate(shares), np.arange(count))
    lengths = [len(share) for share in shares]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "settings", "patches"),
    [
        ("lstm", (), {}),
        ("phys-lstm", ("train.batch_size=33",), {}),
        ("phy-lstm", ("train.batch_size=1", "train.sampling=shared_day"), {}),
        ("phys-lstm", ("train.ensemble=3", "train.validation_samples=700"), {}),
        ("multi-day", (*SEVERAL_DAYS, "loss.name=quantiles", "network.masked_lags=0.2"), {}),
        ("phys-lstm", (), {"soilcast.training.produce.choose_folder": map_samples}),
    ],
)
def test_two_processes_agree_with_one(
    cube: Path, tmp_path: Path, model: str, settings: tuple[str, ...], patches: dict[str, Any]
) -> None:
    alone = Job(cube, tmp_path / "alone", (*QUICK, *settings), model)
    together = Job(cube, tmp_path / "together", (*QUICK, *settings), model, patches=patches)
    finish(alone)
    finish_together(together)
    assert_agree(alone.out, together.out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "together"]


@pytest.mark.slow
def test_more_processes_than_samples_agree_with_one(cube: Path, tmp_path: Path) -> None:
    settings = (*QUICK, "train.batch_size=2", "train.epochs=2")
    finish(Job(cube, tmp_path / "alone", settings))
    finish_together(Job(cube, tmp_path / "together", settings), count=3)
    assert_agree(tmp_path / "alone", tmp_path / "together")


@pytest.mark.slow
def test_torchrun_trains_one_run(cube: Path, tmp_path: Path) -> None:
    alone, together = (Job(cube, tmp_path / name, QUICK) for name in ("alone", "together"))
    environment = ranks(1)[0]
    launcher = ["torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1"]
    launcher += [f"--master_port={environment['MASTER_PORT']}", "-m"]
    ended = subprocess.run(
        [sys.executable, "-m", *launcher, *words(together)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("PHYs-LSTM: finished after 4 epoch(s)") == 1
    assert '"processes": 2' in open_run(together.out).record["provenance"]
    finish(alone)
    assert_agree(alone.out, together.out)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_other_and_resume_goes_on(cube: Path, tmp_path: Path, killed: int) -> None:
    settings = (*QUICK, "train.epochs=60", "train.validate_every=10")
    expected = Job(cube, tmp_path / "a" / "run", settings)
    job = Job(cube, tmp_path / "b" / "run", settings, options={"resume": True})
    processes = resume_together(job)
    wait_until(lambda: job.epochs_logged() > 5 or any(process.poll() is not None for process in processes))
    processes[killed].kill()
    assert processes[killed].wait() == -signal.SIGKILL
    assert processes[1 - killed].wait() == 2
    assert processes[1 - killed].communicate()[1] == (
        f"soilcast: process {1 - killed} of 2 lost another process, which was killed or failed: see "
        "its output, and restart all with --resume\n"
    )
    finish_together(job)
    finish_together(expected)
    assert bits(job.out) == bits(expected.out)
    assert epochs(job.out) == epochs(expected.out)
    assert [path.name for path in job.out.parent.iterdir()] == ["run"]


@pytest.mark.slow
def test_a_checkpoint_of_another_number_of_processes_is_refused(cube: Path, tmp_path: Path) -> None:
    job = Job(cube, tmp_path / "run", (*QUICK, "train.epochs=4000"))
    alone = fork(job)
    wait_until(lambda: (job.place / CHECKPOINT).exists() or not alone.is_alive())
    alone.kill()
    ends(alone)
    processes = resume_together(job)
    for process in processes:
        _, told = process.communicate()
        assert process.returncode == 2
        assert "is of processes 1, but this training of 2: resume with the same inputs" in told
        assert told.count("\n") == 1


@pytest.mark.slow
def test_two_processes_into_a_run_that_exists_are_refused(cube: Path, tmp_path: Path) -> None:
    job = Job(cube, tmp_path / "run", QUICK)
    finish(job)
    processes = [fork_command(job, environment=one) for one in ranks(2)]
    first, second = (process.communicate()[1] for process in processes)
    assert [process.returncode for process in processes] == [2, 2]
    assert "run exists already: give another --out" in first
    assert second.count("\n") == 1


@pytest.mark.slow
def test_processes_that_do_not_find_each_other_say_so(cube: Path, tmp_path: Path) -> None:
    alone = fork_command(Job(cube, tmp_path / "run", QUICK), environment={"WORLD_SIZE": "2"})
    _, errors = alone.communicate()
    assert alone.returncode == 2
    assert "soilcast: WORLD_SIZE is 2, but the processes cannot connect" in errors
    assert errors.count("\n") == 1
