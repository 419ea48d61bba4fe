"""Stations become a cube: the ISMN's formats and flags, the choice of sensors, local time, units, and refusals."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.cube import open_cube
from soilcast.cube.layers import layer_at
from soilcast.errors import SoilcastError
from soilcast.sources import prepare
from soilcast.sources.stations import stations
from soilcast.sources.stations.mapping import zone_of
from soilcast.sources.stations.sensors import daily_means
from soilcast.updating import update
from tests.helpers.ismn_archive import MadeSensor, hours, write_sensor

FORMS = ("header_values", "ceop_sep")


def made(first: str = "2019-03-01", days: int = 4, seed: int = 0, **about: Any) -> MadeSensor:
    values = np.round(np.random.default_rng(seed).uniform(0.1, 0.4, 24 * days), 4)
    return replace(MadeSensor(hours(first, days), values), **about)


def by_day(sensor: MadeSensor, days: int = 4) -> npt.NDArray[np.float64]:
    return np.asarray(sensor.values.reshape(days, 24).mean(axis=1))


def refusal(*paths: Path, **options: Any) -> str:
    with pytest.raises(SoilcastError) as caught:
        stations(list(paths), **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_gives_the_daily_means_of_the_truth(form: str, tmp_path: Path) -> None:
    shallow, deep, other = made(), made(seed=1, depth=(0.2, 0.2)), made(seed=2, station="Elm", lat=47.0, lon=-8.5)
    for sensor in (shallow, deep, other):
        write_sensor(tmp_path, sensor, form)
    write_sensor(tmp_path, made(variable="ta"), form)
    cube = stations([tmp_path])
    assert cube["cell_name"].to_numpy().tolist() == ["NET/Elm", "NET/Oak"]
    np.testing.assert_allclose(cube["swvl1"], [by_day(other), by_day(shallow)], atol=1e-6)
    np.testing.assert_allclose(cube["swvl2"], [np.full(4, np.nan), by_day(deep)], atol=1e-6)
    np.testing.assert_allclose(cube["sensor_depth2"], [np.nan, 0.2])
    np.testing.assert_allclose(cube["slthick2"], 0.21, rtol=1e-6)
    assert cube["lon"].to_numpy().tolist() == [-8.5, 11.0]
    assert "1 file(s) of other variables are not read" in cube.attrs["notes"]


def test_both_formats_of_the_archive_give_one_cube(tmp_path: Path) -> None:
    sensor = made()
    for form in FORMS:
        write_sensor(tmp_path / form, sensor, form)
    one, other = (stations([tmp_path / form]) for form in FORMS)
    np.testing.assert_array_equal(one["swvl1"], other["swvl1"])


@pytest.mark.shared
@pytest.mark.parametrize("form", FORMS)
def test_genuine_files_are_read(form: str, shared: Path) -> None:
    folder = shared / "formats" / "ismn" / f"format_{form}"
    assert "flag U on 736, flag D05 on 5" in refusal(folder)
    cube = stations([folder], flags=["G", "U"])
    assert cube["cell_name"].item() == "SMOSMANIA/Narbonne"
    assert (cube["lat"].item(), cube["lon"].item(), cube.sizes["time"]) == (43.15, 2.9567, 31)
    first = [0.2140] * 6 + [0.2135] * 3 + [0.2140] * 2 + [0.2145] + [0.2149] * 3 + [0.2145, 0.2135, 0.2130, 0.2130]
    first += [0.2126, 0.2121, 0.2121, 0.2116]  # from 01:00 on, as the file begins
    assert cube["swvl1"][0, 0].item() == pytest.approx(np.mean(first), abs=1e-6)


def test_only_values_of_the_flags_count_and_the_others_are_told(tmp_path: Path) -> None:
    flags = np.array(["G"] * 96, dtype=object)
    flags[:10], flags[24:30], flags[30:32] = "D05", "C03,D02", "G,D05"
    sensor = made(flags=flags.tolist())
    write_sensor(tmp_path, sensor)
    cube = stations([tmp_path], least_hours=12)
    assert cube["swvl1"][0, 0].item() == pytest.approx(sensor.values[10:24].mean(), abs=1e-6)
    assert cube["swvl1"][0, 1].item() == pytest.approx(sensor.values[32:48].mean(), abs=1e-6)
    assert "flag D05 on 10, flag C03,D02 on 6, flag G,D05 on 2" in cube.attrs["notes"]
    both = stations([tmp_path], flags=["G,D05"])
    assert both["swvl1"][0, 0].item() == pytest.approx(by_day(sensor)[0], abs=1e-6)


def test_a_day_needs_its_hours(tmp_path: Path) -> None:
    sensor = made()
    keep = np.r_[0:17, 24:42, 48:96]
    write_sensor(tmp_path, replace(sensor, times=sensor.times[keep], values=sensor.values[keep]))
    cube = stations([tmp_path])
    assert cube.sizes["time"] == 3  # it begins with the second day
    assert cube["time"].to_numpy()[0] == np.datetime64("2019-03-02")
    assert "1 of 4 days of sensors left out, with fewer than 18 hours" in cube.attrs["notes"]
    assert stations([tmp_path], least_hours=17).sizes["time"] == 4


def test_the_sensor_of_a_layer_is_chosen_by_the_rule(tmp_path: Path) -> None:
    longest = made(instrument="Probe-Z", seed=1)
    shorter = made(days=3, instrument="Probe-A", seed=2)
    farther = made(depth=(0.02, 0.02), seed=3)
    beneath = made(depth=(3.5, 3.5), seed=4)
    for sensor in (longest, shorter, farther, beneath):
        write_sensor(tmp_path, sensor)
    cube = stations([tmp_path], layers=[0, 0.09, 0.3])
    np.testing.assert_allclose(cube["swvl1"][0], by_day(longest), atol=1e-6)
    for told in ("nearer to the middle", "same depth has more days", "outside all layers (3.5 m"):
        assert f"1 sensor(s) left out{',' if 'outside' in told else ': another one'}" in cube.attrs["notes"]
        assert told in cube.attrs["notes"]


def test_a_sensor_over_depths_stands_at_their_middle(tmp_path: Path) -> None:
    write_sensor(tmp_path, made(depth=(0.0, 0.1)))
    assert stations([tmp_path])["sensor_depth1"].item() == pytest.approx(0.05)


@given(st.floats(0, 3), st.lists(st.floats(0, 3), min_size=2, max_size=5, unique=True))
def test_a_depth_is_in_the_layer_that_holds_it(depth: float, bounds: list[float]) -> None:
    bounds = sorted(round(bound, 3) for bound in bounds)
    if len(set(bounds)) < len(bounds):
        return
    found = layer_at(depth, bounds)
    if found is None:
        assert depth < bounds[0] or depth > bounds[-1]
    else:
        assert bounds[found] - 2e-6 <= depth <= bounds[found + 1] + 2e-6


@given(st.integers(0, 2**32 - 1), st.integers(1, 24))
def test_daily_means_agree_with_pandas(seed: int, least: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.datetime64("2020-02-28", "s") + rng.choice(4 * 86400 // 600, 300, replace=False) * 600
    values = rng.uniform(0, 0.5, 300)
    days, means, short, _ = daily_means(times, values, least)
    hourly = pd.Series(values, times).groupby(pd.DatetimeIndex(times).floor("h")).mean()
    daily = hourly.groupby(hourly.index.floor("D")).agg(["mean", "count"])
    expected = daily[daily["count"] >= least]
    np.testing.assert_array_equal(days, expected.index.to_numpy().astype("datetime64[D]"))
    np.testing.assert_allclose(means, expected["mean"], rtol=1e-12)
    assert short == len(daily) - len(expected)


# Tables


def write_mapping(folder: Path, text: str) -> Path:
    file = folder / "stations.yaml"
    file.write_text(f"title: our stations\n{text}", encoding="utf-8")
    return file


PLACE = "places: {Oak: {lat: 48, lon: 11, network: Own}}\n"


def hourly_table(folder: Path, local: Sequence[str], values: Sequence[float], name: str = "Oak.csv") -> Path:
    file = folder / name
    rows = [f"{time},{value}" for time, value in zip(local, values, strict=True)]
    file.write_text("\n".join(["time,sm", *rows]) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("zone", ["UTC", "+05:30", "-08:00", "Europe/Berlin", "America/St_Johns"])
def test_local_hours_become_days_of_utc(zone: str, tmp_path: Path) -> None:
    sensor = made("2019-03-29", 4)  # over the change to summer time of 2019-03-31
    moments = pd.DatetimeIndex(sensor.times.astype("datetime64[s]"), tz="UTC").tz_convert(zone_of(zone))
    table = hourly_table(tmp_path, moments.strftime("%Y-%m-%d %H:%M").tolist(), sensor.values.tolist())
    mapping = write_mapping(tmp_path, f'timezone: "{zone}"\n{PLACE}sensors: [{{column: sm, depth: 0.05}}]\n')
    cube = stations([table], mapping=mapping)
    assert cube["cell_name"].item() == "Own/Oak"
    np.testing.assert_allclose(cube["swvl1"][0], by_day(sensor), atol=1e-6)


def test_offsets_in_the_times_themselves_are_followed(tmp_path: Path) -> None:
    sensor = made()
    local = [f"{str(t + 2)[:13]}:00+02:00" for t in sensor.times]
    table = hourly_table(tmp_path, local, sensor.values.tolist())
    plain = f"{PLACE}sensors: [{{column: sm, depth: 0.05}}]\n"
    cube = stations([table], mapping=write_mapping(tmp_path, plain))
    np.testing.assert_allclose(cube["swvl1"][0], by_day(sensor), atol=1e-6)
    assert "remove timezone" in refusal(table, mapping=write_mapping(tmp_path, f"timezone: UTC\n{plain}"))


def test_hours_that_summer_time_repeats_are_left_out_and_counted(tmp_path: Path) -> None:
    moments = pd.date_range("2019-10-26", "2019-10-28", freq="h", tz="UTC", inclusive="left").tz_convert(
        "Europe/Berlin"
    )
    table = hourly_table(tmp_path, moments.strftime("%Y-%m-%d %H:%M").tolist(), [0.3] * len(moments))
    mapping = write_mapping(tmp_path, f"timezone: Europe/Berlin\n{PLACE}sensors: [{{column: sm, depth: 0.05}}]\n")
    notes = stations([table], mapping=mapping).attrs["notes"]
    assert "change of summer time repeats or leaves out on 2" in notes


def test_depths_are_columns_or_files_and_units_are_converted(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=3).strftime("%Y-%m-%d")
    for station, low in (("Oak", 20.0), ("Elm", 30.0)):
        wide = pd.DataFrame({"day": days, "shallow": [low, low + 1, -9999], "battery": 12.1})
        wide.to_csv(tmp_path / f"{station}_a.csv", index=False)
        pd.DataFrame({"day": days, "sm": [0.2, 0.3, 0.25]}).to_csv(tmp_path / f"{station}_50cm.csv", index=False)
    mapping = write_mapping(
        tmp_path,
        "time: day\nmissing: [-9999]\nplaces: {Oak: {lat: 48, lon: 11}, Elm: {lat: 47, lon: 12}}\nsensors:\n"
        '- {column: shallow, depth: 0.05, unit: "%", files: "*_a.csv"}\n'
        '- {column: sm, depth: 0.5, files: "*_50cm.csv"}\n',
    )
    cube = stations([tmp_path], mapping=mapping)
    assert cube["cell_name"].to_numpy().tolist() == ["Elm", "Oak"]
    np.testing.assert_allclose(cube["swvl1"], [[0.3, 0.31, np.nan], [0.2, 0.21, np.nan]], atol=1e-6)
    np.testing.assert_allclose(cube["swvl3"], [[0.2, 0.3, 0.25]] * 2, atol=1e-6)
    for told in ("no value on 2", "battery", "not moved to UTC"):
        assert told in cube.attrs["notes"]


def test_a_column_names_the_station_and_columns_its_place(tmp_path: Path) -> None:
    table = tmp_path / "all.csv"
    table.write_text(
        "site;lat;lon;time;sm [%]\nA;48;11;01.02.2020;20\nB;49;12;01.02.2020;30\nA;48;11;13.02.2020;22\n",
        encoding="utf-8",
    )
    mapping = write_mapping(tmp_path, "station: site\nnetwork: N\nsensors: [{column: 'sm [%]', depth: 0.03}]\n")
    cube = stations([table], mapping=mapping)
    assert cube["cell_name"].to_numpy().tolist() == ["N/A", "N/B"]
    assert cube.sizes["time"] == 13
    assert cube["swvl1"][0, -1].item() == pytest.approx(0.22)


def test_the_command_writes_a_cube_that_an_update_extends(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=40).strftime("%Y-%m-%d").tolist()
    values = np.linspace(0.2, 0.3, 40).tolist()
    early = hourly_table(tmp_path, days[:30], values[:30])
    mapping = write_mapping(tmp_path, f"{PLACE}sensors: [{{column: sm, depth: 0.05}}]\n")
    prepare("stations", early, out=tmp_path / "cube.zarr", mapping=mapping)
    later = tmp_path / "later"
    later.mkdir()
    hourly_table(later, days[30:], values[30:])
    update(tmp_path / "cube.zarr", later)
    np.testing.assert_allclose(open_cube(tmp_path / "cube.zarr")["swvl1"][0], values, atol=1e-6)


@pytest.mark.slow
@pytest.mark.shared
def test_a_genuine_table_is_read_as_that_of_a_station(shared: Path, tmp_path: Path) -> None:
    """Of ERA5-Land over a basin, not of a station: the layout alone is that of one."""
    column = "volumetric_soil_water_layer_1_mean"
    text = (
        f"time: date\nplaces: {{camelslx_054: {{lat: 49.6, lon: 6.4}}}}\nsensors: [{{column: {column}, depth: 0.05}}]\n"
    )
    table = shared / "caravan" / "camelslx_054.csv"
    cube = stations([table], mapping=write_mapping(tmp_path, text))
    raw = pd.read_csv(table, parse_dates=["date"]).set_index("date")[column]
    np.testing.assert_allclose(cube["swvl1"][0], raw, atol=1e-7)
    np.testing.assert_array_equal(cube["time"], raw.index)


# Refusals


def test_without_the_library_of_the_ismn_one_line_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sensor(tmp_path, made())
    monkeypatch.setitem(sys.modules, "ismn.filehandlers", None)
    assert "pip install soilcast[stations]" in refusal(tmp_path)


def test_faults_of_archives_are_one_line(tmp_path: Path) -> None:
    assert "no .stm file" in refusal(tmp_path)
    file = write_sensor(tmp_path, made())
    assert "check the path" in refusal(tmp_path / "elsewhere")
    assert "no quality flag of the ISMN" in refusal(tmp_path, flags=["good"])
    assert "from 1 to 24" in refusal(tmp_path, least_hours=0)
    assert "in metres" in refusal(tmp_path, layers=[0.07, 0])
    assert "give other --layers" in refusal(tmp_path, layers=[0.2, 0.3])
    assert "stations have the layers swvl1" in refusal(tmp_path, units={"tp": "mm"})
    zipped = tmp_path / "archive.zip"
    zipped.write_bytes(b"PK")
    assert "unpack it" in refusal(zipped)
    text = file.read_text(encoding="ascii")
    file.write_text(text.replace("0.", "x.", 3), encoding="ascii")
    assert "damaged or truncated" in refusal(tmp_path)
    file.write_text(text[: len(text) // 50], encoding="ascii")
    assert "damaged or truncated" in refusal(tmp_path)
    file.write_text("", encoding="ascii")
    assert "damaged or truncated" in refusal(tmp_path)


def test_values_in_percent_are_refused_or_converted_by_the_stated_unit(tmp_path: Path) -> None:
    write_sensor(tmp_path, made(values=np.full(96, 25.0)))
    assert "--unit swvl1=UNIT" in refusal(tmp_path)
    assert stations([tmp_path], units={"swvl1": "percent"})["swvl1"][0, 0].item() == pytest.approx(0.25)


def test_all_flags_bad_names_the_flags_and_what_would_do(tmp_path: Path) -> None:
    write_sensor(tmp_path, made(flags="C03"))
    assert "flag C03 on 96" in refusal(tmp_path)
    assert "--flags C03,G" in refusal(tmp_path)


def test_too_few_hours_say_how_many_there_are(tmp_path: Path) -> None:
    sensor = made()
    write_sensor(tmp_path, replace(sensor, times=sensor.times[::6], values=sensor.values[::6]))
    assert "state --least-hours 4 or fewer" in refusal(tmp_path)


def test_a_station_at_two_places_is_refused(tmp_path: Path) -> None:
    write_sensor(tmp_path, made())
    write_sensor(tmp_path, made(depth=(0.2, 0.2), lat=50.0))
    assert "one place" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sensors: [{column: sm, depth: 0.05}]", "where is station Oak?"),
        (f"{PLACE}sensors: [{{column: wet, depth: 0.05}}]", "no column wet"),
        (f"{PLACE}sensors: [{{column: sm, depth: 0.05}}]\ntime: when", "no column 'when'"),
        (f"{PLACE}sensors: [{{column: sm, depth: 0.05}}]\nstation: site", "no column 'site'"),
        (f"{PLACE}sensors: [{{column: sm, depth: 0.05}}]", "it is not said in which time"),
        (f"{PLACE}sensors: [{{column: sm, depth: 0.05}}]\ntimezone: Mars/Base", "is no time zone"),
        (f'{PLACE}sensors: [{{column: sm, depth: 0.05, files: "sm.csv"}}]', "has not one *"),
        (f'{PLACE}sensors: [{{column: sm, depth: 0.05, files: "*_x.csv"}}]', "none of the files of the mapping"),
        (f"{PLACE}sensors: [{{column: sm, depth: 0.05, colour: red}}]", "unknown key 'colour'"),
    ],
)
def test_faults_of_tables_are_one_line(text: str, words: str, tmp_path: Path) -> None:
    sensor = made()
    table = hourly_table(tmp_path, [f"{str(t)[:13]}:00" for t in sensor.times], sensor.values.tolist())
    assert words in refusal(table, mapping=write_mapping(tmp_path, text))


def test_percent_without_a_unit_is_refused(tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=30).strftime("%Y-%m-%d").tolist()
    table = hourly_table(tmp_path, days, [25.0] * 30)
    mapping = write_mapping(tmp_path, f"{PLACE}sensors: [{{column: sm, depth: 0.05}}]\n")
    assert "add unit: percent" in refusal(table, mapping=mapping)
    assert "mapping file (--mapping)" in refusal(table)


@settings(max_examples=20)
@given(st.binary(max_size=200))
def test_no_file_makes_the_reader_fail_otherwise(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "NET_NET_Oak_sm_0.050000_0.050000_Probe_20190301_20190304.stm"
        file.write_bytes(content)
        with pytest.raises(SoilcastError):
            stations([file])
