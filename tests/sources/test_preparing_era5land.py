"""Preparing a cube of ERA5-Land: the same bytes whatever the budget, the stops and the workers."""

from __future__ import annotations

import functools
import http.server
import json
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import soilcast
from soilcast.cube import stream
from soilcast.cube.stream import PROGRESS
from soilcast.errors import SoilcastError
from soilcast.inspecting import inspect
from tests.helpers.era5_files import (
    HourlyWeather,
    hourly_weather,
    write_arco_zarr,
    write_daily_globe,
    write_grib,
    write_present_netcdf,
)
from tests.helpers.forks import run_command, start_command, wait_until
from tests.helpers.preparing import content_of, read_at_a_time

NAMES = ("swvl1", "t2m", "d2m", "sp", "tp", "e", "ro")


@pytest.fixture(scope="module")
def weather() -> HourlyWeather:
    return hourly_weather(8.0, days=6, box=(-16.0, 0.0, 32.0, 48.0))


@pytest.fixture(scope="module")
def hours(weather: HourlyWeather, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hours")
    write_present_netcdf(weather, folder / "air.nc", NAMES[:4])
    write_grib(weather, folder / "water.grib", NAMES[4:])
    return folder


@pytest.fixture(scope="module")
def expected(hours: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("expected") / "cube"
    soilcast.prepare("era5land", [hours], out=out, resolution=24)
    return content_of(out)


@pytest.mark.slow
@pytest.mark.parametrize("days", [1, 2, 4])
def test_any_piece_of_days_makes_the_identical_cube(
    days: int, hours: Path, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_at_a_time(monkeypatch, days)
    soilcast.prepare("era5land", [hours], out=tmp_path / "cube", resolution=24)
    assert content_of(tmp_path / "cube") == expected


@pytest.mark.slow
@pytest.mark.parametrize("days", [None, 2])
def test_a_cluster_of_two_makes_the_identical_cube(
    days: int | None,
    hours: Path,
    expected: dict[str, Any],
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if days is not None:
        read_at_a_time(monkeypatch, days)
    monkeypatch.chdir(hours)
    soilcast.prepare("era5land", ["."], out=tmp_path / "cube", resolution=24, dask=address)
    assert content_of(tmp_path / "cube") == expected


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on_to_the_identical_cube(tmp_path: Path) -> None:
    write_daily_globe(tmp_path / "files", 8.0, "2019:2020")
    words = ["prepare", "era5land", tmp_path / "files", "--out"]
    assert run_command(*words, tmp_path / "undisturbed").returncode == 0
    out = tmp_path / "cube"
    progress = tmp_path / "cube.unfinished" / PROGRESS

    def done() -> int:
        return len(json.loads(progress.read_text())["done"]) if progress.exists() else 0

    killed = 0
    for least in (1, 12):
        with start_command(*words, out, "--resume") as process:
            wait_until(lambda: process.poll() is not None or done() >= least)  # noqa: B023 (at once)
            process.kill()
            killed += process.wait() == -signal.SIGKILL
    assert killed
    assert run_command(*words, out, "--resume").returncode == 0
    assert content_of(out) == content_of(tmp_path / "undisturbed")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["cube", "files", "undisturbed"]


@pytest.mark.slow
def test_other_files_are_not_gone_on_with(
    hours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weather: HourlyWeather
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "hours"
    folder.mkdir()
    for file in hours.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    before = stream.CubeStream.write
    calls: list[int] = []

    def write_twice(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        return stop() if len(calls) > 2 else before(*arguments, **more)

    monkeypatch.setattr(stream.CubeStream, "write", write_twice)
    with pytest.raises(KeyboardInterrupt):
        soilcast.prepare("era5land", [folder], out=tmp_path / "cube")
    monkeypatch.undo()
    write_grib(weather, folder / "water.grib", NAMES[4:], edition=2)
    with pytest.raises(SoilcastError, match=r"water\.grib"):
        soilcast.prepare("era5land", [folder], out=tmp_path / "cube", resume=True)


def test_hours_and_their_daily_means_are_one_cube(weather: HourlyWeather, hours: Path, tmp_path: Path) -> None:
    cube = soilcast.prepare("era5land", [hours], out=tmp_path / "cube", states="end")
    assert cube.attrs["source"] == "era5land"
    assert "since 00 UTC" in cube["tp"].attrs["origin"]
    assert "note: " in inspect(tmp_path / "cube")
    water = cube["tp"].isel(time=slice(1, None)).to_numpy()
    assert np.isfinite(water).all()


@pytest.mark.slow
def test_a_year_of_days_has_its_climate_and_is_the_planet(tmp_path: Path) -> None:
    write_daily_globe(tmp_path / "files", 8.0, "2020")
    ours = soilcast.prepare("era5land", [tmp_path / "files"], out=tmp_path / "cube")
    planet = soilcast.prepare("planet", out=tmp_path / "planet", resolution=8, years="2020")
    # The files lie north first, the planet south first.
    places = [list(zip(cube["lat"].to_numpy(), cube["lon"].to_numpy(), strict=True)) for cube in (ours, planet)]
    order = [places[0].index(place) for place in places[1]]
    for name in ("t2m", "tp", "e", "ro", "sd", "swvl1", "swvl4", "strd"):
        one, other = ours[name].to_numpy()[order], planet[name].to_numpy()
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6 * np.abs(other).max())
    assert "climate_zone: computed from the cube's own months" in ours.attrs["notes"]
    assert set(np.unique(ours["climate_zone"])) <= set(range(1, 31))
    xr.testing.assert_allclose(ours["area"].sum(), planet["area"].sum())


def test_options_are_checked(hours: Path, tmp_path: Path) -> None:
    for option, value in (("day", "lokal"), ("states", "ends"), ("accumulation", "hour"), ("stamp", "noon")):
        with pytest.raises(SoilcastError, match=rf"--{option} {value}: "):
            soilcast.prepare("era5land", [hours], out=tmp_path / "cube", **{option: value})
    with pytest.raises(SoilcastError, match=r"8 degrees|finer than the data"):
        soilcast.prepare("era5land", [hours], out=tmp_path / "cube", resolution=0.5)


def test_static_maps_come_along(hours: Path, tmp_path: Path) -> None:
    lat, lon = np.arange(89.5, -90, -1.0), np.arange(-179.5, 180, 1.0)
    share = np.broadcast_to(np.where(lon < 16, 200.0, 400.0), (len(lat), len(lon)))
    kinds = np.broadcast_to(np.where(lat > 16, 3, 7)[:, np.newaxis], share.shape)
    axes = {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"})}
    soil = xr.Dataset({"clay_content": (("lat", "lon"), share, {"units": "g kg-1"})}, axes)
    soil.to_netcdf(tmp_path / "soil.nc", engine="h5netcdf")
    cover = xr.Dataset({"class": (("lat", "lon"), kinds), "other": (("lat", "lon"), share)}, axes)
    cover.to_netcdf(tmp_path / "cover.nc", engine="h5netcdf")
    static = {"clay": str(tmp_path / "soil.nc"), "landcover": f"{tmp_path / 'cover.nc'}::class"}
    cube = soilcast.prepare("era5land", [hours], out=tmp_path / "cube", static=static)
    west, east = cube["clay"].to_numpy()[cube["lon"] < 8], cube["clay"].to_numpy()[cube["lon"] > 24]
    np.testing.assert_allclose(west, 0.2, rtol=1e-6)
    np.testing.assert_allclose(east, 0.4, rtol=1e-6)
    assert set(np.unique(cube["landcover"])) == {3, 7}
    assert "soil.nc" in cube["clay"].attrs["origin"]
    with pytest.raises(SoilcastError, match=r"cover\.nc"):
        soilcast.prepare("era5land", [hours], out=tmp_path / "b", static={"landcover": str(tmp_path / "cover.nc")})


@pytest.mark.slow
def test_a_store_is_read_at_its_address(weather: HourlyWeather, tmp_path: Path) -> None:
    write_arco_zarr(weather, tmp_path / "web" / "arco.zarr", ["swvl1", "t2m", "tp"])
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/arco.zarr"
        far = soilcast.prepare("era5land", [address], out=tmp_path / "far").load()
        with pytest.raises(SoilcastError, match=r"nothing\.zarr: cannot be read as Zarr"):
            soilcast.prepare("era5land", [f"http://127.0.0.1:{server.server_port}/nothing.zarr"], out=tmp_path / "no")
        server.shutdown()
    near = soilcast.prepare("era5land", [tmp_path / "web" / "arco.zarr"], out=tmp_path / "near").load()
    assert far.attrs["content_sha256"] == near.attrs["content_sha256"]
