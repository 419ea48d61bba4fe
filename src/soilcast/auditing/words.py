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
_CLAUSES = {
    SIZE: "the response to 10 mm of rain is {}",
    DECAY: "the response to rain falls by a factor e in {}",
    LAG: "the response to rain is largest {} after it",
    DRY_DOWN: "without rain, soil moisture nears its low by a factor e in {}",
}


def sentences(rows: Sequence[Row]) -> list[str]:
    """Say what was found: first how many numbers differ, then those of the first group of cells, what differs first."""
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
    told = [one for layer in dict.fromkeys(row.layer for row in of_group) for one in _of_layer(of_group, layer)]
    return [first, *(text for _, text in sorted(told, key=lambda one: not one[0]))]


def value_text(value: float, error: float, units: str, *, signed: bool = False) -> str:
    """Write a number with its standard error and unit; a dash where there is none."""
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return "without end"
    size = max(abs(value), error if np.isfinite(error) else 0.0)
    decimals = int(np.clip(2 - np.floor(np.log10(size)), 0, 5)) if size > 0 else 0
    sign = "+" if signed else ""
    spread = f" ± {error:.{decimals}f}" if np.isfinite(error) else ""
    return f"{value:{sign}.{decimals}f}{spread} {pretty_units(units)}".strip().replace("-", "−")


def _of_layer(rows: Sequence[Row], layer: str) -> Iterator[tuple[bool, str]]:
    found = {(row.quantity, row.about): row for row in rows if row.layer == layer}
    for quantity, clause in _CLAUSES.items():
        row = found.get((quantity, ""))
        if row is not None and not np.isnan(row.run):
            own, cube = (value_text(*one, row.units, signed=quantity == SIZE) for one in _values(row))
            beside = "" if np.isnan(row.cube) else f", the cube's own {cube}: {_comparison(row)}"
            yield row.differs, f"{layer}: {clause.format(own)}{beside}."
    for quantity in (BELOW, ABOVE):
        row = found.get((quantity, ""))
        if row is not None and row.run > 0:
            yield (
                row.differs,
                f"{layer}: {_percent(row.run)} of the forecasts are {quantity.removeprefix('share ')}.",
            )
    exchanged = [row for row in found.values() if row.quantity == PERMUTED]
    ranked = sorted((row for row in exchanged if row.run > 2 * row.run_error), key=lambda row: -row.run)
    if ranked:
        texts = [f"{row.about} (+{_percent(row.run)})" for row in ranked[:_MOST_INPUTS]]
        yield False, f"{layer}: the RMSE rises most without the true values of {enumerated(texts)}."
    elif exchanged:
        yield False, f"{layer}: the RMSE rises without the true values of no input, beyond its error."


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share > 0.1 else 1}f}{PERCENT}" if share >= 0.001 else f"less than 0.1{PERCENT}"


def _values(row: Row) -> tuple[tuple[float, float], tuple[float, float]]:
    return (row.run, row.run_error), (row.cube, row.cube_error)


def _comparison(row: Row) -> str:
    if not row.is_compared:
        return "not compared, since an error is not known"
    if not row.differs:
        return "no difference beyond their errors"
    if row.quantity == SIZE and row.run * row.cube < 0:
        return "of the wrong sign"
    return f"{'more' if abs(row.run) > abs(row.cube) else 'less'} than the errors allow"
