"""Networks: a trunk and a head each, the predictive distributions, and the baselines that any of them must beat."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soilcast.models.public import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        # Looked up when it is used: modules of this room that need no large library stay quick to import.
        return getattr(importlib.import_module("soilcast.models.public"), name)
