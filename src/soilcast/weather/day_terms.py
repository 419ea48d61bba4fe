"""A day of a forecast as a weighted sum of its fields: means of instants, differences and sums of amounts."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soilcast.weather.step_fields import DAY, Sample

LONGEST_STEP = 12
"""Hours between instants from which a daily mean is made, at most: day and night both count."""

Terms = tuple[tuple[Sample, float], ...]
"""Fields and their weights."""


@dataclass(frozen=True)
class Lacking:
    """Why a day cannot be made, in words."""

    why: str


class DayMaker:
    """Finds the terms of the days of one variable, of one run and member.

    Amounts and means over times that have a length are the edges of a graph whose nodes are their ends: the total of a
    day is the sum along the shortest way from its begin to its end, an edge that is gone against its direction counting
    negative. So amounts since the start of the forecast become differences, those of single steps and of buckets (0-3,
    0-6, 6-9, 6-12 h) sums of as few as will do, whatever lies beside each other. An instant stands for the time up to
    the next one.

    Parameters
    ----------
    samples
        Of one run and member.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._edges: dict[int, list[tuple[int, Sample, float]]] = {}
        for one in samples:
            if not one.is_instant:
                self._edges.setdefault(one.start, []).append((one.end, one, 1.0))
                self._edges.setdefault(one.end, []).append((one.start, one, -1.0))
        instants = {one.end: one for one in samples if one.is_instant}
        self._hours = sorted(instants)
        self._instants = instants
        gaps = np.diff(self._hours)
        # Steps become longer with lead and never shorter: one that is followed by a shorter one lacks a step.
        self._shortest_later = np.minimum.accumulate(gaps[::-1])[::-1] if len(gaps) else gaps
        self._gaps = gaps

    def terms(self, begin: int) -> Terms | Lacking:
        """Terms of the day that begins at an hour: their weighted sum is its mean, or its total."""
        if self._edges:
            found = self._along_edges(begin, begin + DAY)
            if found is not None or not self._hours:
                return found or Lacking(self._missing_edge(begin))
        return self._of_instants(begin)

    @property
    def last(self) -> int:
        """Hour at which the last field ends."""
        return max((*self._edges, *self._hours))

    def _along_edges(self, begin: int, end: int) -> Terms | None:
        """Terms along the way of the fewest fields."""
        if begin not in self._edges or end not in self._edges:
            return None
        came: dict[int, tuple[int, Sample, float] | None] = {begin: None}
        waiting = deque([begin])
        while waiting and end not in came:
            node = waiting.popleft()
            for other, sample, sign in self._edges[node]:
                if other not in came:
                    came[other] = node, sample, sign
                    waiting.append(other)
        if end not in came:
            return None
        terms, node = [], end
        while (step := came[node]) is not None:
            node, sample, sign = step
            terms.append((sample, sign * sample.days))
        return tuple(sorted(terms, key=lambda term: term[0].end))

    def _missing_edge(self, begin: int) -> str:
        for hour in (begin, begin + DAY):
            if hour not in self._edges:
                return f"no amount or mean begins or ends at {_named(hour)}"
        return f"amounts or means between {_named(begin)} and {_named(begin + DAY)} are missing"

    def _of_instants(self, begin: int) -> Terms | Lacking:
        terms, hour = [], begin
        while hour < begin + DAY:
            position = int(np.searchsorted(self._hours, hour))
            if position == len(self._hours) or self._hours[position] != hour:
                return Lacking(f"no step at {_named(hour)}")
            gap = self._gap(position)
            if gap is None:
                return Lacking(f"no step after {_named(hour)}")
            if position < len(self._gaps) and gap > self._shortest_later[position]:
                return Lacking(f"no step at {_named(hour + int(self._shortest_later[position]))}")
            if gap > LONGEST_STEP:
                return Lacking(
                    f"instants come every {gap} hours, of which no daily mean can be made: steps of {LONGEST_STEP} "
                    "hours at most are needed"
                )
            following = min(hour + gap, begin + DAY)
            terms.append((self._instants[hour], (following - hour) / DAY))
            hour = following if following == begin + DAY else hour + gap
        return tuple(terms)

    def _gap(self, position: int) -> int | None:
        """Hours up to the next instant; after the last, as many as before it."""
        if position < len(self._gaps):
            return int(self._gaps[position])
        return int(self._gaps[-1]) if len(self._gaps) else None


def _named(hour: int) -> str:
    return f"{np.datetime64(hour, 'h')}:00"
