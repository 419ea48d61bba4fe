"""Trainings in processes of their own, which are killed: the genuine command, and forks."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from soilcast.training import load_config, train
from soilcast.training.config import Config
from soilcast.training.samples import SAMPLERS, SampleIndex, SampleIndices
from tests.helpers.forks import Death, Fork, ends, start, start_command

ALWAYS = {"soilcast.training.checkpoint._SHARE": 1e9}
"""A checkpoint after every epoch, whatever it costs: there is more to be killed in."""


@dataclass(frozen=True)
class Job:
    """One training.

    Parameters
    ----------
    cube, out
        Paths.
    settings
        Keys of the config; one thread unless they name another number.
    model
        Name of the model.
    options
        Arguments of ``soilcast.train``.
    patches
        ``module.name`` -> value, for a fork only.
    """

    cube: Path
    out: Path
    settings: Sequence[str] = ()
    model: str = "phys-lstm"
    options: Mapping[str, Any] = field(default_factory=dict)
    patches: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> Path:
        """Where it is trained."""
        return self.out.with_name(f"{self.out.name}.unfinished")

    def epochs_logged(self) -> int:
        """Lines of the log of a training that is under way."""
        log = self.place / "log.jsonl"
        return log.read_text().count("\n") if log.exists() else 0


def fork(job: Job, death: Death | None = None, environment: Mapping[str, str] | None = None) -> BaseProcess:
    """Start a training in a fork of a process that has imported everything already."""
    return start(_train, job, death, dict(environment or {}))


def fork_command(job: Job, *options: str, environment: Mapping[str, str] | None = None) -> Fork:
    """Start what the command runs in such a fork."""
    return start_command(*words(job, *options)[1:], environment=environment or {})


def finish(*jobs: Job) -> None:
    """Train in forks, one after the other."""
    for job in jobs:
        assert ends(fork(job)) == 0


def finish_together(job: Job, count: int = 2) -> None:
    """Train one run in several processes, as torchrun starts them."""
    processes = [fork(job, environment=environment) for environment in ranks(count)]
    assert [ends(process) for process in processes] == [0] * count


def command(job: Job, *options: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start the genuine command."""
    return subprocess.Popen(
        [sys.executable, "-m", *words(job, *options)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | dict(environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def words(job: Job, *options: str) -> list[str]:
    """Give the command of a training, from ``soilcast`` on."""
    found = ["soilcast", "train", "--cube", str(job.cube), "--out", str(job.out), "--model", job.model, *options]
    return found + [word for setting in ("train.threads=1", *job.settings) for word in ("--set", setting)]


def ranks(count: int) -> list[dict[str, str]]:
    """Give the environments of processes that train together on this machine."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def stop_at(patch: pytest.MonkeyPatch, epoch: int, error: type[BaseException] = KeyboardInterrupt) -> None:
    """Have the next training of this very process stopped as an epoch begins."""
    sampler, begun = SAMPLERS["cell_days"], itertools.count(1)

    def stopping(usable: SampleIndex, batches: int, size: int, random: np.random.Generator) -> SampleIndices:
        if next(begun) == epoch:
            raise error
        return sampler(usable, batches, size, random)

    patch.setitem(SAMPLERS, "cell_days", stopping)


def leave_unfinished(cube: Path, out: Path, config: Config, epoch: int = 4) -> None:
    """Train in this very process until an epoch begins, and leave a checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, (epoch - 1) * config.train.ensemble + 1)
        assert train(cube, out, config).record["status"] == "interrupted"


def bits(out: Path) -> bytes:
    """All weights and statistics of a run."""
    return (out / "weights.safetensors").read_bytes()


def epochs(out: Path) -> list[dict[str, Any]]:
    """The log of a run, without how long it took."""
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in one.items() if not key.startswith(("seconds", "samples"))} for one in records]


def _train(job: Job, death: Death | None, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    for name, value in job.patches.items():
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)
    if death is not None:
        death.await_in(job.out.parent.parent)
    train(job.cube, job.out, load_config(settings=["train.threads=1", *job.settings], model=job.model), **job.options)
