"""The calibration of a run of outlooks: its quantiles held against what came, on the validation days."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import xarray as xr

from soilcast.training.calibration import calibrate
from soilcast.training.dataset import Dataset
from soilcast.training.groups import GROUPS, climate_groups
from soilcast.training.outlook_samples import OutlookSamples, OutlookTargets
from soilcast.training.predictive import Predictor
from soilcast.training.run import Run
from soilcast.training.samples import Draw, fixed_sample

_AT_ONCE = 1024


def calibrated(run: Run, cube: xr.Dataset, dataset: Dataset) -> Run:
    """Add the calibration to a run of outlooks with quantiles; others are given back as they are.

    It is learnt on the validation sample, which chose the weights too: quantiles of the test days may be a little too
    narrow. The test days are not looked at.
    """
    samples = dataset.samples
    config = run.config
    if not isinstance(samples, OutlookSamples) or not config.outlook.levels:
        return run
    draw = fixed_sample(dataset.validation, config.train.validation_samples, config.train.seed)
    predict = Predictor(run.networks, config, torch.device("cpu"))
    errors, quantiles = [], []
    for number, start in enumerate(range(0, len(draw.cells), _AT_ONCE)):
        part = draw[start : start + _AT_ONCE]
        batch = samples.gather(Draw(part.cells[np.newaxis], part.days[np.newaxis])).to(torch.device("cpu"))
        targets = batch.targets
        assert isinstance(targets, OutlookTargets)
        said = predict(batch.windows, targets.sharpness[0], number)
        errors.append(((targets.observed[0] - said.centre) * targets.sharpness[0]).numpy())
        quantiles.append(said.errors.numpy())
    groups = climate_groups(cube)[draw.cells]
    found = calibrate(np.concatenate(errors), np.concatenate(quantiles), config.outlook.levels, groups, GROUPS)
    return replace(run, calibration=found)
