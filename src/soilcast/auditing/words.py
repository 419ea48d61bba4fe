"""What an audit says in sentences, each true from its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from soilcast.auditing.bounds import ABOVE, BELOW
from soilcast.auditing.deep_layers import LAG
from soilcast.auditing.dry_down import DRY_DOWN
from soilcast.auditing.findings import Row
from soilcast.auditing.rain_pulse import DECAY, SIZE
from soilcast.auditing.sensitivity import PERMUTED
from soilcast.reporting.style import pretty_units
from soilcast.reporting.wording import PERCENT, enumerated

_MOST_INPUTS = 3
_SUBJECTS = {
    SIZE: "the response to 10 mm of rain",
    DECAY: "the response falls by a factor e within",
    LAG: "the response is largest so many days after the rain:",
    DRY_DOWN: "without rain, soil moisture nears its low by a factor e within",
}


def sentences(rows: Sequence[Row]) -> list[str]:
    """Say what was found: first how many numbers differ, then each of the first group of cells, layer by layer."""
    compared = [row for row in rows if row.is_compared]
    different = [row for row in compared if row.differs]
    if not compared:
        first = "Nothing of the run could be compared with the cube."
    elif different:
        named = dict.fromkeys(row.quantity for row in different)
        first = (
            f"{len(different)} of {len(compared)} numbers of the run differ from the cube's by more than their errors "
            f"allow: {enumerated([*named])}."
        )
    else:
        first = f"None of {len(compared)} numbers of the run differs from the cube's by more than their errors allow."
    group = rows[0].group if rows else ""
    of_group = [row for row in rows if row.group == group]
    return [first, *(text for layer in _layers(of_group) for text in _of_layer(of_group, layer))]


def value_text(value: float, error: float, units: str, *, signed: bool = False) -> str:
    """Write a number with its standard error and unit; a dash where there is none."""
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return "without end"
    size = max(abs(value), error if np.isfinite(error) else 0.0)
    decimals = int(np.clip(2 - np.floor(np.log10(size)), 0, 5)) if size > 0 else 3
    sign = "+" if signed else ""
    spread = f" ± {error:.{decimals}f}" if np.isfinite(error) else ""
    return f"{value:{sign}.{decimals}f}{spread} {pretty_units(units)}".strip().replace("-", "−")


def _layers(rows: Sequence[Row]) -> list[str]:
    return [*dict.fromkeys(row.layer for row in rows)]


def _of_layer(rows: Sequence[Row], layer: str) -> Iterator[str]:
    found = {(row.quantity, row.about): row for row in rows if row.layer == layer}
    for quantity, subject in _SUBJECTS.items():
        row = found.get((quantity, ""))
        if row is not None and np.isfinite(row.run):
            yield f"{layer}: {subject} {'is ' if quantity == SIZE else ''}{_compared(row)}"
    for quantity in (BELOW, ABOVE):
        row = found.get((quantity, ""))
        if row is not None and row.run > 0:
            yield f"{layer}: {100 * row.run:.2g}{PERCENT} of the forecasts are {quantity.removeprefix('share ')}."
    ranked = sorted((row for row in found.values() if row.quantity == PERMUTED), key=lambda row: -row.run)
    if ranked:
        texts = [f"{row.about} ({100 * row.run:+.0f}{PERCENT})" for row in ranked[:_MOST_INPUTS]]
        yield f"{layer}: the RMSE rises most with other days of {enumerated(texts)}."


def _compared(row: Row) -> str:
    signed = row.quantity == SIZE
    own = value_text(row.run, row.run_error, row.units, signed=signed)
    if np.isnan(row.cube):
        return f"{own}."
    cube = value_text(row.cube, row.cube_error, row.units, signed=signed)
    if not row.is_compared:
        return f"{own}, the cube's own {cube}: not compared, since an error is not known."
    if not row.differs:
        return f"{own}, the cube's own {cube}: alike within their errors."
    if signed and row.run * row.cube < 0:
        return f"{own}, the cube's own {cube}: of the wrong sign."
    return f"{own}, the cube's own {cube}: {'more' if abs(row.run) > abs(row.cube) else 'less'} than the errors allow."
