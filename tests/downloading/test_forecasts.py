"""Weather forecasts from a real mirror on this machine: what is asked, what lies on the disk, faults, and going on."""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eccodes
import numpy as np
import numpy.typing as npt
import pytest

import soilcast
from soilcast.cube import PAPER_DYNAMIC, VARIABLES
from soilcast.downloading.messages import crop_fields
from soilcast.downloading.open_data import DEFAULT, MODELS, PARAMETERS, check_forecast, parse_run, pieces_of_run
from soilcast.errors import SoilcastError
from tests.downloading.test_downloading import Command, tree
from tests.helpers.open_data_server import Mirror, field_of, mirroring
from tests.helpers.store_server import wait_until

RUN = "2026-11-28T00"
STEPS = (0, 6, 12, 18, 24)
NAMES = [f"ifs_{RUN}_{step:03d}h.grib" for step in STEPS]
NOW = datetime.datetime(2026, 11, 30, 17, tzinfo=datetime.UTC)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with mirroring() as running:
        running.add("ifs", RUN, STEPS)
        yield running


class Forecast(Command):
    """``soilcast download forecast`` of one day in a process of its own; of `date`, or of the date it chooses."""

    date: str | None = RUN

    def words(self, *words: str) -> list[str]:
        said = ["soilcast", "download", "forecast", "--source", self.store.url, "--out", str(self.out)]
        defaults = {"--days": "1", "--wait": "0.001", "--parameters": "t2m,tp,sp,swvl1"}
        defaults |= {"--date": self.date} if self.date else {}
        return [
            *said,
            *(word for name, value in defaults.items() if name not in words for word in (name, value)),
            *words,
        ]

    def grib(self) -> dict[str, str]:
        """Names and contents of all but the record, in which the times differ."""
        return {name: content for name, content in tree(self.out).items() if name != "download.json"}


@pytest.fixture
def command(mirror: Mirror, tmp_path: Path) -> Forecast:
    home = tmp_path / "home"
    home.mkdir()
    return Forecast(home, mirror)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a download that nothing went wrong with."""
    home = tmp_path_factory.mktemp("undisturbed")
    with mirroring() as running:
        running.add("ifs", RUN, STEPS)
        one = Forecast(home, running)  # type: ignore[arg-type]
        one.run()
    assert sorted(one.grib()) == NAMES
    return one.grib()


Key = tuple[str, int, int, int]


def fields_in(path: Path) -> dict[Key, tuple[dict[str, Any], npt.NDArray[np.float64]]]:
    """Fields of a GRIB file: (name, layer, step, member) -> grid and values, NaN where missing."""
    found = {}
    with path.open("rb") as stream:
        while (handle := eccodes.codes_grib_new_from_file(stream)) is not None:
            get = {
                name: eccodes.codes_get(handle, name)
                for name in ("shortName", "typeOfLevel", "level", "endStep", "Ni", "Nj", "dataDate", "dataTime")
            }
            for name in ("latitudeOfFirst", "latitudeOfLast", "longitudeOfFirst", "longitudeOfLast"):
                get[name] = eccodes.codes_get(handle, f"{name}GridPointInDegrees")
            level = get["level"] if get["typeOfLevel"] == "soilLayer" else 0
            member = eccodes.codes_get(handle, "number") if eccodes.codes_is_defined(handle, "number") else 0
            eccodes.codes_set(handle, "missingValue", -1e34)
            values = eccodes.codes_get_values(handle).reshape(get["Nj"], get["Ni"])
            key = (get["shortName"], level, get["endStep"], member)
            assert key not in found
            found[key] = get, np.where(values == -1e34, np.nan, values)
            eccodes.codes_release(handle)
    return found


# What is asked


def asked(model: str = "ifs", run: str = RUN, days: int = 1, members: int | None = None, *names: str) -> Any:
    parameters, count = check_forecast(model, list(names) or None, days, members)
    return pieces_of_run(model, parse_run(run, NOW), parameters, days, count, None)


def test_the_default_is_what_the_inputs_of_a_run_are_made_of() -> None:
    assert set(DEFAULT) == (set(PAPER_DYNAMIC) - {"q"}) | {"d2m"}
    assert set(DEFAULT) < set(PARAMETERS) < set(VARIABLES) | {"d2m"}


def test_the_library_knows_the_parameters_and_the_models() -> None:
    from importlib.metadata import metadata

    text = metadata("ecmwf-opendata")["Description"]
    for one in PARAMETERS.values():
        assert f"| {one.param} |" in text, one
    for model in MODELS.values():
        assert f"`{model.product}`" in text


def test_a_run_is_a_file_every_six_hours_and_what_accumulates_is_not_in_the_first() -> None:
    first, second, *_, last = asked()
    assert [piece.name for piece in asked()] == [name.removesuffix(".grib") for name in NAMES]
    assert set(second.parameters) - set(first.parameters) == {"tp", "ssrd", "strd"}
    assert last.selections == [
        {
            "date": "20261128", "time": 0, "stream": "oper", "type": "fc", "step": 24,
            "param": ["2t", "2d", "10u", "10v", "sp", "tp", "ssrd", "strd"],
        }
    ]  # fmt: skip
    assert [piece.step for piece in asked("ifs", RUN, 1, None, "tp")] == [6, 12, 18, 24]
    assert len(asked("aifs", "2026-11-28T18", 15)) == 61


def test_members_and_soil_layers_are_named() -> None:
    piece = asked("ifs-ens", RUN, 1, 3, "swvl2", "t2m", "swvl1")[1]
    surface, soil = piece.selections
    assert (surface["param"], surface["number"], surface["type"]) == (["2t"], [1, 2, 3], "pf")
    assert (soil["param"], soil["levelist"]) == ("vsw", [1, 2])
    assert len(piece.fields) == 9
    assert len(asked("aifs-ens")[1].fields) == 8 * 50


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"model": "ifs-en"}, "--model ifs-en is unknown: did you mean ifs-ens?"),
        ({"parameters": ["2t"]}, "the open data has no parameter 2t: it is called t2m here"),
        ({"parameters": ["q"]}, "no parameter q: request d2m and sp, from which it is computed"),
        ({"parameters": ["swlv1"]}, "no parameter swlv1: did you mean swvl1?"),
        ({"parameters": []}, "--parameters is empty"),
        ({"days": 16}, "--days 16: ifs has 1 .. 15 days"),
        ({"days": 0}, "--days 0: ifs has 1 .. 15 days"),
        ({"date": "2026-11-28T06"}, "--days 10: ifs of 06 UTC ends after 6 days: give fewer --days, or the --date of a "
         "run of 00 or 12 UTC"),
        ({"date": "2026-11-28T03"}, "--date 2026-11-28T03: forecasts start at 00, 06, 12, 18 UTC"),
        ({"date": "yesterday"}, "--date yesterday is not the start of a forecast: write 2026-11-30T12"),
        ({"date": "2926-11-28"}, "is in the future"),
        ({"members": 3}, "--members 3: ifs is a single forecast: use --model ifs-ens or aifs-ens"),
        ({"members": 51, "model": "ifs-ens"}, "--members 51: ifs-ens has 50 members: give 1 .. 50"),
        ({"area": "52/5/47"}, "--area 52/5/47 is not an area"),
        ({"area": "52/170/47/-170"}, "crosses the date line"),
        ({"source": "ecmfw", "date": RUN}, "--source ecmfw is neither a mirror nor an address: did you mean ecmwf?"),
        ({"source": "ftp://x", "date": RUN}, "is neither a mirror nor an address"),
        ({"wait": 0.0}, "give seconds above 0"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense_are_told(tmp_path: Path, words: dict[str, Any], message: str) -> None:
    with pytest.raises(SoilcastError) as told:
        soilcast.download_forecast(**({"out": tmp_path / "out"} | words))
    assert message in str(told.value)
    assert not (tmp_path / "out").exists()


# What lies on the disk


def test_the_command_fetches_the_fields_that_were_asked_for_and_none_again(
    command: Forecast, mirror: Mirror, undisturbed: dict[str, str]
) -> None:
    said = command.run("--source", f"{mirror.url}/")
    assert said.startswith(f"IFS of 2026-11-28 00 UTC from {mirror.url} (ECMWF open data, under CC BY 4.0")
    assert said.endswith(f"{command.out}: 5 file(s)\n")
    assert command.grib() == undisturbed
    for step, name in zip(STEPS, NAMES, strict=True):
        fields = fields_in(command.out / name)
        names = [("2t", 0), ("sp", 0), *([("tp", 0)] if step else []), ("vsw", 1)]
        assert sorted(fields) == sorted((param, level, step, 0) for param, level in names)
        for (param, level, *_), (_, values) in fields.items():
            np.testing.assert_allclose(values, field_of(param, level, step, 0), rtol=1e-4, atol=1e-5, equal_nan=True)
        entry = command.record()[name.removesuffix(".grib")]
        assert entry["store"] == mirror.url
        assert (entry["request"]["date"], entry["request"]["time"]) == ("2026-11-28", 0)
        assert datetime.datetime.fromisoformat(entry["fetched"])
    assert all("Range" in one.headers for one in mirror.seen if one.place == "data")
    before = len(mirror.seen)
    assert command.run() == f"{command.out}: 5 file(s)\n"
    assert len(mirror.seen) == before


def test_only_the_bytes_of_these_fields_are_transferred(command: Forecast, mirror: Mirror) -> None:
    command.run()
    ranges = [one.headers["Range"].removeprefix("bytes=").split("-") for one in mirror.seen if one.place == "data"]
    assert sum(int(last) - int(first) + 1 for first, last in ranges) == sum(
        (command.out / name).stat().st_size for name in NAMES
    )


@pytest.mark.parametrize(
    ("area", "lats", "lons"),
    [
        ("52/5/47/12", (52, 46), (4, 12)),
        ("51.9/5/46.1/11.9", (52, 46), (4, 12)),
        ("-10/-3/-12/5", (-10, -12), (-4, 6)),  # across the meridian of Greenwich
        ("90/170/80/180", (90, 80), (170, 180)),  # up to the date line, where the grid begins
        ("10/-180/10/-180", (10, 10), (-180, -180)),
        ("0/-180/-90/180", (0, -90), (-180, 178)),
    ],
)
def test_a_region_is_cropped_to_the_points_that_enclose_it(
    mirror: Mirror, tmp_path: Path, area: str, lats: tuple[int, int], lons: tuple[int, int]
) -> None:
    words: dict[str, Any] = {"days": 1, "date": RUN, "source": mirror.url, "log": lambda text: None}
    names = ["t2m", "tp", "swvl1"]
    globe = soilcast.download_forecast(out=tmp_path / "globe", parameters=names, **words)
    files = soilcast.download_forecast(out=tmp_path / "out", area=area, parameters=names, **words)
    lat = np.arange(lats[0], lats[1] - 1, -2)
    lon = np.arange(lons[0], lons[1] + 1, 2)
    rows, columns = (90 - lat) // 2, ((lon - 180) % 360) // 2
    for whole, path in zip(globe, files, strict=True):
        expected = fields_in(whole)
        for key, (grid, values) in fields_in(path).items():
            assert (grid["Nj"], grid["Ni"]) == (len(lat), len(lon))
            assert (grid["latitudeOfFirst"], grid["latitudeOfLast"]) == (lat[0], lat[-1])
            assert (grid["longitudeOfFirst"], grid["longitudeOfLast"]) == (lon[0] % 360, lon[-1] % 360)
            np.testing.assert_array_equal(values, expected[key][1][np.ix_(rows, columns)])


@pytest.mark.parametrize("packing", ["grid_simple", "grid_ccsds", "grid_complex", "grid_complex_spatial_differencing"])
@pytest.mark.parametrize("scale", [-3, 0, 4])
@pytest.mark.parametrize("kind", ["varied", "constant here", "constant", "missing"])
def test_cropping_keeps_every_value_and_the_scales(tmp_path: Path, packing: str, scale: int, kind: str) -> None:
    values = 1e4 + 1e3 * np.random.default_rng(0).standard_normal((19, 36))
    if kind == "constant here":
        values[:9] = values.min()
    if kind == "constant":
        values[:] = 0.0
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    grid = {"Ni": 36, "Nj": 19, "iDirectionIncrementInDegrees": 10, "jDirectionIncrementInDegrees": 10}
    ends = {"latitudeOfFirst": 90, "latitudeOfLast": -90, "longitudeOfFirst": 0, "longitudeOfLast": 350}
    for key, value in (grid | {f"{name}GridPointInDegrees": number for name, number in ends.items()}).items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set(handle, "bitsPerValue", 12)
    eccodes.codes_set_values(handle, np.random.default_rng(1).standard_normal(values.size))
    eccodes.codes_set(handle, "packingType", packing)
    eccodes.codes_set(handle, "decimalScaleFactor", scale)
    if kind == "missing":
        values[3:5, 2:4] = 9999.0
        eccodes.codes_set(handle, "bitmapPresent", 1)
        eccodes.codes_set(handle, "missingValue", 9999.0)
    eccodes.codes_set_values(handle, values.ravel())
    whole, cropped = tmp_path / "whole", tmp_path / "cropped"
    whole.write_bytes(eccodes.codes_get_message(handle) * 2)
    crop_fields(whole, cropped, (70, 10, 30, 60))
    scales = ("referenceValue", "binaryScaleFactor", "decimalScaleFactor")
    with whole.open("rb") as one, cropped.open("rb") as other:
        for _ in range(2):
            before, after = (eccodes.codes_grib_new_from_file(stream) for stream in (one, other))
            decoded = eccodes.codes_get_values(before).reshape(19, 36)[2:7, 1:7].ravel()
            np.testing.assert_array_equal(eccodes.codes_get_values(after), decoded)
            assert [eccodes.codes_get(after, key) for key in scales] == [
                eccodes.codes_get(before, key) for key in scales
            ]
            assert (eccodes.codes_get(after, "bitsPerValue") > 0) == (eccodes.codes_get(before, "bitsPerValue") > 0)
        assert eccodes.codes_grib_new_from_file(other) is None


def test_the_whole_globe_as_an_area_is_not_cropped(command: Forecast, undisturbed: dict[str, str]) -> None:
    command.run("--area", "90/-180/-90/180")
    assert command.grib() == undisturbed


def test_the_members_of_an_ensemble_are_all_there(mirror: Mirror, tmp_path: Path) -> None:
    for model in ("ifs-ens", "aifs-ens"):
        mirror.add(MODELS[model].product, RUN, STEPS, members=3)
        files = soilcast.download_forecast(
            model, out=tmp_path, days=1, members=2, parameters=["tp", "swvl2"], date=RUN, source=mirror.url,
            area="52/5/47/12", log=lambda text: None,
        )  # fmt: skip
        assert [path.name for path in files] == [f"{model}_{RUN}_{step:03d}h.grib" for step in STEPS]
        found = fields_in(files[-1])
        assert sorted(found) == [("tp", 0, 24, 1), ("tp", 0, 24, 2), ("vsw", 2, 24, 1), ("vsw", 2, 24, 2)]
        np.testing.assert_allclose(
            found["tp", 0, 24, 2][1], field_of("tp", 0, 24, 2)[19:23, 92:97], atol=1e-4
        )  # fmt: skip


def test_the_package_reads_what_was_fetched(command: Forecast) -> None:
    from soilcast.sources.grib import open_grib

    command.run("--area", "20/5/-10/12")
    datasets = open_grib(command.out / NAMES[-1])
    names = {str(name): one[name] for one in datasets for name in one.data_vars}
    assert set(names) == {"t2m", "tp", "sp", "vsw"}
    assert names["t2m"].valid_time.values[0] == np.datetime64("2026-11-29")


def test_another_request_replaces_the_files_of_the_run(command: Forecast, undisturbed: dict[str, str]) -> None:
    command.run("--area", "52/5/47/12")
    said = command.run()
    assert said.count("was downloaded for another request (area, variables or format); downloading it again") == 5
    assert command.grib() == undisturbed


@pytest.mark.slow
def test_a_damaged_or_missing_file_is_told_and_fetched_anew(command: Forecast, undisturbed: dict[str, str]) -> None:
    command.run()
    (command.out / NAMES[1]).unlink()
    with (command.out / NAMES[2]).open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"xx")
    assert "024h" not in command.run()
    assert command.grib() != undisturbed
    assert f"ifs_{RUN}_012h: the file is damaged, its checksum differs; downloading it again" in command.run("--verify")
    assert command.grib() == undisturbed


# Which run


def _latest_runs() -> list[str]:
    now = datetime.datetime.now(datetime.UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    hours = (today - datetime.timedelta(hours=6 * number) for number in range(4))
    return [f"{moment:%Y-%m-%dT%H}" for moment in hours]


def test_the_latest_run_that_has_all_days_is_found(command: Forecast, mirror: Mirror) -> None:
    newest, second, third, _ = _latest_runs()
    mirror.add("ifs", newest, STEPS[:3])
    mirror.add("ifs", second, STEPS)
    mirror.add("ifs", third, STEPS)
    mirror.fault("head", status=503)  # of which a library would make an older run
    command.run("--date", "latest")
    assert set(command.grib()) == {f"ifs_{second}_{step:03d}h.grib" for step in STEPS}
    mirror.add("ifs", newest, STEPS)
    said = command.run("--date", "latest")
    assert said.endswith(": 5 file(s)\n")
    assert len(command.grib()) == 10


def test_no_run_of_the_last_two_days_is_told(command: Forecast) -> None:
    told = command.refusal("--date", "latest")
    assert "has no forecast of IFS up to step 24 that started within the last two days: give --date" in told


def test_a_run_that_was_left_unfinished_is_resumed_though_there_is_a_newer_one(
    command: Forecast, mirror: Mirror
) -> None:
    newest, _, third, _ = _latest_runs()
    mirror.add("ifs", third, STEPS)
    mirror.fault("data", times=1, status=404)
    command.date = None
    told = command.refusal()
    assert "(HTTP 404): it may not be there yet, or no longer" in told
    mirror.add("ifs", newest, STEPS)
    said = command.run()
    assert f"resuming IFS of {third.replace('T', ' ')} UTC (the latest: --date latest)" in said
    assert set(command.grib()) == {f"ifs_{third}_{step:03d}h.grib" for step in STEPS}
    assert "resuming" not in command.run()
    assert len(command.grib()) == 10


def test_an_unfinished_run_that_is_given_up_is_told(command: Forecast, mirror: Mirror) -> None:
    mirror.add("ifs", "2026-11-28T12", STEPS)
    mirror.fault("data", times=1, status=404)
    command.refusal()
    said = command.run("--date", "2026-11-28T12")
    assert f"ifs_{RUN}: left unfinished, without 5 file(s)" in said
    assert len(command.grib()) == 5
    assert "left unfinished" not in command.run("--date", "2026-11-28T12")


# Going on


def part_of(command: Forecast, number: int = 1) -> Path:
    return command.out / f".{NAMES[number].removesuffix('.grib')}.part"


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_is_stopped_amid_a_file_goes_on_with_what_was_whole(
    command: Forecast, mirror: Mirror, undisturbed: dict[str, str], number: int
) -> None:
    mirror.fault("data", times=1000, pause=0.05)
    process = command.start()
    wait_until(lambda: size_of(part_of(command)) > 70_000)
    assert process.pid
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == (-9 if number == signal.SIGKILL else 130)
    assert command.said()[1] == ("" if number == signal.SIGKILL else "soilcast: stopped\n")
    done = [name for name in NAMES if (command.out / name).exists()]
    assert done == NAMES[:1]
    assert {one["state"] for one in command.record().values()} == {"fetched", "accepted"}
    mirror.faults.clear()
    came = len(mirror.seen)
    command.run()
    assert command.grib() == undisturbed
    paths = [one.content for one in mirror.seen[came:] if one.place == "data"]
    assert not any("-0h-" in path for path in paths)
    assert sum("-6h-" in path for path in paths) < sum("-12h-" in path for path in paths)


@pytest.mark.slow
def test_killed_again_and_again_it_gets_there(command: Forecast, mirror: Mirror, undisturbed: dict[str, str]) -> None:
    for number in range(10):
        mirror.fault("data", times=1000, pause=0.01)
        enough = len(mirror.seen) + 3 * number
        process = command.start("--area", "52/5/47/12") if number == 4 else command.start()
        wait_until(lambda: len(mirror.seen) > enough or not process.is_alive())  # noqa: B023
        process.kill()
        process.join(60)
        mirror.faults.clear()
    command.run()
    assert command.grib() == undisturbed


def test_a_part_of_something_else_is_begun_again(
    command: Forecast, mirror: Mirror, undisturbed: dict[str, str]
) -> None:
    mirror.fault("data", times=1, status=404)
    command.refusal()
    for number in range(5):
        part_of(command, number).write_bytes(b"GRIB" + b"old" * 40_000)
    command.run()
    assert command.grib() == undisturbed


def test_a_kill_between_noting_and_naming_costs_nothing(
    command: Forecast, mirror: Mirror, undisturbed: dict[str, str]
) -> None:
    command.run()
    (command.out / NAMES[2]).rename(part_of(command, 2))
    came = len(mirror.seen)
    command.run()
    assert command.grib() == undisturbed
    assert len(mirror.seen) == came


@pytest.mark.parametrize("place", ["index", "data"])
def test_a_mirror_that_is_busy_or_down_for_a_moment_is_asked_again(
    command: Forecast, mirror: Mirror, undisturbed: dict[str, str], place: str
) -> None:
    for status in (503, 429, 500, 502, 504):
        mirror.fault(place, status=status, headers={"Retry-After": "0"})
    command.run()
    assert command.grib() == undisturbed


def test_truncated_bodies_and_dropped_connections_are_gone_on_with(
    command: Forecast, mirror: Mirror, undisturbed: dict[str, str]
) -> None:
    mirror.fault("index", cut=1000)
    mirror.fault("data", times=4, cut=20_000)
    command.run()
    assert command.grib() == undisturbed


def test_bodies_without_length_that_end_early_are_noticed(
    command: Forecast, mirror: Mirror, undisturbed: dict[str, str]
) -> None:
    mirror.lengths = False
    mirror.fault("data", times=3, cut=20_000)
    command.run()
    assert command.grib() == undisturbed


def test_a_mirror_that_stalls_is_given_up_and_asked_again(
    command: Forecast, mirror: Mirror, undisturbed: dict[str, str]
) -> None:
    mirror.fault("index", stall=5.0)
    mirror.fault("data", stall=5.0)
    command.run("--timeout", "0.3")
    assert command.grib() == undisturbed


# What is said


@pytest.mark.parametrize("place", ["index", "data"])
def test_a_mirror_that_stays_down_is_told_after_a_number_of_tries(
    command: Forecast, mirror: Mirror, place: str
) -> None:
    mirror.fault(place, times=1000, status=503)
    told = command.refusal()
    assert f"{mirror.url} does not respond (10 tries for " in told
    assert "HTTP 503): run the same command again later to resume, or with another --source" in told
    assert mirror.count(place) == 10


def test_nobody_at_the_address_is_told(command: Forecast) -> None:
    told = command.refusal("--source", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9 does not respond (10 tries for step 0 of ifs of 2026-11-28 00 UTC: Connection" in told


def test_a_step_that_is_not_there_is_told_and_the_others_are_kept(command: Forecast, mirror: Mirror) -> None:
    del mirror.files[mirror.path(".index", 12)]
    told = command.refusal()
    assert (
        f"{mirror.url} does not have step 12 of ifs of 2026-11-28 00 UTC (HTTP 404): it may not be there yet, or no "
        "longer: give another --date or --source, or fewer --days"
    ) in told
    assert sorted(command.grib()) == NAMES[:2]


def test_a_parameter_or_layer_that_the_model_does_not_have_is_told(command: Forecast) -> None:
    told = command.refusal("--parameters", "t2m,sf")
    assert "has 1 of the 2 fields of step 6 of ifs of 2026-11-28 00 UTC (t2m, sf): request fewer --parameters" in told
    assert "has 1 of the 2 fields of step 0" in command.refusal("--parameters", "swvl1,swvl3")
    assert "has 0 of the 1 fields of step 0" in command.refusal("--parameters", "swvl3")


def test_a_mirror_that_ignores_ranges_is_told_and_not_read_to_its_end(command: Forecast, mirror: Mirror) -> None:
    mirror.ranges = False
    told = command.refusal()
    assert f"{mirror.url} ignores that a part of a file is asked for and would send all of it: use another" in told
    assert mirror.count("data") == 1


def test_a_mirror_that_sends_another_part_is_told(command: Forecast, mirror: Mirror) -> None:
    mirror.shift = 7
    assert "ignores that a part of a file is asked for" in command.refusal()


def _swapped(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two parameters take each other's place."""
    one = next(line for line in lines if line["param"] == "2t")
    other = next(line for line in lines if line["param"] == "msl")
    one["param"], other["param"] = "msl", "2t"
    return lines


def _shifted(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line | {"_offset": line["_offset"] + 3} for line in lines]


def _shortened(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line | {"_length": line["_length"] - 5} for line in lines]


def _twice(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sp = next(line for line in lines if line["param"] == "sp")
    return [
        line | {"_offset": sp["_offset"], "_length": sp["_length"]} if line["param"] == "tp" else line for line in lines
    ]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_swapped, "message 1, msl, is not what was asked for, or its index file is wrong"),
        (_shifted, "message 1 is no whole GRIB message, or its index file is wrong"),
        (_shortened, "message 1 is no whole GRIB message, or its index file is wrong"),
        (_twice, "its index file has impossible offsets or lengths"),
        (lambda lines: [line | {"_offset": -5} for line in lines], "its index file has impossible offsets or lengths"),
        (
            lambda lines: [line | {"_length": 1 << 40} for line in lines],
            "its index file has impossible offsets or lengths",
        ),
        (
            lambda lines: [line | {"_length": "many"} for line in lines],
            "its index file has impossible offsets or lengths",
        ),
        (lambda lines: [{"param": "2t", "type": "fc", "step": "6"}], "its index file cannot be read (KeyError)"),
    ],
)
def test_a_wrong_index_is_told_and_nothing_of_the_step_is_kept(
    command: Forecast, mirror: Mirror, change: Any, what: str
) -> None:
    mirror.write(6, change(mirror.lines(6)))
    told = command.refusal()
    assert f"ifs_{RUN}_006h: {what}" in told
    assert "(3 times from" in told
    assert sorted(command.grib()) == NAMES[:1]


def test_an_index_of_another_step_or_run_is_told(command: Forecast, mirror: Mirror) -> None:
    data, other = mirror.path(".grib2", 6), mirror.path(".grib2", 12)
    mirror.write(6, [line | {"step": "6"} for line in mirror.lines(12)])
    mirror.files[data] = mirror.files[other]
    assert f"ifs_{RUN}_006h: message 1 is of 20261128 0000, step 12, or its index file is wrong" in command.refusal()


@pytest.mark.parametrize("body", [b"<html>no</html>", b"[1, 2]", b"[" * 100_000, b"\xff\xfe"])
def test_an_index_that_is_none_is_told(command: Forecast, mirror: Mirror, body: bytes) -> None:
    mirror.fault("index", times=1000, body=body)
    assert f"ifs_{RUN}_000h: its index file cannot be read (" in command.refusal()


def test_an_index_that_is_read_while_it_is_replaced_is_read_again(
    command: Forecast, mirror: Mirror, undisturbed: dict[str, str]
) -> None:
    mirror.fault("index", body="\n".join(json.dumps(line) for line in _shifted(mirror.lines(0))).encode())
    command.run()
    assert command.grib() == undisturbed


def test_a_damaged_message_is_told(command: Forecast, mirror: Mirror) -> None:
    path = mirror.path(".grib2", 6)
    content = bytearray(mirror.files[path])
    content[mirror.lines(6)[0]["_length"] - 1] ^= 1
    mirror.files[path] = bytes(content)
    assert "message 1 is no whole GRIB message" in command.refusal()


def test_a_grid_that_cannot_be_cropped_is_told(command: Forecast, mirror: Mirror) -> None:
    handle = eccodes.codes_grib_new_from_samples("reduced_gg_pl_32_grib2")
    for key, value in (("dataDate", 20261128), ("dataTime", 0), ("typeOfLevel", "surface"), ("shortName", "sp")):
        eccodes.codes_set(handle, key, value)
    message = bytes(eccodes.codes_get_message(handle))
    mirror.files[mirror.path(".grib2", 0)] = message
    mirror.write(0, [{"param": "sp", "type": "fc", "step": "0", "_offset": 0, "_length": len(message)}])
    told = command.refusal("--parameters", "sp", "--area", "52/5/47/12")
    assert "a grid reduced_gg cannot be cropped: download without --area" in told


def test_a_full_disk_is_told_and_can_be_gone_on_from(
    command: Forecast, mirror: Mirror, undisturbed: dict[str, str]
) -> None:
    told = command.refusal(room=100_000)
    assert "no space left on the disk, or the file size limit is reached" in told
    command.run()
    assert command.grib() == undisturbed


def test_no_password_of_a_netrc_is_sent(command: Forecast, mirror: Mirror) -> None:
    (command.home / ".netrc").write_text("machine 127.0.0.1 login me password SECRET\n")
    (command.home / ".netrc").chmod(0o600)
    command.run()
    assert not any("authorization" in {name.lower() for name in one.headers} for one in mirror.seen)


def test_two_at_once_in_one_folder_are_told_apart(command: Forecast, mirror: Mirror) -> None:
    mirror.fault("data", times=1000, pause=0.05)
    process = command.start()
    wait_until(lambda: mirror.count("data") > 1)
    second = Forecast(command.home / "second", mirror)  # type: ignore[arg-type]
    second.home.mkdir()
    assert "another soilcast process downloads into it" in second.refusal("--out", str(command.out))
    process.kill()
    process.join(60)


def test_the_bar_counts_the_steps(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("soilcast.progress._EVERY", 0.0)
    words: dict[str, Any] = {"days": 1, "date": RUN, "source": mirror.url, "log": lambda text: None}
    soilcast.download_forecast(out=tmp_path / "out", parameters=["t2m"], progress=True, **words)
    shown = capsys.readouterr()
    assert "downloading ifs 5/5" in shown.err
    assert shown.out == ""


PLAIN = """
import sys
import soilcast
assert not {"ecmwf", "requests", "xarray", "torch", "eccodes"} & set(sys.modules)
sys.modules["ecmwf.opendata"] = None
try:
    soilcast.download_forecast(out=sys.argv[1])
except soilcast.SoilcastError as error:
    print(error)
"""


@pytest.mark.slow
def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(tmp_path / "out")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == ("download forecast needs an extra: install it with pip install 'soilcast[weather]'\n"), (
        done.stderr
    )
    assert not (tmp_path / "out").exists()
