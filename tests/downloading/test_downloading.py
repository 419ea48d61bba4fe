"""Downloads from a real server on this machine: what is asked, what lies on the disk, what is said, and going on."""

from __future__ import annotations

import datetime
import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import netcdf_file

import soilcast
from soilcast.cube import VARIABLES
from soilcast.downloading import DATASETS, client
from soilcast.downloading.access import CDS, find_access
from soilcast.downloading.record import disk_fault
from soilcast.downloading.requests import check_choice, covers, parse_area, parse_period, pieces_of
from soilcast.errors import SoilcastError
from tests.helpers.forks import start
from tests.helpers.store_server import KEY, Store, serving, wait_until

LAND = DATASETS["era5-land"]
TODAY = datetime.date(2026, 11, 25)
JANUARY = ("--years", "2018-01")
NAMES = ["era5-land_2018-01_t2m.nc", "era5-land_2018-01_tp.nc", "era5-land_2018-02-01T00_tp.nc"]
"""What t2m and tp of January 2018 become."""


@pytest.fixture
def store() -> Iterator[Store]:
    with serving() as running:
        yield running


@dataclass
class Command:
    """``soilcast download era5-land`` in a process of its own, at home in a folder of its own.

    Parameters
    ----------
    home
        Its HOME; the files go to ``out`` there.
    store
        Its store.
    key
        Its key; None for no setting at all.
    """

    home: Path
    store: Store
    key: str | None = KEY
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.home / "out"

    def words(self, *words: str) -> list[str]:
        said = ["soilcast", "download", "era5-land", "--area", "52/5/47/12", *JANUARY]
        said += [] if "--variables" in words else ["--variables", "t2m,tp"]
        return [*said, "--out", str(self.out), "--wait", "0.001", *words]

    def start(self, *words: str, room: int | None = None) -> BaseProcess:
        arguments = self.words(*words)
        given = {} if self.key is None else {"ECMWF_DATASTORES_URL": self.store.url, "ECMWF_DATASTORES_KEY": self.key}
        environment = {"HOME": str(self.home), **given, **self.environment}
        return start(_run, arguments, self.home, environment, room)

    def said(self) -> tuple[str, str]:
        return (self.home / "stdout").read_text(), (self.home / "stderr").read_text()

    def run(self, *words: str, expect: int = 0, room: int | None = None) -> str:
        process = self.start(*words, room=room)
        process.join(60)
        said, errors = self.said()
        assert process.exitcode == expect, (process.exitcode, said, errors)
        assert KEY not in said + errors
        return said if expect == 0 else errors

    def refusal(self, *words: str, room: int | None = None) -> str:
        errors = self.run(*words, expect=2, room=room)
        assert errors.startswith("soilcast: ")
        assert errors.count("\n") == 1, errors
        assert "Traceback" not in errors
        return errors

    def record(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.out / "download.json").read_text())["files"]
        return content


@pytest.fixture
def command(store: Store, tmp_path: Path) -> Command:
    home = tmp_path / "home"
    home.mkdir()
    return Command(home, store)


def _run(arguments: list[str], home: Path, environment: dict[str, str], room: int | None) -> None:
    from soilcast.cli import main

    for name in list(os.environ):
        if name.startswith(("ECMWF_", "CDSAPI_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ.update(environment)
    for number, name in ((1, "stdout"), (2, "stderr")):
        with (home / name).open("w") as stream:
            os.dup2(stream.fileno(), number)
    if room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    sys.argv = arguments
    main()


def tree(folder: Path) -> dict[str, str]:
    """Names, hidden ones too, and contents of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The folder of a download that nothing went wrong with."""
    home = tmp_path_factory.mktemp("undisturbed")
    with serving() as running:
        one = Command(home, running)
        environment = {"HOME": str(home), "ECMWF_DATASTORES_URL": running.url, "ECMWF_DATASTORES_KEY": KEY}
        done = subprocess.run(
            [sys.executable, "-m", *one.words()],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert sorted(tree(one.out)) == ["download.json", *NAMES]
    return tree(one.out)


# What is asked


def asked(period: str, variables: list[str] | None = None, product: str = "hourly", format: str = "netcdf") -> Any:
    names = check_choice("era5-land", variables, product, format)
    first, last = parse_period(period, "era5-land", TODAY)
    return pieces_of("era5-land", (52.0, 5.0, 47.0, 12.0), first, last, names, product, format)


def test_a_month_of_everything_is_a_request_for_each_group_and_one_for_the_midnight_after() -> None:
    assert [piece.name for piece in asked("2018-02")] == [
        "era5-land_2018-02_t2m-d2m-u10-v10-sp",
        "era5-land_2018-02_tp-e-sro-ssro-ro",
        "era5-land_2018-02_ssrd-strd",
        "era5-land_2018-02_sd-swvl1-swvl2-swvl3-swvl4",
        "era5-land_2018-03-01T00_tp-e-sro-ssro-ro",
        "era5-land_2018-03-01T00_ssrd-strd",
    ]


def test_a_request_says_what_the_store_wants_to_hear() -> None:
    month, after = asked("2018-01-30:2018-01-31", ["tp"], format="grib")
    assert month.name == "era5-land_2018-01-30-to-31_tp"
    assert month.request == {
        "variable": ["total_precipitation"],
        "year": "2018",
        "month": "01",
        "day": ["30", "31"],
        "time": [f"{hour:02d}:00" for hour in range(24)],
        "data_format": "grib",
        "download_format": "unarchived",
        "area": [52.0, 5.0, 47.0, 12.0],
    }
    assert (after.request["month"], after.request["day"], after.request["time"]) == ("02", ["01"], ["00:00"])


def test_daily_values_are_statistics_of_states_and_midnights_of_sums() -> None:
    sums, states, after = asked("2018-12", ["swvl1", "tp"], product="daily")
    assert states.collection.name == "derived-era5-land-daily-statistics"
    assert states.request["daily_statistic"] == "daily_mean"
    assert "time" not in states.request
    assert "data_format" not in states.request
    assert sums.collection.name == "reanalysis-era5-land"
    assert sums.request["time"] == ["00:00"]
    assert len(sums.request["day"]) == 31
    assert (after.request["year"], after.request["month"], after.request["day"]) == ("2019", "01", ["01"])
    assert [piece.name for piece in (states, sums, after)] == [
        "era5-land-daily_2018-12_swvl1", "era5-land-daily_2018-12_tp", "era5-land-daily_2019-01-01_tp",
    ]  # fmt: skip


days = st.dates(datetime.date(1950, 1, 1), datetime.date(2026, 11, 1))


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    first=days,
    length=st.integers(1, 100),
    variables=st.lists(st.sampled_from(list(LAND.variables)), min_size=1, unique=True),
    product=st.sampled_from(["hourly", "daily"]),
)
def test_every_hour_is_asked_for_once_and_no_request_is_too_large(
    first: datetime.date, length: int, variables: list[str], product: str
) -> None:
    last = min(first + datetime.timedelta(days=length - 1), TODAY)
    pieces = asked(f"{first}:{last}", variables, product)
    assert len({piece.name for piece in pieces}) == len(pieces)
    found: dict[str, list[str]] = {name: [] for name in variables}
    for piece in pieces:
        request = piece.request
        hours = request.get("time", ["day"])
        assert len(request["variable"]) * len(request["day"]) * len(hours) <= piece.collection.fields
        for name in piece.variables:
            found[name] += [
                f"{request['year']}-{request['month']}-{day} {hour}" for day in request["day"] for hour in hours
            ]
    for name, moments in found.items():
        summed = LAND.variables[name].accumulated
        hours = (["00:00"] if summed else ["day"]) if product == "daily" else [f"{hour:02d}:00" for hour in range(24)]
        expected = [
            f"{first + datetime.timedelta(days=number)} {hour}"
            for number in range((last - first).days + 1)
            for hour in hours
        ]
        if summed:
            expected.append(f"{last + datetime.timedelta(days=1)} 00:00")
        assert sorted(moments) == sorted(expected)


@given(first=days, length=st.integers(1, 31))
def test_halves_are_the_whole(first: datetime.date, length: int) -> None:
    last = first + datetime.timedelta(days=length - 1)
    piece = asked(f"{first}:{last}", ["t2m"])[0]
    halves = piece.halves()
    if halves is None:
        assert piece.days == 1
        return
    assert [day for half in halves for day in half.request["day"]] == piece.request["day"]
    assert all(covers(piece.request, half.request) and not covers(half.request, piece.request) for half in halves)


def test_the_variables_are_those_of_the_contract_and_the_default_is_what_the_paper_needs() -> None:
    assert set(LAND.variables) <= set(VARIABLES)
    assert set(LAND.default) == {
        "t2m", "d2m", "u10", "v10", "sp", "tp", "ssrd", "strd", "e", "sro", "ssro", "ro", "sd",
        "swvl1", "swvl2", "swvl3", "swvl4",
    }  # fmt: skip
    assert LAND.variables["sd"].name == "snow_depth_water_equivalent"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"variables": ["swlv1"]}, "ERA5-Land has no variable swlv1: did you mean swvl1?"),
        ({"variables": ["q"]}, "no variable q: request d2m and sp, from which it is computed"),
        ({"variables": ["clay"]}, "no variable clay (clay fraction of the fine earth)"),
        ({"variables": []}, "--variables is empty"),
        ({"dataset": "era5-lnd"}, "unknown dataset era5-lnd: did you mean era5-land?"),
        ({"product": "dayly"}, "no product dayly: did you mean daily?"),
        ({"format": "grb"}, "--format grb is unknown: did you mean grib?"),
        ({"format": "grib", "product": "daily"}, "as daily values is available in netcdf only: use --format netcdf"),
        ({"area": "52/5/47"}, "--area 52/5/47 is not an area: write N/W/S/E in degrees, such as 52/5/47/12"),
        ({"area": "nan/5/47/12"}, "is not an area"),
        ({"area": "95/5/47/12"}, "north is 95, outside -90 .. 90"),
        ({"area": "52/5/47/190"}, "east is 190, outside -180 .. 180"),
        ({"area": "47/5/52/12"}, "north (47) is below south (52): write N/W/S/E"),
        ({"area": "52/170/47/-170"}, "crosses the date line (west 170, east -170): download two areas into two "
         "folders, 52/170/47/180 and 52/-180/47/-170"),
        ({"area": "52.04/5/52.03/6"}, "contains no grid point of ERA5-Land (spacing 0.1 degrees)"),
        ({"years": "1949"}, "ERA5-Land begins on 1950-01-01: begin there or later"),
        ({"years": "2018:2999"}, "'2018:2999' is outside 1678-01-01 .. 2261-12-31"),
        ({"years": "2018:2100"}, "2100-12-31 is in the future: end before"),
        ({"years": "2020:2018"}, "ends before it begins"),
        ({"years": "twenty"}, "is not a period"),
        ({"jobs": 0}, "--jobs 0: the data store limits parallel requests: give 1 .. 20"),
        ({"wait": 0.0}, "give seconds above 0"),
    ],
)  # fmt: skip
def test_arguments_that_make_no_sense_are_told(tmp_path: Path, words: dict[str, Any], message: str) -> None:
    with pytest.raises(SoilcastError) as told:
        soilcast.download(**({"area": "52/5/47/12", "years": "2018", "out": tmp_path / "out"} | words))
    assert message in str(told.value)
    assert not (tmp_path / "out").exists()


def test_an_area_may_be_a_point_of_the_grid_and_lie_in_the_south() -> None:
    assert parse_area("-10.3/140.7/-10.3/140.7", "era5-land") == (-10.3, 140.7, -10.3, 140.7)
    assert parse_area("90/-180/-90/180", "era5-land") == (90, -180, -90, 180)


# What lies on the disk


def test_the_command_fetches_all_files_and_asks_for_none_again(
    command: Command, store: Store, undisturbed: dict[str, str]
) -> None:
    said = command.run()
    assert said.endswith(f"{command.out}: 3 file(s)\n")
    assert tree(command.out) == undisturbed
    for one in command.record().values():
        assert one["state"] == "fetched"
        assert one["store_checksum"]
    with netcdf_file(command.out / NAMES[0], mmap=False) as file:
        assert np.isfinite(file.variables["2m_temperature"][:]).all()
    before = len(store.seen)
    command.key = None  # nor is a key needed for what is there
    assert command.run() == said
    assert len(store.seen) == before


def test_the_function_fetches_the_same_and_shows_how_far_it_is(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    undisturbed: dict[str, str],
) -> None:
    monkeypatch.setenv("ECMWF_DATASTORES_URL", store.url)
    monkeypatch.setenv("ECMWF_DATASTORES_KEY", KEY)
    monkeypatch.setattr("soilcast.progress._EVERY", 0.0)
    said: list[str] = []
    out = tmp_path / "out"
    words: dict[str, Any] = {"years": "2018-01", "variables": ["tp", "t2m"], "wait": 0.001, "log": said.append}
    files = soilcast.download(area=(52, 5, 47, 12), out=out, progress=True, **words)
    assert files == [out / name for name in NAMES]
    assert tree(out) == undisturbed
    assert said == []
    shown = capsys.readouterr().err
    assert "downloading era5-land" in shown
    assert "63/63" in shown  # 31 days of each, and the midnight after


def test_the_key_goes_to_the_store_and_not_along_with_the_file(command: Command, store: Store) -> None:
    command.run()
    for one in store.seen:
        assert (one.headers.get("PRIVATE-TOKEN") == KEY) == (one.place != "file")
        if one.place == "file":
            assert KEY not in str(one.headers)
    assert KEY not in (command.out / "download.json").read_text()


def test_grib_and_zip_are_named_for_what_they_are(command: Command, store: Store) -> None:
    command.run("--format", "grib")
    assert (command.out / "era5-land_2018-01_tp.grib").read_bytes()[-4:] == b"7777"
    store.kind = "zip"
    said = command.run()  # another format is another request
    assert said.count("was downloaded for another request (area, variables or format); downloading it again") == 3
    assert sorted(tree(command.out)) == ["download.json", *(name.replace(".nc", ".zip") for name in NAMES)]
    with zipfile.ZipFile(command.out / "era5-land_2018-01_tp.zip") as archive:
        assert archive.testzip() is None


@pytest.mark.slow
def test_a_damaged_or_missing_file_is_told_and_fetched_anew(
    command: Command, store: Store, undisturbed: dict[str, str]
) -> None:
    command.run()
    submitted = store.count("submit")
    with (command.out / NAMES[0]).open("ab") as stream:
        stream.write(b"more")
    (command.out / NAMES[1]).unlink()
    said = command.run()
    assert (
        "era5-land_2018-01_t2m: the file is damaged, 400100 bytes long instead of 400096; downloading it again" in said
    )
    assert "era5-land_2018-01_tp: the file is no longer there; downloading it again" in said
    assert tree(command.out) == undisturbed
    assert store.count("submit") == submitted + 2
    content = bytearray((command.out / NAMES[0]).read_bytes())
    content[1000] ^= 1
    (command.out / NAMES[0]).write_bytes(content)
    assert "downloading it again" not in command.run()
    assert "its checksum differs; downloading it again" in command.run("--verify")
    assert tree(command.out) == undisturbed


@pytest.mark.slow
def test_more_of_a_download_keeps_what_is_there_and_drops_what_is_twice(command: Command, store: Store) -> None:
    command.run()
    said = command.run("--years", "2018-01:2018-02")
    assert "era5-land_2018-02-01T00_tp.nc: removed, because a larger file contains all of it" in said
    assert store.count("submit") == 3 + 3
    assert sorted(tree(command.out)) == [
        "download.json", "era5-land_2018-01_t2m.nc", "era5-land_2018-01_tp.nc", "era5-land_2018-02_t2m.nc",
        "era5-land_2018-02_tp.nc", "era5-land_2018-03-01T00_tp.nc",
    ]  # fmt: skip
    said = command.run("--variables", "t2m, tp, e")
    assert "era5-land_2018-01_tp.nc: removed, because a larger file contains all of it" in said
    assert f"{command.out} also has 3 file(s) of earlier downloads" in said
    assert "era5-land_2018-01_tp-e" in command.record()


def test_a_request_that_is_too_large_is_halved_and_the_halves_are_remembered(command: Command, store: Store) -> None:
    store.most_fields = 200  # of 744
    said = command.run("--variables", "t2m")
    assert "era5-land_2018-01_t2m: too large for the data store; requesting it in two parts" in said
    assert sorted(tree(command.out)) == [
        "download.json",
        *(f"era5-land_2018-01-{days}_t2m.nc" for days in ("01-to-07", "08-to-15", "16-to-23", "24-to-31")),
    ]  # fmt: skip
    asked = [day for _, request in store.jobs.values() for day in request["day"]]
    assert asked == [f"{day:02d}" for day in range(1, 32)]
    refused = store.count("submit")
    (command.out / "era5-land_2018-01-08-to-15_t2m.nc").unlink()
    command.run("--variables", "t2m")
    assert store.count("submit") == refused + 1


def test_a_day_that_is_too_large_is_told(command: Command, store: Store) -> None:
    store.most_fields = 20
    assert (
        "era5-land_2018-01-01_t2m: the data store refuses even one day (cost limits exceeded: Your request is too "
        "large, please reduce your selection.): request fewer --variables"
    ) in command.refusal("--variables", "t2m", "--years", "2018-01-01:2018-01-02")


def test_no_more_requests_wait_at_once_than_was_said(command: Command, store: Store) -> None:
    store.held = True
    process = command.start("--years", "2018-01:2018-04", "--jobs", "3")
    wait_until(lambda: store.count("job") >= 12)
    assert len(store.jobs) == 3
    store.held = False
    process.join(60)
    assert process.exitcode == 0
    assert len(store.jobs) == 9


# Going on


def part_of(command: Command) -> Path:
    return command.out / f".{NAMES[0].removesuffix('.nc')}.part"


def has_come(path: Path) -> bool:
    try:
        return path.stat().st_size > 1 << 17
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_is_stopped_amid_a_file_goes_on_where_it_stopped(
    command: Command, store: Store, undisturbed: dict[str, str], number: int
) -> None:
    store.fault("file", pause=0.02)
    process = command.start()
    wait_until(lambda: has_come(part_of(command)))
    assert process.pid
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == (-9 if number == signal.SIGKILL else 130)
    assert command.said()[1] == ("" if number == signal.SIGKILL else "soilcast: stopped\n")
    assert not (command.out / NAMES[0]).exists()
    held = part_of(command).stat().st_size
    assert command.record()[NAMES[0].removesuffix(".nc")]["partial"]["size"] == 400096
    jobs, came = len(store.jobs), len(store.seen)
    command.run()
    assert tree(command.out) == undisturbed
    ranges = [one.headers.get("Range") for one in store.seen[came:] if one.place == "file"]
    assert ranges[0] == f"bytes={held}-"
    assert len(store.jobs) == 3
    assert jobs >= 2


def test_jobs_that_the_store_had_accepted_are_taken_up_after_a_kill(
    command: Command, store: Store, undisturbed: dict[str, str]
) -> None:
    store.held = True
    process = command.start()
    wait_until(lambda: min(store.looks.get(job, 0) for job in ("job-0001", "job-0002")) > 1)
    process.kill()
    process.join(60)
    assert {one["job"] for one in command.record().values()} == {"job-0001", "job-0002"}
    store.held = False
    command.run()
    assert store.count("submit") == 3
    assert tree(command.out) == undisturbed


def _came_or_ended(store: Store, enough: int, process: BaseProcess) -> bool:
    return len(store.seen) > enough or not process.is_alive()


@pytest.mark.slow
def test_killed_again_and_again_it_gets_there(command: Command, store: Store, undisturbed: dict[str, str]) -> None:
    for number in range(8):
        store.fault("file", pause=0.01)
        enough = len(store.seen) + 2 * number
        process = command.start()
        wait_until(partial(_came_or_ended, store, enough, process))
        process.kill()
        process.join(60)
    store.faults.clear()
    command.run()
    assert tree(command.out) == undisturbed


def test_a_kill_between_noting_and_naming_costs_nothing(
    command: Command, store: Store, undisturbed: dict[str, str]
) -> None:
    command.run()
    (command.out / NAMES[0]).rename(part_of(command))
    came = len(store.seen)
    command.run()
    assert tree(command.out) == undisturbed
    assert len(store.seen) == came


def test_a_part_of_another_version_or_size_is_not_gone_on_with(
    command: Command, store: Store, undisturbed: dict[str, str]
) -> None:
    store.held = True
    process = command.start()
    wait_until(lambda: min(store.looks.get(job, 0) for job in ("job-0001", "job-0002")) > 1)
    process.kill()
    process.join(60)
    record = json.loads((command.out / "download.json").read_text())
    for name, old in (
        (NAMES[0], {"size": 400096, "etag": '"of yesterday"'}),
        (NAMES[1], {"size": 12345, "etag": '"of yesterday"'}),
    ):
        record["files"][name.removesuffix(".nc")]["partial"] = old
        (command.out / f".{name.removesuffix('.nc')}.part").write_bytes(b"CDF\x01" + b"old" * 4000)
    (command.out / "download.json").write_text(json.dumps(record))
    store.held = False
    command.run()
    assert tree(command.out) == undisturbed


@pytest.mark.parametrize("able", ["ranges", "versions"])
def test_a_server_without_ranges_or_versions_is_asked_for_the_whole_again(
    command: Command, store: Store, undisturbed: dict[str, str], able: str
) -> None:
    setattr(store, able, False)
    store.fault("file", cut=150_000)
    command.run()
    assert tree(command.out) == undisturbed
    assert store.count("file") == 4


def test_connections_that_are_cut_are_gone_on_with(command: Command, store: Store, undisturbed: dict[str, str]) -> None:
    store.fault("file", times=4, cut=70_000)
    command.run()
    assert tree(command.out) == undisturbed
    ranges = [one.headers.get("Range", "bytes=0-") for one in store.seen if one.place == "file"]
    starts = [int(one.removeprefix("bytes=").removesuffix("-")) for one in ranges[:5]]
    assert starts[0] == 0
    assert all(later > earlier for earlier, later in pairwise(starts))


def test_a_server_that_stalls_is_given_up_and_asked_again(
    command: Command, store: Store, undisturbed: dict[str, str]
) -> None:
    store.fault("file", stall=5.0)
    store.fault("job", stall=5.0)
    command.run("--timeout", "0.3")
    assert tree(command.out) == undisturbed


def test_a_slow_server_may_take_longer_than_the_timeout_in_all(
    command: Command, store: Store, undisturbed: dict[str, str]
) -> None:
    store.fault("file", pause=0.05)  # 25 blocks: 1.25 s
    command.run("--timeout", "0.6")
    assert tree(command.out) == undisturbed
    assert not any("Range" in one.headers for one in store.seen)


@pytest.mark.parametrize("place", ["key", "collection", "process", "submit", "job", "results", "file"])
def test_a_store_that_is_down_for_a_moment_is_asked_again(
    command: Command, store: Store, undisturbed: dict[str, str], place: str
) -> None:
    for status in (500, 502, 503, 429):
        store.fault(place, status=status, title="try again", headers={"Retry-After": "0"})
    command.run()
    assert tree(command.out) == undisturbed


# What is said


@pytest.mark.parametrize("place", ["key", "submit", "job", "file"])
def test_a_store_that_stays_down_is_told_after_a_number_of_tries(command: Command, store: Store, place: str) -> None:
    store.fault(place, times=1000, status=503)
    told = command.refusal("--jobs", "1")
    assert "10 tries" in told
    assert "HTTP 503" in told
    assert "to resume" in told
    assert store.count(place) == 10


def test_nobody_at_the_address_is_told(command: Command, store: Store) -> None:
    command.environment = {"ECMWF_DATASTORES_URL": "http://127.0.0.1:9/api"}
    assert "the data store http://127.0.0.1:9/api does not respond (10 tries for the key: ConnectionError)" in (
        command.refusal()
    )


def test_no_key_is_told_with_where_to_put_it_and_where_it_is_had(command: Command) -> None:
    command.key = None
    told = command.refusal()
    assert "no key for the Climate Data Store: register there, copy the personal access token" in told
    assert "~/.cdsapirc" in told
    assert not command.out.exists()


def test_a_wrong_key_is_told_with_where_it_was_found_and_not_shown(command: Command, store: Store) -> None:
    command.key = "12345:0badc0de-secret"
    told = command.refusal()
    assert "rejects the key of $ECMWF_DATASTORES_KEY (401, operation not allowed: authentication required)" in told
    assert "it has the form UID:KEY, which the data store no longer accepts" in told
    assert "0badc0de-secret" not in told


def test_words_of_the_store_never_show_the_key(command: Command, store: Store) -> None:
    store.fault("submit", status=400, title="invalid request", detail=f"token {KEY}\x1b[31m of yours")
    assert "refuses reanalysis-era5-land (400, invalid request: token [the key] [31m of yours)" in (command.refusal())


def test_a_licence_is_told_in_the_words_of_the_store_with_the_page(command: Command, store: Store) -> None:
    detail = (
        "Not all the required licences have been accepted; please visit "
        "https://store.example/datasets/reanalysis-era5-land?tab=download#manage-licences to accept the required "
        "licence(s)."
    )
    store.fault("submit", status=403, title="required licences not accepted", detail=detail)
    told = command.refusal()
    assert f"requires a licence to be accepted (403, required licences not accepted: {detail})" in told
    store.fault("submit", status=403, title="required licences not accepted")
    assert f"accept it on {store.url.removesuffix('/api')}/datasets/reanalysis-era5-land" in command.refusal()


def test_a_period_up_to_the_latest_day_ends_where_the_store_does(command: Command, store: Store) -> None:
    store.end = "2026-11-24T00:00:00Z"
    command.run("--years", "2026-11-21:latest")
    found = sorted(file.name for file in command.out.glob("*.nc"))
    assert found == [
        "era5-land_2026-11-21-to-23_t2m.nc",
        "era5-land_2026-11-21-to-23_tp.nc",
        "era5-land_2026-11-24T00_tp.nc",
    ]
    asked = store.count("submit")
    assert "no complete day from 2026-11-24 on yet" in command.run("--years", "2026-11-24:latest")
    assert store.count("submit") == asked


def test_days_that_are_not_there_yet_are_told(command: Command, store: Store) -> None:
    store.end = "2018-01-20T00:00:00Z"
    told = command.refusal()
    assert "has reanalysis-era5-land up to 2018-01-20, but 2018-02-01 is needed" in told
    assert "end --years at 2018-01-19" in told
    assert store.count("submit") == 0
    store.end = "2018-02-01T00:00:00Z"
    words = (
        "None of the data you have requested is available yet, please revise the period requested. The latest date "
        "available for this dataset is: 2018-01-15 15:00"
    )
    store.fault("submit", status=400, title="invalid request", detail=words)
    assert f"does not have all of these days yet (invalid request: {words}): end --years earlier" in command.refusal()


def test_a_failed_job_is_told_and_the_others_are_fetched(command: Command, store: Store) -> None:
    store.failing["2m_temperature"] = "The job failed with: MultiAdaptorNoDataError\n  no data"
    told = command.refusal()
    assert (
        "era5-land_2018-01_t2m: the data store could not produce it (The job has failed: The job failed with: "
        "MultiAdaptorNoDataError no data); completed files are kept, and the same command tries again"
    ) in told
    assert sorted(tree(command.out)) == ["download.json", *NAMES[1:]]
    store.failing.clear()
    command.run()
    assert store.count("submit") == 4


def test_when_all_fail_it_stops_soon(command: Command, store: Store) -> None:
    store.failing["2m_temperature"] = "no"
    assert "(and 4 more)" in command.refusal("--variables", "t2m", "--years", "2018:2019")
    assert len(store.jobs) <= 7


def test_a_store_that_is_crowded_is_waited_for(command: Command, store: Store, undisturbed: dict[str, str]) -> None:
    words = "Number of queued requests for this dataset is temporarily limited."
    store.fault("submit", times=3, status=400, title="rejected", detail=words)
    command.run()
    assert tree(command.out) == undisturbed
    store.fault("submit", times=1000, status=400, title="rejected", detail=words)
    assert f"accepts no more requests at the moment (rejected: {words}): run the same command again later" in (
        command.refusal("--years", "2019-01")
    )


@pytest.mark.slow
def test_a_job_or_file_that_the_store_has_forgotten_is_asked_for_again(
    command: Command, store: Store, undisturbed: dict[str, str]
) -> None:
    store.fault("job", status=404, title="job not found")
    store.fault("results", status=404, title="results expired")
    store.fault("file", status=403)
    command.run()
    assert tree(command.out) == undisturbed
    assert store.count("submit") == 6
    store.fault("file", times=1000, status=404)
    assert "era5-land_2019-01_t2m: the data store repeatedly loses the job" in command.refusal("--years", "2019-01")


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"<html><body>Down for maintenance</body></html>", "a web page instead of a .nc or .zip file"),
        (b'{"error": "no such file"}', "a text, JSON instead of a .nc or .zip file"),
        (b"GRIB" + bytes(100), "a .grib file instead of a .nc or .zip file"),
        (b"\x00" * 100, "something else instead of a .nc or .zip file"),
    ],
)
def test_other_content_than_data_is_told_and_not_kept(command: Command, store: Store, body: bytes, what: str) -> None:
    store.stated_size = len(body)
    store.fault("file", times=1000, body=body)
    told = command.refusal()
    assert f"era5-land_2018-01_t2m: the data store sent {what} (and 2 more)" in told
    assert sorted(tree(command.out)) == ["download.json"]


def test_a_size_that_is_not_the_announced_one_is_told_and_the_file_not_kept(command: Command, store: Store) -> None:
    store.stated_size = 400_000
    assert "the data store announced 400000 bytes, but sends 400096 of the last 400000" in command.refusal()
    assert sorted(tree(command.out)) == ["download.json"]


def test_a_file_whose_length_nobody_says_is_bounded_by_the_announced_one(command: Command, store: Store) -> None:
    store.lengths = False
    store.stated_size = 300_000
    assert "the data store sends more than the 300000 bytes that it announced" in command.refusal()
    assert sorted(tree(command.out)) == ["download.json"]
    store.stated_size = 500_000
    assert "the download was interrupted (10 tries" in command.refusal("--variables", "t2m")
    assert store.count("file") < 40


def test_an_answer_without_end_is_given_up(command: Command, store: Store) -> None:
    store.fault("key", body=b" " * ((1 << 23) + 1))
    assert "sends a response without end" in command.refusal()


def test_a_checksum_of_the_store_is_compared_where_it_is_one(command: Command, store: Store) -> None:
    store.stated_checksum = "1220" + "0" * 64
    assert "its checksum differs from that of the data store" in command.refusal("--variables", "t2m")
    assert sorted(tree(command.out)) == ["download.json"]
    job = next(iter(store.jobs))
    store.stated_checksum = "1220" + hashlib.sha256(store.content_of(job)).hexdigest()
    command.run("--variables", "t2m")


@pytest.mark.parametrize(
    ("place", "body", "what"),
    [
        ("key", b"<html>hello</html>", "gives an unexpected response about the key"),
        ("submit", b'{"links": []}', "gives an unexpected response about reanalysis-era5-land"),
        ("submit", b'{"links": [{"rel": "monitor", "href": "../../etc/passwd%00"}]}', "an invalid job number"),
        ("job", b'{"links": [], "status": 7}', "gives an unexpected response about a job"),
        ("results", b'{"asset": {"value": {"href": "x", "file:size": -1}}}', "(a size of '-1')"),
        ("results", b'{"asset": {"value": {"href": "file:///etc/passwd", "file:size": 9}}}', "is not https"),
        ("results", b"[]", "gives an unexpected response about a result"),
        ("collection", b'{"extent": 1}', "gives an unexpected response about reanalysis-era5-land"),
    ],
)  # fmt: skip
def test_answers_that_make_no_sense_are_told(
    command: Command, store: Store, place: str, body: bytes, what: str
) -> None:
    store.fault(place, times=1000, body=body)
    assert what in command.refusal()


def test_words_nested_without_end_are_told(command: Command, store: Store) -> None:
    for place, status in (("key", 200), ("key", 403), ("submit", 403)):
        store.fault(place, status=status, body=b"[" * 200_000, headers={"Content-Type": "application/json"})
        command.refusal()


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://one.example/api", "the key is not sent to http://one.example/api unencrypted: write https://"),
        ("http://10.0.0.1/api", "unencrypted"),
        ("http://me:secret@127.0.0.1:9/api", "the address of the data store holds a user or a password: remove it"),
        ("https://me@one.example/api", "holds a user or a password"),
        ("http://[::1", "is not the address of a data store"),
    ],
)
def test_the_key_goes_nowhere_but_to_https_and_no_password_stands_in_the_address(
    command: Command, address: str, words: str
) -> None:
    command.environment["ECMWF_DATASTORES_URL"] = address
    refusal = command.refusal()
    assert words in refusal
    assert "secret" not in refusal


def test_no_password_of_a_netrc_is_sent_to_anybody(command: Command, store: Store) -> None:
    (command.home / ".netrc").write_text("machine 127.0.0.1 login me password SECRET\n")
    (command.home / ".netrc").chmod(0o600)
    with serving() as other:
        store.fault("file", status=302, headers={"Location": f"{other.url.removesuffix('/api')}/cache/job-0001"})
        command.run()
        assert other.seen
        for seen in (*store.seen, *other.seen):
            assert "authorization" not in {name.lower() for name in seen.headers}


def test_the_key_is_not_shown_to_another_server_that_an_answer_points_to(command: Command, store: Store) -> None:
    with serving() as other:
        elsewhere = {"links": [{"rel": "self", "href": f"{other.url}/retrieve/v1/jobs/job-0001"}]}
        store.fault("job", body=json.dumps(elsewhere).encode())
        assert "redirects to" in command.refusal()
        store.fault("key", status=307, headers={"Location": f"{other.url}/profiles/v1/account/verification/pat"})
        assert "must not receive the key" in command.refusal()
        assert other.seen == []


def test_a_store_without_the_data_set_is_told(command: Command, store: Store) -> None:
    store.fault("collection", status=404, title="not found")
    assert "has no reanalysis-era5-land (404, not found): ERA5-Land is in the Climate Data Store" in command.refusal()


def test_a_full_disk_is_told_and_what_has_come_is_kept(
    command: Command, store: Store, undisturbed: dict[str, str]
) -> None:
    told = command.refusal(room=200_000)
    assert "no space left on the disk, or the file size limit is reached" in told
    assert "the part received is kept; free some space and run the same command again" in told
    assert 0 < part_of(command).stat().st_size <= 200_000
    command.run()
    assert any("Range" in one.headers for one in store.seen)
    assert tree(command.out) == undisturbed


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_told_in_whatever_way_the_system_says_it(number: int) -> None:
    told = disk_fault(OSError(number, os.strerror(number)), Path("out/.x.part"))
    assert isinstance(told, SoilcastError)
    assert f"out/.x.part: no space left on the disk, or the file size limit is reached ({os.strerror(number)})" in str(
        told
    )


def test_a_folder_that_is_something_else_is_left_alone(command: Command, tmp_path: Path) -> None:
    command.out.mkdir()
    (command.out / "thesis.txt").write_text("mine")
    assert "is a folder that soilcast download did not create: give another --out" in command.refusal()
    file = tmp_path / "file"
    file.write_text("mine")
    assert f"{file} is not a folder: give another --out" in command.refusal("--out", str(file))
    cube = tmp_path / "cube"
    cube.mkdir()
    (cube / "zarr.json").write_text("{}")
    assert "lies inside" in command.refusal("--out", str(cube / "in"))
    assert (command.out / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "download.json is damaged (not JSON): remove it"),
        (b"[" * 100_000, "download.json is damaged (not JSON): remove it"),
        (b"[]", "is not a download record of soilcast"),
        (b'{"soilcast_kind": "cube", "version": 1, "files": {}}', "soilcast_kind"),
        (b'{"soilcast_kind": "download", "version": 1, "files": {"../../x": {"collection": "a", "request": {}, '
         b'"state": "split"}}}', "'../../x' is not the name of a file that soilcast downloaded"),
        (b'{"soilcast_kind": "download", "version": 1, "files": {"x": {"collection": "a", "request": {}, '
         b'"state": "accepted", "job": "../x"}}}', "files.x.job"),
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_told(command: Command, content: bytes, message: str) -> None:
    command.out.mkdir()
    (command.out / "download.json").write_bytes(content)
    assert message in command.refusal()


def test_two_at_once_in_one_folder_are_told_apart(command: Command, store: Store) -> None:
    store.held = True
    process = command.start()
    wait_until(lambda: store.count("job") > 2)
    second = Command(command.home / "second", store)
    second.home.mkdir()
    assert "another soilcast process downloads into it" in second.refusal("--out", str(command.out))
    process.kill()
    process.join(60)


# The key


@pytest.mark.parametrize("name", [".cdsapirc", ".ecmwfdatastoresrc"])
def test_the_key_may_stand_in_a_file_of_the_client_or_of_cdsapi(
    command: Command, store: Store, undisturbed: dict[str, str], name: str
) -> None:
    (command.home / name).write_text(f"url: {store.url}\nkey: {KEY}\n")
    command.key = None
    command.run()
    assert tree(command.out) == undisturbed


def test_the_key_may_stand_in_the_environment_of_cdsapi(
    command: Command, store: Store, undisturbed: dict[str, str]
) -> None:
    command.environment = {"CDSAPI_URL": store.url, "CDSAPI_KEY": KEY}
    command.key = None
    command.run()
    assert tree(command.out) == undisturbed


def test_key_and_address_come_from_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("ECMWF_", "CDSAPI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ecmwfdatastoresrc").write_text("url: https://one.example/api\n")
    (tmp_path / ".cdsapirc").write_text("url: https://two.example/api/\nkey: secret\n")
    access = find_access()
    assert (access.url, access.where) == ("https://two.example/api", str(tmp_path / ".cdsapirc"))
    assert "secret" not in repr(access)
    monkeypatch.setenv("ECMWF_DATASTORES_KEY", "other")
    assert (find_access().url, find_access().key) == ("https://one.example/api", "other")
    (tmp_path / ".ecmwfdatastoresrc").unlink()
    assert find_access().url == CDS
    monkeypatch.setenv("ECMWF_DATASTORES_KEY", "line\nbreak")
    with pytest.raises(SoilcastError, match="the key has invalid characters") as told:
        find_access()
    assert "break" not in str(told.value)
    monkeypatch.setenv("ECMWF_DATASTORES_KEY", "good")
    monkeypatch.setenv("ECMWF_DATASTORES_URL", "ftp://one.example")
    with pytest.raises(SoilcastError, match="is not the address of a data store"):
        find_access()
    monkeypatch.delenv("ECMWF_DATASTORES_KEY")
    (tmp_path / ".cdsapirc").write_bytes(b"\xff\xfe:")
    with pytest.raises(SoilcastError, match="cannot be read: it must have two lines, url: and key:"):
        find_access()


PLAIN = """
import sys
import soilcast
assert not {"ecmwf", "requests", "xarray", "torch"} & set(sys.modules)
sys.modules["ecmwf.datastores"] = None
try:
    soilcast.download(area="52/5/47/12", years="2018", out=sys.argv[1])
except soilcast.SoilcastError as error:
    print(error)
"""


@pytest.mark.slow
def test_without_the_extra_it_says_how_to_install_it_and_the_package_stays_quick(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, str(tmp_path / "out")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "download needs an extra: install it with pip install 'soilcast[era5]'\n", done.stderr


def test_the_waits_grow_and_are_bounded() -> None:
    pace = client.Pace(first=1.0)
    assert [pace.longer(number) for number in range(9)] == [1, 2, 4, 8, 16, 32, 64, 120, 120]
    assert pace.longer(10**9) == 120
    assert client._seconds("17") == 17
    assert [client._seconds(text) for text in ("nan", "-1", "1e9", "Wed, 21 Oct")] == [0, 0, 120, 0]
