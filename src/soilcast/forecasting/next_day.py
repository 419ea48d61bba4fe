"""The paper's forecasts: of each day of a period from the days before it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cluster import work_on_cluster
from soilcast.cube import open_cube
from soilcast.cube.contract import VARIABLES
from soilcast.errors import SoilcastError
from soilcast.forecasting.blocks import BlockForecaster, Floats
from soilcast.forecasting.describing import cell_coordinates, described
from soilcast.forecasting.stream import Promised
from soilcast.forecasting.writing import Values, Work
from soilcast.memory import held_memory
from soilcast.training.devices import choose_device, torch_threads
from soilcast.training.inputs import BLOCK_BYTES, block_size
from soilcast.training.run import Run, open_run
from soilcast.training.split import period_slice

_WORKING_BYTES = 96 * 2**20
_WORKING_BLOCKS = 4
"""What forecasting takes beside the program: these bytes, and so many times a block of inputs; measured."""

_COMPARED = 16
"""Groups of cells that are forecast with float32 too, to tell what bfloat16 costs."""


class NextDay:
    """Forecasts of the next day, of every day of a period.

    Parameters
    ----------
    run, cube
        Opened, and where they are: paths.
    period
        Days to forecast; by default the test period of the run.
    precision, memory, dask
        See `soilcast.forecasting.forecast`.

    Raises
    ------
    SoilcastError
        A period outside the cube.
    """

    kind = "forecast"
    called = "a forecast"
    same: tuple[str, ...] = ("weights_sha256", "cube_sha256", "test_period", "precision")

    def __init__(
        self,
        run: Run,
        cube: xr.Dataset,
        paths: tuple[str | Path, str | Path],
        *,
        period: str | None,
        precision: str,
        memory: int | None,
        dask: str | None,
    ) -> None:
        self._run, self._cube, self._paths = run, cube, paths
        self._precision, self._memory, self._dask = precision, memory, dask
        days = cube["time"].to_numpy()
        self._wanted = period_slice(days, period or run.record["test_period"], str(paths[1]), "the forecast period")
        target = VARIABLES[run.config.inputs.target]
        attributes = described(
            run,
            cube,
            *paths,
            soilcast_kind="forecast",
            title=f"{run.record['label']}: next-day {target.long_name} on {cube.attrs['title']}",
            target=target.name,
            test_period=period or run.record["test_period"],
        )
        coordinates = cell_coordinates(cube) | {"time": days[self._wanted]}
        self.skeleton = xr.Dataset({"area": cube["area"].drop_encoding().load()}, coordinates, attributes)
        self.asked = {**attributes, "precision": precision}

    def work(self, threads: int) -> Work:
        """Lay out the work, for so many threads."""
        device = choose_device("auto")
        self._forecaster = BlockForecaster(self._run, self._cube, self._wanted, self._precision, threads, device)
        block = max(self._forecaster.group, _cells_a_block(self._run, self._cube, self._wanted, self._memory))
        target = VARIABLES[self._run.config.inputs.target]
        identity = {
            "run": self._run.record["weights_sha256"],
            "cube": self._cube.attrs["content_sha256"],
            "period": self.skeleton.attrs["test_period"],
            "precision": self._precision,
        }

        def make(blocks: Mapping[int, slice]) -> Iterator[tuple[int, Values]]:
            run, cube = map(str, self._paths)
            for number, values in _values(self._forecaster, blocks, self._dask, run, cube, self._wanted, identity):
                yield number, {target.name: values}

        promised = {target.name: Promised(("cell", "time"), target.attributes)}
        return Work(self.skeleton, promised, block, identity, make)

    def known(self) -> dict[str, Any]:
        """What there is to know at the end of how the forecast was computed."""
        return _costs(self._forecaster, self._precision, self._cube.sizes["cell"])

    def stands_in(self, out: Path) -> bool:
        """Nothing is added to forecasts of a period."""
        del out
        return False

    def refuse_append(self, out: Path) -> None:
        """Raise `SoilcastError`: a period is forecast whole."""
        raise SoilcastError(f"{out}: --append adds the outlook of a day that --from names: leave it out")


def _values(
    forecaster: BlockForecaster,
    missing: Mapping[int, slice],
    dask: str | None,
    run: str,
    cube: str,
    wanted: slice,
    identity: Mapping[str, str],
) -> Iterator[tuple[int, Floats]]:
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


def _costs(forecaster: BlockForecaster, precision: str, cells: int) -> dict[str, Any]:
    """What there is to know of how the forecast was computed."""
    known: dict[str, Any] = {"precision": precision}
    if precision == "float32":
        return known
    groups = -(-cells // forecaster.group)
    chosen = sorted({round(position) for position in np.linspace(0, groups - 1, min(groups, _COMPARED))})
    starts = [group * forecaster.group for group in chosen]
    found = [forecaster.rounding(slice(start, min(start + forecaster.group, cells))) for start in starts]
    rmse = float(np.sqrt(np.mean([square**2 for square, _ in found])))
    return known | {"bfloat16_rmse": rmse, "bfloat16_largest_error": max(largest for _, largest in found)}
