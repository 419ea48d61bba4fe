"""Made outlooks of the made cube: for tests of what judges outlooks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from forecast_factory import DAYS, PERIODS, TEST
from soilcast.cube import open_artifact, open_cube, write_dataset
from soilcast.errors import SoilcastError
from soilcast.verify import evaluate

LEADS = 3
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
ISSUES = slice(TEST.start - 1, TEST.stop - LEADS)
"""Issue days as positions along the days of the cube."""


def valid(values, leads=LEADS, issues=ISSUES):
    """``(cell, time)`` of all days -> ``(cell, issue day, lead)``."""
    return np.stack([values[:, issues.start + k : issues.stop + k] for k in range(1, leads + 1)], axis=-1)


def made_outlook(
    path,
    cube_path,
    *,
    targets=("swvl1",),
    levels=LEVELS,
    label="LSTM",
    noise=0.01,
    seed=1,
    leads=LEADS,
    issues=ISSUES,
    change=lambda outlook: outlook,
    **attributes,
):
    """An outlook whose error is noise that grows with the lead, and whose quantiles know how large it is."""
    rng = np.random.default_rng(seed)
    spread = noise * np.sqrt(np.arange(1, leads + 1))
    with open_cube(cube_path) as cube:
        variables = {}
        for target in targets:
            observed = valid(cube[target].to_numpy(), leads, issues)
            central = np.where(np.isnan(observed), 0.3, observed) + spread * rng.standard_normal(observed.shape)
            variables[target] = (("cell", "time", "lead"), central.astype(np.float32))
            if levels:
                quantiles = central[..., None] + spread[:, None] * norm.ppf(levels)
                dims = ("cell", "time", "lead", "quantile")
                variables[f"{target}_quantile"] = (dims, quantiles.astype(np.float32))
        issued = DAYS[issues]
        ahead = np.arange(1, leads + 1)
        outlook = xr.Dataset(
            variables,
            coords={name: cube[name].load() for name in cube.coords if name != "time"}
            | {
                "time": ("time", issued, {"standard_name": "forecast_reference_time"}),
                "lead": ("lead", ahead, {"units": "d"}),
                "valid_time": (("time", "lead"), issued[:, None] + ahead * np.timedelta64(1, "D")),
                **({"quantile": list(levels)} if levels else {}),
            },
            attrs={
                "soilcast_kind": "outlook",
                "title": "a made outlook",
                "targets": ",".join(targets),
                "latency_days": 0,
                "weather": "none",
                "label": label,
                "model": "lstm",
                "content": cube.attrs["content"],
                "source": cube.attrs["source"],
                "cube_sha256": cube.attrs["content_sha256"],
                "weights_sha256": "0" * 64,
                "config": json.dumps({"model": "lstm"}),
                "training_log": json.dumps([{"epoch": 1, "train_loss": 0.1, "validation_loss": None, "seconds": 1.0}]),
                **PERIODS,
                **attributes,
            },
        )
        outlook["area"] = cube["area"].load()
    outlook = change(outlook)
    write_dataset(outlook, path, netcdf=path.suffix == ".nc")
    return path


def altered(outlook, path, change):
    """The same outlook with ``change(dataset)`` made to it."""
    with open_artifact(outlook, "outlook") as opened:
        loaded = opened.load()
    for name in loaded.variables:
        loaded[name].encoding = {}
    write_dataset(change(loaded), path, netcdf=path.suffix == ".nc")
    return path


def refused(outlooks, cube, out, *words):
    """The message of the refusal, which is one line and leaves nothing."""
    with pytest.raises(SoilcastError) as caught:
        evaluate(outlooks, cube, out)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message
    assert not out.exists()
