"""Forecasts of regions of a file, made of those of the cells when they are asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.store import open_forecast
from soilcast.errors import SoilcastError
from soilcast.regions.forecasts import forecast_cells, regional_forecast, with_products
from soilcast.regions.means import regional_cube
from soilcast.regions.reading import read_outlines
from soilcast.regions.weights import Regions, weigh_cells
from soilcast.serving.cache import Cache
from soilcast.serving.catalogue import Collection, Instance
from soilcast.serving.cells import Cells
from soilcast.serving.faults import NotThereError, UnavailableError
from soilcast.serving.forecast_files import ForecastFile, Variable, summary
from soilcast.serving.record import Record
from soilcast.serving.turns import Turns
from soilcast.serving.values import Values, told_of

_OUTLINE_BYTES = 1 << 16
"""What the outline of a region takes, about."""


class RegionalReader:
    """Reads the forecast of regions, which is in memory, as `soilcast.serving.values.Reader` reads one of cells."""

    def __init__(self, forecast: xr.Dataset) -> None:
        self._forecast = forecast

    def cells(
        self, instance: Instance, variable: Variable, cells: npt.NDArray[np.integer], at: tuple[Any, ...] = ()
    ) -> Values:
        """Read some regions, ``(..., region)``."""
        values = self._forecast[variable.name].isel(time=0).transpose(..., "cell").to_numpy()
        return np.asarray(values[at][..., cells], dtype=np.float32)


@dataclass(frozen=True, eq=False)
class RegionalForecast:
    """The forecast of regions from an issue day.

    Parameters
    ----------
    collection
        Of this issue day alone; its cells are the regions.
    reader
        Its values.
    record
        What was; None where no cube with the same cells is served.
    """

    collection: Collection
    reader: RegionalReader
    record: Record | None


class Regional:
    """The regions of a file, for every collection that has cells in them.

    Parameters
    ----------
    path, name
        Of the file, and the attribute that names them: see `soilcast.regions.reading.read_outlines`.
    record
        The cube beside the forecasts, for the past, percentile, class and odds.
    cache
        Of forecasts of regions and of their record.

    Raises
    ------
    SoilcastError
        The file cannot be read, or the extra for it is not installed.
    """

    def __init__(self, path: str | Path, name: str | None, record: Record | None, cache: Cache) -> None:
        self._outlines, self._record, self._cache = read_outlines(path, name), record, cache
        self._weighed: dict[str, Regions | None] = {}
        self._turns = Turns(1, 8)

    def of(self, cells: Cells) -> Regions | None:
        """Give the regions that some of the cells lie in; None where none does."""
        if cells.identity not in self._weighed:
            try:
                self._weighed[cells.identity] = weigh_cells(self._outlines, cells.places)
            except SoilcastError:
                self._weighed[cells.identity] = None
        return self._weighed[cells.identity]

    def forecast(self, collection: Collection, instance: Instance) -> RegionalForecast:
        """Give the forecast of the regions from an issue day.

        Raises
        ------
        RequestError
            No region has a cell of the collection, or it cannot be made.
        """
        file = instance.file
        version = None if self._record is None else self._record.opened()[0]
        key = "regions", file.path, file.version, instance.position, version

        def make() -> tuple[ForecastFile, xr.Dataset, Record | None]:
            regions = self.of(collection.cells)
            if regions is None or not file.layers:
                raise NotThereError(f"no region has a cell of {collection.id}")
            with self._turns.turn():
                try:
                    made, record = self._make(instance, regions)
                except SoilcastError as error:
                    raise UnavailableError(f"regions: {told_of(error, file.path)}") from error
            return summary(file.path, file.version, made, {}), made, record

        summed, made, record = self._cache.get(key, make, _size)
        found = Collection(collection.id, {str(instance.issue): Instance(summed, 0)})
        return RegionalForecast(found, RegionalReader(made), record)

    def _make(self, instance: Instance, regions: Regions) -> tuple[xr.Dataset, Record | None]:
        layers = instance.file.layers
        with open_forecast(instance.file.path) as whole:
            opened = whole.isel(time=[instance.position])
            regions = regions.of_cells(forecast_cells(opened, layers[0], regions))
            made, record = regional_forecast(opened, regions), self._record_of(instance, regions)
            ranked = [
                layer for layer in layers if record and f"{layer}_percentile" in opened and layer in record.layers
            ]
            return (with_products(made, record.opened()[1], ranked) if record and ranked else made).load(), record

    def _record_of(self, instance: Instance, regions: Regions) -> Record | None:
        """Record of the means of regions, from the cells that have a forecast, so that the two are of the same soil."""
        if self._record is None:
            return None
        version, cube = self._record.opened()
        matched = self._record.cells_of(instance.file.cells)
        layers = [layer for layer in self._record.layers if layer in instance.file.layers]
        if not layers or len(matched) != cube.sizes["cell"] or not np.array_equal(matched, np.arange(len(matched))):
            return None
        digest = hashlib.sha256(regions.weights.indices.tobytes() + repr(regions.names).encode()).hexdigest()
        key = "regional record", self._record.path, version, *layers, digest
        made = self._cache.get(key, lambda: regional_cube(cube, regions, layers), lambda one: int(one.nbytes))
        return Record(self._record.path, self._cache, made=(version, made), mark=digest)


def _size(made: tuple[ForecastFile, xr.Dataset, Record | None]) -> int:
    return int(made[1].nbytes) + _OUTLINE_BYTES * made[1].sizes["cell"]
