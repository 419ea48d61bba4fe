"""Which requests a download is made of: months and groups of variables, within the limits of the store."""

from __future__ import annotations

import calendar
import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from soilcast.cube.calendar import days_of
from soilcast.cube.contract import VARIABLES
from soilcast.downloading.datasets import DATASETS, FORMATS, MIDNIGHT, Collection, Day
from soilcast.errors import SoilcastError
from soilcast.schema import nearest

Area = tuple[float, float, float, float]
"""North, west, south, east [degrees]."""


@dataclass(frozen=True)
class Piece:
    """One request and the file that it becomes.

    Parameters
    ----------
    dataset, product
        Name in `DATASETS`, and of one of its products.
    variables
        Contract names.
    collection
        What is asked.
    first, last
        Days, of one month.
    hours
        Hours of these days; none where the store has one value a day.
    area, format
        As `download` takes them.
    """

    dataset: str
    product: str
    variables: tuple[str, ...]
    collection: Collection
    first: Day
    last: Day
    hours: tuple[str, ...]
    area: Area
    format: str

    @property
    def name(self) -> str:
        """Name of the file without its ending: ``era5-land_2018-01_tp-e``."""
        _, end = calendar.monthrange(self.first.year, self.first.month)
        if self.first.day == 1 and self.last.day == end:
            days = f"{self.first:%Y-%m}"
        elif self.days == 1:
            days = f"{self.first}"
        else:
            days = f"{self.first}-to-{self.last:%d}"
        if len(self.hours) < len(self.collection.hours):
            days += "T" + "-".join(hour[:2] for hour in self.hours)
        values = "" if self.product == "hourly" else f"-{self.product}"
        return f"{self.dataset}{values}_{days}_{'-'.join(self.variables)}"

    @property
    def days(self) -> int:
        """How many days it holds."""
        return (self.last - self.first).days + 1

    @property
    def request(self) -> dict[str, Any]:
        """What is sent to the store."""
        known = DATASETS[self.dataset].variables
        hours = {"time": list(self.hours)} if self.hours else {}
        choice = {"data_format": self.format} if len(self.collection.formats) > 1 else {}
        return {
            "variable": [known[name].name for name in self.variables],
            "year": f"{self.first:%Y}",
            "month": f"{self.first:%m}",
            "day": [f"{day:02d}" for day in range(self.first.day, self.last.day + 1)],
            **hours,
            **self.collection.options,
            **choice,
            "area": list(self.area),
        }

    def halves(self) -> tuple[Piece, Piece] | None:
        """Give its first and its second half of days, or None of a single day."""
        if self.days == 1:
            return None
        middle = self.first + datetime.timedelta(days=self.days // 2)
        return replace(self, last=middle - datetime.timedelta(days=1)), replace(self, first=middle)


def pieces_of(
    dataset: str, area: Area, first: Day, last: Day, variables: Sequence[str], product: str, format: str
) -> list[Piece]:
    """Say which requests give these variables on these days.

    One piece a month and group of variables, within the limits of the collection. A total of a day that has been
    summed up since 00 UTC stands at 00 UTC of the next day, so that hour of the day after the last one is a piece of
    its own.

    Parameters
    ----------
    dataset, product, format
        Names that `check_choice` has passed.
    area
        North, west, south, east [degrees].
    first, last
        Days.
    variables
        Contract names.

    Returns
    -------
    The pieces, month by month.
    """
    known = DATASETS[dataset]
    groups: dict[tuple[str, bool], list[str]] = {}
    for name, variable in known.variables.items():
        if name in variables:
            groups.setdefault((variable.group, variable.accumulated), []).append(name)
    months = list(_months(first, last))
    after = last + datetime.timedelta(days=1)
    found: list[Piece] = []
    for begin, end in [*months, (after, after)]:
        for (_, accumulated), names in groups.items():
            if begin == after and not accumulated:
                continue
            collection = known.products[product][accumulated]
            hours = collection.hours if begin != after else MIDNIGHT
            a_variable = ((end - begin).days + 1) * max(1, len(hours))
            for together in _evenly(names, max(1, collection.fields // a_variable)):
                found.append(Piece(dataset, product, tuple(together), collection, begin, end, hours, area, format))
    return found


def check_choice(dataset: str, variables: Sequence[str] | None, product: str, format: str) -> tuple[str, ...]:
    """Check what is to be fetched, and give the variables.

    Raises
    ------
    SoilcastError
        An unknown data set, product, format or variable, or a format that the product is not given in.
    """
    if dataset not in DATASETS:
        raise SoilcastError(f"unknown dataset {dataset}: {nearest(dataset, DATASETS)}")
    known = DATASETS[dataset]
    if product not in known.products:
        raise SoilcastError(f"{known.title} has no product {product}: {nearest(product, known.products)}")
    if format not in FORMATS:
        raise SoilcastError(f"--format {format} is unknown: {nearest(format, FORMATS)}")
    names = tuple(dict.fromkeys(known.default if variables is None else variables))
    if not names:
        raise SoilcastError("--variables is empty: name variables, such as t2m,tp, or remove it")
    for name in names:
        if name in known.variables:
            continue
        if name == "q":
            raise SoilcastError(f"{known.title} has no variable q: request d2m and sp, from which it is computed")
        in_contract = f" ({VARIABLES[name].long_name})" if name in VARIABLES else ""
        raise SoilcastError(f"{known.title} has no variable {name}{in_contract}: {nearest(name, known.variables)}")
    for name in names:
        collection = known.products[product][known.variables[name].accumulated]
        if format not in collection.formats:
            raise SoilcastError(
                f"{known.title} as {product} values is available in {collection.formats[0]} only: use --format "
                f"{collection.formats[0]}, or --product hourly"
            )
    return names


def parse_area(text: str, dataset: str) -> Area:
    """Read an area that is written ``N/W/S/E`` [degrees].

    Raises
    ------
    SoilcastError
        Not four numbers, outside the globe, upside down, across the date line, or between the grid points.
    """
    try:
        north, west, south, east = (float(part) for part in text.split("/"))
    except ValueError as error:
        raise SoilcastError(f"--area {text} is not an area: write N/W/S/E in degrees, such as 52/5/47/12") from error
    if not all(map(math.isfinite, (north, west, south, east))):
        raise SoilcastError(f"--area {text} is not an area: write N/W/S/E in degrees, such as 52/5/47/12")
    for side, value, most in (("north", north, 90), ("south", south, 90), ("west", west, 180), ("east", east, 180)):
        if abs(value) > most:
            raise SoilcastError(f"--area {text}: {side} is {value:g}, outside -{most} .. {most}: correct it")
    if north < south:
        raise SoilcastError(f"--area {text}: north ({north:g}) is below south ({south:g}): write N/W/S/E")
    if west > east:
        raise SoilcastError(
            f"--area {text}: it crosses the date line (west {west:g}, east {east:g}): download two areas into two "
            f"folders, {north:g}/{west:g}/{south:g}/180 and {north:g}/-180/{south:g}/{east:g}"
        )
    spacing = DATASETS[dataset].spacing
    for low, high in ((south, north), (west, east)):
        if math.floor(high / spacing + 1e-6) < math.ceil(low / spacing - 1e-6):
            raise SoilcastError(
                f"--area {text} contains no grid point of {DATASETS[dataset].title} (spacing {spacing:g} degrees): "
                "give a larger one"
            )
    return north, west, south, east


def parse_period(text: str, dataset: str, today: Day) -> tuple[Day, Day]:
    """Read first and last day of ``2019``, ``2018:2020``, ``2020-03`` or ``2018-01-15:2018-02-10``.

    Raises
    ------
    SoilcastError
        No period, before the data set begins, or in the future.
    """
    first, last = (day.astype("datetime64[D]").item() for day in days_of(text))
    known = DATASETS[dataset]
    if first < known.first:
        raise SoilcastError(f"--years {text}: {known.title} begins on {known.first}: begin there or later")
    if last > today:
        raise SoilcastError(f"--years {text}: {last} is in the future: end before {today}")
    return first, last


def covers(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a request asks for all that another does."""
    several = ("variable", "day", "time")
    alike = {key: value for key, value in one.items() if key not in several} == {
        key: value for key, value in other.items() if key not in several
    }
    return alike and all(set(other.get(key, ())) <= set(one.get(key, ())) for key in several)


def _months(first: Day, last: Day) -> Iterator[tuple[Day, Day]]:
    begin = first
    while begin <= last:
        end = begin.replace(day=calendar.monthrange(begin.year, begin.month)[1])
        yield begin, min(end, last)
        begin = end + datetime.timedelta(days=1)


def _evenly(names: Sequence[str], most: int) -> Iterator[Sequence[str]]:
    parts = math.ceil(len(names) / most)
    for part in range(parts):
        yield names[len(names) * part // parts : len(names) * (part + 1) // parts]
