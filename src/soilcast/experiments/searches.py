"""What is searched: the YAML file of a search, checked before anything is trained."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from soilcast.errors import SoilcastError
from soilcast.experiments import read_experiment
from soilcast.schema import dotted_keys, flatten, nearest
from soilcast.training.config import FORMER_KEYS, PRESETS, Config, load_config, merged

Parameters = Mapping[str, Any]
"""Config key -> its value in a trial."""

_FIXED: dict[str, str] = {
    "split.": "the validation days would not be the same",
    "task.layers": "trials would forecast different things",
    "task.lead_days": "trials would forecast different things",
    "train.validation_samples": "the validation days would not be the same",
    "train.refit": "it trains on the validation days",
    "train.seed": "it is set by seeds",
    "label": "it changes nothing but a name",
}
"""Keys that cannot be searched, or beginnings of them -> why."""

_OTHER_LOSS = ("loss.", "normalise.", "water.", "model", "train.monitor", "train.validation_dropout", "task.quantiles")
"""Keys, or beginnings of them, by which the validation loss becomes another quantity."""

_OF_A_CLASS = "loss.classes."
"""Begins the key of the guidance of one class, whose name ends it."""

_RANGE = ("low", "high", "log", "step")


class Range(BaseModel):
    """Numbers from ``low`` to ``high``, both included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float = Field(allow_inf_nan=False, description="lowest value")
    high: float = Field(allow_inf_nan=False, description="highest value")
    log: bool = Field(False, description="drawn evenly in its logarithm")
    step: float | None = Field(None, gt=0.0, allow_inf_nan=False, description="distance between values")
    whole: bool = Field(False, description="whole numbers: as the config key wants them", exclude=True)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs low above 0, and no step")
        steps = (self.high - self.low) / (self.step or 1.0)
        if self.step is not None and not math.isclose(steps, round(steps), abs_tol=1e-6):
            raise ValueError("step must divide the distance from low to high")
        return self

    @property
    def count(self) -> float:
        """Number of different values; infinite of continuous ones."""
        step = self.step or (1.0 if self.whole else None)
        return math.inf if step is None else round((self.high - self.low) / step) + 1


class Search(BaseModel):
    """A search of hyper-parameters: the YAML file of `search`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    about: str = Field("", description="description of the data in a sentence: observed, modelled or synthetic")
    source: str | None = Field(None, description="source for `prepare`; none: the cube is given by --cube")
    paths: tuple[str, ...] = Field((), description="paths for `prepare`, relative to the data folder")
    options: dict[str, Any] = Field({}, description="options for `prepare`; `mapping` is relative to this file")
    weather: str | None = Field(
        None,
        description="archive of weather forecasts, relative to the data folder; none: observed weather of the "
        "forecast days, where task.known_future names variables",
    )
    config: dict[str, Any] = Field({}, description="config keys of all trials, over the defaults")
    search: dict[str, Range | tuple[Any, ...]] = Field(
        description="config key -> {low, high}, with log: true or a step, or a list of values"
    )
    trials: int = Field(20, ge=1, le=100_000, description="number of trials")
    seeds: int = Field(1, ge=1, le=1024, description="runs of each trial, whose mean counts; train.seed and the next")
    objective: Literal["ratio", "validation_loss"] = Field(
        "ratio",
        description="what is to be small, on the validation days. ratio: RMSE relative to persistence, median over the "
        "cells, mean over leads and layers; validation_loss: what early stopping watches",
    )
    pruning: Literal["median", "none"] = Field(
        "none",
        description="median: a training ends at a validation where its lowest loss is above the median of completed "
        "trials at that epoch",
    )
    warm_up_trials: int = Field(5, ge=1, description="completed trials before any is pruned")
    warm_up_epochs: int = Field(0, ge=0, description="epochs of a training before it can be pruned")
    batch: int = Field(4, ge=1, le=1024, description="trials that are chosen, and can be trained, together")
    sampler_seed: int = Field(0, ge=0, description="random seed of the choice of values")

    @model_validator(mode="before")
    @classmethod
    def _fit_their_keys(cls, content: Any) -> Any:
        # Of the whole, and not of the field, so that a fault does not recite all that is searched.
        if not isinstance(content, Mapping) or "search" not in content:
            return content
        if not isinstance(content["search"], Mapping) or not content["search"]:
            raise ValueError("search: name at least one config key, with {low, high} or a list of values")
        spaces = {str(key): _space(str(key), given) for key, given in content["search"].items()}
        return {**content, "search": spaces}

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        twice = [key for key in self.search if key in flatten(self.config)]
        if twice:
            raise ValueError(f"{twice[0]} is under search and under config: remove one of them")
        other = next((key for key in self.search if _is_of(key, _OTHER_LOSS)), None)
        if other is not None and self.objective == "validation_loss":
            raise ValueError(
                f"objective: validation_loss cannot compare trials that differ in {other}, whose losses are different "
                "quantities: use objective: ratio"
            )
        if other is not None and self.pruning == "median":
            raise ValueError(
                f"pruning: median cannot compare the losses of trials that differ in {other}, which are different "
                "quantities: use pruning: none"
            )
        if self.trials > self.combinations:
            raise ValueError(
                f"trials: {self.trials} are asked for, but search has {self.combinations:g} combinations: set "
                f"trials: {self.combinations:g}, or widen search"
            )
        return self

    @property
    def combinations(self) -> float:
        """Number of different trials; infinite with a continuous range."""
        return math.prod(one.count if isinstance(one, Range) else len(one) for one in self.search.values())

    @property
    def identity(self) -> dict[str, Any]:
        """All that the trials depend on beside the data: more of them can be asked for later."""
        kept = self.model_dump(mode="json", exclude={"about", "trials"})
        return dict(json.loads(json.dumps(kept, default=str)))


def load_search(file: str | Path) -> Search:
    """Read the YAML file of a search.

    Raises
    ------
    SoilcastError
        An unknown key, a value that does not fit, or a search that cannot be.
    """
    return read_experiment(Path(file), Search)


def config_of(search: Search, parameters: Parameters, settings: Sequence[str] = ()) -> Config:
    """Make the config of a trial, as the best one is written.

    Parameters
    ----------
    settings
        ``key=value`` settings of all trials.

    Raises
    ------
    SoilcastError
        Values that do not go together.
    """
    return load_config(settings=settings, base=merged(search.config, nested(parameters)))


def refuse_impossible(search: Search, settings: Sequence[str]) -> None:
    """Refuse what no trial could be trained with, or what would make trials incomparable.

    Raises
    ------
    SoilcastError
        A setting of a key that is searched, a config that does not fit, presets that forecast different things.
    """
    for setting in settings:
        if (key := setting.partition("=")[0]) in search.search:
            raise SoilcastError(f"--set {setting}: {key} is searched: leave it out, or take it from under search")
    first = {key: one.low if isinstance(one, Range) else one[0] for key, one in search.search.items()}
    typed = {key: _whole(search.search[key], value) for key, value in first.items()}
    fixed = _fixed_of(config_of(search, typed, settings))
    for model in search.search.get("model", ()):
        other = _fixed_of(config_of(search, {**typed, "model": model}, settings))
        if differing := next((key for key in fixed if fixed[key] != other[key]), None):
            raise SoilcastError(
                f"search: model {model} has another {differing} than {typed['model']}, and {_FIXED[differing]}: set "
                f"{differing} under config"
            )


def nested(parameters: Parameters) -> dict[str, Any]:
    """Nest dotted keys to sections."""
    content: dict[str, Any] = {}
    for key, value in parameters.items():
        *sections, name = key.split(".")
        inner: Any = {name: value}
        for section in reversed(sections):
            inner = {section: inner}
        content = merged(content, inner)
    return content


def space_index(space: Sequence[Any], value: Any) -> int:
    """Position of a value in a list of values, in which 1 and true are two."""
    return [json.dumps(one) for one in space].index(json.dumps(value))


def _is_of(key: str, some: Sequence[str]) -> bool:
    return any(key == one or (one.endswith(".") and key.startswith(one)) for one in some)


def _whole(space: Range | tuple[Any, ...], value: Any) -> Any:
    return int(value) if isinstance(space, Range) and space.whole else value


def _fixed_of(config: Config) -> dict[str, Any]:
    return {"task.layers": config.task.layers, "task.lead_days": config.task.lead_days}


def _space(key: str, given: Any) -> Range | tuple[Any, ...]:
    """Check what a key is searched over.

    Raises
    ------
    ValueError
        The key or a value does not fit.
    """
    if key in FORMER_KEYS:
        raise ValueError(f"search: {key} was renamed to {FORMER_KEYS[key]}: change the key")
    if key not in dotted_keys(Config) and not key.startswith(_OF_A_CLASS):
        raise ValueError(f"search: unknown config key {key}: {nearest(key, dotted_keys(Config))}")
    if (why := next((why for one, why in _FIXED.items() if _is_of(key, (one,))), None)) is not None:
        raise ValueError(f"search: {key} cannot be searched ({why}): set it under config")
    if isinstance(given, Mapping):
        return _range(key, given)
    if not isinstance(given, list | tuple):
        raise ValueError(f"search: {key}: write {{low: ..., high: ...}}, or a list of values")
    if len({json.dumps(value, sort_keys=True, default=str) for value in given}) < max(2, len(given)):
        raise ValueError(f"search: {key}: name at least two values, each once")
    for value in given:
        _refuse_value(key, value)
    return tuple(given)


def _range(key: str, given: Mapping[str, Any]) -> Range:
    kind = None if key.startswith(_OF_A_CLASS) else _annotation(key)
    if kind not in (int, float):
        raise ValueError(f"search: {key} is no number: name its values in a list")
    if (other := next((str(name) for name in given if name not in _RANGE), None)) is not None:
        raise ValueError(f"search: {key}: unknown key {other}: {nearest(other, _RANGE)}")
    try:
        made = Range(**given, whole=kind is int)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join([key, *map(str, fault["loc"])])
        raise ValueError(f"search: {where}: {fault['msg'].removeprefix('Value error, ')}") from None
    if made.whole and any(value is not None and value != int(value) for value in (made.low, made.high, made.step)):
        raise ValueError(f"search: {key} is a whole number: give whole low, high and step")
    for value in (made.low, made.high):
        _refuse_value(key, _whole(made, value))
    return made


def _annotation(key: str) -> Any:
    section, _, name = key.rpartition(".")
    model: Any = Config.model_fields[section].annotation if section else Config
    return model.model_fields[name].annotation


def _refuse_value(key: str, value: Any) -> None:
    """Refuse a value that the key can never have, whatever the others are."""
    section, _, name = key.rpartition(".")
    given = value
    if key.startswith(_OF_A_CLASS):
        section, name, value = "loss", "classes", {name: value}
    if key == "model":
        if value not in PRESETS:
            raise ValueError(f"search: model {value}: no such model: {nearest(str(value), PRESETS)}")
        return
    model: Any = Config.model_fields[section].annotation
    try:
        model.model_validate({name: value})
    except ValidationError as error:
        for fault in error.errors():
            if fault["loc"][:1] == (name,):
                message = fault["msg"].removeprefix("Value error, ")
                raise ValueError(f"search: {key}: {message}, but it is {given!r}") from None
