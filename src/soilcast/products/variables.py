"""How products are called and described in a forecast: names, types and CF attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from soilcast.cube.contract import VARIABLES
from soilcast.products.climate import Climate
from soilcast.products.indices import CLASS_NAMES, DROUGHT_CLASSES, DRY_PERCENTILE, MISSING, NO_DROUGHT, NOT_REACHED

DROUGHT_CLASS = "drought_class"
"""Dimension of the probabilities of the drought classes."""

CELL_RANK, TEMPLATE_DAY = "cell_rank", "template_day"
"""What follows a layer in the name of the ranks by which its cells depend on each other, and their dimension beside
cell and lead: validation days that all cells share."""


@dataclass(frozen=True)
class Dryness:
    """What counts as dry: at or below a percentile of the valid day [%], or, if given, a soil moisture [m3 m-3]."""

    percentile: float = DRY_PERCENTILE
    threshold: float | None = None

    def __post_init__(self) -> None:
        assert 0 < self.percentile < 100, "a percentile is in %"
        assert self.threshold is None or 0 < self.threshold < 1, "soil moisture is in m3 m-3"

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes of a product that depends on it."""
        if self.threshold is not None:
            return {"dry": f"at or below {self.threshold:g} m3 m-3"}
        return {"dry": f"at or below percentile {self.percentile:g} of the valid day"}


BY_LEAD = ("cell", "time", "lead")


@dataclass(frozen=True)
class Product:
    """One variable beside the forecast of a layer.

    Parameters
    ----------
    suffix
        What follows the layer in its name.
    title
        In words, before those of the layer.
    units
        As CF writes them.
    type
        On disk.
    dims
        Its dimensions.
    depends_on
        Whether it depends on the ``climate``, on what is ``dry``, which may be a percentile of the climate, or both.
    extra
        Attributes of its own.
    """

    suffix: str
    title: str
    units: str
    type: type[np.float32 | np.int8] = np.float32
    dims: tuple[str, ...] = BY_LEAD
    depends_on: str = "climate"
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)

    def name(self, layer: str) -> str:
        """Name of the variable."""
        return f"{layer}_{self.suffix}"

    def attributes(self, layer: str, climate: Climate, dryness: Dryness) -> dict[str, Any]:
        """CF attributes of the variable."""
        attributes = {"long_name": f"{self.title}: {VARIABLES[layer].long_name}", "units": self.units, **self.extra}
        if self.depends_on == "dry":
            attributes |= dryness.attributes
        if self.depends_on == "climate" or dryness.threshold is None:
            attributes |= climate.attributes
        return attributes | ({"_FillValue": np.int8(MISSING)} if self.type is np.int8 else {})


_CLASSES: dict[str, Any] = {
    "flag_values": np.array([NO_DROUGHT, *range(len(DROUGHT_CLASSES))], dtype=np.int8),
    "flag_meanings": " ".join(("none", *DROUGHT_CLASSES)),
    "highest_percentiles": np.array(list(DROUGHT_CLASSES.values())),
}
_NOT_WITHIN: dict[str, Any] = {
    "flag_values": np.array([NOT_REACHED], dtype=np.int8),
    "flag_meanings": "not_dry_within_the_leads",
}

ANOMALY = Product("anomaly", "departure from the mean of the date", "m3 m-3")
PERCENTILE = Product("percentile", "percentile among the days around the date", "%")
DROUGHT = Product("drought", "drought class of the U.S. Drought Monitor", "1", np.int8, extra=_CLASSES)
DAYS_TO_DRY = Product("days_to_dry", "days until it is dry", "d", np.int8, BY_LEAD[:2], "dry", _NOT_WITHIN)
DROUGHT_PROBABILITY = Product(
    "drought_probability", "probability of the drought class or a drier one", "1", dims=(*BY_LEAD, DROUGHT_CLASS)
)
PROBABILITY_DRY = Product("probability_dry", "probability that it is dry", "1", depends_on="dry")
PROBABILITY_DRY_BY = Product(
    "probability_dry_by", "probability that it is dry at least once up to the lead", "1", depends_on="dry"
)

PRODUCTS = (
    ANOMALY, PERCENTILE, DROUGHT, DAYS_TO_DRY, DROUGHT_PROBABILITY, PROBABILITY_DRY, PROBABILITY_DRY_BY
)  # fmt: skip
"""Every product; the probabilities only of forecasts with quantiles."""


def drought_class_coordinate() -> xr.Variable:
    """Names of the drought classes, D0 .. D4, and the highest percentile of each."""
    about = {
        "long_name": "drought class of the U.S. Drought Monitor",
        "comment": ", ".join(name.replace("_", " ") for name in DROUGHT_CLASSES),
        "highest_percentiles": _CLASSES["highest_percentiles"],
    }
    return xr.Variable(DROUGHT_CLASS, np.array(CLASS_NAMES), about)
