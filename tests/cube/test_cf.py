"""What soilcast writes keeps to CF, by the judgement of IOOS' compliance-checker, and opens by xarray alone."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from compliance_checker.runner import CheckSuite
from xarray.backends import list_engines

import soilcast
from soilcast.backend import SoilcastBackend
from soilcast.cube import VARIABLES, open_artifact, open_cube, save_cube, write_dataset
from soilcast.errors import SoilcastError
from soilcast.forecasting import forecast
from soilcast.provenance import history_of, stamp
from soilcast.training import load_config, train
from soilcast.verify import evaluate
from tests.helpers.multiday import CELLS, DAYS, quick
from tests.helpers.small import few, small_cube

ISSUE = "2020-01-20"
PLACES = ("grid", "places")
SCORED = {"grid": "next-day", "places": "days"}

# Where the checker is wrong.
WRONG = (
    # CF gives names no meaning (section 1.3), but the checker wants a dimension that is called time to be the time that
    # is valid. Here it is the issue day, forecast_reference_time; the valid time is an auxiliary coordinate of two
    # dimensions, as CF has it for forecasts.
    r"Coordinate variable 'time' should have standard_name='time', found: 'forecast_reference_time'",
    # For the same reason it takes the issue day for the time axis (T) of section 2.4, which recommends to have nothing
    # to the right of it. The issue day is not that axis: valid_time is, which goes along the issue day and the lead.
    r"\w+'s spatio-temporal dimensions are not in the recommended order .* (time|template_day) \(T\), lead \(U\).*",
    # It subtracts the labels of models and targets, which are text, from each other to see whether they ascend.
    r"check_coordinate_variables_strict_monotonicity: unsupported operand type\(s\) for -: 'str' and 'str'",
)


def complaints(path: Path) -> list[str]:
    """Errors and warnings of the checker of CF 1.11, and its own faults; not what it is wrong about."""
    CheckSuite.load_all_available_checkers()
    suite = CheckSuite()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suite.load_dataset(str(path)) as dataset:
            ((groups, faults),) = suite.run_all(dataset, ["cf:1.11"], skip_checks=[]).values()
    found = [message for group in groups for message in messages(group)]
    found += [f"{check}: {fault[0]}" for check, fault in faults.items()]
    return [message for message in found if not any(re.fullmatch(wrong, message, re.DOTALL) for wrong in WRONG)]


def messages(group: Any) -> Iterator[str]:
    passed, checked = group.value if isinstance(group.value, tuple) else (bool(group.value), 1)
    if passed < checked:
        yield from group.msgs or [f"{group.name} is not passed"]
        for child in group.children or []:
            yield from messages(child)


def opened(path: Path) -> xr.Dataset:
    """What `xr.open_dataset` gives, by a path alone; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset: xr.Dataset = xr.open_dataset(path)
    return dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cubes of a grid and of places, and forecasts and scores of both."""
    path = tmp_path_factory.mktemp("cf")
    short = ["train.epochs=1", "train.validate_every=1", "train.batches_per_epoch=3", "network.hidden_size=4"]
    for name in PLACES:
        cube = path / name
        save_cube(small_cube(CELLS, DAYS, grid=name == "grid"), cube)
        quick(cube, path / f"{name}-run", "task.layers=[swvl1,swvl2,swvl3]", "task.lags=[swvl1,swvl2,swvl3]")
        train(cube, path / f"{name}-next-run", load_config(settings=[*short, "split.test=2020-01-01:2020-02-19"]))
        endings = ("", ".nc") if name == "grid" else ("",)
        for ending in endings:
            save_cube(small_cube(CELLS, DAYS, grid=name == "grid"), path / f"{name}{ending}", overwrite=True)
            forecast(path / f"{name}-next-run", cube, path / f"{name}-next-day{ending}")
            forecast(path / f"{name}-run", cube, path / f"{name}-days{ending}")
            forecast(path / f"{name}-run", cube, path / f"{name}-issue{ending}", issue=ISSUE)
        scored = SCORED[name]
        evaluate([path / f"{name}-{scored}"], cube, path / f"{name}-{scored}-scores")
    return path


MADE = [f"{name}{made}" for name in PLACES for made in ("", "-next-day", "-days", "-issue")]


@pytest.mark.slow
@pytest.mark.parametrize(("made", "ending"), [(made, ".nc" if made.startswith("grid") else "") for made in MADE])
def test_cubes_and_forecasts_pass_the_checker(folder: Path, tmp_path: Path, made: str, ending: str) -> None:
    path = folder / f"{made}{ending}"
    if not ending:  # the checker reads NetCDF alone: what xarray makes of the Zarr folder
        with opened(path) as dataset:
            dataset.to_netcdf(tmp_path / "copy.nc", engine="h5netcdf")
        path = tmp_path / "copy.nc"
    assert complaints(path) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "made"), SCORED.items())
def test_scores_pass_the_checker(folder: Path, name: str, made: str) -> None:
    assert complaints(folder / f"{name}-{made}-scores" / "scores.nc") == []


@pytest.mark.slow
def test_the_planet_passes_the_checker(tmp_path: Path) -> None:
    soilcast.prepare("planet", out=tmp_path / "planet.nc", resolution=8, years="2020")
    assert complaints(tmp_path / "planet.nc") == []


def test_the_checker_checks(tmp_path: Path) -> None:
    cube = few()
    cube["tp"].attrs |= {"standard_name": "rain", "units": "m per day"}
    del cube["elevation"].attrs["units"]
    write_dataset(cube, tmp_path / "cube.nc", netcdf=True)
    found = "\n".join(complaints(tmp_path / "cube.nc"))
    assert "rain" in found
    assert "elevation" in found


# ---------------------------------------------------------------- opened by xarray alone


def test_the_backend_is_installed() -> None:
    assert isinstance(list_engines()["soilcast"], SoilcastBackend)


@pytest.fixture(autouse=True)
def _backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """The backend, also where soilcast was installed before it had one."""
    engines = {"soilcast": SoilcastBackend(), **list_engines()}
    monkeypatch.setattr("xarray.backends.plugins.list_engines", lambda: engines)


@pytest.mark.slow
@pytest.mark.parametrize("made", MADE)
def test_xarray_opens_a_folder_lazily_and_decoded(folder: Path, made: str) -> None:
    with opened(folder / made) as dataset, warnings.catch_warnings():
        warnings.simplefilter("error")
        kind = dataset.attrs["soilcast_kind"]
        assert not dataset["swvl1"].variable._in_memory
        assert dataset["time"].dtype.kind == "M"
        whole = open_cube(folder / made) if kind == "cube" else open_artifact(folder / made, kind)
        xr.testing.assert_identical(dataset.load(), whole.load())
        assert dataset["swvl1"].attrs["valid_range"].dtype == dataset["swvl1"].dtype == np.float32


def test_a_folder_of_others_is_left_to_others(tmp_path: Path) -> None:
    few().drop_attrs().to_zarr(tmp_path / "other", zarr_format=3, consolidated=False)
    backend = SoilcastBackend()
    assert not backend.guess_can_open(tmp_path / "other")
    assert not backend.guess_can_open(tmp_path)
    assert not backend.guess_can_open("https://example.org/cube")
    assert not backend.guess_can_open(b"bytes")


@pytest.mark.slow
def test_metadata_are_in_one_place_and_stay_true(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "days"
    for day in (ISSUE, "2020-01-21"):
        forecast(folder / "places-run", folder / "places", out, issue=day, append=True)
        described = json.loads((out / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
        arrays = {path.parent.name: json.loads(path.read_text()) for path in out.glob("*/zarr.json")}
        assert {name: one["shape"] for name, one in described.items()} == {
            name: one["shape"] for name, one in arrays.items()
        }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xr.open_dataset(out, engine="zarr") as dataset:
            assert dataset.sizes["time"] == 2


# ---------------------------------------------------------------- what is said


@pytest.mark.slow
def test_bounds_and_flags_are_of_the_type_of_their_variable(folder: Path) -> None:
    for ending in ("", ".nc"):
        cube = open_cube(folder / f"grid{ending}")
        for name, variable in cube.data_vars.items():
            assert variable.attrs["valid_range"].dtype == variable.dtype, name
            assert variable.attrs.get("standard_name") == VARIABLES[str(name)].standard_name
        assert cube["climate_zone"].attrs["flag_values"].dtype == np.float32
        assert cube["climate_zone"].attrs["flag_meanings"].split()[30] == "EF"
        issue = open_artifact(folder / f"grid-issue{ending}", "forecast")
        assert issue["swvl1_drought"].attrs["flag_values"].dtype == issue["swvl1_drought"].encoding["dtype"] == np.int8


@pytest.mark.slow
def test_history_says_each_step_of_the_provenance(folder: Path) -> None:
    for name, command in (("grid", "soilcast prepare"), ("grid-days", "soilcast forecast")):
        for ending in ("", ".nc"):
            with xr.open_dataset(folder / f"{name}{ending}") as dataset:
                made = json.loads(dataset.attrs["provenance"])
                line = f"{made['created']} {command} (soilcast {made['versions']['soilcast']})"
                assert dataset.attrs["history"] == line
    first, second = (json.loads(stamp(f"soilcast {step}")) for step in ("prepare", "update"))
    lines = history_of(json.dumps({**first, "appended": [second]}))["history"].splitlines()
    assert [line.split()[2] for line in lines] == ["prepare", "update"]
    for nothing in ("", "{}", "[]", "null", "{", '{"created": 1, "made_by": 2, "versions": 3}'):
        assert history_of(nothing) == {}


# ---------------------------------------------------------------- formats


@pytest.mark.parametrize("name", ["old", "old.nc"])
@pytest.mark.parametrize(
    ("kind", "found", "told"),
    [
        (
            "forecast",
            {"soilcast_kind": "forecast"},
            "a forecast of {by} (format 1), but this version of soilcast reads format 4",
        ),
        (
            "forecast",
            {"soilcast_kind": "outlook"},
            "a forecast of {by} (format 1), but this version of soilcast reads format 4",
        ),
        (
            "forecast",
            {"soilcast_kind": "forecast", "soilcast_format": 3},
            "a forecast of {by} (format 3), but this version of soilcast reads format 4",
        ),
        (
            "scores",
            {"soilcast_kind": "scores"},
            "scores of {by} (format 1), but this version of soilcast reads format 4",
        ),
        (
            "scores",
            {"soilcast_kind": "outlook_scores"},
            "scores of {by} (format 1), but this version of soilcast reads format 4",
        ),
    ],
)
def test_another_format_says_who_wrote_it_and_to_make_it_again(
    tmp_path: Path, name: str, kind: str, found: dict[str, Any], told: str
) -> None:
    again = {"forecast": "forecast again", "scores": "evaluate again"}[kind]
    version = {"created": "", "made_by": "", "versions": {"soilcast": "0.1.0"}}
    for provenance, by in ((json.dumps(version), "soilcast 0.1.0"), ("{", "another soilcast")):
        made = few(3, 5).assign_attrs(found, provenance=provenance)
        (tmp_path / by).mkdir()
        write_dataset(made, tmp_path / by / name, netcdf=name.endswith(".nc"))
        with pytest.raises(SoilcastError) as caught:
            open_artifact(tmp_path / by / name, kind)
        assert str(caught.value) == f"{tmp_path / by / name}: {told.format(by=by)}: {again}"


@pytest.mark.slow
def test_forecasts_and_scores_carry_their_format(folder: Path) -> None:
    assert open_artifact(folder / "grid-next-day", "forecast").attrs["soilcast_format"] == 4
    assert open_artifact(folder / "grid-next-day-scores" / "scores.nc", "scores").attrs["soilcast_format"] == 4
