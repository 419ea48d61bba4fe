"""What can be said against a variable without any balance: known bounds of its record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube import VARIABLES
from soilcast.cube.check import SMALLEST_SPREAD
from soilcast.doctoring.terms import Array, tiles

DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Record:
    """What is known of a variable after reading all of it, each ``(cell,)``; NaN without a value.

    Parameters
    ----------
    mean, lowest, highest
        Over the days, in the contract's unit.
    area
        Of the cells [m2].
    """

    mean: Array
    lowest: Array
    highest: Array
    area: Array


@dataclass(frozen=True)
class Rule:
    """A bound that the record of a variable keeps.

    Parameters
    ----------
    what
        The number in words, with its unit.
    number
        How it follows from the record.
    low, high
        Its bounds.
    below, above
        What to look at beyond them.
    """

    what: str
    number: Callable[[Record], float]
    low: float
    high: float
    below: str
    above: str


@dataclass(frozen=True)
class Doubt:
    """A rule that a variable breaks.

    Parameters
    ----------
    variable
        Its name.
    value, low, high
        The number and its bounds.
    sentence
        What is wrong, and what to look at.
    """

    variable: str
    value: float
    low: float
    high: float
    sentence: str

    def as_json(self) -> dict[str, Any]:
        """All fields, ready for JSON; null for a bound that there is none of."""
        finite = {name: value if np.isfinite(value) else None for name, value in list(vars(self).items())[1:4]}
        return {"variable": self.variable, **finite, "sentence": self.sentence}


def plausibility(cube: xr.Dataset) -> tuple[Doubt, ...]:
    """Look through the record of every variable that a rule is known for.

    Parameters
    ----------
    cube
        Lazy or in memory; each variable is read once, in tiles of bounded size.
    """
    doubts = []
    for name, rules in RULES.items():
        if name not in cube:
            continue
        record = _record(cube, name)
        for rule in rules:
            value = rule.number(record)
            if np.isfinite(value) and not rule.low <= value <= rule.high:
                doubts.append(_doubt(name, rule, value))
    return tuple(doubts)


def _doubt(name: str, rule: Rule, value: float) -> Doubt:
    is_low = value < rule.low
    bound = f"at least {rule.low:g}" if is_low else f"at most {rule.high:g}"
    remedy = rule.below if is_low else rule.above
    sentence = f"{name} ({VARIABLES[name].long_name}): {rule.what} is {value:.3g}, and {bound} is expected: {remedy}"
    return Doubt(name, value, rule.low, rule.high, sentence if sentence.endswith("?") else f"{sentence}.")


def _record(cube: xr.Dataset, name: str) -> Record:
    cells = cube.sizes["cell"]
    total, days = np.zeros(cells), np.zeros(cells)
    lowest, highest = np.full(cells, np.inf), np.full(cells, -np.inf)
    for tile in tiles(cube, (name,), before=0, after=0):
        values = tile.values[name]
        there = np.isfinite(values)
        total[tile.cells] += np.where(there, values, 0.0).sum(axis=1, dtype=np.float64)
        days[tile.cells] += there.sum(axis=1)
        lowest[tile.cells] = np.minimum(lowest[tile.cells], np.where(there, values, np.inf).min(axis=1))
        highest[tile.cells] = np.maximum(highest[tile.cells], np.where(there, values, -np.inf).max(axis=1))
    with np.errstate(invalid="ignore"):
        mean = np.where(days > 0, total / np.maximum(days, 1), np.nan)
    empty = days == 0
    return Record(
        mean,
        np.where(empty, np.nan, lowest),
        np.where(empty, np.nan, highest),
        cube["area"].to_numpy().astype(np.float64),
    )


def _mean(record: Record) -> float:
    there = np.isfinite(record.mean) & (record.area > 0)
    return float(np.average(record.mean[there], weights=record.area[there])) if there.any() else float("nan")


def _a_year(record: Record) -> float:
    return _mean(record) * DAYS_A_YEAR


def _highest(record: Record) -> float:
    return float(np.fmax.reduce(record.highest))


def _lowest(record: Record) -> float:
    return float(np.fmin.reduce(record.lowest))


def _moving(record: Record) -> float:
    """Share of the area with a value on which it moves."""
    there = np.isfinite(record.mean)
    moves = there & (record.highest - record.lowest >= SMALLEST_SPREAD)
    return float(record.area[moves].sum() / record.area[there].sum()) if there.any() else float("nan")


_A_YEAR = "the mean over the area [m a-1]"
_TEMPERATURE = (
    Rule("the mean over the area [K]", _mean, 220.0, 310.0, "is it in degC? --unit NAME=degC", "is it in K or degC?"),
    Rule("the highest day [K]", _highest, 240.0, 330.0, "is it in degC? --unit NAME=degC", "check for fill values"),
    Rule("the lowest day [K]", _lowest, 180.0, 310.0, "check for fill values, or is it in degC?", "is it in degF?"),
)
_MOISTURE = (
    Rule(
        "the fraction of the area on which it varies", _moving, 0.5, 1.0, "is it a static field, or rounded away?", ""
    ),
    Rule("the mean over the area [m3 m-3]", _mean, 0.005, 0.95, "is it a depth of water?", "is it in %, or a depth?"),
)


def _of(variable: str, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    return tuple(
        Rule(
            rule.what,
            rule.number,
            rule.low,
            rule.high,
            rule.below.replace("NAME", variable),
            rule.above.replace("NAME", variable),
        )
        for rule in rules
    )


RULES: Mapping[str, tuple[Rule, ...]] = {
    "t2m": _of("t2m", _TEMPERATURE),
    "d2m": _of("d2m", _TEMPERATURE),
    "tp": (
        Rule(_A_YEAR, _a_year, 0.02, 12.0, "1000 times too small (--unit tp=m)?", "mm read as m (--unit tp=mm)?"),
        Rule("the lowest day [m d-1]", _lowest, -1e-5, np.inf, "is its sign reversed?", ""),
    ),
    "e": (
        Rule(_A_YEAR, _a_year, -0.05, 2.5, "is its sign reversed? In soilcast it is positive upward",
             "mm read as m (--unit e=mm), or hourly values summed twice?"),
    ),
    "pev": (
        Rule(_A_YEAR, _a_year, 0.02, 8.0, "is its sign reversed, or is it 1000 times too small?", "mm read as m?"),
    ),
    "ro": (Rule(_A_YEAR, _a_year, -1e-4, 10.0, "is its sign reversed?", "mm read as m (--unit ro=mm)?"),),
    "sro": (Rule(_A_YEAR, _a_year, -1e-4, 10.0, "is its sign reversed?", "mm read as m (--unit sro=mm)?"),),
    "ssro": (Rule(_A_YEAR, _a_year, -1e-4, 10.0, "is its sign reversed?", "mm read as m (--unit ssro=mm)?"),),
    "sd": (
        Rule("the lowest day [m]", _lowest, -1e-4, np.inf, "snow depth is not negative: check for fill values", ""),
        Rule("the mean over the area [m]", _mean, 0.0, 11.0, "check for fill values", "mm read as m (--unit sd=mm)?"),
    ),
    "ssrd": (
        Rule("the highest day [W m-2]", _highest, 5.0, 520.0,
             "J m-2 of an hour, or MJ m-2, read as W m-2?", "J m-2 of a day read as W m-2 (--unit ssrd='J m-2')?"),
        Rule("the mean over the area [W m-2]", _mean, 30.0, 340.0, "was it divided by 24 or 3600 once too often?",
             "J m-2 of a day read as W m-2 (--unit ssrd='J m-2')?"),
    ),
    "strd": (
        Rule("the mean over the area [W m-2]", _mean, 100.0, 500.0, "is it the net and not the downward radiation?",
             "J m-2 of a day read as W m-2 (--unit strd='J m-2')?"),
    ),
    "sp": (
        Rule("the mean over the area [Pa]", _mean, 45e3, 105e3, "hPa read as Pa (--unit sp=hPa)?", "check its unit"),
    ),
    "q": (
        Rule("the mean over the area [kg kg-1]", _mean, 1e-4, 0.025, "check its unit", "g kg-1 read as kg kg-1?"),
    ),
    **{f"swvl{layer}": _MOISTURE for layer in (1, 2, 3)},
    "swvl4": _MOISTURE[1:],
}  # fmt: skip
"""Variable -> the bounds of its record. They hold for any region of some size on land, deserts and ice included."""
