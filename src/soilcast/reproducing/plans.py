"""Which runs the parts of the paper need on a cube: each once, named by all that its weights depend on."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import xarray as xr

from soilcast.cube import open_cube
from soilcast.errors import SoilcastError
from soilcast.experiments import Study
from soilcast.provenance import code_sha256, file_sha256, versions
from soilcast.task import Task
from soilcast.training.build import plugins_of, registered_parts
from soilcast.training.cell_guidance import cell_classes
from soilcast.training.config import Config, load_config, merged
from soilcast.training.inputs import missing_inputs, refuse_lacking
from soilcast.training.sections import SplitConfig
from soilcast.training.split import in_climate, split_days
from soilcast.water import WaterConfig, refuse_missing

ROOMS = ("task.py", "cube", "water", "models", "products", "training", "weather", "forecasting")
"""The rooms, and the file, whose code a forecast depends on."""

_IGNORED_KEYS = ("threads", "device")
"""Keys of `train` that do not change the weights."""

_INPUTS = ("dynamic", "static", "known_future")
_DAYS = ("test", "development", "months", "validation_share")
"""Keys of `split` that divide the days."""


@dataclass(frozen=True)
class Row:
    """A row of a table, a model of a figure: one design, trained with several seeds.

    Parameters
    ----------
    name
        Name in the study.
    config
        Of the first seed.
    runs
        Names of the runs, one a seed; none if it cannot be run.
    skipped
        Why it cannot be run on this cube, or empty.
    amount
        Of training data: a name in `Study.data`, or empty.
    init
        Names of the runs that ``runs`` start from, one each; none without pretraining.
    """

    name: str
    config: Config
    runs: tuple[str, ...]
    skipped: str = ""
    amount: str = ""
    init: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """Its name, with the amount of training data."""
        return ", ".join(filter(None, (self.name, self.amount)))


@dataclass(frozen=True)
class Pretraining:
    """A run on the output of a process model, from which others start: on which cube, and what to train."""

    cube: Path
    config: Config


@dataclass(frozen=True)
class StudyPlan:
    """A study on a cube.

    Parameters
    ----------
    name
        Of the study, and so of its files.
    study
        What it is.
    rows
        Its rows by their full name; within a part by their name.
    left_out
        Inputs of the study that the cube, or that of a process model, lacks.
    water
        The balance by which all rows are scored: that of the study, not of its rows.
    zones
        Climates that are distinguished: a name in `soilcast.verify.climate.CLIMATE_SETS`.
    pretraining
        Name of each run that others start from -> what it is.
    amount
        Of a part: the training data of its rows.
    """

    name: str
    study: Study
    rows: Mapping[str, Row]
    left_out: tuple[str, ...]
    water: WaterConfig
    zones: str = "main"
    pretraining: Mapping[str, Pretraining] = field(default_factory=dict)
    amount: str = ""

    @property
    def parts(self) -> list[StudyPlan]:
        """Itself, or a part for each amount of training data: rows that are compared with each other."""
        if not self.study.data:
            return [self]
        of_amount = {
            amount: {row.name: row for row in self.rows.values() if row.amount == amount} for amount in self.study.data
        }
        return [replace(self, rows=rows, amount=amount) for amount, rows in of_amount.items()]

    @property
    def init(self) -> dict[str, str]:
        """Name of each run that is pretrained -> the run that it starts from."""
        return {run: start for row in self.rows.values() for run, start in zip(row.runs, row.init, strict=False)}

    @property
    def reference(self) -> Row:
        """The row that others are compared with; of several amounts of training data that of the first."""
        return next(row for row in self.rows.values() if row.name == self.study.reference)

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of its runs, each once."""
        return tuple(dict.fromkeys(run for row in self.rows.values() for run in row.runs))

    @property
    def task(self) -> Task:
        """The task of the reference, whose leads, first layer and latency all rows share."""
        return self.reference.config.task


def plan_study(
    name: str,
    study: Study,
    cube: xr.Dataset,
    settings: Sequence[str],
    seeds: int | None = None,
    *,
    quick: bool = False,
    zones: str = "main",
    process_models: Mapping[str, Path | SoilcastError] = {},
) -> tuple[StudyPlan, dict[str, Config]]:
    """Plan the runs of a study on a cube.

    Inputs that the cube lacks are left out of all runs alike; a run whose water balance the cube cannot give is
    skipped.

    Parameters
    ----------
    name
        Of the study.
    cube
        An opened cube.
    settings
        ``key=value`` settings over those of the study.
    seeds
        Number of seeds of each row; by default that of the study.
    quick
        Shorten trainings as the study defines.
    zones
        Climates that are distinguished.
    process_models
        Name of each process model of the study -> the cube of its output, or why there is none.

    Returns
    -------
    The plan, and name -> what to train for each of its runs. Two rows of one design, of this study or of another,
    share their runs.

    Raises
    ------
    SoilcastError
        A setting that does not fit, rows that cannot be scored together, no target or no input in the cube, a split
        that leaves no day, a network, head or loss of the user's own whose code is in no file.
    """
    count = seeds or (study.quick.seeds if quick else study.seeds)
    code = code_in_use()
    rows: dict[str, Row] = {}
    plans: dict[str, Config] = {}
    pretraining: dict[str, Pretraining] = {}
    absent: set[str] = set()
    of_all = load_config(settings=settings, base=merged(study.config, study.quick.config) if quick else study.config)
    with ExitStack() as stack:
        paths = {model: path for model, path in process_models.items() if isinstance(path, Path)}
        others = {model: stack.enter_context(open_cube(path)) for model, path in paths.items()}
        for amount, (row, keys) in itertools.product(study.data or {"": {}}, study.rows.items()):
            base = merged(merged(study.config, keys), study.data.get(amount, {}))
            try:
                config = load_config(settings=settings, base=merged(base, study.quick.config) if quick else base)
            except SoilcastError as error:
                raise SoilcastError(f"{name}, run {row}: {error}") from error
            _refuse_unlike(name, config, row, [one for one in rows.values() if one.amount == amount])
            config, missing = _with_available_inputs(config, cube, list(others.values()))
            absent.update(missing)
            skipped = _skip_reason(config, cube, amount)
            init: dict[str, Config] = {}
            model = study.pretrained.get(row)
            if model is not None and not skipped:
                split = of_all.split if study.process_models[model].of_cube else SplitConfig()
                first = config.model_copy(update={"split": split, "train": of_all.train})
                skipped = _lacking_reason(first, others[model]) if model in others else str(process_models[model])
                if not skipped:
                    init = {_run_name(one, others[model], code): one for one in _seeded(first, count)}
                pretraining |= {run: Pretraining(paths[model], one) for run, one in _labelled(init).items()}
            seeded = zip(_seeded(config, count), init or [""] * count, strict=True)
            runs = {} if skipped else {_run_name(one, cube, code, start): one for one, start in seeded}
            planned = Row(row, config, tuple(runs), skipped, amount, tuple(init))
            rows[planned.full_name] = planned
            plans |= _labelled(runs)
    return StudyPlan(name, study, rows, tuple(sorted(absent)), of_all.water, zones, pretraining), plans


@cache
def code_in_use() -> str:
    """Hash of the code that a forecast depends on."""
    return code_sha256(ROOMS)


def _seeded(config: Config, seeds: int) -> list[Config]:
    """One config a seed; with one thread each, so that the weights do not depend on how many run side by side."""
    first, threads = config.train.seed, config.train.threads or 1
    return [
        config.model_copy(update={"train": config.train.model_copy(update={"seed": first + seed, "threads": threads})})
        for seed in range(seeds)
    ]


def _labelled(runs: Mapping[str, Config]) -> dict[str, Config]:
    return {run: config.model_copy(update={"label": run}) for run, config in runs.items()}


def _run_name(config: Config, cube: xr.Dataset, code: str, init: str = "") -> str:
    content = config.model_dump(mode="json")
    del content["label"]
    content["train"] = {key: value for key, value in content["train"].items() if key not in _IGNORED_KEYS}
    if config.balance is None:
        content["water"] = None
    content["own_code"] = _user_code(config)
    packages = {package: versions().get(package) for package in ("torch", "numpy")}
    identity = {"config": content, "cube": cube.attrs["content_sha256"], "code": code, "versions": packages}
    identity |= {"init": init} if init else {}
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return f"{config.model}-{digest[:12]}-s{config.train.seed}"


def _user_code(config: Config) -> dict[str, str]:
    """Hash the files of what the config names that is not soilcast's own."""
    hashes: dict[str, str] = {}
    for plugin in plugins_of(config):
        hashes |= {part.partition(" ")[0]: plugin["sha256"] for part in plugin["parts"]}
    for section, part in registered_parts(config).items():
        if section in hashes or str(getattr(part, "__module__", "")).partition(".")[0] == "soilcast":
            continue
        try:
            hashes[section] = file_sha256(Path(inspect.getsourcefile(part) or ""))  # type: ignore[arg-type]
        except (TypeError, OSError) as error:
            raise SoilcastError(
                f"{section}.name={getattr(config, section).name} has no source file, which identifies its runs: "
                "register a class or function defined in a Python file"
            ) from error
    return hashes


def _refuse_unlike(study: str, config: Config, row: str, rows: Sequence[Row]) -> None:
    """Check that a row can be scored together with those before it."""
    for first in rows[:1]:
        keys, reference_keys = _shared_keys(config), _shared_keys(first.config)
        for name, value in keys.items():
            if value != reference_keys[name]:
                raise SoilcastError(
                    f"{study}, run {row}: {name} is {value}, but {reference_keys[name]} in run {first.name}: all rows "
                    "of a study must have the same, to be scored on the same days"
                )


def _shared_keys(config: Config) -> dict[str, object]:
    task = config.task
    of_task = {
        "task.lead_days": task.lead_days,
        "the first of task.layers": task.target,
        "the latency of task.layers": task.soil_latency,
    }
    return of_task | {f"split.{name}": value for name, value in config.split.model_dump().items() if name in _DAYS}


def _with_available_inputs(
    config: Config, cube: xr.Dataset, others: Sequence[xr.Dataset] = ()
) -> tuple[Config, list[str]]:
    """Leave out inputs that a cube, or one of those of process models, lacks."""
    available = {
        key: tuple(name for name in getattr(config.task, key) if all(name in one for one in (cube, *others)))
        for key in _INPUTS
    }
    missing = [name for key in available for name in getattr(config.task, key) if name not in available[key]]
    if not available["dynamic"]:
        raise SoilcastError(
            f"{_source(cube)}: none of the inputs {', '.join(config.task.dynamic)} is in the cube: name others with "
            "--set task.dynamic=[...]"
        )
    task = config.task.model_copy(update=available)
    refuse_lacking(cube, missing_inputs(cube, task))  # which can lack no more than soil moisture
    return config.model_copy(update={"task": task}), missing


def _skip_reason(config: Config, cube: xr.Dataset, amount: str) -> str:
    """Say why a row cannot be run, if it cannot; without an amount of training data too few days are an error."""
    split, source = config.split, _source(cube)
    try:
        for one in config.guided:
            assert one.balance is not None, "guided"
            refuse_missing(cube, one.balance, one.water)
        cell_classes(cube, config)
        if amount:
            split_days(cube["time"].to_numpy(), split, source)
    except SoilcastError as error:
        return str(error).removeprefix(f"{source}: ")
    split_days(cube["time"].to_numpy(), split, source)
    cells = cube.sizes["cell"]
    if amount and split.cells_share * cells < 1:
        return f"{100 * split.cells_share:g} % of {cells} cells is less than one cell"
    if amount and split.without_climate is not None:
        if "climate_zone" not in cube:
            return "no climate_zone, by which cells are left out"
        unseen = in_climate(cube, split.without_climate)
        if unseen.all() or not unseen.any():
            which = "all cells are" if unseen.any() else "no cell is"
            return f"{which} of the climate {split.without_climate}"
    return ""


def _lacking_reason(config: Config, process_model: xr.Dataset) -> str:
    """Say what the cube of a process model lacks for a pretraining, if anything."""
    lacking = [what for what, _ in missing_inputs(process_model, config.task)]
    return f"{_source(process_model)}: no {', '.join(lacking)}" if lacking else ""


def _source(cube: xr.Dataset) -> str:
    return str(cube.encoding.get("source") or cube.attrs.get("title", "the cube"))
