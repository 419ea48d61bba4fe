"""Training: configuration, split, normalisation, sampling, the loop and the run on disk."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soilcast.training.public import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        # Looked up when it is used: modules of this room that need no large library stay quick to import.
        return getattr(importlib.import_module("soilcast.training.public"), name)
