"""Sensors of soil moisture: their daily means, their layers, and which one stands for its station and layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from soilcast.cube.layers import layer_at

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Station:
    """A place with sensors.

    Parameters
    ----------
    network, name
        Its network, empty where none is named, and its name.
    lat, lon
        [degrees].
    elevation
        [m]; NaN where it is not known.
    """

    network: str
    name: str
    lat: float
    lon: float
    elevation: float = float("nan")

    @property
    def label(self) -> str:
        """Name of its cell."""
        return f"{self.network}/{self.name}" if self.network else self.name


@dataclass(frozen=True)
class Sensor:
    """The daily means of a sensor.

    Parameters
    ----------
    station
        Where it is.
    where
        Its file and column, for messages.
    instrument
        What tells it from others at its depth.
    depth
        Middle of the depths that it measures [m].
    unit
        As the file writes it; None where it is silent.
    days, values
        ``(day,)``, ascending, in this unit.
    dropped
        Reason -> number of values that are left out.
    short_days
        Days that are left out for want of hours.
    most_hours
        Of a day, with a value that counts; 0 of values that came as daily ones.
    """

    station: Station
    where: str
    instrument: str
    depth: float
    unit: str | None
    days: Days = field(repr=False)
    values: Floats = field(repr=False)
    dropped: Counter[str] = field(default_factory=Counter)
    short_days: int = 0
    most_hours: int = 0


def daily_means(times: npt.NDArray[np.datetime64], values: Floats, least_hours: int) -> tuple[Days, Floats, int, int]:
    """Mean of each day of UTC from 00:00 to 24:00: of its hours, each the mean of its values.

    Parameters
    ----------
    times
        ``(value,)``, UTC.
    values
        Finite ones alone ``(value,)``.
    least_hours
        Different hours with a value that a day needs.

    Returns
    -------
    Days and means ``(day,)``; number of days with fewer hours, and most hours of a day.
    """
    hours, inverse = np.unique(times.astype("datetime64[h]"), return_inverse=True)
    count = np.bincount(inverse, minlength=len(hours))
    hourly = np.bincount(inverse, weights=values, minlength=len(hours)) / np.maximum(count, 1)
    days, of_day = np.unique(hours.astype("datetime64[D]"), return_inverse=True)
    hours_of = np.bincount(of_day, minlength=len(days))
    means = np.bincount(of_day, weights=hourly, minlength=len(days)) / np.maximum(hours_of, 1)
    enough = hours_of >= least_hours
    return days[enough], means[enough], int((~enough).sum()), int(hours_of.max(initial=0))


@dataclass(frozen=True)
class Choice:
    """Which sensors stand for their station and layer.

    Parameters
    ----------
    chosen
        (label of the station, number of the layer) -> sensor.
    outside
        Sensors above or beneath all layers.
    farther, shorter
        Numbers of sensors that another of their station and layer is preferred to, since it lies nearer to the middle
        of the layer, or since of those at its depth it has the most days.
    """

    chosen: dict[tuple[str, int], Sensor]
    outside: tuple[Sensor, ...]
    farther: int
    shorter: int


def choose(sensors: Iterable[Sensor], bounds: Sequence[float]) -> Choice:
    """Choose one sensor a station and layer: nearest to the middle of the layer, then with the most days.

    Of equally near ones the shallower is taken, of equally long ones the first by the name of its instrument and file.
    A sensor without any day is not chosen.
    """
    groups: dict[tuple[str, int], list[Sensor]] = {}
    outside = []
    for sensor in sensors:
        layer = layer_at(sensor.depth, bounds)
        if layer is None:
            outside.append(sensor)
        elif len(sensor.days):
            groups.setdefault((sensor.station.label, layer), []).append(sensor)
    chosen, farther, shorter = {}, 0, 0
    for (label, layer), group in groups.items():
        middle = (bounds[layer] + bounds[layer + 1]) / 2
        distance = [round(abs(sensor.depth - middle), 6) for sensor in group]
        order = sorted(
            zip(distance, group, strict=True),
            key=lambda one: (one[0], one[1].depth, -len(one[1].days), one[1].instrument, one[1].where),
        )
        best = order[0][1]
        chosen[label, layer] = best
        replicates = sum(sensor.depth == best.depth for sensor in group) - 1
        shorter += replicates
        farther += len(group) - 1 - replicates
    return Choice(chosen, tuple(outside), farther, shorter)
