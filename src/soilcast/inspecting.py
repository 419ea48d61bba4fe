"""Describe any artifact as text: a cube, a run, a forecast, scores, an audit, an archive of weather forecasts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube import VARIABLES, grid_of, open_artifact, read, usable_target
from soilcast.cube.kinds import refuse_missing
from soilcast.cube.store import CELL_CHUNK, DAY_CHUNK, content_sha256, refuse_other_cube
from soilcast.errors import SoilcastError
from soilcast.training.run_folder import RECORD
from soilcast.weather import ARCHIVE

SCORES_FILE, VERDICT_FILE, AUDIT_FILE = "scores.nc", "verdict.nc", "audit.json"

_METRICS = ("r", "rmse", "ubrmse", "bias", "r2", "kge", "skill", "consistency_w1", "consistency_w2")
_METRICS_BY_LEAD = {
    "ratio": ("median", "RMSE relative to persistence"),
    "crps": ("median", "CRPS [m3 m-3]"),
    "coverage_90": ("mean", "share of days within the 90 % interval"),
}
_FOUR_DIGITS = "{:.4f}".format


class Description(str):
    """Lines of text, which a notebook and a prompt show as they are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self)}</pre>"


def inspect(path: str | Path, *, verify: bool = False) -> Description:
    """Describe an artifact in some lines of text.

    Parameters
    ----------
    path
        A cube, run, forecast, scores, audit or archive of weather forecasts.
    verify
        Read every stored value and compare the hash of a cube's content; opening compares the checksums alone.

    Raises
    ------
    SoilcastError
        Nothing exists there, it was not written by soilcast, or it is not what was written.
    """
    path = Path(path)
    refuse_missing(path, "file or folder")
    if (path / RECORD).is_file():
        return Description("\n".join(_run_lines(path)))
    if (path / AUDIT_FILE).is_file():
        return Description("\n".join(_audit_lines(path / AUDIT_FILE)))
    if (path / VERDICT_FILE).is_file():
        path = path / VERDICT_FILE
    if (path / SCORES_FILE).is_file():
        path = path / SCORES_FILE
    with open_artifact(path, *_DESCRIBE) as opened:
        lines = [*_DESCRIBE[str(opened.attrs["soilcast_kind"])](opened, path)]
        return Description("\n".join([*lines, *(_verified(opened, path) if verify else ())]))


def _audit_lines(file: Path) -> list[str]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return [f"audit: {record['label']}", *map(str, record["sentences"])]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SoilcastError(f"{file}: not what soilcast audit writes: audit again") from error


def _verified(opened: xr.Dataset, path: Path) -> Iterator[str]:
    """Read all values; the checksum of each chunk is compared on the way."""
    if opened.attrs["soilcast_kind"] != "cube":
        for name in opened.data_vars:
            read(opened, str(name))
        yield "verified: every value has the checksum that it was written with"
        return
    computed, written = content_sha256(opened), opened.attrs["content_sha256"]
    if computed != written:
        raise SoilcastError(
            f"{path}: its content has the hash {computed:.12}, but {written:.12} was written: prepare it again"
        )
    yield f"verified: every value is what was written (content_sha256 {written:.12})"


def _cube_lines(cube: xr.Dataset, path: Path) -> Iterator[str]:
    refuse_other_cube(cube, path)
    yield f"cube: {cube.attrs['title']}"
    yield from _common_lines(cube)
    yield f"{'variable':<20} {'unit':<9} {'lowest':>11} {'mean':>11} {'highest':>11} {'missing':>8}  what"
    for name in (name for name in VARIABLES if name in cube):
        row, survey = VARIABLES[name], _survey(cube, name)
        summary = " ".join(
            f"{number:11.5g}" for number in (np.fmin.reduce(survey.lowest), survey.mean, np.fmax.reduce(survey.highest))
        )
        missing = 1 - survey.present / cube[name].size
        yield f"{name:<20} {row.units:<9} {summary} {missing:8.2%}  {row.long_name}"
        if name == "swvl1":
            usable = int(usable_target(np.stack([survey.lowest, survey.highest], axis=1)).sum())
    yield from (f"note: {line}" for line in cube.attrs.get("notes", "").splitlines())
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
    """Survey all values of a variable, a chunk at a time."""
    lowest = np.full(cube.sizes["cell"], np.nan)
    highest, total, present = lowest.copy(), 0.0, 0
    for start in range(0, cube.sizes["cell"], CELL_CHUNK):
        cells = slice(start, start + CELL_CHUNK)
        for first_day in range(0, cube.sizes["time"] if "time" in cube[name].dims else 1, DAY_CHUNK):
            values = read(cube.isel(time=slice(first_day, first_day + DAY_CHUNK)), name, cells).astype(np.float64)
            values = np.where(np.isfinite(values), values, np.nan).reshape(len(values), -1)
            lowest[cells] = np.fmin(lowest[cells], np.fmin.reduce(values, axis=1))
            highest[cells] = np.fmax(highest[cells], np.fmax.reduce(values, axis=1))
            total, present = total + float(np.nansum(values)), present + int(np.isfinite(values).sum())
    return _Survey(lowest, highest, total / present if present else np.nan, present)


def _forecast_lines(forecast: xr.Dataset, path: Path) -> Iterator[str]:
    attributes = ("title", "content", "targets", "weather", "train_period", "validation_period")
    _refuse_missing(forecast, path, attributes, ("cell", "time", "lead"))
    targets = forecast.attrs["targets"].split(",")
    _refuse_missing(forecast, path, (), targets)
    yield f"forecast: {forecast.attrs['title']}"
    yield from _common_lines(forecast, "issue day(s)")
    yield _leads_line(forecast)
    yield f"trained on {forecast.attrs['train_period']}, validated on {forecast.attrs['validation_period']}"
    blocks = [slice(start, start + CELL_CHUNK) for start in range(0, forecast.sizes["cell"], CELL_CHUNK)]
    for target in targets:
        present = sum(int(np.isfinite(read(forecast, target, cells)).sum()) for cells in blocks)
        products = sorted(str(name) for name in forecast.data_vars if str(name).startswith(f"{target}_"))
        yield f"{target}: {present:,} of {forecast[target].size:,} cell-days forecast (each issue day and lead)"
        yield from (f"with {name}" for name in products)
    if "closure_residual" in forecast.attrs:
        yield f"water balance: closes to {forecast.attrs['closure_residual']:.1e} m a day and layer"
    yield from (f"note: {note}" for note in str(forecast.attrs.get("notes", "")).splitlines())
    if "quantile" in forecast.variables:
        yield f"quantiles: {', '.join(f'{level:g}' for level in forecast['quantile'].to_numpy())}"


def _archive_lines(archive: xr.Dataset, path: Path) -> Iterator[str]:
    _refuse_missing(archive, path, ("title", "content", "weather", "correlation"), ("cell", "time", "lead"))
    yield f"archive of weather forecasts: {archive.attrs['title']}"
    yield from _common_lines(archive, "issue day(s)")
    for name, values in json.loads(archive.attrs["correlation"]).items():
        by_lead = ", ".join(map(str, values))
        yield f"{name} ({VARIABLES[name].long_name}): correlation with observations by lead: {by_lead}"


def _scores_lines(scores: xr.Dataset, path: Path) -> Iterator[str]:
    # Imported here, for the same reason as in `_run_lines`.
    from soilcast.verify import metrics_of, summarise
    from soilcast.verify.metrics import BUILT_IN

    _refuse_missing(
        scores, path, ("title", "content", "test_period"), ("is_baseline", "area", "target", "lead", "rmse")
    )
    yield f"scores: {scores.attrs['title']}"
    yield f"content: {scores.attrs['content']}"
    yield (
        f"test period: {scores.attrs['test_period']}; {scores.sizes.get('time', 0)} issue days; "
        f"{scores.attrs.get('cells_scored', 0)} of {scores.attrs.get('cells_total', 0)} cells scored"
    )
    yield from (f"baseline {line}" for line in str(scores.attrs.get("baseline_files", "")).splitlines())
    yield from (f"left out: {line}" for line in str(scores.attrs.get("left_out", "")).splitlines())
    yield _leads_line(scores)
    table = summarise(scores)
    over = f"over the cells{'' if grid_of(scores) is None else ' by area'}"
    custom = {name: metric for name, metric in metrics_of(scores).items() if name not in BUILT_IN}
    for target in scores["target"].to_numpy():
        of_target = table[table.index.get_level_values("target") == target].droplevel("target")
        if scores.sizes["lead"] == 1:
            yield f"{target}, median {over}:"
            columns = {f"{name}_median": name for name in (*_METRICS, *custom) if name in scores}
            yield of_target.droplevel("lead")[list(columns)].to_string(
                float_format=_FOUR_DIGITS, header=list(columns.values())
            )
            continue
        by_lead = _METRICS_BY_LEAD | {name: ("median", metric.long_name) for name, metric in custom.items()}
        for name, (statistic, description) in by_lead.items():
            if name not in scores or not of_target[f"{name}_{statistic}"].notna().any():
                continue
            values = of_target[f"{name}_{statistic}"].unstack("lead").reindex(scores["model"].to_numpy())
            yield f"{target}, {description}, {statistic} {over}, by lead [d]:"
            yield values.dropna(how="all").to_string(float_format=_FOUR_DIGITS, index_names=False)
    if "tested_metric" in scores.coords:
        tested, rows, references = (
            ", ".join(map(str, scores[name].to_numpy())) for name in ("tested_metric", "row", "reference")
        )
        yield f"differences tested: {tested} of {rows} against {references}: see significance.csv and the report"


def _verdict_lines(verdict: xr.Dataset, path: Path) -> Iterator[str]:
    _refuse_missing(verdict, path, ("title", "test_period", "matching"), ("answer", "network_answer"))
    yield f"verdict at stations: {verdict.attrs['title']}"
    yield f"test period: {verdict.attrs['test_period']}; forecasts {verdict.attrs['matching']}"
    answers = verdict["answer"]
    for forecast, target, lead in itertools.product(*(answers[dim].to_numpy() for dim in answers.dims[:3])):
        values = answers.sel(forecast=forecast, target=target, lead=lead).to_numpy()
        yes, no, unknown = (int((values == value).sum()) for value in (1, 0, -1))
        yield (
            f"{forecast}, {target}, lead {lead}: better than the station's persistence and damped anomaly at {yes} "
            f"station(s), not better at {no}, not enough data at {unknown}"
        )


def _leads_line(opened: xr.Dataset) -> str:
    """Leads, observation latency, and the weather of the forecast days."""
    leads = opened["lead"].to_numpy()
    latency = opened.attrs.get("latency_days", "?")
    text = f"leads {leads.min()} .. {leads.max()} days ({len(leads)})" if len(leads) > 1 else f"lead {leads[0]} day(s)"
    return (
        f"{text}; observation latency {latency} d; weather of the forecast days: "
        f"{opened.attrs.get('weather', 'not stated')}"
    )


def _run_lines(path: Path) -> Iterator[str]:
    # Imported here, since it brings torch along, for which the description of a cube should not wait.
    from soilcast.training.produce import run_summary
    from soilcast.training.run import open_run

    run = open_run(path)
    yield f"run: {run_summary(run.record)}"
    for name in ("cube_title", "content", "train_period", "validation_period", "test_period"):
        yield f"{name.replace('_', ' ')}: {run.record[name]}"
    count = sum(parameter.numel() for parameter in run.networks[0].parameters())
    task = run.config.task
    yield f"inputs: {', '.join((*task.dynamic, *task.static, *(f'lags of {layer}' for layer in task.lags)))}"
    members = f"{len(run.networks)} members of " if len(run.networks) > 1 else ""
    yield f"network: {members}{count:,} parameters; config in {path / 'config.yaml'}"
    yield from (f"note: {note}" for note in run.record.get("notes", ()))


def _refuse_missing(opened: xr.Dataset, path: Path, attributes: Sequence[str], variables: Sequence[str]) -> None:
    missing = [name for name in attributes if not isinstance(opened.attrs.get(name), str)]
    missing += [name for name in variables if name not in opened.variables]
    if missing:
        raise SoilcastError(f"{path}: {', '.join(missing)} is missing: damaged, or not written by soilcast")


def _common_lines(opened: xr.Dataset, days_are: str = "days") -> Iterator[str]:
    days = np.datetime_as_string(opened["time"].to_numpy(), "D")
    grid = f" of a {opened.sizes['grid_lat']} x {opened.sizes['grid_lon']} grid" if "grid_lat" in opened.sizes else ""
    yield f"content: {opened.attrs['content']}"
    yield f"{opened.sizes['cell']:,} cells{grid}, {len(days):,} {days_are}: {days[0]} .. {days[-1]}"


_DESCRIBE: dict[str, Callable[[xr.Dataset, Path], Iterator[str]]] = {
    "cube": _cube_lines,
    "forecast": _forecast_lines,
    "scores": _scores_lines,
    "verdict": _verdict_lines,
    ARCHIVE: _archive_lines,
}
