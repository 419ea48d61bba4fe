"""What the paper itself reports, beside the results and never mixed with them."""

from __future__ import annotations

from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict

from soilcast.reporting.tables import head, number
from soilcast.schema import read_yaml, validate

SCORES = ("r", "rmse", "r2", "kge")
"""The scores of the paper (Eq. 15-18)."""


class _Numbers(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: tuple[str, ...]


class Ranges(_Numbers):
    """Lowest and highest score of some rows together."""

    r: tuple[float, float]
    rmse: tuple[float, float]
    r2: tuple[float, float]
    kge: tuple[float, float]


class Changes(_Numbers):
    """Change of a score against LSTM [%]."""

    r: float
    rmse: float
    r2: float
    kge: float


class Reported(BaseModel):
    """The numbers in the paper's prose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str
    ranges: tuple[Ranges, ...]
    changes: tuple[Changes, ...]
    best: dict[str, str]


@cache
def reported() -> Reported:
    """Read ``experiments/paper/reported.yaml``."""
    file = resources.files("soilcast.experiments").joinpath("paper", "reported.yaml")
    with resources.as_file(file) as path:
        return validate(Reported, read_yaml(path), str(path))


def reported_range(row: str, metric: str) -> tuple[float, float] | None:
    """Range that the paper gives for a row, if it gives one."""
    for ranges in reported().ranges:
        if row in ranges.rows and metric in SCORES:
            low, high = getattr(ranges, metric)
            return float(low), float(high)
    return None


def reported_change(row: str, metric: str) -> float | None:
    """Change against LSTM that the paper gives for a row [%], if it gives one."""
    for changes in reported().changes:
        if row in changes.rows and metric in SCORES:
            return float(getattr(changes, metric))
    return None


def reported_in_words(row: str) -> list[str]:
    """What the paper reports of the scores of a row, a short line a metric."""
    lines = []
    for metric in SCORES:
        ranges, change = reported_range(row, metric), reported_change(row, metric)
        words = [] if ranges is None else [f"{number(ranges[0], metric)} to {number(ranges[1], metric)}"]
        words += [] if change is None else [f"{change:+.1f} %".replace("-", "\N{MINUS SIGN}")]
        if words:
            lines.append(f"{head(metric)} {', '.join(words)}")
    return lines
