"""The paper, reproduced on any cube: its tables and figures, with tests of significance."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from soilcast.comparing import train_and_forecast
from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.experiments import PARTS, load_study
from soilcast.files import refuse_existing
from soilcast.progress import Log
from soilcast.reproducing.dossier import Findings, skipped
from soilcast.reproducing.plans import StudyPlan, plan_study
from soilcast.reproducing.scorer import StudyScorer
from soilcast.schema import nearest
from soilcast.training.checkpoint import CHECKPOINT
from soilcast.training.config import Config
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
        ``table1``, ``table2``, ``fig3``, ``fig4``, ``fig5``, ``readings``, ``all``, or a YAML file such as those in
        ``soilcast/experiments/paper``.
    cube
        Path of a cube.
    out
        Output folder: ``runs/``, ``forecasts/`` and ``dossier/`` with ``report.html``.
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
    plans, runs = _plan(part, cube, settings, seeds, quick=quick, zones=zones)
    for plan in plans:
        for line in skipped(plan):
            log(f"{plan.name}: {line}")
    if not runs:
        raise SoilcastError(f"{cube}: the variables of every run are missing: {_first_skip_reason(plans)}")
    trained = [name for name in runs if (out / "runs" / name / RECORD).is_file()]
    log(f"{len(runs)} runs, {len(trained)} of them done")
    finished = _remove_unresumable(out / "runs", trained)
    jobs = min(jobs or usable_cores(), len(runs))
    findings = Findings(cube, out / "runs", plans, quick, settings)
    with StudyScorer(findings, out / "dossier", runs.keys() - finished, aside=jobs > 1, log=log) as scorer:
        forecasts, faults = train_and_forecast(
            cube, runs, out, jobs=jobs, resume=True, memory=memory, progress=progress, log=log, ended=scorer.on_run_end
        )
    if not forecasts:
        reason = next(iter(faults.values()))
        raise SoilcastError(f"no run was completed ({reason}): correct this, and run the command again")
    page = scorer.finish(progress=progress)
    log(f"{page}: the dossier of {', '.join(plan.name for plan in plans)}")
    return page


def _plan(
    part: str | Path, cube: Path, settings: Sequence[str], seeds: int | None, *, quick: bool, zones: str
) -> tuple[list[StudyPlan], Mapping[str, Config]]:
    studies = {name: load_study(name) for name in (PARTS if str(part) == _ALL else (part,))}
    plans: list[StudyPlan] = []
    runs: dict[str, Config] = {}
    with open_cube(cube) as opened:
        for name, study in studies.items():
            stem = str(name) if str(name) in PARTS else Path(name).stem
            if stem in _TAKEN:
                raise SoilcastError(f"{name}: the name {stem} is that of another table of the dossier: rename the file")
            plan, study_runs = plan_study(stem, study, opened, settings, seeds, quick=quick, zones=zones)
            plans.append(plan)
            runs |= study_runs
    return plans, runs


def _remove_unresumable(folder: Path, names: Sequence[str]) -> set[str]:
    """Name the runs that are finished, and remove those that cannot be resumed, so that they are trained once more."""
    finished = {name for name in names if open_run(folder / name).record["status"] in _FINISHED}
    for run in (folder / name for name in names if name not in finished):
        if not (workplace_of(run) / CHECKPOINT).exists():
            shutil.rmtree(run)
    return finished


def _first_skip_reason(plans: Sequence[StudyPlan]) -> str:
    return next(row.skipped for plan in plans for row in plan.rows.values() if row.skipped)
