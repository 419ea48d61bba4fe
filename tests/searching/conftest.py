"""Searches whose trainings take no time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.experiments.searches import Search
from soilcast.searching import search, trials
from soilcast.training import Config, Run, load_config, train
from tests.helpers.small import few

Made = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A cube and a run of it, which others are made of."""
    path = tmp_path_factory.mktemp("trained")
    save_cube(few(cells=3, days=120), path / "cube")
    settings = ["train.epochs=1", "train.batches_per_epoch=1", "network.hidden_size=2", "split.test=2018-04"]
    return path / "cube", train(path / "cube", path / "run", load_config(settings=settings), limits={})


@pytest.fixture
def made(trained: tuple[Path, Run], monkeypatch: pytest.MonkeyPatch) -> Made:
    """Search in no time: a trial is the better the nearer its learning rate is to 0.01; what is above 0.5 diverges."""
    cube, run = trained

    def pretend(cube: Path, runs: Mapping[Path, Config], *, limits: Any, ended: Any, **options: Any) -> None:
        for out, config in runs.items():
            rate = config.train.learning_rate
            if rate > 0.5:
                ended(out, SoilcastError("training diverged"))
                continue
            ratio = abs(math.log(rate / 0.01)) + 0.01 * config.train.seed
            log = [{"epoch": epoch, "validation_loss": ratio / epoch} for epoch in (1, 2, 3)]
            status = "finished"
            for epoch in (1, 2):
                if ratio / epoch > limits[out].get(epoch, math.inf):
                    log, status = log[:epoch], "pruned"
                    break
            best = min(record["validation_loss"] for record in log)
            found = {"validation_ratio": ratio, "best_validation_loss": best, "status": status}
            ended(out, replace(run, record={**run.record, **found}, log=log))

    monkeypatch.setattr(trials, "train_runs", pretend)

    def make(out: Path, **changed: Any) -> pd.DataFrame:
        names = ("settings", "jobs", "hours", "overwrite", "resume", "log", "cube")
        options = {name: changed.pop(name) for name in names if name in changed}
        plan = {"search": {"train.learning_rate": {"low": 0.0001, "high": 0.4, "log": True}}, "trials": 6, **changed}
        return search(Search(**plan), out, **{"cube": cube, "log": lambda line: None, **options})

    return make
