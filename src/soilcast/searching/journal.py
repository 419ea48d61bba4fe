"""What a search leaves: its journal, from which it goes on, and its results; each file whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from soilcast.errors import SoilcastError
from soilcast.files import disk_faults_told, harmless_table, replace_file
from soilcast.schema import validate
from soilcast.training.loop import best_losses
from soilcast.training.run import Run
from soilcast.training.run_folder import parsed

JOURNAL, ABOUT, TABLE, BEST, FIGURE = "trials.jsonl", "search.json", "trials.csv", "best.yaml", "trials.png"
FORMAT = 1


class Trial(BaseModel):
    """One trial, as a line of the journal.

    Parameters
    ----------
    trial
        Its number, from 0.
    parameters
        Config key -> value.
    status
        Pruned if one of its runs was; failed if one of its runs could not be trained.
    value
        The objective, mean over the seeds; None unless complete.
    values
        That of each seed.
    epochs
        Epochs of the run of each seed.
    losses
        Epoch -> lowest validation loss by then, mean over the seeds.
    reason
        Why it failed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    trial: int
    parameters: dict[str, Any]
    status: Literal["complete", "pruned", "failed"]
    value: float | None = None
    values: tuple[float, ...] = ()
    epochs: tuple[int, ...] = ()
    losses: dict[int, float] = {}
    reason: str = ""


def trial_of(number: int, parameters: Mapping[str, Any], runs: Sequence[Run | SoilcastError], objective: str) -> Trial:
    """Sum up the runs of a trial, one a seed."""
    known: dict[str, Any] = {"trial": number, "parameters": dict(parameters)}
    good = [run for run in runs if isinstance(run, Run)]
    if len(good) < len(runs):
        reason = next(str(run) for run in runs if isinstance(run, SoilcastError))
        return Trial(**known, status="failed", reason=reason)
    key = {"ratio": "validation_ratio", "validation_loss": "best_validation_loss"}[objective]
    values = tuple(float(run.record[key]) for run in good)
    if not np.isfinite(values).all():
        return Trial(**known, status="failed", reason=f"its {objective} is not defined on the validation days")
    curves = [best_losses(run.log) for run in good]
    shared = sorted(set.intersection(*map(set, curves)))
    known |= {"values": values, "epochs": tuple(len(run.log) for run in good)}
    known["losses"] = {epoch: float(np.mean([curve[epoch] for curve in curves])) for epoch in shared}
    if any(run.record["status"] == "pruned" for run in good):
        return Trial(**known, status="pruned")
    return Trial(**known, status="complete", value=float(np.mean(values)))


def limits_of(done: Sequence[Trial], fewest: int, epochs: int) -> dict[int, float]:
    """Give the median of the completed trials' lowest losses by each epoch that ``fewest`` of them came to.

    Parameters
    ----------
    epochs
        Number of the first epochs that have no limit.
    """
    losses = [trial.losses for trial in done if trial.status == "complete"]
    reached = sorted({epoch for one in losses for epoch in one if epoch > epochs})
    by_epoch = {epoch: [one[epoch] for one in losses if epoch in one] for epoch in reached}
    return {epoch: float(np.median(values)) for epoch, values in by_epoch.items() if len(values) >= fewest}


def best_of(done: Sequence[Trial]) -> Trial | None:
    """Give the best trial; of equal ones the first."""
    complete = [trial for trial in done if trial.value is not None]
    return min(complete, key=lambda trial: (trial.value, trial.trial)) if complete else None


def read_journal(out: Path) -> dict[int, Trial]:
    """Read the trials that are done; none where there is no journal.

    Raises
    ------
    SoilcastError
        The journal is damaged.
    """
    file = out / JOURNAL
    if not file.exists():
        return {}
    lines = [parsed(file, line) for line in file.read_text(encoding="utf-8").splitlines()]
    trials = [
        validate(Trial, line if isinstance(line, dict) else {}, f"{file}, line {number}")
        for number, line in enumerate(lines, start=1)
    ]
    return {trial.trial: trial for trial in trials}


def write_journal(out: Path, done: Mapping[int, Trial]) -> None:
    """Write the trials, in order of their numbers whatever order they ended in."""
    lines = [done[number].model_dump_json() + "\n" for number in sorted(done)]
    write_file(out / JOURNAL, "".join(lines).encode())


def write_file(path: Path, content: bytes) -> None:
    """Write a file of a search, whole or not at all.

    Raises
    ------
    SoilcastError
        A full disk, or a folder that cannot be written.
    """
    with disk_faults_told(path):
        replace_file(path, content)


def table_of(done: Sequence[Trial]) -> pd.DataFrame:
    """Make the table of trials, best first, then those that were pruned, then those that failed.

    Returns
    -------
    Index ``trial``; ``status``, ``value``, a column a config key, ``values`` and ``epochs`` of the seeds, ``reason``.
    """
    rank = {"complete": 0, "pruned": 1, "failed": 2}
    order = sorted(done, key=lambda one: (rank[one.status], one.value or 0.0, one.trial))
    keys = list(done[0].parameters) if done else []
    rows = {
        one.trial: {
            "status": one.status,
            "value": np.nan if one.value is None else one.value,
            **{key: _shown(one.parameters[key]) for key in keys},
            "values": " ".join(map(repr, one.values)),
            "epochs": " ".join(map(str, one.epochs)),
            "reason": one.reason,
        }
        for one in order
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("trial")


def write_table(out: Path, done: Sequence[Trial]) -> None:
    """Write the table of trials."""
    write_file(out / TABLE, harmless_table(table_of(done)).to_csv().encode())


def _shown(value: Any) -> Any:
    """Keep numbers and texts; write what is neither as JSON."""
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else json.dumps(value)
