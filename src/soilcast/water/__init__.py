"""The paper's physics: the water balance (Eq. 10-13), the losses (Eq. 8, 9, 14) and the consistency (Eq. 19).

And the proof by the full water balance that a conversion of land-model data is right: `closure` and `diagnose`.
"""

from soilcast.water.balance import (
    mask_observed,
    missing_variables,
    refuse_missing,
    required_variables,
    sign_of_change,
    sign_of_inflow,
    water_inflow,
    water_sign,
    water_signs,
)
from soilcast.water.closure import Closure, closure
from soilcast.water.config import TERM_SETS, Form, WaterConfig
from soilcast.water.consistency import physical_consistency
from soilcast.water.diagnosis import Diagnosis, diagnose
from soilcast.water.judging import Finding
from soilcast.water.plausibility import Doubt, plausibility

__all__ = [
    "TERM_SETS",
    "Closure",
    "Diagnosis",
    "Doubt",
    "Finding",
    "Form",
    "WaterConfig",
    "closure",
    "diagnose",
    "mask_observed",
    "missing_variables",
    "physical_consistency",
    "plausibility",
    "refuse_missing",
    "required_variables",
    "sign_of_change",
    "sign_of_inflow",
    "water_inflow",
    "water_sign",
    "water_signs",
]
