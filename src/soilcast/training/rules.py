"""Which keys of a config go together, and what to do where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from soilcast.cube.contract import ERA5_LAND_LAYERS, VARIABLES
from soilcast.models.design import HEADS, needs_of
from soilcast.schema import dotted_keys, nearest
from soilcast.training.sections import CLIMATES, LOSSES

if TYPE_CHECKING:
    from soilcast.training.config import Config
    from soilcast.training.losses import DataLoss

_PLAIN_HEADS = ("direct", "rollout")
"""Heads without any store: what they are is known without their classes, for which torch would be imported."""

_OF_A_CLASS = ("loss.balance", "loss.weights")


def refuse_impossible(config: Config) -> None:
    """Raise ``ValueError`` that says which keys do not go together, and what would do."""
    task, head, loss = config.task, config.head, config.loss
    layers, target = config.water.deep_layers, task.target
    if loss.balance == "multi" and target in layers:
        others = ",".join(layer for layer in layers if layer != target)
        remedy = f"set water.deep_layers=[{others}]" if others else "use loss.balance=single"
        raise ValueError(f"task.layers begins with {target}, which is also one of water.deep_layers (Eq. 11): {remedy}")
    if loss.weights[1] and loss.balance == "none":
        raise ValueError("l2 of loss.weights is above 0, but loss.balance is none: set loss.balance, or l2=0")
    if loss.balance != "none" and not (loss.weights[1] or loss.amounts):
        raise ValueError(
            f"loss.balance={loss.balance} has no effect while l2 of loss.weights is 0: set loss.weights, such as "
            "0.5,0.5"
        )
    if loss.adapt != "none" and not config.guidance_weights[1]:
        raise ValueError(f"loss.adapt={loss.adapt} has no effect while l2 of loss.weights is 0: set loss.weights")
    if loss.amounts and config.water.placebo == "observed":
        raise ValueError(
            "water.placebo=observed is a placebo of signs, which loss.amounts does not look at: set "
            "water.placebo=coin_toss, which takes the amounts of other days"
        )
    if loss.amounts and loss.balance == "none":
        raise ValueError("loss.amounts has no effect while loss.balance is none: set loss.balance")
    if loss.amounts and loss.by != "none":
        raise ValueError("loss.amounts is for one guidance of all cells: set loss.by=none")
    _refuse_classes(config)
    if config.water.placebo != "none" and loss.balance == "none":
        raise ValueError("water.placebo has no effect while loss.balance is none: set loss.balance")
    if lacking := lacking_of_network(config):
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
    if is_store and config.network.mc_dropout:
        raise ValueError(f"head.name={head.name} has no dropout to sample from: remove network.mc_dropout")
    if closes and task.layers != tuple(ERA5_LAND_LAYERS)[: len(task.layers)]:
        raise ValueError(
            f"head.name={head.name} lets each layer drain into the next: name task.layers from the surface down "
            "without a gap, such as [swvl1,swvl2]"
        )
    if head.name == "rollout" and head.predict == "departure":
        raise ValueError("head.name=rollout goes on from its own forecasts: set head.predict=change")
    if head.predict == "departure" and config.normalise.scope == "global":
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
    if config.network.masked_lags and not task.lags:
        raise ValueError("network.masked_lags masks task.lags, which is empty: name layers there, or remove it")
    if config.network.mc_dropout and not config.network.dropout:
        raise ValueError("network.mc_dropout samples with network.dropout, which is 0: set it, or remove mc_dropout")


def lacking_of_network(config: Config) -> str | None:
    """Say what the trunk cannot do without and the config does not give it; None if nothing."""
    task, name, needs = config.task, config.network.name, needs_of(config.network.name)
    if "static" in needs and not task.static:
        return (
            f"network.name={name} tells cells apart by task.static, which is empty: name static inputs there, or "
            "set network.name=lstm"
        )
    if "neighbours" in needs and task.neighbourhood == 1:
        return f"network.name={name} looks at the cells around a cell: set task.neighbourhood=3, or network.name=lstm"
    if "rain" in needs and "tp" not in task.dynamic:
        return f"network.name={name} conserves the mass of the rain: add tp to task.dynamic, or set network.name=lstm"
    if "rain" in needs and config.loss.rain:
        return f"network.name={name} takes the rain as its mass, which loss.rain does not change: remove loss.rain"
    return None


def _refuse_classes(config: Config) -> None:
    by, classes = config.loss.by, config.loss.classes
    if by == "none":
        if classes:
            raise ValueError("loss.classes has no effect while loss.by is none: set loss.by=climate_zone, or remove it")
        return
    if by not in VARIABLES or not VARIABLES[by].is_static:
        maps = [name for name in VARIABLES if VARIABLES[name].is_static]
        raise ValueError(f"loss.by={by} is no static variable of the cube: {nearest(by, maps)}")
    if not classes:
        raise ValueError(f"loss.by={by} has no effect without loss.classes: name classes, or set loss.by=none")
    if config.water.placebo != "none":
        raise ValueError("water.placebo is for one guidance of all cells: set loss.by=none")
    valid = [key for key in dotted_keys(type(config)) if key in _OF_A_CLASS or key.startswith("water.")]
    for name, settings in classes.items():
        if by == "climate_zone" and name not in CLIMATES:
            raise ValueError(f"loss.classes names {name}, which is no main climate: use {', '.join(CLIMATES)}")
        for key in settings:
            if key not in valid or key == "water.placebo":
                raise ValueError(f"loss.classes: {name} sets {key}: {nearest(key, valid)}")
        try:
            config.of_class(name)
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
