"""Triple collocation: the random errors of three products of one truth, from their covariances alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FEWEST_DAYS = 100
"""Days on which all three products need a value: with fewer their covariances are too uncertain."""


@dataclass(frozen=True)
class Collocation:
    """What triple collocation says of three products.

    Parameters
    ----------
    days
        Days that all three have.
    error
        Standard deviation of the random error of each, in the scale of the first ``(3,)`` [m3 m-3]; NaN where its
        variance comes out below 0.
    gain
        By how much each is multiplied to have the scale of the first ``(3,)``.
    correlation
        Of each with the unknown truth ``(3,)``; NaN likewise.
    """

    days: int
    error: npt.NDArray[np.float64]
    gain: npt.NDArray[np.float64]
    correlation: npt.NDArray[np.float64]


def collocate(
    one: npt.NDArray[np.floating], other: npt.NDArray[np.floating], third: npt.NDArray[np.floating]
) -> Collocation:
    """Estimate the random errors of three products whose errors are independent of each other and of the truth.

    With covariances Q_ij the error variance of product i is Q_ii - Q_ij Q_ik / Q_jk, its squared correlation with the
    truth Q_ij Q_ik / (Q_ii Q_jk), and its gain relative to the first product Q_1k / Q_ik.

    Parameters
    ----------
    one, other, third
        ``(day,)`` [m3 m-3].

    Returns
    -------
    NaN on fewer days than `FEWEST_DAYS`, and where a covariance is not above 0.

    References
    ----------
    Stoffelen (1998), doi:10.1029/97JC03180; McColl et al. (2014), doi:10.1002/2014GL061322; Gruber et al. (2016),
    doi:10.1016/j.jag.2015.09.002.
    """
    series = np.stack([one, other, third]).astype(np.float64)
    series = series[:, np.isfinite(series).all(axis=0)]
    unknown = np.full(3, np.nan)
    if series.shape[1] < FEWEST_DAYS:
        return Collocation(series.shape[1], unknown, unknown, unknown)
    q = np.cov(series)
    if not (q[np.triu_indices(3)] > 0).all():
        return Collocation(series.shape[1], unknown, unknown, unknown)
    explained = np.array([q[0, 1] * q[0, 2] / q[1, 2], q[0, 1] * q[1, 2] / q[0, 2], q[0, 2] * q[1, 2] / q[0, 1]])
    error = np.diag(q) - explained
    gain = np.array([1.0, q[0, 2] / q[1, 2], q[0, 1] / q[2, 1]])
    with np.errstate(invalid="ignore"):
        return Collocation(
            series.shape[1],
            np.sqrt(np.where(error >= 0, error, np.nan)) * gain,
            gain,
            np.sqrt(np.where(error >= 0, explained / np.diag(q), np.nan)),
        )
