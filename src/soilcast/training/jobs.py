"""Many trainings on one cube: side by side in processes that share their samples."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
import xarray as xr

from soilcast.cluster import run_on_cluster
from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.files import make_folder
from soilcast.memory import held_memory
from soilcast.progress import Advance, progress_bar
from soilcast.training.build import registered_parts
from soilcast.training.config import Config
from soilcast.training.dataset import choose_folder
from soilcast.training.produce import train
from soilcast.training.run import Run, open_run
from soilcast.training.run_folder import LOG, RECORD
from soilcast.training.split import split_days
from soilcast.workers import run_tasks
from soilcast.workplace import workplace_of

Outcome = Run | SoilcastError
Ended = Callable[[Path, Outcome], None]
Then = Callable[[Path, int | None], object]

_SAMPLES = ".soilcast-samples"
_BEGUN = ".soilcast-begun"
_GLANCE = 0.5
"""Time between two looks at how far the runs are [s]."""


def train_runs(
    cube: str | Path,
    runs: Mapping[Path, Config],
    *,
    jobs: int = 1,
    dask: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    memory: int | None = None,
    samples: str | Path | None = None,
    weather: Mapping[Path, str | Path] = {},
    init: Mapping[Path, str | Path] = {},
    limits: Mapping[Path, Mapping[int, float]] = {},
    progress: bool = False,
    then: Then | None = None,
    ended: Ended = lambda out, outcome: None,
) -> dict[Path, Outcome]:
    """Train many models on one cube; one that fails takes no other along.

    The weights of a run do not depend on ``jobs``, but for the number of threads: with several jobs each has one,
    unless ``train.threads`` says otherwise.

    Parameters
    ----------
    cube
        Path of a cube.
    runs
        Folder of each run to write -> what to train and how.
    jobs
        How many to train at once, each in a process; with 1 all are trained in this process, one after the other.
    dask
        Address of a dask scheduler, each worker process of which trains a run at a time; the workers see the same
        paths. One whose worker dies goes on from its checkpoint on another. Weights are those of ``jobs``, if the
        workers have the same instruction set.
    overwrite, resume
        See `train`, for each run.
    memory
        Hold no more than this, all processes together; on a cluster each process [bytes].
    samples
        Folder to keep mapped samples in, which all runs share; by default one beside the first run, which is removed
        at the end. Runs on a GPU keep samples of their own there, unless a folder is given.
    weather
        Folder of a run -> the archive of weather forecasts that it is trained with (see `train`).
    init
        Folder of a run -> the run whose weights its training starts from (see `train`).
    limits
        Folder of a run -> where its training is given up (see `train`).
    progress
        Show one bar over the epochs of all runs.
    then
        What else to do with each run, in the process that trained it: called with its folder, and with the memory that
        the process may hold [bytes]. As it goes to another process, it is a function of a module, or a partial of one.
    ended
        Called in this process with each run as it ends.

    Returns
    -------
    Folder of each run -> the run, or why there is none.

    Raises
    ------
    SoilcastError
        The cube cannot be opened, or there is too little memory.
    KeyboardInterrupt
        Ctrl-C or SIGTERM; every training has written its checkpoint, so that ``resume`` goes on.
    """
    jobs = max(1, min(jobs, len(runs)))
    _refuse_torchrun()
    each = memory if memory is None or jobs == 1 else max(0, memory - held_memory()) // jobs
    single = jobs > 1 or dask is not None
    configs = {out: _with_threads(config, out, single, resume) for out, config in runs.items()}
    with open_cube(cube) as opened:
        _refuse_little_memory(opened, configs, each, jobs, weather)
    outcomes: dict[Path, Outcome] = {}
    with (
        _shared_folder({} if dask else configs, samples) as folder,
        _overview(configs, resume=resume, shown=progress) as done,
    ):

        def note(out: Path, failure: SoilcastError | None) -> None:
            outcomes[out] = failure or open_run(out)
            done(out)
            ended(out, outcomes[out])

        options: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "memory": each}
        work = {}
        for out, config in configs.items():
            own: dict[str, Any] = {"samples": samples or _kept(folder, config), "weather": weather.get(out)}
            own |= {"init": init.get(out), "limits": limits.get(out)}
            work[out] = functools.partial(_train, cube, out, config, then, **options, **own)
        if dask is None:
            run_tasks(work, jobs, note)
        else:
            with _begun_folder(configs) as begun:
                again = {out: functools.partial(_train_or_go_on, begun / out.name, task) for out, task in work.items()}
                run_on_cluster(dask, again, note)
    return {out: outcomes[out] for out in runs}


def _train(cube: str | Path, out: Path, config: Config, then: Then | None, **options: Any) -> None:
    registered_parts(config)
    if train(cube, out, config, **options).record["status"] == "interrupted":
        raise KeyboardInterrupt
    if then is not None:
        then(out, options["memory"])


def _train_or_go_on(begun: Path, task: functools.partial[None]) -> None:
    """Train a run on a worker; if another worker died of it, go on from what that left."""
    if begun.exists():
        task = functools.partial(task, resume=True)
    begun.touch()
    task()


@contextmanager
def _begun_folder(configs: Mapping[Path, Config]) -> Iterator[Path]:
    """Give a folder in which it is noted which runs were begun; it is gone afterwards."""
    folder = next(iter(configs)).absolute().parent / _BEGUN
    make_folder(folder, folder)
    try:
        for left in folder.iterdir():
            left.unlink()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _with_threads(config: Config, out: Path, single: bool, resume: bool) -> Config:
    """Set the number of threads where it is left open: as the run was begun, or one for each of several jobs."""
    if config.train.threads:
        return config
    threads = int(single)
    if resume and (out / RECORD).is_file():
        with suppress(SoilcastError):  # of a damaged run; `train` says it of the run
            threads = open_run(out).config.train.threads
    return config.model_copy(update={"train": config.train.model_copy(update={"threads": threads})})


def _refuse_torchrun() -> None:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SoilcastError("torchrun trains one run in several processes: train several runs with --jobs instead")


def _refuse_little_memory(
    cube: xr.Dataset,
    configs: Mapping[Path, Config],
    memory: int | None,
    jobs: int,
    weather: Mapping[Path, str | Path],
) -> None:
    for out, config in configs.items() if memory is not None else ():
        split = None
        with suppress(SoilcastError):  # `train` says it of the run
            split = split_days(cube["time"].to_numpy(), config.split, "the cube")
        try:
            if split is not None:
                task = config.task.for_cube(list(map(str, cube.data_vars)))
                choose_folder(cube, config.model_copy(update={"task": task}), split, memory, Path(), out in weather)
        except SoilcastError as error:
            raise SoilcastError(f"{error}{', or use fewer --jobs, which share it' if jobs > 1 else ''}") from error


@contextmanager
def _shared_folder(configs: Mapping[Path, Config], samples: str | Path | None) -> Iterator[Path | None]:
    """Give a folder for samples that several runs share, if they do; it is gone afterwards."""
    if samples or len(configs) < 2:
        yield None
        return
    folder = next(iter(configs)).parent / _SAMPLES
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _kept(folder: Path | None, config: Config) -> Path | None:
    """Where the samples of a run are shared: nowhere if it takes them to a GPU."""
    return None if config.train.device != "cpu" and torch.cuda.is_available() else folder


@contextmanager
def _overview(configs: Mapping[Path, Config], *, resume: bool, shown: bool) -> Iterator[Callable[[Path], None]]:
    """Show one bar over the epochs of all runs, which their logs tell; gives what is to be called as a run ends."""
    over = threading.Event()
    ended: set[Path] = set()
    counted = {out: max(_epochs(out), _epochs(workplace_of(out))) if resume else 0 for out in configs}
    total = sum(config.train.epochs for config in configs.values())

    def look(advance: Advance) -> None:
        for out, config in configs.items():
            # A run's last epoch is counted once it has ended, so that the words that come with it count it too.
            now = config.train.epochs if out in ended else min(_epochs(workplace_of(out)), config.train.epochs - 1)
            for _ in range(counted[out], now):
                advance(f"epochs; {len(ended)} of {len(configs)} runs have ended")
            counted[out] = max(counted[out], now)

    def follow(advance: Advance) -> None:
        while not over.wait(_GLANCE):
            look(advance)
        look(advance)

    with progress_bar("training", total, shown=shown, done=sum(counted.values())) as advance:
        thread = threading.Thread(target=follow, args=(advance,), daemon=True)
        if shown:
            thread.start()
        try:
            yield ended.add
        finally:
            over.set()
            if shown:
                thread.join()


def _epochs(folder: Path) -> int:
    """Epochs that the log there counts."""
    try:
        return (folder / LOG).read_bytes().count(b"\n")
    except OSError:
        return 0
