"""Others' forecasts of soil moisture as baselines: matched on development days alone, and scored as all others are."""

from __future__ import annotations

import cloudpickle
import numpy as np
import pytest
import xarray as xr
from typer.testing import CliRunner

from soilcast.cli import app
from soilcast.cube import assemble, cells_of_grid, era5_land_thickness, open_cube, save_cube
from soilcast.errors import SoilcastError
from soilcast.models.baselines import BASELINES
from soilcast.reporting import report
from soilcast.verify import evaluate
from soilcast.verify.baselines import forecast_files
from soilcast.verify.blocks import score_on_worker
from soilcast.verify.entries import open_entries
from soilcast.verify.file_baselines import matched_forecasts, open_baseline, split_names
from soilcast.verify.plan import make_plan, open_files
from tests.helpers.forecast_factory import DAYS, GRID, ISSUES, LEADS, LEVELS, TEST, made_forecast

CELLS = len(GRID.index)
ALL = np.arange(len(DAYS) - LEADS)
"""Issue days, as positions along the days of the cube, of which all leads are in it."""


def truth_of(seed=0):
    """Soil moisture of forty values, each of which every cell has on many days of every period."""
    return (0.1 + np.random.default_rng(seed).integers(0, 40, (CELLS, len(DAYS))) / 128).astype(np.float32)


def saved(path, layers):
    about = {"title": "made soil moisture", "source": "test", "content": "random numbers"}
    variables = {**layers, "tp": np.zeros((CELLS, len(DAYS))), **era5_land_thickness(CELLS)}
    save_cube(assemble(variables, cells=cells_of_grid(GRID), time=DAYS, **about), path)
    return path


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("cube") / "cube", {"swvl1": truth_of(), "swvl2": truth_of(1)})


@pytest.fixture(scope="module")
def forecast(tmp_path_factory, cube):
    path = tmp_path_factory.mktemp("forecast") / "lstm"
    return made_forecast(path, cube, targets=("swvl1", "swvl2"), leads=LEADS, levels=LEVELS, noise=0.02)


def monotone(values, lead):
    """A distortion of its own in each cell and at each lead."""
    power = 0.5 + 0.2 * lead + 0.1 * np.arange(CELLS)[:, np.newaxis]
    return 0.05 + 0.9 * values**power


def affine(values, lead):
    return 0.08 + 0.03 * lead + (0.5 + 0.05 * np.arange(CELLS)[:, np.newaxis]) * values


def archive(path, cube, change=monotone, *, issues=ALL, names=("swvl1", "swvl2"), members=0, units="m3 m-3", edit=None):
    """Forecasts by issue day and lead, which are the observations of the valid days, changed."""
    with open_cube(cube) as opened:
        truth = {name: opened[name].to_numpy().astype(np.float64) for name in names if name in opened}
        places = {name: ("cell", opened[name].to_numpy()) for name in ("lat", "lon")}
    variables = {}
    for name in truth:
        values = np.stack([change(truth[name][:, issues + lead], lead) for lead in range(1, LEADS + 1)], axis=-1)
        dims = ("cell", "time", "lead")
        if members:
            spread = np.linspace(-0.02, 0.02, members)[:, np.newaxis, np.newaxis, np.newaxis]
            values, dims = values + spread, ("number", *dims)
        variables[name] = (dims, values.astype(np.float32), {"units": units})
    coordinates = {"time": DAYS[issues], "lead": ("lead", np.arange(1, LEADS + 1), {"units": "days"}), **places}
    data = xr.Dataset(variables, coordinates, {"title": "another model"})
    data = edit(data) if edit else data
    data.to_netcdf(path, engine="h5netcdf", encoding={"time": {"units": "days since 2018-01-01"}})
    return path


def planned(forecast, cube, path, matching="cdf"):
    with open_cube(cube) as opened:
        entries = open_entries([forecast], opened, ())
        return make_plan(
            entries, opened, cube, {target: {} for target in entries[0].targets}, (), {"other": path}, matching
        )


def matched(forecast, cube, path, matching="cdf", history=None):
    """What `matched_forecasts` gives of swvl1."""
    plan = planned(forecast, cube, path, matching)
    with open_files(plan) as files:
        known = files.cube["swvl1"].to_numpy() if history is None else history
        known = np.pad(known, ((0, 0), (0, len(plan.time) - known.shape[1])), constant_values=np.nan)
        return matched_forecasts(plan, "other", files.baselines["swvl1"]["other"], known, slice(0, CELLS))


# Perfect copies


@pytest.mark.parametrize(("matching", "change"), [("cdf", monotone), ("cdf", affine), ("mean-variance", affine)])
def test_a_distorted_copy_of_the_truth_scores_perfectly(tmp_path, cube, forecast, matching, change):
    path = archive(tmp_path / "copy.nc", cube, change)
    scores = evaluate(forecast, cube, tmp_path / "scores", baselines=[f"copy={path}"], matching=matching)
    assert list(scores["model"].to_numpy()) == ["LSTM", *BASELINES, "copy"]
    np.testing.assert_array_equal(scores["is_baseline"].sel(model="copy"), True)
    copy = scores.sel(model="copy")
    assert float(copy["rmse"].max()) < 1e-6
    assert float(copy["r"].min()) > 1 - 1e-9
    assert float(abs(copy["bias"]).max()) < 1e-6
    assert copy["r"].shape == (2, LEADS, CELLS)
    raw = evaluate(forecast, cube, tmp_path / "raw", baselines=[f"copy={path}"], matching="none")
    assert float(raw["rmse"].sel(model="copy").min()) > 0.01
    assert (raw["days"] == scores["days"]).all()


def test_mean_and_variance_do_not_undo_what_is_not_affine(tmp_path, cube, forecast):
    path = archive(tmp_path / "copy.nc", cube, monotone)
    found, _ = matched(forecast, cube, path, "mean-variance")
    assert np.nanmax(abs(found - matched(forecast, cube, path)[0])) > 1e-3


def test_a_copy_of_continuous_values_is_all_but_perfect(tmp_path):
    """Between two ranks of the development days the mapping is a straight line."""
    steps = np.random.default_rng(3).standard_normal((CELLS, len(DAYS)))
    truth = np.clip(0.3 + 0.03 * steps, 0.1, 0.5)
    path = saved(tmp_path / "cube", {"swvl1": truth})
    lstm = made_forecast(tmp_path / "lstm", path, leads=LEADS, levels=LEVELS)
    copy = archive(tmp_path / "copy.nc", path, names=("swvl1",))
    scores = evaluate(lstm, path, tmp_path / "scores", baselines=[f"copy={copy}"])
    assert float(scores["r"].sel(model="copy").min()) > 0.999
    assert float(scores["skill"].sel(model="copy").min()) > 0.9


# No test day leaks


def test_values_of_test_days_change_nothing_in_the_mapping(tmp_path, cube, forecast):
    """Shuffled over the test days, each value becomes what it became before, on its new day."""
    rng = np.random.default_rng(5)
    order = rng.permutation(len(DAYS[ISSUES]))
    plain = archive(tmp_path / "plain.nc", cube)

    def shuffle(data):
        for name in data.data_vars:
            data[name][:, ISSUES] = data[name].to_numpy()[:, ISSUES][:, order]
        return data

    shuffled = archive(tmp_path / "shuffled.nc", cube, edit=shuffle)
    for matching in ("cdf", "mean-variance"):
        found, errors = matched(forecast, cube, plain, matching)
        other, other_errors = matched(forecast, cube, shuffled, matching)
        # The last test days are those of leads from an issue day before, too: only those that moved are compared.
        np.testing.assert_array_equal(other, found[:, order])
        np.testing.assert_array_equal(other_errors, errors)
    scores = evaluate(forecast, cube, tmp_path / "scores", baselines=[f"copy={shuffled}"])
    assert float(scores["skill"].sel(model="copy").max()) < 0.5


def test_other_values_on_test_days_change_these_forecasts_alone(tmp_path, cube, forecast):
    def raise_one(data):
        data["swvl1"][:, ISSUES.start + 4] += 0.2
        return data

    found, errors = matched(forecast, cube, archive(tmp_path / "plain.nc", cube))
    other, other_errors = matched(forecast, cube, archive(tmp_path / "raised.nc", cube, edit=raise_one))
    same = np.arange(found.shape[1]) != 4
    np.testing.assert_array_equal(other[:, same], found[:, same])
    assert (other[:, 4] != found[:, 4]).all()
    np.testing.assert_array_equal(other_errors, errors)


def test_observations_of_test_days_are_not_looked_at(tmp_path, cube, forecast):
    path = archive(tmp_path / "copy.nc", cube)
    with open_cube(cube) as opened:
        history = opened["swvl1"].to_numpy().copy()
    found, errors = matched(forecast, cube, path, history=history)
    history[:, TEST] = np.random.default_rng(1).uniform(0, 1, history[:, TEST].shape)
    for before, after in zip((found, errors), matched(forecast, cube, path, history=history), strict=True):
        np.testing.assert_array_equal(after, before)


def test_errors_are_of_a_mapping_that_saw_no_validation_day(tmp_path, cube, forecast):
    """Observations that are 0.1 higher in validation are errors of 0.1, all of them."""
    path = archive(tmp_path / "copy.nc", cube)
    with open_cube(cube) as opened:
        history = opened["swvl1"].to_numpy().copy()
    validation = (np.datetime64("2020-01-01") <= DAYS) & (np.datetime64("2020-03-31") >= DAYS)
    history[:, validation] += np.float32(0.1)
    _, errors = matched(forecast, cube, path, history=history)
    assert errors.shape == (LEADS, CELLS, validation.sum())
    np.testing.assert_allclose(errors, 0.1, atol=1e-6)


def test_development_days_after_the_test_count_too(tmp_path, cube):
    """As in a year that is held out of the middle of a record."""
    periods = {
        "train_period": "2019-07-01:2020-06-30", "validation_period": "2019-04-01:2019-06-30",
        "test_period": "2019-01-01:2019-03-31",
    }  # fmt: skip
    lstm = made_forecast(tmp_path / "lstm", cube, leads=LEADS, levels=LEVELS, issues=slice(0, 80), **periods)
    scores = evaluate(lstm, cube, tmp_path / "scores", baselines=[f"copy={archive(tmp_path / 'copy.nc', cube)}"])
    assert float(scores["rmse"].sel(model="copy").max()) < 1e-6
    assert np.isfinite(scores["coverage_90"].sel(model="copy")).all()


# As other baselines


@pytest.fixture(scope="module")
def noisy(tmp_path_factory, cube):
    rng = np.random.default_rng(7)
    return archive(
        tmp_path_factory.mktemp("noisy") / "ifs.nc",
        cube,
        lambda values, lead: 0.1 + 0.7 * values + 0.01 * lead * rng.standard_normal(values.shape),
    )


def test_it_is_dressed_with_its_own_errors(tmp_path, cube, forecast, noisy):
    scores = evaluate(forecast, cube, tmp_path / "scores", baselines=[str(noisy)], significance=True)
    ifs = scores.sel(model="ifs")
    np.testing.assert_allclose(ifs["coverage_90"].mean("cell"), 0.9, atol=0.06)
    assert (ifs["crps"] < scores["crps"].sel(model="persistence")).all()
    assert (np.diff(ifs["rmse"].mean("cell"), axis=-1) > 0).all()
    assert {"LSTM"} <= set(scores["row"].to_numpy())
    tested = scores["difference"].sel(row="LSTM", reference="ifs", tested_metric="rmse", target="swvl1")
    assert np.isfinite(tested).all()
    expected = "ifs: another model (ifs.nc), matched by cumulative distributions on the days of training and validation"
    assert scores.attrs["baseline_files"] == expected


def test_days_that_it_lacks_are_scored_for_nobody_and_counted(tmp_path, cube, forecast):
    lacking = np.setdiff1d(ALL, [ISSUES.start + 3, ISSUES.start + 10])
    path = archive(tmp_path / "ifs.nc", cube, issues=lacking)
    scores = evaluate(forecast, cube, tmp_path / "scores", baselines=[str(path)])
    issues = ISSUES.stop - ISSUES.start
    np.testing.assert_array_equal(scores["days"], issues - 2)
    assert f"ifs on {2 * CELLS}" in scores.attrs["left_out"]


def test_without_training_days_it_is_a_point_forecast_and_said_so(tmp_path, cube, forecast):
    late = ALL[DAYS[ALL] >= np.datetime64("2020-01-01")]
    path = archive(tmp_path / "ifs.nc", cube, issues=late)
    scores = evaluate(forecast, cube, tmp_path / "scores", baselines=[str(path)])
    assert scores.attrs["baseline_files"].endswith("; points, for lack of training or validation days")
    assert np.isnan(scores["coverage_90"].sel(model="ifs")).all()
    assert np.isfinite(scores["coverage_90"].sel(model="persistence")).all()
    assert float(scores["rmse"].sel(model="ifs").max()) < 1e-3  # a hundred days have all but all of the values
    raw = evaluate(forecast, cube, tmp_path / "raw", baselines=[str(path)], matching="none")
    assert np.isfinite(raw["coverage_90"].sel(model="ifs")).all()


def test_of_an_ensemble_the_mean_counts(tmp_path, cube, forecast):
    single, several = (archive(tmp_path / f"{members}.nc", cube, affine, members=members) for members in (0, 5))
    for matching in ("cdf", "none"):
        found, expected = (matched(forecast, cube, path, matching)[0] for path in (several, single))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_forecast_of_soilcast_may_be_one(tmp_path, cube, forecast):
    issues = slice(5, ISSUES.stop)
    layers = ("swvl1", "swvl2")

    def with_units(data):
        return data.assign({name: data[name].assign_attrs(units="m3 m-3") for name in layers})

    options = {"targets": layers, "leads": LEADS, "issues": issues, "noise": 0.0, "change": with_units}
    path = made_forecast(tmp_path / "earlier", cube, **options)
    scores = evaluate(forecast, cube, tmp_path / "scores", baselines=[f"earlier={path}"])
    assert float(scores["rmse"].sel(model="earlier").max()) < 1e-6


def test_a_grid_gives_each_cell_the_point_that_it_lies_in(tmp_path, cube, forecast):
    plain = archive(tmp_path / "cells.nc", cube, affine)
    with xr.open_dataset(plain, engine="h5netcdf") as data:
        values = np.full((len(GRID.lat) * len(GRID.lon), *data["swvl1"].shape[1:]), np.nan, np.float32)
        values[GRID.index] = data["swvl1"].to_numpy()
        shape = (len(GRID.lat), len(GRID.lon), *values.shape[1:])
        grid = xr.Dataset(
            {"swvl1": (("lat", "lon", "time", "lead"), values.reshape(shape), {"units": "m3 m-3"})},
            {"lat": GRID.lat, "lon": GRID.lon, "time": data["time"], "lead": data["lead"]},
        )
        grid["swvl2"] = grid["swvl1"]
        path = tmp_path / "grid.nc"
        grid.to_netcdf(path, engine="h5netcdf")
    for one, other in zip(matched(forecast, cube, path), matched(forecast, cube, plain), strict=True):
        np.testing.assert_array_equal(one, other)


def test_scores_are_those_of_a_worker_to_the_bit(tmp_path, cube, forecast, noisy):
    plan = planned(forecast, cube, noisy)
    copied = cloudpickle.loads(cloudpickle.dumps(plan))
    whole, again = score_on_worker(plan, slice(0, CELLS)), score_on_worker(copied, slice(0, CELLS))
    for name, values in whole.metrics.items():
        np.testing.assert_array_equal(again.metrics[name], values)


def test_blocks_of_members_that_are_read_one_by_one_are_the_same(tmp_path, cube, forecast, noisy, monkeypatch):
    found = matched(forecast, cube, noisy)
    monkeypatch.setattr("soilcast.verify.file_baselines._READ_BYTES", 1)
    for one, other in zip(matched(forecast, cube, noisy), found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_command_names_it_and_the_report_shows_it(tmp_path, cube, noisy):
    forecast, out = made_forecast(tmp_path / "lstm", cube), tmp_path / "scores"
    words = ["evaluate", str(forecast), "--cube", str(cube), "--out", str(out), "--baseline", f"IFS HRES={noisy}"]
    done = CliRunner().invoke(app, [*words, "--matching", "mean-variance"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "IFS HRES: another model (ifs.nc), matched by mean and variance" in done.output
    assert "IFS HRES" in (out / "table.csv").read_text()
    page = report(out, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text() if page is None else page.read_text()
    assert "IFS HRES" in text
    assert "matched by mean and variance on the days of training and validation" in text


# Bad input


def refused(tmp_path, cube, forecast, *words, **options):
    with pytest.raises(SoilcastError) as told:
        evaluate(forecast, cube, tmp_path / "scores", **options)
    message = str(told.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"issues": ALL[ISSUES.start :]}, ["0 of its forecasts are of days of training and validation", "30 are needed",
         "--matching none"]),
        ({"issues": ALL[: ISSUES.start - 20]}, ["no forecast of the issue days that are scored (2020-03-31 .."]),
        ({"names": ("swvl1",)}, ["no swvl2 (volume_fraction_of", "which is needed; it has swvl1"]),
        ({"units": "kg m-2"}, ["swvl1", "kg m-2"]),
        ({"units": ""}, ["swvl1", "unit"]),
        ({"change": lambda values, lead: 40 * values}, ["swvl1"]),  # percent without saying so
        ({"edit": lambda data: data.assign_coords(lat=data["lat"] + 5.0)}, ["8 of 8 cells", "are not covered"]),
        ({"edit": lambda data: data.isel(cell=slice(1, None))}, ["1 of 8 cells", "are not covered"]),
        ({"edit": lambda data: data.isel(lead=slice(0, 2))}, ["lacks lead 3"]),
        ({"edit": lambda data: data.isel(time=3)}, ["holds one forecast, but"]),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_told(tmp_path, cube, forecast, made, words):
    path = archive(tmp_path / "ifs.nc", cube, **made)
    refused(tmp_path, cube, forecast, *words, baselines=[str(path)])


def test_an_option_that_makes_no_sense_is_told(tmp_path, cube, forecast, noisy):
    refused(tmp_path, cube, forecast, "--matching cdff is unknown: did you mean cdf?", baselines=[str(noisy)],
            matching="cdff")  # fmt: skip
    unknown = "no baseline linear to ask for: did you mean linear regression?; nor is there a file of this name"
    refused(tmp_path, cube, forecast, unknown, baselines=["linear"])
    refused(tmp_path, cube, forecast, "nor is there a file of this name", baselines=["IFS=nowhere.nc"])
    refused(tmp_path, cube, forecast, "the label 'persistence' is used already", baselines=[f"persistence={noisy}"])
    refused(tmp_path, cube, forecast, "the label 'ifs' is used already", baselines=[str(noisy), str(noisy)])
    refused(tmp_path, cube, forecast, "but this is a cube", baselines=[str(cube)])


def test_labels_and_paths_are_told_apart(tmp_path):
    odd = tmp_path / "a=b.nc"
    odd.write_bytes(b"")
    assert split_names(["linear regression", str(odd), f"x={odd}"]) == (
        ("linear regression",), {"a=b": odd, "x": odd},
    )  # fmt: skip


def test_a_file_that_has_changed_since_is_not_mixed_in(tmp_path, cube, forecast):
    """The plan opens it anew: days that are no longer there are told."""
    path = archive(tmp_path / "ifs.nc", cube)
    plan = planned(forecast, cube, path)
    archive(path, cube, issues=ALL[:5])
    with open_files(plan) as files:
        history = files.cube["swvl1"].to_numpy()
        found = forecast_files(plan, files.baselines["swvl1"], files.cube, "swvl1", history, slice(0, CELLS))
    assert np.isnan(found["other"].forecast).all()
    with open_cube(cube) as opened:
        assert open_baseline(plan.files["other"], opened, "swvl1", LEADS).covered.sum() == 5
