"""A cube of few cells, and forecasts of it; none is changed by a test."""

from __future__ import annotations

import pytest

from soilcast.verify import evaluate
from tests.helpers.forecast_factory import LEADS, LEVELS, made_cube, made_forecast


@pytest.fixture(scope="session")
def cube(tmp_path_factory):
    return made_cube(tmp_path_factory.mktemp("cube") / "cube.zarr")


@pytest.fixture(scope="session")
def plain(tmp_path_factory, cube):
    """A forecast of the next day."""
    return made_forecast(tmp_path_factory.mktemp("plain") / "plain.zarr", cube)


@pytest.fixture(scope="session")
def single(tmp_path_factory, cube):
    """A forecast of several leads with quantiles, of one target."""
    return made_forecast(tmp_path_factory.mktemp("single") / "single.zarr", cube, leads=LEADS, levels=LEVELS)


@pytest.fixture(scope="module")
def out(tmp_path_factory, cube, forecasts):
    """The folder of the scores of a module's ``forecasts``."""
    folder = tmp_path_factory.mktemp("scores") / "scores"
    evaluate(forecasts, cube, folder)
    return folder
