"""Fine-tuning: the run whose weights a training starts from, on a region or on stations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from soilcast.cube import periods_of
from soilcast.cube.calendar import Days
from soilcast.errors import SoilcastError
from soilcast.models import Network
from soilcast.training.config import Config
from soilcast.training.run import Run, open_run
from soilcast.training.split import Periods

_FREE: dict[str, tuple[str, ...]] = {
    "task": ("fill_days",),
    "normalise": (),
    "network": ("dropout", "mc_dropout", "masked_lags"),
    "head": ("lead1_only",),
}
"""Keys in which a training may differ from the run that it starts from, of the sections that its weights rest on."""


def open_init_run(path: str | Path, config: Config) -> Run:
    """Open a run whose weights a training of some config can start from.

    Raises
    ------
    SoilcastError
        It is no run, or its network sees or forecasts something else.
    """
    run = open_run(path)
    for section, free in _FREE.items():
        mine, theirs = (getattr(one, section).model_dump() for one in (config, run.config))
        for name in mine:
            if mine[name] != theirs[name] and name not in free:
                raise SoilcastError(
                    f"{path}: {section}.{name} is {theirs[name]}, but {mine[name]} of this training: the weights need "
                    "the former; remove this key to use that of the run"
                )
    if config.loss.name != run.config.loss.name:
        raise SoilcastError(
            f"{path}: loss.name is {run.config.loss.name}, but {config.loss.name} of this training: the weights give "
            "the former predictive distribution; remove this key to use that of the run"
        )
    return run


def refuse_seen(run: Run, days: Days, test: Periods, path: str | Path) -> None:
    """Raise `SoilcastError` if the initial run was trained on days of the test period."""
    for first, last in periods_of(f"{run.record['train_period']},{run.record['validation_period']}"):
        if any(days[part.start] <= last and days[part.stop - 1] >= first for part in test):
            learnt = " to ".join(str(day.astype("datetime64[D]")) for day in (first, last))
            raise SoilcastError(
                f"{path}: it was trained on {learnt}, which overlaps the test period of this training: set another "
                "split.test"
            )


def take_weights(networks: Sequence[Network], run: Run) -> None:
    """Give networks the weights of a run; of an ensemble each its own, as far as there are enough.

    Raises
    ------
    SoilcastError
        The networks are of another shape.
    """
    for member, network in enumerate(networks):
        try:
            network.load_state_dict(run.networks[member % len(run.networks)].state_dict())
        except RuntimeError as error:
            raise SoilcastError(
                f"the weights of --init are of another network ({str(error).splitlines()[-1].strip()}): remove "
                "network, head and task from the config to use those of the run"
            ) from error
