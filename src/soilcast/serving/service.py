"""What is served, as one object: the catalogue, values through a cache, maps and their scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soilcast.serving import tiles
from soilcast.serving.cache import Cache
from soilcast.serving.catalogue import QUANTILE, Catalogue, Collection, Instance, Variable
from soilcast.serving.faults import NotThereError
from soilcast.serving.scales import TRANSPARENT, Scale, Scales, draw_legend
from soilcast.serving.values import Reader, Values

_SAMPLED, _RUN = 200_000, 4096
_LONGEST_CHANGE = 365


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
    paths
        Forecasts, or folders in which they lie or arrive.
    cache
        Bytes that are kept in memory of what was read and drawn.
    """

    def __init__(self, paths: Sequence[Path], *, cache: int) -> None:
        self.catalogue = Catalogue(paths)
        self.cache = Cache(cache)
        self.reader = Reader(self.cache)
        self.scales = Scales()

    def tile(
        self, collection: Collection, instance: Instance, shown: Shown, z: int, x: int, y: int, side: int
    ) -> bytes:
        """Draw a tile as PNG.

        Raises
        ------
        RequestError
            There is no such tile, variable, lead, quantile or class; the cells have no grid.
        """
        tiles.refuse_outside(z, x, y)
        if collection.cells.grid is None:
            raise NotThereError(f"the cells of {collection.id} have no grid, so it has no tiles: see /map/places")
        variable = self.reader.variable(instance, shown.variable, shown.quantile)
        scale = self.scale(collection, variable, shown)
        file = instance.file
        key = "tile", collection.id, file.path, file.version, instance.position, shown, (z, x, y, side)
        return self.cache.get(key, lambda: self._draw(instance, variable, scale, shown, (z, x, y, side)), len)

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
        """Values of some cells ``(cell,)``, NaN where missing."""
        return self.reader.field(
            instance, variable, cells, lead=shown.lead, quantile=shown.quantile, drought_class=shown.drought_class
        )

    def scale(self, collection: Collection, variable: Variable, shown: Shown) -> Scale:
        """Give the scale of a variable: the same for all issue days, leads and quantiles."""
        newest = collection.newest

        def sample() -> Values:
            central = newest.file.variables.get(variable.name.removesuffix(QUANTILE), variable)
            positions = _sampled(newest.file.cells.count)
            return self.reader.cells(newest, central, positions)

        return self.scales.of(collection, variable, sample, is_change=shown.change is not None)

    def legend(self, collection: Collection, shown: Shown) -> dict[str, Any]:
        """Give colours and words of a variable."""
        variable = self.reader.variable(collection.newest, shown.variable, None)
        scale = self.scale(collection, variable, shown)
        return {
            "title": variable.title,
            "units": variable.units,
            "colours": scale.legend(),
            "missing": "no forecast here",
        }

    def legend_picture(self, collection: Collection, shown: Shown) -> bytes:
        """Draw the legend of a variable as PNG."""
        variable = self.reader.variable(collection.newest, shown.variable, None)
        return draw_legend(self.scale(collection, variable, shown), variable.title, variable.units)


def _sampled(count: int) -> Any:
    """Positions of cells that stand for all: all, or runs of them at equal distances."""
    if count <= _SAMPLED:
        return np.arange(count)
    starts = np.linspace(0, count - _RUN, _SAMPLED // _RUN).astype(np.int64) // _RUN * _RUN
    return np.unique((starts[:, np.newaxis] + np.arange(_RUN)).ravel())
