"""Which values are tried next: optuna's tree-structured Parzen estimator (TPE), asked batch by batch."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from soilcast.errors import SoilcastError
from soilcast.experiments.searches import Range, Search, space_index
from soilcast.searching.journal import Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

_ASKED = 20
"""How often the estimator is asked for values that were not tried before; after that they are drawn at random."""

_DIGITS = 4
"""Significant digits of continuous values: what a person would write."""


def require_optuna() -> None:
    """Import optuna, and have it keep quiet.

    Raises
    ------
    SoilcastError
        It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise SoilcastError("search needs an extra: install it with pip install 'soilcast[search]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def propose(search: Search, done: Sequence[Trial], count: int) -> list[dict[str, Any]]:
    """Choose the values of the next trials, different from each other and from all before.

    They follow from the arguments alone, so that a search goes on after an interruption as it would have without.

    Parameters
    ----------
    done
        The trials before, in order.
    count
        Number of trials to choose values for.
    """
    import optuna

    # In an order of their own: what is drawn for one key depends on what was drawn before it.
    distributions = {key: _distribution(search.search[key]) for key in sorted(search.search)}
    seed = int(np.random.default_rng([search.sampler_seed, len(done)]).integers(2**31))
    earlier = [_frozen(trial, search, distributions) for trial in done]
    tried = {_key(trial.parameters) for trial in done}
    chosen: list[dict[str, Any]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        samplers = (optuna.samplers.TPESampler(seed=seed, constant_liar=True), optuna.samplers.RandomSampler(seed=seed))
        for sampler, most in zip(samplers, (_ASKED * count, np.inf), strict=True):
            study = optuna.create_study(sampler=sampler)
            study.add_trials(earlier)
            asked = 0
            while len(chosen) < count and asked < most:
                asked += 1
                asked_for = study.ask(distributions).params
                values = {key: _value(search.search[key], asked_for[key]) for key in search.search}
                if _key(values) not in tried:
                    tried.add(_key(values))
                    chosen.append(values)
    return chosen


def _distribution(space: Range | tuple[Any, ...]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(space, Range):
        return CategoricalDistribution(range(len(space)))  # by position, since values may be lists
    if space.whole:
        return IntDistribution(int(space.low), int(space.high), log=space.log, step=int(space.step or 1))
    return FloatDistribution(space.low, space.high, log=space.log, step=space.step)


def _value(space: Range | tuple[Any, ...], asked_for: Any) -> Any:
    """Give what a trial has of what optuna says."""
    if not isinstance(space, Range):
        return space[asked_for]
    if space.whole:
        return int(asked_for)
    digits = _DIGITS if space.step is None else 12  # there to take away what sums of steps leave behind
    return min(max(float(f"{asked_for:.{digits}g}"), space.low), space.high)


def _frozen(trial: Trial, search: Search, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """Make a trial what optuna knows it by."""
    from optuna.trial import TrialState, create_trial

    values = {
        key: trial.parameters[key] if isinstance(space, Range) else space_index(space, trial.parameters[key])
        for key, space in search.search.items()
    }
    state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}.get(trial.status, TrialState.FAIL)
    losses = trial.losses if trial.status == "pruned" else {}
    return create_trial(
        state=state, value=trial.value, params=values, distributions={**distributions}, intermediate_values={**losses}
    )


def _key(parameters: Mapping[str, Any]) -> str:
    return json.dumps(parameters, sort_keys=True, default=str)
