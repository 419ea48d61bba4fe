"""Whether the water balance proves a cube right, and if not, which single fault of its conversion explains it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from soilcast.doctoring.closure import FEWEST_DAYS, Closure, Trial, measure, number
from soilcast.doctoring.evidence import Evidence, Finding, Verdict
from soilcast.doctoring.hypotheses import hypotheses
from soilcast.doctoring.plausibility import Doubt, plausibility
from soilcast.doctoring.sentences import say
from soilcast.doctoring.terms import LAGS, States, Terms, terms_of


@dataclass(frozen=True)
class Diagnosis:
    """What the water balance says of a cube.

    Parameters
    ----------
    verdict
        ``closes``: the data are right as far as water goes. ``balances``: the fluxes fit each other over the record,
        but single days do not close and no fault of conversion explains it, as if a store were missing. ``closes if``:
        a fault explains it, see ``findings``. ``does not close``; ``cannot be tested``.
    closure
        The balance as it is; None if it cannot be tested.
    findings
        Faults, the widest first; more than one only if they lie in different cells.
    closing
        Share of the judged area on which the balance closes as it is.
    terms
        What took part and what is missing.
    lacking
        Why it cannot be tested, in words.
    unproven
        If it closes: terms that are too small here for the balance to say anything of them.
    level
        Factor by which the fluxes would fit the stores best, median over the area.
    doubts
        What is not plausible, balance or not.
    cells
        Verdict of each cell ``(cell,)``: -1 not judged, 0 does not close, 1 closes, 2 + i closes with finding i.
    """

    verdict: Verdict
    closure: Closure | None
    findings: tuple[Finding, ...]
    closing: float
    terms: Terms
    lacking: tuple[str, ...]
    unproven: tuple[str, ...]
    level: float
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
        told = say(
            self.verdict,
            closure=self.closure,
            findings=self.findings,
            closing=self.closing,
            level=self.level,
            lacking=self.lacking,
            open_terms=self.terms.open,
            unproven=self.unproven,
        )
        return [*told, *(doubt.sentence for doubt in self.doubts)]


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
