"""What can be said against a variable without any balance: known bounds of its record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.check import SMALLEST_SPREAD, BoundsError
from soilcast.cube.contract import VARIABLES
from soilcast.cube.store import CELL_CHUNK, DAY_CHUNK, read

Array = npt.NDArray[np.float64]

DAYS_A_YEAR = 365.25
_NEARLY_A_YEAR = 300
"""Days from which on a mean is that of a year: of less a storm or a dry season says little."""

FEWEST_DAYS = 30
"""With fewer days nothing is called unusual: they are those of a season."""

_TURNED = -1e-4 * DAYS_A_YEAR
"""Mean evaporation below which its sign must be wrong: no land takes up so much dew [m a-1]."""

_CELLS_AT_A_TIME = 16 * CELL_CHUNK

UNUSUAL = "unusual: "
"""How notes on a cube begin that follow from its values, and so are made anew when days are added."""


@dataclass(frozen=True)
class Record:
    """What is known of a variable after reading all of it, each ``(cell,)``; NaN without a value.

    Parameters
    ----------
    mean, lowest, highest
        Over the days, in the contract's unit.
    area
        Of the cells [m2].
    days
        The most that any cell has.
    """

    mean: Array
    lowest: Array
    highest: Array
    area: Array
    days: int


class Tally:
    """The record of a variable while its values come in, a block of cells and days at a time."""

    def __init__(self, area: Array) -> None:
        self._area = area
        self._total, self._days = np.zeros(len(area)), np.zeros(len(area), dtype=np.int64)
        self._lowest, self._highest = np.full(len(area), np.inf), np.full(len(area), -np.inf)

    def add(self, cells: slice, values: npt.NDArray[np.floating]) -> None:
        """Take values ``(cell, time)`` of some cells."""
        total = values.sum(axis=1, dtype=np.float64)
        holes = ~np.isfinite(total)
        self._days[cells] += values.shape[1]
        self._lowest[cells] = np.fmin(self._lowest[cells], np.fmin.reduce(values, axis=1))
        self._highest[cells] = np.fmax(self._highest[cells], np.fmax.reduce(values, axis=1))
        if holes.any():
            missing = ~np.isfinite(values[holes])
            total[holes] = np.where(missing, 0.0, values[holes]).sum(axis=1, dtype=np.float64)
            self._days[cells][holes] -= missing.sum(axis=1)
        self._total[cells] += total

    def record(self) -> Record:
        """What came in."""
        empty = self._days == 0
        return Record(
            np.where(empty, np.nan, self._total / np.maximum(self._days, 1)),
            np.where(empty, np.nan, self._lowest),
            np.where(empty, np.nan, self._highest),
            self._area,
            int(self._days.max(initial=0)),
        )


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
    certain
        Whether a number beyond them can be nothing but a fault; None where it may be real.
    """

    what: str
    number: Callable[[Record], float]
    low: float
    high: float
    below: str
    above: str
    certain: Callable[[Record, float], bool] | None = None


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
        Lazy or in memory; each variable is read once, in blocks of bounded size.
    """
    return tuple(doubts_of({name: _read(cube, name) for name in RULES if name in cube}))


def doubts_of(records: Mapping[str, Record]) -> list[Doubt]:
    """What is not plausible in some records, each on its own."""
    return [_doubt(name, rule, value) for name, one in records.items() for rule, value in _broken(name, one)]


def refuse_certain(name: str, record: Record, where: str) -> None:
    """Refuse a record that can be nothing but a fault of conversion, such as evaporation that goes down everywhere.

    Raises
    ------
    BoundsError
        Names the number, what is expected and the remedy.
    """
    for rule, value in _broken(name, record):
        if rule.certain is not None and rule.certain(record, value):
            sentence = _doubt(name, rule, value).sentence.rstrip(".?")
            raise BoundsError(f"{where}: {sentence}; if it is real, add --genuine {name}")


def _broken(name: str, record: Record) -> Iterable[tuple[Rule, float]]:
    for rule in RULES.get(name, ()):
        value = rule.number(record)
        if np.isfinite(value) and not rule.low <= value <= rule.high:
            yield rule, value


def _read(cube: xr.Dataset, name: str) -> Record:
    tally = Tally(cube["area"].to_numpy().astype(np.float64))
    for first in range(0, cube.sizes["time"], DAY_CHUNK):
        days = cube.isel(time=slice(first, first + DAY_CHUNK))
        for start in range(0, cube.sizes["cell"], _CELLS_AT_A_TIME):
            cells = slice(start, min(start + _CELLS_AT_A_TIME, cube.sizes["cell"]))
            tally.add(cells, read(days, name, cells))
    return tally.record()


def imbalance(records: Mapping[str, Record]) -> Iterable[Doubt]:
    """Over a year what falls runs off or evaporates, but for what the stores take: they cannot take a half of it."""
    runoff = ["ro"] if "ro" in records else ["sro", "ssro"]
    if not {"tp", "e", *runoff} <= records.keys() or records["tp"].days < _NEARLY_A_YEAR:
        return
    rain, evaporation, *flows = (_a_year(records[name]) for name in ("tp", "e", *runoff))
    leaving = evaporation + sum(flows)
    share = leaving / rain if rain > 0 else np.nan
    if np.isfinite(share) and not _LEAVING[0] <= share <= _LEAVING[1]:
        yield Doubt(
            "tp",
            share,
            *_LEAVING,
            f"of {rain:.3g} m of precipitation a year {evaporation:.3g} m evaporate and {sum(flows):.3g} m run off "
            f"({', '.join(runoff)}), in all {100 * share:.3g} % of it: is the unit or the sign of one of them wrong?",
        )


_LEAVING = (0.5, 1.5)


def _doubt(name: str, rule: Rule, value: float) -> Doubt:
    is_low = value < rule.low
    bound = f"at least {rule.low:g}" if is_low else f"at most {rule.high:g}"
    remedy = rule.below if is_low else rule.above
    sentence = f"{name} ({VARIABLES[name].long_name}): {rule.what} is {value:.3g}, and {bound} is expected: {remedy}"
    return Doubt(name, value, rule.low, rule.high, sentence if sentence.endswith("?") else f"{sentence}.")


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


def _is_year(record: Record, _: float) -> bool:
    return record.days >= _NEARLY_A_YEAR


def _is_turned(record: Record, mean: float) -> bool:
    """Whether evaporation goes down nearly everywhere."""
    there = np.isfinite(record.mean)
    return mean < _TURNED and float(np.average(record.mean[there] < 0, weights=record.area[there])) > 0.9


def _is_a_thousandth(record: Record, mean: float) -> bool:
    """Whether rain is too much or too little by a factor, and no storm or desert."""
    return mean > 200.0 or (record.days >= _NEARLY_A_YEAR and (mean > 12.0 or 0.0 < mean < 1e-3))


_UPWARD = (
    "its sign is reversed, in soilcast it is positive upward: --flip-sign NAME, or in a mapping write sign: -1 for "
    "NAME or remove it"
)
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
        Rule(_A_YEAR, _a_year, 0.02, 12.0, "1000 times too small (--unit tp=m)?", "mm read as m (--unit tp=mm)?",
             _is_a_thousandth),
        Rule("the lowest day [m d-1]", _lowest, -1e-5, np.inf, "is its sign reversed?", ""),
    ),
    "e": (
        Rule(_A_YEAR, _a_year, _TURNED, 2.5, _UPWARD.replace("NAME", "e"),
             "mm read as m (--unit e=mm), or hourly values summed twice?", _is_turned),
    ),
    "pev": (
        Rule(_A_YEAR, _a_year, 0.02, 8.0, f"it is 1000 times too small, or {_UPWARD.replace('NAME', 'pev')}",
             "mm read as m?", _is_turned),
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
        Rule("the mean over the area [W m-2]", _mean, 30.0, 340.0,
             "MJ m-2 read as W m-2 (--unit ssrd='MJ m-2'), or divided by 24 or 3600 once too often?",
             "J m-2 of a day read as W m-2 (--unit ssrd='J m-2')?", _is_year),
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
