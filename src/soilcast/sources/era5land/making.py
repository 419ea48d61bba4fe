"""What variables of the cube are made of: a parameter itself, or several of them together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from soilcast.sources.era5land.parameters import PARAMETERS
from soilcast.sources.humidity import specific_humidity


@dataclass(frozen=True)
class Recipe:
    """One way to a variable of the cube.

    Parameters
    ----------
    parts
        Parameters that it needs.
    combine
        From their stamps in the cube's units to those of the variable.
    said
        In words; empty where the parameter is the variable.
    """

    parts: tuple[str, ...]
    combine: Callable[..., Any]
    said: str = ""


def humidity(dewpoint: Any, pressure: Any) -> Any:
    """Make specific humidity; of values that can be neither, such as Celsius taken for kelvin, come any."""
    with np.errstate(all="ignore"):
        return specific_humidity(dewpoint, pressure)


def itself(values: Any) -> Any:
    """Leave values as they are."""
    return values


def together(one: Any, other: Any) -> Any:
    """Add two."""
    return one + other


_PLAIN = [name for name, row in PARAMETERS.items() if row.kind != "static"]

RECIPES: dict[str, tuple[Recipe, ...]] = {
    **{name: (Recipe((name,), itself),) for name in _PLAIN},
    "q": (
        Recipe(("q",), itself),
        Recipe(("d2m", "sp"), humidity, "of dewpoint and surface pressure (IFS documentation, eq. 7.4)"),
    ),
    "ro": (Recipe(("ro",), itself), Recipe(("sro", "ssro"), together, "surface and sub-surface runoff together")),
}
"""Variable of the cube -> ways to it, the best first."""
