"""The paper, reproduced on any cube: its tables and figures, with tests of significance."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soilcast.comparing import prepared_cube, train_and_forecast
from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.experiments import PARTS, STUDIES, Study, load_study
from soilcast.files import refuse_existing
from soilcast.progress import Log
from soilcast.reproducing.dossier import Findings, skipped
from soilcast.reproducing.plans import StudyPlan, plan_study
from soilcast.reproducing.scorer import StudyScorer
from soilcast.schema import nearest
from soilcast.training.checkpoint import CHECKPOINT
from soilcast.training.config import Config
from soilcast.training.jobs import train_runs
from soilcast.training.produce import run_summary
from soilcast.training.run import open_run
from soilcast.training.run_folder import RECORD
from soilcast.verify.climate import CLIMATE_SETS
from soilcast.workers import refuse_unguarded, usable_cores
from soilcast.workplace import workplace_of

__all__ = ["reproduce"]

_ALL = "all"
_TAKEN = ("runs", "report")
_FINISHED = ("finished", "stopped early")


def reproduce(
    part: str | Path,
    cube: str | Path,
    out: str | Path,
    *,
    seeds: int | None = None,
    settings: Sequence[str] = (),
    jobs: int | None = None,
    quick: bool = False,
    zones: str = "main",
    memory: int | None = None,
    progress: bool = False,
    log: Log = print,
) -> Path:
    """Reproduce a part of the paper, or all of it, on a cube, and write the dossier.

    A run is named by all that its weights depend on: config, cube, code. Finished runs are reused by other parts,
    interrupted ones resumed. A study is added to the dossier when its runs are done; the complete dossier does not
    depend on interruptions or ``jobs``. Several days ahead
    (``task.lead_days``), every study is shown at each lead, of the first layer.

    Parameters
    ----------
    part
        ``table1``, ``table2``, ``fig3``, ``fig4``, ``fig5``, ``readings``, ``all`` of these, ``routes``, or a YAML file
        such as those in ``soilcast/experiments/paper``.
    cube
        Path of a cube.
    out
        Output folder: ``runs/``, ``forecasts/`` and ``dossier/`` with ``report.html``; with runs that are pretrained
        also ``process_models/`` and ``pretraining/``.
    seeds
        Number of seeds of each row (0, 1, ...); by default that of the study.
    settings
        ``key=value`` settings over those of all studies.
    jobs
        Number of runs trained in parallel, each with one thread; default: one per CPU core.
    quick
        Short trainings, for a first look in minutes.
    zones
        ``main`` for the five main climates, ``fine`` for all classes.
    memory
        Memory limit of training and forecasting, all processes together [bytes].
    progress
        Show progress bars.
    log
        Called with progress messages; with several jobs from another thread too.

    Returns
    -------
    The path of the page. Rows whose variables the cube lacks and failed runs are omitted; both are listed in the
    dossier with the reason, as is a study that cannot be scored.

    Raises
    ------
    SoilcastError
        There is no such part, a setting that does not fit, a cube in which nothing can be run, all runs failed, no
        study can be scored.
    KeyboardInterrupt
        Ctrl-C or SIGTERM; the dossier has the studies that are done, and the same call resumes.
    """
    refuse_unguarded()
    if zones not in CLIMATE_SETS:
        raise SoilcastError(f"--zones {zones}: {nearest(zones, CLIMATE_SETS)}")
    cube, out = Path(cube), Path(out)
    refuse_existing(out / "dossier", kind="dossier", overwrite=True)
    plans, runs = _plan(part, cube, out, settings, seeds, quick=quick, zones=zones, log=log)
    for plan in plans:
        for line in skipped(plan):
            log(f"{plan.name}: {line}")
    if not runs:
        raise SoilcastError(f"{cube}: the variables of every run are missing: {_first_skip_reason(plans)}")
    trained = [name for name in runs if (out / "runs" / name / RECORD).is_file()]
    log(f"{len(runs)} runs, {len(trained)} of them done")
    finished = _remove_unresumable(out / "runs", trained)
    jobs = min(jobs or usable_cores(), len(runs))
    options: dict[str, Any] = {"resume": True, "memory": memory, "progress": progress}
    started, unstarted = _pretrain(plans, out, jobs=jobs, log=log, **options)
    runs = {name: config for name, config in runs.items() if name not in unstarted}
    findings = Findings(cube, out / "runs", plans, quick, settings)
    with StudyScorer(findings, out / "dossier", runs.keys() - finished, aside=jobs > 1, log=log) as scorer:
        for name, fault in unstarted.items():
            scorer.on_run_end(name, fault)
        forecasts, faults = train_and_forecast(
            cube, runs, out, jobs=jobs, init=started, log=log, ended=scorer.on_run_end, **options
        )
    if not forecasts:
        reason = next(iter(faults.values()))
        raise SoilcastError(f"no run was completed ({reason}): correct this, and run the command again")
    page = scorer.finish(progress=progress)
    log(f"{page}: the dossier of {', '.join(plan.name for plan in plans)}")
    return page


def _plan(
    part: str | Path,
    cube: Path,
    out: Path,
    settings: Sequence[str],
    seeds: int | None,
    *,
    quick: bool,
    zones: str,
    log: Log,
) -> tuple[list[StudyPlan], Mapping[str, Config]]:
    studies = {name: load_study(name) for name in (PARTS if str(part) == _ALL else (part,))}
    plans: list[StudyPlan] = []
    runs: dict[str, Config] = {}
    with open_cube(cube) as opened:
        for name, study in studies.items():
            stem = str(name) if str(name) in STUDIES else Path(name).stem
            if stem in _TAKEN:
                raise SoilcastError(f"{name}: the name {stem} is that of another table of the dossier: rename the file")
            models = _prepared_models(study, cube, opened.attrs["content_sha256"], out / "process_models", log)
            plan, study_runs = plan_study(
                stem, study, opened, settings, seeds, quick=quick, zones=zones, process_models=models
            )
            plans.append(plan)
            runs |= study_runs
    return plans, runs


def _prepared_models(study: Study, cube: Path, content: str, folder: Path, log: Log) -> dict[str, Path | SoilcastError]:
    """Prepare the output of the process models of a study; what is there is used again.

    Returns
    -------
    Name of each -> its cube, or why there is none.
    """
    cubes: dict[str, Path | SoilcastError] = {}
    for name, model in study.process_models.items():
        made_of = json.dumps([model.source, model.options, content if model.of_cube else ""], sort_keys=True)
        path = folder / f"{name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"
        paths = [cube] if model.of_cube else []
        try:
            cubes[name] = prepared_cube(model.source, paths, model.options, path, overwrite=True, resume=True, log=log)
        except SoilcastError as error:
            log(f"process model {name}: {error}")
            cubes[name] = error
    return cubes


def _pretrain(
    plans: Sequence[StudyPlan], out: Path, *, jobs: int, log: Log, **options: Any
) -> tuple[dict[str, Path], dict[str, SoilcastError]]:
    """Train the runs that others start from, as far as that was not done.

    Returns
    -------
    Name of each run that is pretrained -> the run that it starts from, and name -> why it cannot.
    """
    init = {run: start for plan in plans for run, start in plan.init.items()}
    pretraining = {name: one for plan in plans for name, one in plan.pretraining.items()}
    faults: dict[str, SoilcastError] = {}
    folder = out / "pretraining"
    _remove_unresumable(folder, [name for name in pretraining if (folder / name / RECORD).is_file()])
    for cube in dict.fromkeys(one.cube for one in pretraining.values()):
        runs = {folder / name: one.config for name, one in pretraining.items() if one.cube == cube}
        log(f"{len(runs)} pretraining(s) on {cube}")
        for run, outcome in train_runs(cube, runs, jobs=jobs, **options).items():
            if isinstance(outcome, SoilcastError):
                log(f"{run} failed: {outcome}")
                faults[run.name] = SoilcastError(f"its pretraining failed: {outcome}")
            else:
                log(f"{run}: {run_summary(outcome.record)}")
    started = {run: folder / start for run, start in init.items()}
    return started, {run: faults[start] for run, start in init.items() if start in faults}


def _remove_unresumable(folder: Path, names: Sequence[str]) -> set[str]:
    """Name the runs that are finished, and remove those that cannot be resumed, so that they are trained once more."""
    finished = {name for name in names if open_run(folder / name).record["status"] in _FINISHED}
    for run in (folder / name for name in names if name not in finished):
        if not (workplace_of(run) / CHECKPOINT).exists():
            shutil.rmtree(run)
    return finished


def _first_skip_reason(plans: Sequence[StudyPlan]) -> str:
    return next(row.skipped for plan in plans for row in plan.rows.values() if row.skipped)
