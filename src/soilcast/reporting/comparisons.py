"""How one model compares with another at each lead: by the tested difference, else by the digits shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from soilcast.reporting.artifacts import leads
from soilcast.reporting.over_cells import errors_shown, medians, rounded_for_print
from soilcast.reporting.scores import baselines
from soilcast.reporting.wording import PERCENT, at_leads, enumerated, not_seen
from soilcast.verify.estimates import FALSE_DISCOVERIES
from soilcast.verify.regressions import WITH_WEATHER

_DAMPED = "damped anomaly"


@dataclass(frozen=True)
class Comparison:
    """The RMSE of a model against that of another at one lead.

    Parameters
    ----------
    lead
        The lead [d].
    reference
        Label of the other.
    sense
        Of the model: by the adjusted p-value if tested, else by the digits shown.
    tested
        Whether the difference was tested for significance.
    detectable
        Smallest detectable difference, in per cent of the reference's median RMSE; NaN if not tested.
    """

    lead: int
    reference: str
    sense: Literal["better", "same", "worse"]
    tested: bool
    detectable: float


def compare(scores: xr.Dataset, target: str, label: str, references: Sequence[str | None]) -> list[Comparison]:
    """Compare a model at each lead with a reference of that lead; leads at which either has no value are left out."""
    shown = errors_shown(scores, target)
    rmse = medians(scores, scores["rmse"].sel(target=target))
    compared = []
    for lead, reference in zip(leads(scores), references, strict=True):
        if reference is None:
            continue
        mine, other = (shown.sel(model=model, lead=lead).item() for model in (label, reference))
        if not np.isfinite(mine - other):
            continue
        difference, p, detectable = _tested(scores, target, lead, label, reference)
        tested = bool(np.isfinite(p))
        if not tested:
            rounded = rounded_for_print(np.array([mine, other]), 4 if scores.sizes["lead"] == 1 else 3)
            difference = float(rounded[0] - rounded[1])
        is_same = p > FALSE_DISCOVERIES if tested else difference == 0
        sense: Literal["better", "same", "worse"] = "same" if is_same else "better" if difference < 0 else "worse"
        base = rmse.sel(model=reference, lead=lead).item()
        compared.append(Comparison(lead, reference, sense, tested, 100 * detectable / base if base else np.nan))
    return compared


def best_baselines(scores: xr.Dataset, target: str, *, observed_weather: bool) -> list[str | None]:
    """Label of the baseline of least error at each lead, as the tables show it; None where none has a value.

    Parameters
    ----------
    scores, target
        What is shown.
    observed_weather
        Include the baselines that know the observed weather of the days ahead.
    """
    inside = [label for label in baselines(scores) if observed_weather or not label.endswith(WITH_WEATHER)]
    errors = errors_shown(scores, target).sel(model=inside).to_numpy()
    valid = np.isfinite(errors).any(axis=0)
    least = np.where(np.isfinite(errors), errors, np.inf).argmin(axis=0)
    return [inside[row] if is_valid else None for row, is_valid in zip(least, valid, strict=True)]


def statements(compared: Sequence[Comparison], scores: xr.Dataset) -> str:
    """State where a model is better, the same and worse than each of its references, as verbs without a subject."""
    groups: dict[tuple[str, bool, str], list[Comparison]] = {}
    for sense in ("better", "same", "worse"):
        for one in (one for one in compared if one.sense == sense):
            groups.setdefault((sense, one.tested, one.reference), []).append(one)
    lead_days = leads(scores)
    places = [at_leads(lead_days, np.isin(lead_days, [one.lead for one in group])) for group in groups.values()]
    return joined(
        [(group, with_article(group[0].reference), place) for group, place in zip(groups.values(), places, strict=True)]
    )


def joined(groups: Sequence[tuple[Sequence[Comparison], str, str]]) -> str:
    """State comparisons in groups of one sense, each with its reference and place, and by what."""
    tested = [one.tested for group, _, _ in groups for one in group]
    how = "" if all(tested) else "; where not tested, by the digits shown" if any(tested) else ", by the digits shown"
    return enumerated([_statement(*group) for group in groups]) + how


def _statement(group: Sequence[Comparison], reference: str, place: str) -> str:
    sense, tested = group[0].sense, group[0].tested
    if sense == "same":
        if not tested:
            return f"equals {reference} at {place}"
        return f"is not found to differ from {reference} at {place} ({not_detected(group)})"
    return f"is {'significantly ' if tested else ''}{sense} than {reference} at {place}"


def not_detected(group: Iterable[Comparison]) -> str:
    """State how large differences would have had to be that were not found."""
    sizes = [f"{one.detectable:.1f}" for one in group]
    least, largest = min(sizes, key=float), max(sizes, key=float)
    return not_seen(f"{least}{PERCENT}" if least == largest else f"{least} to {largest}{PERCENT}")


def with_article(baseline: str) -> str:
    """Name a baseline within a sentence."""
    return f"the {baseline}" if baseline == _DAMPED else baseline


def _tested(scores: xr.Dataset, target: str, lead: int, label: str, reference: str) -> tuple[float, float, float]:
    """Difference of the median RMSE [m3 m-3], its adjusted p-value, and what is detectable; NaN if not tested."""
    names = ("difference", "difference_p_adjusted", "difference_detectable")
    selection = {"tested_metric": "rmse", "row": label, "reference": reference, "target": target, "lead": lead}
    if names[0] in scores:
        try:
            tested = scores[list(names)].sel(selection)
        except KeyError:  # rows of several seeds have names of their own, and references are chosen
            return np.nan, np.nan, np.nan
        return float(tested[names[0]]), float(tested[names[1]]), float(tested[names[2]])
    return np.nan, np.nan, np.nan
