"""From a run and a cube to a forecast: the next day's soil moisture of every cell and day of a period."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from soilcast.cube import open_cube, write_dataset
from soilcast.cube.contract import VARIABLES
from soilcast.errors import SoilcastError
from soilcast.files import refuse_existing, whole_or_nothing
from soilcast.models.members import Members
from soilcast.models.passes import make_pass
from soilcast.provenance import stamp
from soilcast.training.devices import torch_threads
from soilcast.training.inputs import load_inputs, refuse_missing_inputs
from soilcast.training.normalise import Scaling
from soilcast.training.progress import progress_bar
from soilcast.training.run import Run, open_run
from soilcast.training.split import period_slice

CELLS_AT_ONCE = 512

_SAME_PLACE = 1e-4
"""Cells of a run and of a cube closer than this are the same [degrees]: ten metres."""


def forecast(
    run: str | Path,
    cube: str | Path,
    out: str | Path,
    *,
    period: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Forecast each day of a period from the days before it.

    Parameters
    ----------
    run
        Folder of a run.
    cube
        Path of a cube; for a run with statistics of each cell, a cube with those cells.
    out
        Forecast to write: a Zarr folder, or NetCDF if the name ends in ``.nc``.
    period
        Days to forecast, such as ``2020``; by default the test period of the run.
    overwrite
        Replace ``out`` if it exists.
    progress
        Show a bar.

    Returns
    -------
    The forecast: the target ``(cell, time)`` float32 [m3 m-3] by the day that is forecast; NaN where an
    input is missing or the run has no statistics of the cell.

    Raises
    ------
    SoilcastError
        A damaged run or cube, missing inputs, a period outside the cube, or cells that the run has not seen.
    """
    out = Path(out)
    refuse_existing(out, overwrite=overwrite)
    trained = open_run(run)
    opened = open_cube(cube)
    refuse_missing_inputs(opened, trained.config.inputs)
    days = opened["time"].to_numpy()
    wanted = period_slice(days, period or trained.record["test_period"], str(cube), "the forecast period")
    rows, known = _match_cells(trained, opened, str(run), str(cube))
    values = _forecast_cells(trained, opened, wanted, rows, known, progress=progress)
    target = VARIABLES[trained.config.inputs.target]
    record = trained.record
    result = xr.Dataset(
        {target.name: (("cell", "time"), values, dict(target.attributes)), "area": opened["area"].load()},
        coords={name: opened[name].load() for name in opened.coords if name != "time"} | {"time": days[wanted]},
        attrs={
            "Conventions": "CF-1.11",
            "soilcast_kind": "forecast",
            "title": f"{record['label']}: next-day {target.long_name} on {opened.attrs['title']}",
            "target": target.name,
            "label": record["label"],
            "model": record["model"],
            "content": opened.attrs["content"],
            "source": opened.attrs["source"],
            "cube_sha256": opened.attrs["content_sha256"],
            "config": json.dumps(trained.config.model_dump(mode="json")),
            "training_log": json.dumps(_thinned(trained.log)),
            "train_period": record["train_period"],
            "validation_period": record["validation_period"],
            "test_period": period or record["test_period"],
            "provenance": stamp(
                "soilcast forecast", run=str(run), cube=str(cube), weights_sha256=record["weights_sha256"]
            ),
        },
    )
    with whole_or_nothing(out, overwrite=overwrite) as partial:
        write_dataset(result, partial, netcdf=out.suffix == ".nc")
    return result


def _thinned(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep what a training curve needs: about a hundred epochs, and every validated one."""
    step = -(-len(log) // 100)
    kept = ("epoch", "train_loss", "validation_loss", "seconds")
    return [
        {name: record[name] for name in kept}
        for position, record in enumerate(log)
        if position % step == 0 or record["validation_loss"] is not None
    ]


def _forecast_cells(
    run: Run,
    cube: xr.Dataset,
    wanted: slice,
    rows: npt.NDArray[np.int64],
    known: npt.NDArray[np.bool_],
    *,
    progress: bool,
) -> npt.NDArray[np.float32]:
    length = run.config.inputs.sequence_length
    first = max(0, wanted.start - length)
    seen = cube.isel(time=slice(first, wanted.stop))
    ahead = slice(wanted.start - first, wanted.stop - first)
    values = np.full((cube.sizes["cell"], wanted.stop - wanted.start), np.nan, dtype=np.float32)
    starts = range(0, cube.sizes["cell"], CELLS_AT_ONCE)
    with (
        torch_threads(run.config.train.threads),
        progress_bar(f"{run.record['label']} forecast", len(starts), shown=progress) as advance,
    ):
        for start in starts:
            cells = slice(start, min(start + CELLS_AT_ONCE, cube.sizes["cell"]))
            scalings = {name: scaling.of_cells(rows[cells]) for name, scaling in run.scalings.items()}
            values[cells] = _forecast_block(run, seen, cells, ahead, scalings, known[cells])
            advance("")
    return values


def _forecast_block(
    run: Run,
    seen: xr.Dataset,
    cells: slice,
    ahead: slice,
    scalings: Mapping[str, Scaling],
    known: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    inputs = load_inputs(seen, run.config.inputs, scalings, cells)
    length = run.config.inputs.sequence_length
    ready = inputs.ready[:, ahead] & known[:, np.newaxis]
    passing = make_pass(Members(run.networks))
    dynamic = torch.from_numpy(inputs.dynamic)[:, : ahead.stop - 1]
    static = torch.from_numpy(inputs.static).unsqueeze(1).expand(-1, dynamic.shape[1], -1)
    normalised = np.full(ready.shape, np.nan, dtype=np.float32)
    with torch.inference_mode():
        for cell in range(len(ready)):
            sequence = torch.cat((dynamic[cell : cell + 1], static[cell : cell + 1]), dim=2)
            said = passing.sweep(sequence, length).mean(dim=0)[0]
            normalised[cell, len(ready[0]) - len(said) :] = said.numpy()
    return np.where(ready, scalings[run.config.inputs.target].restore(normalised), np.float32(np.nan))


def _match_cells(
    run: Run, cube: xr.Dataset, run_path: str, cube_path: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
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
            f"{cube_path}: {strange} of {len(rows)} cells are not among those of {run_path}, whose statistics are of "
            "each cell: train with --set normalise.scope=global to forecast elsewhere"
        )
    return rows, np.asarray(run.usable[rows])


def _rounded(*degrees: npt.NDArray[np.float64]) -> list[list[int]]:
    return [np.rint(values / _SAME_PLACE).astype(int).tolist() for values in degrees]
