"""How good forecasts were at a place: the scores of a cell by lead, beside those of the baselines."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube.matching import find_places
from soilcast.cube.store import open_artifact
from soilcast.errors import SoilcastError
from soilcast.serving.catalogue import Collection
from soilcast.serving.faults import UnavailableError
from soilcast.serving.values import told_of

_DIMS = ("model", "target", "lead", "cell")
_METRICS = ("rmse", "skill", "r", "crps", "bias", "coverage_90")
"""Metrics that are told, in this order."""


class Scores:
    """Reads scores cell by cell.

    Parameters
    ----------
    path
        The folder that `soilcast.evaluate` wrote, or the ``scores.nc`` in it.

    Raises
    ------
    SoilcastError
        They cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path / "scores.nc" if path.is_dir() else path
        self._lock = threading.Lock()
        self._opened = open_artifact(self.path, "scores")
        self._matched: dict[str, np.ndarray[Any, Any]] = {}

    def has(self, collection: Collection) -> bool:
        """Whether the forecasts of a collection were scored."""
        return collection.newest.file.label in map(str, self._opened["model"].to_numpy())

    def at(self, collection: Collection, layer: str, cell: int) -> dict[str, Any] | None:
        """Give the metrics of a cell by lead, of the forecasts and of each baseline.

        Returns
        -------
        ``{leads, metrics: {name: {title, units, forecast, baselines: {name: [...]}}}}``; None where it was not scored.

        Raises
        ------
        UnavailableError
            The scores cannot be read.
        """
        scores = self._opened
        targets = [str(one) for one in scores["target"].to_numpy()]
        place = self._cells_of(collection)[cell]
        if not self.has(collection) or layer not in targets or place < 0:
            return None
        names = [name for name in _METRICS if name in scores and set(scores[name].dims) == set(_DIMS)]
        models = [str(one) for one in scores["model"].to_numpy()]
        is_baseline = scores["is_baseline"].to_numpy().astype(bool)
        label = collection.newest.file.label
        try:
            with self._lock:  # the HDF5 library reads one thing at a time anyway
                chosen = scores[names].isel(target=targets.index(layer), cell=int(place)).transpose("model", "lead")
                read: xr.Dataset = chosen.compute()
        except (OSError, RuntimeError, ValueError, SoilcastError) as error:
            raise UnavailableError(f"the scores cannot be read: {told_of(error, self.path)}") from error
        metrics = {}
        for name in names:
            values = read[name].to_numpy()
            if np.isfinite(values[models.index(label)]).any():
                metrics[name] = {
                    "title": str(scores[name].attrs.get("long_name", name)),
                    "units": str(scores[name].attrs.get("units", "1")),
                    "forecast": np.ascontiguousarray(values[models.index(label)]),
                    "baselines": {
                        model: np.ascontiguousarray(row)
                        for model, row, is_one in zip(models, values, is_baseline, strict=True)
                        if is_one and np.isfinite(row).any()
                    },
                }
        return {"leads": [int(lead) for lead in read["lead"].to_numpy()], "metrics": metrics} if metrics else None

    def _cells_of(self, collection: Collection) -> np.ndarray[Any, Any]:
        cells = collection.cells
        if cells.identity not in self._matched:
            lat, lon = (self._opened[name].to_numpy().astype(np.float64) for name in ("lat", "lon"))
            self._matched[cells.identity] = find_places(lat, lon, cells.lat, cells.lon)
        return self._matched[cells.identity]
