"""Weather with the errors of a model: they grow with lead as stated, and nothing else of the weather changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from soilcast.cube import open_artifact, open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.inspecting import inspect
from soilcast.weather import degrade as degrading
from soilcast.weather.climate import NormalScores, day_of_year, season_distance
from soilcast.weather.degrade import complete_days, degrade, degrade_weather, error_days
from soilcast.weather.scores import PUBLISHED, correlations, load_scores
from tests.helpers.multiday import AHEAD, CELLS, DAYS, LEADS, quick
from tests.helpers.small import small_cube
from tests.test_commands import run

YEARS = np.arange("2001-01-01", "2013-01-01", dtype="datetime64[D]").astype("datetime64[ns]")
"""Twelve years, three of them leap years."""

EVERY = np.ones(len(YEARS), dtype=np.bool_)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("degraded")
    save_cube(small_cube(CELLS, DAYS), path / "cube")
    degrade_weather(path / "cube", path / "weather", variables=["tp", "t2m"], leads=LEADS)
    return path


def red_noise(cells: int, days: int, memory: float = 0.7) -> np.ndarray:
    """Weather of standard normal distribution, correlated from day to day ``(cell, time)``."""
    drawn = np.random.default_rng(3).standard_normal((cells, days))
    for day in range(1, days):
        drawn[:, day] = memory * drawn[:, day - 1] + np.sqrt(1 - memory**2) * drawn[:, day]
    return drawn


def season(days: np.ndarray) -> np.ndarray:
    return np.cos(2 * np.pi * day_of_year(days) / 365.25)


def degraded(observed: np.ndarray, correlation: list[float], seed: int = 0) -> np.ndarray:
    order = np.random.default_rng(seed + 50).random(observed.shape)
    starts = error_days(YEARS, EVERY, len(correlation), seed, "cube")
    return degrade(observed.astype(np.float32), YEARS, np.array(correlation), starts, order)


def pairs(observed: np.ndarray, made: np.ndarray, lead: int) -> tuple[np.ndarray, np.ndarray]:
    """Observations and their forecasts ``(cell, day)``."""
    return observed[:, lead:], made[:, :-lead, lead - 1]


# ---------------------------------------------------------------- the error model


def test_forecasts_correlate_with_observations_as_stated() -> None:
    stated = [0.98, 0.9, 0.7, 0.4, 0.0]
    mean, deviation = 280 + 10 * season(YEARS), 3 + season(YEARS)
    observed = mean + deviation * red_noise(8, len(YEARS))
    made = degraded(observed, stated)
    for lead, r in enumerate(stated, start=1):
        observation, prediction = ((one - mean[lead:]) / deviation[lead:] for one in pairs(observed, made, lead))
        # Of the 35,000 days about 6,000 are independent: the standard error is below 0.013.
        assert np.corrcoef(observation.ravel(), prediction.ravel())[0, 1] == pytest.approx(r, abs=0.04)


def test_the_climate_of_forecasts_is_that_of_the_observations_in_every_season() -> None:
    anomalies = red_noise(4, len(YEARS))
    rain = np.maximum(0.0, anomalies + 0.3 * season(YEARS)) ** 2
    made = degraded(rain, [0.9, 0.5, 0.0])
    months = YEARS.astype("datetime64[M]").astype(int) % 12
    for lead in (1, 2, 3):
        observation, prediction = pairs(rain, made, lead)
        for month in range(12):
            chosen = months[lead:] == month
            assert (prediction[:, chosen] == 0).mean() == pytest.approx((observation[:, chosen] == 0).mean(), abs=0.06)
            for level in (0.75, 0.95):
                above = (prediction[:, chosen] > np.quantile(observation[:, chosen], level)).mean()
                assert above == pytest.approx(1 - level, abs=0.05)
    assert set(np.unique(made[np.isfinite(made)])) <= set(np.unique(rain.astype(np.float32)))


def test_a_correlation_of_one_gives_the_observations_to_the_bit() -> None:
    observed = np.round(np.maximum(0.0, red_noise(5, len(YEARS))), 1).astype(np.float32)  # ties, dry days
    observed[2, 1000:1010] = np.nan
    made = degraded(observed, [1.0, 1.0, 1.0])
    for lead in (1, 2, 3):
        observation, prediction = pairs(observed, made, lead)
        np.testing.assert_array_equal(prediction, observation)
        assert np.isnan(made[:, -lead:, lead - 1]).all()


def test_errors_hang_together_from_day_to_day_and_between_variables() -> None:
    anomalies = red_noise(8, len(YEARS))
    other = 0.8 * anomalies + 0.6 * red_noise(9, len(YEARS))[1:]
    one, two = (degraded(values, [0.0, 0.0]) for values in (anomalies, other))
    issued = slice(0, -2)
    memory = np.corrcoef(one[:, issued, 0].ravel(), one[:, issued, 1].ravel())[0, 1]
    between = np.corrcoef(one[:, issued, 0].ravel(), two[:, issued, 0].ravel())[0, 1]
    assert memory == pytest.approx(0.7, abs=0.05)
    assert between == pytest.approx(np.corrcoef(anomalies.ravel(), other.ravel())[0, 1], abs=0.05)


def test_no_more_of_the_day_is_known_than_the_correlation_says() -> None:
    observed = red_noise(3, len(YEARS)).astype(np.float32)
    starts = error_days(YEARS, EVERY, 2, 0, "cube")
    day = 2000
    changed = observed.copy()
    changed[:, day] = observed[::-1, day] + 0.5
    order = np.zeros_like(observed)
    made, other = (degrade(values, YEARS, np.zeros(2), starts, order) for values in (observed, changed))
    # Its climate, and the errors that are made of it, change; the forecasts of the day itself hardly.
    np.testing.assert_allclose(other[:, day - 1, 0], made[:, day - 1, 0], atol=0.1)
    np.testing.assert_allclose(other[:, day - 2, 1], made[:, day - 2, 1], atol=0.1)


@pytest.mark.parametrize("years", [2, 12])
def test_errors_are_of_the_same_season_of_other_days(years: int) -> None:
    days = YEARS[: 365 * years]
    starts = error_days(days, EVERY[: len(days)], 10, 4, "cube")
    apart = np.abs(starts - np.arange(len(days)))
    assert apart.min() >= 90
    assert starts.max() + 10 < len(days)
    assert starts.min() >= 0
    of_year = day_of_year(days)
    alike = season_distance(of_year[starts], of_year) <= 15
    assert alike[: 365 * years - 20].all()
    assert len(np.unique(starts)) > len(days) // 3
    assert not np.array_equal(starts, error_days(days, EVERY[: len(days)], 10, 5, "cube"))


def test_a_record_of_months_takes_errors_of_another_season_and_one_of_weeks_none() -> None:
    starts = error_days(YEARS[:300], EVERY[:300], 5, 0, "cube")
    assert np.abs(starts - np.arange(300)).min() >= 90
    with pytest.raises(
        SoilcastError, match="cube: 100 days are too few, as errors are the weather of 10 days that are 90"
    ):
        error_days(YEARS[:100], EVERY[:100], 10, 0, "cube")


def test_gaps_of_the_record_make_no_errors(tmp_path: Path) -> None:
    cube = small_cube(CELLS, DAYS)
    rain = cube["tp"].to_numpy().copy()
    rain[1, 100:250], rain[4, 300:305] = np.nan, np.nan
    rain[2] = np.nan  # a cell without a record
    cube["tp"] = (("cell", "time"), rain, cube["tp"].attrs)
    save_cube(cube, tmp_path / "cube")
    complete = complete_days(open_cube(tmp_path / "cube"), ["t2m", "tp"], [slice(0, 3), slice(3, CELLS)])
    np.testing.assert_array_equal(np.flatnonzero(~complete), [*range(100, 250), *range(300, 305)])
    made = degrade_weather(tmp_path / "cube", tmp_path / "weather", variables=["tp"], leads=LEADS)
    for lead in range(1, LEADS + 1):
        observation, prediction = pairs(rain, made["tp"].to_numpy(), lead)
        np.testing.assert_array_equal(np.isnan(prediction), np.isnan(observation))


def test_normal_scores_are_normal_and_come_back() -> None:
    observed = np.maximum(0.0, red_noise(3, len(YEARS))).astype(np.float32)
    normal = NormalScores(observed, YEARS, np.random.default_rng(0).random(observed.shape))
    assert normal.scores.mean() == pytest.approx(0.0, abs=0.01)
    assert normal.scores.std() == pytest.approx(1.0, abs=0.02)
    for days, period in normal.climates():
        np.testing.assert_array_equal(normal.restore(normal.scores[:, days], period), observed[:, days])
        by_score = np.take_along_axis(observed[:, days], np.argsort(normal.scores[:, days], axis=1), axis=1)
        np.testing.assert_array_equal(by_score, np.sort(observed[:, days], axis=1))


# ---------------------------------------------------------------- the published scores


def test_the_table_follows_from_the_scores_that_it_names() -> None:
    """Rank correlations of HRES and climatology with ERA5, 30 to 60 N, by Walz et al.; all else as scores.yaml says."""

    def normal(forecast: float, climatology: float) -> float:
        return 2 * np.sin(np.pi * (forecast - climatology**2) / (1 - climatology**2) / 6)

    rain = [normal(0.9415, 0.2393), normal(0.8741, 0.2393)]
    temperature, wind = normal(0.9880, 0.9161), normal(0.8599, 0.3543)
    leads = np.arange(1, 11)
    height = np.interp(leads, [0, 3, 5, 7, 10], [1.0, 0.985, 0.92, 0.80, 0.50])
    shape = np.log(np.log(0.6) / np.log(temperature)) / np.log(10 / 3)
    expected = {
        "temperature": np.exp(np.log(temperature) * (leads / 3) ** shape),
        "pressure": height,
        "precipitation": np.where(leads < 3, np.interp(leads, [1, 3], rain), rain[1] * height / height[2]),
    }
    expected["other"] = expected["precipitation"] * wind / rain[1]
    table = load_scores()
    assert table.keys() == expected.keys()
    for kind, values in expected.items():
        np.testing.assert_allclose(table[kind].correlation, values, atol=6e-4, err_msg=kind)
    assert expected["temperature"][4] == pytest.approx(1 - 2.03**2 / (2 * 3.50**2), abs=0.02)


def test_a_variable_takes_the_scores_of_its_kind() -> None:
    table = load_scores()
    found = correlations(table, ("tp", "t2m", "ssrd"), 4)
    for name, kind in (("tp", "precipitation"), ("t2m", "temperature"), ("ssrd", "other")):
        assert found[name].tolist() == list(table[kind].correlation[:4])
        assert (np.diff(table[kind].correlation) < 0).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"rain": {"variables": ["tp"], "correlation": [0.9]}}, "the scores have neither t2m nor a kind other"),
        (
            {"other": {"correlation": [0.9]}},
            r"the scores of other \(t2m\) end with lead 1, before lead 3: use fewer --lead",
        ),
        ({"other": {"correlation": [0.9, 1.2, 0.1]}}, "mine.yaml: other: correlation: correlations must lie between"),
        ({"other": {"correlation": [0.9], "leads": 1}}, "mine.yaml: other: unknown key leads"),
        ({"other": 3}, "mine.yaml: other: key correlation is missing"),
    ],
)
def test_scores_of_ones_own_are_checked(folder: Path, tmp_path: Path, content: object, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SoilcastError, match=message):
        degrade_weather(folder / "cube", tmp_path / "out", variables=["t2m"], leads=3, scores=tmp_path / "mine.yaml")


# ---------------------------------------------------------------- the archive


def test_an_archive_says_what_it_is(folder: Path) -> None:
    with open_artifact(folder / "weather", "weather_archive") as found:
        assert found["tp"].dims == ("cell", "time", "lead")
        assert found.attrs["content"] == "degraded observations, not a real weather forecast"
        assert found.attrs["weather"] == "degraded"
        assert found.attrs["cube_sha256"] == open_cube(folder / "cube").attrs["content_sha256"]
        assert json.loads(found.attrs["correlation"])["t2m"] == list(load_scores()["temperature"].correlation[:LEADS])
    text = inspect(folder / "weather", verify=True)
    assert "not a real weather forecast" in text
    assert "tp (total precipitation): correlation with observations by lead: 0.943, 0.91, 0.877" in text


@pytest.mark.parametrize("name", ["again", "again.nc"])
def test_an_archive_depends_on_the_cube_and_the_seed_alone(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(degrading, "_BLOCK_BYTES", 1)  # a cell at a time
    options = {"variables": ["t2m", "tp"], "leads": LEADS}
    again = degrade_weather(folder / "cube", tmp_path / name, **options)
    with xr.open_dataset(folder / "weather") as first:
        for variable in ("tp", "t2m"):
            np.testing.assert_array_equal(again[variable], first[variable])
        assert again.attrs["content_sha256"] == first.attrs["content_sha256"]
        other = degrade_weather(folder / "cube", tmp_path / "other", **options, seed=1)
        assert not np.array_equal(other["t2m"], first["t2m"], equal_nan=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "other"])


def test_runs_and_forecasts_say_that_their_weather_is_degraded(folder: Path, tmp_path: Path) -> None:
    quick(folder / "cube", tmp_path / "observed", AHEAD)
    made = forecast(tmp_path / "observed", folder / "cube", tmp_path / "forecast", weather=folder / "weather")
    assert made.attrs["weather"] == "degraded"
    assert made.attrs["weather_title"] == "degraded weather of A small world for tests"
    assert (
        made.attrs["weather_forecast"] == open_artifact(folder / "weather", "weather_archive").attrs["content_sha256"]
    )
    found = np.isfinite(made["swvl1"]).all(("cell", "lead")).to_numpy()
    assert found[:-LEADS].all()


@pytest.mark.slow
def test_the_command_makes_an_archive(folder: Path, tmp_path: Path) -> None:
    words = ["degrade", str(folder / "cube"), "--out", str(tmp_path / "out"), "--variables", "tp,t2m", "--leads", "3"]
    assert "degraded weather of A small world for tests" in run(*words)[0]
    with open_artifact(tmp_path / "out", "weather_archive") as made, xr.open_dataset(folder / "weather") as expected:
        np.testing.assert_array_equal(made["tp"], expected["tp"])


def test_what_cannot_be_degraded_is_named(folder: Path, tmp_path: Path) -> None:
    faults = {
        "no dynamic variable t2n: did you mean t2m": {"variables": ["t2n"]},
        "give one lead and one variable at least": {"variables": []},
        r"end with lead 10, before lead 11: use fewer --leads": {"variables": ["tp"], "leads": 11},
    }
    for message, options in faults.items():
        with pytest.raises(SoilcastError, match=message):
            degrade_weather(folder / "cube", tmp_path / "out", **options)  # type: ignore[arg-type]
    with pytest.raises(SoilcastError, match="weather exists already"):
        degrade_weather(folder / "cube", folder / "weather", variables=["tp"])


def test_the_published_scores_are_a_file_to_copy() -> None:
    assert PUBLISHED.name == "scores.yaml"
    assert "doi:" in PUBLISHED.read_text(encoding="utf-8")
