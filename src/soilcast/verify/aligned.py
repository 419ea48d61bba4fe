"""Input of a metric: one target, lead and model of some cells, on the days that count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from soilcast.verify.deterministic import Cells, score_cells
from soilcast.verify.drought import EventForecast
from soilcast.verify.extremes import Floats, Side, extreme_days, is_extreme

Signs = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Aligned:
    """A forecast of one target, lead and model beside what was observed, of a block of cells.

    A day counts if the observation and all models have a value; on others ``observed``, ``central`` and ``mean`` are
    NaN.

    Parameters
    ----------
    observed
        ``(cell, day)`` [m3 m-3].
    central
        The central forecast, the median of the predictive distribution, ``(cell, day)`` [m3 m-3]: of all point
        forecasts it has the least absolute error.
    mean
        Mean of the predictive distribution, ``(cell, day)`` [m3 m-3], which has the least squared error (Gneiting 2011,
        doi:10.1198/jasa.2011.r10138); the central forecast of a model that gives no mean.
    previous
        Soil moisture of the day before, ``(cell, day)`` [m3 m-3], NaN where missing: at lead 1 what was observed, as in
        Eq. 19; further ahead the mean that the same forecast has for it.
    driest, wettest
        Highest value of the cell's driest observed test days and lowest of its wettest, ``(cell, 1)`` [m3 m-3].
    quantiles
        ``(cell, day, quantile)`` [m3 m-3]; None of a model that has none.
    levels
        Of each quantile, ascending.
    signs
        Reading of the water balance -> which way it moves, dW_t ``(cell, day)``; under ``NAME_masked`` on the days
        alone that Eq. 13 keeps.
    reference
        Persistence on the same days; None of persistence itself.
    class_events, within_events
        Give `classes` and `within`; None of a model without these probabilities.
    """

    observed: Floats
    central: Floats
    mean: Floats
    previous: Floats
    driest: Floats
    wettest: Floats
    quantiles: Floats | None = None
    levels: tuple[float, ...] = ()
    signs: Mapping[str, Signs] = field(default_factory=dict)
    reference: Aligned | None = None
    class_events: Callable[[], EventForecast] | None = None
    within_events: Callable[[], EventForecast] | None = None

    @cached_property
    def moments(self) -> dict[str, Cells]:
        """R, RMSE, ubRMSE, bias, R2, both KGE and days of the mean: see `score_cells`."""
        return score_cells(self.observed, self.mean)

    @cached_property
    def absolute_error(self) -> npt.NDArray[np.float64]:
        """Of the median, ``(cell, day)`` [m3 m-3]; NaN on days that do not count."""
        return np.asarray(np.abs(self.central.astype(np.float64) - self.observed))

    @cached_property
    def forecast_extremes(self) -> tuple[Floats, Floats]:
        """Limits of the days that the model forecasts as its driest and wettest ``(cell, 1)``: see `extreme_days`."""
        return extreme_days(self.mean)

    @property
    def moves(self) -> npt.NDArray[np.bool_]:
        """Whether the observations move ``(cell,)``: where R2 is defined."""
        return np.isfinite(self.moments["r2"])

    @cached_property
    def classes(self) -> EventForecast:
        """Probabilities of the drought classes, of a model whose metric needs ``climate``."""
        assert self.class_events is not None
        return self.class_events()

    @cached_property
    def within(self) -> EventForecast:
        """Probability that it is dry at least once up to the lead, of a model whose metric needs ``templates``."""
        assert self.within_events is not None
        return self.within_events()

    def is_extreme(self, side: Side) -> npt.NDArray[np.bool_]:
        """Whether the observation is among the cell's driest or wettest, ``(cell, day)``."""
        return is_extreme(self.observed, (self.driest, self.wettest), side)

    @property
    def reference_rmse(self) -> Cells:
        """RMSE of persistence ``(cell,)`` [m3 m-3]."""
        return (self.reference or self).moments["rmse"]
