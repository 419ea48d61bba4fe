"""From a run and a cube to a forecast on disk: of the next day over a period, or of the days ahead of an issue day."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import xarray as xr

from soilcast.cube import open_artifact, open_cube
from soilcast.errors import SoilcastError
from soilcast.files import refuse_existing
from soilcast.forecasting.choosing import Gaps
from soilcast.forecasting.next_day import NextDay
from soilcast.forecasting.outlooks import Outlooks
from soilcast.forecasting.stream import PROGRESS
from soilcast.forecasting.writing import Work, write_forecast
from soilcast.memory import peak_memory
from soilcast.training.devices import torch_threads
from soilcast.training.inputs import refuse_missing_inputs, refuse_missing_layers
from soilcast.training.run import open_run
from soilcast.workplace import clear_workplace, locked_workplace, take_back


class Kind(Protocol):
    """A kind of forecast.

    Attributes
    ----------
    kind, called
        What the artifact calls itself, and what we call it, with its article.
    same
        Attributes in which two forecasts that are the same agree.
    asked
        The attributes that are asked for.
    """

    kind: str
    called: str
    same: tuple[str, ...]
    asked: dict[str, Any]

    def work(self, threads: int) -> Work:
        """Lay out the work, for so many threads."""
        ...

    def known(self) -> dict[str, Any]:
        """What there is to know at the end."""
        ...

    def stands_in(self, out: Path) -> bool:
        """Whether it is what was added to ``out`` last."""
        ...

    def refuse_append(self, out: Path) -> None:
        """Raise `SoilcastError` unless it can be added to what ``out`` holds."""
        ...


def forecast(
    run: str | Path,
    cube: str | Path,
    out: str | Path,
    *,
    period: str | None = None,
    issue: str | None = None,
    leads: int | None = None,
    weather: str | Path | None = None,
    units: Mapping[str, str] | None = None,
    gaps: Gaps = "refuse",
    append: bool = False,
    precision: str = "float32",
    memory: int | None = None,
    dask: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = False,
) -> xr.Dataset:
    """Forecast each day of a period from the days before it, or the days ahead of an issue day.

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
        Days to forecast, such as ``2020``; by default the test period of the run. A run that was trained for several
        days ahead forecasts from every issue day whose days ahead lie in it.
    issue
        The last day whose weather is known: forecast the days after it alone, with their percentile, anomaly and
        drought class. For runs that were trained for several days ahead, as `leads`, `weather` and `gaps`.
    leads
        Days ahead; by default as many as the run was trained for.
    weather
        Forecast of the weather of the days ahead (`soilcast.forecasting.weather.open_weather`) for a run that knows
        it, with an ensemble if it has members; or ``observed``, that of the cube.
    units
        Contract name -> unit, where the forecast of the weather says none or a wrong one.
    gaps
        ``refuse`` to forecast while cells have no soil moisture to begin with, or leave these ``missing``.
    append
        Add the outlook of ``issue`` to those of earlier days that ``out`` holds, if it is there.
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
    input is missing or the run has no statistics of the cell. Of an ensemble it is the mean of the members. Of several
    days ahead: each layer ``(cell, time, lead)`` by the issue day, and its quantiles ``(cell, time, lead, quantile)``.

    Raises
    ------
    SoilcastError
        A damaged run or cube, missing inputs, a period outside the cube, cells that the run has not seen, too little
        memory, unfinished work on another forecast, a full disk (the blocks that are written stand). Of several days
        ahead: soil moisture that is missing or older than its latency, a forecast of the weather that does not do.
    """
    out = Path(out)
    trained, opened = open_run(run), open_cube(cube)
    refuse_missing_inputs(opened, trained.config.inputs)
    refuse_missing_layers(opened, trained.config.layers)
    asked: Kind
    options: dict[str, Any] = {"period": period, "precision": precision, "memory": memory, "dask": dask}
    ahead: dict[str, Any] = {"issue": issue, "leads": leads, "weather": weather, "units": units}
    if trained.config.outlook.lead_days:
        asked = Outlooks(trained, opened, (run, cube), **options, **ahead, gaps=gaps)
    else:
        _refuse_ahead(ahead, run)
        asked = NextDay(trained, opened, (run, cube), **options)
    if append:
        take_back(out)
    append = append and out.exists()
    if append and resume and asked.stands_in(out):
        clear_workplace(out)
        return open_artifact(out, asked.kind)
    if append:
        asked.refuse_append(out)
    elif resume and out.exists():
        return _finished(out, asked)
    refuse_existing(out, overwrite=overwrite or append)
    with (
        torch_threads(trained.config.train.threads) as threads,
        locked_workplace(out, overwrite=overwrite, resume=resume, keep=PROGRESS) as place,
    ):
        write_forecast(
            asked.work(threads),
            place,
            out,
            overwrite=overwrite,
            progress=progress,
            more=lambda: {**asked.known(), "peak_memory_bytes": peak_memory()},
            append=append,
        )
    return open_artifact(out, asked.kind)


def _refuse_ahead(options: dict[str, Any], run: str | Path) -> None:
    names = {"issue": "--from", "leads": "--lead", "weather": "--weather", "units": "--unit"}
    for name, value in options.items():
        if value is not None:
            raise SoilcastError(
                f"{names[name]} {value}: {run} forecasts the next day from the weather before it alone: train one for "
                "several days ahead with --set outlook.lead_days=10"
            )


def _finished(out: Path, asked: Kind) -> xr.Dataset:
    """Open ``out`` if it is the very forecast that is asked for."""
    found = open_artifact(out, asked.kind)
    for name in asked.same:
        if found.attrs.get(name) != asked.asked[name]:
            raise SoilcastError(
                f"{out} is {asked.called} of {name} {found.attrs.get(name)}, not {asked.asked[name]}: give another "
                "--out, or --overwrite to replace it"
            )
    return found
