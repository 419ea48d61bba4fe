"""How good forecasts were at a place: the scores of a cell by lead, beside those of the baselines."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.identity import version_of
from soilcast.cube.matching import find_places
from soilcast.cube.store import open_artifact
from soilcast.errors import SoilcastError
from soilcast.serving.cache import Cache
from soilcast.serving.catalogue import Collection
from soilcast.serving.faults import UnavailableError
from soilcast.serving.values import told_of

_DIMS = {"model", "target", "lead", "cell"}
_METRICS = ("rmse", "skill", "r", "crps", "bias", "coverage_90")
"""Metrics that are told, in this order."""

_NUMBERS = 4096
"""Bytes of what is told of a cell, about."""


class Scores:
    """Reads scores cell by cell.

    Parameters
    ----------
    path
        The folder that `soilcast.evaluate` wrote, or the ``scores.nc`` in it.
    cache
        Of what was read.

    Raises
    ------
    SoilcastError
        They cannot be read.
    """

    def __init__(self, path: Path, cache: Cache) -> None:
        self.path = path / "scores.nc" if path.is_dir() and (path / "scores.nc").exists() else path
        self._cache = cache
        self._lock = threading.Lock()
        self._version = version_of(self.path) if self.path.exists() else ()
        self._opened = open_artifact(self.path, "scores")
        self._matched: dict[tuple[str, tuple[int, ...]], npt.NDArray[np.int64]] = {}

    def has(self, collection: Collection) -> bool:
        """Whether the forecasts of a collection were scored."""
        return collection.newest.file.label in map(str, self._now()[1]["model"].to_numpy())

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
        version, scores = self._now()
        label, targets = collection.newest.file.label, [str(one) for one in scores["target"].to_numpy()]
        place = int(self._cells_of(collection, version, scores)[cell])
        if not self.has(collection) or layer not in targets or place < 0:
            return None

        def read() -> dict[str, Any]:
            names = [name for name in _METRICS if name in scores and set(scores[name].dims) == _DIMS]
            chosen = scores[names].isel(target=targets.index(layer), cell=place).transpose("model", "lead")
            try:
                with self._lock:  # the HDF5 library reads one thing at a time anyway
                    return _by_metric(chosen.compute(), scores["is_baseline"].to_numpy().astype(bool), label)
            except (OSError, RuntimeError, ValueError) as error:
                raise UnavailableError(f"the scores cannot be read: {told_of(error, self.path)}") from error

        metrics = self._cache.get(("skill", self.path, version, label, layer, place), read, lambda _: _NUMBERS)
        return {"leads": [int(lead) for lead in scores["lead"].to_numpy()], "metrics": metrics} if metrics else None

    def _now(self) -> tuple[tuple[int, ...], xr.Dataset]:
        """Version of the scores that stand there now, and them."""
        with self._lock:
            try:
                version = version_of(self.path)
                if version != self._version:
                    self._opened, self._version = open_artifact(self.path, "scores"), version
            except (SoilcastError, OSError) as error:
                raise UnavailableError(f"the scores cannot be read: {told_of(error, self.path)}") from error
            return self._version, self._opened

    def _cells_of(self, collection: Collection, version: tuple[int, ...], scores: xr.Dataset) -> npt.NDArray[np.int64]:
        """Position among the scores of each cell of a collection, -1 where it has none."""
        key = collection.cells.identity, version
        if key not in self._matched:
            lat, lon = (scores[name].to_numpy().astype(np.float64) for name in ("lat", "lon"))
            self._matched[key] = find_places(lat, lon, collection.cells.lat, collection.cells.lon)
        return self._matched[key]


def _by_metric(scores: xr.Dataset, is_baseline: npt.NDArray[np.bool_], label: str) -> dict[str, Any]:
    """Metrics of one cell and target, from ``(model, lead)``; those that the forecasts have."""
    models = [str(one) for one in scores["model"].to_numpy()]
    metrics = {}
    for name, one in scores.data_vars.items():
        values = one.to_numpy()
        if np.isfinite(values[models.index(label)]).any():
            rows = zip(models, values, is_baseline, strict=True)
            metrics[str(name)] = {
                "title": str(one.attrs.get("long_name", name)),
                "units": str(one.attrs.get("units", "1")),
                "forecast": values[models.index(label)].copy(),
                "baselines": {model: row.copy() for model, row, is_one in rows if is_one and np.isfinite(row).any()},
            }
    return metrics
