"""The built-in source ``delaware``: small, complete, and true to the set that it was cut from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from soilcast.cube import open_cube, save_cube, usable_target
from soilcast.errors import SoilcastError
from soilcast.sources.delaware import delaware
from soilcast.sources.table import table

SHIPPED = Path(str(files("soilcast.sources.delaware") / "data" / "delaware.nc"))


@pytest.fixture(scope="module")
def cube(tmp_path_factory) -> xr.Dataset:
    out = tmp_path_factory.mktemp("delaware") / "cube"
    save_cube(delaware(), out)
    return open_cube(out).load()


@pytest.mark.slow
def test_is_small_and_says_what_it_is(cube):
    assert SHIPPED.stat().st_size <= 4_000_000
    assert cube.sizes == {"cell": 163, "time": 641}
    assert cube.attrs["source"] == "delaware"
    assert cube.attrs["content"] == "land-model output under observed weather"


def test_has_what_every_loss_needs_without_gaps(cube):
    needed = {"swvl1", "slthick1", "swvl2", "slthick2", "tp", "e", "sro", "ro", "sd", "t2m", "ssrd", "area"}
    assert needed <= set(cube.data_vars)
    assert all(np.isfinite(cube[name]).all() for name in cube.data_vars)
    assert usable_target(cube.swvl1.to_numpy()).all()


def test_balance_of_the_whole_column_closes(cube):
    with xr.open_dataset(SHIPPED, engine="h5netcdf") as raw:
        raw = raw.sel(time=cube.time).load()
    stores = raw.sm_total + raw.swe + raw.st_canopy + raw.st_imperv + raw.st_dprst
    change = stores.transpose("nhm_id", "time").diff("time").to_numpy() / 1000
    residual = (cube.tp - cube.e - cube.ro).to_numpy()[:, 1:] - change
    assert np.abs(residual).max() < 6e-6


def test_takes_no_files(tmp_path):
    with pytest.raises(SoilcastError, match="delaware is built in and reads no files"):
        delaware([tmp_path / "a.nc"])


@pytest.mark.slow
@pytest.mark.shared
def test_is_a_part_of_the_whole_set(cube, shared):
    mapping = Path(str(files("soilcast.sources.table") / "mappings" / "prms_delaware.yaml"))
    whole = table([shared / "prms_delaware" / "prms_drb_daily_1979_1980.nc"], mapping=mapping)
    part = whole.isel(cell=slice(None, None, 4)).load()
    assert part.cell_name.to_numpy().tolist() == cube.cell_name.to_numpy().tolist()
    precision = {"t2m": 0.006, "mx2t": 0.006, "mn2t": 0.006, "ssrd": 0.06, "swvl1": 2e-4, "swvl2": 2e-3}
    for name in cube.data_vars:
        np.testing.assert_allclose(cube[name], part[name], rtol=1e-6, atol=precision.get(name, 3e-6), err_msg=name)
