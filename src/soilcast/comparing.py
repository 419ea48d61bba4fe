"""Whole experiments: from source files to a report on many models, which are trained side by side."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from soilcast.cube import open_artifact, open_cube
from soilcast.errors import SoilcastError
from soilcast.experiments import Experiment, builtin_experiment, load_experiment, plan_runs
from soilcast.files import refuse_existing
from soilcast.forecasting import forecast
from soilcast.reporting import report
from soilcast.sources import prepare
from soilcast.training.checkpoint import CHECKPOINT
from soilcast.training.config import Config
from soilcast.training.jobs import train_runs
from soilcast.training.run import Run, open_run
from soilcast.training.train import run_summary
from soilcast.verify import evaluate
from soilcast.workers import refuse_unguarded
from soilcast.workplace import workplace_of

__all__ = ["Experiment", "builtin_experiment", "compare", "demo"]

Log = Callable[[str], None]
Ended = Callable[[str, Path | SoilcastError], None]


def compare(
    experiment: Experiment | str | Path,
    out: str | Path,
    *,
    data: str | Path = Path(),
    settings: Sequence[str] = (),
    jobs: int = 1,
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
        Output folder: ``cube``, ``runs/``, ``forecasts/``, ``scores`` and ``report.html``.
    data
        Folder to which the paths of the experiment are relative.
    settings
        ``key=value`` settings over those of the experiment.
    jobs
        Number of runs trained and forecast in parallel: see `soilcast.training.jobs.train_runs`.
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
        Ctrl-C or SIGTERM; ``resume`` goes on.
    """
    refuse_unguarded()
    out = Path(out)
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment)
    plans = plan_runs(experiment, settings)
    _refuse_taken(out, plans, overwrite=overwrite, resume=resume)
    cube = _prepared(experiment, out / "cube", Path(data), overwrite=overwrite, resume=resume, log=log)

    options: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "memory": memory}
    good, failed = train_and_forecast(cube, plans, out, jobs=jobs, **options, progress=progress, log=log)
    if not good:
        reason = next(iter(failed.values()))
        raise SoilcastError(f"no run was completed ({reason}): correct this and continue with --resume")
    replaced = overwrite or resume
    evaluate(list(good.values()), cube, out / "scores", overwrite=replaced)
    report([out / "scores"], out / "report.html", overwrite=replaced)
    left_out = f"; {len(failed)} failed run(s) left out" if failed else ""
    log(f"{out / 'report.html'}: the report of {', '.join(plans[name].label for name in good)}{left_out}")
    return out / "report.html"


def train_and_forecast(
    cube: Path,
    plans: Mapping[str, Config],
    out: Path,
    *,
    jobs: int,
    overwrite: bool = False,
    resume: bool = False,
    memory: int | None = None,
    progress: bool = False,
    log: Log = print,
    ended: Ended = lambda name, outcome: None,
) -> tuple[dict[str, Path], dict[str, SoilcastError]]:
    """Train and forecast many runs on one cube; one that fails is told, and takes no other along.

    Parameters
    ----------
    cube
        Path of the cube.
    plans
        Name of each run -> what to train.
    out
        Folder to write: ``runs/NAME`` and ``forecasts/NAME``.
    jobs, overwrite, resume, memory, progress, log
        See `compare`.
    ended
        Called in this process with the name of each run as it ends, and with its forecast, or why there is none.

    Returns
    -------
    Name -> forecast of those that came to one, and name -> fault of the others.
    """

    def say(run: Path, outcome: Run | SoilcastError) -> None:
        if isinstance(outcome, SoilcastError):
            log(f"{run} failed: {outcome}")
        else:
            log(f"{run}: {run_summary(outcome.record)}")
        ended(run.name, outcome if isinstance(outcome, SoilcastError) else folder / run.name)

    folder = out / "forecasts"
    then = functools.partial(_forecast, cube, folder, overwrite or resume, resume)
    configs = {out / "runs" / name: config for name, config in plans.items()}
    options: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "memory": memory}
    outcomes = train_runs(cube, configs, jobs=jobs, **options, progress=progress, then=then, ended=say)
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


def _refuse_taken(out: Path, plans: Mapping[str, Config], *, overwrite: bool, resume: bool) -> None:
    """See, before hours of training, that all outputs can be written."""
    for path, kind in _outputs(out, plans):
        if path.exists() and not (overwrite or resume):
            raise SoilcastError(
                f"{path} exists already: continue with --resume, give another --out, or --overwrite to replace it"
            )
        if path.name != CHECKPOINT:
            refuse_existing(path, kind=kind, overwrite=True)


def _outputs(out: Path, plans: Mapping[str, Config]) -> Iterator[tuple[Path, str]]:
    yield from ((out / "cube", "cube"), (out / "scores", "scores"), (out / "report.html", "page"))
    for name in plans:
        yield from ((out / "runs" / name, "run"), (out / "forecasts" / name, "forecast"))
        yield workplace_of(out / "runs" / name) / CHECKPOINT, "checkpoint"


def _prepared(experiment: Experiment, cube: Path, data: Path, *, overwrite: bool, resume: bool, log: Log) -> Path:
    if resume and cube.exists():
        with open_cube(cube) as opened:
            made = _parsed(opened.attrs.get("provenance"))
        wanted = json.loads(json.dumps({"source": experiment.source, "options": experiment.options}, default=str))
        if {name: made.get(name) for name in wanted} != wanted:
            raise SoilcastError(f"{cube} belongs to another experiment: give another --out, or --overwrite")
    else:
        paths = [data / path for path in experiment.paths]
        prepare(experiment.source, paths, out=cube, overwrite=overwrite, **experiment.options)
    with open_cube(cube) as opened:
        log(f"{cube}: {opened.attrs['title']}; {opened.sizes['cell']} cells, {opened.sizes['time']} days")
    return cube


def _parsed(provenance: object) -> dict[str, Any]:
    try:
        parsed = json.loads(str(provenance))
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _forecast(cube: Path, folder: Path, overwrite: bool, resume: bool, run: Path, memory: int | None) -> None:
    path = folder / run.name
    if resume and _stands(path, run):
        return
    forecast(run, cube, path, memory=memory, overwrite=overwrite, resume=resume and not path.exists())


def _stands(path: Path, run: Path) -> bool:
    """Whether the forecast there is the very one that the run would make."""
    record = open_run(run).record
    wanted = {name: record[name] for name in ("label", "weights_sha256", "cube_sha256", "test_period")}
    try:
        with open_artifact(path, "forecast") as opened:
            return {name: opened.attrs.get(name) for name in wanted} == wanted
    except SoilcastError:
        return False
