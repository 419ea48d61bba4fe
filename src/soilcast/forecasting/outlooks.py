"""From a run of several days ahead and a cube to outlooks: of one issue day, or of every day of a period."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import open_artifact, read, thickness_name
from soilcast.cube.contract import VARIABLES
from soilcast.errors import SoilcastError
from soilcast.forecasting.appending import refuse_append
from soilcast.forecasting.choosing import Gaps, Wanted, choose_outlooks, mark_of
from soilcast.forecasting.describing import cell_coordinates, described
from soilcast.forecasting.outlook_blocks import BlockOutlook, OutlookForecaster
from soilcast.forecasting.stream import Promised
from soilcast.forecasting.writing import Values, Work
from soilcast.memory import held_memory
from soilcast.products import add_products
from soilcast.training.devices import choose_device
from soilcast.training.inputs import BLOCK_BYTES, block_size
from soilcast.training.known import horizon_of
from soilcast.training.run import Run

ROOT_ZONE = "root_zone"
AGE = "soil_moisture_age"
_AGE_ATTRIBUTES = {
    "long_name": "age on the issue day of the soil moisture that the forecast begins from",
    "units": "d",
}

_ROOT_LAYERS = ("swvl1", "swvl2", "swvl3")
_ROOT_ATTRIBUTES = {
    "long_name": "volumetric soil water of the layers 1 to 3",
    "standard_name": "volume_fraction_of_condensed_water_in_soil",
    "units": "m3 m-3",
    "valid_range": [0.0, 1.0],
}

Floats = npt.NDArray[np.float32]

_WORKING_BYTES = 256 * 2**20
_WORKING_BLOCKS = 4
"""What forecasting takes beside the program: these bytes for the network, and so many times a block; measured."""


class Outlooks:
    """Forecasts of the days ahead: of one issue day, or of every day of a period.

    Parameters
    ----------
    run, cube
        Opened, and where they are: paths.
    period, issue, leads, weather, units, gaps, precision, memory, dask
        See `soilcast.forecasting.forecast`.

    Raises
    ------
    SoilcastError
        See `choose_outlooks`; a dask cluster, which makes no outlooks.
    """

    kind = "outlook"
    called = "an outlook"
    same: tuple[str, ...] = (
        "weights_sha256", "cube_sha256", "test_period", "issue_days", "lead_days", "weather", "weather_forecast",
        "precision",
    )  # fmt: skip

    def __init__(
        self,
        run: Run,
        cube: xr.Dataset,
        paths: tuple[str | Path, str | Path],
        *,
        period: str | None,
        issue: str | None,
        leads: int | None,
        weather: str | Path | None,
        units: Mapping[str, str] | None,
        gaps: Gaps,
        precision: str,
        memory: int | None,
        dask: str | None,
    ) -> None:
        if dask is not None:
            raise SoilcastError(f"--dask {dask}: forecasts of several days ahead are made by one process: leave it out")
        self._run, self._cube, self._precision, self._memory = run, cube, precision, memory
        self._wanted = choose_outlooks(
            run, cube, period=period, issue=issue, leads=leads, weather=weather, units=units, gaps=gaps
        )
        self._reference = _reference(run, cube)
        issues = cube["time"].to_numpy()[self._wanted.issues].astype("datetime64[D]")
        layers = " and ".join(VARIABLES[layer].long_name for layer in run.config.layers)
        self.asked = described(
            run,
            cube,
            *paths,
            soilcast_kind="outlook",
            title=f"{run.record['label']}: {self._wanted.leads} days ahead of {layers} on {cube.attrs['title']}",
            targets=",".join(run.config.layers),
            latency_days=run.config.inputs.latency_days,
            issue_days=f"{issues[0]}:{issues[-1]}",
            lead_days=self._wanted.leads,
            weather=self._wanted.known,
            weather_forecast=mark_of(Path(self._wanted.weather.path), units) if self._wanted.weather else "none",
            test_period=period or run.record["test_period"],
            precision=precision,
        )

    def work(self, threads: int) -> Work:
        """Lay out the work; the products of the network take all threads."""
        del threads
        device = choose_device("auto")
        wanted = self._wanted
        self._forecaster = OutlookForecaster(
            self._run, self._cube, wanted.issues, wanted.leads, wanted.weather, self._precision, device
        )
        coordinates = cell_coordinates(self._cube) | outlook_coordinates(self._run, self._cube, wanted)
        skeleton = xr.Dataset({"area": self._cube["area"].drop_encoding().load()}, coordinates, self.asked)
        block = outlook_block(self._run, self._cube, wanted, self._forecaster.group, self._memory)
        identity = {name: self.asked[name] for name in self.same}
        return Work(skeleton, self.promised, block, identity, self.make)

    def known(self) -> dict[str, Any]:
        """What there is to know at the end: nothing but what the variables say."""
        return {}

    def refuse_append(self, out: Path) -> None:
        """Raise `SoilcastError` unless it is of one issue day, behind those that ``out`` holds."""
        if not self._wanted.single:
            raise SoilcastError(f"{out}: --append adds the outlook of one day: say which by --from")
        refuse_append(out, self.asked, self._cube, self._cube["time"].to_numpy()[self._wanted.issues.start])

    def stands_in(self, out: Path) -> bool:
        """Whether it is the last of those that ``out`` holds."""
        with open_artifact(out, "outlook") as found:
            last = found["time"].to_numpy()[-1] == self._cube["time"].to_numpy()[self._wanted.issues.start]
            # The others are of all days that are there.
            alike = (name for name in self.same if name not in ("test_period", "issue_days"))
            return bool(last) and all(found.attrs.get(name) == self.asked[name] for name in alike)

    @property
    def promised(self) -> dict[str, Promised]:
        """The variables that `make` gives: what it gives of no cells."""
        config = self._run.config
        shape = (0, self._wanted.issues.stop - self._wanted.issues.start, self._wanted.leads, len(config.layers))
        none = np.zeros(shape, dtype=np.float32)
        quantiles = np.zeros((*shape, len(config.outlook.levels)), dtype=np.float32)
        age = none[..., 0, 0] if horizon_of(config).anchored else None
        said = self._variables(none, quantiles, age, slice(0, 0))
        return {name: Promised(tuple(map(str, one.dims)), one.attrs, str(one.dtype)) for name, one in said.items()}

    def make(self, blocks: Mapping[int, slice]) -> Iterator[tuple[int, Values]]:
        """Make blocks, one after the other.

        Raises
        ------
        SoilcastError
            Cells without soil moisture to begin with, where these are refused.
        """
        for number, cells in blocks.items():
            made = self._forecaster(cells)
            if self._wanted.gaps == "refuse":
                self._refuse_gaps(made, cells)
            said = self._variables(made.centre, made.quantiles, made.age, cells)
            yield number, {name: one.to_numpy() for name, one in said.items()}

    def _variables(self, centre: Floats, quantiles: Floats, age: Floats | None, cells: slice) -> dict[str, xr.Variable]:
        layers, dims = self._run.config.layers, ("cell", "time", "lead")
        found: dict[str, xr.Variable] = {}
        if age is not None:
            found[AGE] = xr.Variable(dims[:2], age, _AGE_ATTRIBUTES)
        for position, layer in enumerate(layers):
            attributes = VARIABLES[layer].attributes
            found[layer] = xr.Variable(dims, centre[..., position], attributes)
            if quantiles.shape[-1]:
                said = attributes | {"long_name": f"quantiles of {VARIABLES[layer].long_name}"}
                found[f"{layer}_quantile"] = xr.Variable((*dims, "quantile"), quantiles[..., position, :], said)
        if set(_ROOT_LAYERS) <= set(layers) and all(thickness_name(layer) in self._cube for layer in _ROOT_LAYERS):
            thickness = np.stack([read(self._cube, thickness_name(layer), cells) for layer in _ROOT_LAYERS], axis=-1)
            share = (thickness / thickness.sum(axis=-1, keepdims=True))[:, np.newaxis, np.newaxis]
            whole = np.sum(centre[..., [layers.index(layer) for layer in _ROOT_LAYERS]] * share, axis=-1)
            found[ROOT_ZONE] = xr.Variable(dims, whole.astype(np.float32), _ROOT_ATTRIBUTES)
        if self._wanted.single:
            coordinates = outlook_coordinates(self._run, self._cube, self._wanted)
            block = xr.Dataset(found, coordinates, {"latency_days": self._run.config.inputs.latency_days})
            found |= add_products(block, self._cube, cells, layers=layers, reference=self._reference)
        return found

    def _refuse_gaps(self, made: BlockOutlook, cells: slice) -> None:
        config = self._run.config.inputs
        issue = self._cube["time"].to_numpy()[self._wanted.issues.start]
        where, count = self._cube.encoding.get("source", "the cube"), len(made.centre)
        remedy = "update the cube, choose another --from, or leave these cells out by --gaps missing"
        if made.without_soil.any():
            newest = np.datetime_as_string(issue - np.timedelta64(config.latency_days, "D"), "D")
            raise SoilcastError(
                f"{where}: {int(made.without_soil.sum())} of {count} cells from {cells.start} on have no "
                f"{' or '.join(self._run.config.layers)} on {newest} (inputs.latency_days {config.latency_days}) nor "
                f"in the {config.fill_days} day(s) before it (inputs.fill_days): {remedy}"
            )
        if made.without_weather.any():
            first = np.datetime_as_string(issue - np.timedelta64(config.sequence_length - 1, "D"), "D")
            raise SoilcastError(
                f"{where}: {int(made.without_weather.sum())} of {count} cells from {cells.start} on lack inputs "
                f"between {first} and {np.datetime_as_string(issue, 'D')}, or what is known ahead: {remedy}"
            )


def outlook_block(run: Run, cube: xr.Dataset, wanted: Wanted, group: int, memory: int | None) -> int:
    """Cells that are read, forecast and written at once: multiples of a group that need no more than some bytes.

    Raises
    ------
    SoilcastError
        Even one group needs more than ``memory`` [bytes].
    """
    config, count = run.config, wanted.issues.stop - wanted.issues.start
    days = count + config.inputs.sequence_length + config.outlook.lead_days
    weathers = wanted.weather.members if wanted.weather else 1
    read_in = days * (weathers * len(config.inputs.dynamic) + 2 * len(config.observed_layers))
    made = 2 * count * config.outlook.lead_days * len(config.layers) * (1 + len(config.outlook.levels))
    most = BLOCK_BYTES
    if memory is not None:
        room, least = memory - held_memory() - _WORKING_BYTES, 4 * (read_in + made) * _WORKING_BLOCKS * group
        if room < least:
            raise SoilcastError(
                f"--memory {memory / 2**20:.0f} MiB is too little: forecasting "
                f"{cube.encoding.get('source', 'the cube')} takes at least {(memory - room + least) / 2**20:.0f} MiB: "
                "give more"
            )
        most = min(BLOCK_BYTES, room // _WORKING_BLOCKS)
    cells = block_size(1, read_in + made, most)
    return max(group, cells // group * group)


def outlook_coordinates(run: Run, cube: xr.Dataset, wanted: Wanted) -> dict[str, xr.Variable]:
    """The coordinates of outlooks beside those of the cells."""
    issues = cube["time"].to_numpy()[wanted.issues]
    leads = np.arange(1, wanted.leads + 1, dtype=np.int32)
    valid = issues[:, np.newaxis] + leads * np.timedelta64(1, "D")
    found = {
        "time": xr.Variable("time", issues, {"standard_name": "forecast_reference_time", "long_name": "issue day"}),
        "lead": xr.Variable("lead", leads, {"long_name": "days ahead of the issue day", "units": "d"}),
        "valid_time": xr.Variable(("time", "lead"), valid, {"standard_name": "time", "long_name": "day forecast"}),
    }
    if run.config.outlook.levels:
        levels = np.asarray(run.config.outlook.levels, dtype=np.float64)
        found["quantile"] = xr.Variable("quantile", levels, {"long_name": "probability", "units": "1"})
    return found


def _reference(run: Run, cube: xr.Dataset) -> slice:
    """Days of the cube whose climate the forecasts are compared with: those before the test of the run, if any."""
    days = cube["time"].to_numpy()
    last = np.datetime64(str(run.record["validation_period"]).rpartition(":")[2])
    stop = int(np.searchsorted(days, last, side="right"))
    return slice(0, stop or len(days))
