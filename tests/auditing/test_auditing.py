"""What an audit finds: known physics is recovered, wrong physics is called so, and its folder stands for itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import soilcast
from soilcast.auditing.bounds import ABOVE, BELOW
from soilcast.auditing.deep_layers import LAG, SHARE
from soilcast.auditing.dry_down import DRY_DOWN
from soilcast.auditing.estimates import DRAWS, NONE, Estimate
from soilcast.auditing.findings import Row
from soilcast.auditing.rain_pulse import DECAY, RISES, SIZE, Place, places
from soilcast.auditing.sensitivity import ABSOLUTE, GRADIENT, PERMUTED
from soilcast.auditing.words import value_text
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from soilcast.task import Task
from tests.auditing.conftest import BUCKET, LEADS
from tests.helpers.html_page import Page, counted_pictures, loads_nothing_and_only_sorts
from tests.helpers.multiday import AHEAD, CELLS, DAYS, quick
from tests.helpers.small import small_cube
from tests.test_commands import refusal, run

RAIN = 0.01


@pytest.fixture(scope="module")
def audited(bucket_runs: Path, registered: Callable[[], AbstractContextManager[None]]) -> dict[str, pd.DataFrame]:
    with registered():
        return {
            name: soilcast.audit(bucket_runs / name, bucket_runs / "cube", bucket_runs / f"audit-{name}", samples=300)
            for name in ("true", "reversed", "next_day")
        }


def found(
    table: pd.DataFrame, quantity: str, layer: str = "swvl1", about: str = "", cells: str = "A equatorial"
) -> pd.Series:
    rows = table[(table["quantity"] == quantity) & (table["layer"] == layer) & (table["cells"] == cells)]
    rows = rows[rows["input"] == about]
    assert len(rows) == 1
    return rows.iloc[0]


def test_a_network_that_is_the_bucket_has_its_response(audited: dict[str, pd.DataFrame]) -> None:
    table = audited["true"]
    size, decay = found(table, SIZE), found(table, DECAY)
    assert size["run"] == pytest.approx(BUCKET.gain * RAIN, rel=1e-3)
    assert decay["run"] == pytest.approx(BUCKET.time_scale[0], rel=1e-3)
    assert found(table, RISES)["run"] == 1.0
    for row, known in ((size, BUCKET.gain * RAIN), (decay, BUCKET.time_scale[0])):
        assert abs(row["cube"] - known) < 2 * row["cube_error"] + row["method_error"]
        assert row["cube_error"] < 0.05 * known
        assert not row["differs"]


def test_rain_travels_down_as_in_the_bucket(audited: dict[str, pd.DataFrame]) -> None:
    table = audited["true"]
    assert found(table, LAG)["run"] == 0
    lower = np.zeros(LEADS)
    for day in range(1, LEADS):
        lower[day] = (
            lower[day - 1] * np.exp(-1 / BUCKET.lower) + BUCKET.drained * BUCKET.response(day - 1) / BUCKET.gain
        )
    assert found(table, LAG, "swvl2")["run"] == lower.argmax() == LEADS - 1
    share = found(table, SHARE, "swvl2")
    assert share["run"] == pytest.approx(lower.max(), rel=1e-3)
    assert share["cube"] == pytest.approx(lower.max(), abs=2 * share["cube_error"] + share["method_error"])
    assert not table[table["probe"] == "deep_layers"]["differs"].any()


def test_a_run_of_the_next_day_shows_a_pulse_in_the_forecasts_of_day_after_day(
    audited: dict[str, pd.DataFrame],
) -> None:
    table = audited["next_day"]
    size, decay = found(table, SIZE), found(table, DECAY)
    assert size["run"] == pytest.approx(RAIN * float(BUCKET.response(1)), rel=1e-3)
    assert decay["run"] == pytest.approx(BUCKET.time_scale[0], rel=1e-3)
    assert not size["differs"]
    assert not decay["differs"]


def test_drying_is_that_of_the_bucket(audited: dict[str, pd.DataFrame]) -> None:
    for name in ("true", "next_day"):
        row = found(audited[name], DRY_DOWN)
        assert row["run"] == pytest.approx(BUCKET.time_scale[0], rel=0.1)
        assert abs(row["cube"] - BUCKET.time_scale[0]) < 3 * row["cube_error"]
        assert row["cube_error"] < 0.25 * BUCKET.time_scale[0]


def test_a_network_that_takes_rain_for_drought_is_called_wrong(audited: dict[str, pd.DataFrame]) -> None:
    table = audited["reversed"]
    size = found(table, SIZE)
    assert size["run"] == pytest.approx(-BUCKET.gain * RAIN, rel=1e-3)
    assert size["cube"] > 0
    assert size["differs"]
    assert found(table, RISES)["run"] == 0.0
    assert found(table, GRADIENT, about="tp")["run"] < 0


def test_the_sentences_are_true_of_the_numbers(bucket_runs: Path, audited: dict[str, pd.DataFrame]) -> None:
    told = {
        name: json.loads((bucket_runs / f"audit-{name}" / "audit.json").read_text())["sentences"] for name in audited
    }
    wrong = next(one for one in told["reversed"] if one.startswith("swvl1: the response to 10 mm"))
    assert "is −0.0300" in wrong
    assert "of the wrong sign" in wrong
    right = next(one for one in told["true"] if one.startswith("swvl1: the response to 10 mm"))
    assert "is +0.0300" in right
    assert right.endswith("no difference beyond their errors.")
    for name, table in audited.items():
        compared = table["deviation"].notna()
        count = int(table["differs"].sum())
        assert f"{count or 'None'} of {int(compared.sum())} numbers" in told[name][0]


def test_a_forecast_depends_on_rain_alone_where_the_network_does(audited: dict[str, pd.DataFrame]) -> None:
    table = audited["true"]
    rain, height = (found(table, GRADIENT, about=name) for name in ("tp", "elevation"))
    assert rain["run"] > 0.5
    assert height["run"] == 0.0
    assert found(table, ABSOLUTE, about="tp")["run"] == pytest.approx(rain["run"], rel=1e-6)
    assert found(table, PERMUTED, about="tp")["run"] > 1.0
    assert found(table, PERMUTED, about="elevation")["run"] == 0.0


def test_forecasts_out_of_bounds_are_counted(audited: dict[str, pd.DataFrame]) -> None:
    assert found(audited["true"], BELOW)["run"] == 0.0
    assert 0.0 < found(audited["reversed"], BELOW)["run"] < 1.0
    assert found(audited["true"], ABOVE)["run"] < 0.01


def test_the_folder_stands_for_itself(bucket_runs: Path, audited: dict[str, pd.DataFrame]) -> None:
    folder = bucket_runs / "audit-true"
    assert {one.name for one in folder.iterdir()} == {"audit.html", "audit.json", "probes.csv"}
    record = json.loads((folder / "audit.json").read_text())
    assert record["weights_sha256"] == soilcast.open_run(bucket_runs / "true").record["weights_sha256"]
    assert record["cube_sha256"] == soilcast.open_cube(bucket_runs / "cube").attrs["content_sha256"]
    assert record["provenance"]["samples"] == 300
    written = pd.read_csv(folder / "probes.csv", keep_default_na=False, na_values={"run": "", "cube": ""})
    np.testing.assert_allclose(written["run"], audited["true"]["run"], rtol=1e-5)
    page = Page((folder / "audit.html").read_text(encoding="utf-8"))
    loads_nothing_and_only_sorts(page)
    assert counted_pictures(page)["svg"] == 2 + 2 + 2 + 4
    assert "what did it learn?" in page.text
    assert page.row("swvl1: response to 10 mm of rain")[2].startswith("0.0300")
    with pytest.raises(SoilcastError, match="audit-true exists already"):
        soilcast.audit(bucket_runs / "true", bucket_runs / "cube", folder)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(
    bucket_runs: Path, audited: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    first = (bucket_runs / "audit-next_day" / "probes.csv").read_bytes()
    for seed, is_same in ((0, True), (1, False)):
        out = tmp_path / "out"
        soilcast.audit(bucket_runs / "next_day", bucket_runs / "cube", out, samples=300, seed=seed, overwrite=True)
        assert ((out / "probes.csv").read_bytes() == first) is is_same


def test_what_cannot_be_audited_is_refused_in_a_line(bucket_runs: Path, tmp_path: Path) -> None:
    with pytest.raises(SoilcastError, match=r"the audited period 2030 is outside the cube \(2015-01-01 \.\. "):
        soilcast.audit(bucket_runs / "true", bucket_runs / "cube", tmp_path / "out", period="2030")
    with pytest.raises(SoilcastError, match="no forecast of 2015-01-01:2015-01-20 can be made"):
        soilcast.audit(bucket_runs / "true", bucket_runs / "cube", tmp_path / "out", period="2015-01-01:2015-01-20")
    with pytest.raises(SoilcastError, match="--samples 0"):
        soilcast.audit(bucket_runs / "true", bucket_runs / "cube", tmp_path / "out", samples=0)
    assert not any(tmp_path.iterdir())


def test_pulses_are_given_where_observed_soil_moisture_does_not_know_of_them() -> None:
    next_day = Task(window=3, dynamic=("tp",))
    assert places(next_day) == [Place(1, 1, 1), Place(2, 2, 1), Place(3, 3, 1)]
    ahead = Task(window=3, dynamic=("tp",), known_future=("tp",), lead_days=3)
    assert places(ahead) == [Place(0, 0, 1), Place(1, 0, 2), Place(2, 0, 3)]
    assert places(ahead.model_copy(update={"lags": ("swvl1",)})) == places(ahead)
    with_lags = Task(window=3, dynamic=("tp",), lags=("swvl1",), lead_days=3)
    assert places(with_lags) == []
    late = Task(window=5, dynamic=("tp",), lags=("swvl1",), latency={"lags": 2}, lead_days=2)
    assert places(late) == [Place(1, 1, 1), Place(2, 1, 2)]


@pytest.mark.slow
def test_a_run_with_lags_quantiles_and_weather_ahead_is_audited_by_command(tmp_path: Path) -> None:
    save_cube(small_cube(CELLS, DAYS), tmp_path / "cube")
    quick(tmp_path / "cube", tmp_path / "run", AHEAD, "task.layers=[swvl1,swvl2]", "train.ensemble=2")
    words = ("audit", tmp_path / "run", "--cube", tmp_path / "cube", "--samples", 100)
    told, _ = run(*words, "--out", tmp_path / "out", "--period", "2019-03:2020-02-19")
    assert told.splitlines()[0] == "audit: LSTM"
    assert told.splitlines()[1:] == json.loads((tmp_path / "out" / "audit.json").read_text())["sentences"]
    table = pd.read_csv(tmp_path / "out" / "probes.csv", keep_default_na=False)
    assert {"rain_pulse", "deep_layers", "dry_down", "bounds", "sensitivity"} == set(table["probe"])
    assert "observed swvl1" in set(table["input"])
    assert "exists already" in refusal(*words, "--out", tmp_path / "out")
    assert "not a run" in refusal("audit", tmp_path / "cube", "--cube", tmp_path / "cube", "--out", tmp_path / "new")


@pytest.mark.slow
def test_places_without_climate_zones_and_a_run_without_rain_are_audited(tmp_path: Path) -> None:
    cube = small_cube(CELLS, DAYS, grid=False, drop=["climate_zone"])
    save_cube(cube, tmp_path / "cube")
    quick(tmp_path / "cube", tmp_path / "run", "task.dynamic=[t2m]", "task.calendar=true", "task.layers=[swvl1]")
    table = soilcast.audit(tmp_path / "run", tmp_path / "cube", tmp_path / "out", samples=100)
    assert set(table["cells"]) == {"all cells"}
    assert set(table["probe"]) == {"dry_down", "bounds", "sensitivity"}
    assert "day of the year" in set(table["input"])
    page = Page((tmp_path / "out" / "audit.html").read_text(encoding="utf-8"))
    assert "no precipitation (tp) among its inputs" in page.text


def test_a_time_without_end_is_told_from_one_with_an_end() -> None:
    rng = np.random.default_rng(0)
    short = Estimate(np.array(8.0), 8.0 + rng.standard_normal(DRAWS))
    endless = np.where(rng.random(DRAWS) < 0.5, np.inf, 500.0)
    row = Row.of("time", "d", Estimate(np.array(np.inf), endless), short, as_rates=True)
    assert np.isnan(row.run_error), "of times that are partly without end"
    assert row.differs
    assert not Row.of("time", "d", short, short, as_rates=True).differs
    assert not Row.of("time", "d", NONE, short, as_rates=True).is_compared
    assert value_text(np.inf, np.nan, "d") == "without end"
