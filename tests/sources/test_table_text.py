"""Tables of text: whatever way a table is written, the same cube; or one line that names file, row, column, value."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.errors import SoilcastError
from soilcast.sources.table import table
from soilcast.sources.table.mapping import read_mapping
from tests.helpers import ROOT
from tests.helpers.table_text import (
    DATES,
    stations,
    with_dates,
    with_decimal_comma,
    write_mapping,
    write_text,
)


def cube_of(folder: Path, *paths: Path, **keys: str) -> xr.Dataset:
    return table(list(paths) or [folder / "in"], mapping=write_mapping(folder, **keys)).load()


def same(one: xr.Dataset, other: xr.Dataset) -> bool:
    """Whether two cubes agree to the last bit, wherever they were read from."""
    bare = [cube.drop_attrs() for cube in (one, other)]
    return bare[0].identical(bare[1])


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    folder = tmp_path_factory.mktemp("plain")
    return cube_of(folder, write_text(folder / "in" / "x.csv", stations()))


def refusal(folder: Path, content: str | bytes, name: str = "x.csv", **keys: str) -> str:
    """What is said of one file, in one line."""
    path = folder / "in" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(SoilcastError) as caught:
        cube_of(folder, **keys)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_the_values_of_a_plain_table_arrive(plain: xr.Dataset) -> None:
    frame = stations()
    assert plain["cell_name"].to_numpy().tolist() == ["A", "B"]
    for cell, rows in frame.groupby("station"):
        one = plain.isel(cell=["A", "B"].index(str(cell)))
        assert one["swvl1"].to_numpy().tolist() == rows["sm"].astype(np.float32).tolist()
        np.testing.assert_allclose(one["t2m"], rows["t2m"].astype(float) + 273.15, rtol=1e-7)
        np.testing.assert_allclose(one["tp"], rows["pr"].astype(float) / 1000, rtol=1e-7)
        assert float(one["lat"]) == float(rows["lat"].iloc[0])


def since(days: pd.Series, begin: str, factor: int = 1) -> pd.Series:
    """Days as a count of parts of a day since a date."""
    return ((days - pd.Timestamp(begin)).dt.days * factor).astype(str)


# ---------------------------------------------------------------- spellings of one table


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_separators_and_encodings(tmp_path: Path, plain: xr.Dataset, separator: str, encoding: str) -> None:
    write_text(tmp_path / "in" / "x.csv", stations(), separator=separator, encoding=encoding)
    assert same(cube_of(tmp_path), plain)


@pytest.mark.parametrize("separator", [";", "\t", "|", " ", ","])
def test_decimal_commas(tmp_path: Path, plain: xr.Dataset, separator: str) -> None:
    write_text(tmp_path / "in" / "x.csv", with_decimal_comma(stations()), separator=separator)
    assert same(cube_of(tmp_path), plain)


@pytest.mark.parametrize("name", ["x.CSV", "x.txt", "x.TSV", "x.dat", "x.csv.gz", "x.gz", "x.Csv.GZ"])
def test_names_of_tables(tmp_path: Path, plain: xr.Dataset, name: str) -> None:
    write_text(tmp_path / "in" / name, stations())
    assert same(cube_of(tmp_path), plain)
    assert same(cube_of(tmp_path, tmp_path / "in" / name), plain)


@pytest.mark.parametrize("written", DATES.values(), ids=DATES.keys())
def test_dates(tmp_path: Path, plain: xr.Dataset, written: str) -> None:
    write_text(tmp_path / "in" / "x.csv", with_dates(stations(), written))
    cube = cube_of(tmp_path)
    assert same(cube, plain)
    assert ("at UTC+02:00" in cube.attrs.get("notes", "")) == ("+02" in str(written))


@pytest.mark.parametrize(
    ("written", "time_format"),
    [
        ("%d/%m/%Y", '"%d/%m/%Y"'),
        ("%Y%j", '"%Y%j"'),
        ("%Y%m%d0000", '"%Y%m%d%H%M"'),
        ("%Y%m%d120000", '"%Y%m%d%H%M%S"'),
        (lambda days: since(days, "1970-01-01", 86_400_000), "milliseconds since 1970-01-01"),
        (lambda days: since(days, "1970-01-01", 86_400), "seconds since 1970-01-01"),
        (lambda days: since(days, "1899-12-30"), "days since 1899-12-30"),
        (lambda days: since(days, "1899-12-30") + ".0", "days since 1899-12-30"),
    ],
)
def test_dates_that_the_mapping_explains(
    tmp_path: Path, plain: xr.Dataset, written: Callable[[pd.Series], pd.Series] | str, time_format: str
) -> None:
    write_text(tmp_path / "in" / "x.csv", with_dates(stations(), written))
    if written != "%d/%m/%Y":
        with pytest.raises(SoilcastError, match=re.escape(f"(time_format: {time_format})")):
            cube_of(tmp_path)
    assert same(cube_of(tmp_path, time_format=time_format), plain)


def test_days_in_several_columns(tmp_path: Path, plain: xr.Dataset) -> None:
    frame = stations()
    days = pd.to_datetime(frame["time"])
    parts = frame.drop(columns="time").assign(year=days.dt.year, month=days.dt.month, day=days.dt.day)
    parts["doy"], parts["hour"], parts["date"] = days.dt.day_of_year, "00:00", frame["time"]
    write_text(tmp_path / "in" / "x.csv", parts)
    assert same(cube_of(tmp_path, time="[year, month, day]"), plain)
    assert same(cube_of(tmp_path, time="[year, doy]"), plain)
    assert same(cube_of(tmp_path, time="[date, hour]"), plain)
    write_text(tmp_path / "in" / "x.csv", parts.astype({"year": float, "month": float, "day": float}))
    assert same(cube_of(tmp_path, time="[year, month, day]"), plain)


MADE_UP: dict[str, Callable[[list[str]], list[str]]] = {
    "comment lines": lambda rows: ["# units: m3/m3", "", "% made by hand", *rows],
    "a title": lambda rows: ["Soil moisture, daily values", "from the north, and the south", *rows],
    "a header that is a comment": lambda rows: [f"# {rows[0]}", *rows[1:]],
    "comments below": lambda rows: [*rows[:4], "# moved by 2 m", *rows[4:], "# the end", "", ""],
    "blank rows": lambda rows: [rows[0], "", *rows[1:5], ",,,,,,", *rows[5:], ""],
    "units": lambda rows: [rows[0], "YYYY-MM-DD,,deg,deg,m3 m-3,degC,mm", *rows[1:]],
    "trailing columns": lambda rows: [f"{row},," for row in rows],
    "trailing separators": lambda rows: [rows[0], *(f"{row},," for row in rows[1:])],
    "quotes": lambda rows: [",".join(f'"{field}"' for field in row.split(",")) for row in rows],
    "blanks": lambda rows: [", ".join(f" {field} " for field in row.split(",")) for row in rows],
    "line ends of Windows": lambda rows: [f"{row}\r" for row in rows],
    "line ends of the first Macintosh": lambda rows: ["\r".join(rows)],
    "an unnamed index": lambda rows: [f"{number or ''},{row}" for number, row in enumerate(rows)],
    "columns of no use": lambda rows: ["remark,remark," + rows[0], *(f"ä,1.2.3,{row}" for row in rows[1:])],
}


@pytest.mark.parametrize("change", MADE_UP.values(), ids=MADE_UP.keys())
def test_what_stands_around_the_values(
    tmp_path: Path, plain: xr.Dataset, change: Callable[[list[str]], list[str]]
) -> None:
    rows = stations().to_csv(index=False).splitlines()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.csv").write_text("\n".join(change(rows)), encoding="utf-8")
    cube = cube_of(tmp_path)
    assert same(cube, plain)
    if "daily values" in change(rows)[0]:
        assert cube.attrs["notes"] == "x.csv: 2 line(s) above the header are not read"


def test_latin_1_is_read_and_told(tmp_path: Path) -> None:
    frame = stations(cells=("Görz", "Zürich")).rename(columns={"t2m": "t2m [°C]"})
    path = write_text(tmp_path / "in" / "x.csv", frame, encoding="latin-1")
    mapping = write_mapping(tmp_path)
    mapping.write_text(mapping.read_text().replace("{name: t2m, unit: degC}", '"t2m [°C]"'), encoding="utf-8")
    cube = table([path], mapping=mapping)
    assert cube["cell_name"].to_numpy().tolist() == ["Görz", "Zürich"]
    assert "x.csv: read as Windows-1252 (Latin-1)" in cube.attrs["notes"]
    assert 263 < float(cube["t2m"].min()) < 299


@pytest.mark.parametrize("marker", ["", "NA", "NaN", "null", "None", "N/A", "#N/A"])
def test_what_can_only_be_missing_is_missing(tmp_path: Path, marker: str) -> None:
    frame = stations()
    frame.loc[3, "sm"] = marker
    write_text(tmp_path / "in" / "x.csv", frame)
    cube = cube_of(tmp_path)
    assert np.flatnonzero(np.isnan(cube["swvl1"].isel(cell=0))).tolist() == [3]
    assert int(np.isnan(cube["swvl1"]).sum()) == 1


@pytest.mark.parametrize("marker", ["---", "-", "--", "T", "M", "*", ".", "missing", "-9999"])
def test_other_markers_are_named_and_the_mapping_explains_them(tmp_path: Path, marker: str) -> None:
    frame = stations()
    frame.loc[3, "pr"] = marker
    write_text(tmp_path / "in" / "x.csv", frame)
    if marker != "-9999":
        with pytest.raises(SoilcastError, match=re.escape(f"row 5, column 'pr': {marker!r} is not a number")) as caught:
            cube_of(tmp_path)
        assert f'missing: ["{marker}"]' in str(caught.value)
    cube = cube_of(tmp_path, missing=f'["{marker}", -999]' if marker != "-9999" else "-9999")
    assert np.argwhere(np.isnan(cube["tp"].to_numpy())).tolist() == [[0, 3]]


# ---------------------------------------------------------------- layouts


def test_a_file_a_variable_and_a_file_a_cell_and_a_file_a_year(tmp_path: Path, plain: xr.Dataset) -> None:
    frame = stations()
    keys = ["time", "station"]
    write_text(tmp_path / "variables" / "sm.csv", frame[[*keys, "lat", "lon", "sm"]])
    write_text(tmp_path / "variables" / "weather.csv", frame[[*keys, "lat", "lon", "t2m", "pr"]][::-1])
    assert same(cube_of(tmp_path, tmp_path / "variables"), plain)
    for station, rows in frame.groupby("station"):
        write_text(tmp_path / "cells" / f"{station}.csv.gz", rows.drop(columns=["station", "lat", "lon"]))
    places = write_text(tmp_path / "places.csv", frame[["station", "lat", "lon"]].drop_duplicates())
    assert same(cube_of(tmp_path, tmp_path / "cells", places), plain)
    for number, rows in enumerate((frame[frame.time > "2020-01-12"], frame[frame.time <= "2020-01-12"])):
        write_text(tmp_path / "years" / f"{number}.csv", rows)
    assert same(cube_of(tmp_path, tmp_path / "years"), plain)
    # Both at once, and with days that two files share.
    write_text(tmp_path / "both" / "a.csv", frame[frame.time < "2020-01-15"].drop(columns="pr"))
    write_text(tmp_path / "both" / "b.csv", frame[frame.time > "2020-01-10"].drop(columns="pr"))
    write_text(tmp_path / "both" / "c.csv", frame[[*keys, "pr"]])
    assert same(cube_of(tmp_path, tmp_path / "both"), plain)


def test_values_that_contradict_each_other_are_named(tmp_path: Path) -> None:
    frame = stations()
    write_text(tmp_path / "in" / "a.csv", frame)
    write_text(tmp_path / "in" / "b.csv", frame.iloc[[4]].assign(sm="0.5"))
    with pytest.raises(
        SoilcastError, match=r"b.csv: row 2, column 'sm': 0.5 for cell A on 2020-01-09, but another file"
    ):
        cube_of(tmp_path)


def test_days_without_a_row_are_missing_and_counted(tmp_path: Path, plain: xr.Dataset) -> None:
    frame = stations()
    gone = ((frame.station == "B") & (frame.time < "2020-01-09")) | (frame.time == "2020-01-20")
    write_text(tmp_path / "in" / "x.csv", frame[~gone])
    cube = cube_of(tmp_path)
    assert cube.attrs["notes"] == "x.csv: no row in A on 1, B on 5 of 20 days, 1 of these in all cells"
    expected = plain.copy(deep=True)
    for name in ("swvl1", "t2m", "tp"):
        expected[name][1, :4] = np.nan
        expected[name][:, 15] = np.nan
    assert same(cube, expected)


def test_columns_that_begin_later_are_counted_by_name(tmp_path: Path) -> None:
    frame = stations()
    write_text(tmp_path / "in" / "sm.csv", frame[["time", "station", "lat", "lon", "sm"]])
    write_text(tmp_path / "in" / "w.csv", frame[["time", "station", "t2m", "pr"]][frame.time > "2020-01-06"])
    assert cube_of(tmp_path).attrs["notes"] == (
        "sm.csv .. w.csv: t2m, pr: no row in A on 2, B on 2 of 20 days, 2 of these in all cells"
    )


def test_the_order_of_rows_and_columns_changes_nothing(tmp_path: Path, plain: xr.Dataset) -> None:
    frame = stations().sample(frac=1, random_state=3)
    write_text(tmp_path / "in" / "x.csv", frame[list(reversed(frame.columns))])
    assert same(cube_of(tmp_path), plain)


def test_texts_that_are_no_tables_are_left_out_and_told(tmp_path: Path, plain: xr.Dataset) -> None:
    write_text(tmp_path / "in" / "x.csv", stations())
    (tmp_path / "in" / "README.txt").write_text("Written by hand.\n")
    (tmp_path / "in" / "logger.dat").write_bytes(bytes(range(256)))
    write_text(tmp_path / "in" / "flow.csv", stations()[["time", "station"]].assign(discharge="1"))
    cube = cube_of(tmp_path)
    assert same(cube, plain)
    notes = cube.attrs["notes"].splitlines()
    assert any("left out" in note and "README.txt: no column 'time' or 'station'" in note for note in notes)
    assert any("left out" in note and "logger.dat: line 1 holds a NUL byte" in note for note in notes)
    assert any("left out" in note and "flow.csv: no column is one of the mapping (discharge)" in note for note in notes)


def test_cells_of_a_static_table_alone_are_counted(tmp_path: Path) -> None:
    frame = stations(cells=("A", "B", "C"))
    write_text(tmp_path / "in" / "x.csv", frame[frame.station != "B"].drop(columns=["lat", "lon"]))
    write_text(tmp_path / "in" / "places.csv", frame[["station", "lat", "lon"]].drop_duplicates())
    cube = cube_of(tmp_path)
    assert cube["cell_name"].to_numpy().tolist() == ["A", "C"]
    assert cube.attrs["notes"] == "places.csv: left out are 1 cell(s) without any day"


# ---------------------------------------------------------------- what is not certain, or not a table

ROWS = stations(days=3).to_csv(index=False).splitlines()
BODY = "\n".join(ROWS[1:])


def changed(old: str, new: str) -> str:
    assert old in "\n".join(ROWS)
    return "\n".join(ROWS).replace(old, new, 1)


DEGREES = ROWS[2].split(",")[5]

FAULTS: dict[str, tuple[str | bytes, str]] = {
    "thousands": (changed(DEGREES, '"1,234.5"'), r"row 3, column 't2m': '1,234.5' may have separators of thousands"),
    "thousands alone": (changed(DEGREES, '"1,234"'), r"row 3, column 't2m': '1,234' may have separators of"),
    "points and commas": (
        "time;station;lat;sm\n2020-01-01;A;48.5;0,25",
        "row 2, column 'lat': '48.5' has a point, but '0,25' a decimal comma",
    ),
    "thousands of the Swiss": (changed(DEGREES, "1'234.5"), "row 3, .*1'234.5\" may have separators of thousands"),
    "a unit beside a value": (changed(DEGREES, "12 C"), r"row 3, column 't2m': '12 C' is not a number"),
    "infinite": (changed(DEGREES, "inf"), r"row 3, column 't2m': 'inf' is not a number"),
    "digits of elsewhere": (changed(DEGREES, "١٢"), r"row 3, column 't2m': '١٢' is not a number"),
    "dates of either order": (
        re.sub(r"2020-01-0(.)", r"0\1/01/2020", "\n".join(ROWS)),
        "row 2, column 'time': '05/01/2020' may have the day or the month first: .*time_format: \"%d/%m/%Y\"",
    ),
    "two orders": (
        changed("2020-01-06", "13/01/2020").replace("2020-01-05", "01/13/2020"),
        "row 3, column 'time': '13/01/2020' is no day of the calendar if the month is first, as in other rows",
    ),
    "years of two digits": (changed("2020-01-06", "06.01.20"), "row 3, .*'06.01.20' has a year of two digits"),
    "no such day": (changed("2020-01-06", "2020-02-30"), "row 3, .*'2020-02-30' is no day of the calendar"),
    "months": (changed("2020-01-06", "2020-01"), r"row 3, column 'time': '2020-01' is a month"),
    "no date": (changed("2020-01-06", ""), r"row 3, column 'time': '' is"),
    "a far date": (changed("2020-01-06", "9999-12-31"), r"row 3, column 'time': '9999-12-31' is not within 1678"),
    "a mistyped year": (changed("2020-01-05", "2202-01-05"), "no row between 2020-01-07 and 2202-01-05"),
    "other clocks": (changed("2020-01-05", "2020-01-04T23:00Z"), "stamps days with 00:00 .. 23:00, so that it is not"),
    "a single other clock": (re.sub(r"(2020-01-0.)", r"\1T09:00", "\n".join(ROWS)), "stamps days with 09:00, so that"),
    "repeated": ("\n".join([*ROWS, ROWS[1]]), r"rows 2 and 8: cell A has 2020-01-05 more than once"),
    "a cell without a name": (changed(",B,", ",,"), r"row 5 names no cell"),
    "too many fields": (changed(ROWS[2], ROWS[2] + ",7"), "row 3 has 8 fields, the header 7: put texts and numbers"),
    "cut off": ("\n".join(ROWS)[:-12], r"row 7 has [56] fields, the header 7: the row is cut off"),
    "an unclosed quote": (changed(",B,", ',"B,'), r"row 5: a quotation mark is not closed"),
    "a column twice": (changed("pr", "sm"), r"row 1: column 'sm' occurs twice"),
    "a header alone": (ROWS[0] + "\n", r"a header without any row"),
    "a header and units": (ROWS[0] + "\n,,,,m3/m3,degC,mm\n", r"a header and units without any row"),
    "nothing": ("", r"the file is empty"),
    "blanks": (" \n\n", r"the file is empty"),
    "no header": (BODY, r"no column 'time' or 'station' \(it begins with '2020-01-05,A"),
    "another header": (changed("time,station", "Date,Site"), r"no column 'time' or 'station' \(it begins with 'Date"),
    "many columns": ("time," + ",".join(f"c{i}" for i in range(100_000)) + "\n", r"row 1 has 100001 columns"),
    "a wide table": ("time,A,B\n2020-01-01,0.2,0.3\n", r"no column is one of the mapping \(A, B\).*write the table"),
    "a long line": ("time,station\n" + "x" * 3_000_000, r"line 2 is longer than 1 MiB"),
    "NUL": (changed(",B,", ",\0,"), r"line 5 holds a NUL byte"),
    "UTF-16 without its mark": ("\n".join(ROWS).encode("utf-16-le"), r"NUL byte.*UTF-16 without its mark"),
    "half a UTF-16": ("\n".join(ROWS).encode("utf-16")[:-1], r"is no text in UTF-16"),
    "XLSX": (b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml" + bytes(500), r"a workbook \(XLSX or ODS\): export"),
    "zip": (b"PK\x03\x04" + bytes(26) + b"x.csv" + bytes(500), r"a zip archive: unpack it"),
    "XLS": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), r"an Excel workbook \(XLS\)"),
    "HTML": ("<!DOCTYPE html><html><title>Log in</title></html>", r"a web page or XML, such as that of a log-in"),
    "JSON": ('{"type": "FeatureCollection"}', r"JSON: export the table as CSV"),
    "NetCDF": (b"\x89HDF\r\n\x1a\n" + bytes(500), r"x.csv: cannot be read as NetCDF"),
    "Parquet": (b"PAR1" + bytes(500), r"a Parquet file"),
    "bad gzip": (b"\x1f\x8b\x08\x00" + bytes(20), r"its gzip is damaged or truncated"),
}


@pytest.mark.parametrize(("content", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_one_line_says_what_is_wrong(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert re.search(message, refusal(tmp_path, content))


def test_hours_are_told_to_be_aggregated(tmp_path: Path) -> None:
    hours = pd.concat([with_dates(stations(), f"%Y-%m-%dT{hour:02d}:00:00Z") for hour in range(24)])
    message = refusal(tmp_path, hours.to_csv(index=False))
    assert "960 rows of 40 days (column 'time', 00:00 .. 23:00), but one value a day is expected: aggregate" in message


def test_places_have_one_value(tmp_path: Path) -> None:
    frame = stations()
    message = refusal(tmp_path, frame.assign(lat=frame.lat.where(frame.index != 7, "48.5001")).to_csv(index=False))
    assert "row 9, column 'lat': 48.5001 for cell A, but 48.5 elsewhere: give each cell one value" in message
    message = refusal(tmp_path, frame.assign(lat=frame.lat.where(frame.index != 7, "")).to_csv(index=False))
    assert "row 9, column 'lat': no value for cell A, but 48.5 elsewhere" in message


def test_static_tables_have_one_row_a_cell(tmp_path: Path) -> None:
    frame = stations()
    write_text(tmp_path / "in" / "a.csv", frame.drop(columns=["lat", "lon"]))
    places = frame[["station", "lat", "lon"]].drop_duplicates()
    assert "b.csv: 1 cell(s) have no row with 'lat', such as B" in refusal(
        tmp_path, places.iloc[[0]].to_csv(index=False), "b.csv"
    )
    twice = pd.concat([places, places.iloc[[1]]]).to_csv(index=False)
    assert "b.csv: rows 3 and 4: cell B occurs twice in a static table" in refusal(tmp_path, twice, "b.csv")


def test_files_that_are_one_cell_are_not_taken_for_two(tmp_path: Path) -> None:
    frame = stations(cells=("A",)).drop(columns="station")
    for name, columns in (("sm", ["sm"]), ("weather", ["t2m", "pr"])):
        write_text(tmp_path / "variables" / f"{name}.csv", frame[["time", "lat", "lon", *columns]])
    with pytest.raises(SoilcastError, match=r"sm.csv and .*weather.csv have other variables and no column of cells"):
        cube_of(tmp_path, tmp_path / "variables")
    for year, rows in (("first", frame[frame.time < "2020-01-12"]), ("second", frame[frame.time >= "2020-01-12"])):
        write_text(tmp_path / "years" / f"{year}.csv", rows)
    with pytest.raises(SoilcastError, match=r"first.csv and .*second.csv have one place, other days and no column"):
        cube_of(tmp_path, tmp_path / "years")


def test_units_of_the_files_are_read_and_compared(tmp_path: Path) -> None:
    frame = stations()
    mapping = write_mapping(tmp_path)
    mapping.write_text(mapping.read_text().replace(", unit: m3 m-3", "").replace("{name: t2m, unit: degC}", "t2m"))
    rows = frame.to_csv(index=False).splitlines()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("\n".join([rows[0], ",,,,%,K,mm", *rows[1:21]]))
    (tmp_path / "in" / "b.csv").write_text("\n".join([rows[0], ",,,,%,K,mm", *rows[21:]]))
    cube = table([tmp_path / "in"], mapping=write_mapping_text(mapping, "t2m", "pr"))
    assert float(cube["swvl1"].max()) < 0.004
    (tmp_path / "in" / "b.csv").write_text("\n".join([rows[0], *rows[21:]]))
    with pytest.raises(SoilcastError, match=r"column 'sm' has different units \(% in .*a.csv, none in .*b.csv\)"):
        table([tmp_path / "in"], mapping=mapping)


def write_mapping_text(mapping: Path, dropped: str, stays: str) -> Path:
    """Drop a variable of the mapping."""
    lines = [line for line in mapping.read_text().splitlines() if not line.strip().startswith(f"{dropped}:")]
    assert any(stays in line for line in lines)
    mapping.write_text("\n".join(lines))
    return mapping


@pytest.mark.parametrize(
    "given", ["%d/%m/%y", "%Y-%m", "dd/mm/yyyy", "fortnights since 1970-01-01", "%Y%", "days since soon"]
)
def test_a_format_that_names_no_day_is_refused(tmp_path: Path, given: str) -> None:
    with pytest.raises(SoilcastError, match=r"mapping.yaml: time_format: "):
        read_mapping(write_mapping(tmp_path, time_format=f'"{given}"'))


MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, 400),
        st.integers(0, 12),
        st.sampled_from(
            [b"", b'"', b"\n", b"\r", b"\0", b",", b";", b"\xff", b"1e999", b"+99:99", b"0001-01-01", b"#", b"9" * 30]
        )
        | st.binary(max_size=4),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(mutations=MUTATIONS, encoding=st.sampled_from(["utf-8", "utf-16"]), end=st.integers(50, 500))
def test_any_bytes_are_either_a_cube_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, mutations: list[tuple[int, int, bytes]], encoding: str, end: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    content = "\n".join(ROWS).encode(encoding)
    for at, length, piece in mutations:
        content = content[:at] + piece + content[at + length :]
    folder.mkdir(exist_ok=True)
    (folder / "x.csv").write_bytes(content[:end])
    message = "x.csv"
    try:
        table([folder / "x.csv"], mapping=write_mapping(folder))
    except SoilcastError as error:
        message = str(error)
    assert "x.csv" in message
    assert "\n" not in message


# ---------------------------------------------------------------- the documentation

PAGE = (ROOT / "docs" / "own-data.md").read_text(encoding="utf-8")
LAYOUTS = re.split(
    r"^### (.+)$", PAGE.partition("## Tables, layout by layout")[2].partition("\n## ")[0], flags=re.MULTILINE
)
"""What stands before the first layout, then the name of each and its text."""


def write_example(folder: Path, text: str) -> list[Path]:
    """Write the files that a section shows: their names, and what is in them."""
    files = re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for name, content in files:
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name, _ in files if name != "mapping.yaml"]


@pytest.mark.parametrize("section", range(1, len(LAYOUTS), 2), ids=lambda section: LAYOUTS[section])
def test_each_layout_of_the_documentation_gives_the_cube_that_it_shows(tmp_path: Path, section: int) -> None:
    write_example(tmp_path, LAYOUTS[0])
    paths = write_example(tmp_path, LAYOUTS[section + 1])
    assert paths
    cube = table(paths, mapping=tmp_path / "mapping.yaml").load()
    assert cube["time"].dt.strftime("%Y-%m-%d").to_numpy().tolist() == ["2020-01-30", "2020-01-31", "2020-02-01"]
    assert cube["cell_name"].to_numpy().tolist() == ["Elm", "Oak"]
    assert cube["lat"].to_numpy().tolist() == [52.5, 48.1]
    nan = np.nan
    np.testing.assert_array_equal(cube["swvl1"], np.float32([[0.281, 0.279, 0.284], [0.312, nan, nan]]))
    np.testing.assert_allclose(cube["t2m"], [[277.35, 278.25, 276.95], [272.65, 274.15, nan]], rtol=1e-6)
    assert "Oak on 1 of 3 days" in cube.attrs["notes"] or "Oak on 2 of 3 days" in cube.attrs["notes"]


def test_every_kind_of_layout_is_documented() -> None:
    assert len(LAYOUTS) > 2 * 6


# ---------------------------------------------------------------- the whole kind


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 9), days=st.integers(14, 40), cells=st.integers(1, 4))
def test_one_table_in_any_spelling_is_one_cube(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, seed: int, days: int, cells: int
) -> None:
    folder = tmp_path_factory.mktemp("spellings")
    frame = stations(days, [f"station {number}" for number in range(cells)], seed)
    gone = data.draw(st.sets(st.integers(0, len(frame) - 1), max_size=5))
    frame = frame.drop(index=sorted(gone - {0}))
    plain = cube_of(folder, write_text(folder / "plain.csv", frame))
    split = data.draw(st.sampled_from(["whole", "variables", "cells", "years"]))
    parts = {
        "whole": [frame],
        "variables": [frame.drop(columns=["t2m", "pr"]), frame[["time", "station", "t2m", "pr"]]],
        "cells": [rows for _, rows in frame.groupby("station")],
        "years": [frame[frame.index % 2 == 0], frame[frame.index % 2 == 1]],
    }[split]
    written = data.draw(st.sampled_from(sorted(DATES)))
    # Dates of either order are certain only where a day is above 12 in some file; 14 days from the 5th on have such.
    for number, part in enumerate(one for one in parts if len(one)):
        separator = data.draw(st.sampled_from([",", ";", "\t", "|"]))
        spelled = with_dates(part, DATES[written])
        if data.draw(st.booleans()):
            spelled = with_decimal_comma(spelled)
        spelled = spelled.sample(frac=1, random_state=seed)[data.draw(st.permutations(list(spelled.columns)))]
        suffix = data.draw(st.sampled_from([".csv", ".CSV", ".txt", ".dat", ".csv.gz"]))
        encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"]))
        write_text(folder / "in" / f"part{number}{suffix}", spelled, separator=separator, encoding=encoding)
    assert same(cube_of(folder), plain)
