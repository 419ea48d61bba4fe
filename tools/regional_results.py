"""Guidance by region: chosen class by class on the validation days by a search, judged on the test days."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from soilcast import reproduce
from soilcast.experiments.searches import nested
from soilcast.reporting.tables import markdown
from soilcast.searching import Search, search

_INFLOW = {"water.snow": "closing", "water.sign": "inflow"}
_CHOICES: dict[str, dict[str, Any]] = {
    "none": {"loss.balance": "none"},
    "W1": {"loss.balance": "single", "loss.weights": [0.5, 0.5], **_INFLOW},
    "W2": {"loss.balance": "multi", "loss.weights": [0.1, 0.9], **_INFLOW},
    "W2 printed": {"loss.balance": "multi", "loss.weights": [0.1, 0.9]},
}
"""Guidance that a class may have, by the name that the table gives it."""

_CONFIG: dict[str, Any] = {
    "task": {"lags": ["swvl1"], "known_future": ["tp"]},
    "head": {"predict": "change"},
    "normalise": {"scope": "global"},
}
_TRIALS, _SEEDS, _SHOWN = 20, 2, 5
_UNGUIDED = "No guidance"


def regional(
    name: str, by: str, classes: Sequence[str], cube: Path, out: Path, settings: Sequence[str]
) -> Iterator[str]:
    """Search the guidance of each class and compare it with one guidance and with none; what is done is used again.

    Parameters
    ----------
    name
        Of the data set.
    by, classes
        The class map, and those of its classes that cells have.
    cube, out
        The cube, and the folder for search and runs.
    settings
        ``key=value`` settings of all runs.
    """
    folder = out / name
    space = {f"loss.classes.{one}": list(_CHOICES.values()) for one in classes}
    plan = Search(config={**_CONFIG, "loss": {"by": by}}, search=space, trials=_TRIALS, seeds=_SEEDS)
    jobs = len(os.sched_getaffinity(0))
    trials = search(plan, folder / "search", cube=cube, settings=settings, jobs=jobs, resume=True)
    names = {json.dumps(value): choice for choice, value in _CHOICES.items()}
    yield f"### {name}, by {by}\n"
    yield (
        f"{len(trials)} trials of {_SEEDS} seeds; the best {_SHOWN}, by the RMSE relative to persistence on the "
        "validation days:\n"
    )
    rows = [_row(trial, list(space), names) for _, trial in trials.head(_SHOWN).iterrows()]
    yield markdown("Trial", [*(f"class {one}" for one in classes), "ratio"], rows)
    best = yaml.safe_load((folder / "search" / "best.yaml").read_text(encoding="utf-8"))
    study = {
        "title": f"Guidance by {by}, judged on the test days",
        "show": "table",
        "reference": _UNGUIDED,
        "config": _CONFIG,
        "runs": {
            _UNGUIDED: {"model": "lstm"},
            "One guidance": {"model": "lstm", **nested(_CHOICES["W2"])},
            f"Guidance by {by}": {"model": "lstm", "loss": {"by": by, "classes": best["loss"]["classes"]}},
        },
    }
    file = folder / f"{by}.yaml"
    file.write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    page = reproduce(file, cube, folder, seeds=3, settings=settings)
    _, _, result = page.with_suffix(".md").read_text(encoding="utf-8").partition("\n## ")
    yield f"#### {result.strip()}\n"


def _row(trial: pd.Series[Any], keys: Sequence[str], names: dict[str, str]) -> tuple[str, list[str]]:
    chosen = [names[str(trial[key])] for key in keys]
    return str(trial.name), [*chosen, f"{trial['value']:.4f}"]
