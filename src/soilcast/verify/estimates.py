"""A difference with its interval, p-value and smallest detectable size; and many of them, tested together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from soilcast.verify.metrics import METRICS

LEVEL = 0.95
POWER = 0.8
"""Probability with which a test finds a true difference as large as the smallest detectable one."""

FALSE_DISCOVERIES = 0.05
"""False discovery rate: a difference is significant where its adjusted p-value is at most so large."""

FEWEST_BLOCKS = 6
"""With fewer blocks of days than this nothing is tested: their variance is too uncertain."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A difference with its confidence interval and p-value, all of one shape.

    Parameters
    ----------
    value
        Mean over the seeds.
    low, high
        Limits of the 95 % confidence interval; NaN where the variance is not known.
    p
        p-value, of two sides, of this difference by itself; NaN likewise.
    detectable
        Smallest detectable difference: the true one that this test by itself finds, at 5 % of two sides, with a
        probability of 80 %; NaN likewise.
    """

    value: Array
    low: Array
    high: Array
    p: Array
    detectable: Array


def combine(by_seed: Array, variance_of_days: Array, blocks: int) -> Estimate:
    """Test a difference against its spread over days and over seeds.

    Both spreads add up, since another test year and other seeds would be drawn independently. The variance over days
    is that of the block bootstrap, times K / (K - 1) for K blocks; that over seeds is the sample variance over the
    number of seeds. The ratio follows Student's t with the degrees of freedom of Welch and Satterthwaite.

    Parameters
    ----------
    by_seed
        Difference on the test days as they are, ``(seed, ...)``.
    variance_of_days
        Variance over resamples of the days of the mean over the seeds, ``(...)``.
    blocks
        Number of blocks that were resampled.

    Returns
    -------
    With one seed alone the interval is of the days alone. With fewer than `FEWEST_BLOCKS` blocks nothing is tested. The
    smallest detectable difference is (t(0.975) + t(0.8)) times the standard error.

    References
    ----------
    Carlstein (1986), doi:10.1214/aos/1176350057, for the bootstrap over blocks; Satterthwaite (1946),
    doi:10.2307/3002019; Bloom (1995), doi:10.1177/0193841X9501900504, for the smallest detectable difference.
    """
    seeds = len(by_seed)
    value = np.asarray(by_seed.mean(axis=0))
    if blocks < FEWEST_BLOCKS:
        unknown = np.full_like(value, np.nan)
        return Estimate(value, unknown, unknown, unknown, unknown)
    of_days = np.asarray(variance_of_days) * blocks / (blocks - 1)
    of_seeds = by_seed.var(axis=0, ddof=1) / seeds if seeds > 1 else np.zeros_like(value)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (of_days + of_seeds) ** 2 / (of_days**2 / (blocks - 1) + of_seeds**2 / max(seeds - 1, 1))
        error = np.sqrt(of_days + of_seeds)
        p = 2 * special.stdtr(freedom, -np.abs(value) / error)
        margin = special.stdtrit(freedom, (1 + LEVEL) / 2) * error
        detectable = margin + special.stdtrit(freedom, POWER) * error
    return Estimate(value, value - margin, value + margin, np.asarray(p), np.asarray(detectable))


def adjust(p: Array) -> Array:
    """Adjust the p-values of a family of comparisons, which are read together, for how many they are.

    By Benjamini and Yekutieli: with the m p-values in ascending order p_(1) .. p_(m), that of rank i becomes the least
    of m (1 + 1/2 + .. + 1/m) p_(j) / j over all j from i on, and at most 1. Of the differences whose adjusted p-value
    is at most 5 %, at most 5 % are false on average; and where nothing differs, a family has any in at most 5 % of all
    cases. This holds however the comparisons depend on one another. The procedure of Benjamini and Hochberg, by which
    `field_test` declares cells, needs dependence of one sign, as between neighbouring cells; comparisons of one family
    share models and days in either sense, such as A against B and B against A. The procedure of Holm holds as
    generally, but controls the probability of a single false one among all, and so loses more power the more
    comparisons there are: an evaluation at ten leads has hundreds.

    Parameters
    ----------
    p
        ``(...)``; those that are NaN are not tested, and do not count.

    Returns
    -------
    ``(...)``.

    References
    ----------
    Benjamini and Yekutieli (2001), doi:10.1214/aos/1013699998.
    """
    from scipy import stats  # takes a second to import, which evaluations without tests need not wait for

    adjusted = np.full_like(p, np.nan, dtype=np.float64)
    tested = np.isfinite(p)
    if tested.any():
        adjusted[tested] = stats.false_discovery_control(p[tested], method="by")
    return adjusted


@dataclass(frozen=True)
class FieldTest:
    """A difference in each cell, tested with control of the false discovery rate.

    Parameters
    ----------
    difference
        Mean over the seeds ``(cell,)``, in the unit of the metric.
    better, worse
        ``(cell,)``, where it is significant.
    tested
        ``(cell,)``, where there is a difference to test.
    area_better, area_worse
        Share of the tested weight; NaN where nothing is tested.
    """

    difference: Array
    better: npt.NDArray[np.bool_]
    worse: npt.NDArray[np.bool_]
    tested: npt.NDArray[np.bool_]
    area_better: float
    area_worse: float

    @property
    def is_significant(self) -> bool:
        """Field significance: whether the difference is significant in any cell."""
        return bool((self.better | self.worse).any())


def gain(metric: str) -> int:
    """Sign of a difference that is better: -1 for errors, +1 for all other metrics."""
    return -1 if metric in METRICS and METRICS[metric].best == "lower" else 1


def field_test(estimate: Estimate, metric: str, area: Array) -> FieldTest:
    """Test a difference in every cell.

    Cells are declared by the procedure of Benjamini and Hochberg (1995) at a false discovery rate of 5 %: on average,
    at most so large a part of the declared cells is false, and where there is no difference anywhere, a cell is
    declared in at most 5 % of all such fields. It stays valid if neighbouring cells resemble each other (Wilks, 2016,
    doi:10.1175/BAMS-D-15-00267.1).

    Parameters
    ----------
    estimate
        Of each cell.
    metric
        Decides which sign is better.
    area
        Weight of each cell ``(cell,)``: see `soilcast.verify.summary.cell_weights`.
    """
    tested = np.isfinite(estimate.p) & (area > 0)
    declared = np.zeros(len(tested), dtype=np.bool_)
    if tested.any():
        from scipy import stats  # takes a second to import, which evaluations without tests need not wait for

        declared[tested] = stats.false_discovery_control(estimate.p[tested]) <= FALSE_DISCOVERIES
    gained = estimate.value * gain(metric)
    better, worse = declared & (gained > 0), declared & (gained < 0)
    total = area[tested].sum() if tested.any() else np.nan
    shares = (float(area[part].sum() / total) for part in (better, worse))
    return FieldTest(estimate.value, better, worse, tested, *shares)
