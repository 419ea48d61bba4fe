"""The sources: where a cube can come from. To add one, add a file and a line in `SOURCES` (docs/own-source.md)."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from soilcast.errors import SoilcastError
from soilcast.plugins import Registry
from soilcast.schema import nearest

if TYPE_CHECKING:
    import xarray as xr

    from soilcast.sources.preparing import prepare
else:

    def __getattr__(name: str) -> Any:
        # Looked up when it is used: who reads one file does not wait for all that a preparation needs.
        return getattr(importlib.import_module("soilcast.sources.preparing"), name)


__all__ = ["SOURCES", "prepare", "refuse_unknown"]

SOURCES: Registry[Callable[..., xr.Dataset]] = Registry(
    "source",
    {
        "planet": "soilcast.sources.planet:planet",
        "bucket": "soilcast.sources.bucket:bucket",
        "delaware": "soilcast.sources.delaware:delaware",
        "landbench": "soilcast.sources.landbench:landbench",
        "era5land": "soilcast.sources.era5land:era5land",
        "caravan": "soilcast.sources.caravan:caravan",
        "stations": "soilcast.sources.stations:stations",
        "table": "soilcast.sources.table:table",
    },
)
"""Every source by the name that ``prepare`` takes: called with the paths and the options of its signature."""


def refuse_unknown(source: str) -> None:
    """Raise `SoilcastError` for a name that is not in `SOURCES`."""
    if source not in SOURCES:
        raise SoilcastError(f"no such source {source}: {nearest(source, SOURCES)}")
