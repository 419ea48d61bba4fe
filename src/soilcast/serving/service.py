"""What is served, as one object: the catalogue, values through a cache, maps and their scales."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from soilcast.serving import tiles
from soilcast.serving.beside import Beside
from soilcast.serving.cache import Cache
from soilcast.serving.catalogue import Catalogue, Collection, Instance
from soilcast.serving.faults import NotThereError, RequestError, UnavailableError
from soilcast.serving.forecast_files import QUANTILE, Variable
from soilcast.serving.places import Places
from soilcast.serving.record import Record
from soilcast.serving.scales import TRANSPARENT, Scale, Scales, draw_legend
from soilcast.serving.skill import Scores
from soilcast.serving.values import Reader, Values
from soilcast.serving.what_if import WhatIf

if TYPE_CHECKING:
    from soilcast.serving.regional import Regional, RegionalForecast

NOTHING = Beside()

_SAMPLED, _RUN = 200_000, 4096


@dataclass(frozen=True)
class Shown:
    """What a map shows.

    Parameters
    ----------
    variable
        Name of it.
    lead
        [d]; the first where none is given.
    quantile, drought_class
        Level and class, where the variable has them.
    change
        Days before the issue day whose record is taken off; None for the forecast itself.
    """

    variable: str
    lead: int | None = None
    quantile: float | None = None
    drought_class: str | None = None
    change: int | None = None


class Service:
    """Everything that requests are answered from.

    Parameters
    ----------
    catalogue
        What there is.
    beside
        What is served beside the forecasts.
    cache
        Bytes that are kept in memory of what was read and drawn.

    Raises
    ------
    SoilcastError
        The cube, the scores, the stations or the regions cannot be read.
    """

    def __init__(self, catalogue: Catalogue, beside: Beside = NOTHING, *, cache: int) -> None:
        self.catalogue = catalogue
        self.cache = Cache(cache)
        self.reader = Reader(self.cache)
        self.scales = Scales()
        self.record, self.stations = (
            None if path is None else Record(path, self.cache) for path in (beside.cube, beside.stations)
        )
        self.scores = None if beside.scores is None else Scores(beside.scores, self.cache)
        self.regional = _regional(beside, self.record, self.cache)
        self.places = Places(self.stations, self.regional)
        self.what_if = WhatIf(beside.runs, self.record, beside.weather)

    def map_of(self, collection: Collection, instance: Instance, shown: Shown) -> tuple[Variable, Scale]:
        """Give the variable of a map and its scale.

        Raises
        ------
        RequestError
            There is no such variable or change; the cells have no grid.
        """
        if collection.cells.grid is None:
            raise NotThereError(f"the cells of {collection.id} have no grid, so it has no tiles: see /map/places")
        variable = self.reader.variable(instance, shown.variable, shown.quantile)
        if shown.change is not None:
            self.refuse_change(instance, variable)
        return variable, self.scale(collection, variable, shown)

    def tile(
        self, instance: Instance, variable: Variable, scale: Scale, shown: Shown, at: tuple[int, int, int, int]
    ) -> bytes:
        """Draw a tile as PNG.

        Parameters
        ----------
        variable, scale
            What `map_of` gives.
        at
            Zoom, column, row, and pixels of a side.

        Raises
        ------
        RequestError
            There is no such tile, lead, quantile or class.
        """
        tiles.refuse_outside(*at[:3])
        file = instance.file
        key = "tile", file.path, file.version, instance.position, shown, scale.low, scale.high, at
        return self.cache.get(key, lambda: self._draw(instance, variable, scale, shown, at), len)

    def _draw(
        self, instance: Instance, variable: Variable, scale: Scale, shown: Shown, at: tuple[int, int, int, int]
    ) -> bytes:
        cells = instance.file.cells
        pixels = cells.pixels(*tiles.pixel_places(*at))
        is_shown = np.zeros(cells.count + 1, dtype=np.bool_)
        is_shown[pixels] = True  # a pixel without a cell marks the one behind all others
        there = np.flatnonzero(is_shown[:-1])
        if not len(there):
            return tiles.empty(at[3])
        colours = np.full(cells.count + 1, TRANSPARENT, dtype=np.uint8)
        colours[there] = scale.indices(self.field(instance, variable, shown, there))
        return tiles.encode(colours[pixels], scale.palette)

    def field(self, instance: Instance, variable: Variable, shown: Shown, cells: Any) -> Values:
        """Values of some cells ``(cell,)``, or by how much they differ from the record; NaN where missing."""
        values = self.reader.field(
            instance, variable, cells, lead=shown.lead, quantile=shown.quantile, drought_class=shown.drought_class
        )
        if shown.change is None:
            return values
        assert self.record is not None
        day = instance.issue - shown.change
        places = self.record.cells_of(instance.file.cells)[cells]
        known = np.sort(places[places >= 0])
        found, before = self.record.between(variable.name.removesuffix(QUANTILE), known, day, day)
        past = np.full(len(places), np.nan, dtype=np.float32)
        if len(found):
            past[places >= 0] = before[np.searchsorted(known, places[places >= 0]), 0]
        return values - past

    def regions_of(self, collection: Collection, instance: Instance) -> RegionalForecast:
        """Give the forecast of the regions from an issue day.

        Raises
        ------
        RequestError
            No regions are served, or it cannot be made.
        """
        if self.regional is None:
            raise NotThereError("no regions are served: start with --regions FILE")
        return self.regional.forecast(collection, instance)

    def depths(self, layer: str) -> tuple[float | None, float | None]:
        """Depth below the surface at which a layer begins and ends [m]; None where the cube does not tell."""
        with suppress(UnavailableError):
            return (None, None) if self.record is None else self.record.depths(layer)
        return None, None

    def can_change(self, instance: Instance, variable: Variable) -> bool:
        """Whether the record tells by how much a variable changes."""
        layer = variable.name.removesuffix(QUANTILE)
        with suppress(UnavailableError):  # a cube that is damaged while it is served
            return self.record is not None and layer in instance.file.layers and layer in self.record.layers
        return False

    def has_scores(self, collection: Collection) -> bool:
        """Whether scores tell how good the forecasts of a collection are."""
        with suppress(UnavailableError):
            return self.scores is not None and self.scores.has(collection)
        return False

    def refuse_change(self, instance: Instance, variable: Variable) -> None:
        """Raise `RequestError` where nothing tells by how much a variable changes."""
        if not self.can_change(instance, variable):
            raise RequestError(f"no change of {variable.name} is known: it needs a layer of soil moisture and a cube")

    def scale(self, collection: Collection, variable: Variable, shown: Shown) -> Scale:
        """Give the scale of a variable: the same for all issue days, leads and quantiles."""
        newest = collection.newest

        def sample() -> Values:
            central = newest.file.variables.get(variable.name.removesuffix(QUANTILE), variable)
            positions = _sampled(newest.file.cells.count)
            if shown.change is None:
                return self.reader.cells(newest, central, positions)
            last = Shown(central.name, newest.file.leads[-1], change=shown.change)
            return self.field(newest, central, last, positions)

        return self.scales.of(collection, variable, sample, is_change=shown.change is not None)

    def legend(self, collection: Collection, shown: Shown) -> dict[str, Any]:
        """Give title, units, colours and words of what a map shows."""
        variable, scale = self._legend(collection, shown)
        return {
            "title": _title(collection, variable, shown),
            "units": variable.units,
            "colours": scale.legend(),
            "missing": "no forecast here",
        }

    def legend_picture(self, collection: Collection, shown: Shown) -> bytes:
        """Draw the legend of what a map shows as PNG."""
        variable, scale = self._legend(collection, shown)
        return draw_legend(scale, _title(collection, variable, shown), variable.units)

    def _legend(self, collection: Collection, shown: Shown) -> tuple[Variable, Scale]:
        variable = self.reader.variable(collection.newest, shown.variable, None)
        if shown.change is not None:
            self.refuse_change(collection.newest, variable)
        return variable, self.scale(collection, variable, shown)


def _regional(beside: Beside, record: Record | None, cache: Cache) -> Regional | None:
    if beside.regions is None:
        return None
    # Imported here, since regions from files need libraries that nothing else does.
    from soilcast.serving.regional import Regional

    return Regional(*beside.regions, record, cache)


def _title(collection: Collection, variable: Variable, shown: Shown) -> str:
    title = variable.title if shown.quantile is None else f"{variable.title}, quantile {shown.quantile:g}"
    is_class = shown.drought_class in collection.newest.file.classes
    title = f"{title}, {shown.drought_class} or drier" if is_class else title
    return title if shown.change is None else f"change in {shown.change} days: {title}"


def _sampled(count: int) -> Any:
    """Positions of cells that stand for all: all, or runs of them at equal distances."""
    if count <= _SAMPLED:
        return np.arange(count)
    starts = np.linspace(0, count - _RUN, _SAMPLED // _RUN).astype(np.int64) // _RUN * _RUN
    return np.unique((starts[:, np.newaxis] + np.arange(_RUN)).ravel())
