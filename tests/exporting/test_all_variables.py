"""Tables and GeoJSON of all variables at once, and what each export says of its values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pyarrow import parquet

import soilcast
from soilcast.cube import save_cube
from soilcast.errors import SoilcastError
from tests.exporting.test_export import ISSUES, made_forecast
from tests.exporting.test_maps_by_day import licensed
from tests.helpers.small import few

COLUMNS = {
    "swvl1",
    *(f"swvl1_quantile_{level}" for level in ("05", "50", "95")),
    "swvl1_percentile",
    "swvl1_drought",
    *(f"swvl1_drought_probability_D{number}" for number in range(5)),
}

__all__ = ["licensed"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_has_a_column_for_each_variable_quantile_and_class(tmp_path: Path, suffix: str) -> None:
    made = made_forecast(tmp_path / "forecast", None, issues=ISSUES)
    out = soilcast.export(tmp_path / "forecast", tmp_path / f"all.{suffix}")
    table = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    keys = ["cell", "cell_name", "lat", "lon", "issue_date", "lead", "valid_date"]
    assert list(table)[:7] == keys
    assert set(table) == {*keys, *COLUMNS}
    assert len(table) == 5 * 2 * 3
    row = table[(table["cell"] == 3) & (table["issue_date"] == ISSUES[1]) & (table["lead"] == 2)].iloc[0]
    there = made.isel(cell=3, time=1, lead=1)
    assert row["swvl1_quantile_05"] == pytest.approx(float(there["swvl1_quantile"][0]), rel=1e-6)
    assert row["swvl1_drought_probability_D2"] == pytest.approx(float(there["swvl1_drought_probability"][2]), rel=1e-6)
    assert row["swvl1_drought"] == int(there["swvl1_drought"])
    assert table["swvl1"].isna().sum() == 6


def test_geojson_has_all_of_each_lead(tmp_path: Path) -> None:
    made = made_forecast(tmp_path / "forecast.nc", None)
    found = json.loads(soilcast.export(tmp_path / "forecast.nc", tmp_path / "all.geojson").read_text())
    assert {one["name"] for one in found["properties"]} == {
        f"{column}_lead_{lead}" for column in COLUMNS for lead in (1, 2, 3)
    }
    assert {one["name"]: one["units"] for one in found["columns"]}["swvl1_percentile"] == "%"
    properties = found["features"][2]["properties"]
    assert properties["swvl1_quantile_95_lead_3"] == pytest.approx(float(made["swvl1_quantile"][2, 0, 2, 2]), rel=1e-6)
    assert properties["swvl1_drought_lead_1"] == int(made["swvl1_drought"][2, 0, 0])


def test_every_export_says_issue_day_unit_source_and_licence(licensed: Path, tmp_path: Path) -> None:
    out = soilcast.export(licensed, tmp_path / "t.csv", variable="swvl1_percentile")
    beside = json.loads((tmp_path / "t.csv-metadata.json").read_text())
    assert beside["@context"] == "http://www.w3.org/ns/csvw"
    assert beside["url"] == out.name
    assert (beside["dc:source"], beside["dc:license"], beside["dc:issued"]) == ("era5land", "CC-BY-4.0", "2020-02-27")
    assert beside["notes"] == [
        {
            "name": "swvl1_percentile",
            "datatype": "number",
            "dc:description": "percentile among the days around the date: volumetric soil water, layer 1",
            "unit": "%",
        }
    ]
    schema = parquet.read_schema(soilcast.export(licensed, tmp_path / "t.parquet"))
    assert schema.metadata[b"license"] == b"CC-BY-4.0"
    assert schema.metadata[b"issue_date"] == b"2020-02-27"
    assert schema.field("swvl1_quantile_05").metadata[b"units"] == b"m3 m-3"
    about = json.loads(soilcast.export(licensed, tmp_path / "m.geojson", variable="swvl1").read_text())
    assert (about["source"], about["license"], about["units"]) == ("era5land", "CC-BY-4.0", "m3 m-3")
    with Image.open(soilcast.export(licensed, tmp_path / "m.png", variable="swvl1")) as picture:
        assert picture.width > 1000


def test_a_cube_gives_all_of_its_days(tmp_path: Path) -> None:
    cube = few(cells=3, days=10)
    save_cube(cube, tmp_path / "cube")
    table = pd.read_csv(soilcast.export(tmp_path / "cube", tmp_path / "all.csv"))
    dynamic = {str(name) for name in cube.data_vars if "time" in cube[name].dims}
    assert set(table) == {"cell", "lat", "lon", "date", *dynamic}
    np.testing.assert_allclose(table["tp"], cube["tp"].to_numpy().ravel(), rtol=1e-6)


def test_one_variable_has_to_be_named_where_there_is_room_for_one(tmp_path: Path) -> None:
    made_forecast(tmp_path / "forecast.nc")
    for ending in ("tif", "png"):
        with pytest.raises(SoilcastError, match=r"map\.\w+: a map of this kind is of one variable: name it with --var"):
            soilcast.export(tmp_path / "forecast.nc", tmp_path / f"map.{ending}")
    with pytest.raises(SoilcastError, match="--quantile and --drought-class are of one variable"):
        soilcast.export(tmp_path / "forecast.nc", tmp_path / "t.csv", quantile=0.05)


def test_a_description_is_replaced_with_its_table_and_no_file_of_others_is(tmp_path: Path) -> None:
    made_forecast(tmp_path / "forecast.nc")
    (tmp_path / "t.csv-metadata.json").write_text('{"mine": 1}')
    for overwrite in (False, True):
        with pytest.raises(
            SoilcastError, match=r"t\.csv-metadata\.json (exists already|is a file that soilcast did not)"
        ):
            soilcast.export(tmp_path / "forecast.nc", tmp_path / "t.csv", variable="swvl1", overwrite=overwrite)
    assert not (tmp_path / "t.csv").exists()
    (tmp_path / "t.csv-metadata.json").unlink()
    for variable in ("swvl1", "swvl1_percentile"):
        soilcast.export(tmp_path / "forecast.nc", tmp_path / "t.csv", variable=variable, overwrite=True)
    assert json.loads((tmp_path / "t.csv-metadata.json").read_text())["notes"][0]["name"] == "swvl1_percentile"
