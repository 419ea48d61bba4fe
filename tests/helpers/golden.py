"""What the designs of the paper, and one multi-day run, come to: numbers that may never change unnoticed.

``python tests/golden.py`` writes tests/golden.json anew. That file changes only where the method itself is meant to
change, in a commit that says why.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.forecasting import forecast
from soilcast.sources import prepare
from soilcast.training import load_config, open_run, train
from soilcast.verify import evaluate, metrics_of
from soilcast.verify.summary import weighted_mean, weighted_median
from tests.helpers import SHARED

FILE = Path(__file__).with_name("golden.json")

_SHORT = (
    "train.epochs=4",
    "train.validate_every=2",
    "train.batches_per_epoch=40",
    "train.validation_samples=2000",
    "train.threads=1",
    "train.device=cpu",
)
_CARAVAN = (
    "task.dynamic=[t2m,u10,v10,tp,sp,q,ssr,str]",
    "task.static=[landcover,elevation,slope,clay,sand,silt]",
    "water.terms=[P,dSD]",
    "split.test=2019",
    "split.development=1981-01-09:2018-12-31",
)
_SEVERAL_DAYS = (
    "task.dynamic=[t2m,tp,ssr,str,pev]",
    "task.static=[elevation,slope,clay,sand]",
    "task.window=10",
    "task.lags=[swvl1,swvl2]",
    "task.latency={lags: 2}",
    "task.calendar=true",
    "task.known_future=[t2m,tp]",
    "task.lead_days=4",
    "task.layers=[swvl1,swvl2]",
    "loss.lead_decay=1.0",
    "loss.name=quantiles",
    "loss.space=persistence",
    "head.predict=change",
    "task.quantiles=[0.05,0.1,0.25,0.5,0.75,0.9,0.95]",
    "network.hidden_size=32",
    "network.dropout=0",
    "normalise.method=z_score",
    "train.ensemble=2",
    "split.test=2019",
    "split.development=1981-01-17:2018-12-31",
)
SETTINGS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    **{f"planet {model}": ("planet", model, _SHORT) for model in ("lstm", "phy-lstm", "phys-lstm")},
    **{f"caravan {model}": ("caravan", model, (*_SHORT, *_CARAVAN)) for model in ("lstm", "phy-lstm", "phys-lstm")},
    "caravan several days": ("caravan", "lstm", (*_SHORT, *_SEVERAL_DAYS)),
}
"""Case -> source of its cube, model, settings."""

_SAMPLES = 24


def make_cube(source: str, folder: Path) -> Path:
    """Prepare the cube of a source: the built-in planet at 8 degrees, or the Caravan basins."""
    out = folder / source
    if not out.exists():
        options: dict[str, Any] = {"resolution": 8, "years": "2018:2020", "seed": 0} if source == "planet" else {}
        prepare(source, [] if source == "planet" else [SHARED / "caravan"], out=out, **options)
    return out


def run_case(case: str, folder: Path) -> dict[str, Any]:
    """Train, forecast and evaluate a case, and give what is kept of it."""
    source, model, settings = SETTINGS[case]
    cube = make_cube(source, folder)
    place = folder / case.replace(" ", "-")
    train(cube, place / "run", load_config(settings=settings, model=model))
    forecast(place / "run", cube, place / "forecast")
    scores = evaluate([place / "forecast"], cube, place / "scores")
    parameters = [one.detach().numpy() for network in open_run(place / "run").networks for one in network.parameters()]
    return {
        "weights": [_kept(one) for one in parameters],
        "forecast": _forecast(place / "forecast"),
        "scores": _scores(scores),
    }


def _forecast(path: Path) -> dict[str, dict[str, Any]]:
    with xr.open_zarr(path, consolidated=False, chunks=None) as opened:
        names = [name for name in ("swvl1", "swvl2", "swvl1_quantile", "swvl2_quantile") if name in opened]
        # Of a run with quantiles a layer is the median, and the mean stands beside it.
        stored = {name: f"{name}_mean" if f"{name}_mean" in opened else name for name in names}
        return {name: _kept(opened[one].to_numpy()) for name, one in stored.items()}


def _scores(scores: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Metric -> its area-weighted medians and means, a row a model (and target and lead), as one list each.

    Basins are weighted by their area here, too, as they were when the numbers were written.
    """
    area = scores["area"].to_numpy()
    rows = {name: scores[name].to_numpy().reshape(-1, len(area)) for name in metrics_of(scores)}
    numbers = {f"{name}_mean": [weighted_mean(row, area) for row in values] for name, values in rows.items()}
    numbers |= {f"{name}_median": [weighted_median(row, area) for row in values] for name, values in rows.items()}
    return {name: [None if np.isnan(one) else one for one in numbers[name]] for name in sorted(numbers)}


def _kept(values: npt.NDArray[np.floating]) -> dict[str, Any]:
    """Number of values that are there, mean, standard deviation, and some values at equal distances."""
    flat = values[np.isfinite(values)].astype(np.float64)
    at = np.linspace(0, len(flat) - 1, min(_SAMPLES, len(flat))).round().astype(int)
    return {"count": len(flat), "mean": flat.mean(), "deviation": flat.std(), "values": flat[at].tolist()}


def read_golden() -> Mapping[str, Any]:
    """Read what tests/golden.json holds."""
    found: Mapping[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        chosen = {case: run_case(case, Path(made)) for case in SETTINGS if not sys.argv[1:] or case in sys.argv[1:]}
    kept = dict(read_golden()) | chosen if FILE.exists() else chosen
    FILE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"{FILE}: {', '.join(chosen)}")
