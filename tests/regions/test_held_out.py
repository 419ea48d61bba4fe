"""Intervals of regional means on real data that were held out: a land model's Moselle, with a short training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import soilcast
from soilcast.cube import open_cube
from soilcast.regions.forecasts import regional_forecast
from soilcast.regions.means import regional_mean
from soilcast.training import load_config
from tests.helpers import ROOT
from tools.regional_coverage import coverage, parts_of

SETTINGS = (
    "task.dynamic=[t2m,tp,pev]",
    "task.static=[]",
    "task.lead_days=5",
    "task.lags=[swvl1,swvl2]",
    "head.predict=change",
    "network.hidden_size=16",
    "train.epochs=3",
    "train.batches_per_epoch=60",
    "train.batch_size=128",
    "train.validate_every=1",
    "train.validation_samples=2000",
    "split.test=1993",
    "split.development=1990-01-11:1992-12-31",
)


@pytest.mark.slow
@pytest.mark.shared
def test_intervals_of_means_hold_about_what_they_promise_and_averaged_ones_more(shared: Path, tmp_path: Path) -> None:
    mapping = ROOT / "src" / "soilcast" / "sources" / "table" / "mappings" / "mhm_moselle.yaml"
    data = shared / "mhm_moselle" / "mhm_moselle_12km_daily_1990_1993.nc"
    soilcast.prepare("table", [data], out=tmp_path / "cube", mapping=mapping)
    soilcast.train(tmp_path / "cube", tmp_path / "run", load_config(settings=SETTINGS, model="multi-day"))
    forecast = soilcast.forecast(tmp_path / "run", tmp_path / "cube", tmp_path / "forecast")
    cube = open_cube(tmp_path / "cube")
    regions = parts_of(forecast, 1, "swvl1")
    at = np.searchsorted(cube["time"].to_numpy(), forecast["valid_time"].to_numpy())
    truth = regional_mean(cube, "swvl1", regions)[:, at]
    found = regional_forecast(forecast, regions)["swvl1_quantile"].sel(quantile=[0.05, 0.95]).to_numpy()
    averaged = regional_mean(forecast.sel(quantile=[0.05, 0.95]), "swvl1_quantile", regions)
    of_mean, naive = (coverage(truth, one[..., 0], one[..., 1]) for one in (found, averaged))
    assert of_mean == pytest.approx(0.9, abs=0.06)
    assert naive > of_mean + 0.01
    assert np.mean(averaged[..., 1] - averaged[..., 0]) > 1.05 * np.mean(found[..., 1] - found[..., 0])
