"""soilcast: soil moisture forecasts with physics-guided neural networks, and their evaluation against baselines.

The whole path is six functions, each also a command::

    prepare -> train -> forecast -> evaluate -> report

and `open_cube`, `open_forecast`, `open_scores` and `open_run` open what they wrote.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soilcast.auditing import audit
    from soilcast.comparing import compare, demo
    from soilcast.cube import open_cube, open_forecast
    from soilcast.doctoring import doctor
    from soilcast.downloading import download, download_forecast
    from soilcast.errors import SoilcastError
    from soilcast.exporting import export
    from soilcast.forecasting import forecast
    from soilcast.inspecting import inspect
    from soilcast.operating import daily, daily_status
    from soilcast.plugins import load_plugin
    from soilcast.reporting import report
    from soilcast.reporting.scores import open_scores
    from soilcast.reproducing import reproduce
    from soilcast.searching import search
    from soilcast.serving import serve
    from soilcast.sources import prepare
    from soilcast.stations import verdict
    from soilcast.training import Config, commented_yaml, load_config, open_run, train
    from soilcast.updating import update
    from soilcast.verify import evaluate, summarise
    from soilcast.weather.bridging import bridge
    from soilcast.weather.degrade import degrade_weather

_HOME = {
    "Config": "training.config",
    "SoilcastError": "errors",
    "audit": "auditing",
    "bridge": "weather.bridging",
    "commented_yaml": "training.keys",
    "compare": "comparing",
    "daily": "operating",
    "daily_status": "operating",
    "degrade_weather": "weather.degrade",
    "demo": "comparing",
    "doctor": "doctoring",
    "download": "downloading",
    "download_forecast": "downloading",
    "evaluate": "verify",
    "export": "exporting",
    "forecast": "forecasting",
    "inspect": "inspecting",
    "load_config": "training.config",
    "load_plugin": "plugins",
    "open_cube": "cube",
    "open_forecast": "cube",
    "open_run": "training.run",
    "open_scores": "reporting.scores",
    "prepare": "sources.preparing",
    "report": "reporting",
    "reproduce": "reproducing",
    "search": "searching",
    "serve": "serving",
    "summarise": "verify",
    "train": "training.produce",
    "update": "updating",
    "verdict": "stations",
}

__all__ = [
    "Config",
    "SoilcastError",
    "audit",
    "bridge",
    "commented_yaml",
    "compare",
    "daily",
    "daily_status",
    "degrade_weather",
    "demo",
    "doctor",
    "download",
    "download_forecast",
    "evaluate",
    "export",
    "forecast",
    "inspect",
    "load_config",
    "load_plugin",
    "open_cube",
    "open_forecast",
    "open_run",
    "open_scores",
    "prepare",
    "report",
    "reproduce",
    "search",
    "serve",
    "summarise",
    "train",
    "update",
    "verdict",
]


__version__ = "0.1.0"


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    # Torch and matplotlib take seconds to import; a user of cubes alone does not wait for them.
    if name not in _HOME:
        raise AttributeError(f"module 'soilcast' has no attribute {name!r}")
    if _HOME[name] not in ("errors", "plugins"):
        importlib.import_module("soilcast.plugins").load_installed()
    return getattr(importlib.import_module(f"soilcast.{_HOME[name]}"), name)
