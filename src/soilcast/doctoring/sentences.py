"""The verdict on a water balance in plain sentences, generated from the numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from soilcast.doctoring.closure import Closure, spread
from soilcast.doctoring.evidence import LEAST_SHARE, LEVEL, Finding, Verdict
from soilcast.doctoring.terms import Terms

_STATES = {"end": "the end of the day", "mean": "the mean of the day", "begin": "the beginning of the day"}
_COMING_AND_GOING = "the water turnover"


@dataclass(frozen=True)
class Judged:
    """What is said of a water balance.

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
    """

    verdict: Verdict
    closure: Closure | None
    findings: tuple[Finding, ...]
    closing: float
    terms: Terms
    lacking: tuple[str, ...]
    unproven: tuple[str, ...]
    level: float


def say(facts: Judged) -> list[str]:
    """Plain sentences, the verdict first."""
    return [sentence[0].upper() + sentence[1:] + "." for sentence in _SAY[facts.verdict](facts)]


def _closes(facts: Judged) -> Iterator[str]:
    yield (
        f"the water balance closes on {percent(facts.closing)} of the area: units, signs and dates of its terms agree"
    )
    yield from _numbers(facts)
    if facts.unproven:
        yield (
            f"of {', '.join(facts.unproven)} it says nothing: without it the balance closes as well, there is too "
            "little water in it here"
        )
    yield from facts.terms.open


def _balances(facts: Judged) -> Iterator[str]:
    yield (
        f"the water balance is kept over the whole record, to {_drift(facts)} of {_COMING_AND_GOING}, so the units "
        "and signs of the fluxes agree; single days do not close, and no single conversion error explains that"
    )
    yield from _numbers(facts)
    yield f"single days close on {percent(facts.closing)} of the area"
    yield "this is typical where stores are missing: deeper layers, groundwater, ponds or the water on leaves"
    yield from facts.terms.open


def _closes_if(facts: Judged) -> Iterator[str]:
    for finding in facts.findings:
        resort = "no known error explains the water balance, but a factor does: " if finding.is_fitted else ""
        if finding.contradicted < LEAST_SHARE:
            yield f"the water balance does not close, but it does if one fault is corrected: {resort}{finding.fault}"
            where = f"with it corrected the balance closes on {percent(finding.closing)} of the area"
        else:
            yield (
                f"in a part of the area, {percent(finding.share)} of it, the water balance closes if one fault is "
                f"corrected: {resort}{finding.fault}"
            )
            where = f"on {percent(finding.contradicted)} of the area the data are right without it"
        yield f"remedy: {finding.remedy}"
        yield (
            f"{where}; where it matters most, on {percent(finding.share)} of the area, the residual falls from "
            f"{percent(finding.relative_as_is)} of {_COMING_AND_GOING} to {percent(finding.relative)} (states of "
            f"{_STATES[finding.states]}), and the next best explanation ({_rival(finding.rival)}) "
            f"leaves {percent(finding.relative_rival)}"
        )
    yield f"as it is, the balance closes on {percent(facts.closing)} of the area"
    yield from facts.terms.open


def _does_not_close(facts: Judged) -> Iterator[str]:
    yield (
        f"the water balance closes on no more than {percent(facts.closing)} of the area, and no single conversion "
        "error explains the rest"
    )
    yield from _numbers(facts)
    yield f"over the whole record {_drift(facts)} of {_COMING_AND_GOING} are left"
    if 0 < facts.level < LEVEL[0]:
        yield f"against the change of the stores the fluxes are about {1 / facts.level:.2g} times too large"
    if facts.terms.open:
        yield "what is missing may be the reason"
    yield from facts.terms.open


def _cannot_be_tested(facts: Judged) -> Iterator[str]:
    yield f"the water balance cannot be tested: {'; '.join(facts.lacking)}"


_SAY: Mapping[Verdict, Callable[[Judged], Iterator[str]]] = {
    "closes": _closes,
    "balances": _balances,
    "closes if": _closes_if,
    "does not close": _does_not_close,
    "cannot be tested": _cannot_be_tested,
}

_RIVALS = {"level": "another level of the fluxes against the stores", "days": "other days for all fluxes"}


def _rival(family: str) -> str:
    if family in _RIVALS or family.startswith("without"):
        return _RIVALS.get(family, family)
    return f"another {'day' if family.endswith(' day') else 'size'} of {family.removesuffix(' day')}"


def _numbers(facts: Judged) -> Iterator[str]:
    assert facts.closure is not None
    closure = facts.closure
    left, scale, share = (
        _middle(values, closure) for values in (closure.mean_absolute, closure.scale, closure.relative)
    )
    stores = "snow and soil water" if closure.terms.snow else "soil water"
    yield (
        f"precipitation less evapotranspiration less runoff and the change of {stores} differ by {1000 * left:.2g} mm "
        f"a day (mean absolute value, median of the cells), {percent(share)} of {_COMING_AND_GOING}, "
        f"{1000 * scale:.2g} mm a day; the states are taken for those of {_STATES[closure.states]}"
    )


def _drift(facts: Judged) -> str:
    assert facts.closure is not None
    return percent(_middle(facts.closure.drift, facts.closure))


def _middle(values: np.ndarray[tuple[int], np.dtype[np.float64]], closure: Closure) -> float:
    middle = spread(values, closure.area)["p50"]
    return np.nan if middle is None else middle


def percent(share: float) -> str:
    """A share in words."""
    if not np.isfinite(share):
        return "an unknown part"
    if 0 < share < 0.001:
        return "less than 0.1 %"
    if 0.995 <= share < 1:
        return "more than 99 %"
    return f"{100 * share:.0f} %" if share >= 0.1 or share == 0 else f"{100 * share:.2g} %"
