"""Evaluation of forecasts beside the baselines that any model must beat."""

from soilcast.verify.aligned import Aligned
from soilcast.verify.deterministic import score_cells
from soilcast.verify.evaluate import evaluate
from soilcast.verify.metrics import METRICS, Metric, metrics_of, register_metric, score
from soilcast.verify.summary import summarise

__all__ = [
    "METRICS",
    "Aligned",
    "Metric",
    "evaluate",
    "metrics_of",
    "register_metric",
    "score",
    "score_cells",
    "summarise",
]
