"""Forecasts that no soil can hold: below 0, or above what the pores were ever seen to hold."""

from __future__ import annotations

import numpy as np

from soilcast.auditing.estimates import Estimate, ratio
from soilcast.auditing.events import blocks_of
from soilcast.auditing.findings import About, Finding, Row
from soilcast.auditing.subject import Array, Bools, Indices, Subject

BELOW, ABOVE = "share below 0", "share above the highest of training"

_RARE = 0.001
"""Shares that differ by less are alike."""

_SLACK = 0.005
"""By this share the highest of training may be passed: of a rare day, and by rounding."""


def bounds(subject: Subject) -> Finding:
    """Count forecasts out of bounds, and observations on the same days."""
    at = subject.draw(subject.ready, use=3)
    run, cube = subject.forecast(at), subject.observed(at)
    porosity = np.broadcast_to(subject.statistics.porosity, (len(subject.cells), len(subject.task.layers)))
    highest = porosity[at.cells, np.newaxis] * (1 + _SLACK)
    rows = []
    for name, cells in subject.groups().items():
        inside = np.isin(at.cells, cells)
        for position, layer in enumerate(subject.task.layers):
            for quantity, low, high in ((BELOW, 0.0, np.inf), (ABOVE, -np.inf, highest)):
                shares = [
                    _share(((one < low) | (one > high))[inside, :, position], one[inside, :, position], at.days[inside])
                    for one in (run, cube)
                ]
                about: About = {"group": name, "layer": layer, "samples": int(inside.sum())}
                rows.append(Row.of(quantity, "1", *shares, absolute=_RARE, **about))
    return Finding(tuple(rows))


def _share(beyond: Bools, values: Array, days: Indices) -> Estimate:
    """Share of what is known ``(sample, lead)`` that is beyond."""
    known = np.isfinite(values)
    over, under = (one.sum(axis=1).astype(np.float64) for one in (beyond & known, known))
    return ratio(over, under, blocks_of(days))
