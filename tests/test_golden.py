"""The numbers of tests/golden.json hold: weights, forecasts and scores of short trainings with fixed seeds.

Processors round in different ways, and a training carries that on: the tolerances are those of float32 sums over a few
epochs, far less than any change of the method makes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.golden import SETTINGS, read_golden, run_case

_WEIGHTS = 1e-3
_SOIL_MOISTURE = 1e-4  # [m3 m-3]
_SCORES = 1e-4
_SHARES = 5e-3
"""Of scores that count days: a forecast that hardly moves falls to one side or the other."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden")


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("case", SETTINGS)
def test_numbers_hold(case: str, folder: Path, shared: Path) -> None:
    del shared
    found, expected = run_case(case, folder), read_golden()[case]
    assert len(found["weights"]) == len(expected["weights"])
    for mine, theirs in zip(found["weights"], expected["weights"], strict=True):
        _assert_alike(mine, theirs, _WEIGHTS)
    for name, theirs in expected["forecast"].items():
        _assert_alike(found["forecast"][name], theirs, _SOIL_MOISTURE)
    for name, theirs in expected["scores"].items():
        tolerance = _SHARES if name.startswith(("consistency", "coverage")) else _SCORES
        np.testing.assert_allclose(_floats(found["scores"][name]), _floats(theirs), rtol=2e-3, atol=tolerance)


def _assert_alike(found: dict[str, Any], expected: dict[str, Any], tolerance: float) -> None:
    assert found["count"] == expected["count"]
    for name in ("mean", "deviation", "values"):
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=tolerance)


def _floats(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if one is None else one for one in values])
