"""The configuration of a run: every key, its default (the paper's, see docs/method.md) and its meaning."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from soilcast.cube.calendar import days_of
from soilcast.cube.contract import ERA5_LAND_LAYERS, VARIABLES
from soilcast.errors import SoilcastError
from soilcast.models.design import HEADS, NETWORKS, needs_of
from soilcast.plugins import Registry
from soilcast.schema import dotted_keys, flatten, nearest, parse_yaml, read_yaml, validate
from soilcast.task import Task
from soilcast.water.config import Form, WaterConfig

if TYPE_CHECKING:
    from soilcast.training.losses import DataLoss

_FILES = sorted(resources.files("soilcast.training").joinpath("presets").iterdir(), key=lambda one: one.name)

PRESETS: Registry[Mapping[str, Any]] = Registry(
    "model",
    {file.name.removesuffix(".yaml"): parse_yaml(file.read_text(encoding="utf-8"), file.name) for file in _FILES},
)
"""Every preset by the name that ``--model`` takes: keys of the config that make a model, as YAML in ``presets/``."""

LOSSES: Registry[Callable[[tuple[float, ...]], DataLoss]] = Registry(
    "loss",
    {
        "rmse": "soilcast.training.losses:build_rmse",
        "quantiles": "soilcast.training.losses:build_quantiles",
        "cmal": "soilcast.training.losses:build_cmal",
    },
)
"""Every loss of the data by name: built from the quantiles that forecasts carry."""

FORMER_KEYS: dict[str, str] = {
    "inputs.target": "task.layers",
    "inputs.dynamic": "task.dynamic",
    "inputs.static": "task.static",
    "inputs.sequence_length": "task.window",
    "inputs.lags": "task.lags",
    "inputs.latency_days": "task.latency",
    "inputs.fill_days": "task.fill_days",
    "inputs.known_future": "task.known_future",
    "inputs.calendar": "task.calendar",
    "outlook.lead_days": "task.lead_days",
    "outlook.layers": "task.layers",
    "outlook.levels": "task.quantiles",
    "outlook.target": "head.predict (level, change)",
    "outlook.path": "head.name (direct, rollout)",
    "outlook.head": "head.name (direct, bucket)",
    "outlook.first_day_leads": "head.lead1_only",
    "outlook.distribution": "loss.name (rmse, quantiles, cmal)",
    "outlook.dropout_draws": "network.mc_dropout",
    "outlook.hidden_lags": "network.masked_lags",
    "outlook.far": "loss.lead_decay",
    "outlook.bounds": "loss.bounds",
    "outlook.rain": "loss.rain",
}
"""Keys of soilcast 0.1 -> what they are called now."""


def unset_word(field: FieldInfo) -> str | None:
    """The word that stands for "not set" where None is allowed: auto or none."""
    extra = field.json_schema_extra
    return str(extra["unset"]) if isinstance(extra, dict) and "unset" in extra else None


_PLAIN_HEADS = ("direct", "rollout")
"""Heads without any store: what they are is known without their classes, for which torch would be imported."""

_OF_A_CLASS = ("loss.balance", "loss.weights")
_CLIMATES = ("A", "B", "C", "D", "E")

_OR_PLUGIN = " (your own: --plugin FILE.py)"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkConfig(_Section):
    """Trunk of the network and its dropout."""

    name: str = Field(
        "lstm",
        description="architecture of the trunk. lstm: Eq. 1-6; gru: gated recurrent unit; ea_lstm: entity-aware LSTM, "
        "whose input gate opens by the static inputs alone (Kratzert et al. 2019); mc_lstm: mass-conserving LSTM of "
        "rain (Hoedt et al. 2021); transformer: encoder with causal attention; cnn, conv_lstm: convolutions over the "
        "cells around each cell (task.neighbourhood)",
    )
    hidden_size: int = Field(128, ge=1, le=8192, description="number of hidden units")
    dropout: float = Field(0.15, ge=0.0, lt=1.0, description="dropout rate of the hidden units before the head")
    mc_dropout: int = Field(
        0, ge=0, le=1000, description="number of Monte Carlo dropout samples per forecast; 0: no dropout in forecasts"
    )
    masked_lags: float = Field(
        0.0, ge=0.0, lt=1.0, description="fraction of lagged inputs masked at random in training"
    )

    @field_validator("name")
    @classmethod
    def _is_registered(cls, value: str) -> str:
        if value not in NETWORKS:
            raise ValueError(f"no such network: {nearest(value, NETWORKS)}{_OR_PLUGIN}")
        return value


class HeadConfig(_Section):
    """Output layer on the hidden states of the trunk."""

    name: str = Field(
        "direct",
        description="direct: all lead times at once; rollout: day by day, each forecast fed back as the soil moisture "
        "of the next day; bucket: a store limited to 0..porosity, which limits mass and does not conserve it; "
        "water_balance: stores that close their balance of rain, snow melt, evaporation and drainage; mc_lstm: "
        "mass-conserving LSTM (Hoedt et al. 2021), a cell for each soil layer",
    )
    predict: Literal["level", "change", "departure"] = Field(
        "level",
        description="level: soil moisture itself; change: its change since the newest observation; departure: its "
        "departure from the damped anomaly, a baseline that is learnt from the training days",
    )
    lead1_only: bool = Field(False, description="only lead 1 back-propagates into the trunk")

    @field_validator("name")
    @classmethod
    def _is_registered(cls, value: str) -> str:
        if value not in HEADS:
            raise ValueError(f"no such head: {nearest(value, HEADS)}{_OR_PLUGIN}")
        return value


class NormaliseConfig(_Section):
    """Scaling of inputs and target, by statistics of the training period."""

    scope: Literal["per_cell", "global"] = Field(
        "per_cell",
        description="per_cell: statistics of each cell; global: pooled over all cells, as static inputs always are",
    )
    method: Literal["min_max", "z_score"] = Field(
        "min_max", description="min_max: scaled to 0 .. 1; z_score: to mean 0 and standard deviation 1"
    )
    static: Literal["same", "min_max", "z_score"] = Field(
        "same", description="method for static inputs. same: that of normalise.method; z_score: as in the authors' code"
    )


Texts = tuple[str, ...]


class SplitConfig(_Section):
    """Training, validation and test period, and the cells to train on."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    test: Texts | None = Field(
        None,
        description="test period or periods, such as 2020, 2020-01-01:2020-12-31 or [2011,2016:2018]; auto: last year "
        "of the cube",
        json_schema_extra={"unset": "auto"},
    )
    development: Texts | None = Field(
        None,
        description="training and validation period or periods, the validation at their end; auto: all days before the "
        "test period",
        json_schema_extra={"unset": "auto"},
    )
    train: Texts | None = Field(
        None,
        description="training period or periods, in place of split.development and with split.validation; auto: of "
        "split.development",
        json_schema_extra={"unset": "auto"},
    )
    validation: Texts | None = Field(
        None,
        description="validation period or periods, with split.train; auto: of split.development",
        json_schema_extra={"unset": "auto"},
    )
    validation_share: float = Field(
        0.25, gt=0.0, lt=1.0, description="fraction of the development period, at its end, used for validation"
    )
    cells_share: float = Field(
        1.0, gt=0.0, le=1.0, description="fraction of the cells used for training, drawn at random"
    )
    without_climate: Literal["A", "B", "C", "D", "E"] | None = Field(
        None,
        description="Koeppen main climate whose cells are excluded from training",
        json_schema_extra={"unset": "none"},
    )

    @field_validator("test", "development", "train", "validation", "without_climate", mode="before")
    @classmethod
    def _is_unset(cls, value: Any, info: ValidationInfo) -> Any:
        if value == unset_word(cls.model_fields[str(info.field_name)]):
            return None
        is_one = info.field_name != "without_climate" and isinstance(value, (str, int))
        return str(value).split(",") if is_one else value

    @field_validator("test", "development", "train", "validation")
    @classmethod
    def _are_periods(cls, value: Texts | None) -> Texts | None:
        if value == ():
            raise ValueError("name at least one period")
        for period in value or ():
            try:
                days_of(period)
            except SoilcastError as error:
                raise ValueError(str(error)) from error
        return None if value is None else tuple(period.strip() for period in value)

    @field_serializer("test", "development", "train", "validation")
    def _as_written(self, value: Texts | None) -> str | list[str] | None:
        if value is None:
            return None
        return value[0] if len(value) == 1 else list(value)

    @model_validator(mode="after")
    def _is_one_split(self) -> Self:
        if (self.train is None) != (self.validation is None):
            raise ValueError("split.train and split.validation are given together: set the other too")
        if self.train is not None and self.development is not None:
            raise ValueError("split.train and split.validation stand in place of split.development: remove one of them")
        return self


class TrainConfig(_Section):
    """Optimisation, batches, early stopping, random seed and hardware."""

    epochs: int = Field(1000, ge=1, description="maximum number of epochs")
    batch_size: int = Field(64, ge=1, description="samples (cell-days) per batch")
    batches_per_epoch: int = Field(300, ge=1, description="batches per epoch")
    learning_rate: float = Field(0.001, gt=0.0, allow_inf_nan=False, description="learning rate of Adam")
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "constant",
        description="learning rate over the epochs: constant; cosine decay to 0; plateau: halved whenever half of "
        "train.patience validations in a row brought no gain",
    )
    validate_every: int = Field(20, ge=1, description="epochs between validations")
    patience: int = Field(10, ge=1, description="early stopping: validations without a lower loss before training ends")
    monitor: Literal["loss", "data_loss"] = Field(
        "loss",
        description="what is validated. loss: Eq. 8; data_loss: the data loss alone (Eq. 9), as in the authors' code",
    )
    smallest_gain: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="early stopping: smallest decrease of the validation loss that counts, as a fraction of it",
    )
    validation_samples: int = Field(
        100_000, ge=0, description="size of the validation sample (cell-days), drawn once with the seed; 0: all"
    )
    validation_dropout: bool = Field(False, description="keep dropout on in validation, as the authors' code does")
    refit: bool = Field(
        False,
        description="train anew on the training and validation days together, each member for as many epochs as were "
        "best in validation; quantiles stay calibrated by the validation errors of the first training",
    )
    sampling: Literal["cell_days", "shared_day"] = Field(
        "cell_days",
        description="cell_days: independent random cell-days; shared_day: one random day per batch, as in the authors' "
        "code",
    )
    seed: int = Field(0, ge=0, description="random seed of initial weights, dropout and sampling")
    freeze: tuple[Literal["trunk", "head"], ...] = Field(
        (), description="parts of the network whose weights stay fixed in fine-tuning (train --init)"
    )
    ensemble: int = Field(1, ge=1, le=1024, description="ensemble size; members have the seeds seed, seed + 1, ...")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="precision of matrix products; bfloat16: mixed, with float32 weights and sums"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: a CUDA GPU if available, else the CPU")
    threads: int = Field(0, ge=0, description="CPU threads; 0: the available cores, at most 4")


class LossConfig(_Section):
    """Weighted sum: l1 * data loss + l2 * water-balance penalty (Eq. 8), and further penalties."""

    name: str = Field(
        "rmse",
        description="data loss, which sets the predictive distribution. rmse (Eq. 9): point forecast; quantiles: "
        "pinball loss; cmal: likelihood of a mixture of asymmetric Laplace distributions",
    )
    balance: Literal["none", "single", "multi"] = Field(
        "none",
        description="water balance of the penalty (Eq. 14). single: W1, without deep soil water (Eq. 10); multi: W2, "
        "with it (Eq. 11)",
    )
    weights: tuple[float, float] = Field(
        (1.0, 0.0),
        description="l1, l2 of Eq. 8; best of the paper's Table 2: [0.5,0.5] (PHY-LSTM), [0.1,0.9] (PHYs-LSTM)",
    )
    by: str = Field(
        "none",
        description="class map of the cube by which the guidance differs: climate_zone (main climates A to E), or "
        "another static variable, such as landcover; none: one guidance for all cells",
    )
    classes: dict[str, dict[str, Any]] = Field(
        {},
        description="loss.balance, loss.weights and water.* of some classes of loss.by, in place of those of all, such "
        "as {B: {loss.balance: none}, D: {water.sign: inflow}}",
    )
    space: Literal["normalised", "physical", "persistence"] = Field(
        "normalised",
        description="scale of the errors. normalised: as the target is; physical: m3 m-3; persistence: divided by the "
        "RMSE of persistence of each cell, lead and layer",
    )
    amounts: float = Field(
        0.0,
        ge=0.0,
        le=1e6,
        description="weight of the penalty on the residual of the water balance: on what the forecast change of water "
        "misses W by, beyond what observed changes of the training days miss it by",
    )
    lead_decay: float = Field(0.0, ge=0.0, le=10.0, description="exponent p of the weight of lead k in the loss, k^-p")
    bounds: float = Field(
        0.0, ge=0.0, le=1e6, description="weight of the penalty on forecasts below 0 or above porosity"
    )
    rain: float = Field(
        0.0,
        ge=0.0,
        le=1e6,
        description="weight of the rain-monotonicity penalty, on forecasts that decrease with more rain",
    )

    @field_validator("name")
    @classmethod
    def _is_registered(cls, value: str) -> str:
        if value not in LOSSES:
            raise ValueError(f"no such loss: {nearest(value, LOSSES)}{_OR_PLUGIN}")
        return value

    @field_validator("classes", mode="before")
    @classmethod
    def _have_names(cls, value: Any) -> Any:
        return {str(name): one for name, one in value.items()} if isinstance(value, Mapping) else value

    @field_validator("weights")
    @classmethod
    def _can_be_minimised(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not (0 < value[0] < math.inf and 0 <= value[1] < math.inf):
            raise ValueError("l1 must be above 0, l2 at least 0, and both finite")
        return value


class Config(_Section):
    """Everything that a run depends on beside the cube."""

    model: str = Field("lstm", description="preset whose values hold for keys that are not set")
    label: str = Field(
        "LSTM",
        min_length=1,
        description="name of the run in tables and figures; with a network.name of your own by default that name",
    )
    task: Task = Task()
    network: NetworkConfig = NetworkConfig()
    head: HeadConfig = HeadConfig()
    normalise: NormaliseConfig = NormaliseConfig()
    split: SplitConfig = SplitConfig()
    train: TrainConfig = TrainConfig()
    loss: LossConfig = LossConfig()
    water: WaterConfig = WaterConfig()

    @model_validator(mode="before")
    @classmethod
    def _on_its_preset(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        for key in flatten(content):
            if key in FORMER_KEYS:
                raise ValueError(f"{key} was renamed to {FORMER_KEYS[key]}: change the key")
        name = content.get("model", "lstm")
        if name not in PRESETS:
            raise ValueError(f"model {name}: no such model: {nearest(str(name), PRESETS)}{_OR_PLUGIN}")
        result = merged(PRESETS[name], content)
        network = content.get("network")
        own = network.get("name") if isinstance(network, Mapping) else None
        usual = PRESETS[name].get("network", {}).get("name", NetworkConfig.model_fields["name"].default)
        if "label" not in content and own not in (None, usual):
            result["label"] = own  # else a network of the user's own would be called LSTM
        return result

    @field_validator("label")
    @classmethod
    def _is_printable(cls, value: str) -> str:
        if not value.isprintable() or not value.strip():
            raise ValueError("a label is one line of letters, digits and signs")
        return value

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        task, head, loss = self.task, self.head, self.loss
        layers, target = self.water.deep_layers, task.target
        if loss.balance == "multi" and target in layers:
            others = ",".join(layer for layer in layers if layer != target)
            remedy = f"set water.deep_layers=[{others}]" if others else "use loss.balance=single"
            raise ValueError(
                f"task.layers begins with {target}, which is also one of water.deep_layers (Eq. 11): {remedy}"
            )
        if loss.weights[1] and loss.balance == "none":
            raise ValueError("l2 of loss.weights is above 0, but loss.balance is none: set loss.balance, or l2=0")
        if loss.balance != "none" and not (loss.weights[1] or loss.amounts):
            raise ValueError(
                f"loss.balance={loss.balance} has no effect while l2 of loss.weights is 0: set loss.weights, such as "
                "0.5,0.5"
            )
        if loss.amounts and loss.balance == "none":
            raise ValueError("loss.amounts has no effect while loss.balance is none: set loss.balance")
        if loss.amounts and loss.by != "none":
            raise ValueError("loss.amounts is for one guidance of all cells: set loss.by=none")
        self._check_classes()
        if self.water.placebo != "none" and loss.balance == "none":
            raise ValueError("water.placebo has no effect while loss.balance is none: set loss.balance")
        if lacking := self.lacking_of_network():
            raise ValueError(lacking)
        is_store, needs_water, closes = _traits_of(head.name)
        begins = head.predict != "level" or head.name == "rollout" or is_store
        if begins and not task.sees_own_layers:
            unknown = ", ".join(layer for layer in task.layers if layer not in task.lags)
            raise ValueError(
                f"the forecast of {unknown} starts from its newest observation, but it is not in task.lags: add it "
                "there, or set head.predict=level and head.name=direct"
            )
        if (head.name == "rollout" or is_store) and len({task.latency_of(layer) for layer in task.layers}) > 1:
            raise ValueError(
                f"head.name={head.name} needs one task.latency for all task.layers: give them the same latency, or "
                "set head.name=direct"
            )
        if (needs_water or loss.rain) and "tp" not in task.known_future:
            needing = f"head.name={head.name}" if needs_water else "loss.rain"
            raise ValueError(f"{needing} needs precipitation of the forecast days: add tp to task.known_future")
        if head.name == "rollout" and head.lead1_only:
            raise ValueError("head.name=rollout has one linear layer for all leads: remove head.lead1_only")
        if is_store and (loss.rain or loss.name == "cmal"):
            raise ValueError(
                f"head.name={head.name} fills its stores with the rain itself, and does not work with loss.name=cmal: "
                "remove loss.rain, and use another loss.name"
            )
        if is_store and head.predict != "change":
            raise ValueError(f"head.name={head.name} forecasts changes of storage: set head.predict=change")
        if is_store and self.network.mc_dropout:
            raise ValueError(f"head.name={head.name} has no dropout to sample from: remove network.mc_dropout")
        if closes and task.layers != tuple(ERA5_LAND_LAYERS)[: len(task.layers)]:
            raise ValueError(
                f"head.name={head.name} lets each layer drain into the next: name task.layers from the surface down "
                "without a gap, such as [swvl1,swvl2]"
            )
        if head.name == "rollout" and head.predict == "departure":
            raise ValueError("head.name=rollout goes on from its own forecasts: set head.predict=change")
        if head.predict == "departure" and self.normalise.scope == "global":
            raise ValueError(
                "head.predict=departure needs the climatology of each cell, which normalise.scope=global leaves out: "
                "set normalise.scope=per_cell, or head.predict=change"
            )
        if loss.name == "quantiles" and not task.quantiles:
            raise ValueError("loss.name=quantiles needs task.quantiles, such as [0.05,0.25,0.5,0.75,0.95]")
        if loss.lead_decay and not _is_score(LOSSES[loss.name](task.quantiles)):
            raise ValueError(
                f"loss.lead_decay does not apply to loss.name={loss.name}, which is not a mean score by lead: remove "
                "it, and weight the leads in the loss itself"
            )
        if self.network.masked_lags and not task.lags:
            raise ValueError("network.masked_lags masks task.lags, which is empty: name layers there, or remove it")
        if self.network.mc_dropout and not self.network.dropout:
            raise ValueError(
                "network.mc_dropout samples with network.dropout, which is 0: set it, or remove mc_dropout"
            )
        return self

    def lacking_of_network(self) -> str | None:
        """Say what the trunk cannot do without and the config does not give it; None if nothing."""
        task, name, needs = self.task, self.network.name, needs_of(self.network.name)
        if "static" in needs and not task.static:
            return (
                f"network.name={name} tells cells apart by task.static, which is empty: name static inputs there, or "
                "set network.name=lstm"
            )
        if "neighbours" in needs and task.neighbourhood == 1:
            return (
                f"network.name={name} looks at the cells around a cell: set task.neighbourhood=3, or network.name=lstm"
            )
        if "rain" in needs and "tp" not in task.dynamic:
            return (
                f"network.name={name} conserves the mass of the rain: add tp to task.dynamic, or set network.name=lstm"
            )
        if "rain" in needs and self.loss.rain:
            return f"network.name={name} takes the rain as its mass, which loss.rain does not change: remove loss.rain"
        return None

    @property
    def balance(self) -> Form | None:
        """Which W guides, if any; with `LossConfig.by` the cells of other classes than those that are named."""
        return None if self.loss.balance == "none" else self.loss.balance

    @property
    def guided(self) -> list[Self]:
        """Itself, and the config of each class of cells, as far as a water balance guides there."""
        return [one for one in (self, *map(self.of_class, self.loss.classes)) if one.balance]

    @property
    def guidance_weights(self) -> tuple[float, float]:
        """l1 and l2 of Eq. 8; with ``loss.by`` l2 is that of the class that is guided most (`guidance_strength`)."""
        if self.loss.by == "none":
            return self.loss.weights
        return self.loss.weights[0], self.loss.weights[0] * max((one._l2_to_l1 for one in self.guided), default=0.0)

    @property
    def guidance_strengths(self) -> dict[str, float]:
        """How much Eq. 14 counts in each class, and in other cells (an empty name): 1 where it does most."""
        if self.loss.by == "none":
            return {"": 1.0}
        ratios = {"": self._l2_to_l1} | {name: self.of_class(name)._l2_to_l1 for name in self.loss.classes}
        most = max(ratios.values()) or 1.0
        return {name: ratio / most for name, ratio in ratios.items()}

    @property
    def _l2_to_l1(self) -> float:
        return self.loss.weights[1] / self.loss.weights[0] if self.balance else 0.0

    def of_class(self, name: str) -> Self:
        """Give the config of the cells of a class of ``loss.by``: with its guidance in place of that of all cells."""
        content = self.model_dump(mode="json")
        content["loss"] |= {"by": "none", "classes": {}}
        for key, value in self.loss.classes[name].items():
            section, _, inner = key.partition(".")
            content[section][inner] = value
        if content["loss"]["balance"] == "none":
            content["loss"] |= {"weights": [content["loss"]["weights"][0], 0.0], "amounts": 0.0}
            content["water"]["placebo"] = "none"
        return type(self).model_validate(content)

    def _check_classes(self) -> None:
        by, classes = self.loss.by, self.loss.classes
        if by == "none":
            if classes:
                raise ValueError(
                    "loss.classes has no effect while loss.by is none: set loss.by=climate_zone, or remove it"
                )
            return
        if by not in VARIABLES or not VARIABLES[by].is_static:
            maps = [name for name in VARIABLES if VARIABLES[name].is_static]
            raise ValueError(f"loss.by={by} is no static variable of the cube: {nearest(by, maps)}")
        if not classes:
            raise ValueError(f"loss.by={by} has no effect without loss.classes: name classes, or set loss.by=none")
        if self.water.placebo != "none":
            raise ValueError("water.placebo is for one guidance of all cells: set loss.by=none")
        valid = [key for key in dotted_keys(type(self)) if key in _OF_A_CLASS or key.startswith("water.")]
        for name, settings in classes.items():
            if by == "climate_zone" and name not in _CLIMATES:
                raise ValueError(f"loss.classes names {name}, which is no main climate: use {', '.join(_CLIMATES)}")
            for key in settings:
                if key not in valid or key == "water.placebo":
                    raise ValueError(f"loss.classes: {name} sets {key}: {nearest(key, valid)}")
            try:
                self.of_class(name)
            except ValueError as error:
                raise ValueError(f"loss.classes: {name}: {_first_line(error)}") from error


def _traits_of(head: str) -> tuple[bool, bool, bool]:
    """Whether a head has stores of water, needs water in physical units, and closes its balance."""
    if head in _PLAIN_HEADS:
        return False, False, False
    from soilcast.models.heads import ClosingHead, StoreHead

    return issubclass(HEADS[head], StoreHead), HEADS[head].needs_water, issubclass(HEADS[head], ClosingHead)


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        said = fault["msg"].removeprefix("Value error, ")
        return f"{where}: {said}" if where else said
    return str(error)


def _is_score(loss: DataLoss) -> bool:
    from soilcast.training.losses import ScoreLoss

    return isinstance(loss, ScoreLoss)


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
        Name of the preset; wins over the file.
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
        if key in FORMER_KEYS:
            raise SoilcastError(f"--set {setting}: {key} was renamed to {FORMER_KEYS[key]}: change the key")
        if key not in dotted_keys(Config):
            raise SoilcastError(f"--set {setting}: unknown key {key}: {nearest(key, dotted_keys(Config))}")
        *sections, name = key.split(".")
        nested = {name: parse_yaml(value, f"--set {setting}")}
        for section in reversed(sections):
            nested = {section: nested}
        content = merged(content, nested)
    if model is not None:
        content["model"] = model
    return validate(Config, content, str(file) if file else "config")


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
