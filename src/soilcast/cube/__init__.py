"""The cube: the variable contract, units on entry, the calendar, cells and grids, opening and saving."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soilcast.cube.public import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        # Looked up when it is used: modules of this room that need no large library stay quick to import.
        return getattr(importlib.import_module("soilcast.cube.public"), name)
