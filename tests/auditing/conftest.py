"""Runs whose physics is known: networks that are the very bucket that their cube was made by, or its opposite."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from soilcast.cube import save_cube
from soilcast.models import NETWORKS, NetworkDesign
from soilcast.training import load_config, open_run, train
from soilcast.training.run import save_run
from tests.helpers.known_soil import LOW, Bucket

BUCKET = Bucket(time_scale=(5.0, 5.0))
LEADS = 6


class BucketTrunk(nn.Module):
    """The two layers of a bucket, stepped by the rain of each day: the last of the dynamic features."""

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__()
        assert design.hidden_size == 2
        self.column = design.layout.features - 2  # behind it the one static input

    def forward(self, windows: Tensor) -> tuple[Tensor, None]:
        """Give the states of all steps."""
        upper, lower = _responses(windows.shape[1])
        rain = windows[..., self.column]
        return torch.stack((rain @ upper.T, rain @ lower.T), dim=-1), None


@lru_cache
def _responses(steps: int) -> tuple[Tensor, Tensor]:
    """Both layers of each step by the rain of each ``(step, step)``."""
    since = np.subtract.outer(np.arange(steps), np.arange(steps))
    upper = np.where(since >= 0, np.exp(-np.maximum(since, 0) / BUCKET.time_scale[0]), 0.0)
    kept = np.where(since > 0, np.exp(-np.maximum(since - 1, 0) / BUCKET.lower), 0.0)
    both = upper, BUCKET.drained * kept @ upper
    return torch.tensor(both[0], dtype=torch.float32), torch.tensor(both[1], dtype=torch.float32)


@contextmanager
def bucket_trunk() -> Iterator[None]:
    """Register the bucket, for no longer than it is used: what others test is the registry as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "bucket_trunk", BucketTrunk)
        yield


@pytest.fixture(scope="session")
def registered() -> Callable[[], AbstractContextManager[None]]:
    """What has the bucket registered: for fixtures that outlast a test."""
    return bucket_trunk


@pytest.fixture(autouse=True)
def _is_registered() -> Iterator[None]:
    with bucket_trunk():
        yield


@pytest.fixture(scope="session")
def bucket_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bucket's ``cube`` and of the runs ``true``, ``reversed``, and ``next_day`` of one lead."""
    folder = tmp_path_factory.mktemp("bucket")
    cube = BUCKET.cube(12)
    cube["climate_zone"][:] = 1.0
    save_cube(cube, folder / "cube")
    with bucket_trunk():
        for name, sign, extra in (
            ("true", 1, (f"task.lead_days={LEADS}", "task.known_future=[tp]")),
            ("reversed", -1, (f"task.lead_days={LEADS}", "task.known_future=[tp]")),
            ("next_day", 1, ()),
        ):
            _make(folder / "cube", folder / name, sign, extra)
    return folder


def _make(cube: Path, out: Path, sign: int, settings: tuple[str, ...]) -> None:
    """Train a run for a moment, and give it the weights of the bucket."""
    quick = ["train.epochs=1", "train.validate_every=1", "train.batches_per_epoch=1", "train.batch_size=8"]
    quick += ["network.name=bucket_trunk", "network.hidden_size=2", "normalise.scope=global", "task.window=30"]
    quick += ["task.dynamic=[tp]", "task.static=[elevation]", "task.layers=[swvl1,swvl2]"]
    train(cube, out, load_config(settings=[*quick, *settings]))
    run = open_run(out)
    linear = run.networks[0].head.linear
    assert isinstance(linear, nn.Linear)
    scalings = run.statistics.scalings
    rain = float(scalings["tp"].scale[0])
    with torch.no_grad():
        weight = linear.weight.zero_().view(-1, 2, 2)
        for layer in range(2):
            scaling = scalings[f"swvl{layer + 1}"]
            scale, offset = float(scaling.scale[0]), float(scaling.offset[0])
            weight[:, layer, layer] = sign * BUCKET.gain * rain / scale
            if not run.config.task.known_future:  # what has fallen has faded by a day when it is forecast
                weight[:, layer, layer] *= float(np.exp(-1 / BUCKET.time_scale[0]))
            linear.bias.view(-1, 2)[:, layer] = (LOW - offset) / scale
    shutil.rmtree(out)
    out.mkdir()
    save_run(out, run)
