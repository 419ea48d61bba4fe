"""From a run and a cube to a forecast: the next day's soil moisture of every cell and day of a period."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cluster import work_on_cluster
from soilcast.cube import open_artifact, open_cube
from soilcast.cube.contract import VARIABLES
from soilcast.cube.store import put_store_in_place
from soilcast.errors import SoilcastError
from soilcast.files import NO_ROOM, refuse_existing
from soilcast.forecasting.blocks import BlockForecaster, Floats
from soilcast.forecasting.stream import PROGRESS, ForecastStream
from soilcast.memory import held_memory, peak_memory
from soilcast.progress import progress_bar
from soilcast.provenance import stamp
from soilcast.training.devices import choose_device, torch_threads
from soilcast.training.inputs import BLOCK_BYTES, block_size, refuse_missing_inputs
from soilcast.training.run import Run, open_run
from soilcast.training.split import period_slice
from soilcast.workplace import locked_workplace

_WORKING_BYTES = 96 * 2**20
_WORKING_BLOCKS = 4
"""What forecasting takes beside the program: these bytes, and so many times a block of inputs; measured."""

_COMPARED = 16
"""Groups of cells that are forecast with float32 too, to tell what bfloat16 costs."""


def forecast(
    run: str | Path,
    cube: str | Path,
    out: str | Path,
    *,
    period: str | None = None,
    precision: str = "float32",
    memory: int | None = None,
    dask: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Forecast each day of a period from the days before it.

    Blocks of cells are read, forecast and written one after the other; until all are there they lie in
    ``OUT.unfinished``, and ``resume`` adds those that are missing. The forecast does not depend on the blocks.

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
    precision
        ``bfloat16`` makes matrix products faster and less exact; by how much is measured on some cells and written to
        the forecast (``bfloat16_rmse``, ``bfloat16_largest_error`` [m3 m-3]).
    memory
        Hold no more than this [bytes], by smaller blocks.
    dask
        Address of a dask scheduler whose workers, which see the same paths, forecast the blocks.
    overwrite
        Replace ``out`` if it exists, and start anew.
    resume
        Go on with an earlier, unfinished forecast; do nothing if ``out`` is the finished one.
    progress
        Show a bar.

    Returns
    -------
    The forecast, opened: the target ``(cell, time)`` float32 [m3 m-3] by the day that is forecast; NaN where an
    input is missing or the run has no statistics of the cell. Of an ensemble it is the mean of the members.

    Raises
    ------
    SoilcastError
        A damaged run or cube, missing inputs, a period outside the cube, cells that the run has not seen, too little
        memory, unfinished work on another forecast, a full disk (the blocks that are written stand).
    """
    out = Path(out)
    trained, opened = open_run(run), open_cube(cube)
    refuse_missing_inputs(opened, trained.config.inputs)
    days = opened["time"].to_numpy()
    wanted = period_slice(days, period or trained.record["test_period"], str(cube), "the forecast period")
    skeleton = _skeleton(trained, opened, wanted, period, run, cube)
    if resume and out.exists():
        return _finished(out, skeleton, precision)
    refuse_existing(out, overwrite=overwrite)
    with (
        torch_threads(trained.config.train.threads) as threads,
        locked_workplace(out, overwrite=overwrite, resume=resume, keep=PROGRESS) as place,
    ):
        device = choose_device("auto")
        forecaster = BlockForecaster(trained, opened, wanted, precision, threads, device)
        block = max(forecaster.group, _cells_a_block(trained, opened, wanted, memory))
        target = VARIABLES[trained.config.inputs.target]
        identity = {
            "run": trained.record["weights_sha256"],
            "cube": opened.attrs["content_sha256"],
            "period": skeleton.attrs["test_period"],
            "precision": precision,
        }
        try:
            stream = ForecastStream(place, skeleton, (target.name, target.attributes), block, identity)
            with progress_bar(
                f"{trained.record['label']} forecast", len(stream.blocks), shown=progress, done=len(stream.done)
            ) as advance:
                for number, values in _values(forecaster, stream, dask, str(run), str(cube), wanted, identity):
                    stream.write(number, values)
                    advance("")
            _finish(stream, out, overwrite=overwrite, more=_costs(forecaster, precision, opened.sizes["cell"]))
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise SoilcastError(
                f"no space left on the disk of {out} ({error.strerror}): the blocks that are forecast stand; free some "
                "space and go on with --resume"
            ) from error
        stream.discard()
    return open_artifact(out, "forecast")


def _finished(out: Path, skeleton: xr.Dataset, precision: str) -> xr.Dataset:
    """Open ``out`` if it is the very forecast that is asked for."""
    found = open_artifact(out, "forecast")
    wanted = {**skeleton.attrs, "precision": precision}
    for name in ("weights_sha256", "cube_sha256", "test_period", "precision"):
        if found.attrs.get(name) != wanted[name]:
            raise SoilcastError(
                f"{out} is a forecast of {name} {found.attrs.get(name)}, not {wanted[name]}: give another --out, or "
                "--overwrite to replace it"
            )
    return found


def _values(
    forecaster: BlockForecaster,
    stream: ForecastStream,
    dask: str | None,
    run: str,
    cube: str,
    wanted: slice,
    identity: Mapping[str, str],
) -> Iterator[tuple[int, Floats]]:
    missing = {number: stream.blocks[number] for number in stream.missing}
    if dask is not None:
        # Workers have a working folder of their own, and may have seen other files at these paths before.
        paths = str(Path(run).absolute()), str(Path(cube).absolute())
        hashes = identity["run"], identity["cube"]
        work = functools.partial(_on_worker, *paths, *hashes, wanted, identity["precision"])
        yield from work_on_cluster(dask, work, missing)
        return
    for number, cells in missing.items():
        yield number, forecaster(cells)


def _on_worker(run: str, cube: str, weights: str, content: str, wanted: slice, precision: str, cells: slice) -> Floats:
    with torch_threads(1):
        return _worker_forecaster(run, cube, weights, content, wanted.start, wanted.stop, precision)(cells)


@functools.lru_cache(maxsize=1)
def _worker_forecaster(
    run: str, cube: str, weights: str, content: str, first: int, stop: int, precision: str
) -> BlockForecaster:
    trained, opened = open_run(run), open_cube(cube)
    for path, meant, found in (
        (run, weights, trained.record["weights_sha256"]),
        (cube, content, opened.attrs["content_sha256"]),
    ):
        if meant != found:
            raise SoilcastError(f"{path}: a worker finds another one there: give the workers the same files")
    return BlockForecaster(trained, opened, slice(first, stop), precision, 1, choose_device("cpu"))


def _cells_a_block(run: Run, cube: xr.Dataset, wanted: slice, memory: int | None) -> int:
    days = wanted.stop - wanted.start + run.config.inputs.sequence_length
    features = len(run.config.inputs.dynamic)
    if memory is None:
        return block_size(days, features)
    room = memory - held_memory() - _WORKING_BYTES
    each = 4 * days * features * _WORKING_BLOCKS
    if room < each:
        raise SoilcastError(
            f"--memory {memory / 2**20:.0f} MiB is too little: forecasting {cube.encoding.get('source', 'the cube')} "
            f"takes at least {(memory - room + each) / 2**20:.0f} MiB: give more"
        )
    return block_size(days, features, min(BLOCK_BYTES, room // _WORKING_BLOCKS))


def _skeleton(
    run: Run, cube: xr.Dataset, wanted: slice, period: str | None, run_path: str | Path, cube_path: str | Path
) -> xr.Dataset:
    """Everything of the forecast but its values."""
    record, target = run.record, VARIABLES[run.config.inputs.target]
    stamped = {"run": str(run_path), "cube": str(cube_path), "weights_sha256": record["weights_sha256"]}
    return xr.Dataset(
        {"area": cube["area"].drop_encoding().load()},
        coords={name: cube[name].drop_encoding().load() for name in cube.coords if name != "time"}
        | {"time": cube["time"].to_numpy()[wanted]},
        attrs={
            "Conventions": "CF-1.11",
            "soilcast_kind": "forecast",
            "title": f"{record['label']}: next-day {target.long_name} on {cube.attrs['title']}",
            "target": target.name,
            "label": record["label"],
            "model": record["model"],
            "content": cube.attrs["content"],
            "source": cube.attrs["source"],
            "cube_sha256": cube.attrs["content_sha256"],
            "weights_sha256": record["weights_sha256"],
            "config": json.dumps(run.config.model_dump(mode="json")),
            "training_log": json.dumps(_thinned(run.log)),
            "train_period": record["train_period"],
            "validation_period": record["validation_period"],
            "test_period": period or record["test_period"],
            "provenance": stamp("soilcast forecast", **stamped),
        },
    )


def _costs(forecaster: BlockForecaster, precision: str, cells: int) -> dict[str, Any]:
    """What there is to know of how the forecast was computed."""
    known: dict[str, Any] = {"precision": precision, "peak_memory_bytes": peak_memory()}
    if precision == "float32":
        return known
    groups = -(-cells // forecaster.group)
    chosen = sorted({round(position) for position in np.linspace(0, groups - 1, min(groups, _COMPARED))})
    starts = [group * forecaster.group for group in chosen]
    found = [forecaster.rounding(slice(start, min(start + forecaster.group, cells))) for start in starts]
    rmse = float(np.sqrt(np.mean([square**2 for square, _ in found])))
    return known | {"bfloat16_rmse": rmse, "bfloat16_largest_error": max(largest for _, largest in found)}


def _finish(stream: ForecastStream, out: Path, *, overwrite: bool, more: dict[str, Any]) -> None:
    stream.note_attributes(more)
    put_store_in_place(stream.store, out, overwrite=overwrite)


def _thinned(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Keep what a training curve needs: about a hundred epochs, and every validated one."""
    step = -(-len(log) // 100)
    kept = ("epoch", "train_loss", "validation_loss", "seconds")
    return [
        {name: record[name] for name in kept}
        for position, record in enumerate(log)
        if position % step == 0 or record["validation_loss"] is not None
    ]
