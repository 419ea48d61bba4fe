"""How the leads of a forecast depend on each other: an empirical copula of the validation errors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from soilcast.products.indices import distribution_at

MOST_TEMPLATES = 500
"""Validation cell-days of a copula: a probability from so many is exact to 0.001, and scatters by 0.02 at most."""


def rank_templates(
    errors: npt.NDArray[np.floating],
    quantiles: npt.NDArray[np.floating],
    levels: npt.NDArray[np.float64],
    seed: int,
    most: int = MOST_TEMPLATES,
) -> npt.NDArray[np.float32]:
    """Ranks of what was observed among its forecasts, of some validation cell-days, lead by lead.

    The probability integral transform of an observation is the level of its predictive distribution that it lies at.
    Its ranks at each lead, kept together by cell-day, are a sample of the copula between leads and layers (the template
    of the Schaake shuffle, Clark et al. 2004, and of ensemble copula coupling, Schefzik et al. 2013,
    doi:10.1214/13-STS443). Ranks of errors instead would hold that leads go together where only the width of the
    distribution does, from cell to cell.

    Parameters
    ----------
    errors
        ``(sample, lead, layer)``, observed less centre; NaN where unknown.
    quantiles
        ``(sample, lead, layer, level)``, calibrated quantiles of the errors.
    levels
        ``(level,)``, increasing, between 0 and 1.
    seed
        Of the choice among the cell-days that are known at all leads and layers, if these are more than ``most``.

    Returns
    -------
    ``(template, lead, layer)``, (rank - 1/2) / template in 0 .. 1; no template where no cell-day is known at all leads
    and layers, or of a single level, which makes no distribution.
    """
    if len(levels) < 2:
        return np.empty((0, *errors.shape[1:]), dtype=np.float32)
    complete = np.flatnonzero(np.isfinite(errors).all(axis=(1, 2)) & np.isfinite(quantiles).all(axis=(1, 2, 3)))
    chosen = np.random.default_rng([seed, len(complete)]).permutation(complete)[:most]
    transform = distribution_at(quantiles[chosen], levels, errors[chosen])
    # Values that are equal are ranked in the order of the choice, the same at all leads.
    rank = transform.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    templates: npt.NDArray[np.float32] = ((rank + 0.5) / max(len(chosen), 1)).astype(np.float32)
    return templates
