"""How well weather forecasts correlate with observations, by kind of variable and lead, from published scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, field_validator

from soilcast.errors import SoilcastError
from soilcast.schema import read_yaml, validate

PUBLISHED = Path(str(resources.files("soilcast.weather"))) / "scores.yaml"
"""Scores of ECMWF's operational forecasts, with their sources."""

_OTHER = "other"


class ForecastScores(BaseModel):
    """Scores of the forecasts of some variables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    variables: tuple[str, ...] = Field((), description="variables of the cube; those of no other kind: other")
    correlation: tuple[float, ...] = Field(
        min_length=1, description="correlation of forecast and observed anomalies by lead, from 1 day on"
    )

    @field_validator("correlation")
    @classmethod
    def _are_correlations(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 <= one <= 1 for one in value):
            raise ValueError("correlations must lie between 0 and 1")
        return value


def load_scores(path: str | Path | None = None) -> dict[str, ForecastScores]:
    """Read scores by kind of variable from a YAML file, by default `PUBLISHED`.

    Raises
    ------
    SoilcastError
        The file is missing, or has a key or a value that does not fit.
    """
    file = PUBLISHED if path is None else Path(path)
    content = read_yaml(file)
    return {
        str(kind): validate(ForecastScores, scores if isinstance(scores, dict) else {}, f"{file}: {kind}")
        for kind, scores in content.items()
    }


def correlations(
    table: Mapping[str, ForecastScores], names: Sequence[str], leads: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Correlation of forecast and observed anomalies of each variable ``(lead,)``.

    Raises
    ------
    SoilcastError
        A variable is of no kind, or its kind has fewer leads.
    """
    by_variable = {}
    for name in names:
        kind = next((kind for kind, scores in table.items() if name in scores.variables), _OTHER)
        if kind not in table:
            raise SoilcastError(f"the scores have neither {name} nor a kind {_OTHER}: add one of them to --scores")
        values = table[kind].correlation
        if len(values) < leads:
            raise SoilcastError(
                f"the scores of {kind} ({name}) end with lead {len(values)}, before lead {leads}: use fewer --leads, "
                "or give longer ones with --scores"
            )
        by_variable[name] = np.array(values[:leads], dtype=np.float64)
    return by_variable
