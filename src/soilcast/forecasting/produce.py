"""From a run and a cube to a forecast on disk: over a period, or of the days after one issue day."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cluster import work_on_cluster
from soilcast.cube import open_artifact
from soilcast.cube.identity import refuse_changed
from soilcast.cube.store import put_store_in_place
from soilcast.errors import SoilcastError
from soilcast.files import NO_ROOM, path_list, refuse_existing
from soilcast.forecasting.appending import joined, refuse_append
from soilcast.forecasting.block import BlockForecast, BlockForecaster
from soilcast.forecasting.left_out import Tally, notes_of, tally_block
from soilcast.forecasting.request import Gaps, OpenedRequest, Request
from soilcast.forecasting.stream import PROGRESS, ForecastStream
from soilcast.forecasting.variables import (
    RESIDUAL,
    block_variables,
    coordinates_of,
    describe,
    no_cells,
    rank_templates,
)
from soilcast.memory import held_memory, peak_memory
from soilcast.progress import progress_bar
from soilcast.training.devices import choose_device, full_gpu_told, torch_threads
from soilcast.training.inputs import BLOCK_BYTES, block_size
from soilcast.workplace import clear_workplace, is_to_replace, locked_workplace, restore

Values = tuple[Mapping[str, npt.NDArray[Any]], Tally]
"""Of a block of cells: what is stored, and what is left out."""

IDENTITY_KEYS = (
    "weights_sha256", "cube_sha256", "test_period", "issue_days", "lead_days", "weather", "weather_forecast",
    "precision",
)  # fmt: skip
"""Attributes in which two forecasts that are the same agree."""

_OF_ONE_DAY = tuple(name for name in IDENTITY_KEYS if name not in ("test_period", "issue_days"))

_WORKING_BYTES = 160 * 2**20
_WORKING_BLOCKS = 4
"""What forecasting takes beside the program: these bytes for the network, and so many times a block; measured."""

_LEAST_COMPARED, _MOST_COMPARED, _ONE_IN = 4, 16, 64
"""Groups of cells on which it is measured what bfloat16 costs, and how far a water balance closes: one in so many,
within these bounds, since each is read by itself."""


def forecast(
    run: str | Path,
    cube: str | Path,
    out: str | Path,
    *,
    period: str | None = None,
    issue: str | None = None,
    leads: int | None = None,
    weather: str | Path | Sequence[str | Path] | None = None,
    units: Mapping[str, str] | None = None,
    lapse_rate: float | None = None,
    gaps: Gaps = "refuse",
    append: bool = False,
    precision: str = "float32",
    memory: int | None = None,
    dask: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Forecast soil moisture from every issue day of a period, or from one issue day.

    Blocks of cells are read, forecast and written one after the other, in ``OUT.unfinished`` until all are done;
    ``resume`` adds missing ones. The forecast does not depend on the blocks.

    Parameters
    ----------
    run
        Folder of a run.
    cube
        Path of a cube; for a run with statistics of each cell, a cube with those cells.
    out
        Forecast to write: a Zarr folder, or NetCDF if the name ends in ``.nc``.
    period
        Days to forecast, such as ``2020``; by default the test period of the run. There is a forecast from every issue
        day whose forecast days lie in it.
    issue
        Issue day, the last day with information: forecast the days after it only, with percentile, anomaly and drought
        class.
    leads
        Lead times [d]; by default as many as the run was trained for.
    weather
        Weather forecast (`soilcast.weather.open_weather`) for a run with ``task.known_future``, in one file or several,
        with members or without; over a period an archive of forecasts, of which each issue day takes its own; or
        ``observed``, the weather of the cube.
    units
        Variable -> unit, if the weather forecast gives none or a wrong one.
    lapse_rate
        By how much temperature falls with height [K km-1], to correct the forecast temperature for the elevation of
        each cell; by default it is not corrected.
    gaps
        ``refuse`` the forecast from one issue day if cells lack an input, or write ``missing`` values in them.
    append
        Append the forecast from ``issue`` to earlier ones in ``out``, if it exists.
    precision
        ``bfloat16`` makes matrix products faster and less exact; by how much is measured on some cells and written to
        the forecast (``bfloat16_rmse``, ``bfloat16_largest_error`` [m3 m-3]).
    memory
        Memory limit [bytes]; blocks become smaller.
    dask
        Address of a dask scheduler whose workers, which see the same paths, forecast the blocks.
    overwrite
        Replace ``out`` if it exists, and start over.
    resume
        Resume an interrupted forecast; do nothing if ``out`` is complete.
    progress
        Show a progress bar.

    Returns
    -------
    The forecast, opened: each layer ``(cell, time, lead)`` float32 [m3 m-3] by issue day and lead time; of a run with
    quantiles the median of the calibrated distribution, beside it ``{layer}_mean``, the quantiles ``(cell, time, lead,
    quantile)`` and, of several leads, ``{layer}_rank_template`` ``(template, lead)``. NaN where an input is missing or
    the run has no statistics of the cell. Without quantiles a layer is the mean, of an ensemble that of the members.

    Raises
    ------
    SoilcastError
        A damaged run or cube, missing inputs, a period outside the cube, cells unknown to the run, too little memory,
        an unfinished forecast with other inputs, a full disk (written blocks are kept), soil moisture that is missing
        or older than its latency, an unsuitable weather forecast.
    """
    out = Path(out)
    request = Request(
        str(run),
        str(cube),
        period=period,
        issue=issue,
        leads=leads,
        weather=() if weather is None else tuple(map(str, path_list(weather))),
        units=tuple(sorted((units or {}).items())),
        gaps=gaps,
        precision=precision,
        lapse_rate=lapse_rate,
        memory=memory,
    )
    opened = request.open(progress=progress)
    attributes = describe(opened)
    if append and issue is None:
        raise SoilcastError(f"{out}: --append needs an issue day: give it with --from")
    if append or resume:
        restore(out)
    append = append and out.exists()
    if append and resume and _was_added(out, opened, attributes):
        clear_workplace(out)
        return open_artifact(out, "forecast")
    if append:
        refuse_append(out, attributes, opened.cube, opened.issue_days[0])
    elif resume and out.exists():
        found = _finished(out, attributes, needed=not (overwrite or is_to_replace(out)))
        if found is not None:
            clear_workplace(out)
            return found
        overwrite = True
    refuse_existing(out, kind="forecast", overwrite=overwrite or append)
    with (
        torch_threads(opened.run.config.train.threads) as threads,
        locked_workplace(out, overwrite=overwrite, resume=resume, keep=PROGRESS) as place,
        full_gpu_told("wait until other programs have left it, or set CUDA_VISIBLE_DEVICES= to take the CPU"),
    ):
        _write(opened, attributes, place, out, threads, memory, dask, overwrite, append=append, progress=progress)
    return open_artifact(out, "forecast")


def _write(
    opened: OpenedRequest,
    attributes: Mapping[str, Any],
    place: Path,
    out: Path,
    threads: int,
    memory: int | None,
    dask: str | None,
    overwrite: bool,
    *,
    append: bool,
    progress: bool,
) -> None:
    """Make the blocks that are missing in ``place``, and put the whole to ``out``."""
    forecaster = BlockForecaster(opened, threads, choose_device("auto"))
    area = opened.cube["area"].drop_encoding().load()
    variables, of_all_cells = no_cells(opened), {"area": area, **rank_templates(opened)}
    skeleton = xr.Dataset(of_all_cells, coordinates_of(opened, variables), dict(attributes))
    block = _cells_a_block(opened, forecaster.group, memory)
    identity = {name: attributes[name] for name in IDENTITY_KEYS}
    try:
        stream = ForecastStream(place, skeleton, variables, block, identity)
        missing = {number: stream.blocks[number] for number in stream.missing}
        label = f"{attributes['label']} forecast"
        with progress_bar(label, len(stream.blocks), shown=progress, done=len(stream.done)) as advance:
            for number, values in _blocks(opened, forecaster, missing, dask):
                stream.write(number, *values)
                advance("")
        refuse_changed(opened.cube)
        costs = {} if attributes["precision"] == "float32" else _rounding(opened, forecaster, threads)
        costs |= _closure(opened, forecaster)
        notes = list(notes_of(opened, stream.tallies))
        left_out = {"notes": "\n".join(notes)} if notes else {}
        stream.note_attributes({**costs, **left_out, "peak_memory_bytes": peak_memory()})
        store = joined(out, stream.store, place) if append else stream.store
        put_store_in_place(store, out, kind="forecast", overwrite=overwrite or append)
    except _GapsError:
        stream.discard()  # no other attempt with the same inputs would come farther
        raise
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise SoilcastError(
            f"no space left on the disk of {out} ({error.strerror}): completed blocks are kept; free some space and "
            "continue with --resume"
        ) from error
    stream.discard()


def _blocks(
    opened: OpenedRequest, forecaster: BlockForecaster, missing: Mapping[int, slice], dask: str | None
) -> Iterator[tuple[int, Values]]:
    """Forecast blocks, here or on the workers of a cluster, in any order."""
    if dask is None:
        for number, cells in missing.items():
            yield number, _values(opened, forecaster, cells)
        return
    # Workers have a working folder of their own, and may have seen other files at these paths before.
    request = opened.request.absolute()
    yield from work_on_cluster(dask, functools.partial(_on_worker, request, opened.file_marks(request)), missing)


def _values(opened: OpenedRequest, forecaster: BlockForecaster, cells: slice) -> Values:
    made = forecaster(cells)
    if opened.request.issue is not None and opened.request.gaps == "refuse":
        _refuse_gaps(opened, made, cells)
    stored = {name: one.to_numpy() for name, one in block_variables(opened, made, cells).items()}
    return stored, tally_block(opened, made, cells)


def _on_worker(request: Request, meant: tuple[str, ...], cells: slice) -> Values:
    with torch_threads(1):
        return _values(*_worker_forecaster(request, meant), cells)


@functools.lru_cache(maxsize=1)
def _worker_forecaster(request: Request, meant: tuple[str, ...]) -> tuple[OpenedRequest, BlockForecaster]:
    opened = request.open()
    paths = request.run, request.cube, " ".join(request.weather)
    for path, here, there in zip(paths, meant, opened.file_marks(request), strict=True):
        if here != there:
            raise SoilcastError(f"{path}: a worker sees a different file there: give the workers the same files")
    return opened, BlockForecaster(opened, 1, choose_device("cpu"))


def _finished(out: Path, attributes: Mapping[str, Any], *, needed: bool) -> xr.Dataset | None:
    """Open ``out`` if it is the very forecast that is asked for; raise `SoilcastError` if it is not and has to be."""
    found = open_artifact(out, "forecast")
    for name in IDENTITY_KEYS:
        if found.attrs.get(name) != attributes[name]:
            if not needed:
                return None
            raise SoilcastError(
                f"{out} has {name} {found.attrs.get(name)}, not {attributes[name]}: give another --out, or "
                "--overwrite to replace it"
            )
    return found


def _was_added(out: Path, opened: OpenedRequest, attributes: Mapping[str, Any]) -> bool:
    """Whether what is to be added is the last issue day that ``out`` holds."""
    with open_artifact(out, "forecast") as found:
        is_last = found["time"].to_numpy()[-1] == opened.issue_days[0]
        return bool(is_last) and all(found.attrs.get(name) == attributes[name] for name in _OF_ONE_DAY)


def _cells_a_block(opened: OpenedRequest, group: int, memory: int | None) -> int:
    """Cells that are read, forecast and written at once: multiples of a group that need no more than some bytes."""
    task, count = opened.run.config.task, len(opened.issues)
    days = int(opened.issues[-1] - opened.issues[0]) + 1 + task.window + task.lead_days
    forecasts = opened.weather.size if opened.weather else 0
    soil = len(task.layers) * (1 + task.sees_own_layers) + len(task.lags)
    read_in = days * (len(task.dynamic) + soil) + forecasts
    made = 2 * count * task.lead_days * len(task.layers) * (1 + bool(task.quantiles) + len(task.quantiles))
    most = BLOCK_BYTES
    if memory is not None:
        room, least = memory - held_memory() - _WORKING_BYTES, 4 * (read_in + made) * _WORKING_BLOCKS * group
        if room < least:
            raise SoilcastError(
                f"--memory {memory / 2**20:.0f} MiB is too little: forecasting "
                f"{opened.cube.encoding.get('source', 'the cube')} takes at least "
                f"{(memory - room + least) / 2**20:.0f} MiB: increase it"
            )
        most = min(BLOCK_BYTES, room // _WORKING_BLOCKS)
    cells = block_size(1, read_in + made, most)
    return max(group, cells // group * group)


def _rounding(opened: OpenedRequest, forecaster: BlockForecaster, threads: int) -> dict[str, float]:
    """Say what bfloat16 cost: the differences from float32 [m3 m-3], on some groups of cells."""
    request = replace(opened.request, precision="float32")
    exact = BlockForecaster(replace(opened, request=request), threads, choose_device("auto"))
    blocks = map(forecaster.read, _some_groups(opened, forecaster))
    groups = [forecaster.forecast(one).central.astype(np.float64) - exact.forecast(one).central for one in blocks]
    away = np.concatenate([group[np.isfinite(group)] for group in groups])
    return {
        "bfloat16_rmse": float(np.sqrt(np.mean(away**2))) if away.size else 0.0,
        "bfloat16_largest_error": float(np.max(np.abs(away), initial=0.0)),
    }


def _closure(opened: OpenedRequest, forecaster: BlockForecaster) -> dict[str, float]:
    """Say how far the water balance of a head that closes it is from closed [m], on some groups of cells."""
    if not forecaster.closes:
        return {}
    return {RESIDUAL: max(map(forecaster.closure_residual, _some_groups(opened, forecaster)))}


def _some_groups(opened: OpenedRequest, forecaster: BlockForecaster) -> Iterator[slice]:
    """Give some groups of cells at equal distances."""
    group, cells = forecaster.group, opened.cube.sizes["cell"]
    groups = -(-cells // group)
    some = min(groups, max(_LEAST_COMPARED, min(_MOST_COMPARED, groups // _ONE_IN)))
    for number in sorted({int((place + 0.5) / some * groups) for place in range(some)}):
        yield slice(number * group, min((number + 1) * group, cells))


class _GapsError(SoilcastError):
    """Cells lack what the forecast from one issue day needs."""


def _refuse_gaps(opened: OpenedRequest, made: BlockForecast, cells: slice) -> None:
    task, issue = opened.run.config.task, opened.issue_days[0]
    where, count = opened.cube.encoding.get("source", "the cube"), len(made.mean)
    remedy = "update the cube, choose another --from, or write missing values in these cells (--gaps missing)"
    if made.without_soil.any():
        newest = np.datetime_as_string(issue - np.timedelta64(task.soil_latency, "D"), "D")
        raise _GapsError(
            f"{where}: {int(made.without_soil.sum())} of {count} cells from {cells.start} on have no "
            f"{' or '.join(task.layers)} on {newest} (task.latency {task.soil_latency}) nor in the {task.fill_days} "
            f"day(s) before (task.fill_days): {remedy}"
        )
    if made.without_inputs.any():
        first = np.datetime_as_string(issue - np.timedelta64(task.window - 1, "D"), "D")
        raise _GapsError(
            f"{where}: {int(made.without_inputs.sum())} of {count} cells from {cells.start} on lack inputs between "
            f"{first} and {np.datetime_as_string(issue, 'D')}, or on the forecast days (task.known_future): {remedy}"
        )
