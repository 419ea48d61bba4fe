"""Places that have a name: cells of basins and stations, and the stations of a cube of observations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from soilcast.serving.catalogue import Collection
from soilcast.serving.faults import NotThereError, UnavailableError
from soilcast.serving.record import Record

if TYPE_CHECKING:
    from soilcast.serving.regional import Regional

STATION, CELL, REGION = "station", "cell", "region"


@dataclass(frozen=True)
class Place:
    """A named place, and the cell that stands for it.

    Parameters
    ----------
    id
        Safe in an address, and unique in a collection.
    name
        As its source has it.
    kind
        ``station``, ``cell`` or ``region``.
    lat, lon
        [degrees].
    cell
        Position among the cells of the collection: of a region the one that lies at a point of it.
    distance
        To the centre of the cell [km].
    position
        Of a station among the cells of its cube.
    """

    id: str
    name: str
    kind: str
    lat: float
    lon: float
    cell: int
    distance: float
    position: int = -1


class Places:
    """The named places of collections.

    Parameters
    ----------
    stations
        A cube of observations; None where none is served.
    regional
        Regions of a file; None where none is served.
    """

    def __init__(self, stations: Record | None, regional: Regional | None = None) -> None:
        self._stations, self._regional = stations, regional
        self._found: dict[tuple[str, object], dict[str, Place]] = {}

    def of(self, collection: Collection) -> dict[str, Place]:
        """Give the places of a collection by their id: its own names, then stations that lie in one of its cells."""
        try:
            version = None if self._stations is None else self._stations.opened()[0]
        except UnavailableError:  # stations that are damaged while they are served
            return {place.id: place for place in _named([*_own(collection), *self._of_regions(collection)])}
        key = collection.cells.identity, version
        if key not in self._found:
            places = _named([*_own(collection), *self._of_stations(collection), *self._of_regions(collection)])
            self._found = {old: one for old, one in self._found.items() if old[1] == version}
            self._found[key] = {place.id: place for place in places}
        return self._found[key]

    def place(self, collection: Collection, name: str) -> Place:
        """Give the place of an id.

        Raises
        ------
        NotThereError
            There is none.
        """
        places = self.of(collection)
        if name not in places:
            raise NotThereError(
                f"no place {name[:40]!r} in {collection.id}: /edr/.../locations lists those that there are"
            )
        return places[name]

    def observations(self, place: Place, first: np.datetime64, last: np.datetime64) -> dict[str, Any]:
        """Give what a station observed from a day to another, by layer; nothing for other places."""
        if self._stations is None or place.kind != STATION:
            return {}
        found = {}
        for layer in self._stations.layers:
            days, values = self._stations.between(layer, np.array([place.position]), first, last)
            if np.isfinite(values).any():
                found[layer] = {"days": [str(day) for day in days], "values": values[0]}
        return found

    def outlines(self, collection: Collection) -> list[tuple[Place, Any]]:
        """Give the regions of a collection, each with its polygon of shapely, cut at the date line."""
        regions = None if self._regional is None else self._regional.of(collection.cells)
        if regions is None:
            return []
        found = {place.name: place for place in self.of(collection).values() if place.kind == REGION}
        return [(found[name], outline) for name, outline in zip(regions.names, regions.outlines, strict=True)]

    def _of_stations(self, collection: Collection) -> list[Place]:
        if self._stations is None:
            return []
        _, cube = self._stations.opened()
        lat, lon = (cube[name].to_numpy().astype(np.float64) for name in ("lat", "lon"))
        names = [str(one) for one in cube["cell_name"].to_numpy()] if "cell_name" in cube else _numbered(len(lat))
        near = collection.cells.finder.nearest(lat, lon)
        rows = zip(names, lat, lon, near.cell, near.distance, strict=True)
        return [
            Place("", name, STATION, float(y), float(x), int(cell), float(far), position)
            for position, (name, y, x, cell, far) in enumerate(rows)
            if cell >= 0
        ]

    def _of_regions(self, collection: Collection) -> list[Place]:
        regions = None if self._regional is None else self._regional.of(collection.cells)
        if regions is None:
            return []
        lat, lon = regions.places
        near = collection.cells.finder.nearest(lat, lon)
        rows = zip(regions.names, lat, lon, near.cell, strict=True)
        return [Place("", name, REGION, float(y), float(x), int(cell), 0.0) for name, y, x, cell in rows]


def region_of(collection: Collection, place: Place) -> npt.NDArray[np.int64]:
    """Position of a region among those that have a forecast ``(1,)``.

    Raises
    ------
    NotThereError
        None of its cells has one.
    """
    names = collection.cells.names or []
    if place.name not in names:
        raise NotThereError(f"{place.name} has no cell with a forecast")
    return np.array([names.index(place.name)])


def _named(places: Sequence[Place]) -> list[Place]:
    ids = _unique([place.name for place in places])
    return [replace(place, id=name) for place, name in zip(places, ids, strict=True)]


def _own(collection: Collection) -> list[Place]:
    cells = collection.cells
    if cells.names is None:
        return []
    rows = zip(cells.names, cells.lat, cells.lon, strict=True)
    return [Place("", name, CELL, float(y), float(x), at, 0.0) for at, (name, y, x) in enumerate(rows)]


def _numbered(count: int) -> list[str]:
    return [f"station {number}" for number in range(1, count + 1)]


def _unique(names: Sequence[str]) -> list[str]:
    """Names as they can stand in an address, each once."""
    found: dict[str, None] = {}
    for name in names:
        safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "place"
        number = 2
        unique = safe
        while unique in found:
            unique, number = f"{safe}-{number}", number + 1
        found[unique] = None
    return list(found)
