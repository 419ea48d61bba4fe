"""The readings of the water balance: where the paper's text, its equations and the authors' code leave a choice."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Form = Literal["single", "multi"]
"""``single``: W1 of Eq. 10, without deep soil water (PHY-LSTM); ``multi``: W2 of Eq. 11, with it (PHYs-LSTM)."""

Symbol = Literal["P", "E", "SRO", "dSD"]

Ties = Literal["keep", "drop"]

TERM_SETS: dict[int, tuple[Symbol, ...]] = {
    1: ("P",),
    2: ("P", "E"),
    3: ("P", "E", "SRO"),
    4: ("P", "E", "SRO", "dSD"),
}
"""The term sets of the paper's Table 1: A1-A4 with the form ``multi``, B1-B4 with ``single``."""


class WaterConfig(BaseModel):
    """Terms of the water balance W (Eq. 10, 11).

    Options stand where the paper's text, its equations and the authors' code differ. The defaults are the paper's
    equations as printed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    terms: tuple[Symbol, ...] = Field(
        TERM_SETS[4],
        description="terms of W beside deep soil water (Table 1): precipitation P, evaporation E, surface runoff SRO, "
        "change of snow water equivalent dSD",
    )
    sign: Literal["change", "inflow"] = Field(
        "change", description="dW_t. change: sign of W_t - W_{t-1} (Eq. 12); inflow: sign of W_t"
    )
    snow: Literal["paper", "closing", "code"] = Field(
        "paper",
        description="snow term. paper: +dSD (Eq. 10); closing: -dSD (conserves mass); code: +24 dSD (authors' code)",
    )
    runoff: Literal["surface", "total"] = Field(
        "surface",
        description="runoff term. surface: sro (Eq. 10); total: ro, where there is no sro, as in LandBench",
    )
    layer: Literal["none", "own_layer"] = Field(
        "none",
        description="layer term of W1. none: Eq. 10; own_layer: minus the change of layer 1 (the authors' code)",
    )
    ties: Ties = Field(
        "keep",
        description="days without a change of the observed soil moisture in Eq. 13. keep: as printed; drop: as in the "
        "authors' code",
    )
    placebo: Literal["none", "coin_toss", "observed"] = Field(
        "none",
        description="guidance without the water balance, to compare with. coin_toss: dW of +1 or -1 at random, and for "
        "loss.amounts W of other days; observed: sign of the observed change on random cell-days, as many as Eq. 13 "
        "keeps of the balance",
    )
    deep_layers: tuple[Literal["swvl2", "swvl3", "swvl4"], ...] = Field(
        ("swvl2", "swvl3"), description="soil layers of dSM2 in Eq. 11 (7-100 cm)"
    )

    @field_validator("terms", "deep_layers")
    @classmethod
    def _some_and_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError("name at least one, each once")
        return value
