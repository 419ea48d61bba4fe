"""Whether the water balance proves a cube right, and if not, which single fault of its conversion explains it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.cube.plausibility import Doubt, plausibility
from soilcast.doctoring.closure import FEWEST_DAYS, Trial, measure, number
from soilcast.doctoring.evidence import Evidence
from soilcast.doctoring.hypotheses import hypotheses
from soilcast.doctoring.sentences import Judged, say
from soilcast.doctoring.terms import LAGS, States, terms_of


@dataclass(frozen=True)
class Diagnosis(Judged):
    """What the water balance says of a cube, and what is not plausible in it.

    Parameters
    ----------
    doubts
        What is not plausible, balance or not.
    cells
        Verdict of each cell ``(cell,)``: -1 not judged, 0 does not close, 1 closes, 2 + i closes with finding i.
    """

    doubts: tuple[Doubt, ...]
    cells: npt.NDArray[np.int8]

    def as_json(self) -> dict[str, Any]:
        """Numbers over the area, ready for JSON; null for what is not known."""
        return {
            "verdict": self.verdict,
            "closing_share": number(self.closing),
            "closure": self.closure.as_json() if self.closure else None,
            "findings": [finding.as_json() for finding in self.findings],
            "fluxes_against_stores": number(self.level),
            "lacking": list(self.lacking),
            "open": list(self.terms.open),
            "unproven": list(self.unproven),
            "doubts": [doubt.as_json() for doubt in self.doubts],
            "sentences": self.sentences(),
        }

    def sentences(self) -> list[str]:
        """Say it in plain sentences, the verdict first."""
        return [*say(self), *(doubt.sentence for doubt in self.doubts)]


def diagnose(cube: xr.Dataset, *, states: States | None = None) -> Diagnosis:
    """Test the water balance of a cube, and find the single fault of conversion that explains why it does not close.

    Every hypothesis of `soilcast.doctoring.hypotheses` is tried in every cell, one at a time. A fault is believed in a
    cell if with it the mean absolute residual is small (`CLOSED`), much smaller than without it (`IMPROVED`), and much
    smaller than with any explanation of another kind (`CLEARER`), the absence of a term among them. The limits, and why
    they are what they are, stand in `soilcast.doctoring.evidence`. Multiplying all water by a constant changes nothing.

    Parameters
    ----------
    cube
        What `soilcast.cube.assemble` makes, lazy or in memory. The terms of the balance are read once (twice if a
        factor must be fitted), in tiles of bounded size; about 5 kB a cell are held.
    states
        What the states are, if it is known: of the ``end``, the ``mean`` or the ``begin`` of the day. Otherwise the
        first two are both allowed, and the third is a finding.
    """
    terms, doubts = terms_of(cube), plausibility(cube)
    not_judged = np.full(cube.sizes["cell"], -1, dtype=np.int8)
    untested = Diagnosis(
        "cannot be tested", None, (), np.nan, terms, terms.lacking, (), np.nan, doubts, not_judged
    )  # fmt: skip
    if terms.lacking:
        return untested
    kinds: tuple[States, ...] = (states,) if states else ("end", "mean")
    trials = [Trial(hypothesis, kind) for hypothesis in hypotheses(terms) for kind in kinds]
    lags = (min(LAGS[kind][0] for kind in kinds) - 1, max(LAGS[kind][-1] for kind in kinds) + 1)
    sums = measure(cube, terms, trials, lags)
    if not (sums.days >= FEWEST_DAYS).any():
        reason = f"no cell has {FEWEST_DAYS} days on which all of {', '.join(terms.variables)} are known"
        return replace(untested, lacking=(reason,))
    evidence = Evidence(cube, terms, trials, sums)
    if fits := evidence.fits():
        absolute = np.concatenate([sums.absolute, measure(cube, terms, fits, lags).absolute])
        evidence = Evidence(cube, terms, [*trials, *fits], replace(sums, absolute=absolute))
    findings, cells = evidence.findings()
    verdict = evidence.verdict(findings)
    return Diagnosis(
        verdict,
        evidence.closure,
        findings,
        evidence.share(evidence.closes),
        terms,
        (),
        evidence.unproven() if verdict == "closes" else (),
        evidence.level(),
        doubts,
        cells,
    )
