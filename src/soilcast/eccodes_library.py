"""eccodes, which decodes GRIB, beside other libraries of geography in one process."""

from __future__ import annotations

import contextlib
from typing import Any


def load_eccodes() -> Any:
    """Import eccodes.

    Its copy of PROJ is open to all libraries that come later: pyproj, which pyogrio imports where it is installed,
    would take its functions for its own, find no database and corrupt memory as the process ends. So it comes first.

    Raises
    ------
    ImportError, RuntimeError
        It is not installed, or its library is not found.
    """
    with contextlib.suppress(ImportError):
        import pyproj  # noqa: F401
    import eccodes

    return eccodes
