"""The cube's own response to rain, estimated without a network, against soils whose response is known."""

from __future__ import annotations

import numpy as np
import pytest

from soilcast.auditing.estimates import Estimate, e_folding, ratio, time_scale
from soilcast.auditing.events import own_response, spells
from soilcast.auditing.rain_pulse import METHOD_ERROR, largest
from tests.helpers.known_soil import Bucket, planet_response

SINCE = np.arange(6)


def recovered(estimate: Estimate, known: float) -> bool:
    """Whether an estimate is within its stated error of what is known."""
    return bool(abs(estimate.value - known) <= np.hypot(2 * estimate.error, METHOD_ERROR * known))


def decay(response: Estimate) -> Estimate:
    return response.map(lambda values: e_folding(SINCE, values))


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_bucket_is_recovered_within_the_stated_error(seed: int) -> None:
    bucket = Bucket()
    cube = bucket.cube(seed=seed)
    for climate, cells in enumerate((np.arange(8), np.arange(8, 16))):
        found = own_response(cube, ["swvl1", "swvl2"], cells, SINCE)[:, 0]
        assert abs(found.value[0] - bucket.gain) < 3 * found.error[0] < 0.02 * bucket.gain
        assert abs(decay(found).value - bucket.time_scale[climate]) < 3 * decay(found).error
        assert decay(found).error < 0.05 * bucket.time_scale[climate]


@pytest.mark.slow
def test_the_decay_times_of_the_planet_are_recovered_within_the_stated_error() -> None:
    cube, climate, response = planet_response(8.0, slice("2019-03-01", "2019-10-31"), 0, int(SINCE[-1]))
    rain = spells(cube)
    layers = ["swvl1", "swvl2", "swvl3", "swvl4"]
    for letter in range(1, 5):
        cells = np.flatnonzero(climate == letter)
        found = own_response(cube, layers, cells, SINCE)
        for layer in range(2):
            own = Estimate(0.01 * found.value[:, layer], 0.01 * found.replicates[..., layer])
            known = np.array([_known(rain, response, cells, layer, since) for since in SINCE])
            assert recovered(own.map(largest), float(largest(known)))
            if layer == 0:
                assert recovered(decay(own), float(e_folding(SINCE, known)))
                assert decay(own).error < 0.25 * decay(own).value


def _known(rain: object, response: np.ndarray, cells: np.ndarray, layer: int, since: int) -> float:
    """Mean response of the land model itself on the days that are looked at."""
    looked_at = rain.events & (rain.dry_after >= since) & np.isfinite(response[since, layer])
    return float(response[since, layer][cells][looked_at[cells]].mean())


def test_an_exponential_has_its_own_time_scale() -> None:
    since = np.array([0, 1, 2, 5, 9])
    falling = np.exp(-since / 3.5)
    assert e_folding(since, falling) == pytest.approx(3.5)
    assert e_folding(since, np.stack([falling, 2 * falling])) == pytest.approx([3.5, 3.5])
    late = np.where(since < 2, np.nan, np.exp(-since / 7.0))
    assert e_folding(since, late) == pytest.approx(7.0)
    assert np.isinf(e_folding(since, np.ones(5)))
    assert np.isnan(e_folding(since, np.array([1.0, 0.5, np.nan, np.nan, np.nan])))
    assert time_scale(np.exp(-1 / np.array([4.0, 9.0]))) == pytest.approx([4.0, 9.0])
    assert np.isinf(time_scale(np.array(1.2)))
    assert np.isnan(time_scale(np.array(-0.1)))


def test_the_error_of_a_mean_is_that_of_independent_blocks() -> None:
    rng = np.random.default_rng(3)
    of_block = rng.standard_normal(400)
    block = np.repeat(np.arange(400), 5)
    estimate = ratio(of_block[block], np.ones(2000), block)
    assert estimate.value == pytest.approx(of_block.mean())
    assert estimate.error == pytest.approx(of_block.std() / 20, rel=0.2)
    assert np.isnan(ratio(np.ones(4), np.ones(4), np.array([0, 0, 1, 1])).error)
