"""What a quantity is drawn in, on every page, picture and tile: its colours, their limits, words for both ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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

DROUGHT_COLOURS: dict[int, tuple[str, str]] = {
    -1: ("none", "#ffffff"),
    0: ("D0 abnormally dry", "#ffff00"),
    1: ("D1 moderate drought", "#fcd37f"),
    2: ("D2 severe drought", "#ffaa00"),
    3: ("D3 extreme drought", "#e60000"),
    4: ("D4 exceptional drought", "#730000"),
}
"""Names and colours of the U.S. Drought Monitor. From D0 on each is darker than the one before, and so they can be
distinguished under every common form of colour blindness."""


@dataclass(frozen=True)
class Colouring:
    """How a quantity is drawn.

    Parameters
    ----------
    colours
        Name of a matplotlib colour map that survives colour blindness, or a colour for each whole number.
    centred
        Whether 0 is the middle of the scale.
    low, high
        What the ends of the scale mean, in a word or two.
    limits
        Ends of the scale [the quantity's unit], where they do not follow from the values.
    """

    colours: str | tuple[str, ...]
    centred: bool
    low: str
    high: str
    limits: tuple[float, float] | None = None


MOISTURE = Colouring("YlGnBu", False, "dry", "wet")
CHANGE = Colouring("BrBG", True, "drier", "wetter")
CLASSES = Colouring(tuple(colour for _, colour in DROUGHT_COLOURS.values()), False, "", "", (-1.5, 4.5))
ODDS = Colouring("YlOrBr", False, "hardly", "surely", (0.0, 1.0))
OTHER = Colouring("viridis", False, "low", "high")

OF_PRODUCTS: dict[Product, Colouring] = {
    ANOMALY: Colouring("BrBG", True, "drier than usual", "wetter than usual"),
    PERCENTILE: Colouring("BrBG", False, "dry", "wet", (0.0, 100.0)),
    DROUGHT: CLASSES,
    DAYS_TO_DRY: Colouring("YlOrBr_r", False, "soon", "late"),
    **dict.fromkeys((DROUGHT_PROBABILITY, PROBABILITY_DRY, PROBABILITY_DRY_BY), ODDS),
}


def product_of(name: str) -> Product | None:
    """Give the product that a variable of a forecast is; None where it is none."""
    return next((product for product in OF_PRODUCTS if name.endswith(f"_{product.suffix}")), None)


def colouring_of(name: str) -> Colouring:
    """Give how a variable of a forecast or cube is drawn."""
    product = product_of(name)
    if product is not None:
        return OF_PRODUCTS[product]
    return MOISTURE if name.startswith(("swvl", "root_zone")) else OTHER


def robust_limits(
    values: npt.NDArray[np.floating], *, centred: bool, reach: float = float("inf")
) -> tuple[float, float] | None:
    """Limits at the 2nd and 98th percentile within a reach, symmetric if 0 is the middle; None without a value."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    low, high = (float(limit) for limit in np.clip(np.percentile(finite, [2, 98]), -reach, reach))
    if centred:
        end = max(abs(low), abs(high)) or 1e-3
        return -end, end
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        slack = abs(low) * 0.05 or 1e-3
        low, high = low - slack, high + slack
    return low, high
