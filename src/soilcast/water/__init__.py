"""The paper's physics: the water balance (Eq. 10-13), the losses (Eq. 8, 9, 14) and the consistency (Eq. 19)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soilcast.water.public import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        # Looked up when it is used: modules of this room that need no large library stay quick to import.
        return getattr(importlib.import_module("soilcast.water.public"), name)
