"""The response to a pulse of rain: of the run, whose input is changed, and of the cube's own land model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from soilcast.auditing.estimates import Estimate, e_folding, nothing, ratio
from soilcast.auditing.events import blocks_of, own_response, spells
from soilcast.auditing.findings import About, Curve, Finding, Row
from soilcast.auditing.subject import Array, Bools, CellDays, Indices, Subject
from soilcast.task import Task
from soilcast.training.statistics import MOST_BEYOND

PULSE = 10e-3
"""Rain of the pulse [m]."""

RISES, SIZE, DECAY = "share of responses not below 0", "response to 10 mm of rain", "decay time of the response"

METHOD_ERROR = 0.10
"""By this share the cube's own response may err beside its standard error: tests hold it against the built-in planet,
whose land model is run again with and without rain."""

_HORIZON = 20
_LEAST_PULSES, _LEAST_AMOUNT = 20, 1e-3


@dataclass(frozen=True)
class Place:
    """Where a forecast shows a pulse: days since, first forecast day relative to that of the pulse, and lead."""

    since: int
    first_day: int
    lead: int


@dataclass(frozen=True)
class Responses:
    """Responses to a pulse, by group of cells.

    Parameters
    ----------
    since
        Days since the pulse ``(day,)``.
    run
        Group -> ``(day, layer)`` [m3 m-3 per pulse], of all layers that are forecast.
    cube
        Group -> the same of the cube; NaN for a layer that it lacks.
    rises
        Group -> share of responses of the run that are not below 0 ``(layer,)``.
    count
        Group -> number of pulses.
    notes
        See `soilcast.auditing.subject.Finding`.
    """

    since: Indices
    run: dict[str, Estimate]
    cube: dict[str, Estimate]
    rises: dict[str, Estimate]
    count: dict[str, int]
    notes: tuple[str, ...]

    def of(self, task: Task, group: str, layer: str) -> tuple[Estimate, Estimate]:
        """Responses of run and cube of a layer ``(day,)``, on the days on which both are known."""
        position = task.layers.index(layer)
        both = [one[group][:, position] for one in (self.run, self.cube)]
        known = [np.isfinite(one.value) for one in both if np.isfinite(one.value).any()]
        missing = ~np.all(known, axis=0) if known else np.ones(len(self.since), dtype=np.bool_)
        run, cube = (one.map(lambda values: np.where(missing, np.nan, values)) for one in both)
        return run, cube

    def decay(self, response: Array) -> Array:
        """Days in which a response falls by a factor e from its largest value on ``(...)``, whatever its sign."""
        return e_folding(self.since, response * np.sign(largest(response))[..., np.newaxis])


def places(task: Task) -> list[Place]:
    """Say which forecasts show a pulse of rain, and how many days after it.

    Observed soil moisture is not to know of the pulse: it would have to be changed with the rain. Where the run knows
    the rain of the forecast days, or soil moisture, all are leads of one forecast; else the forecasts of lead 1 of one
    issue day after the other.
    """
    is_ahead = "tp" in task.known_future
    newest = -1 if is_ahead else task.latency_of("tp")  # issue day that first knows of it, relative to the pulse
    blind = min((task.latency_of(layer) for layer in task.lags), default=task.window)
    if newest >= min(blind, task.window):
        return []
    if task.lags or (is_ahead and task.lead_days > 1):
        found = [Place(newest + lead, newest + 1, lead) for lead in range(1, task.lead_days + 1)]
    else:
        found = [Place(issue + 1, issue + 1, 1) for issue in range(newest, task.window)]
    return [place for place in found if place.since <= _HORIZON]


@lru_cache(maxsize=1)
def responses(subject: Subject) -> Responses | str:
    """Give the responses of run and cube, or why there are none."""
    task = subject.task
    if "tp" not in task.dynamic:
        return "The run has no precipitation (tp) among its inputs: no pulse of rain can be given to it."
    shown = places(task)
    if not shown:
        return (
            "The run begins from observed soil moisture that is as new as its newest rain, and knows no rain of the "
            "coming days: no pulse of rain can be given to it that the soil moisture does not know of already."
        )
    most, clipped = _most_rain(subject)
    notes = [
        f"Pulses of {PULSE * 1e3:g} mm take the place of the rain of days between dry days, on soil that is neither "
        "frozen nor under snow; the response is the difference from the forecast without any rain on that day, while "
        "the days since are dry."
    ]
    if task.known_future:
        notes.append("The weather of the forecast days is that of the cube.")
    if clipped.any():
        notes.append(
            f"In {int(clipped.sum())} of {len(clipped)} cells the training days had no {PULSE * 1e3:g} mm of rain: the "
            "pulse there is their wettest day, and the response is scaled to 10 mm."
        )
    found = spells(subject.cube, subject.span)
    is_event = found.events & (most >= _LEAST_AMOUNT)[:, np.newaxis] & _can_show(subject, shown[0].first_day)
    at = subject.draw(is_event, use=1)
    if len(at) < _LEAST_PULSES:
        return f"Only {len(at)} days of the period have rain between dry days: too few for pulses."
    changes = _changes(subject, at, shown, most)
    is_dry = found.dry_after[at.cells, at.days][:, np.newaxis] >= [place.since for place in shown]
    changes = np.where(is_dry[..., np.newaxis], changes, np.nan)
    since = np.array([place.since for place in shown])
    amounts, blocks = most[at.cells] / PULSE, blocks_of(at.days)
    result = Responses(since, {}, {}, {}, {}, tuple(notes))
    for name, cells in subject.groups().items():
        inside = np.isin(at.cells, cells)
        if inside.sum() < _LEAST_PULSES:
            continue
        own, known = changes[inside], np.isfinite(changes[inside])
        under = known * amounts[inside, np.newaxis, np.newaxis]
        result.run[name] = _with_enough(ratio(np.nan_to_num(own), under, blocks[inside]), known.sum(axis=0))
        result.rises[name] = ratio(
            (known & (own >= 0)).sum(axis=1).astype(float), known.sum(axis=1).astype(float), blocks[inside]
        )
        result.count[name] = int(inside.sum())
        result.cube[name] = _of_cube(subject, cells, since)
    return result


def rain_pulse(subject: Subject) -> Finding:
    """Compare sign, size and decay time of the response of each layer that is forecast."""
    found = responses(subject)
    if isinstance(found, str):
        return Finding(notes=(found,))
    rows, curves = [], []
    for group in found.run:
        for layer in subject.task.layers:
            run, cube = found.of(subject.task, group, layer)
            about: About = {"group": group, "layer": layer, "samples": found.count[group]}
            position = subject.task.layers.index(layer)
            rows.append(Row.of(RISES, "1", found.rises[group][position], **about))
            sizes, times = ((run.map(measure), cube.map(measure)) for measure in (largest, found.decay))
            rows.append(Row.of(SIZE, "m3 m-3", *sizes, relative=METHOD_ERROR, **about))
            rows.append(Row.of(DECAY, "d", *times, relative=METHOD_ERROR, as_rates=True, **about))
            curves.append(Curve(group, layer, found.since, run.value, run.error, cube.value, cube.error))
    return Finding(tuple(rows), tuple(curves), found.notes)


def largest(response: Array) -> Array:
    """Give the response that is farthest from 0, of ``(..., day)``; NaN where there is none."""
    return np.take_along_axis(response, day_of_largest(response)[..., np.newaxis], axis=-1)[..., 0]


def day_of_largest(response: Array) -> Indices:
    """Position of the response that is farthest from 0, of ``(..., day)``."""
    return np.asarray(np.argmax(np.nan_to_num(np.abs(response), nan=-1.0), axis=-1))


def _most_rain(subject: Subject) -> tuple[Array, Bools]:
    """Rain of the pulse in each cell [m]: no more than on any training day; and where that makes it less."""
    scaling = subject.statistics.scalings["tp"]
    beyond = MOST_BEYOND / (1 + 2 * MOST_BEYOND) * (scaling.high - scaling.low)
    with np.errstate(invalid="ignore"):
        wettest = (scaling.high - beyond) * scaling.scale + scaling.offset
    wettest = np.broadcast_to(np.where(np.isfinite(wettest), wettest, PULSE), len(subject.cells))
    # Rounding of the statistics is no limit.
    clipped = wettest < PULSE * (1 - 1e-3)
    return np.where(clipped, wettest, PULSE), clipped


def _can_show(subject: Subject, first_day: int) -> Bools:
    """Days of a pulse from which the first of the forecasts that show it can be made ``(cell, time)``."""
    found = np.zeros_like(subject.ready)
    count = found.shape[1]
    found[:, max(0, -first_day) : count - max(0, first_day)] = subject.ready[
        :, max(0, first_day) : count - max(0, -first_day)
    ]
    return found


def _changes(subject: Subject, at: CellDays, shown: list[Place], amount: Array) -> Array:
    """Difference that the pulse makes ``(sample, place, layer)`` [m3 m-3]; NaN where there is no forecast.

    Pulses that no window sees both of are given together.
    """
    found = np.full((len(at), len(shown), len(subject.task.layers)), np.nan)
    turn = _turns(at, subject.task.window + subject.task.lead_days + 1)
    feature = subject.task.dynamic.index("tp")
    scaling = subject.statistics.scalings["tp"]
    levels = [scaling.normalise(np.broadcast_to(rain, len(subject.cells))) for rain in (amount, 0.0 * amount)]
    for number in range(int(turn.max()) + 1):
        chosen = np.flatnonzero(turn == number)
        pulses = at[chosen]
        sources = []
        for level in levels:
            dynamic = subject.source.dynamic.clone()
            dynamic[pulses.cells, pulses.days, feature] = torch.from_numpy(level[pulses.cells])
            sources.append(replace(subject.source, dynamic=dynamic))
        of_day: dict[int, list[int]] = {}
        for position, place in enumerate(shown):
            of_day.setdefault(place.first_day, []).append(position)
        for first_day, positions in of_day.items():
            days = pulses.plus(first_day)
            able = days.days < subject.ready.shape[1]
            able[able] = subject.ready[days.cells[able], days.days[able]]
            if not able.any():
                continue
            wet, dry = (subject.forecast(days[able], source) for source in sources)
            leads = [shown[position].lead - 1 for position in positions]
            found[np.ix_(chosen[able], positions)] = (wet - dry)[:, leads]
    return found


def _turns(at: CellDays, apart: int) -> Indices:
    """Number the samples so that those of one number and one cell are so many days apart, with few numbers."""
    turn, last = np.empty(len(at), dtype=np.int64), dict[tuple[int, int], int]()
    for position, (cell, day) in enumerate(zip(at.cells.tolist(), at.days.tolist(), strict=True)):
        number = 0
        while day - last.get((cell, number), -apart) < apart:
            number += 1
        turn[position], last[cell, number] = number, day
    return turn


def _with_enough(estimate: Estimate, count: Indices) -> Estimate:
    """Leave out the days of too few pulses."""
    few = count < _LEAST_PULSES
    return Estimate(np.where(few, np.nan, estimate.value), np.where(few, np.nan, estimate.replicates))


def _of_cube(subject: Subject, cells: Indices, since: Indices) -> Estimate:
    """Response of the cube's own soil ``(day, layer)`` [m3 m-3 per pulse], of the layers that are forecast."""
    layers = subject.task.layers
    found = nothing(len(since), len(layers))
    if subject.observed_layers:
        own = own_response(subject.cube, subject.observed_layers, cells, since)
        held = [layers.index(layer) for layer in subject.observed_layers]
        found.value[:, held], found.replicates[..., held] = PULSE * own.value, PULSE * own.replicates
    return found
