"""Whole experiments: from source files to a report on many models, which are trained side by side."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from soilcast.cube import days_of, open_artifact, open_cube
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.experiments import (
    NO_WEATHER,
    OBSERVED,
    Experiment,
    builtin_experiment,
    load_experiment,
    plan_runs,
    weather_of_runs,
)
from soilcast.files import atomic_write, refuse_existing
from soilcast.forecasting import forecast
from soilcast.models.regressions import refuse_unusable
from soilcast.progress import Log
from soilcast.reporting import report
from soilcast.reporting.artifacts import artifact_file
from soilcast.sources import prepare
from soilcast.training.checkpoint import CHECKPOINT
from soilcast.training.config import Config
from soilcast.training.jobs import train_runs
from soilcast.training.produce import run_summary
from soilcast.training.run import Run, open_run
from soilcast.training.sections import SplitConfig
from soilcast.training.split import Periods, period_slices, write_periods
from soilcast.verify import evaluate, summarise
from soilcast.weather import ARCHIVE, DEGRADED
from soilcast.weather.degrade import degrade_weather
from soilcast.workers import refuse_unguarded
from soilcast.workplace import workplace_of

__all__ = ["Experiment", "builtin_experiment", "compare", "demo"]

_WEATHER = "weather"

OnRunEnd = Callable[[str, Path | SoilcastError], None]


def compare(
    experiment: Experiment | str | Path,
    out: str | Path,
    *,
    data: str | Path = Path(),
    settings: Sequence[str] = (),
    hold_out: str | None = None,
    jobs: int = 1,
    dask: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    memory: int | None = None,
    progress: bool = False,
    log: Log = print,
) -> Path:
    """Run the whole pipeline: prepare, then train and forecast each model, evaluate them together, report.

    Parameters
    ----------
    experiment
        An experiment, the name of a built-in one, or a YAML file.
    out
        Output folder: ``cube``, ``runs/``, ``forecasts/``, ``scores``, ``report.html``, and where runs know degraded
        weather, ``weather``, the archive of it.
    data
        Folder to which the paths of the experiment are relative.
    settings
        ``key=value`` settings over those of the experiment.
    hold_out
        Years, such as ``2001:2010``: each in turn is the test period of runs that are trained on all other days (of
        ``split.development``, if that is set). Scores are then those of each year, and ``years.csv`` has a row a year,
        model, target and lead, and their means over the years.
    jobs
        Number of runs trained and forecast in parallel: see `soilcast.training.jobs.train_runs`.
    dask
        Address of a dask scheduler on whose workers, which see the same paths, runs are trained and forecast.
    overwrite
        Replace existing output in ``out``.
    resume
        Resume an interrupted run of the same experiment; finished parts are kept.
    memory
        Hold no more than this in training and forecasting, all processes together [bytes].
    progress
        Show bars.
    log
        Called with a progress message after each step.

    Returns
    -------
    The path of the report. Failed runs are reported and omitted.

    Raises
    ------
    SoilcastError
        What any of the steps raises; all runs failed.
    KeyboardInterrupt
        Ctrl-C or SIGTERM; ``resume`` continues.
    """
    refuse_unguarded()
    if dask is not None and jobs > 1:
        raise SoilcastError("--jobs and --dask: runs are trained here or on a cluster: give one of the two")
    # Workers of a cluster have working folders of their own.
    out, data = Path(out).absolute() if dask else Path(out), Path(data).absolute() if dask else Path(data)
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment)
    refuse_unusable(experiment.baselines)
    plans = plan_runs(experiment, settings)
    years = _years(hold_out) if hold_out else []
    named = {_of_year(name, year): config for name, config in plans.items() for year in years} or plans
    weather = weather_of_runs(experiment, named)
    _refuse_existing_outputs(out, named, years, weather, overwrite=overwrite, resume=resume)
    origin = (experiment.source, [data / path for path in experiment.paths], experiment.options)
    cube = prepared_cube(*origin, out / "cube", overwrite=overwrite, resume=resume, log=log)
    if years:
        with open_cube(cube) as opened:
            days = opened["time"].to_numpy()
        plans = {
            _of_year(name, year): _held_out(config, year, days, str(cube))
            for name, config in plans.items()
            for year in years
        }

    options: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "memory": memory, "progress": progress}
    archives = _archives(cube, plans, weather, out / _WEATHER, data, replace=overwrite or resume, log=log)
    good, failed = train_and_forecast(cube, plans, out, jobs=jobs, dask=dask, weather=archives, **options, log=log)
    if not good:
        reason = next(iter(failed.values()))
        raise SoilcastError(f"no run was completed ({reason}): correct this and continue with --resume")
    replaced = overwrite or resume
    scores = []
    for end in [_of_year("", year) for year in years] or [""]:
        if forecasts := [path for name, path in good.items() if name.endswith(end)]:
            scores.append(out / f"scores{end}")
            options = {"baselines": experiment.baselines, "significance": True, "overwrite": replaced}
            evaluate(forecasts, cube, scores[-1], **options)
    if years:
        log(_summary_of_years(scores, out / "years.csv", overwrite=replaced))
    report(scores, out / "report.html", overwrite=replaced)
    failures = f"; {len(failed)} failed run(s) left out" if failed else ""
    log(f"{out / 'report.html'}: the report of {', '.join(plans[name].label for name in good)}{failures}")
    return out / "report.html"


def train_and_forecast(
    cube: Path,
    plans: Mapping[str, Config],
    out: Path,
    *,
    jobs: int,
    dask: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    memory: int | None = None,
    weather: Mapping[str, Path] = {},
    init: Mapping[str, Path] = {},
    progress: bool = False,
    log: Log = print,
    ended: OnRunEnd = lambda name, outcome: None,
) -> tuple[dict[str, Path], dict[str, SoilcastError]]:
    """Train and forecast many runs on one cube; one that fails is reported, and does not affect the others.

    Parameters
    ----------
    cube
        Path of the cube.
    plans
        Name of each run -> what to train.
    out
        Folder to write: ``runs/NAME`` and ``forecasts/NAME``.
    weather
        Name of a run -> archive of the weather forecasts that it is trained and forecasts with.
    init
        Name of a run -> the run whose weights its training starts from.
    jobs, dask, overwrite, resume, memory, progress, log
        See `compare`.
    ended
        Called in this process with the name of each run as it ends, and its forecast or fault.

    Returns
    -------
    Name -> forecast of the completed runs, and name -> fault of the others.
    """

    def on_run_end(run: Path, outcome: Run | SoilcastError) -> None:
        if isinstance(outcome, SoilcastError):
            log(f"{run} failed: {outcome}")
        else:
            log(f"{run}: {run_summary(outcome.record)}")
            for note in outcome.record.get("notes", ()):
                if note not in noted:
                    log(f"{run}: {note}")
                    noted.add(note)
        ended(run.name, outcome if isinstance(outcome, SoilcastError) else folder / run.name)

    noted: set[str] = set()  # most runs of a cube leave out the same
    folder = out / "forecasts"
    then = functools.partial(_forecast, cube, folder, overwrite or resume, resume, weather)
    configs = {out / "runs" / name: config for name, config in plans.items()}
    options: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "memory": memory, "progress": progress}
    options["weather"] = {out / "runs" / name: path for name, path in weather.items()}
    options["init"] = {out / "runs" / name: path for name, path in init.items()}
    outcomes = train_runs(cube, configs, jobs=jobs, dask=dask, **options, then=then, ended=on_run_end)
    failed = {run.name: outcome for run, outcome in outcomes.items() if isinstance(outcome, SoilcastError)}
    return {run.name: folder / run.name for run in outcomes if run.name not in failed}, failed


def demo(
    out: str | Path = "demo",
    *,
    settings: Sequence[str] = (),
    jobs: int = 1,
    progress: bool = False,
    log: Log = print,
) -> Path:
    """Train, forecast and evaluate LSTM, PHY-LSTM and PHYs-LSTM on the built-in planet (synthetic weather).

    Parameters
    ----------
    out
        Output folder; an earlier demo there is replaced.
    settings
        ``key=value`` settings over those of ``experiments/demo.yaml``.
    jobs, progress, log
        See `compare`.

    Returns
    -------
    The path of the report.
    """
    return compare("demo", out, settings=settings, jobs=jobs, overwrite=True, progress=progress, log=log)


def _years(period: str) -> list[int]:
    first, last = (int(str(day.astype("datetime64[Y]"))) for day in days_of(period))
    return list(range(first, last + 1))


def _of_year(name: str, year: int) -> str:
    """Name the run that holds a year out."""
    return f"{name}-{year}"


def _held_out(config: Config, year: int, days: Days, where: str) -> Config:
    """Test on a year, and train on all other days of development."""
    if config.split.train is not None:
        raise SoilcastError("--hold-out cuts split.development: remove split.train and split.validation")
    (test,) = period_slices(days, str(year), where, "--hold-out")
    development: Periods = (slice(0, len(days)),)
    if config.split.development is not None:
        development = period_slices(days, ",".join(config.split.development), where, "split.development")
    others = [
        part
        for one in development
        for part in (slice(one.start, min(one.stop, test.start)), slice(max(one.start, test.stop), one.stop))
        if part.start < part.stop
    ]
    keys = {"test": str(year), "development": write_periods(days, others)}
    return config.model_copy(update={"split": SplitConfig(**config.split.model_dump() | keys)})


def _summary_of_years(scores: Sequence[Path], out: Path, *, overwrite: bool) -> str:
    """Write a row a year, model, target and lead, and the means over the years, and give these as text."""
    tables = {}
    for path in scores:
        with open_artifact(artifact_file(path), "scores") as opened:
            tables[path.name.rpartition("-")[2]] = summarise(opened)
    rows = pd.concat(tables, names=["year"])
    means = rows.groupby(level=["model", "target", "lead"], sort=False).mean()
    with atomic_write(out, kind="table", overwrite=overwrite) as partial:
        pd.concat([rows, pd.concat({"mean": means}, names=["year"])]).to_csv(partial, float_format="%.6g")
    shown = [name for name in ("r_median", "rmse_median", "skill_median") if name in means]
    text = means[shown].to_string(float_format="{:.4f}".format)
    return f"means over {len(tables)} year(s), each held out in turn ({out} has the years):\n{text}"


def _archives(
    cube: Path,
    plans: Mapping[str, Config],
    weather: Mapping[str, str],
    out: Path,
    data: Path,
    *,
    replace: bool,
    log: Log,
) -> dict[str, Path]:
    """Give the archive of weather forecasts of each run that has one; that of degraded weather is made."""
    runs = [plans[name].task for name, word in weather.items() if word == DEGRADED]
    if runs:
        names = sorted({name for task in runs for name in task.known_future})
        leads = max(task.lead_days for task in runs)
        with degrade_weather(cube, out, variables=names, leads=leads, overwrite=replace) as archive:
            log(f"{out}: {archive.attrs['title']} ({archive.attrs['content']}); {', '.join(names)}, {leads} days ahead")
    own = {name: word for name, word in weather.items() if word not in (NO_WEATHER, OBSERVED)}
    return {name: out if word == DEGRADED else data / word for name, word in own.items()}


def _refuse_existing_outputs(
    out: Path,
    plans: Mapping[str, Config],
    years: Sequence[int],
    weather: Mapping[str, str],
    *,
    overwrite: bool,
    resume: bool,
) -> None:
    """Check, before hours of training, that all outputs can be written."""
    made = [(out / _WEATHER, ARCHIVE)] if DEGRADED in weather.values() else []
    for path, kind in (*made, *_outputs(out, plans, years)):
        if path.exists() and not (overwrite or resume):
            raise SoilcastError(
                f"{path} exists already: continue with --resume, give another --out, or --overwrite to replace it"
            )
        if path.name != CHECKPOINT:
            refuse_existing(path, kind=kind, overwrite=True)


def _outputs(out: Path, plans: Mapping[str, Config], years: Sequence[int]) -> Iterator[tuple[Path, str]]:
    yield from ((out / "cube", "cube"), (out / "report.html", "page"))
    yield from ((out / _of_year("scores", year), "scores") for year in years)
    yield (out / "years.csv", "table") if years else (out / "scores", "scores")
    for name in plans:
        yield from ((out / "runs" / name, "run"), (out / "forecasts" / name, "forecast"))
        yield workplace_of(out / "runs" / name) / CHECKPOINT, "checkpoint"


def prepared_cube(
    source: str,
    paths: Sequence[Path],
    options: Mapping[str, Any],
    cube: Path,
    *,
    overwrite: bool,
    resume: bool,
    log: Log,
) -> Path:
    """Prepare the cube of an experiment; with ``resume`` one that stands is taken, if it was prepared so.

    Raises
    ------
    SoilcastError
        What `prepare` raises; a cube of another experiment.
    """
    if resume and cube.exists():
        with open_cube(cube) as opened:
            provenance = _parsed(opened.attrs.get("provenance"))
        expected = json.loads(json.dumps({"source": source, "options": options}, default=str))
        if {name: provenance.get(name) for name in expected} != expected:
            raise SoilcastError(f"{cube} belongs to another experiment: give another --out, or --overwrite")
    else:
        prepare(source, paths, out=cube, overwrite=overwrite, **options)
    with open_cube(cube) as opened:
        log(f"{cube}: {opened.attrs['title']}; {opened.sizes['cell']} cells, {opened.sizes['time']} days")
    return cube


def _parsed(provenance: object) -> dict[str, Any]:
    try:
        parsed = json.loads(str(provenance))
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _forecast(
    cube: Path,
    folder: Path,
    overwrite: bool,
    resume: bool,
    weather: Mapping[str, Path],
    run: Path,
    memory: int | None,
) -> None:
    path = folder / run.name
    if resume and _is_up_to_date(path, run):
        return
    options: dict[str, Any] = {"weather": weather.get(run.name), "memory": memory}
    forecast(run, cube, path, **options, overwrite=overwrite, resume=resume and not path.exists())


def _is_up_to_date(path: Path, run: Path) -> bool:
    """Whether the forecast is the one that the run would make."""
    record = open_run(run).record
    expected = {name: record[name] for name in ("label", "weights_sha256", "cube_sha256", "test_period")}
    expected["weather_forecast"] = record.get("weather", {}).get("sha256", "none")
    try:
        with open_artifact(path, "forecast") as opened:
            return {name: opened.attrs.get(name) for name in expected} == expected
    except SoilcastError:
        return False
