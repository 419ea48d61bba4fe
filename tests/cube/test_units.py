"""Units on entry: every spelling that the field's files use, and a plain word where one is not understood."""

from __future__ import annotations

import math

import numpy as np
import pint
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from soilcast.cube import VARIABLES, Conversion, conversion, is_amount
from soilcast.errors import SoilcastError

PLAIN = pint.UnitRegistry()  # pint as it comes, without cf-xarray and without our readings

FRACTIONS = ("unitless", "m3 m−3", "[m3/m3]", "m^3/m^3", "cm3 cm-3", "m³ m⁻³", "m3.m-3")
MILLIMETRES = ("mm H2O", "mm of water", "mm/d", "mm day**-1", "mm w.e.", "mm·d⁻¹", "kg.m-2")

# variable, unit as files write it, a value in it, the same in the contract's unit by hand
BY_HAND = [
    ("t2m", "degC", 21.5, 294.65),
    ("t2m", "celsius", -40.0, 233.15),
    ("t2m", "degF", -40.0, 233.15),
    ("t2m", "K", 280.0, 280.0),
    ("t2m", "Kelvin", 280.0, 280.0),
    ("t2m", "degrees C", 10.0, 283.15),
    ("sp", "hPa", 1013.25, 101325.0),
    ("sp", "kPa", 101.325, 101325.0),
    ("sp", "mb", 1000.0, 100000.0),
    ("sp", "millibars", 1000.0, 100000.0),
    ("tp", "mm/day", 12.0, 0.012),
    ("tp", "mm d-1", 12.0, 0.012),
    ("tp", "mm", 12.0, 0.012),
    ("tp", "m", 0.012, 0.012),
    ("tp", "m h-1", 0.001, 0.024),
    ("tp", "mm/h", 1.0, 0.024),
    ("tp", "kg m-2", 5.0, 0.005),
    ("tp", "kg m-2 s-1", 1e-4, 0.00864),
    ("tp", "kg m**-2 s**-1", 1e-4, 0.00864),
    ("tp", "m s-1", 1e-7, 0.00864),
    ("e", "m of water equivalent", 0.003, 0.003),
    ("sd", "mm of water equivalent", 30.0, 0.03),
    ("sd", "kg m-2", 250.0, 0.25),
    ("ssrd", "J m-2", 17.28e6, 200.0),
    ("ssrd", "J m**-2", 17.28e6, 200.0),
    ("ssrd", "MJ m-2 d-1", 17.28, 200.0),
    ("ssrd", "W m**-2", 200.0, 200.0),
    ("strd", "kg s-3", 300.0, 300.0),
    ("q", "g/kg", 8.0, 0.008),
    ("q", "g kg-1", 8.0, 0.008),
    ("q", "kg kg**-1", 0.008, 0.008),
    ("u10", "km/h", 36.0, 10.0),
    ("v10", "knots", 10.0, 5.144444444),
    ("swvl1", "percent", 32.0, 0.32),
    ("swvl1", "%", 32.0, 0.32),
    ("swvl1", "m**3 m**-3", 0.32, 0.32),
    ("swvl1", "m3/m3", 0.32, 0.32),
    ("swvl1", "1", 0.32, 0.32),
    ("swvl1", "kg m-3", 320.0, 0.32),
    ("clay", "%", 25.0, 0.25),
    ("clay", "g/kg", 250.0, 0.25),
    ("clay", "(0 - 1)", 0.25, 0.25),
    ("clay", "fraction", 0.25, 0.25),
    ("slthick1", "cm", 7.0, 0.07),
    ("elevation", "feet", 1000.0, 304.8),
    ("area", "km2", 2.5, 2.5e6),
    ("area", "ha", 3.0, 3.0e4),
    ("landcover", "-", 7.0, 7.0),
    *(("swvl1", unit, 0.32, 0.32) for unit in FRACTIONS),
    *(("swvl1", unit, 32.0, 0.32) for unit in ("vol%", "vol %", "% by volume")),
    *(("t2m", unit, 10.0, 283.15) for unit in ("degrees_celsius", "°C", "deg C", "C", "[degC]", "℃", "Celsius")),
    *(("tp", unit, 3.0, 0.003) for unit in MILLIMETRES),
    *(("tp", unit, 1e-4, 0.00864) for unit in ("kg/m2/s", "kg.m-2.s-1", "kg/(m2 s)")),
    ("e", "m of water equivalent per day", 0.003, 0.003),
    ("sd", "mm SWE", 30.0, 0.03),
    *(("ssrd", unit, 200.0, 200.0) for unit in ("W/m²", "W·m⁻²", "Watts m-2", "watt/m2")),
    ("ssrd", "J m-2 day-1", 17.28e6, 200.0),
]


@pytest.mark.parametrize(("variable", "unit", "given", "expected"), BY_HAND)
def test_a_unit_of_the_field_converts_as_by_hand(variable: str, unit: str, given: float, expected: float) -> None:
    assert conversion(variable, unit, "f.nc")(given) == pytest.approx(expected, rel=1e-9)


@given(
    pair=st.sampled_from(
        [
            ("t2m", "degF"),
            ("t2m", "degC"),
            ("sp", "atm"),
            ("sp", "bar"),
            ("u10", "mile/hour"),
            ("area", "acre"),
            ("tp", "inch/day"),
            ("tp", "cm/week"),
            ("sd", "inch"),
            ("ssrd", "kilocalorie/cm**2/day"),
        ]
    ),
    value=st.floats(-1e6, 1e6),
)
def test_plain_arithmetic_agrees_with_pint_alone(pair: tuple[str, str], value: float) -> None:
    variable, unit = pair
    goal = VARIABLES[variable].units.replace(" d-1", "/day").replace(" m-2", "/m**2").replace(" s-1", "/s")
    goal = {"m2": "m**2"}.get(goal, goal)
    expected = PLAIN.Quantity(value, unit).to(goal).magnitude
    assert conversion(variable, unit, "f.nc")(value) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(case=st.sampled_from(BY_HAND), value=st.floats(-1e9, 1e9))
def test_a_conversion_is_affine_and_has_an_inverse(case: tuple[str, str, float, float], value: float) -> None:
    found = conversion(case[0], case[1], "f.nc")
    assert math.isfinite(found.scale)
    assert found.scale > 0
    assert (found(value) - found.offset) / found.scale == pytest.approx(value, rel=1e-9, abs=1e-6)
    assert found(value) - found(0.0) == pytest.approx(value * found.scale, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("variable", "unit", "amount"),
    [
        *(("tp", unit, True) for unit in ("m", "mm", "kg m-2", None)),
        *(("e", unit, False) for unit in ("mm d-1", "kg m-2 s-1", "m h-1", "K", "flarg")),
        *(("ssrd", unit, True) for unit in ("J m-2", "MJ/m2")),
        *(("ssrd", unit, False) for unit in ("W m-2", "J m-2 d-1")),
    ],
)
def test_amounts_are_told_from_rates(variable: str, unit: str | None, amount: bool) -> None:
    assert is_amount(variable, unit) is amount


@pytest.mark.parametrize("variable", list(VARIABLES))
def test_the_contracts_own_unit_changes_nothing(variable: str) -> None:
    values = np.arange(3, dtype=np.float32)
    assert conversion(variable, VARIABLES[variable].units, "f.nc")(values) is values


@pytest.mark.parametrize("unit", ["degC", "K"])
def test_single_precision_stays_single_precision(unit: str) -> None:
    assert conversion("t2m", unit, "f.nc")(np.ones((2, 3), dtype=np.float32)).dtype == np.float32


@pytest.mark.parametrize("unit", [None, "", "   "])
def test_a_missing_unit_is_asked_for_by_file_variable_and_option(unit: str | None) -> None:
    with pytest.raises(SoilcastError, match=r"^rain\.nc: no unit for tp; .*m d-1.*--unit tp=UNIT\)$"):
        conversion("tp", unit, "rain.nc")


@pytest.mark.parametrize(
    ("variable", "unit"),
    [
        ("tp", "kg per fortnight"),
        ("tp", "W m-2"),
        ("tp", "kg s-1"),
        ("t2m", "m"),
        ("t2m", "unknown"),
        ("t2m", "degrees X"),
        ("area", "C"),
        ("swvl1", "[m3] [m-3"),
        ("t2m", "10 K"),
        ("t2m", "K)"),
        ("swvl1", "mm"),
        ("ssrd", "W"),
        ("sd", "mm d-1"),
        ("landcover", "class code"),
    ],
)
def test_a_wrong_unit_is_refused_by_file_variable_and_remedy(variable: str, unit: str) -> None:
    with pytest.raises(SoilcastError) as caught:
        conversion(variable, unit, "some.nc")
    message = str(caught.value)
    assert message.startswith(f"some.nc: unit {unit!r} of {variable} does not convert to {VARIABLES[variable].units}")
    assert f"--unit {variable}=UNIT" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("variable", "unit"),
    [
        ("u10", "m"),  # a way is no wind, though "a daily total" of it would be one
        ("q", "kg m-3"),  # absolute humidity is not specific humidity over the density of water
        ("slope", "degrees"),  # an angle is no rise over run
        ("t2m", "K d"),
        ("sp", "Pa d"),
    ],
)
def test_the_readings_of_water_and_radiation_reach_no_other_variable(variable: str, unit: str) -> None:
    with pytest.raises(SoilcastError, match="does not convert"):
        conversion(variable, unit, "some.nc")


@pytest.mark.parametrize(
    "unit",
    [
        "9**9**9**9",
        "9^9^9^9",
        "m**(9**9**9**9)",
        "((9**9)**9)**9**9",
        "9⁹⁹⁹⁹⁹⁹⁹⁹⁹",
        "(9)9999999999",
        "9 cubed cubed cubed cubed cubed",
        "m" * 100_000,
        "(" * 5000,
        "__import__('os').getcwd()",
        "\N{PILE OF POO}",
    ],
)
def test_a_hostile_unit_neither_runs_nor_hangs(unit: str) -> None:
    with pytest.raises(SoilcastError, match="does not convert"):
        conversion("t2m", unit, "theirs.nc")


@example(unit="P103")
@given(unit=st.text(alphabet="mKsgPa0123456789*/^()-+. %d°²⁻\"'#\\", max_size=12))
def test_whatever_a_file_says_is_a_conversion_or_a_word_to_the_user(unit: str) -> None:
    try:
        found = conversion("tp", unit, "f.nc")
    except SoilcastError:
        return
    assert isinstance(found, Conversion)
    assert math.isfinite(found.scale)
