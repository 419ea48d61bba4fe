"""The configuration of a run: every key, its default (the paper's, see docs/method.md) and its meaning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from soilcast.cube import PAPER_DYNAMIC, PAPER_STATIC, VARIABLES, days_of
from soilcast.errors import SoilcastError
from soilcast.models import MODELS
from soilcast.schema import dotted_keys, nearest, parse_yaml, read_yaml, validate
from soilcast.water.config import WaterConfig

Layer = Literal["swvl1", "swvl2", "swvl3", "swvl4"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) != len(names):
        raise ValueError("a variable is named twice")
    return names


class InputsConfig(_Section):
    """What the network sees and what it forecasts."""

    target: Layer = Field("swvl1", description="soil layer to forecast")
    dynamic: tuple[str, ...] = Field(PAPER_DYNAMIC, description="dynamic inputs, names of the cube")
    static: tuple[str, ...] = Field(PAPER_STATIC, description="static inputs, names of the cube; may be empty: []")
    sequence_length: int = Field(7, ge=1, le=3650, description="days that the network sees before the forecast [d]")
    lags: tuple[Layer, ...] = Field(
        (), description="layers whose observed soil moisture the network sees; outlooks only"
    )
    latency_days: int = Field(0, ge=0, le=60, description="so old is the newest soil moisture of `lags` [d]")
    fill_days: int = Field(
        0,
        ge=0,
        le=60,
        description="a missing newest soil moisture is replaced by one so much older at most [d]; 0: refused",
    )
    known_future: tuple[str, ...] = Field(
        (), description="dynamic inputs that are known for the days ahead too: a weather forecast; outlooks only"
    )
    calendar: bool = Field(False, description="let the network see the day of the year, which is known ahead")

    @field_validator("dynamic", "static")
    @classmethod
    def _in_the_contract(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for name in value:
            if name not in VARIABLES:
                raise ValueError(f"{name} is no variable of a cube: {nearest(name, VARIABLES)}")
            kind = "static" if VARIABLES[name].is_static else "dynamic"
            if kind != info.field_name:
                raise ValueError(f"{name} is {kind}: name it in inputs.{kind}")
        if not value and info.field_name == "dynamic":
            raise ValueError("name at least one: without weather there is nothing to forecast from")
        return _once(value)

    @field_validator("lags", "known_future")
    @classmethod
    def _are_named_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _once(value)

    @model_validator(mode="after")
    def _known_future_is_seen(self) -> Self:
        for name in self.known_future:
            if name not in self.dynamic:
                raise ValueError(f"known_future names {name}, which is not among inputs.dynamic: name it there too")
            if name.startswith("swvl"):
                raise ValueError(f"known_future names {name}: the soil moisture of days ahead is what is forecast")
        if self.lags and self.latency_days >= self.sequence_length:
            raise ValueError(
                f"latency_days {self.latency_days} leaves none of the {self.sequence_length} days of sequence_length "
                "in which soil moisture is known: set a longer sequence_length"
            )
        return self


class OutlookConfig(_Section):
    """Forecasts of several days ahead. With ``lead_days`` 0 there are none: the paper's design, the next day alone."""

    lead_days: int = Field(0, ge=0, le=60, description="days ahead; 0: the paper's design, the next day from weather")
    layers: tuple[Layer, ...] = Field((), description="layers to forecast together; by default inputs.target alone")
    target: Literal["level", "change"] = Field(
        "change", description="forecast soil moisture itself, or its change from the newest that is known"
    )
    path: Literal["direct", "rollout"] = Field(
        "direct", description="all days at once, or day by day with each forecast as the next day's soil moisture"
    )
    first_day_leads: bool = Field(
        False, description="the first day ahead alone shapes what the network remembers; the others stand on it"
    )
    head: Literal["free", "bucket"] = Field(
        "free", description="bucket: no more water appears than it rains, and soil moisture stays within its bounds"
    )
    distribution: Literal["point", "quantiles", "cmal"] = Field(
        "point", description="what the network says of its error; intervals of all are calibrated on the validation"
    )
    levels: tuple[float, ...] = Field(
        (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95), description="quantiles in the forecast file; empty: none"
    )
    dropout_draws: int = Field(0, ge=0, le=1000, description="forecast so often with dropout, and pool; 0: without")
    far: float = Field(
        0.0, ge=0.0, le=10.0, description="power of 1 / k by which errors of the day k ahead count in training"
    )
    hidden_lags: float = Field(
        0.0, ge=0.0, lt=1.0, description="share of soil moisture hidden in training, so that gaps are learnt around"
    )
    bounds: float = Field(0.0, ge=0.0, le=1e6, description="weight of forecasts beyond the bounds 0 and porosity")
    rain: float = Field(0.0, ge=0.0, le=1e6, description="weight of forecasts that fall with more rain")

    @field_validator("layers")
    @classmethod
    def _are_named_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _once(value)

    @field_validator("levels")
    @classmethod
    def _are_levels(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < level < 1 for level in value) or list(value) != sorted(set(value)):
            raise ValueError("levels lie between 0 and 1, ascending")
        return value


class NetworkConfig(_Section):
    """The size of the network."""

    hidden_size: int = Field(128, ge=1, le=8192, description="hidden units")
    dropout: float = Field(0.15, ge=0.0, lt=1.0, description="share of hidden units dropped before the head")


class NormaliseConfig(_Section):
    """How inputs and target are scaled; the statistics come from the training days alone."""

    scope: Literal["per_cell", "global"] = Field(
        "per_cell", description="statistics of each cell or of all cells; static inputs always of all cells"
    )
    method: Literal["min_max", "z_score"] = Field("min_max", description="to 0 .. 1, or to mean 0 and deviation 1")


class SplitConfig(_Section):
    """Which days are for what: training, then validation, then test."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    test: str | None = Field(None, description="test period (2020, 2020-01-01:2020-12-31); the last year of the cube")
    development: str | None = Field(None, description="training and validation period; every day before the test")
    validation_share: float = Field(0.25, gt=0.0, lt=1.0, description="last share of the development period")
    cells_share: float = Field(1.0, gt=0.0, le=1.0, description="share of the cells to learn from, chosen at random")
    without_climate: Literal["A", "B", "C", "D", "E"] | None = Field(
        None, description="main climate of Koeppen whose cells are not learnt from"
    )

    @field_validator("test", "development")
    @classmethod
    def _is_a_period(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                days_of(value)
            except SoilcastError as error:
                raise ValueError(str(error)) from error
        return value


class TrainConfig(_Section):
    """The loop."""

    epochs: int = Field(1000, ge=1, description="largest number of epochs")
    batch_size: int = Field(64, ge=1, description="cell-days a batch")
    batches_per_epoch: int = Field(300, ge=1, description="batches an epoch")
    learning_rate: float = Field(0.001, gt=0.0, allow_inf_nan=False, description="learning rate of Adam")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="the learning rate over the epochs: the same, or falling to 0 like half a cosine"
    )
    validate_every: int = Field(20, ge=1, description="epochs between validations")
    patience: int = Field(10, ge=1, description="validations without a lower loss before training stops")
    validation_samples: int = Field(
        100_000, ge=0, description="cell-days of the fixed, seeded validation sample; 0, or more than there are: all"
    )
    validation_dropout: bool = Field(False, description="keep dropout while validating, as the authors' code does")
    sampling: Literal["cell_days", "shared_day"] = Field(
        "cell_days", description="cell_days: independent draws; shared_day: one day a batch, as in the authors' code"
    )
    seed: int = Field(0, ge=0, description="seed of weights, dropout and draws")
    freeze: tuple[Literal["lstm", "head"], ...] = Field(
        (), description="parts of the network that keep the weights they begin with; for trainings with --init"
    )
    ensemble: int = Field(1, ge=1, le=1024, description="members trained side by side, of seeds seed, seed + 1, ...")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="matrix products; bfloat16 is mixed precision: weights and sums stay float32"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a GPU if torch finds one, else the CPU")
    threads: int = Field(0, ge=0, description="threads of torch; 0: the cores at hand, at most 4")


class LossConfig(_Section):
    """Eq. 8."""

    weights: tuple[float, float] | None = Field(
        None, description="l1, l2 of Eq. 8; the best of the paper's Table 2: 0.5,0.5 (phy-lstm), 0.1,0.9 (phys-lstm)"
    )
    space: Literal["normalised", "physical"] = Field(
        "normalised", description="errors of normalised soil moisture, or in m3 m-3"
    )

    @field_validator("weights")
    @classmethod
    def _can_be_minimised(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not (0 < value[0] < math.inf and 0 <= value[1] < math.inf):
            raise ValueError("l1 must be above 0 and l2 not below 0, and both finite")
        return value


class Config(_Section):
    """Everything that a run depends on beside the cube."""

    model: str = Field("lstm", description="one of lstm, phy-lstm, phys-lstm")
    inputs: InputsConfig = InputsConfig()
    outlook: OutlookConfig = OutlookConfig()
    network: NetworkConfig = NetworkConfig()
    normalise: NormaliseConfig = NormaliseConfig()
    split: SplitConfig = SplitConfig()
    train: TrainConfig = TrainConfig()
    loss: LossConfig = LossConfig()
    water: WaterConfig = WaterConfig()

    @field_validator("model")
    @classmethod
    def _is_registered(cls, value: str) -> str:
        if value not in MODELS:
            raise ValueError(f"there is no such model: {nearest(value, MODELS)}")
        return value

    @model_validator(mode="after")
    def _target_is_no_deep_layer(self) -> Self:
        layers, target = self.water.deep_layers, self.inputs.target
        if MODELS[self.model].form == "multi" and target in layers:
            others = ",".join(layer for layer in layers if layer != target)
            remedy = f"set water.deep_layers=[{others}]" if others else "use model phy-lstm"
            raise ValueError(f"inputs.target {target} is among water.deep_layers, which Eq. 11 takes from it: {remedy}")
        return self

    @model_validator(mode="after")
    def _outlook_is_possible(self) -> Self:
        inputs, outlook = self.inputs, self.outlook
        if not outlook.lead_days:
            for name in ("lags", "known_future", "calendar"):
                if getattr(inputs, name):
                    raise ValueError(f"inputs.{name} is for outlooks: set outlook.lead_days to 1 or more")
            for name, value in OutlookConfig():
                if getattr(outlook, name) != value:
                    raise ValueError(f"outlook.{name} is for outlooks: set outlook.lead_days to 1 or more")
            return self
        unknown = [layer for layer in self.layers if layer not in inputs.lags]
        if unknown and (outlook.target == "change" or outlook.path == "rollout" or outlook.head == "bucket"):
            raise ValueError(
                f"{', '.join(unknown)} is forecast from its own newest value, which is not among inputs.lags: name it "
                "there, or set outlook.target=level with outlook.path=direct and outlook.head=free"
            )
        if (outlook.head == "bucket" or outlook.rain) and "tp" not in inputs.known_future:
            raise ValueError("outlook.head=bucket and outlook.rain need the rain ahead: name tp in inputs.known_future")
        if outlook.path == "rollout" and (outlook.head == "bucket" or outlook.first_day_leads):
            raise ValueError("outlook.path=rollout has one free head for all days: leave head and first_day_leads out")
        if outlook.head == "bucket" and (outlook.rain or outlook.distribution == "cmal"):
            raise ValueError(
                "outlook.head=bucket cannot fall with more rain of a day, and cmal would move its water: leave "
                "outlook.rain out, and take another outlook.distribution"
            )
        if outlook.distribution == "quantiles" and not outlook.levels:
            raise ValueError("outlook.distribution=quantiles needs outlook.levels")
        seen = [name for name in inputs.dynamic if name.startswith("swvl")]
        if seen:
            raise ValueError(f"inputs.dynamic names {', '.join(seen)}: outlooks see soil moisture by inputs.lags")
        if self.loss.space != "normalised":
            raise ValueError("loss.space is of the paper's design: outlooks count errors in units of persistence")
        if MODELS[self.model].form and inputs.target not in self.layers and len(self.layers) == 1:
            raise ValueError(
                f"model {self.model} guides inputs.target {inputs.target}, which is not among outlook.layers: set "
                f"inputs.target={self.layers[0]}"
            )
        if outlook.head == "bucket" and outlook.target == "level":
            raise ValueError("outlook.head=bucket fills and empties a store day by day: set outlook.target=change")
        return self

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers to forecast: those of the outlook, or the one target."""
        return self.outlook.layers or (self.inputs.target,)

    @property
    def observed_layers(self) -> tuple[str, ...]:
        """All layers whose soil moisture is read: first those that are forecast, then the other lags."""
        return tuple(dict.fromkeys((*self.layers, *self.inputs.lags)))

    @property
    def weights(self) -> tuple[float, float]:
        """(l1, l2) of Eq. 8: the config's, or the model's own."""
        return self.loss.weights or MODELS[self.model].weights


def load_config(
    file: Path | None = None,
    settings: Iterable[str] = (),
    *,
    model: str | None = None,
    base: Mapping[str, Any] | None = None,
) -> Config:
    """Make a config of a YAML file and of ``key=value`` settings, the later winning.

    Parameters
    ----------
    file
        YAML with any of the keys.
    settings
        ``train.epochs=200`` and the like; the value is YAML.
    model
        Name of the model; wins over the file.
    base
        Content under the file, such as a built-in experiment.

    Raises
    ------
    SoilcastError
        An unknown key (the nearest valid one is named), or a value that does not fit.
    """
    content = merged(dict(base or {}), read_yaml(file) if file else {})
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise SoilcastError(f"--set {setting}: write key=value")
        if key not in dotted_keys(Config):
            raise SoilcastError(f"--set {setting}: unknown key {key}: {nearest(key, dotted_keys(Config))}")
        *sections, name = key.split(".")
        content = merged(content, _nested(sections, {name: parse_yaml(value, f"--set {setting}")}))
    if model is not None:
        content["model"] = model
    return validate(Config, content, str(file) if file else "config")


def describe_keys(section: type[BaseModel] = Config, prefix: str = "") -> list[tuple[str, str, str]]:
    """Every key of the config with its default and its meaning, for ``train --help`` and the docs."""
    rows: list[tuple[str, str, str]] = []
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            rows += describe_keys(inner, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, _written(field.default), field.description or ""))
    return rows


def _written(value: Any) -> str:
    if value is None:
        return "by rule"
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, tuple) else str(value)


def merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay keys of a config over others, section by section."""
    result = dict(under)
    for key, value in over.items():
        inner = result.get(key)
        if isinstance(inner, dict) and isinstance(value, Mapping):
            result[key] = merged(inner, value)
        elif inner is None or not isinstance(value, Mapping):
            result[key] = value
        # Else the file has a value where keys belong, which is kept for `validate` to refuse.
    return result


def _nested(sections: list[str], leaf: dict[str, Any]) -> dict[str, Any]:
    for section in reversed(sections):
        leaf = {section: leaf}
    return leaf
