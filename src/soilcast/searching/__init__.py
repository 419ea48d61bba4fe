"""Search of hyper-parameters, on validation days alone: trials of a config, chosen by optuna, trained side by side."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd

from soilcast.comparing import prepared_cube
from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.experiments.searches import Search, config_of, load_search, refuse_impossible
from soilcast.files import locked, make_folder, refuse_existing, remove
from soilcast.ownership import SEARCH_FILES, SEARCH_LOCK
from soilcast.progress import Log
from soilcast.provenance import stamp
from soilcast.searching.journal import (
    ABOUT,
    BEST,
    FIGURE,
    FORMAT,
    Trial,
    best_of,
    read_journal,
    table_of,
    write_file,
    write_table,
)
from soilcast.searching.proposing import propose, require_optuna
from soilcast.searching.trials import Trials
from soilcast.training.keys import commented_yaml
from soilcast.training.run_folder import parsed
from soilcast.workers import refuse_unguarded
from soilcast.workplace import first_difference

__all__ = ["Search", "search"]

_SHOWN = 10
"""Trials of the table that is printed."""

_FEWEST = 2
"""Trials without which there is nothing to choose."""


def search(
    search: Search | str | Path,
    out: str | Path,
    *,
    cube: str | Path | None = None,
    data: str | Path = Path(),
    settings: Sequence[str] = (),
    jobs: int = 1,
    hours: float | None = None,
    memory: int | None = None,
    keep_runs: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = False,
    log: Log = print,
) -> pd.DataFrame:
    """Search hyper-parameters: train trials, and compare them on the validation days. The test days have no part in it.

    The trials depend on the search and the data alone: not on ``jobs``, nor on interruptions.

    Parameters
    ----------
    search
        A search, or its YAML file.
    out
        Output folder: ``best.yaml`` for `load_config`, ``trials.csv``, ``trials.png`` (parallel coordinates),
        ``search.json`` (what it was made from), ``trials.jsonl`` (the journal), ``runs`` with the best trial.
    cube
        Path of a cube, if the search names no source.
    data
        Folder to which the paths of the search are relative.
    settings
        ``key=value`` settings over the config of the search, for all trials.
    jobs
        Number of runs trained in parallel, of those that are chosen together (``batch``).
    hours
        Begin no trial that would probably not end in this time [h].
    memory
        Hold no more than this in training, all processes together [bytes].
    keep_runs
        Keep the runs of all trials.
    overwrite
        Replace an earlier search in ``out``.
    resume
        Continue a search; with more ``trials`` than it had, too.
    progress
        Show bars.
    log
        Called with a message after each trial.

    Returns
    -------
    The table of trials, best first: index ``trial``; ``status`` (complete, pruned, failed), ``value``, a column of each
    config key, ``values`` and ``epochs`` of the seeds, ``reason``.

    Raises
    ------
    SoilcastError
        A search that cannot be; data that cannot be trained on; no trial was completed.
    KeyboardInterrupt
        Ctrl-C or SIGTERM; ``resume`` continues.
    """
    refuse_unguarded()
    out, file = Path(out), None if isinstance(search, Search) else Path(search)
    plan = search if isinstance(search, Search) else load_search(search)
    require_optuna()
    if hours is not None and not hours > 0:
        raise SoilcastError(f"--hours {hours:g}: give a time above 0, or leave it out for all {plan.trials} trials")
    if (plan.source is None) == (cube is None):
        lacking = (
            "names no source: give the data by --cube CUBE" if cube is None else "names a source: leave out --cube"
        )
        raise SoilcastError(f"{file or 'the search'} {lacking}")
    refuse_impossible(plan, settings)
    _refuse_existing(out, overwrite=overwrite, resume=resume)
    found = None if cube is None else _content_sha256(Path(cube))
    make_folder(out, out)
    with locked(out / SEARCH_LOCK, f"{out}: another soilcast process is searching there: give another --out"):
        about: dict[str, Any] = {"soilcast_kind": "search", "format": FORMAT, "search": plan.identity}
        about |= {"settings": list(settings), "cube_sha256": None}
        earlier = None if overwrite else _earlier(out, about)
        if not _is_begun(out):
            _write_about(out, about)
        if plan.source is not None:
            origin = (plan.source, [Path(data) / path for path in plan.paths], plan.options)
            cube = prepared_cube(*origin, out / "cube", overwrite=overwrite, resume=not overwrite, log=log)
            found = _content_sha256(cube)
        assert cube is not None
        about["cube_sha256"] = found
        if earlier is not None and earlier["cube_sha256"] not in (None, about["cube_sha256"]):
            raise SoilcastError(f"{out}: a search on another cube: give another --out, or --overwrite to start over")
        if overwrite:
            _clear(out, but=("cube",) if plan.source is not None else ())
        _write_about(out, about)
        weather = None if plan.weather is None else Path(data) / plan.weather
        options: dict[str, Any] = {"jobs": jobs, "memory": memory, "progress": progress, "keep": keep_runs}
        trials = Trials(plan, settings, Path(cube), out, read_journal(out), weather=weather, **options, log=log)
        _run(plan, trials, jobs, hours, log)
        done = [trials.done[number] for number in sorted(trials.done)]
        made = {"cube": str(cube), "search": None if file is None else str(file), "yaml_sha256": _sha256(file)}
        _write_results(plan, settings, out, done, about | {"provenance": stamp("soilcast search", **made)})
    table = table_of(done)
    shown = table.drop(columns=["values", "reason"]).head(_SHOWN)
    log(shown.to_string(float_format="{:.4g}".format))
    log(f"{out / BEST}: trial {table.index[0]}, {plan.objective} {table['value'].iloc[0]:.4g}")
    log(
        f"the {plan.objective} is that of the validation days on which it was chosen, and so better than it would be "
        "elsewhere: train the best config, and judge it on the test days by soilcast evaluate"
    )
    return table


def _run(plan: Search, trials: Trials, jobs: int, hours: float | None, log: Log) -> None:
    """Train the trials that are missing, batch by batch."""
    began, ended = monotonic(), 0
    at_once = plan.batch if hours is None else max(1, jobs // plan.seeds)
    for before, chosen in _batches(plan, trials.done):
        for part in _parts(chosen, at_once):
            spent = (monotonic() - began) / 3600
            if hours is not None and ended and spent + spent / ended * len(part) > hours:
                log(f"--hours {hours:g}: {len(trials.done)} of {plan.trials} trials; --resume goes on")
                return
            trials.train(before, part)
            ended += len(part)
            if hours is not None and ended == len(part):
                each = (monotonic() - began) / 3600 / ended
                _refuse_short(plan, hours, each, len(trials.done) - ended)
        if all(trial.status == "failed" for trial in trials.done.values()):
            reason = next(iter(trials.done.values())).reason
            raise SoilcastError(f"all trials so far failed ({reason}): correct this and start over with --overwrite")


def _refuse_short(plan: Search, hours: float, each: float, before: int) -> None:
    """Refuse a time in which there is nothing to choose from, once it is known how long a trial takes [h]."""
    if before + math.floor(hours / each) >= min(_FEWEST, plan.trials):
        return
    raise SoilcastError(
        f"--hours {hours:g} is too short: a trial takes about {each:.2g} h, so that fewer than {_FEWEST} end in time: "
        f"give --hours {_up(each * plan.trials):g} for all {plan.trials}, or lower train.epochs, "
        "train.batches_per_epoch or seeds (what is done is kept: --resume)"
    )


def _up(hours: float) -> float:
    """Round up to two digits."""
    digit: float = 10.0 ** (math.floor(math.log10(hours)) - 1)
    return math.ceil(hours / digit) * digit


def _batches(plan: Search, done: Mapping[int, Trial]) -> Iterator[tuple[list[Trial], dict[int, dict[str, Any]]]]:
    """Give the trials before each batch, and the values of those that are missing in it.

    Raises
    ------
    SoilcastError
        Trials of the journal are not those that are chosen now.
    """
    for start in range(0, plan.trials, plan.batch):
        numbers = range(start, min(start + plan.batch, plan.trials))
        if all(number in done for number in numbers):
            continue
        before = [done[number] for number in range(start)]
        # A whole batch, even at the end: more trials can be asked for later.
        chosen = propose(plan, before, int(min(plan.batch, plan.combinations - start)))
        values = dict(zip(range(start, start + len(chosen)), chosen, strict=True))
        if any(number in done and done[number].parameters != values[number] for number in numbers):
            raise SoilcastError(
                "the trials of the journal are not those of this version of optuna: start over with --overwrite, or "
                "install the one of constraints.txt"
            )
        yield before, {number: values[number] for number in numbers if number not in done}


def _parts(chosen: Mapping[int, dict[str, Any]], size: int) -> Iterator[dict[int, dict[str, Any]]]:
    numbers = list(chosen)
    for start in range(0, len(numbers), size):
        yield {number: chosen[number] for number in numbers[start : start + size]}


def _refuse_existing(out: Path, *, overwrite: bool, resume: bool) -> None:
    if _is_begun(out) and not (overwrite or resume):
        raise SoilcastError(
            f"{out} exists already: continue with --resume, give another --out, or --overwrite to replace it"
        )
    refuse_existing(out, kind="search", overwrite=True)


def _is_begun(out: Path) -> bool:
    """Whether there is more than a search leaves whose data could not be prepared."""
    return out.is_dir() and any(one.name not in (SEARCH_LOCK, ABOUT) for one in out.iterdir())


def _earlier(out: Path, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give what an earlier search there was made from, if it is the same search.

    Raises
    ------
    SoilcastError
        It is another one.
    """
    if not _is_begun(out):
        return None
    earlier = parsed(out / ABOUT, (out / ABOUT).read_bytes())
    mine, found = ({**one["search"], **{key: one[key] for key in ("format", "settings")}} for one in (about, earlier))
    if (differing := first_difference(mine, found)) is not None:
        raise SoilcastError(
            f"{out}: a search with another {differing}: give another --out, or --overwrite to start over (only trials "
            "may be changed)"
        )
    return dict(earlier)


def _clear(out: Path, but: Sequence[str]) -> None:
    for name in SEARCH_FILES:
        if name not in (ABOUT, *but):
            remove(out / name)


def _write_about(out: Path, about: Mapping[str, Any]) -> None:
    write_file(out / ABOUT, (json.dumps(about, indent=2) + "\n").encode())


def _write_results(
    plan: Search, settings: Sequence[str], out: Path, done: Sequence[Trial], about: Mapping[str, Any]
) -> None:
    from soilcast.searching.figure import draw_trials

    best = best_of(done)
    if best is None:
        reason = next((trial.reason for trial in done if trial.reason), "all were pruned")
        raise SoilcastError(f"no trial was completed ({reason}): widen search, or change config")
    head = f"# Trial {best.trial} of a search: {plan.objective} {best.value:.6g} on the validation days.\n"
    write_file(out / BEST, (head + commented_yaml(config_of(plan, best.parameters, settings))).encode())
    write_table(out, done)
    write_file(out / FIGURE, draw_trials(plan, done))
    counts = {status: sum(trial.status == status for trial in done) for status in ("complete", "pruned", "failed")}
    _write_about(out, {**about, "trials": counts, "best": best.model_dump(mode="json")})


def _content_sha256(cube: Path) -> str:
    with open_cube(cube) as opened:
        return str(opened.attrs["content_sha256"])


def _sha256(file: Path | None) -> str | None:
    return None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()
