"""How good the forecasts are, beside the baselines that any model must beat."""

from soilcast.verify.kinds import evaluate
from soilcast.verify.metrics import METRICS, OUTLOOK_METRICS, Metric, score, score_cells
from soilcast.verify.outlooks import evaluate_outlooks
from soilcast.verify.summary import summarise

__all__ = [
    "METRICS",
    "OUTLOOK_METRICS",
    "Metric",
    "evaluate",
    "evaluate_outlooks",
    "score",
    "score_cells",
    "summarise",
]
