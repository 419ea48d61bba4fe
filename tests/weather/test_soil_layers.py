"""Which variable of a file is the soil moisture of a layer: by its short name, or by depth, never by its kind alone."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from soilcast.errors import SoilcastError
from soilcast.weather.layers import soil_layer

MOISTURE = {"standard_name": "volume_fraction_of_condensed_water_in_soil", "units": "m3 m-3"}
LAYERS = ("swvl1", "swvl2", "swvl3", "swvl4")
GFS = [(0, 10), (10, 40), (40, 100), (100, 200)]
IFS = [(0, 7), (7, 28), (28, 100), (100, 289)]


def by_depth(bounds, unit="cm", scale=1.0, with_bounds=True, **attributes):
    limits = np.array(bounds, dtype=float) * scale
    depth = {"standard_name": "depth", "units": unit, **({"bounds": "depth_bnds"} if with_bounds else {})}
    values = np.arange(len(limits), dtype=float)[:, np.newaxis] * np.ones(3)
    data = xr.Dataset(
        {"soilw": (("depth", "time"), values, MOISTURE | attributes)},
        {"depth": ("depth", limits.mean(axis=1), depth)},
    )
    return data.assign(depth_bnds=(("depth", "side"), limits)) if with_bounds else data


def found(data, name):
    layer = soil_layer(data, name, "file.nc")
    return None if layer is None else (layer.name, float(layer[0]))


def test_the_short_name_comes_first():
    data = by_depth(IFS).assign(swvl2=("time", np.full(3, 9.0), {}))
    assert found(data, "swvl2") == ("swvl2", 9.0)
    assert found(data, "swvl1") == ("soilw", 0.0)


@pytest.mark.parametrize("bounds", [GFS, IFS])
@pytest.mark.parametrize(("unit", "scale"), [("cm", 1.0), ("m", 0.01), ("m", -0.01)])
def test_the_layer_that_has_the_largest_part_stands_for_it(bounds, unit, scale):
    for number, name in enumerate(LAYERS):
        assert found(by_depth(bounds, unit, scale), name) == ("soilw", number)


def test_depths_without_bounds_stand_for_the_layer_that_they_lie_in():
    data = by_depth([(5, 5), (20, 20), (50, 50)], with_bounds=False)
    assert [found(data, name) for name in LAYERS] == [("soilw", 0.0), ("soilw", 1.0), ("soilw", 2.0), None]
    several = by_depth([(2, 2), (5, 5)], with_bounds=False)
    with pytest.raises(SoilcastError, match=r"file.nc: 2 layers of soilw lie in swvl1 \(0-7 cm\): select one and name"):
        soil_layer(several, "swvl1", "file.nc")


def test_a_single_level_is_a_coordinate_without_a_dimension():
    data = by_depth(IFS).isel(depth=1)
    assert found(data, "swvl2") == ("soilw", 1.0)
    assert found(data, "swvl1") is None


def test_a_layer_that_holds_less_than_half_of_it_does_not():
    assert found(by_depth([(0, 3)]), "swvl1") is None
    assert found(by_depth([(0, 100)]), "swvl3") == ("soilw", 0.0)


def test_soil_moisture_of_an_unknown_or_another_layer_is_not_taken():
    """All layers have one standard name: that alone says nothing of the layer."""
    assert soil_layer(xr.Dataset({"swvl2": ("time", np.zeros(3), MOISTURE)}), "swvl1", "file.nc") is None
    assert soil_layer(xr.Dataset({"sm": ("time", np.zeros(3), MOISTURE)}), "swvl1", "file.nc") is None
    assert found(by_depth(IFS, standard_name="soil_temperature"), "swvl1") is None
