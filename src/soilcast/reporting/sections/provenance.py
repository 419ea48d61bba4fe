"""What an artifact was made from, and the configuration of its runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import xarray as xr

from soilcast.reporting import html
from soilcast.reporting.artifacts import flat, json_attribute
from soilcast.reporting.forecasts import ISSUE_DAYS
from soilcast.reporting.observations import OBSERVED_IN

_APART = ("provenance", "training_logs", "training_log", "configs", "config", "soilcast_kind", ISSUE_DAYS, OBSERVED_IN)
"""Attributes that are shown otherwise, or not."""


def of_scores(scores: xr.Dataset) -> html.Markup:
    """What the scores were made from, and the configuration of every run."""
    return _provenance(scores, json_attribute(scores, "configs"))


def of_forecast(forecast: xr.Dataset) -> html.Markup:
    """What the forecast was made from, and the configuration of its run."""
    return _provenance(forecast, {str(forecast.attrs.get("label", "the run")): json_attribute(forecast, "config")})


def of_verdict(verdict: xr.Dataset) -> html.Markup:
    """What the verdict was made from."""
    return _provenance(verdict, {})


def _provenance(dataset: xr.Dataset, configs: Mapping[str, Any]) -> html.Markup:
    attributes = {key: str(value) for key, value in dataset.attrs.items() if key not in _APART}
    texts = {label: json.dumps(config, indent=2, ensure_ascii=False) for label, config in configs.items()}
    return html.keys(attributes | flat(json_attribute(dataset, "provenance"))) + html.joined(
        html.folded(f"Configuration of {label}", html.preformatted(text)) for label, text in texts.items()
    )
