"""What other rooms take from this one as `soilcast.water`."""

from soilcast.water.balance import (
    mask_observed,
    missing_terms,
    missing_variables,
    physical_consistency,
    refuse_missing,
    required_variables,
    sign_of_change,
    sign_of_inflow,
    variable_of,
    water_amount,
    water_inflow,
    water_sign,
    water_signs,
)
from soilcast.water.config import TERM_SETS, Form, WaterConfig
from soilcast.water.placebo import PLACEBOS, draw_uniform

__all__ = [
    "PLACEBOS",
    "TERM_SETS",
    "Form",
    "WaterConfig",
    "draw_uniform",
    "mask_observed",
    "missing_terms",
    "missing_variables",
    "physical_consistency",
    "refuse_missing",
    "required_variables",
    "sign_of_change",
    "sign_of_inflow",
    "variable_of",
    "water_amount",
    "water_inflow",
    "water_sign",
    "water_signs",
]
