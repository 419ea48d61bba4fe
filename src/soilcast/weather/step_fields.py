"""What a forecast holds before it is daily: fields at steps, each with its run, member and the time that it is of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from soilcast.errors import SoilcastError
from soilcast.sources.parameters import Recipe
from soilcast.weather.quantities import WEATHER_RECIPES, Quantity

Doubles = npt.NDArray[np.float64]

DAY = 24
"""Hours of a day."""


@dataclass(frozen=True, eq=False)
class Axes:
    """Where the points of fields lie.

    Parameters
    ----------
    lat, lon
        Of a grid ``(lat,)`` and ``(lon,)``; of a list of places, ``(place,)`` each [degrees].
    is_grid
        Whether they are the axes of a regular grid.
    """

    lat: Doubles
    lon: Doubles
    is_grid: bool = True

    @property
    def extent(self) -> str:
        """What it covers, in words."""
        size = f"a grid of {len(self.lat)} x {len(self.lon)} points" if self.is_grid else f"{len(self.lat)} cells"
        lat, lon = (f"{axis.min():g} .. {axis.max():g}" for axis in (self.lat, self.lon))
        return f"{size}, lat {lat}, lon {lon}"

    def same_as(self, other: Axes) -> bool:
        """Whether points lie at the same places in the same order."""
        return self is other or (np.array_equal(self.lat, other.lat) and np.array_equal(self.lon, other.lon))


@dataclass(frozen=True, eq=False)
class StepField:
    """One field of a forecast.

    Parameters
    ----------
    quantity
        What it is, in which unit.
    run
        Start of the forecast, hours since 1970-01-01 00 UTC.
    member
        Number of the member; None where there is no ensemble.
    start, end
        The time that it is of, in the same hours; the same for an instant. A start that is not known, but is the same
        for all fields of the run, is `UNKNOWN`.
    axes
        Where its points lie.
    read
        Gives the values in the file's unit ``(lat, lon)`` or ``(place,)`` float64, NaN where missing.
    rounding
        Step in which the file has rounded the values [the file's unit].
    where
        The file, for messages.
    origin
        Who made it: centre and kind of forecast.
    """

    quantity: Quantity
    run: int
    member: int | None
    start: int
    end: int
    axes: Axes
    read: Callable[[], Doubles] = field(repr=False)
    rounding: float = 0.0
    where: str = ""
    origin: str = ""

    @property
    def key(self) -> tuple[int, int | None, int, int]:
        """Run, member and time."""
        return self.run, self.member, self.start, self.end


UNKNOWN = -(1 << 40)
"""The start of accumulations that begin nobody knows when."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A variable of the contract at a step, made of the fields that its recipe needs.

    Parameters
    ----------
    fields
        One of each part of the recipe, of the same run, member and time.
    recipe
        How they are combined.
    """

    fields: tuple[StepField, ...]
    recipe: Recipe

    @property
    def start(self) -> int:
        """See `StepField`."""
        return self.fields[0].start

    @property
    def end(self) -> int:
        """See `StepField`."""
        return self.fields[0].end

    @property
    def is_instant(self) -> bool:
        """Whether it is of an instant, and not of a time that has a length."""
        return self.start == self.end

    @property
    def days(self) -> float:
        """What the value is multiplied with to be a share of a day's total: an amount is such a share itself [d]."""
        return 1.0 if self.fields[0].quantity.is_amount else (self.end - self.start) / DAY

    def values(self) -> tuple[Doubles, float]:
        """Read it in the contract's unit, amounts as if of a day; and the largest error that rounding may have left."""
        converted, rounding = [], 0.0
        for one in self.fields:
            change = one.quantity.conversion(one.where)
            stored = one.read()
            converted.append(stored * change.scale + change.offset)
            single = float(np.finfo(np.float32).eps) * float(np.nanmax(np.abs(stored), initial=0.0))
            rounding += (one.rounding + single) * abs(change.scale)
        return np.asarray(self.recipe.combine(*converted), dtype=np.float64), rounding


def samples_of(name: str, fields: Sequence[StepField]) -> list[Sample]:
    """Put the parts of a variable together, by the first recipe of which all parts are there.

    Parameters
    ----------
    name
        Variable of the contract.
    fields
        All that the files hold.

    Returns
    -------
    In the order of time; none where no recipe has all its parts.

    Raises
    ------
    SoilcastError
        Two fields are of the same run, member and time and differ.
    """
    known = {one.quantity.name for one in fields}
    recipe = next((one for one in WEATHER_RECIPES.get(name, ()) if known.issuperset(one.parts)), None)
    if recipe is None:
        return []
    parts = [_by_key(part, fields) for part in recipe.parts]
    common = set(parts[0]).intersection(*parts[1:])
    ordered = sorted(common, key=lambda key: (key[0], -1 if key[1] is None else key[1], key[3], -key[2]))
    return [Sample(tuple(part[key] for part in parts), recipe) for key in ordered]


def _by_key(part: str, fields: Sequence[StepField]) -> dict[tuple[int, int | None, int, int], StepField]:
    """Fields of a part by run, member and time; of an amount and the mean rate of one time the amount."""
    found: dict[tuple[int, int | None, int, int], StepField] = {}
    for one in fields:
        if one.quantity.name != part:
            continue
        other = found.setdefault(one.key, one)
        if other is one:
            continue
        if other.quantity.is_amount == one.quantity.is_amount:
            _refuse_difference(other, one)
        elif one.quantity.is_amount:
            found[one.key] = one
    return found


def _refuse_difference(one: StepField, other: StepField) -> None:
    """The same field may stand in two files, or twice in one; two forecasts of one time may not."""
    if one.axes.same_as(other.axes):
        changes = [each.quantity.conversion(each.where) for each in (one, other)]
        mine, theirs = (each.read() * c.scale + c.offset for each, c in zip((one, other), changes, strict=True))
        rounding = sum(each.rounding * abs(c.scale) for each, c in zip((one, other), changes, strict=True))
        if np.allclose(mine, theirs, rtol=1e-6, atol=2 * rounding, equal_nan=True):
            return
    run, end = (np.datetime64(hours, "h") for hours in (one.run, one.end))
    member = "" if one.member is None else f", member {one.member}"
    files = one.where if one.where == other.where else f"{one.where} and {other.where}"
    raise SoilcastError(
        f"{files}: two different fields of {one.quantity.name} at {end} of the run of {run}{member} "
        f"({one.origin}; {other.origin}): give the files of one forecast model"
    )
