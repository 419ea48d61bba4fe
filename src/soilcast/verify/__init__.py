"""How good the forecasts are, beside the baselines that any model must beat."""

from soilcast.verify.evaluate import evaluate
from soilcast.verify.metrics import METRICS, Metric, score, score_cells
from soilcast.verify.summary import summarise

__all__ = ["METRICS", "Metric", "evaluate", "score", "score_cells", "summarise"]
