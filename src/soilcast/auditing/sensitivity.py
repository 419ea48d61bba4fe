"""What forecasts depend on: by gradients, and by how much worse they get with an input of other days."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from soilcast.auditing.estimates import ratio
from soilcast.auditing.events import blocks_of
from soilcast.auditing.findings import About, Finding, Row
from soilcast.auditing.subject import Array, CellDays, Indices, Subject
from soilcast.training.build import distribution_of
from soilcast.training.inputs import spread_over_cells
from soilcast.training.statistics import error_scale
from soilcast.training.windows import WindowSource

GRADIENT, ABSOLUTE, PERMUTED = "gradient", "absolute gradient", "rise of RMSE without it"

_BLOCK = 30
_LEAST_BLOCKS = 4
_REPEATS = 3
_GRADIENTS = 500

_LAGS, _CALENDAR = "observed ", "day of the year"


def sensitivity(subject: Subject) -> Finding:
    """Rank the inputs of each layer, over all cells that are drawn.

    Gradients are by automatic differentiation, through the windows to the values that they are cut from, so that a
    variable counts once whatever it is an input to. In standard deviations of the soil moisture within a cell, for one
    standard deviation of the input: ``gradient`` if it is as much higher on all days of the window, ``absolute
    gradient`` the sum over the days without regard to sign.

    For the rise of the RMSE the days of the input are taken in blocks, which keep weather in order, and the blocks in
    another order; static inputs are exchanged between cells.
    """
    group = next(iter(subject.groups()))
    rows = [*_gradients(subject, group), *_permutations(subject, group)]
    notes = (
        f"Blocks of {_block_days(subject)} days of the audited period and the days before it are exchanged, {_REPEATS} "
        "times."
    )
    return Finding(tuple(rows), notes=(notes,))


def _gradients(subject: Subject, group: str) -> Iterator[Row]:
    at = subject.draw(subject.ready, use=4, most=_GRADIENTS)
    found: dict[tuple[str, int], list[tuple[Array, Array]]] = {}
    turn = np.arange(len(at)) - np.searchsorted(at.cells, at.cells)
    order: list[Indices] = [np.flatnonzero(turn == number) for number in range(int(turn.max()) + 1)]
    # Samples of one cell one by one, so that the gradient of each stays apart.
    for chosen in order:
        for key, gradient in _of_samples(subject, at[chosen]):
            found.setdefault(key, []).append((gradient.sum(axis=1), np.abs(gradient).sum(axis=1)))
    blocks = blocks_of(at.days[np.concatenate(order)])
    for (name, position), parts in found.items():
        for quantity, values in zip((GRADIENT, ABSOLUTE), zip(*parts, strict=True), strict=True):
            whole = np.concatenate(values)
            about: About = {"group": group, "layer": subject.task.layers[position], "samples": len(at), "about": name}
            yield Row.of(quantity, "1", ratio(whole, np.ones(len(whole)), blocks), **about)


def _of_samples(subject: Subject, at: CellDays) -> Iterator[tuple[tuple[str, int], Array]]:
    """Give gradients ``(sample, day)`` by input and layer, one sample of a cell."""
    task, layout, source = subject.task, subject.layout, subject.source
    parts = {name: getattr(source, name).clone().requires_grad_() for name in ("dynamic", "lags", "newest", "static")}
    altered = replace(source, **parts)
    windows = altered.gather(layout, torch.from_numpy(at.cells), torch.from_numpy(at.days)).transpose(0, 1)
    # One forward pass a member; in evaluation mode, without dropout.
    output = torch.stack([network(windows) for network in subject.run.networks])
    centre = _centre(subject, output, at).mean(dim=(0, 2))
    for position in range(len(task.layers)):
        asked = list(parts.values())
        grads = torch.autograd.grad(centre[:, position].sum(), asked, retain_graph=True, allow_unused=True)
        found = dict(zip(parts, grads, strict=True))
        scale = _spread(subject.inputs.observed[..., position])
        if scale == 0:  # soil moisture that is not observed has no standard deviation to compare with
            continue
        for name, gradient, spread in _by_input(subject, found, at):
            yield (name, position), gradient * spread / scale


def _by_input(subject: Subject, found: Mapping[str, Tensor | None], at: CellDays) -> Iterator[tuple[str, Array, float]]:
    """Give name, gradient ``(sample, day)`` and standard deviation of each input, all normalised."""
    task, inputs = subject.task, subject.inputs
    for feature, name in enumerate(task.dynamic):
        yield name, _of_feature(found["dynamic"], feature, at), _spread(inputs.dynamic[..., feature])
    for feature, name in enumerate(task.lags):
        gradient = _of_feature(found["lags"], feature, at)
        if name in task.layers and task.sees_own_layers:
            gradient = gradient + _of_feature(found["newest"], task.layers.index(name), at)
        yield f"{_LAGS}{name}", gradient, _spread(inputs.lags[..., feature])
    by_day = None if found["static"] is None else found["static"].unsqueeze(1)
    for feature, name in enumerate(task.static):
        yield name, _of_feature(by_day, feature, at), float(np.std(inputs.static[:, feature]))


def _centre(subject: Subject, output: Tensor, at: CellDays) -> Tensor:
    """Mean of the predictive distribution of each member ``(member, sample, lead, layer)``, normalised."""
    config, level = subject.run.config, output[..., 0]
    distribution = distribution_of(config)
    if not distribution.parameters:
        return level
    of_loss = error_scale(config.loss.space, subject.statistics, subject.task.layers)
    scale = 1.0 if of_loss is None else torch.from_numpy(spread_over_cells(of_loss, len(subject.cells))[at.cells])
    return level + distribution.mean(output[..., 1 : 1 + distribution.parameters]) / scale


def _of_feature(gradient: Tensor | None, feature: int, at: CellDays) -> Array:
    """Gradient with respect to one feature of the cells of samples ``(sample, day)``; 0 where nothing depends on it."""
    if gradient is None:
        return np.zeros((len(at), 1))
    return np.asarray(gradient[at.cells, :, feature].numpy(), dtype=np.float64)


def _spread(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """Standard deviation within a cell, the mean over the cells, of ``(cell, time)``; 0 without values."""
    known = values[np.isfinite(values).any(axis=1)].astype(np.float64)
    return float(np.nanstd(known, axis=1).mean()) if len(known) else 0.0


def _permutations(subject: Subject, group: str) -> Iterator[Row]:
    at = subject.draw(subject.ready, use=5)
    observed = subject.observed(at)
    known = np.isfinite(observed)
    if not known.any():
        return
    errors = [_squares(subject.forecast(at), observed)]
    blocks, counts = blocks_of(at.days), known.sum(axis=1).astype(np.float64)
    for name, altered in _exchanges(subject).items():
        drawn = [subject.forecast(at, altered(subject.random(6, repeat))) for repeat in range(_REPEATS)]
        without = np.mean([_squares(one, observed) for one in drawn], axis=0)
        both = ratio(np.stack([errors[0], without], axis=1), np.stack([counts, counts], axis=1), blocks)
        rise = both.map(_rise)
        for position, layer in enumerate(subject.task.layers):
            if not known[..., position].any():
                continue
            about: About = {"group": group, "layer": layer, "samples": len(at), "about": name}
            yield Row.of(PERMUTED, "1", rise[position], **about)


def _rise(squares: Array) -> Array:
    """By what share the RMSE is higher, from mean squares ``(..., 2, layer)``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt(squares[..., 1, :] / squares[..., 0, :]) - 1)


def _exchanges(subject: Subject) -> dict[str, Callable[[np.random.Generator], WindowSource]]:
    """Give of each input the source of windows in which its days, or its cells, have changed places."""
    task, source = subject.task, subject.source

    def dynamic(feature: int, random: np.random.Generator) -> WindowSource:
        values = source.dynamic.clone()
        values[..., feature] = values[:, _order(subject, random), feature]
        return replace(source, dynamic=values)

    def lag(name: str, random: np.random.Generator) -> WindowSource:
        order = _order(subject, random)
        lags, newest = source.lags.clone(), source.newest.clone()
        lags[..., task.lags.index(name)] = lags[:, order, task.lags.index(name)]
        if name in task.layers and task.sees_own_layers:
            newest[..., task.layers.index(name)] = newest[:, order, task.layers.index(name)]
        return replace(source, lags=lags, newest=newest)

    def static(feature: int, random: np.random.Generator) -> WindowSource:
        values = source.static.clone()
        values[:, feature] = values[random.permutation(len(values)), feature]
        return replace(source, static=values)

    def calendar(random: np.random.Generator) -> WindowSource:
        return replace(source, calendar=source.calendar[_order(subject, random)])

    found: dict[str, Callable[[np.random.Generator], WindowSource]] = {}
    found |= {name: partial(dynamic, feature) for feature, name in enumerate(task.dynamic)}
    found |= {f"{_LAGS}{name}": partial(lag, name) for name in task.lags}
    found |= {_CALENDAR: calendar} if task.calendar else {}
    if len(subject.cells) > 1:
        found |= {name: partial(static, feature) for feature, name in enumerate(task.static)}
    return found


def _block_days(subject: Subject) -> int:
    return max(1, min(_BLOCK, len(subject.days) // _LEAST_BLOCKS))


def _order(subject: Subject, random: np.random.Generator) -> Tensor:
    """Positions of the days with their blocks in another order ``(time,)``."""
    days, each = len(subject.days), _block_days(subject)
    blocks = np.split(np.arange(days), np.arange(each, days, each))
    return torch.from_numpy(np.concatenate([blocks[number] for number in random.permutation(len(blocks))]))


def _squares(forecast: Array, observed: Array) -> Array:
    """Sum over the leads of squared errors ``(sample, layer)``."""
    return np.asarray(np.nansum((forecast - observed) ** 2, axis=1))
