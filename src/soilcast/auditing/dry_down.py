"""How fast soil dries on days without rain: in the forecasts of a run, and as observed on the same days."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from soilcast.auditing.estimates import Estimate, ratio, time_scale
from soilcast.auditing.events import DRY, blocks_of, spells
from soilcast.auditing.findings import About, Finding, Row
from soilcast.auditing.subject import Array, Bools, Indices, Subject

DRY_DOWN = "time scale of drying"

_LEAST = 60
_FEW_LEADS = 3
"""With no more leads, the forecasts of the next day of consecutive issue days are followed instead of one forecast."""

_SEASONS = 4


def dry_down(subject: Subject) -> Finding:
    """Compare the time scale with which soil moisture falls towards its low on dry days.

    Of three dry days in a row, the fall from the second to the third is set against that from the first on: soil
    moisture is a share rho of the day before and a constant of each cell and season, and rho is estimated with the
    first day as the instrument of the second, so that noise and rounding do not lower it. The time scale is
    -1 / ln(rho).
    """
    if "tp" not in subject.cube:
        return Finding(notes=("The cube has no precipitation (tp): dry days are not known.",))
    found = spells(subject.cube, subject.span)
    # The first of three dry days, the day after a dry one.
    starts = found.dry & (found.dry_after >= 2)
    forecasts = [*_triples(subject, starts)]
    if not forecasts:
        return Finding(notes=("The period has too few dry days in a row: no rate of drying is found.",))
    at, days, run, cube = (np.concatenate(parts) for parts in zip(*forecasts, strict=True))
    months = subject.days[days].astype("datetime64[M]").astype(np.int64) % 12
    season = (months + 1) % 12 // 3
    rows = []
    for name, cells in subject.groups().items():
        for position, layer in enumerate(subject.task.layers):
            both = [one[:, :, position] for one in (run, cube)]
            inside = np.isin(at, cells) & np.isfinite(both[0]).all(axis=1)
            is_observed = inside & np.isfinite(both[1]).all(axis=1)
            inside = is_observed if is_observed.any() else inside
            if inside.sum() < _LEAST:
                continue
            place = at[inside] * _SEASONS + season[inside], blocks_of(days[inside])
            scales = [_persistence(one[inside], *place).map(time_scale) for one in both]
            about: About = {"group": name, "layer": layer, "samples": int(inside.sum())}
            rows.append(Row.of(DRY_DOWN, "d", *scales, as_rates=True, **about))
    notes = (
        f"Dry days have less than {DRY * 1e3:g} mm of rain, as has the day before; the soil is neither frozen nor "
        "under snow."
    )
    return Finding(tuple(rows), notes=(notes,))


def _persistence(values: Array, place: Indices, block: Indices) -> Estimate:
    """Share of soil moisture that is left a day later, from three days in a row ``(sample, day)``."""
    names, number = np.unique(place, return_inverse=True)
    count = np.bincount(number, minlength=len(names))
    means = np.stack([np.bincount(number, one, len(names)) / count for one in values.T], axis=1)
    first, second, third = (values - means[number]).T
    return ratio(first * third, first * second, block)


def _triples(subject: Subject, starts: Bools) -> Iterator[tuple[Indices, Indices, Array, Array]]:
    """Give cell, day and values ``(sample, day, layer)`` of forecasts and observations on three dry days in a row."""
    task = subject.task
    if task.lead_days <= _FEW_LEADS:
        able = starts & subject.ready
        able[:, :-2] &= subject.ready[:, 1:-1] & subject.ready[:, 2:]
        able[:, -2:] = False
        at = subject.draw(able, use=2)
        days = [at.plus(later) for later in range(3)]
        run, cube = (np.stack([one(day)[:, 0] for day in days], axis=1) for one in (subject.forecast, subject.observed))
        if len(at):
            yield at.cells, at.days, run, cube
        return
    at = subject.draw(starts & subject.ready, use=2)
    if not len(at):
        return
    run, cube = subject.forecast(at), subject.observed(at)
    for lead in range(task.lead_days - 2):
        still_dry = starts[at.cells, np.minimum(at.days + lead, starts.shape[1] - 1)]
        part = slice(lead, lead + 3)
        yield at.cells[still_dry], at.days[still_dry] + lead, run[still_dry, part], cube[still_dry, part]
