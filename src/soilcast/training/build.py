"""From a config to what it names: the windows, the untrained networks, the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from soilcast.errors import SoilcastError
from soilcast.models import HEADS, NETWORKS, Network, NetworkDesign, needs_of
from soilcast.models.distributions import Distribution
from soilcast.plugins import plugin_record
from soilcast.task import Layout
from soilcast.training.config import PRESETS, Config
from soilcast.training.losses import LOSSES, Guidance, Loss

_ORIGINS = {"level": None, "change": "newest", "departure": "damped"}
"""``head.predict`` -> `soilcast.models.NetworkDesign.origin`."""


def registered_parts(config: Config) -> dict[str, object]:
    """Give what a config names: the ``network`` (its trunk), the ``head`` and the ``loss``.

    Raises
    ------
    SoilcastError
        One is not registered in this process, as may be in those that train side by side.
    """
    parts: dict[str, object] = {}
    for kind, registry in (("network", NETWORKS), ("head", HEADS), ("loss", LOSSES)):
        name = getattr(config, kind).name
        if name not in registry:
            raise SoilcastError(
                f"{kind}.name={name} is not registered in the worker process: use jobs=1, load it as a plugin, or "
                "register it at the top level of the script"
            )
        parts[kind] = registry[name]
    return parts


def plugins_of(config: Config) -> list[dict[str, Any]]:
    """Give what a run's record says of the plugins that its parts are from."""
    named = ((NETWORKS, config.network.name), (HEADS, config.head.name), (LOSSES, config.loss.name))
    return plugin_record(((PRESETS, config.model), *named))


def layout_of(config: Config) -> Layout:
    """Lay out the windows of a config's task, with what its head computes with."""
    return Layout(
        config.task,
        physical=HEADS[config.head.name].needs_water,
        damped=config.head.predict == "departure",
        mass="rain" in needs_of(config.network.name),
    )


def distribution_of(config: Config) -> Distribution:
    """Give the predictive distribution that a config's loss is about."""
    return LOSSES[config.loss.name](config.task.quantiles).distribution


def build_loss(config: Config) -> Loss:
    """Build the loss of a config."""
    loss, task = config.loss, config.task
    guidance = Guidance(config.guidance_weights, loss.bounds, loss.rain, loss.amounts)
    return Loss(loss.name, LOSSES[loss.name](task.quantiles), guidance, task.lead_days, loss.lead_decay)


def build_networks(config: Config) -> list[Network]:
    """Build the untrained networks of a config, in evaluation mode; each member's weights come from its own seed."""
    design = NetworkDesign(
        layout=layout_of(config),
        network=config.network.name,
        head=config.head.name,
        hidden_size=config.network.hidden_size,
        dropout=config.network.dropout,
        origin=_ORIGINS[config.head.predict],
        lead1_only=config.head.lead1_only,
        spread=tuple(distribution_of(config).start().tolist()),
        rain_response=config.task.known_future.index("tp") if config.loss.rain else None,
    )
    networks = []
    with torch.random.fork_rng(devices=[]):
        for seed in range(config.train.seed, config.train.seed + config.train.ensemble):
            torch.manual_seed(seed_of(seed))
            networks.append(Network(design).eval())
    return networks


def seed_of(*parts: int) -> int:
    """Mix numbers into one seed for torch."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint32)[0])
