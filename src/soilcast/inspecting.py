"""Say what any of soilcast's artifacts is: a cube, a run, a forecast, an outlook, scores of either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import VARIABLES, open_artifact, open_cube, read, usable_target
from soilcast.cube.store import CELL_CHUNK, DAY_CHUNK
from soilcast.errors import SoilcastError
from soilcast.training.run import RECORD, open_run
from soilcast.training.train import run_summary
from soilcast.verify import summarise

SCORES_FILE = "scores.nc"

_SHOWN = ("r", "rmse", "ubrmse", "bias", "r2", "kge", "skill", "consistency_w1", "consistency_w2")

_SHOWN_AHEAD = {
    "ratio": ("median", "RMSE over that of persistence, median over the cells by area"),
    "crps": ("median", "CRPS [m3 m-3], median over the cells by area"),
    "coverage_90": ("mean", "share of days within the 90 % interval, mean over the cells by area"),
}


def inspect(path: str | Path) -> str:
    """Describe an artifact in some lines of text.

    Parameters
    ----------
    path
        A cube, run, forecast, outlook or scores.

    Raises
    ------
    SoilcastError
        There is nothing, or nothing that soilcast wrote.
    """
    path = Path(path)
    if not path.exists():
        raise SoilcastError(f"{path}: there is no such file or folder")
    if (path / RECORD).is_file():
        return "\n".join(_run_lines(path))
    if (path / SCORES_FILE).is_file():
        path = path / SCORES_FILE
    return "\n".join(_DESCRIBE[_kind(path)](path))


def _kind(path: Path) -> str:
    opened = open_artifact(path, *_DESCRIBE)
    opened.close()
    return str(opened.attrs["soilcast_kind"])


def _cube_lines(path: Path) -> Iterator[str]:
    cube = open_cube(path)
    yield f"cube: {cube.attrs['title']}"
    yield from _common_lines(cube)
    yield f"{'variable':<20} {'unit':<9} {'lowest':>11} {'mean':>11} {'highest':>11} {'missing':>8}  what"
    for name in (name for name in VARIABLES if name in cube):
        row, found = VARIABLES[name], _survey(cube, name)
        shown = " ".join(
            f"{number:11.5g}" for number in (np.fmin.reduce(found.lowest), found.mean, np.fmax.reduce(found.highest))
        )
        missing = 1 - found.present / cube[name].size
        yield f"{name:<20} {row.units:<9} {shown} {missing:8.2%}  {row.long_name}"
        if name == "swvl1":
            usable = int(usable_target(np.stack([found.lowest, found.highest], axis=1)).sum())
    yield from (f"note: {note}" for note in cube.attrs.get("notes", "").splitlines())
    if "swvl1" in cube:
        yield f"swvl1 as target: {usable} usable cells, {cube.sizes['cell'] - usable} masked (missing or constant)"


@dataclass(frozen=True)
class _Survey:
    """Lowest and highest value of each cell ``(cell,)``, NaN where there is none; mean and number of all values."""

    lowest: npt.NDArray[np.float64]
    highest: npt.NDArray[np.float64]
    mean: float
    present: int


def _survey(cube: xr.Dataset, name: str) -> _Survey:
    """Look at all values of a variable, a chunk at a time."""
    lowest = np.full(cube.sizes["cell"], np.nan)
    highest, total, present = lowest.copy(), 0.0, 0
    for start in range(0, cube.sizes["cell"], CELL_CHUNK):
        cells = slice(start, start + CELL_CHUNK)
        for first in range(0, cube.sizes["time"] if "time" in cube[name].dims else 1, DAY_CHUNK):
            values = read(cube.isel(time=slice(first, first + DAY_CHUNK)), name, cells).astype(np.float64)
            values = np.where(np.isfinite(values), values, np.nan).reshape(len(values), -1)
            lowest[cells] = np.fmin(lowest[cells], np.fmin.reduce(values, axis=1))
            highest[cells] = np.fmax(highest[cells], np.fmax.reduce(values, axis=1))
            total, present = total + float(np.nansum(values)), present + int(np.isfinite(values).sum())
    return _Survey(lowest, highest, total / present if present else np.nan, present)


def _forecast_lines(path: Path) -> Iterator[str]:
    opened = open_artifact(path, "forecast")
    _refuse_lacking(opened, path, ("title", "content", "target", "train_period", "validation_period"), ("cell", "time"))
    _refuse_lacking(opened, path, (), (opened.attrs["target"],))
    yield f"forecast: {opened.attrs['title']}"
    yield from _common_lines(opened)
    values = read(opened, opened.attrs["target"])
    yield f"trained on {opened.attrs['train_period']}, validated on {opened.attrs['validation_period']}"
    yield f"cell-days forecast: {np.isfinite(values).sum():,} of {values.size:,}"


def _scores_lines(path: Path) -> Iterator[str]:
    scores = open_artifact(path, "scores")
    _refuse_lacking(scores, path, ("title", "content", "test_period"), ("is_baseline", "area", "rmse"))
    yield f"scores: {scores.attrs['title']}"
    yield f"content: {scores.attrs['content']}"
    yield f"test period: {scores.attrs['test_period']}; {np.isfinite(scores['rmse'][0]).sum():d} cells scored"
    yield "median over the cells, by area:"
    medians = summarise(scores)[[f"{name}_median" for name in _SHOWN if name in scores]]
    yield medians.rename(columns=lambda name: name.removesuffix("_median")).to_string(float_format="{:.4f}".format)


def _outlook_lines(path: Path) -> Iterator[str]:
    outlook = open_artifact(path, "outlook")
    promised = ("title", "content", "targets", "weather", "train_period", "validation_period")
    _refuse_lacking(outlook, path, promised, ("cell", "time", "lead"))
    layers = outlook.attrs["targets"].split(",")
    _refuse_lacking(outlook, path, (), layers)
    yield f"outlook: {outlook.attrs['title']}"
    yield from _common_lines(outlook, "issue day(s)")
    yield _known_line(outlook)
    yield f"trained on {outlook.attrs['train_period']}, validated on {outlook.attrs['validation_period']}"
    for layer in layers:
        present, total = _count(outlook, layer)
        others = sorted(str(name) for name in outlook.data_vars if str(name).startswith(f"{layer}_"))
        yield f"{layer}: {present:,} of {total:,} forecasts there (each cell, issue day and lead)"
        yield from (f"with {name}" for name in others)
    if "quantile" in outlook.variables:
        yield f"quantiles: {', '.join(f'{level:g}' for level in outlook['quantile'].to_numpy())}"


def _outlook_scores_lines(path: Path) -> Iterator[str]:
    scores = open_artifact(path, "outlook_scores")
    _refuse_lacking(scores, path, ("title", "content", "test_period"), ("is_baseline", "area", "lead", *_SHOWN_AHEAD))
    yield f"scores of outlooks: {scores.attrs['title']}"
    yield f"content: {scores.attrs['content']}"
    yield (
        f"test period: {scores.attrs['test_period']}; {scores.sizes.get('time', 0)} issue days; "
        f"{scores.attrs.get('cells_scored', 0)} cells scored"
    )
    yield _known_line(scores)
    table = summarise(scores)
    for target in scores["target"].to_numpy():
        for name, (statistic, what) in _SHOWN_AHEAD.items():
            values = table[f"{name}_{statistic}"].xs(target, level="target").unstack("lead").dropna(how="all")
            if values.size:
                yield f"{target}, {what}, by lead [d]:"
                yield (
                    values.reindex(scores["model"].to_numpy())
                    .dropna(how="all")
                    .to_string(float_format="{:.4f}".format, index_names=False)
                )


def _known_line(opened: xr.Dataset) -> str:
    """Which leads an outlook has, and what it knows of the days before and ahead."""
    leads = opened["lead"].to_numpy()
    latency = opened.attrs.get("latency_days", "?")
    return (
        f"leads {leads.min()} .. {leads.max()} days ({len(leads)}); newest observation {latency} day(s) before the end "
        f"of the issue day; weather ahead: {opened.attrs.get('weather', 'not said')}"
    )


def _count(opened: xr.Dataset, name: str) -> tuple[int, int]:
    """Count the values that are there, and all of them, a chunk at a time."""
    blocks = [slice(start, start + CELL_CHUNK) for start in range(0, opened.sizes["cell"], CELL_CHUNK)]
    return sum(int(np.isfinite(read(opened, name, cells)).sum()) for cells in blocks), opened[name].size


def _run_lines(path: Path) -> Iterator[str]:
    run = open_run(path)
    yield f"run: {run_summary(run.record)}"
    for name in ("cube_title", "content", "train_period", "validation_period", "test_period"):
        yield f"{name.replace('_', ' ')}: {run.record[name]}"
    count = sum(parameter.numel() for parameter in run.networks[0].parameters())
    yield f"inputs: {', '.join((*run.config.inputs.dynamic, *run.config.inputs.static))}"
    members = f"{len(run.networks)} members of " if len(run.networks) > 1 else ""
    yield f"network: {members}{count:,} parameters; config in {path / 'config.yaml'}"


def _refuse_lacking(opened: xr.Dataset, path: Path, attributes: Sequence[str], variables: Sequence[str]) -> None:
    lacking = [name for name in attributes if not isinstance(opened.attrs.get(name), str)]
    lacking += [name for name in variables if name not in opened.variables]
    if lacking:
        raise SoilcastError(f"{path}: {', '.join(lacking)} is missing: damaged, or made by other software")


def _common_lines(opened: xr.Dataset, days_are: str = "days") -> Iterator[str]:
    days = np.datetime_as_string(opened["time"].to_numpy(), "D")
    grid = f" of a {opened.sizes['grid_lat']} x {opened.sizes['grid_lon']} grid" if "grid_lat" in opened.sizes else ""
    yield f"content: {opened.attrs['content']}"
    yield f"{opened.sizes['cell']:,} cells{grid}, {len(days):,} {days_are}: {days[0]} .. {days[-1]}"


_DESCRIBE: dict[str, Callable[[Path], Iterator[str]]] = {
    "cube": _cube_lines,
    "forecast": _forecast_lines,
    "scores": _scores_lines,
    "outlook": _outlook_lines,
    "outlook_scores": _outlook_scores_lines,
}
