"""The scale or the classes of a field, in the colours of the report's maps: for pictures and for styles of a GIS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import to_hex

from soilcast.colours import DROUGHT_COLOURS, colouring_of, product_of
from soilcast.exporting.field import Field
from soilcast.products.indices import NOT_REACHED
from soilcast.products.variables import DAYS_TO_DRY, DROUGHT
from soilcast.reporting.maps import Scale, robust_scale
from soilcast.reporting.style import style_of_colouring

Values = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Class:
    """A value that stands for a class: how it is called and coloured (``#rrggbb``)."""

    value: int
    name: str
    colour: str


def drawable(field: Field) -> Values:
    """Values that a colour scale can show ``(band, cell)``: never dry comes after the last lead."""
    if product_of(field.name) is not DAYS_TO_DRY:
        return field.values
    return np.where(field.values == NOT_REACHED, np.float32(last_lead(field) + 1), field.values)


def scale_of(field: Field) -> Scale | None:
    """Colours and limits of all bands of a field; None where it has no value."""
    values, colouring = drawable(field), colouring_of(field.name)
    if not np.isfinite(values).any():
        return None
    is_days = product_of(field.name) is DAYS_TO_DRY
    limits = (1.0, last_lead(field) + 1.0) if is_days else colouring.limits
    style = style_of_colouring(colouring)
    return robust_scale(values.astype(np.float64), style) if limits is None else Scale(*limits, style)


def classes_of(field: Field) -> list[Class]:
    """Classes of a field, in the order of their values; none where its values are a scale."""
    product = product_of(field.name)
    if product is DROUGHT:
        return [Class(value, name, colour) for value, (name, colour) in DROUGHT_COLOURS.items()]
    if product is not DAYS_TO_DRY:
        return []
    last = last_lead(field)
    colours = colormaps[str(colouring_of(field.name).colours)](np.linspace(0, 1, last + 1))
    days = [Class(lead, f"{lead} d", to_hex(colours[lead - 1])) for lead in range(1, last + 1)]
    return [Class(NOT_REACHED, f"later than {last} d", to_hex(colours[-1])), *days]


def last_lead(field: Field) -> int:
    """The longest lead of the artifact [d]."""
    return int(field.opened["lead"].max()) if "lead" in field.opened.coords else 1
