"""The sections of a config: every key, its default (the paper's, see docs/method.md) and its meaning."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from soilcast.cube.calendar import days_of
from soilcast.errors import SoilcastError
from soilcast.models.design import HEADS, NETWORKS
from soilcast.plugins import Registry
from soilcast.schema import nearest

if TYPE_CHECKING:
    from soilcast.training.losses import DataLoss

Climate = Literal["A", "B", "C", "D", "E"]

CLIMATES: tuple[str, ...] = get_args(Climate)
"""Main climates of Koeppen."""

OR_PLUGIN = " (your own: --plugin FILE.py)"

LOSSES: Registry[Callable[[tuple[float, ...]], DataLoss]] = Registry(
    "loss",
    {
        "rmse": "soilcast.training.losses:build_rmse",
        "quantiles": "soilcast.training.losses:build_quantiles",
        "cmal": "soilcast.training.losses:build_cmal",
    },
)
"""Every loss of the data by name: built from the quantiles that forecasts carry."""


def unset_word(field: FieldInfo) -> str | None:
    """The word that stands for "not set" where None is allowed: auto or none."""
    extra = field.json_schema_extra
    return str(extra["unset"]) if isinstance(extra, dict) and "unset" in extra else None


class Section(BaseModel):
    """Keys of a config that belong together; frozen, and with no other key."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NetworkConfig(Section):
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
            raise ValueError(f"no such network: {nearest(value, NETWORKS)}{OR_PLUGIN}")
        return value


class HeadConfig(Section):
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
            raise ValueError(f"no such head: {nearest(value, HEADS)}{OR_PLUGIN}")
        return value


class NormaliseConfig(Section):
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


class SplitConfig(Section):
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
    months: int | None = Field(
        None,
        ge=1,
        description="length of split.development: its last months alone, validation included; all: the whole of it",
        json_schema_extra={"unset": "all"},
    )
    validation_share: float = Field(
        0.25, gt=0.0, lt=1.0, description="fraction of the development period, at its end, used for validation"
    )
    cells_share: float = Field(
        1.0, gt=0.0, le=1.0, description="fraction of the cells used for training, drawn at random"
    )
    without_climate: Climate | None = Field(
        None,
        description="Koeppen main climate whose cells are excluded from training",
        json_schema_extra={"unset": "none"},
    )

    @field_validator("test", "development", "train", "validation", "months", "without_climate", mode="before")
    @classmethod
    def _is_unset(cls, value: Any, info: ValidationInfo) -> Any:
        if value == unset_word(cls.model_fields[str(info.field_name)]):
            return None
        is_one = info.field_name not in ("months", "without_climate") and isinstance(value, (str, int))
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
        if self.train is not None and self.months is not None:
            raise ValueError("split.months shortens split.development, which split.train replaces: remove one of them")
        return self


class TrainConfig(Section):
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


class LossConfig(Section):
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
    adapt: Literal["none", "decay", "gradients"] = Field(
        "none",
        description="l2 over the epochs of a training. none: fixed; decay: falls to 0 in a straight line; gradients: "
        "set in every epoch so that the gradients of penalty and data loss are as large as l2 to l1. Validation "
        "has the fixed weights",
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
            raise ValueError(f"no such loss: {nearest(value, LOSSES)}{OR_PLUGIN}")
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
