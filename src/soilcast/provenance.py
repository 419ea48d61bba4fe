"""What an artifact was made from: versions, inputs, time. Every file that soilcast writes carries it."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("soilcast", "numpy", "xarray", "zarr", "torch")


def versions() -> dict[str, str]:
    """Versions of soilcast, of Python and of the packages that shape a result."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def stamp(made_by: str, **inputs: Any) -> str:
    """Provenance of one artifact as a JSON text, to be kept in its ``provenance`` attribute.

    Parameters
    ----------
    made_by
        The function or command that made it.
    inputs
        What it was made from: paths, hashes, options. Values must fit JSON.
    """
    return json.dumps(
        {
            "made_by": made_by,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
            **inputs,
        },
        default=str,
    )
