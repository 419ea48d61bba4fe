"""What may be wrong with converted data: each fault, how it changes the terms of the water balance, the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from soilcast.cube import conversion
from soilcast.doctoring.terms import SNOW, SOIL, SOIL_AS_DEPTH, SOIL_DIVIDED_TWICE, Terms


@dataclass(frozen=True)
class Hypothesis:
    """One way in which a cube may differ from the truth.

    Without a ``fault`` it is a rival only: a hypothesis must be better than it to be believed.

    Parameters
    ----------
    name
        Short and unique.
    family
        Hypotheses of one family change the same thing, and so do not contradict each other.
    variables
        Variables of the cube that it blames.
    factors
        Term (a flux, ``sd``, ``soil`` or a layer) -> what it must be multiplied by to be right.
    days
        Flux -> days by which it is stamped too early; negative: too late.
    soil
        Which reading of ``swvl`` gives the depth of water.
    fault, remedy
        One clause each, for people; the remedy in the words of soilcast.
    is_fitted
        Whether the factor was fitted, as no known slip has it.
    closed
        Share of the scale below which the residual is small under it, where that is special: its factor is another
        one on each day.
    """

    name: str
    family: str
    variables: tuple[str, ...] = ()
    factors: Mapping[str, float] = field(default_factory=dict)
    days: Mapping[str, int] = field(default_factory=dict)
    soil: str = SOIL
    fault: str = ""
    remedy: str = ""
    is_fitted: bool = False
    closed: float | None = None


AS_IS = Hypothesis("as it is", "as it is")

BEGIN_OF_DAY = "fluxes a day early"
"""Name of the hypothesis that says the same as: the states are those of the beginning of the day."""


@dataclass(frozen=True)
class Slip:
    """A unit that was taken for another one.

    Parameters
    ----------
    unit
        What the values are in: what ``--unit`` should have said.
    taken_for
        What they were taken for.
    words
        The same in words; otherwise the two units are named.
    """

    unit: str
    taken_for: str
    words: str = ""

    def factor(self, variable: str) -> float:
        """Factor by which the values of a variable must be multiplied to be right."""
        right, wrong = (conversion(variable, unit, "slip").scale for unit in (self.unit, self.taken_for))
        return right / wrong

    def __str__(self) -> str:
        return self.words or f"{self.unit} was taken for {self.taken_for}"


FLUX_SLIPS: tuple[Slip, ...] = (
    Slip("mm", "m"),
    Slip("m", "mm"),
    Slip("mm h-1", "mm d-1", "the mean amount of an hour was taken for the total of the day"),
    Slip("mm d-1", "mm h-1", "the total of the day was taken for an amount per hour"),
    Slip("kg m-2 s-1", "mm d-1", "a rate per second was taken for the total of the day"),
    Slip("mm d-1", "kg m-2 s-1", "the total of the day was taken for a rate per second"),
    Slip("kg m-2 s-1", "mm h-1", "a rate per second was taken for one per hour"),
    Slip("mm h-1", "kg m-2 s-1", "an amount per hour was taken for a rate per second"),
    Slip("kg m-2 s-1", "m d-1"),
    Slip("m d-1", "kg m-2 s-1"),
    Slip("mm h-1", "m d-1"),
    Slip("m d-1", "mm h-1"),
    Slip("m h-1", "mm d-1"),
    Slip("mm d-1", "m h-1"),
    Slip("m s-1", "mm d-1"),
    Slip("mm d-1", "m s-1"),
)
"""Units of a flux of water that are mistaken for each other, each pair with another factor, the most common first."""

SNOW_SLIPS: tuple[Slip, ...] = (Slip("mm", "m"), Slip("m", "mm"), Slip("cm", "m"), Slip("m", "cm"))
"""The same for the water in the snow."""

_NEAR = 1.25

CLOSED_IN_THE_MEAN = 0.60
"""Limit for values that were added up since midnight and summed: their factor is another one on each day."""

_SINCE_MIDNIGHT: Mapping[str, tuple[float, float, str]] = {
    "summed": (1 / 12.5, CLOSED_IN_THE_MEAN, "summed over the hours of the day"),
    "averaged": (24 / 12.5, 0.40, "averaged over the hours of the day"),
}
"""How accumulations since midnight are resampled wrongly: factor that mends it on the whole, limit, in words.

What falls evenly over a day counts 12.5 times in a sum of the values of its hours, and a half in their mean.
"""

_ANEW = (
    "aggregate the hours again: of values accumulated since midnight that at 00 UTC of the next day is the total of "
    "the day, and so is the sum of the differences from hour to hour"
)

_LEVELS: Mapping[float, str] = {
    1e-2: "their thickness is given in cm, or swvl in %",
    1e2: "their thickness was divided by 100 once too often",
    1e-3: "their thickness is given in mm",
    1e3: "their thickness was divided by 1000 once too often",
}
"""What the soil water of all layers must be multiplied by -> how that comes about."""


def hypotheses(terms: Terms) -> list[Hypothesis]:
    """Every named hypothesis on the terms of a cube, the most common slips first, and the rivals of all."""
    return [AS_IS, *(made for make in HYPOTHESES.values() for made in make(terms))]


def times(factor: float) -> str:
    """A factor in words: ``24 times too small``, ``1000 times too large``."""
    size = factor if factor >= 1 else 1 / factor
    return f"{_short(size)} times too {'small' if factor >= 1 else 'large'}"


def is_known(term: str, factor: float) -> bool:
    """Whether a factor is near to one that a known slip has, so that there is no need to fit it."""
    if term == SOIL:
        known = [*_LEVELS, *(1 / one for one, _, _ in _SINCE_MIDNIGHT.values())]
    else:
        known = [slip.factor(SNOW if term == SNOW else "tp") for slip in (SNOW_SLIPS if term == SNOW else FLUX_SLIPS)]
        known += [
            one for how, (one, _, _) in _SINCE_MIDNIGHT.items() if term == "all" or (term != SNOW and how == "summed")
        ]
    return any(1 / _NEAR < factor / one < _NEAR for one in known)


def fitted(term: str, factor: float, terms: Terms) -> Hypothesis:
    """A term that is wrong by a factor which no habit explains; ``all`` stands for all fluxes."""
    name = f"{term} is about {times(factor)}"
    if term == "all":
        return Hypothesis(
            "all fluxes, a fitted factor",
            "level",
            terms.fluxes,
            dict.fromkeys(terms.fluxes, factor),
            fault=f"the fluxes are about {times(factor)} against the stores",
            remedy=_fitted_remedy("flux", factor),
            is_fitted=True,
        )
    kind = {SNOW: "snow", SOIL: "soil"}.get(term, "flux" if term in terms.fluxes else "layer")
    return Hypothesis(
        f"{term}, a fitted factor",
        "level" if term == SOIL else term,
        terms.layers if term == SOIL else (term,),
        {term: factor},
        fault=name if term != SOIL else f"soil water is about {times(factor)}",
        remedy=_fitted_remedy(kind, factor),
        is_fitted=True,
    )


def _fitted_remedy(kind: str, factor: float) -> str:
    if kind == "snow" and 1 / 12 < factor < 0.8:
        return "this may be snow depth: use snow water equivalent"
    if kind == "flux" and 1 / 20 <= factor <= 1 / 8:
        return f"they may have been summed as if hourly: {_ANEW}"
    if kind == "flux" and 1.8 <= factor <= 2.1:
        return f"they may have been averaged: {_ANEW}"
    if kind == "flux" and factor > 1:
        return "no unit error has this factor; a part of the flux may be missing: check its components"
    if kind == "layer":
        return "no unit error has this factor: check the thickness of the layer"
    return "no unit error has this factor: check its components and its unit"


def _signs(terms: Terms) -> Iterator[Hypothesis]:
    for name in terms.fluxes:
        how = "in soilcast evapotranspiration is positive upward" if name == "e" else "in soilcast it is positive"
        yield Hypothesis(
            f"{name}: sign",
            name,
            (name,),
            {name: -1.0},
            fault=f"{name} has the opposite sign",
            remedy=f"{how}: --flip-sign {name}, or in a mapping write sign: -1 for {name} or remove it",
        )


def _flux_units(terms: Terms) -> Iterator[Hypothesis]:
    for name in terms.fluxes:
        for slip in FLUX_SLIPS:
            factor = slip.factor(name)
            for sign, turned, turn in ((1.0, "", ""), (-1.0, "sign and ", f", and flip the sign of {name}")):
                yield Hypothesis(
                    f"{name}: {turned}{times(factor)}",
                    name,
                    (name,),
                    {name: sign * factor},
                    fault=f"{name} is {times(factor)}{' and has the opposite sign' if turned else ''} ({slip})",
                    remedy=_unit(name, slip.unit) + turn,
                )


def _resampled(terms: Terms) -> Iterator[Hypothesis]:
    for how, (factor, closed, words) in _SINCE_MIDNIGHT.items():
        # The half of a single flux may as well be a part of it that is missing.
        for names in (terms.fluxes, *((name,) for name in terms.fluxes if how == "summed")):
            is_all = len(names) > 1
            yield Hypothesis(
                f"{'all fluxes' if is_all else names[0]}: {how} since midnight",
                "level" if is_all else names[0],
                names,
                dict.fromkeys(names, factor),
                fault=(
                    f"{'all fluxes (' if is_all else ''}{', '.join(names)}{') are' if is_all else ' is'} about "
                    f"{times(factor)}, as if accumulated since midnight and then {words}"
                ),
                remedy=_ANEW,
                closed=closed,
            )


def _level(terms: Terms) -> Iterator[Hypothesis]:
    for slip in FLUX_SLIPS:
        factor = slip.factor("tp")
        yield Hypothesis(
            f"all fluxes: {times(factor)}",
            "level",
            terms.fluxes,
            dict.fromkeys(terms.fluxes, factor),
            fault=f"all fluxes ({', '.join(terms.fluxes)}) are {times(factor)} against the stores ({slip})",
            remedy=" ".join(_unit(name, slip.unit) for name in terms.fluxes),
        )


def _days(terms: Terms) -> Iterator[Hypothesis]:
    yield Hypothesis(
        BEGIN_OF_DAY,
        "days",
        terms.fluxes,
        days=dict.fromkeys(terms.fluxes, 1),
        fault=(
            "all fluxes are dated a day too early, or the states are those of the beginning of the day (both look the "
            "same)"
        ),
        remedy="date the fluxes by the day in which they occurred; of states at 00 UTC use those of the next day",
    )
    yield Hypothesis(
        "fluxes a day late",
        "days",
        terms.fluxes,
        days=dict.fromkeys(terms.fluxes, -1),
        fault="all fluxes are dated a day too late",
        remedy="an amount that ends at 00 UTC belongs to the day before: date the fluxes by the day in which they "
        "occurred",
    )
    for name in terms.fluxes:
        for shift, word in ((1, "early"), (-1, "late")):
            yield Hypothesis(
                f"{name}: a day {word}",
                f"{name} day",
                (name,),
                days={name: shift},
                fault=f"{name} is dated a day too {word}, the other fluxes are not",
                remedy=f"an amount that ends at 00 UTC belongs to the day before: date {name} by the day in which it "
                "occurred",
            )


def _snow(terms: Terms) -> Iterator[Hypothesis]:
    for slip in SNOW_SLIPS if terms.snow else ():
        factor = slip.factor(SNOW)
        yield Hypothesis(
            f"sd: {times(factor)}",
            SNOW,
            (SNOW,),
            {SNOW: factor},
            fault=f"sd is {times(factor)} ({slip})",
            remedy=_unit(SNOW, slip.unit),
        )


def _soil(terms: Terms) -> Iterator[Hypothesis]:
    named = ", ".join(terms.layers)
    yield Hypothesis(
        "soil: a depth of water",
        "level",
        terms.layers,
        soil=SOIL_AS_DEPTH,
        fault=f"{named} hold depths of water [m], not volume fractions",
        remedy=f"--unit {terms.layers[0]}=m (and so on), which divides them by the thickness",
    )
    yield Hypothesis(
        "soil: divided by the thickness twice",
        "level",
        terms.layers,
        soil=SOIL_DIVIDED_TWICE,
        fault=f"{named} were divided by the thickness of the layers twice",
        remedy=f"they are volume fractions already: --unit {terms.layers[0]}='m3 m-3' (and so on)",
    )
    for factor, cause in _LEVELS.items():
        yield Hypothesis(
            f"soil: {times(factor)}",
            "level",
            terms.layers,
            {SOIL: factor},
            fault=f"the water in {named} is {times(factor)} against the fluxes ({cause})",
            remedy=(
                "specify the unit of all fluxes and of snow (--unit tp=UNIT and so on) if these are wrong, or that of "
                "the thickness in the mapping, and --unit of swvl"
            ),
        )


def _rivals(terms: Terms) -> Iterator[Hypothesis]:
    # If the balance closes as well without a term, then nothing can be said of the term's size.
    for name in (*terms.fluxes, *terms.stores):
        yield Hypothesis(f"without {name}", f"without {name}", factors={name: 0.0})


HYPOTHESES = {
    "signs": _signs,
    "units of a flux": _flux_units,
    "resampled by the wrong rule": _resampled,
    "units of snow": _snow,
    "units of soil water": _soil,
    "units of all fluxes": _level,
    "days": _days,
    "rivals": _rivals,
}
"""Kind of fault -> its hypotheses for the terms of a cube; of two that fit alike, the earlier one is believed."""


def _unit(name: str, unit: str) -> str:
    return f"--unit {name}={unit}" if " " not in unit else f"--unit {name}='{unit}'"


def _short(number: float) -> str:
    return f"{number:,.0f}".replace(",", " ") if number >= 100 else f"{number:.3g}"
