"""What the networks of a run say of windows, all together: a centre, and quantiles of the error around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from soilcast.models.members import Members
from soilcast.models.passes import PRODUCTS, make_pass
from soilcast.models.pooling import pool_quantiles
from soilcast.training.config import Config
from soilcast.training.outlook_loss import distribution_of
from soilcast.training.run import seed_of


@dataclass(frozen=True)
class Prediction:
    """Of every sample, day ahead and layer.

    Parameters
    ----------
    centre
        Normalised soil moisture ``(sample, lead, layer)`` float32.
    errors
        Quantiles of observed less centre, in units in which persistence errs by 1,
        ``(sample, lead, layer, level)`` float32; before calibration.
    """

    centre: Tensor
    errors: Tensor


class Predictor:
    """Forecasts with all members of an ensemble, with dropout as often as the config draws it, and pools what they say.

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
    """

    def __init__(
        self, networks: Sequence[nn.Module], config: Config, device: torch.device, precision: str = "float32"
    ) -> None:
        self._members = Members([network.to(device).eval() for network in networks])
        self._passing = make_pass(self._members, PRODUCTS[precision])
        self._distribution = distribution_of(config)
        self._levels = np.asarray(config.outlook.levels)
        self._draws = config.outlook.dropout_draws
        self._seed = config.train.seed
        self._device = device

    def __call__(self, windows: Tensor, sharpness: Tensor, *number: int) -> Prediction:
        """Forecast.

        Parameters
        ----------
        windows
            ``(weather, step, sample, feature)``: one, or one for each member of an ensemble of weather forecasts.
        sharpness
            ``(sample, lead, layer)``, see `soilcast.training.outlook_samples.OutlookTargets`.
        number
            Which windows these are: draws of dropout come from the seed and from it alone.
        """
        windows = windows.to(self._device)
        said = torch.cat([self._said(one, number) for one in windows]).cpu()
        raw = said[..., 1 : 1 + self._distribution.parameters]
        begins = said[..., 0]
        centre = (begins + self._distribution.mean(raw) / sharpness).mean(dim=0)
        if not len(self._levels):
            return Prediction(centre, centre.new_zeros(*centre.shape, 0))
        around = self._distribution.quantiles(raw, self._levels) + ((begins - centre) * sharpness).unsqueeze(-1)
        if len(around) == 1:
            return Prediction(centre, around[0])
        return Prediction(centre, torch.from_numpy(pool_quantiles(around.numpy(), self._levels)))

    def _said(self, windows: Tensor, number: tuple[int, ...]) -> Tensor:
        """What all members say of one weather, each as often as dropout is drawn, ``(said, sample, ...)``."""
        each = windows.expand(len(self._members.networks), *windows.shape)
        if not self._draws:
            return self._passing.infer(each)
        drawn = []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(self._seed, *number))
            self._drop(True)
            drawn = [self._passing.infer(each) for _ in range(self._draws)]
            self._drop(False)
        return torch.cat(drawn)

    def _drop(self, dropping: bool) -> None:
        """Let dropout alone act as in training."""
        for network in self._members.networks:
            for module in network.modules():
                if isinstance(module, nn.Dropout):
                    module.train(dropping)
