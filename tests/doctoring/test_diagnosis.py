"""The verdict on the water balance: every planted fault is named, and a right cube is never called faulty."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import soilcast.sources
from soilcast.cube import conversion
from soilcast.doctoring.diagnosis import Diagnosis, diagnose
from soilcast.doctoring.hypotheses import FLUX_SLIPS, SNOW_SLIPS, hypotheses
from soilcast.doctoring.maps import closure_maps
from soilcast.doctoring.terms import terms_of
from soilcast.sources.planet import planet
from soilcast.sources.table import table
from tests.helpers.faulty_cubes import (
    FAULTS,
    HARMLESS,
    in_the_north,
    noisy,
    of_the_beginning,
    of_the_mean_day,
    packed,
    put,
    scaled,
    shifted,
    values,
    without_layer_4,
)
from tests.helpers.figure_texts import watched_figures
from tests.helpers.small import few, small_cube

MAPPINGS = Path(soilcast.sources.__file__).parent / "table" / "mappings"
WATER = ("tp", "e", "ro", "sd", "swvl1", "swvl2", "swvl3", "swvl4")

WEAK_WITHOUT_LAYER_4 = ("depth of snow", "e without a part")
"""Faults that are not larger than what the fourth layer leaves over where it matters; they may go unnamed there."""


@cache
def world(year: int = 2020, seed: int = 0) -> xr.Dataset:
    return planet(resolution=8, years=str(year), seed=seed)


def names(diagnosis: Diagnosis) -> list[str]:
    return [finding.name for finding in diagnosis.findings]


@pytest.mark.parametrize(
    "disturbance", [pytest.param(name, marks=() if name == "exact" else pytest.mark.slow) for name in HARMLESS]
)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_nothing_else(fault: str, disturbance: str) -> None:
    change, expected = FAULTS[fault]
    harmless = HARMLESS[disturbance]
    # Files are packed after the fault was made; the model's noise and its means of the day come before.
    cube = harmless(change(world())) if harmless is packed else change(harmless(world()))
    found = diagnose(cube)
    assert (found.verdict, names(found)) == ("closes if", [expected])
    (finding,) = found.findings
    assert finding.states == ("mean" if harmless is of_the_mean_day else "end")
    assert finding.contradicted < 0.02
    assert finding.closing > 0.95
    assert finding.relative < finding.relative_as_is


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_though_the_fourth_layer_is_missing(fault: str) -> None:
    change, expected = FAULTS[fault]
    found = diagnose(change(without_layer_4(world())))
    allowed = [[expected]] + ([[]] if fault in WEAK_WITHOUT_LAYER_4 else [])
    assert names(found) in allowed


@pytest.mark.parametrize(
    ("fault", "sentence", "remedy", "factor"),
    [
        ("tp x 1000", "tp is 1 000 times too large (mm was taken for m)", "--unit tp=mm", 1e-3),
        ("e x 0.04167", "e is 24 times too small (the mean amount of an hour", "--unit e='mm h-1'", 24),
        ("e: sign", "e has the opposite sign", "--flip-sign e, or in a mapping write sign: -1 for e", -1),
        ("depth as fraction", "swvl1, swvl2, swvl3, swvl4 hold depths of water [m]", "--unit swvl1=m", None),
        (
            "thickness in cm",
            "100 times too large against the fluxes (their thickness",
            "the thickness in the mapping",
            0.01,
        ),
        ("all a day late", "all fluxes are dated a day too late", "belongs to the day before", None),
        ("all a day early", "or the states are those of the beginning of the day", "of states at 00 UTC", None),
        ("snow in mm", "sd is 1 000 times too large", "--unit sd=mm", 1e-3),
        ("depth of snow", "sd is about 3.33 times too large", "use snow water equivalent", 0.3),
        ("tp since midnight", "tp is about 12", "accumulated since midnight", 0.08),
        ("e without a part", "e is about 1.67 times too small", "a part of the flux may be missing", 1 / 0.6),
    ],
)
def test_a_fault_and_its_remedy_are_said_in_words(fault: str, sentence: str, remedy: str, factor: float | None) -> None:
    found = diagnose(FAULTS[fault][0](world()))
    (finding,) = found.findings
    assert sentence in finding.fault
    assert remedy in finding.remedy
    assert finding.factor == (factor if factor is None else pytest.approx(factor, rel=0.03))
    told = found.sentences()
    assert told[0].startswith("The water balance does not close, but it does if one fault is corrected: ")
    assert finding.fault in told[0]
    assert told[1] == f"Remedy: {finding.remedy}."
    assert finding.is_fitted == ("no known error explains" in told[0])
    assert all(line[0].isupper() or line.startswith(finding.variables) for line in told)
    assert all(line.endswith((".", "?")) and "?." not in line for line in told)


@pytest.mark.parametrize("fault", ["tp x 24", "e: sign", "thickness in cm", "all a day late", "tp since midnight"])
def test_a_fault_in_a_part_of_the_area_is_found_with_its_share(fault: str) -> None:
    change, expected = FAULTS[fault]
    found = diagnose(in_the_north(change)(world()))
    area, north = values(world(), "area"), (world().lat > 30).to_numpy()
    share = area[north].sum() / area.sum()
    assert names(found) == [expected]
    (finding,) = found.findings
    assert finding.share == pytest.approx(share, abs=0.05)
    assert finding.contradicted > 0.4
    assert found.closing == pytest.approx(1 - share, abs=0.05)
    assert found.sentences()[0].startswith("In a part of the area, ")
    assert (found.cells[~north] == 1).all()
    assert (found.cells[north] == 2).mean() > 0.9


def test_two_faults_in_two_parts_are_both_found() -> None:
    cube = in_the_north(scaled(1000, "tp"))(world())
    south = (world().lat < -10).to_numpy()[:, np.newaxis]
    both = put(cube, {"e": np.where(south, -values(cube, "e"), values(cube, "e"))})
    assert names(diagnose(both)) == ["tp: 1 000 times too large", "e: sign"]


RIGHT = {
    **HARMLESS,
    "10 % noise on e": noisy(0.1),
    "no layer 4": without_layer_4,
    "layers 1 and 2": lambda cube: cube.drop_vars(["swvl3", "swvl4"]),
    "runoff in parts": lambda cube: cube.drop_vars("ro"),
}
REGIONS = {
    "the earth": lambda cube: cube["area"] > 0,
    "tropics": lambda cube: abs(cube.lat) < 15,
    "deserts": lambda cube: cube.climate_zone.isin([4, 5]),
    "ice and tundra": lambda cube: cube.climate_zone.isin([29, 30]),
    "far north": lambda cube: cube.lat > 60,
    "middle latitudes": lambda cube: (abs(cube.lat) > 30) & (abs(cube.lat) < 60),
    "one cell": lambda cube: cube.cell == cube.cell[100],
}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("region", REGIONS)
def test_a_right_cube_is_never_called_faulty(region: str, seed: int) -> None:
    earth = world(2010 + seed, seed)
    cube = earth.isel(cell=np.flatnonzero(REGIONS[region](earth)))
    for name, change in RIGHT.items():
        found = diagnose(change(cube))
        assert names(found) == [], name
        assert found.doubts == (), name
        if "layer" not in name:
            assert found.verdict == "closes", name
            assert found.closure is not None
            assert found.closure.states == ("mean" if name == "daily means" else "end"), name


def test_a_missing_layer_is_told_as_such() -> None:
    found = diagnose(without_layer_4(world()))
    assert found.verdict == "balances"
    told = " ".join(found.sentences())
    assert "no single conversion error explains that" in told
    assert "No swvl4: the column is open below" in told


def test_of_a_term_without_water_nothing_is_said_to_be_right() -> None:
    tropics = world().isel(cell=np.flatnonzero(np.abs(world().lat) < 12))
    found = diagnose(scaled(1000, "sd")(tropics))
    assert found.verdict == "closes"
    assert found.unproven == ("sd",)
    assert "Of sd it says nothing: without it the balance closes as well" in " ".join(found.sentences())
    assert diagnose(world()).unproven == ()


def test_states_that_are_known_are_believed() -> None:
    begin = of_the_beginning(world())
    assert names(diagnose(begin)) == ["fluxes a day early"]
    assert diagnose(begin, states="begin").verdict == "closes"
    assert diagnose(world(), states="mean").verdict != "closes"
    late = diagnose(shifted(1, "tp", "e", "ro")(begin), states="begin")
    assert names(late) == ["fluxes a day late"]


def test_what_fits_nothing_does_not_close() -> None:
    rng = np.random.default_rng(1)
    order = rng.permutation(366)
    found = diagnose(put(world(), {"tp": 3 * values(world(), "tp")[:, order]}))
    assert found.verdict == "does not close"
    assert names(found) == []
    assert "no single conversion error explains the rest" in found.sentences()[0]
    assert set(np.unique(found.cells)) <= {0, 1}


@pytest.mark.parametrize("name", ["tp", "e", "ro", "sd", "swvl1"])
def test_a_variable_without_any_water_is_no_reason_to_invent_a_factor(name: str) -> None:
    found = diagnose(scaled(0, name)(world()))
    # Fluxes that fit each other over the record are not blamed for a store that is not there.
    assert found.verdict == ("balances" if name in ("sd", "swvl1") else "does not close")
    assert names(found) == []
    json.dumps(found.as_json(), allow_nan=False)


def test_parts_of_runoff_are_blamed_one_by_one() -> None:
    parts = world().drop_vars("ro")
    assert names(diagnose(scaled(1000, "ssro")(parts))) == ["ssro: 1 000 times too large"]
    assert names(diagnose(scaled(-1, "sro")(parts))) == ["sro: sign"]


def test_fill_values_that_were_not_masked_do_not_close() -> None:
    moisture = values(world(), "swvl2")
    moisture[:, ::50] = -9999
    found = diagnose(put(world(), {"swvl2": moisture}))
    assert found.verdict == "does not close"
    assert [doubt.variable for doubt in found.doubts] == ["swvl2"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: world().drop_vars("e"), "no e (evapotranspiration)"),
        (lambda: world().isel(time=slice(0, 25)), "no cell has 30 days on which all of tp, e, ro, sd, swvl1"),
        (few, "no e (evapotranspiration); no ro (total runoff), and not both sro and ssro in its stead"),
    ],
)
def test_what_cannot_be_tested_says_why(make: Callable[[], xr.Dataset], reason: str) -> None:
    cube = make()
    found = diagnose(cube)
    assert found.verdict == "cannot be tested"
    assert reason in found.sentences()[0]
    assert (found.cells == -1).all()
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["closure"] is None
    assert closure_maps(cube, found) == {}


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    exponent=st.floats(-6, 6),
    fault=st.sampled_from(["as it is", "tp x 24", "e: sign", "ro, a day late", "all / 24", "tp since midnight"]),
    is_open=st.booleans(),
)
def test_water_in_another_unit_gets_the_same_verdict(exponent: float, fault: str, is_open: bool) -> None:
    cells = world().isel(cell=slice(0, None, 4))
    cube = FAULTS[fault][0](cells) if fault in FAULTS else cells
    cube = without_layer_4(cube) if is_open else cube
    other = scaled(10**exponent, *(name for name in WATER if name in cube))(cube)
    expected, found = diagnose(cube), diagnose(other)
    assert (found.verdict, names(found)) == (expected.verdict, names(expected))


@pytest.mark.parametrize("seed", range(4))
def test_another_land_surface_is_judged_alike(seed: int) -> None:
    cube = small_cube(cells=20, days=500, seed=seed)
    assert diagnose(cube).verdict == "closes"
    assert names(diagnose(scaled(1 / 1000, "e")(cube))) == ["e: 1 000 times too small"]
    places = small_cube(cells=20, days=500, seed=seed, grid=False)
    assert names(diagnose(shifted(1, "tp")(places))) == ["tp: a day late"]


@pytest.mark.parametrize("slip", [*FLUX_SLIPS, *SNOW_SLIPS], ids=str)
def test_the_remedy_of_a_unit_undoes_the_slip(slip) -> None:  # type: ignore[no-untyped-def]
    variable = "sd" if slip in SNOW_SLIPS else "tp"
    depth = 0.004
    in_file = depth / conversion(variable, slip.unit, "file").scale
    in_cube = in_file * conversion(variable, slip.taken_for, "file").scale
    assert in_cube * slip.factor(variable) == pytest.approx(depth)


def test_hypotheses_have_names_of_their_own_and_say_what_to_do() -> None:
    made = hypotheses(terms_of(world().drop_vars("ro")))
    assert len({one.name for one in made}) == len(made)
    assert all(bool(one.remedy) == bool(one.fault) == bool(one.variables) for one in made)
    assert {"ssro: sign", "sro: a day late"} <= {one.name for one in made}


def test_json_holds_all_that_is_said() -> None:
    found = diagnose(without_layer_4(in_the_north(scaled(-1, "e"))(world())))
    plain = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert plain["verdict"] == "closes if"
    assert plain["sentences"] == found.sentences()
    assert plain["findings"][0]["variables"] == ["e"]
    assert plain["findings"][0]["factor"] == -1
    assert plain["open"] == ["no swvl4: the column is open below, unless the land model has no such layer"]


@pytest.mark.parametrize(
    ("variable", "factor", "offset", "sentence"),
    [
        ("tp", 1e-3, 0, "tp (total precipitation): the mean over the area [m a-1] is 0.000"),
        ("tp", 1e3, 0, "mm read as m (--unit tp=mm)?"),
        ("ssrd", 1 / 86400, 0, "the highest day [W m-2] is"),
        ("strd", 86400, 0, "J m-2 of a day read as W m-2"),
        ("t2m", 1, -273.15, "is it in degC? --unit t2m=degC"),
        ("swvl2", 0, 0.3, "swvl2 (volumetric soil water, layer 2): the fraction of the area on which it varies is 0"),
        ("e", -1, 0, "its sign is reversed, in soilcast it is positive upward"),
        ("sp", 0.01, 0, "hPa read as Pa (--unit sp=hPa)?"),
        ("q", 1000, 0, "g kg-1 read as kg kg-1?"),
    ],
)
def test_what_is_not_plausible_is_doubted(variable: str, factor: float, offset: float, sentence: str) -> None:
    found = diagnose(put(world(), {variable: factor * values(world(), variable) + offset}))
    assert {doubt.variable for doubt in found.doubts} == {variable}
    assert any(sentence in doubt.sentence for doubt in found.doubts)
    assert found.sentences()[-1] == found.doubts[-1].sentence
    assert found.as_json()["doubts"][0]["variable"] == variable


@pytest.mark.slow
def test_maps_show_residual_and_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    found = diagnose(in_the_north(scaled(-1, "e"))(world()))
    with watched_figures(monkeypatch) as figures:
        drawn = closure_maps(world(), found, "proof")
    assert len(figures) == 1
    assert set(drawn) == {"proof.pdf", "proof.png"}
    assert drawn["proof.png"].startswith(b"\x89PNG")
    assert drawn["proof.png"] != closure_maps(world(), diagnose(world()), "proof")["proof.png"]
    places = small_cube(cells=20, days=100, grid=False)
    with watched_figures(monkeypatch) as figures:
        assert closure_maps(places, diagnose(places))["closure.png"].startswith(b"\x89PNG")
    assert len(figures) == 1


@pytest.mark.slow
@pytest.mark.shared
def test_prms_in_the_delaware_basin_balances_but_for_stores_that_a_cube_has_no_name_for(shared: Path) -> None:
    path = shared / "prms_delaware" / "prms_drb_daily_1979_1980.nc"
    cube = table([path], mapping=MAPPINGS / "prms_delaware.yaml").load()
    found = diagnose(cube)
    assert found.verdict == "balances"
    assert found.doubts == ()
    assert found.closure is not None
    assert found.closure.states == "end"
    assert np.median(found.closure.drift) < 0.01
    # docs/own-data.md: 0.76 mm a day are left without the gravity reservoir, the canopy and the ponds.
    assert np.average(found.closure.mean_absolute) == pytest.approx(0.76e-3, rel=0.05)
    for fault in ("tp x 24", "tp x 0.001", "e: sign", "ro x 24", "all a day late", "divided twice"):
        change, expected = FAULTS[fault]
        assert names(diagnose(change(cube.isel(cell=slice(0, None, 4))))) == [expected], fault


@pytest.mark.slow
@pytest.mark.shared
def test_mhm_on_the_moselle_closes_with_means_of_the_day(shared: Path) -> None:
    path = shared / "mhm_moselle" / "mhm_moselle_12km_daily_1990_1993.nc"
    cube = table([path], mapping=MAPPINGS / "mhm_moselle.yaml").load()
    found = diagnose(cube)
    assert found.verdict == "closes"
    assert found.doubts == ()
    assert found.closure is not None
    assert found.closure.states == "mean"
    # docs/own-data.md: 0.14 mm a day.
    assert np.average(found.closure.mean_absolute) == pytest.approx(0.14e-3, rel=0.05)
    for fault in ("tp x 24", "e x 0.001", "e: sign", "ro x 24", "all a day early", "snow in mm", "divided twice"):
        change, expected = FAULTS[fault]
        assert names(diagnose(change(cube))) == [expected], fault
