"""The forecasts of a block of cells: the same to the bit whatever the block."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.models.members import Members
from soilcast.models.passes import PRODUCTS, Pass, make_pass
from soilcast.training.inputs import Inputs, load_inputs
from soilcast.training.run import Run

Floats = npt.NDArray[np.float32]

_WINDOWS_AT_ONCE = {"cpu": 512, "cuda": 65_536}
"""Windows that go through a network together, about: on a CPU more fall out of the cache, a GPU wants many."""

_SAME_PLACE = 1e-4
"""Cells of a run and of a cube closer than this are the same [degrees]: ten metres."""


class BlockForecaster:
    """Forecasts any block of cells of a cube over some days.

    Cells go through the network in groups that depend on the number of days alone and begin at multiples of their size,
    so a cell's forecast does not depend on the block that it is in.

    Parameters
    ----------
    run
        What to forecast with.
    cube
        An opened cube.
    wanted
        Positions of the days to forecast.
    precision
        ``float32``, or ``bfloat16`` for the matrix products.
    threads
        Groups that are worked on at once.
    device
        Where to.

    Raises
    ------
    SoilcastError
        The run has statistics of each cell, and the cube has others.
    """

    def __init__(
        self, run: Run, cube: xr.Dataset, wanted: slice, precision: str, threads: int, device: torch.device
    ) -> None:
        self.run, self._threads, self._device = run, threads, device
        self._rows, self._known = match_cells(run, cube)
        length = run.config.inputs.sequence_length
        first = max(0, wanted.start - length)
        self._seen = cube.isel(time=slice(first, wanted.stop))
        self._ahead = slice(wanted.start - first, wanted.stop - first)
        members = Members([network.to(device) for network in run.networks])
        self._pass = make_pass(members, PRODUCTS[precision])
        self._exact = make_pass(members)
        days = wanted.stop - wanted.start
        self.group = 1 << max(0, (_WINDOWS_AT_ONCE[device.type] // days).bit_length() - 1)

    def __call__(self, cells: slice) -> Floats:
        """Forecast a block, which begins at a multiple of `group`.

        Returns
        -------
        ``(cell, time)`` [m3 m-3]; NaN where an input is missing or the run has no statistics of the cell.
        """
        return self._forecast(self._pass, cells)

    def rounding(self, cells: slice) -> tuple[float, float]:
        """Compare with what float32 gives for a block: root mean square and largest difference [m3 m-3]."""
        away = self._forecast(self._pass, cells).astype(np.float64) - self._forecast(self._exact, cells)
        away = away[np.isfinite(away)]
        return (float(np.sqrt(np.mean(away**2))), float(np.max(np.abs(away)))) if away.size else (0.0, 0.0)

    def _forecast(self, passing: Pass, cells: slice) -> Floats:
        config = self.run.config.inputs
        scalings = {name: scaling.of_cells(self._rows[cells]) for name, scaling in self.run.scalings.items()}
        inputs = load_inputs(self._seen, config, scalings, cells)
        ready = inputs.ready[:, self._ahead] & self._known[cells, np.newaxis]
        normalised = np.full(ready.shape, np.nan, dtype=np.float32)

        def work(group: slice) -> None:
            with torch.inference_mode():
                said = passing.sweep(self._sequences(inputs, group), config.sequence_length).mean(dim=0).cpu().numpy()
            normalised[group, -said.shape[1] :] = said

        groups = [group for group in self._groups(len(ready)) if ready[group].any()]
        if self._threads == 1 or self._device.type != "cpu":
            for group in groups:
                work(group)
        else:
            # One thread of torch each: small products gain little from more, and what is between them nothing.
            with ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                list(pool.map(work, groups))
        restored = scalings[config.target].restore(normalised)
        return np.where(ready, restored, np.float32(np.nan))

    def _sequences(self, inputs: Inputs, group: slice) -> torch.Tensor:
        # Without the last day, which is forecast and not seen.
        dynamic, static = torch.from_numpy(inputs.dynamic[group, :-1]), torch.from_numpy(inputs.static[group])
        repeated = static.unsqueeze(1).expand(-1, dynamic.shape[1], -1)
        return torch.cat((dynamic, repeated), dim=2).to(self._device)

    def _groups(self, cells: int) -> Iterator[slice]:
        return (slice(start, min(start + self.group, cells)) for start in range(0, cells, self.group))


def match_cells(run: Run, cube: xr.Dataset) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Row of the run's statistics for each cell of the cube, and whether the run can forecast the cell."""
    lat, lon = cube["lat"].to_numpy(), cube["lon"].to_numpy()
    if run.config.normalise.scope == "global":
        return np.zeros(len(lat), dtype=np.int64), np.ones(len(lat), dtype=np.bool_)
    rows = np.arange(len(lat), dtype=np.int64)
    same = len(lat) == len(run.lat)
    if not same or not (np.allclose(lat, run.lat, atol=_SAME_PLACE) and np.allclose(lon, run.lon, atol=_SAME_PLACE)):
        places = {place: row for row, place in enumerate(zip(*_rounded(run.lat, run.lon), strict=True))}
        found = [places.get(place, -1) for place in zip(*_rounded(lat, lon), strict=True)]
        rows = np.asarray(found, dtype=np.int64)
    strange = int((rows < 0).sum())
    if strange:
        raise SoilcastError(
            f"{cube.encoding.get('source', 'the cube')}: {strange} of {len(rows)} cells are not among those of the "
            "run, whose statistics are of each cell: train with --set normalise.scope=global to forecast elsewhere"
        )
    return rows, np.asarray(run.usable[rows])


def _rounded(*degrees: npt.NDArray[np.float64]) -> list[list[int]]:
    return [np.rint(values / _SAME_PLACE).astype(int).tolist() for values in degrees]
