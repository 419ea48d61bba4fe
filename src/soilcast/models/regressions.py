"""Regressions on the inputs of a network: whether these need one at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from soilcast.errors import SoilcastError
from soilcast.models.harmonics import product
from soilcast.plugins import Registry
from soilcast.schema import nearest

if TYPE_CHECKING:
    from lightgbm import Booster

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

PENALTIES = tuple(10.0**exponent for exponent in range(-6, 1))
"""Ridge penalties to choose from, in units of the features' variance."""

MOST_TREES = 300
"""Trees of a lead and layer; fewer where the validation days gain nothing more."""

_TREES: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.5,
    "max_bin": 63,
    "seed": 0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
_ROUNDS_WITHOUT_GAIN = 20
_CONSTANT = 1e-6
_SINGULAR = 1e-12


@dataclass(frozen=True)
class RegressionSamples:
    """What a regression is fitted to.

    Parameters
    ----------
    features
        ``(sample, feature)``, normalised.
    targets
        ``(sample, lead, layer)``, normalised; NaN where missing.
    widths
        Of each lead the number of its features, which are the first ones.
    """

    features: Floats
    targets: Floats
    widths: tuple[int, ...]

    def of(self, lead: int, layer: int) -> tuple[Floats, Floats]:
        """Features and targets of a lead and layer, by position, of the samples that have the target."""
        target = self.targets[:, lead, layer]
        known = np.isfinite(target)
        return self.features[known, : self.widths[lead]], target[known]


class Regressor(Protocol):
    """``(features, lead, layer) -> target``: a fitted regression."""

    def __call__(self, features: Floats, lead: int, layer: int) -> Array:
        """Forecast the target ``(sample,)`` of a lead and layer, by position, from ``(sample, feature)``."""
        ...


Regression = Callable[[RegressionSamples, RegressionSamples], tuple[Regressor, Regressor]]
"""``(training, validation) -> (trained, refitted)``: fitted to the training samples with the setting that forecasts the
validation samples best, and fitted to both with that setting."""


@dataclass(frozen=True)
class LinearModel:
    """Linear models of each lead and layer.

    Parameters
    ----------
    coefficients
        ``(lead, layer, feature)``, 0 of features that a lead does not have.
    intercept
        ``(lead, layer)``.
    """

    coefficients: Array
    intercept: Array

    def __call__(self, features: Floats, lead: int, layer: int) -> Array:
        """See `Regressor`."""
        sums = product(features.astype(np.float64), self.coefficients[lead, layer, :, np.newaxis])
        return np.asarray(sums[:, 0] + self.intercept[lead, layer])


def linear_regression(training: RegressionSamples, validation: RegressionSamples) -> tuple[Regressor, Regressor]:
    """Fit ridge regressions in closed form, whose penalties have the least squared error on the validation samples."""
    _, leads, layers = training.targets.shape
    shape = (leads, layers, training.features.shape[1])
    models = LinearModel(np.zeros(shape), np.zeros(shape[:2])), LinearModel(np.zeros(shape), np.zeros(shape[:2]))
    of_training, of_validation = _Sums(training), _Sums(validation)
    for lead in range(leads):
        for layer in range(layers):
            fitted, held_out = of_training.of(lead, layer), of_validation.of(lead, layer)
            solutions = ridge(*fitted, PENALTIES)
            best = int(np.argmin([_squared_error(one, *held_out) for one in solutions]))
            both = fitted[0] + held_out[0], fitted[1] + held_out[1]
            chosen = (solutions[best], ridge(*both, PENALTIES[best : best + 1])[0])
            for model, solution in zip(models, chosen, strict=True):
                model.intercept[lead, layer] = solution[0]
                model.coefficients[lead, layer, : len(solution) - 1] = solution[1:]
    return models


def ridge(gram: Array, products: Array, penalties: tuple[float, ...]) -> list[Array]:
    """Minimise |y - a - X b|^2 / n + penalty |S b|^2, S the standard deviations of the features.

    Parameters
    ----------
    gram, products
        A'A ``(1 + feature, 1 + feature)`` and A'y ``(1 + feature,)`` of A = [1, X]; without any sample the solution is
        NaN.
    penalties
        Each of them is solved for.

    Returns
    -------
    (a, b) ``(1 + feature,)`` of each penalty, b = 0 of features that do not vary.
    """
    if not gram[0, 0]:
        return [np.full(len(gram), np.nan)] * len(penalties)
    mean, level = gram[0, 1:] / gram[0, 0], products[0] / gram[0, 0]
    covariance = gram[1:, 1:] / gram[0, 0] - np.outer(mean, mean)
    spread = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > _CONSTANT)
    values, vectors = np.linalg.eigh(covariance * np.outer(scale, scale))
    along = vectors.T @ ((products[1:] / gram[0, 0] - mean * level) * scale)
    solutions = []
    for penalty in penalties:
        damped = values + penalty
        slopes = scale * (vectors @ np.divide(along, damped, out=np.zeros_like(along), where=damped > _SINGULAR))
        solutions.append(np.concatenate([[level - mean @ slopes], slopes]))
    return solutions


class _Sums:
    """A'A and A'y of A = [1, X], of which samples with all targets are summed once for all leads and layers."""

    def __init__(self, samples: RegressionSamples) -> None:
        self._samples = samples
        self._complete = np.isfinite(samples.targets).all(axis=(1, 2))
        targets = samples.targets[self._complete].astype(np.float64)
        columns = targets.shape[1] * targets.shape[2]
        self._gram, flat = _cross_products(samples.features[self._complete], targets.reshape(len(targets), columns))
        self._products = flat.reshape(-1, *samples.targets.shape[1:])

    def of(self, lead: int, layer: int) -> tuple[Array, Array]:
        """A'A and A'y of a lead and layer."""
        samples, width = self._samples, self._samples.widths[lead]
        target = samples.targets[:, lead, layer]
        others = np.isfinite(target) & ~self._complete
        gram, products = _cross_products(samples.features[others, :width], target[others, np.newaxis])
        used = slice(1 + width)
        return gram + self._gram[used, used], products[:, 0] + self._products[used, lead, layer]


def _cross_products(features: Floats, targets: npt.NDArray[np.floating]) -> tuple[Array, Array]:
    """A'A and A'y of A = [1, X] in float64, some samples at a time."""
    size = 1 + features.shape[1]
    gram, products = np.zeros((size, size)), np.zeros((size, targets.shape[1]))
    for start in range(0, len(features), 8192):
        part = slice(start, start + 8192)
        design = np.concatenate([np.ones((len(features[part]), 1)), features[part]], axis=1, dtype=np.float64)
        gram += design.T @ design
        products += design.T @ targets[part].astype(np.float64)
    return gram, products


def _squared_error(solution: Array, gram: Array, products: Array) -> float:
    """Sum of squared errors less that of the squared targets."""
    return float(solution @ gram @ solution - 2 * solution @ products)


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient-boosted trees of each lead and layer; None where there was no sample."""

    boosters: tuple[tuple[Booster | None, ...], ...]
    widths: tuple[int, ...]

    def __call__(self, features: Floats, lead: int, layer: int) -> Array:
        """See `Regressor`."""
        booster = self.boosters[lead][layer]
        if booster is None or not len(features):
            return np.full(len(features), np.nan)
        known = features[:, : self.widths[lead]]
        return np.asarray(booster.predict(known, num_threads=1), dtype=np.float64)


def boosted_trees(training: RegressionSamples, validation: RegressionSamples) -> tuple[Regressor, Regressor]:
    """Fit LightGBM's trees, as many as lower the squared error on the validation samples.

    Raises
    ------
    SoilcastError
        LightGBM is not installed.
    """
    try:
        import lightgbm
    except ImportError as error:
        raise SoilcastError("boosted trees need an extra: install it with pip install 'soilcast[baselines]'") from error

    def fit(lead: int, layer: int) -> tuple[Booster | None, Booster | None]:
        features, target = training.of(lead, layer)
        held_out, held_out_target = validation.of(lead, layer)
        if not len(target):
            return None, None
        data = lightgbm.Dataset(features, target, params=_TREES)
        if not len(held_out_target):
            trained = lightgbm.train(_TREES, data, MOST_TREES)
            return trained, trained
        trained = lightgbm.train(
            _TREES,
            data,
            MOST_TREES,
            valid_sets=[lightgbm.Dataset(held_out, held_out_target, reference=data)],
            callbacks=[lightgbm.early_stopping(_ROUNDS_WITHOUT_GAIN, verbose=False)],
        )
        both = lightgbm.Dataset(
            np.concatenate([features, held_out]), np.concatenate([target, held_out_target]), params=_TREES
        )
        return trained, lightgbm.train(_TREES, both, trained.best_iteration)

    _, leads, layers = training.targets.shape
    fitted = [[fit(lead, layer) for layer in range(layers)] for lead in range(leads)]
    trained, refitted = (
        BoostedTrees(tuple(tuple(pair[number] for pair in row) for row in fitted), training.widths) for number in (0, 1)
    )
    return trained, refitted


REGRESSIONS: Registry[Regression] = Registry(
    "regression", {"linear regression": linear_regression, "boosted trees": boosted_trees}
)
"""Every regression that can be a baseline, by the name that tables show."""


def refuse_unusable(names: Iterable[str]) -> None:
    """Raise `SoilcastError` if there is no regression of a name, or what it needs is not installed."""
    nothing = RegressionSamples(np.empty((0, 1), np.float32), np.empty((0, 1, 1), np.float32), (1,))
    for name in names:
        if name not in REGRESSIONS:
            raise SoilcastError(f"no baseline {name} to ask for: {nearest(name, REGRESSIONS)}")
        REGRESSIONS[name](nothing, nothing)
