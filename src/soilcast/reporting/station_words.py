"""What a verdict at stations says in sentences, each with its numbers, true in either direction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from soilcast.reporting.artifacts import leads
from soilcast.reporting.tables import number
from soilcast.reporting.wording import PERCENT, at_leads, days, enumerated
from soilcast.verify.dayblocks import BLOCK_DAYS
from soilcast.verify.estimates import FEWEST_BLOCKS
from soilcast.verify.stations.estimates import REFERENCES, Answer

WORDS = {Answer.YES: "yes", Answer.NO: "no", Answer.NOT_ENOUGH: "not enough data"}

NAMED_OFFSET = 0.005
"""Mean difference [m3 m-3] below which it is not named, though it be significant."""

NAMED_GAIN = 0.1
"""Departure of the gain from 1 below which it is not named."""

_UNIT = "m³ m⁻³"


def summary(verdict: xr.Dataset) -> list[str]:
    """Count the answers over stations and networks, for each forecast, target and lead."""
    sentences = []
    for forecast in verdict["forecast"].to_numpy():
        for target in verdict["target"].to_numpy():
            chosen = verdict.sel(forecast=forecast, target=target)
            parts = [f"at lead {lead} {_counts(chosen['answer'].sel(lead=lead))}" for lead in _ends(verdict)]
            total = verdict.sizes["cell"]
            sentences.append(
                f"{forecast}, {target}: is it better than a station's own persistence and damped anomaly? Of {total} "
                f"station{'s' if total > 1 else ''}, {'; '.join(parts)}."
            )
    return sentences


def answer_sentence(chosen: xr.Dataset, prefix: str = "") -> str:
    """Answer for one forecast, target and station, or with ``prefix`` one network, with the reason and its numbers.

    Parameters
    ----------
    chosen
        The verdict of it: ``(reference, lead)`` and ``(lead,)``.
    prefix
        ``network_`` for a network.
    """
    answers = chosen[f"{prefix}answer"].to_numpy()
    if not prefix and (why := str(chosen["reason"].item())):
        return f"Not enough data: {why}."
    parts = []
    for kind in (Answer.YES, Answer.NO, Answer.NOT_ENOUGH):
        where = answers == kind
        if where.any():
            first = int(np.argmax(where))
            at = "" if len(answers) == 1 else f" at {at_leads(leads(chosen), where)}"
            shown = "" if len(answers) == 1 else f"at lead {leads(chosen)[first]} "
            parts.append(f"{WORDS[kind].capitalize()}{at}: {shown}{_reason(chosen, prefix, first, kind)}")
    return " ".join(f"{part}." for part in parts)


def _reason(chosen: xr.Dataset, prefix: str, lead: int, kind: Answer) -> str:
    at = chosen.isel(lead=lead)
    known = [name for name in REFERENCES if name in chosen["reference"].to_numpy()]
    numbers = [_difference(at.sel(reference=name), prefix, name) for name in known]
    told = " and ".join(one for one in numbers if one)
    rmse = f"its {'median ' if prefix else ''}RMSE is"
    if kind is Answer.NOT_ENOUGH:
        if not prefix and int(np.nan_to_num(at["blocks"].item())) < FEWEST_BLOCKS:
            return (
                f"{days(int(at['days'].item()))} in {int(at['blocks'].item())} blocks of {BLOCK_DAYS} days can be "
                f"compared, and an interval takes {FEWEST_BLOCKS} blocks"
            )
        if len(known) < len(REFERENCES):
            return (
                f"there are too few observations before the test to learn the damped anomaly{_led(f'; {rmse} ', told)}"
            )
        return f"{rmse} {told}, which these days cannot tell from no difference" if told else "no day can be compared"
    return f"{rmse} {told}"


def _led(between: str, text: str) -> str:
    return f"{between}{text}" if text else ""


def _difference(at: xr.Dataset, prefix: str, reference: str) -> str:
    value, low, high = (float(at[f"{prefix}difference{end}"].item()) for end in ("", "_low", "_high"))
    if not np.isfinite(value):
        return ""
    name = f"that of {reference}"
    sense = "lower than" if value < 0 else "higher than" if value > 0 else "the same as"
    size = f"{_number(abs(value))} {sense} {name}"
    if not np.isfinite(low):
        return size
    detectable = float(at[f"{prefix}difference_detectable"].item())
    seen = f"; {_number(detectable)} would be seen reliably" if low <= 0 <= high else ""
    return f"{size} (95{PERCENT}: {_number(low)} to {_number(high)}{seen})"


def distortion_sentence(chosen: xr.Dataset, forecast: str) -> str:
    """Name how lead 1 of a forecast differs from a station before matching: bias, shift, gain, random error.

    Returns
    -------
    Empty without enough days.
    """
    offset, gain, noise = (float(chosen[name].item()) for name in ("offset", "gain", "noise"))
    if not np.isfinite(offset):
        return ""
    named = [*_offset(chosen, offset), *_shift(float(chosen["shift"].item())), *_gain(chosen, gain)]
    rest = f"a random error of {_number(noise)} {_UNIT} is left" if np.isfinite(noise) else ""
    text = enumerated(named) if named else "has no bias, delay or gain that these days can tell"
    return f"{forecast} {text}{_led('; ', rest)}."


def _offset(chosen: xr.Dataset, value: float) -> Iterator[str]:
    low, high = (float(chosen[f"offset{end}"].item()) for end in ("_low", "_high"))
    if abs(value) >= NAMED_OFFSET and (low > 0 or high < 0):
        ends = sorted((abs(low), abs(high)))
        sense = "wetter" if value > 0 else "drier"
        yield f"is {_number(abs(value))} {_UNIT} {sense} than the station ({_number(ends[0])} to {_number(ends[1])})"


def _shift(value: float) -> Iterator[str]:
    if np.isfinite(value) and value != 0:
        size = "a day" if abs(value) == 1 else days(int(abs(value)))
        yield f"responds {size} {'late' if value > 0 else 'early'}"


def _gain(chosen: xr.Dataset, value: float) -> Iterator[str]:
    low, high = (float(chosen[f"gain{end}"].item()) for end in ("_low", "_high"))
    if np.isfinite(value) and abs(value - 1) >= NAMED_GAIN and (low > 1 or high < 1):
        yield f"varies {value:.2f} times as much ({low:.2f} to {high:.2f})"


def collocation_sentence(chosen: xr.Dataset, third: str) -> str:
    """State the random errors by triple collocation of one forecast, target and station; empty without."""
    if "collocation_error" not in chosen or not chosen["collocation_error"].notnull().any():
        return ""
    errors = [_number(float(one)) for one in chosen["collocation_error"].to_numpy()]
    return (
        f"Triple collocation with {third} over {days(int(chosen['collocation_days'].item()))}: random errors of "
        f"{errors[0]} (forecast), {errors[1]} (station) and {errors[2]} (third product) {_UNIT}, in the scale of the "
        "forecast; a dash is a variance that comes out below 0."
    )


def _counts(answers: xr.DataArray) -> str:
    values = answers.to_numpy()
    counts = {word: int((values == kind).sum()) for kind, word in WORDS.items()}
    return ", ".join(f"{word} at {count}" for word, count in counts.items() if count)


def _ends(verdict: xr.Dataset) -> Sequence[int]:
    found = leads(verdict)
    return list(dict.fromkeys((found[0], found[-1])))


def _number(value: float) -> str:
    return number(value, "rmse")
