"""The experiments: a source, runs on it, and their settings, as YAML; some come with soilcast."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.models.regressions import REGRESSIONS
from soilcast.schema import nearest, read_yaml, validate
from soilcast.training.config import PRESETS, Config, load_config, merged

_HERE = Path(str(resources.files("soilcast.experiments")))

NO_WEATHER, OBSERVED = "none", "observed"
"""Weather of the forecast days that is none, and that of the cube."""

PARTS = ("table1", "table2", "fig3", "fig4", "fig5", "readings")
"""The parts of the paper, ``experiments/paper/NAME.yaml``: tables, figures, and the readings of its equations."""

STUDIES = (*PARTS, "routes")
"""The parts, and beyond the paper the routes that it names for physics in networks."""


Kind = TypeVar("Kind", bound=BaseModel)


class Design(BaseModel):
    """Which runs, and with what settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: dict[str, Any] = Field({}, description="config keys of all runs, over the defaults")
    models: tuple[str, ...] = Field((), description="presets to train, one run each")
    runs: dict[str, dict[str, Any]] = Field({}, description="name of a run -> its config keys, over those of all runs")
    seeds: int = Field(1, ge=1, le=1024, description="number of seeds of each run")

    @field_validator("models")
    @classmethod
    def _are_registered(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in PRESETS:
                raise ValueError(f"unknown model {name}: {nearest(name, PRESETS)}")
        return value

    @model_validator(mode="after")
    def _are_some_and_once(self) -> Self:
        names = [*self.models, *self.runs]
        if not names:
            raise ValueError("name at least one model under models, or one run under runs")
        # As some file systems see them.
        if len({name.casefold() for name in names}) < len(names):
            raise ValueError("two runs have the same name: rename one")
        return self


class Experiment(Design):
    """Runs on the data of a source: the YAML file of `compare`. Each seed is a run: NAME-s0, NAME-s1, ..."""

    about: str = Field(description="description of the data in a sentence: observed, modelled or synthetic")
    source: str = Field(description="source for `prepare`")
    paths: tuple[str, ...] = Field((), description="paths for `prepare`, relative to the data folder")
    options: dict[str, Any] = Field(
        {}, description="options for `prepare`; `mapping` is relative to the experiment file"
    )
    weather: dict[str, str] = Field(
        {},
        description="name of a run -> weather of its forecast days, in training and in forecasts: none, observed (the "
        "default where task.known_future names variables), degraded (observed weather with the errors of `degrade`), "
        "or an archive of weather forecasts, relative to the data folder",
    )
    baselines: tuple[str, ...] = Field(
        (), description="regressions on the inputs of the runs as further baselines: linear regression, boosted trees"
    )

    @field_validator("baselines")
    @classmethod
    def _can_be_asked_for(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in REGRESSIONS:
                raise ValueError(f"no baseline {name} to ask for: {nearest(name, REGRESSIONS)}")
        return value

    @field_validator("runs")
    @classmethod
    def _name_folders(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9]([\w.=,+-]*[\w=,+-])?", name, re.ASCII):
                raise ValueError(f"the run {name!r} cannot name a folder: use letters, digits and _ . = , + -")
        return value

    @model_validator(mode="after")
    def _weather_is_of_runs(self) -> Self:
        for name in self.weather:
            if name not in (*self.models, *self.runs):
                raise ValueError(f"weather: there is no run {name}: {nearest(name, (*self.models, *self.runs))}")
        return self


class Quick(BaseModel):
    """What a study is cut down to by `--quick`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seeds: int = Field(2, ge=1, le=1024)
    config: dict[str, Any] = Field({}, description="config keys, over those of every run")


class ProcessModel(BaseModel):
    """What networks are pretrained on: a cube of the output of a process model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(description="source for `prepare`")
    options: dict[str, Any] = Field({}, description="options for `prepare`")
    of_cube: bool = Field(False, description="the source reads the cube of the study; otherwise it reads nothing")


class Study(Design):
    """A part of the paper, on any cube: which runs, compared with which, shown how. See `reproduce`."""

    title: str = Field(description="heading in the report")
    show: Literal["table", "zones", "consistency", "series", "readings", "routes"] = Field(description="kind of result")
    reference: str = Field("LSTM", description="reference run of the comparisons")
    placebos: tuple[str, ...] = Field(
        (),
        description="runs that are also trained with the placebo of their water balance: water.placebo=observed, with "
        "loss.amounts coin_toss",
    )
    process_models: dict[str, ProcessModel] = Field(
        {}, description="name -> the process model that runs can be pretrained on"
    )
    pretrained: dict[str, str] = Field({}, description="name of a run -> the process model that it is pretrained on")
    data: dict[str, dict[str, Any]] = Field(
        {},
        description="name of an amount of training data -> its config keys: every run is trained with each amount, and "
        "compared with the reference of the same",
    )
    quick: Quick = Quick()

    @model_validator(mode="after")
    def _is_pretrained_on_what_there_is(self) -> Self:
        for name, model in self.pretrained.items():
            if name not in self.runs:
                raise ValueError(f"pretrained: there is no run {name}: {nearest(name, self.runs)}")
            if model not in self.process_models:
                raise ValueError(f"pretrained: no process model {model}: {nearest(model, self.process_models)}")
        if (self.show == "routes") != bool(self.data):
            raise ValueError("data: name amounts of training data for show: routes, and for no other")
        for name, keys in self.data.items():
            if {*keys} - {"split"} or "test" in keys.get("split", {}):
                raise ValueError(f"data: {name} may set keys of split other than split.test alone: remove the others")
        return self

    @model_validator(mode="after")
    def _has_its_reference(self) -> Self:
        if self.models:
            raise ValueError("models: name the runs of a study under runs")
        if self.reference not in self.runs:
            raise ValueError(f"reference: there is no run {self.reference}: {nearest(self.reference, self.runs)}")
        for name in BASELINES:
            if name in self.runs:
                raise ValueError(f"runs: {name} is the name of a baseline: rename the run")
        for name in self.placebos:
            if name not in self.runs:
                raise ValueError(f"placebos: there is no run {name}: {nearest(name, self.runs)}")
        return self

    @property
    def placebo_of(self) -> dict[str, str]:
        """Name of a run -> that of its placebo."""
        return {name: f"Placebo of {name}" for name in self.runs if name in self.placebos}

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """The runs, each followed by its placebo, if it has one."""
        rows: dict[str, dict[str, Any]] = {}
        for name, keys in self.runs.items():
            rows[name] = keys
            if name in self.placebo_of:
                kind = "coin_toss" if keys.get("loss", {}).get("amounts") else "observed"
                rows[self.placebo_of[name]] = merged(keys, {"water": {"placebo": kind}})
        return rows


def builtin_experiment(name: str) -> Experiment:
    """Read ``experiments/NAME.yaml`` of the package."""
    return read_experiment(_HERE / f"{name}.yaml", Experiment)


def load_experiment(name: str | Path) -> Experiment:
    """Read an experiment.

    Parameters
    ----------
    name
        Name of a built-in one, or a YAML file.

    Raises
    ------
    SoilcastError
        There is none of this name, or its file has an unknown key or a value that does not fit.
    """
    built_in = sorted(file.stem for file in _HERE.glob("*.yaml"))
    if str(name) in built_in:
        return builtin_experiment(str(name))
    if not Path(name).is_file():
        raise SoilcastError(f"{name}: neither a built-in experiment nor a file: {nearest(str(name), built_in)}")
    return read_experiment(Path(name), Experiment)


def plan_runs(experiment: Experiment, settings: Sequence[str] = ()) -> dict[str, Config]:
    """Name the runs of an experiment, and make the config of each.

    Parameters
    ----------
    settings
        ``key=value`` settings over those of the experiment, for all runs.

    Raises
    ------
    SoilcastError
        A key or a value of a config that does not fit, with the run that it is of.
    """
    runs: dict[str, dict[str, Any]] = {name: {"model": name} for name in experiment.models}
    runs |= {name: {"label": name, **keys} for name, keys in experiment.runs.items()}
    plans = {}
    for name, keys in runs.items():
        try:
            config = load_config(settings=settings, base=merged(experiment.config, keys))
        except SoilcastError as error:
            raise SoilcastError(f"run {name}: {error}") from error
        for seed in range(experiment.seeds):
            end = f"-s{config.train.seed + seed}" if experiment.seeds > 1 else ""
            train = config.train.model_copy(update={"seed": config.train.seed + seed})
            plans[name + end] = config.model_copy(update={"train": train, "label": config.label + end})
    return plans


def weather_of_runs(experiment: Experiment, plans: Mapping[str, Config]) -> dict[str, str]:
    """Give the weather of the forecast days of each run that `plan_runs` named, or that was named after each of these.

    Raises
    ------
    SoilcastError
        A run knows no weather of the forecast days that it is given, or is given none.
    """
    names = [*experiment.models, *experiment.runs]
    weather = {}
    for number, (name, config) in enumerate(plans.items()):
        ahead = config.task.known_future
        word = experiment.weather.get(names[number * len(names) // len(plans)], OBSERVED if ahead else NO_WEATHER)
        if bool(ahead) == (word == NO_WEATHER):
            known = ", ".join(ahead) or "nothing"
            raise SoilcastError(
                f"run {name}: weather is {word}, but task.known_future names {known}: change one of them"
            )
        weather[name] = word
    return weather


def load_study(name: str | Path) -> Study:
    """Read a study.

    Parameters
    ----------
    name
        Name of one of `STUDIES`, or a YAML file.

    Raises
    ------
    SoilcastError
        There is none of this name, or its file has an unknown key or a value that does not fit.
    """
    file = _HERE / "paper" / f"{name}.yaml" if str(name) in STUDIES else Path(name)
    if not file.is_file():
        raise SoilcastError(f"{name}: neither a part of the paper nor a file: {nearest(str(name), (*STUDIES, 'all'))}")
    return validate(Study, read_yaml(file), str(file))


def read_experiment(file: Path, kind: type[Kind]) -> Kind:
    """Read a file with ``options`` for `prepare`, of which ``mapping`` is relative to the file.

    Raises
    ------
    SoilcastError
        There is no such file, or it has an unknown key or a value that does not fit.
    """
    experiment = validate(kind, read_yaml(file), str(file))
    options = dict(getattr(experiment, "options", {}))
    if "mapping" in options:
        options["mapping"] = (file.parent / str(options["mapping"])).resolve()
    return experiment.model_copy(update={"options": options})
