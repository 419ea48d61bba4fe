"""What the networks of a run forecast from windows, all together, and how that is calibrated on validation days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from soilcast.cube.calendar import Days
from soilcast.cube.check import SMALLEST_ERROR
from soilcast.models import ClosingHead, Network
from soilcast.models.backends import PRODUCTS, make_backend, takes_sequences
from soilcast.models.members import Members
from soilcast.models.pooling import pool_quantiles
from soilcast.products.indices import distribution_at, with_median
from soilcast.training.build import distribution_of
from soilcast.training.calibration_groups import season_of
from soilcast.training.config import Config
from soilcast.training.conformal import Calibration, calibrate
from soilcast.training.copula import CellRanks, day_ranks, rank_templates, shared_days
from soilcast.training.dataset import Dataset
from soilcast.training.dropout import DropoutMask
from soilcast.training.losses import Targets
from soilcast.training.run import Run
from soilcast.training.samples import SampleIndices, fixed_sample, map_tensors

_AT_ONCE = 1024


@dataclass(frozen=True)
class PredictiveQuantiles:
    """Of every sample, lead and layer.

    Parameters
    ----------
    centre
        Mean of the predictive distribution, normalised soil moisture ``(sample, lead, layer)`` float32.
    errors
        Quantiles of observed less centre, in the space of the loss, ``(sample, lead, layer, quantile)`` float32; before
        calibration.
    """

    centre: Tensor
    errors: Tensor


class Predictor:
    """Forecasts of all members of an ensemble, of as many Monte Carlo dropout samples as the config asks for, pooled.

    Parameters
    ----------
    networks
        The members.
    config
        Of the run.
    device
        Where to.
    precision
        ``float32``, or ``bfloat16`` for the matrix products.

    Attributes
    ----------
    levels
        Of the quantiles ``(quantile,)``: those that the config asks for, and the median; none if it asks for none.
    median
        Its position among them; -1 without quantiles.
    """

    def __init__(
        self, networks: Sequence[Network], config: Config, device: torch.device, precision: str = "float32"
    ) -> None:
        members = Members([network.to(device).eval() for network in networks])
        self._networks = members.networks
        self._backend = make_backend(members, PRODUCTS[precision])
        self._config, self._device, self._count = config, device, len(networks)
        self._mask_shape = networks[0].mask_shape
        self._distribution = distribution_of(config)
        self.closes = isinstance(networks[0].head, ClosingHead)
        self.levels, self.median = with_median(config.task.quantiles) if config.task.quantiles else (np.empty(0), -1)
        self.takes_sequences = takes_sequences(networks[0]) and not config.network.mc_dropout

    def from_windows(self, windows: Tensor, error_scale: Tensor | None, *number: int) -> PredictiveQuantiles:
        """Forecast from windows.

        Parameters
        ----------
        windows
            ``(weather, step, sample, feature)``: one, or one for each member of an ensemble of weather forecasts.
        error_scale
            ``(sample, lead, layer)``, see `soilcast.training.losses.Targets`; None for 1.
        number
            Which windows these are: Monte Carlo dropout depends on the seed and on it alone.
        """
        windows = windows.to(self._device)
        return self._pooled(torch.cat([self._sampled(one, number) for one in windows]).cpu(), error_scale)

    def from_sequences(self, sequences: Tensor, error_scale: Tensor | None) -> PredictiveQuantiles:
        """Forecast from every window of sequences ``(cell, day, feature)``, cell by cell and day by day.

        ``error_scale`` is ``(cell, lead, layer)`` or None.
        """
        output = self._backend.predict_windows(sequences, self._config.task.window)
        windows = output.shape[2]
        scale = None if error_scale is None else error_scale.repeat_interleave(windows, dim=0)
        return self._pooled(output.flatten(1, 2).cpu(), scale)

    def closure_residual(self, windows: Tensor) -> float:
        """Give the largest residual [m] of the water balance that the head closes; windows as of `from_windows`."""
        with torch.inference_mode():
            pairs = [(network, one.transpose(0, 1)) for network in self._networks for one in windows.to(self._device)]
            return max(float(network.closure_residual(window)) for network, window in pairs)

    def _sampled(self, windows: Tensor, number: tuple[int, ...]) -> Tensor:
        """Give the forecasts of all members, each as often as dropout is sampled, ``(draw, sample, ...)``."""
        each = windows.expand(self._count, *windows.shape)
        config = self._config
        if not config.network.mc_dropout:
            return self._backend.infer(each)
        seeds = [config.train.seed + member for member in range(self._count)]
        mask = DropoutMask(config.network.dropout, self._mask_shape, seeds, *number, 3)
        drawn = []
        for _ in range(config.network.mc_dropout):
            one = mask.draw(windows.shape[1])
            drawn.append(self._backend.infer(each, None if one is None else one.to(self._device)))
        return torch.cat(drawn)

    def _pooled(self, output: Tensor, error_scale: Tensor | None) -> PredictiveQuantiles:
        raw, level = output[..., 1 : 1 + self._distribution.parameters], output[..., 0]
        scale = 1.0 if error_scale is None else error_scale
        if self._distribution.parameters:
            centre = (level + self._distribution.mean(raw) / scale).mean(dim=0)
        else:
            centre = level.mean(dim=0)
        if not len(self.levels):
            return PredictiveQuantiles(centre, centre.new_zeros(*centre.shape, 0))
        around = self._distribution.quantiles(raw, self.levels) + ((level - centre) * scale).unsqueeze(-1)
        if len(around) == 1:
            return PredictiveQuantiles(centre, around[0])
        return PredictiveQuantiles(centre, torch.from_numpy(pool_quantiles(around.numpy(), self.levels)))


def calibrated(run: Run, climate: npt.NDArray[np.int64], days: Days, dataset: Dataset) -> Run:
    """Add the calibration to a run with quantiles.

    It is learnt on the validation sample, which chose the weights too: quantiles of the test days may be a little too
    narrow. The test days are not looked at.

    Parameters
    ----------
    climate
        ``(cell,)``, the main climate of each cell of the cube, as `soilcast.training.split.climate_groups` gives it.
    days
        Of the cube ``(time,)``.
    """
    central, parts, indices, config = [], [], _validation(run, dataset), run.config
    for targets, _, predicted in _validated(run, dataset):
        central.append(targets.error(predicted.centre).numpy())
        parts.append(predicted.errors.numpy())
    errors, quantiles = np.concatenate(central), np.concatenate(parts)
    levels, _ = with_median(config.task.quantiles)
    valid = days[dataset.first + indices.days[:, np.newaxis] + np.arange(config.task.lead_days)]
    season = season_of(valid, run.lat[indices.cells, np.newaxis])
    learnt = calibrate(errors, quantiles, levels, indices.cells, climate, season)
    rows = learnt.rows_of(indices.cells[:, np.newaxis], climate[indices.cells, np.newaxis], season)
    template = rank_templates(errors, learnt.apply(quantiles, rows), learnt.levels, config.train.seed)
    whole = replace(learnt, template=template)
    return replace(run, calibration=whole, cell_ranks=_cell_ranks(run, whole, climate, days, dataset))


def _cell_ranks(
    run: Run, calibration: Calibration, climate: npt.NDArray[np.int64], days: Days, dataset: Dataset
) -> CellRanks | None:
    """Rank what was observed on validation days that the cells share among its forecasts; None where it cannot be."""
    usable, config, levels = dataset.validation.usable, run.config, calibration.levels
    passes = len(run.networks) * max(1, config.network.mc_dropout)
    shared = shared_days(usable, passes * (config.task.window + config.task.lead_days))
    if len(levels) < 2 or not len(shared):
        return None
    cell, day = np.nonzero(usable[:, shared])
    indices = SampleIndices(cell, dataset.validation.first + shared[day])
    first_days = dataset.first + dataset.validation.first + shared
    transforms = np.full((*usable[:, shared].shape, *calibration.shift.shape[1:3]), np.nan, dtype=np.float32)
    ahead = np.arange(config.task.lead_days)
    start = 0
    for targets, _, predicted in _forecast(run, dataset, indices):
        part = slice(start, start := start + len(predicted.centre))
        cells = cell[part, np.newaxis]
        season = season_of(days[first_days[day[part], np.newaxis] + ahead], run.lat[cells])
        quantiles = calibration.apply(predicted.errors.numpy(), calibration.rows_of(cells, climate[cells], season))
        errors = targets.error(predicted.centre).numpy()
        transforms[cell[part], day[part]] = distribution_at(quantiles, levels, errors)
    return CellRanks(days[first_days - 1].astype("datetime64[D]"), day_ranks(transforms))


def shrinkage(run: Run, dataset: Dataset) -> npt.NDArray[np.float64]:
    """Share of the departures from the damped anomaly that validation days confirm, ``(lead, layer)`` from 0 to 1.

    With d the departure that is forecast, o the one that is observed, it is sum(d o) / sum(d^2) within these limits: of
    all blends of the network and of the damped anomaly the one with the least squared error.
    """
    products, squares = [], []
    steps = slice(run.config.task.window - 1, None)
    for targets, windows, predicted in _validated(run, dataset):
        damped = windows[steps, :, dataset.samples.layout.channels["damped"]].swapaxes(0, 1)
        scale = 1.0 if targets.error_scale is None else targets.error_scale
        forecast, observed = (scale * (one - damped) for one in (predicted.centre, targets.observed))
        products.append(torch.nansum(forecast * observed, dim=0, dtype=torch.float64))
        squares.append(torch.nansum((forecast**2).where(observed.isfinite(), 0.0), dim=0, dtype=torch.float64))
    share = torch.stack(products).sum(dim=0) / torch.stack(squares).sum(dim=0).clamp_min(
        torch.finfo(torch.float64).tiny
    )
    return np.asarray(share.clamp(0.0, 1.0).numpy())


def validation_ratio(run: Run, dataset: Dataset, hidden: npt.NDArray[np.bool_]) -> float:
    """RMSE relative to persistence on the validation sample: median over the cells, and of that the mean over leads.

    It is the same quantity whatever the loss of the run is. Persistence is of the same cell-days.

    Parameters
    ----------
    hidden
        ``(time,)``, days of the samples whose soil moisture is not to be looked at.

    Returns
    -------
    NaN if persistence errs by less than `SMALLEST_ERROR` in every cell.
    """
    indices, task = _validation(run, dataset), run.config.task
    sums = np.zeros((3, len(dataset.learnable), task.lead_days, len(task.layers)))
    start = 0
    for targets, _, predicted in _forecast(run, dataset, indices):
        part = slice(start, start := start + len(predicted.centre))
        newest = _newest(dataset, indices.cells[part], indices.days[part], run.config, hidden)
        errors = (targets.observed - predicted.centre, targets.observed - newest[:, np.newaxis])
        own, reference = (one.numpy().astype(np.float64) for one in errors)
        both = np.isfinite(own) & np.isfinite(reference)
        for total, values in zip(sums, (own**2, reference**2, both), strict=True):
            np.add.at(total, indices.cells[part], np.where(both, values, 0.0))
    scales = [np.broadcast_to(dataset.statistics.scalings[layer].scale, len(sums[0])) for layer in task.layers]
    with np.errstate(invalid="ignore", divide="ignore"):
        own, reference = np.sqrt(sums[:2] / sums[2]) * np.stack(scales, axis=-1)[:, np.newaxis]
        ratio = own / np.where(reference >= SMALLEST_ERROR, reference, np.nan)
    medians = [np.median(one[np.isfinite(one)]) for one in ratio.reshape(len(ratio), -1).T if np.isfinite(one).any()]
    return float(np.mean(medians)) if medians else float("nan")


def _newest(
    dataset: Dataset,
    cells: npt.NDArray[np.int64],
    days: npt.NDArray[np.int64],
    config: Config,
    hidden: npt.NDArray[np.bool_],
) -> Tensor:
    """Newest soil moisture that is known where samples are issued ``(sample, layer)``; NaN where there is none."""
    observed, task = dataset.samples.observed, config.task
    columns = []
    for number, layer in enumerate(task.layers):
        newest = torch.full((len(cells),), torch.nan)
        for back in range(task.fill_days + 1):
            at = days - 1 - task.latency_of(layer) - back
            known = (at >= 0) & ~hidden[np.maximum(at, 0)]
            value = observed[torch.from_numpy(cells), torch.from_numpy(np.maximum(at, 0)), number]
            newest = torch.where(newest.isnan() & torch.from_numpy(known), value, newest)
        columns.append(newest)
    return torch.stack(columns, dim=-1)


def _validation(run: Run, dataset: Dataset) -> SampleIndices:
    config = run.config.train
    return fixed_sample(dataset.validation, config.validation_samples, config.seed)


def _validated(run: Run, dataset: Dataset) -> Iterator[tuple[Targets, Tensor, PredictiveQuantiles]]:
    """Forecast the validation sample: see `_forecast`."""
    return _forecast(run, dataset, _validation(run, dataset))


def _forecast(
    run: Run, dataset: Dataset, indices: SampleIndices
) -> Iterator[tuple[Targets, Tensor, PredictiveQuantiles]]:
    """Forecast some samples: targets, windows ``(step, sample, feature)`` and forecasts, part by part."""
    predictor = Predictor(run.networks, run.config, torch.device("cpu"))
    for number, start in enumerate(range(0, len(indices.cells), _AT_ONCE)):
        part = indices[start : start + _AT_ONCE]
        batch = dataset.samples.gather(SampleIndices(part.cells[np.newaxis], part.days[np.newaxis]))
        batch = batch.to(torch.device("cpu"))
        targets = map_tensors(batch.targets, lambda one: one[0])
        yield targets, batch.windows[0], predictor.from_windows(batch.windows, targets.error_scale, number)
