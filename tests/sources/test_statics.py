"""Maps of others come onto the cells of a cube: means and classes by area, in any projection; faults in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.transform import Affine, from_origin, xy
from rasterio.warp import transform as to_other_crs

from soilcast.cube import VARIABLES, Grid
from soilcast.cube.contract import KOEPPEN_CLASSES
from soilcast.errors import SoilcastError
from soilcast.sources.planet.geography import geography
from soilcast.sources.regridding import conservative, majority, nearest
from soilcast.sources.statics import STATICS, Points, aggregate, read_statics
from soilcast.sources.statics.rasters import Raster

DEGREES = from_origin(4.0, 48.0, 0.1, 0.1)
LAT, LON = 44.05 + 0.1 * np.arange(40), 4.05 + 0.1 * np.arange(60)  # 44 .. 48 north, 4 .. 10 east


def whole(lat: np.ndarray, lon: np.ndarray) -> Grid:
    return Grid(np.asarray(lat, float), np.asarray(lon, float), np.arange(len(lat) * len(lon)))


CELLS = whole(np.array([47.5, 46.5, 45.5, 44.5]), np.array([4.5, 5.5, 6.5, 7.5]))


def field(low: float, high: float, seed: int = 0, shape: tuple[int, int] = (40, 60)) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def netcdf(
    path: Path,
    values: np.ndarray,
    lat: np.ndarray = LAT,
    lon: np.ndarray = LON,
    *,
    name: str = "Band1",
    unit: str | None = None,
    **others: Any,
) -> Path:
    attributes = {} if unit is None else {"units": unit}
    data = {name: (("lat", "lon"), values, attributes), "crs": ((), np.int32(0)), **others}
    xr.Dataset(data, {"lat": lat, "lon": lon}).to_netcdf(path, engine="h5netcdf")
    return path


def geotiff(
    path: Path,
    values: np.ndarray,
    *,
    transform: Affine = DEGREES,
    crs: str | None = "EPSG:4326",
    nodata: float | None = None,
    names: tuple[str, ...] = (),
    unit: str | None = None,
    scale: float = 1.0,
    offset: float = 0.0,
    **options: Any,
) -> Path:
    """Write bands ``(lat, lon)`` or ``(band, lat, lon)``, by default north first on the degrees of LAT and LON."""
    bands = values if values.ndim == 3 else values[np.newaxis]
    shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    with rasterio.open(
        path, "w", driver="GTiff", crs=crs, transform=transform, nodata=nodata, **shape, **options
    ) as out:
        out.write(bands)
        out.scales, out.offsets = (scale,) * len(bands), (offset,) * len(bands)
        out.units = (unit or "",) * len(bands)
        for number, name in enumerate(names, 1):
            out.set_band_description(number, name)
    return path


def refusal(files: dict[str, Path | str], cells: Grid | Points = CELLS, **options: Any) -> str:
    with pytest.raises(SoilcastError) as caught:
        read_statics(files, cells, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_amounts_are_means_over_the_area_of_a_cell_in_the_unit_of_the_contract(tmp_path: Path) -> None:
    elevation, clay = field(100, 900), field(100, 300, 1)
    elevation[30:, :15] = np.nan
    files = {
        "elevation": netcdf(tmp_path / "dem.nc", elevation, unit="km"),
        "clay": geotiff(tmp_path / "clay.tif", clay[::-1], unit="g/kg"),
    }
    with pytest.raises(SoilcastError, match=r"dem\.nc: elevation has .* outside"):
        read_statics(files, CELLS)
    values, origins = read_statics(files, CELLS, units={"elevation": "m", "t2m": "degC"})
    expected = conservative(elevation[np.newaxis], LAT, LON, CELLS, least_share=0.1)[0]
    np.testing.assert_allclose(values["elevation"], expected, rtol=1e-6)
    assert np.isnan(values["elevation"]).sum() == 1  # 47 .. 48 north, 4 .. 5 east; half of 5 .. 6 is enough
    np.testing.assert_allclose(values["clay"], conservative(clay[np.newaxis], LAT, LON, CELLS)[0] / 1000, rtol=1e-6)
    assert values["clay"].dtype == np.float32
    assert origins == {
        "elevation": "dem.nc, area mean (unit given as m) (no value at 1 of 16 cells)",
        "clay": "clay.tif, area mean",
    }


def test_classes_are_those_of_the_largest_area(tmp_path: Path) -> None:
    classes = np.floor(field(1, 6))
    classes[:10, :10] = np.nan
    path = netcdf(tmp_path / "cover.nc", classes, unit="class number")
    values, origins = read_statics({"landcover": path, "soil_type": path}, CELLS)
    np.testing.assert_array_equal(values["landcover"], majority(classes, LAT, LON, CELLS))
    np.testing.assert_array_equal(values["soil_type"], values["landcover"])
    assert origins["landcover"] == "cover.nc, largest area (no value at 1 of 16 cells)"


def test_zero_is_no_climate_zone_but_a_class_of_land_cover(tmp_path: Path) -> None:
    classes = np.zeros((40, 60), dtype=np.uint8)
    classes[:4, :10] = 15
    path = geotiff(tmp_path / "zones.tif", classes[::-1])
    values, _ = read_statics({"climate_zone": path, "landcover": path}, CELLS)
    assert values["climate_zone"][12] == 15
    assert np.isnan(values["climate_zone"]).sum() == 15
    assert set(values["landcover"]) == {0.0}


def test_a_map_coarser_than_the_cells_gives_each_its_value(tmp_path: Path) -> None:
    path = netcdf(tmp_path / "dem.nc", np.array([[1.0, 2], [3, 4]]), np.array([45.0, 47]), np.array([5.0, 7]), unit="m")
    values, _ = read_statics({"elevation": path}, CELLS)
    expected = [[3, 3, 4, 4], [3, 3, 4, 4], [1, 1, 2, 2], [1, 1, 2, 2]]
    np.testing.assert_array_equal(values["elevation"].reshape(4, 4), expected)


def test_the_value_at_the_centre_is_given_only_where_it_is_asked_for(tmp_path: Path) -> None:
    elevation, classes = field(100, 900), np.floor(field(1, 6))
    files: dict[str, str | Path] = {
        "elevation": netcdf(tmp_path / "dem.nc", elevation, unit="m"),
        "landcover": netcdf(tmp_path / "cover.nc", classes),
    }
    values, origins = read_statics(files, CELLS, nearest=["elevation"])
    np.testing.assert_array_equal(values["elevation"], nearest(elevation, LAT, LON, CELLS))
    np.testing.assert_array_equal(values["landcover"], majority(classes, LAT, LON, CELLS))
    assert origins["elevation"] == "dem.nc, nearest pixel"
    stations = Points(np.array([44.06, 47.99, 60.0]), np.array([4.06, -351.0, 5.0]))
    values, origins = read_statics(files, stations, nearest=["landcover", "elevation"])
    np.testing.assert_array_equal(values["elevation"], [elevation[0, 0], elevation[39, 50], np.nan])
    np.testing.assert_array_equal(values["landcover"], [classes[0, 0], classes[39, 50], np.nan])
    assert origins["landcover"] == "cover.nc, nearest pixel (no value at 1 of 3 cells)"
    assert refusal(files, stations, nearest=["landcover"]) == (
        f"{files['elevation']}: the cells are points, over which elevation cannot be averaged: "
        "take the nearest value (--nearest elevation)"
    )


def test_missing_values_scale_offset_and_unit_of_a_geotiff_are_respected(tmp_path: Path) -> None:
    stored = field(0, 200).astype(np.int16)
    stored[:10, :20], stored[20:, 40:] = -32768, 0
    path = geotiff(tmp_path / "dem.tif", stored[::-1], nodata=-32768, scale=0.5, offset=10.0, unit="dam")
    values, _ = read_statics({"elevation": path}, CELLS)
    metres = np.where(stored == -32768, np.nan, (stored * 0.5 + 10.0) * 10.0).astype(np.float32)
    np.testing.assert_allclose(
        values["elevation"], conservative(metres[np.newaxis], LAT, LON, CELLS, least_share=0.1)[0], rtol=1e-6
    )
    assert np.isnan(values["elevation"]).sum() == 2


def test_a_band_is_named_by_number_or_description_and_alpha_is_none(tmp_path: Path) -> None:
    bands = np.stack([field(0, 200), field(300, 400, 1)])
    path = geotiff(tmp_path / "soil.tif", bands[:, ::-1], names=("clay", "sand"), unit="g/kg")
    expected = conservative(bands[1:], LAT, LON, CELLS)[0] / 1000
    for named in ("2", "sand"):
        values, origins = read_statics({"sand": f"{path}::{named}"}, CELLS)
        np.testing.assert_allclose(values["sand"], expected, rtol=1e-6)
        assert origins["sand"] == f"soil.tif::{named}, area mean"
    assert refusal({"sand": path}) == (
        f"{path}: has more than one band: 1 (clay), 2 (sand): name one of them ({path}::NUMBER)"
    )
    assert refusal({"sand": f"{path}::silt"}) == (f"{path}: no band silt; it has: 1 (clay), 2 (sand): name one of them")
    seen = np.stack([np.full((40, 60), 7, np.uint8), np.full((40, 60), 255, np.uint8)])
    seen[1, :, 30:] = 0
    alpha = geotiff(tmp_path / "alpha.tif", seen, alpha="yes", photometric="minisblack")
    values, _ = read_statics({"landcover": alpha}, CELLS)
    np.testing.assert_array_equal(values["landcover"].reshape(4, 4)[0], [7, 7, 7, np.nan])


@pytest.mark.parametrize("first", ["north", "south"])
def test_rows_may_run_north_or_south(tmp_path: Path, first: str) -> None:
    values = field(0, 900)
    south_up = Affine(0.1, 0, 4.0, 0, 0.1, 44.0)
    path = (
        geotiff(tmp_path / "dem.tif", values[::-1], unit="m")
        if first == "north"
        else geotiff(tmp_path / "dem.tif", values, transform=south_up, unit="m")
    )
    made, _ = read_statics({"elevation": path}, CELLS)
    np.testing.assert_allclose(made["elevation"], conservative(values[np.newaxis], LAT, LON, CELLS)[0], rtol=1e-6)


def projected(path: Path, crs: str, transform: Affine, shape: tuple[int, int], **options: Any) -> Path:
    """A map in another projection whose value is the square of latitude, plus longitude."""
    row, column = np.indices(shape)
    x, y = xy(transform, row.ravel(), column.ravel())
    lon, lat = to_other_crs(crs, "EPSG:4326", x, y)
    values = (np.square(lat) + lon).reshape(shape).astype(np.float32)
    return geotiff(path, np.where(np.isfinite(values), values, -9999), crs=crs, transform=transform, **options)


def mean_square_latitude(grid: Grid) -> np.ndarray:
    """Mean over each cell of one degree of latitude squared, plus longitude, by many thin rows."""
    thin = grid.cell_lat[:, np.newaxis] + np.linspace(-0.4995, 0.4995, 1000)
    return (thin**2 * np.cos(np.radians(thin))).sum(1) / np.cos(np.radians(thin)).sum(1) + grid.cell_lon


@pytest.mark.parametrize(
    ("crs", "transform", "shape", "nodata"),
    [
        ("EPSG:32632", from_origin(0, 5500000, 2000, 2000), (400, 450), None),  # UTM
        ("EPSG:32632", from_origin(0, 5500000, 2000, 2000), (400, 450), -9999.0),
        ("EPSG:3035", from_origin(3500000, 3000000, 5000, 5000), (240, 240), None),  # LAEA of Europe
        ("EPSG:4326", Affine(0.02, 0.01, 0.0, 0.01, -0.02, 48.0), (700, 800), None),  # degrees, turned
    ],
)
def test_other_projections_are_read_on_latitudes_and_longitudes(
    tmp_path: Path, crs: str, transform: Affine, shape: tuple[int, int], nodata: float | None
) -> None:
    path = projected(tmp_path / "map.tif", crs, transform, shape, nodata=nodata, unit="m")
    values, _ = read_statics({"elevation": path}, CELLS)
    np.testing.assert_allclose(values["elevation"], mean_square_latitude(CELLS), atol=0.5)


def test_what_a_projected_map_does_not_cover_is_missing_and_no_zero(tmp_path: Path) -> None:
    small = from_origin(400000, 5150000, 1000, 1000)  # about 45.6 .. 46.5 north, 7.7 .. 9 east
    path = geotiff(tmp_path / "map.tif", np.full((100, 100), 500.0, np.float32), crs="EPSG:32632", transform=small)
    grid = whole(np.array([45.0, 46.0, 47.0]), np.array([7.0, 8.0, 9.0]))
    values, _ = read_statics({"elevation": path}, grid, units={"elevation": "m"})
    assert values["elevation"][4] == 500.0
    assert np.isnan(values["elevation"][[0, 2, 6]]).all()
    assert set(values["elevation"][np.isfinite(values["elevation"])]) == {500.0}


@pytest.mark.slow
def test_a_map_of_the_whole_earth_in_another_projection_covers_it(tmp_path: Path) -> None:
    edge = 6371007.181 * np.pi
    sinusoidal = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m"
    path = projected(
        tmp_path / "map.tif", sinusoidal, from_origin(-edge, edge / 2, edge / 720, edge / 720), (720, 1440),
        nodata=-9999.0, unit="m",
    )  # fmt: skip
    globe = whole(np.arange(-89.5, 90), np.arange(-179.5, 180))
    inner = (np.abs(globe.cell_lat) < 75) & (np.abs(globe.cell_lon) < 175)
    grid = Grid(globe.lat, globe.lon, globe.index[inner][::37])
    values, origins = read_statics({"elevation": path}, grid, units={"elevation": "dm"})
    np.testing.assert_allclose(values["elevation"] * 10, mean_square_latitude(grid), atol=2)
    assert "no value" not in origins["elevation"]


def test_a_map_around_a_pole_is_read_there(tmp_path: Path) -> None:
    path = geotiff(
        tmp_path / "map.tif", np.full((200, 200), 7, np.uint8), crs="EPSG:3413",
        transform=from_origin(-1e6, 1e6, 1e4, 1e4),
    )  # fmt: skip
    grid = whole(np.array([82.5, 87.5]), np.arange(-175.0, 180, 10))
    values, _ = read_statics({"landcover": path}, grid)
    assert set(values["landcover"]) == {7.0}


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 99),
    block=st.tuples(st.integers(1, 9), st.integers(1, 70)),
    window=st.integers(1, 400),
    band=st.integers(1, 5),
    kept=st.integers(1, 40),
    lon=st.sampled_from([0.0, -180.0, 174.0]),
)
def test_a_map_read_in_windows_of_any_size_gives_the_same(
    seed: int, block: tuple[int, int], window: int, band: int, kept: int, lon: float
) -> None:
    random = np.random.default_rng(seed)
    east = lon + 6.0 * np.arange(60)
    north = 85.5 - 9.0 * np.arange(20)
    classes = np.floor(random.uniform(0, 5, (20, 60)))
    classes[random.random(classes.shape) < 0.3] = np.nan
    grid = whole(np.arange(-80.0, 81, 20), np.arange(-160.0, 180, 40))
    grid = Grid(grid.lat, grid.lon, np.sort(random.choice(grid.index, kept, replace=False)))
    raster = Raster("map", north, east, None, block, lambda rows, columns: classes[rows, columns])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aggregate, "_WINDOW", window)
        patch.setattr(aggregate, "_SIDE", max(1, window // 5))
        patch.setattr(aggregate, "_BAND", band)
        mean = aggregate.area_mean(raster, grid)
        largest = aggregate.largest_class(raster, grid, "landcover")
        near = aggregate.nearest_value(raster, grid, "landcover")
    expected = conservative(classes[np.newaxis], north, east, grid, least_share=0.1)[0]
    np.testing.assert_allclose(mean, expected, rtol=1e-6)
    np.testing.assert_array_equal(largest, majority(classes, north, east, grid, least_share=0.1))
    np.testing.assert_array_equal(near, nearest(classes, north, east, grid))


@pytest.mark.parametrize("block", [(1, 16000), (512, 512), (8, 8)])
def test_a_large_map_is_never_held_whole(block: tuple[int, int]) -> None:
    sizes: list[int] = []

    def read(rows: slice, columns: slice) -> np.ndarray:
        sizes.append((rows.stop - rows.start) * (columns.stop - columns.start))
        return np.full((rows.stop - rows.start, columns.stop - columns.start), 3, np.float32)

    lat, lon = 89.9887 - 0.0225 * np.arange(1600), -179.98875 + 0.0225 * np.arange(16000)
    raster = Raster("map", lat, lon, None, block, read)
    grid = whole(np.arange(55.5, 90), np.arange(-179.5, 180))
    assert set(aggregate.area_mean(raster, grid)) == {3.0}
    assert max(sizes) <= 2 << 20
    assert sum(sizes) < 1.4 * lat.size * lon.size  # hardly any of it twice


def test_texture_without_units_is_told_from_the_sum_of_the_fractions(tmp_path: Path) -> None:
    clay, sand = field(100, 300), field(200, 500, 1)
    parts = {"clay": clay, "sand": sand, "silt": 1000 - clay - sand}
    files = {name: geotiff(tmp_path / f"{name}.tif", part[::-1]) for name, part in parts.items()}
    values, origins = read_statics(files, CELLS)
    np.testing.assert_allclose(sum(values.values()), 1.0, rtol=1e-5)
    np.testing.assert_allclose(values["clay"], conservative(clay[np.newaxis], LAT, LON, CELLS)[0] / 1000, rtol=1e-6)
    assert origins["silt"] == "silt.tif, area mean (unit told from the sum of the three fractions: g kg-1)"
    del files["silt"]
    assert refusal(files) == (
        f"no unit for clay ({files['clay']}, one that converts to kg kg-1); sand ({files['sand']}, one that "
        "converts to kg kg-1): add units to the files or specify them: --unit clay=UNIT --unit sand=UNIT"
    )
    assert set(read_statics(files, CELLS, units={"clay": "g/kg", "sand": "g kg-1"})[0]) == {"clay", "sand"}


def test_texture_that_makes_up_no_whole_is_asked_for(tmp_path: Path) -> None:
    files = {name: geotiff(tmp_path / f"{name}.tif", field(1, 9)) for name in ("clay", "sand", "silt")}
    message = refusal(files)
    assert message.startswith("no unit for clay")
    assert message.endswith("--unit clay=UNIT --unit sand=UNIT --unit silt=UNIT")


def test_a_missing_unit_is_asked_for_and_an_unknown_one_refused(tmp_path: Path) -> None:
    silent, odd = netcdf(tmp_path / "dem.nc", field(0, 9)), netcdf(tmp_path / "slope.nc", field(0, 9), unit="degrees")
    message = refusal({"elevation": silent, "soil_water_capacity": silent})
    assert f"elevation ({silent}, one that converts to m); soil_water_capacity ({silent}" in message
    assert message.endswith("--unit elevation=UNIT --unit soil_water_capacity=UNIT")
    assert refusal({"slope": odd}) == (
        f"{odd}: unit 'degrees' of slope does not convert to 1: "
        "correct the units attribute or specify the unit (--unit slope=UNIT)"
    )
    assert "'furlong'" in refusal({"slope": odd}, units={"slope": "furlong"})
    assert "slope" in read_statics({"slope": odd}, CELLS, units={"slope": "percent"})[0]


def test_names_that_are_no_statics_are_refused(tmp_path: Path) -> None:
    path = netcdf(tmp_path / "dem.nc", field(0, 9), unit="m")
    assert refusal({"elevatoin": path}) == f"{path}: 'elevatoin' is not a static variable: did you mean elevation?"
    assert "valid are clay" in refusal({"t2m": path})
    assert "no file was given for it: did you mean elevation?" in refusal({"elevation": path}, nearest=["elevatio"])
    assert {name for name, row in VARIABLES.items() if row.is_static} >= set(STATICS)


def test_the_variable_is_the_only_field_or_named(tmp_path: Path) -> None:
    other = {"mask": (("lat", "lon"), field(0, 1)), "series": (("time", "lat", "lon"), np.zeros((2, 40, 60)))}
    path = netcdf(tmp_path / "dem.nc", field(0, 900), unit="m", **other)
    assert refusal({"elevation": path}) == (
        f"{path}: has more than one variable: Band1, mask: name one of them ({path}::NAME)"
    )
    assert refusal({"elevation": f"{path}::dem"}) == (
        f"{path}: no numeric variable dem; it has: Band1, crs, mask, series: name one of them"
    )
    assert "series has the dimensions (time, lat, lon)" in refusal({"elevation": f"{path}::series"})
    values, origins = read_statics({"elevation": f"{path}::Band1"}, CELLS)
    assert np.isfinite(values["elevation"]).all()
    assert origins["elevation"] == "dem.nc::Band1, area mean"
    lists = tmp_path / "lists.nc"
    xr.Dataset({"soil": ("place", np.zeros(3))}).to_netcdf(lists, engine="h5netcdf")
    assert "no variable has the dimensions latitude and longitude only; it has: soil" in refusal({"clay": lists})


def damaged(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def broken_inside(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = b"\xff" * 400
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "dem.nc", "dem.nc: no such file"),
        (lambda folder: folder, "a NetCDF file is expected, but this is a folder"),
        (lambda folder: damaged(netcdf(folder / "dem.nc", field(0, 9))), "dem.nc: cannot be read as NetCDF"),
        (lambda folder: damaged(geotiff(folder / "dem.tif", field(0, 9))), "dem.tif: cannot be read as GeoTIFF"),
        (
            lambda folder: broken_inside(geotiff(folder / "dem.tif", field(0, 9), compress="deflate")),
            "dem.tif: cannot be read as GeoTIFF (dem.tif, band 1: IReadBlock failed",
        ),
        (lambda folder: Path(__file__), "not a NetCDF file"),
        (
            lambda folder: geotiff(folder / "dem.tif", field(0, 9), crs=None),
            "dem.tif: no coordinate reference system (CRS): add it (gdal_edit -a_srs EPSG:4326)",
        ),
        (
            lambda folder: geotiff(folder / "dem.tif", field(0, 9), transform=from_origin(4, 8, 0.1, 0.1)),
            "dem.tif: covers 4.05 .. 7.95 degrees north, 4.05 .. 9.95 east, but not the cells (44.5 .. 47.5 north, "
            "4.5 .. 7.5 east): give a map of their region",
        ),
        (
            lambda folder: netcdf(folder / "dem.nc", np.full((40, 60), np.nan)),
            "dem.nc: has no value in any cell: give a map of the region",
        ),
        (
            lambda folder: netcdf(folder / "dem.nc", field(0, 9), 5e6 + 1e4 * np.arange(40)),
            "dem.nc: its latitudes reach 5.39e+06, beyond the poles: give them in degrees",
        ),
        (
            lambda folder: netcdf(folder / "dem.nc", field(0, 9), np.sort(np.append(LAT[:-1], 60.0))),
            "dem.nc: its latitudes are not evenly spaced",
        ),
        (
            lambda folder: geotiff(
                folder / "a.tif", field(0, 9), crs="EPSG:32632", transform=from_origin(9e9, 9e9, 1, 1)
            ),
            "a.tif: cannot be read as GeoTIFF",
        ),
    ],
)
def test_a_faulty_file_is_told_in_one_line(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    assert message in refusal({"elevation": make(tmp_path)}, units={"elevation": "m"})


@pytest.mark.slow
def test_a_file_that_claims_to_be_larger_than_the_earth_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype="uint8", width=1 << 25, height=1 << 25, crs="EPSG:4326",
        transform=from_origin(-180, 90, 1e-5, 5e-6), sparse_ok=True, tiled=True, blockxsize=8192, blockysize=8192,
        bigtiff="yes",
    ):  # fmt: skip
        pass
    assert "33554432 rows or columns are too many for a map of the Earth" in refusal({"landcover": path})


def test_a_file_in_one_enormous_block_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype="uint8", width=1 << 16, height=1 << 16, crs="EPSG:4326",
        transform=from_origin(-180, 90, 1e-3, 1e-3), sparse_ok=True, tiled=True, blockxsize=1 << 15,
        blockysize=1 << 15,
    ):  # fmt: skip
        pass
    assert "is stored in blocks of 32768 x 32768, which is too large" in refusal({"landcover": path})


@pytest.mark.parametrize(("wrong", "shown"), [(3.5, "3.5"), (300.0, "300"), (-1.0, "-1")])
@pytest.mark.parametrize("near", [(), ("landcover",)])
def test_a_map_of_classes_that_holds_something_else_is_refused(
    tmp_path: Path, wrong: float, shown: str, near: tuple[str, ...]
) -> None:
    path = netcdf(tmp_path / "cover.nc", np.full((40, 60), wrong))
    assert refusal({"landcover": path}, nearest=near) == (
        f"{path}: landcover holds {shown}, which is not a class: whole numbers within 0 .. 255 are expected; "
        "give a map of classes, with missing values where there is none"
    )


def test_geotiff_asks_for_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = geotiff(tmp_path / "dem.tif", field(0, 9))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert refusal({"elevation": path}) == (
        f"{path}: GeoTIFF needs an extra: install it with pip install 'soilcast[era5]'"
    )
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert "elevation" in read_statics({"elevation": netcdf(tmp_path / "dem.nc", field(0, 9), unit="m")}, CELLS)[0]


# Real maps, against what was made of the same files by counting points (tools/build_planet_data.py).


@pytest.mark.shared
def test_a_real_elevation_model_has_the_means_of_its_points(shared: Path, tmp_path: Path) -> None:
    with h5py.File(shared / "static" / "pvlib_Altitude.h5") as opened:
        packed = opened["Altitude"][:]
    transform = from_origin(-180, 90, 1 / 12, 1 / 12)
    path = geotiff(
        tmp_path / "dem.tif", packed, nodata=255, scale=28.0, offset=-450.0, transform=transform, compress="deflate",
        tiled=True, unit="m",
    )  # fmt: skip
    land = geography(0.5)
    values, _ = read_statics({"elevation": path}, land.grid)
    elsewhere = land.landcover != 220  # ice, of which the packaged data gives the surface
    apart = np.abs(values["elevation"] - land.elevation)[elsewhere]
    assert (apart < 7).mean() > 0.99  # packed in steps of 10 m, and points of one cell weigh the same


@pytest.mark.shared
def test_a_real_land_cover_has_the_class_that_most_of_its_points_have(shared: Path) -> None:
    path = shared / "static" / "ESA-CCI-SOILMOISTURE-LAND_AND_RAINFOREST_MASK-fv05.2.nc"
    assert "has more than one variable: climate_class, gpi, high_vod, land, landcover_class" in refusal(
        {"landcover": path}
    )
    land = geography(0.5)
    values, _ = read_statics({"landcover": f"{path}::landcover_class"}, land.grid)
    water = values["landcover"] == 210  # which the packaged data leaves out
    assert water.mean() < 0.05
    assert (values["landcover"] == land.landcover)[~water].mean() > 0.96


@pytest.mark.shared
def test_a_real_land_mask_has_its_land_where_the_cells_are(shared: Path) -> None:
    path = shared / "static" / "era5land_landmask_0.1.nc"
    values, origins = read_statics({"soil_type": path}, geography(1.0).grid)
    assert set(values["soil_type"]) == {0.0, 1.0}
    assert (values["soil_type"] == 1.0).mean() > 0.995  # lakes and reservoirs are 0, the sea is missing
    assert origins["soil_type"] == "era5land_landmask_0.1.nc, largest area"


@pytest.mark.shared
def test_a_real_map_of_climates_has_the_class_that_most_of_its_points_have(shared: Path, tmp_path: Path) -> None:
    listed = (shared / "static" / "kg_zoneNum.csv").read_text().split()[1:]
    number = {letters: value for value, letters in KOEPPEN_CLASSES.items()} | {"As": 3, "Ocean": 0}
    renumber = np.zeros(256, dtype=np.uint8)
    for line in listed:
        _, letters, value = line.split(",")
        renumber[int(value)] = number[letters]
    Image.MAX_IMAGE_PIXELS, limit = None, Image.MAX_IMAGE_PIXELS
    try:
        with Image.open(shared / "static" / "kmz_int_reshape.png") as opened:
            part = renumber[np.asarray(opened.crop((36 * 160, 36 * 20, 36 * 240, 36 * 130)))]
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    path = geotiff(
        tmp_path / "zones.tif", part, transform=from_origin(-20, 70, 1 / 36, 1 / 36), compress="deflate", tiled=True
    )  # Europe and Africa
    land = geography(0.5)
    inside = (land.grid.cell_lat < 70) & (land.grid.cell_lat > -40) & (np.abs(land.grid.cell_lon - 20) < 40)
    cells = Grid(land.grid.lat, land.grid.lon, land.grid.index[inside])
    values, _ = read_statics({"climate_zone": path}, cells)
    known = np.isfinite(values["climate_zone"])
    assert known.mean() > 0.995
    assert (values["climate_zone"] == land.climate_zone[inside])[known].mean() > 0.99
