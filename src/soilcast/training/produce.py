"""From a cube and a config to a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from soilcast.cube import open_cube, thickness_name
from soilcast.cube.identity import refuse_changed
from soilcast.errors import SoilcastError
from soilcast.files import NO_ROOM, atomic_write, refuse_existing
from soilcast.memory import peak_memory
from soilcast.models import HEADS
from soilcast.plugins import require_plugins
from soilcast.provenance import stamp, versions
from soilcast.regions.within import cells_within
from soilcast.schema import flatten
from soilcast.training.ahead import open_archive
from soilcast.training.build import build_loss, build_networks, plugins_of
from soilcast.training.checkpoint import CHECKPOINT, Checkpoints, identity_of
from soilcast.training.config import Config
from soilcast.training.coverage import archive_notes, auto_note, training_notes
from soilcast.training.dataset import choose_folder, days_seen, make_dataset
from soilcast.training.devices import Ranks, choose_device, engine_of, full_gpu_told, joined_ranks, torch_threads
from soilcast.training.finetune import open_init_run, refuse_seen, take_weights
from soilcast.training.fitting import fit_networks, refit_networks
from soilcast.training.inputs import missing_inputs, refuse_lacking, refuse_without_grid
from soilcast.training.learner import Learner
from soilcast.training.loop import DivergedError, Training
from soilcast.training.predictor import calibrated, shrinkage, validation_ratio
from soilcast.training.rules import lacking_of_network
from soilcast.training.run import Run, open_run, save_run
from soilcast.training.run_folder import RECORD, read_record
from soilcast.training.run_record import NOT_CONVERGED, describe_divergence, make_run, refitted, shrunk
from soilcast.training.split import climate_groups, days_in, learning_cells, split_days
from soilcast.water import missing_terms
from soilcast.workplace import clear_workplace, is_to_replace, locked_workplace, workplace_of

_SAMPLES = "samples"
_PLUGIN = "plugin "
"""What a checkpoint's identity has before the name of a plugin."""

_INPUTS = {"init_sha256": "--init", "weather": "--weather", "within": "--within"}
"""What a run's record says of its inputs beside the cube, and the option that each was given by."""

_DONE = ("finished", "stopped early", "pruned")
"""How a training ended that --resume has nothing to add to."""


def train(
    cube: str | Path,
    out: str | Path,
    config: Config | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    memory: int | None = None,
    samples: str | Path | None = None,
    init: str | Path | None = None,
    weather: str | Path | None = None,
    units: Mapping[str, str] | None = None,
    within: str | Path | None = None,
    limits: Mapping[int, float] | None = None,
    progress: bool = False,
    log: Callable[[str], None] = lambda line: None,
) -> Run:
    """Train a model on a cube and write the run.

    During training ``OUT.unfinished`` beside ``out`` has the log and a checkpoint, which takes at most 1 % of the time.
    After any interruption ``resume`` continues from it, with bit-identical results. Started by ``torchrun``, all
    processes train one run together.

    Parameters
    ----------
    cube
        Path of a cube.
    out
        Folder of the run to write.
    config
        Configuration; by default the plain LSTM with the paper's settings.
    overwrite
        Replace ``out`` if it exists, and start over.
    resume
        Continue from the checkpoint; start if there is none; do nothing if ``out`` is complete.
    memory
        Memory limit [bytes]: samples that do not fit are memory-mapped from files, with the same result.
    samples
        Folder of memory-mapped samples, shared by runs on the same cube.
    init
        A run to fine-tune, instead of random weights, such as a global one for a region or for stations. Its statistics
        are kept if they are of all cells (``normalise.scope=global``), since its weights depend on them.
    weather
        Archive of weather forecasts (`soilcast.weather.open_weather`): what ``task.known_future`` names is then known
        on the forecast days as it was forecast on the issue day, and not as it was observed. Issue days that it lacks
        are left out.
    units
        Variable -> unit, if the archive gives none or a wrong one.
    within
        Train only on the cells within a box or the regions of a file (`soilcast.regions.within.cells_within`): the run
        knows no others.
    limits
        For the trials of a search: epoch -> lowest validation loss by then above which the training ends there
        (``record["status"]`` is then ``"pruned"``). The record says how the run compares with persistence on the
        validation days (``record["validation_ratio"]``) where this is given, empty too.
    progress
        Show a progress bar.
    log
        Called, before training begins, with each line that says what is left out of the cube, and why. The run has
        them too (``record["notes"]``).

    Returns
    -------
    The run, as `open_run` gives it. Ctrl-C ends the training and writes the best weights so far
    (``record["status"]`` is then ``"interrupted"``).

    Raises
    ------
    SoilcastError
        An invalid cube, config, initial run or archive of weather forecasts; a checkpoint of another training; a loss
        that is not finite (the best weights until then are written); a full disk (the last checkpoint is kept).
    """
    out, config = Path(out), config or Config()
    if config.train.freeze and init is None:
        raise SoilcastError("train.freeze is for fine-tuning: give the run to start from with --init RUN")
    device = choose_device(config.train.device)
    with (
        joined_ranks(device) as ranks,
        torch_threads(config.train.threads) as threads,
        full_gpu_told("take a smaller train.ensemble or train.batch_size, or train.device=cpu"),
    ):
        opened = open_cube(cube)
        area = None if within is None else cells_within(within, opened)
        if area is not None:
            opened = opened.isel(cell=np.flatnonzero(area.cells))
        variables = list(map(str, opened.data_vars))
        notes = [*(area.notes if area else ()), *auto_note(config.task, variables)]
        config = config.model_copy(update={"task": config.task.for_cube(variables)})
        init_run = open_init_run(init, config) if init is not None else None
        split = split_days(opened["time"].to_numpy(), config.split, str(cube))
        forecasts = None
        if weather is not None:
            days = opened["time"].to_numpy()[days_seen(config, split)]
            needed = learning_cells(opened, config.split)
            forecasts = open_archive(weather, opened, config.task, days, needed, units or {})
        of_weather = {} if forecasts is None else {"weather": forecasts.record()}
        others = {"init_sha256": init_run.record["weights_sha256"]} if init_run else {}
        others |= of_weather | ({"within": area.record} if area else {})
        finished = _finished(out, opened, config, ranks, others, overwrite=overwrite) if resume else None
        if finished is not None:
            return finished
        _refuse_lacking(opened, config)
        if init_run is not None:
            refuse_seen(init_run, opened["time"].to_numpy(), split.test, str(init))
        with _full_disk_told(out), _workplace(out, ranks, overwrite=overwrite, resume=resume) as place:
            own = place / _SAMPLES
            folder = (
                Path(samples) if samples else choose_folder(opened, config, split, memory, own, weather is not None)
            )
            if ranks.any(folder is not None, device):
                folder = folder or own
            scalings = init_run.statistics.scalings if init_run and config.normalise.scope == "global" else None
            mapped = {"low_memory": memory is not None}
            dataset = make_dataset(opened, config, split, folder, scalings, weather=forecasts, **mapped)
            notes += training_notes(opened, config, split, dataset)
            notes += [] if forecasts is None else archive_notes(forecasts, config, split, dataset.first)
            climate = climate_groups(opened)
            refuse_changed(opened)  # from here on nothing is read of it
            for line in notes if ranks.is_main else ():
                log(line)
            checkpoints = Checkpoints(place, _identity(opened, config, device, threads, ranks, others))
            stamped = {"cube": str(cube), "cube_sha256": opened.attrs["content_sha256"], "threads": threads}

            def write(training: Training, anew: Training | None = None) -> Run:
                run = make_run(opened, config, split, dataset, training, notes)
                share = shrinkage(run, dataset) if config.head.predict == "departure" else None
                run = run if share is None else shrunk(run, share)
                if limits is not None:
                    hidden = days_in(split.test, days_seen(config, split))
                    run = replace(
                        run, record={**run.record, "validation_ratio": validation_ratio(run, dataset, hidden)}
                    )
                if config.task.quantiles:
                    run = calibrated(run, climate, opened["time"].to_numpy(), dataset)
                    uncalibrated = [*run.calibration.notes()] if run.calibration else []
                    run = replace(run, record={**run.record, "notes": [*notes, *uncalibrated]})
                    for line in uncalibrated if ranks.is_main else ():
                        log(line)
                if anew is not None and dataset.development is not None:
                    run = refitted(run, anew, dataset.development.statistics)
                    run = run if share is None else shrunk(run, share)
                memory_held = {"memory_bytes": memory, "peak_memory_bytes": peak_memory()}
                provenance = stamp(
                    "soilcast train", **stamped, engine=engine_of(device), processes=ranks.size, device=str(device)
                )
                run = replace(run, record={**run.record, **memory_held, **others, "provenance": provenance})
                if ranks.is_main:
                    with atomic_write(out, kind="run", overwrite=overwrite or resume) as partial, _full_disk_told(out):
                        partial.mkdir()
                        save_run(partial, run)
                return run

            try:

                def learner() -> Learner:
                    networks = [network.to(device) for network in build_networks(config)]
                    if init_run is not None:
                        take_weights(networks, init_run)
                    return Learner(networks, build_loss(config), config.train, ranks, threads)

                training = fit_networks(
                    learner(), dataset, config, checkpoints, resume=resume, shown=progress, limits=limits
                )
                anew = None
                if config.train.refit and training.status != "interrupted":
                    anew = refit_networks(
                        learner(), dataset, config, checkpoints, training, resume=resume, shown=progress
                    )
            except DivergedError as error:
                if error.training.weights:
                    write(error.training)
                checkpoints.discard()
                raise SoilcastError(describe_divergence(error, opened, dataset.first, out)) from error
            if not training.weights:
                raise KeyboardInterrupt
            run = write(training, anew)
            if training.status != "interrupted":
                checkpoints.discard()
    return run


def require_plugins_to_resume(out: Path) -> None:
    """See that the plugins of an unfinished training are loaded, before its config asks for what they register.

    Raises
    ------
    SoilcastError
        One is not, or another one is.
    """
    if (out / RECORD).is_file():
        require_plugins(read_record(out).get("plugins", []), out)
    checkpoint = workplace_of(out) / CHECKPOINT
    for name, digest in identity_of(checkpoint).items():
        if name.startswith(_PLUGIN):
            made_with = {"name": name.removeprefix(_PLUGIN), "sha256": digest, "parts": ["network, head or loss"]}
            require_plugins([made_with], checkpoint)


def _refuse_lacking(cube: xr.Dataset, config: Config) -> None:
    if message := lacking_of_network(config):
        raise SoilcastError(f"{cube.encoding.get('source', 'the cube')}: {message}")
    refuse_without_grid(cube, config.task)
    lacking = missing_inputs(cube, config.task)
    for one in config.guided:
        if one.balance and (shortfall := missing_terms(cube, one.balance, one.water)) and shortfall not in lacking:
            lacking.append(shortfall)
    several = any(one.balance == "single" for one in config.guided) and len(config.task.layers) > 1
    needs_water = HEADS[config.head.name].needs_water
    needed = config.task.layers if several or needs_water else ()
    if missing := [thickness_name(layer) for layer in needed if thickness_name(layer) not in cube]:
        why = "loss.balance needs to sum the water of several layers: forecast one layer"
        why = f"head.name={config.head.name} needs: use head.name=direct" if needs_water else why
        what = f"{', '.join(missing)}, which {why}"
        lacking.append((what, []))
    refuse_lacking(cube, lacking)


def _finished(
    out: Path, cube: xr.Dataset, config: Config, ranks: Ranks, others: Mapping[str, Any], *, overwrite: bool
) -> Run | None:
    """Open ``out`` if it is the very run that is asked for, and finished; ``others`` are its inputs beside the cube."""
    if not (out / RECORD).is_file():
        return None
    run = open_run(out)
    status = run.record["status"]
    if status == "interrupted" and (workplace_of(out) / CHECKPOINT).exists():
        return None
    found, wanted = flatten(run.config.model_dump(mode="json")), flatten(config.model_dump(mode="json"))
    differing = [key for key in wanted if found.get(key) != wanted[key]]
    differs = bool(differing) or run.record["cube_sha256"] != cube.attrs["content_sha256"]
    if differs and (overwrite or is_to_replace(out)):
        return None
    if differs:
        what = f"{differing[0]} {json.dumps(found.get(differing[0]))}" if differing else "another cube"
        raise SoilcastError(f"{out} is a run of {what}: give another --out, or --overwrite to replace it")
    for name, option in _INPUTS.items():
        if run.record.get(name) != others.get(name):
            raise SoilcastError(
                f"{out} is a run with another {option}: give another --out, or --overwrite to replace it"
            )
    if status not in _DONE:
        raise SoilcastError(f"{out} is an unfinished run ({status}) without a checkpoint: start over with --overwrite")
    if ranks.is_main:
        clear_workplace(out)
    return run


def _identity(
    cube: xr.Dataset, config: Config, device: torch.device, threads: int, ranks: Ranks, others: Mapping[str, Any]
) -> dict[str, Any]:
    """All that the bits of the weights depend on; ``others`` are the inputs beside the cube."""
    found = versions()
    return {
        "cube": cube.attrs["content_sha256"],
        **{f"version of {package}": found.get(package) for package in ("soilcast", "torch", "numpy")},
        "device": device.type,
        "engine": engine_of(device),
        "threads": threads,
        "processes": ranks.size,
        **{f"input of {option}": json.dumps(others[name]) for name, option in _INPUTS.items() if name in others},
        **{f"{_PLUGIN}{plugin['name']}": plugin["sha256"] for plugin in plugins_of(config)},
        **flatten(config.model_dump(mode="json")),
    }


@contextmanager
def _workplace(out: Path, ranks: Ranks, *, overwrite: bool, resume: bool) -> Iterator[Path]:
    """The folder to train in, locked by the process that writes."""
    if not ranks.is_main:
        ranks.wait()
        yield workplace_of(out)
        return
    unfinished = resume and ((workplace_of(out) / CHECKPOINT).exists() or is_to_replace(out))
    refuse_existing(out, kind="run", overwrite=overwrite or unfinished)
    with locked_workplace(out, overwrite=overwrite, resume=resume, keep=CHECKPOINT) as place:
        ranks.wait()
        yield place


@contextmanager
def _full_disk_told(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        kept = (workplace_of(out) / CHECKPOINT).exists()
        stands = "the last checkpoint is kept" if kept else "no checkpoint yet"
        raise SoilcastError(
            f"no space left on the disk of {out} ({error.strerror}): {stands}; free some space and continue with "
            "--resume"
        ) from error


def run_summary(record: Mapping[str, Any]) -> str:
    """Say in one line how a training went."""
    members = f" of {record['members']} members" if record["members"] > 1 else ""
    not_converged = f"; {NOT_CONVERGED} (train.epochs)" if record["best_is_last"] else ""
    return (
        f"{record['label']}{members}: {record['status']} after {record['epochs']} epoch(s), best validation loss "
        f"{record['best_validation_loss']:.5f} in epoch {record['best_epoch']}; {record['cells_trained']} of "
        f"{record['cells_total']} cells used; peak memory {record['peak_memory_bytes'] / 2**20:,.0f} MiB{not_converged}"
    )
