"""From nothing to a click: what an experiment such as the demo leaves in its folder is served as it lies there."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

from soilcast.cube import open_cube
from tests.helpers.serving import loaded, server
from tests.test_commands import run

EXPERIMENT = """
about: As the demo, but smaller.
source: planet
options: {resolution: 8, years: "2018:2020", seed: 0}
models: [lstm, phy-lstm]
config:
  train: {epochs: 1, validate_every: 1, batches_per_epoch: 3, validation_samples: 200}
  network: {hidden_size: 4}
"""


@pytest.mark.slow
def test_what_an_experiment_leaves_is_a_map(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(EXPERIMENT)
    run("compare", tmp_path / "small.yaml", "--out", tmp_path / "out")
    forecast = loaded(tmp_path / "out" / "forecasts" / "lstm")
    day = str(forecast["time"].to_numpy()[200])[:10]
    with server(tmp_path / "out") as (address, process), httpx.Client(base_url=address) as http:
        said = process.printed("stdout")
        for name in ("cube", "scores", "runs"):
            assert f"{name}: {tmp_path / 'out'}" in said
        page = http.get("/")
        assert page.headers["content-type"].startswith("text/html")
        found = {one["id"]: one for one in http.get("/map/catalogue").json()["collections"]}
        assert list(found) == ["lstm", "phy-lstm"]
        assert len(found["lstm"]["issues"]) == forecast.sizes["time"]
        assert "synthetic" in found["lstm"]["nature"]
        assert found["lstm"]["has_scores"]
        tile = http.get(f"/tiles/lstm/{day}/swvl1/0/0/0.png")
        assert tile.headers["content-type"] == "image/png"
        click = {"collection": "lstm", "issue": day, "lat": 50, "lon": 100}
        place = http.get("/map/place", params=click).json()
        layer = place["layers"]["swvl1"]
        stored = forecast["swvl1"].isel(cell=place["cell"], time=200).to_numpy()
        assert np.array_equal(np.float32(layer["coming"]["median"]), stored)
        with open_cube(tmp_path / "out" / "cube") as cube:
            record = cube["swvl1"].isel(cell=place["cell"]).sel(time=day)
        assert np.float32(layer["past"]["values"][-1]) == record
        assert set(layer["skill"]["metrics"]) >= {"rmse", "r"}
        assert layer["odds"] is None, "the paper's networks forecast no distribution"
        assert 0 <= layer["percentile"][0] <= 100
        refused = http.get("/map/what-if", params={**click, "rain": "5"})
        assert refused.status_code == 400
        assert "knows no weather of the coming days" in refused.json()["description"]
