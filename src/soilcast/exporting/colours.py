"""The colours of a field: those of the report's maps, for pictures and for the styles of a GIS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.colors import to_hex

from soilcast.exporting.field import Field
from soilcast.products.indices import NOT_REACHED
from soilcast.products.variables import (
    ANOMALY,
    DAYS_TO_DRY,
    DROUGHT,
    DROUGHT_PROBABILITY,
    PERCENTILE,
    PROBABILITY_DRY,
    PROBABILITY_DRY_BY,
    Product,
)
from soilcast.reporting import drought
from soilcast.reporting.maps import Scale, robust_scale
from soilcast.reporting.style import MapStyle

Values = npt.NDArray[np.float32]

_PROBABILITIES = (DROUGHT_PROBABILITY, PROBABILITY_DRY, PROBABILITY_DRY_BY)
_STYLES: dict[Product, MapStyle] = {
    ANOMALY: MapStyle("BrBG", True, "drier than usual", "wetter than usual"),
    PERCENTILE: MapStyle("BrBG", False, "dry", "wet"),
    DROUGHT: drought.SCALE.style,
    DAYS_TO_DRY: MapStyle("YlOrBr_r", False, "soon", "late"),
    **dict.fromkeys(_PROBABILITIES, drought.ODDS.style),
}
_MOISTURE = MapStyle("YlGnBu", False, "dry", "wet")
_OTHER = MapStyle("viridis", False, "low", "high")


@dataclass(frozen=True)
class Class:
    """A value that stands for a class: how it is called and coloured (``#rrggbb``)."""

    value: int
    name: str
    colour: str


def product_of(field: Field) -> Product | None:
    """The product that a field is; None where it is none, such as soil moisture itself."""
    return next((product for product in _STYLES if field.name.endswith(f"_{product.suffix}")), None)


def drawable(field: Field) -> Values:
    """Values that a colour scale can show ``(band, cell)``: never dry comes after the last lead."""
    if product_of(field) is not DAYS_TO_DRY:
        return field.values
    return np.where(field.values == NOT_REACHED, np.float32(last_lead(field) + 1), field.values)


def scale_of(field: Field) -> Scale | None:
    """Colours and limits of all bands of a field; None where it has no value."""
    values, product = drawable(field), product_of(field)
    if not np.isfinite(values).any():
        return None
    limits = {
        PERCENTILE: (0.0, 100.0),
        **dict.fromkeys(_PROBABILITIES, (drought.ODDS.low, drought.ODDS.high)),
        DROUGHT: (drought.SCALE.low, drought.SCALE.high),
        DAYS_TO_DRY: (1.0, last_lead(field) + 1.0),
    }
    if product in limits:
        return Scale(*limits[product], _STYLES[product])
    style = _STYLES[product] if product else _MOISTURE if field.name.startswith("swvl") else _OTHER
    return robust_scale(values.astype(np.float64), style)


def classes_of(field: Field) -> list[Class]:
    """Classes of a field, in the order of their values; none where its values are a scale."""
    product = product_of(field)
    if product is DROUGHT:
        return [Class(value, name, colour) for value, (name, colour) in drought.CLASSES.items()]
    if product is not DAYS_TO_DRY:
        return []
    last = last_lead(field)
    colours = colormaps[str(_STYLES[DAYS_TO_DRY].colours)](np.linspace(0, 1, last + 1))
    days = [Class(lead, f"{lead} d", to_hex(colours[lead - 1])) for lead in range(1, last + 1)]
    return [Class(NOT_REACHED, f"later than {last} d", to_hex(colours[-1])), *days]


def last_lead(field: Field) -> int:
    """The longest lead of the artifact [d]."""
    return int(field.opened["lead"].max()) if "lead" in field.opened.coords else 1
