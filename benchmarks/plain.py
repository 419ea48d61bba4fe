"""What a user would write without soilcast: the references of the benchmarks, and the samples that both sides take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.measuring import in_turns
from soilcast.cube import PAPER_DYNAMIC, PAPER_STATIC
from soilcast.task import Layout
from soilcast.training.build import build_loss, build_networks
from soilcast.training.config import Config
from soilcast.training.damped import DampedAnomaly
from soilcast.training.losses import Targets
from soilcast.training.samples import SampleIndex, Samples
from soilcast.training.windows import WindowSource
from soilcast.workers import usable_cores

FEATURES, LENGTH, HIDDEN, SIZE = len(PAPER_DYNAMIC) + len(PAPER_STATIC), 7, 128, 64
"""Of the paper's network and batches."""

Epoch = Callable[[], object]
LossOf = Callable[[Tensor, Targets], Tensor]


def random_samples(layout: Layout, cells: int = 1000, days: int = 540) -> tuple[Samples, SampleIndex]:
    """Random numbers in the place of data: the work is the same."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    task = layout.task
    leads, layers = task.lead_days, len(task.layers)
    source = WindowSource(
        dynamic=random(cells, days, len(task.dynamic)),
        lags=random(cells, days, len(task.lags)),
        newest=random(cells, days, layers),
        calendar=random(days, 2),
        static=random(cells, len(task.static)),
        rain=torch.zeros(cells, 0, 2),
        physical=torch.zeros(cells, 0),
        mass=random(cells, 2),
        neighbours=torch.randint(-1, cells, (cells, task.neighbourhood**2 - 1), generator=generator),
        ready=torch.ones(cells, days, dtype=torch.bool),
        damped=DampedAnomaly(random(days, 5), random(cells, leads, layers, 5), random(cells, leads, layers)),
    )
    samples = Samples(
        source,
        layout,
        observed=random(cells, days, layers),
        water_sign=torch.randint(-1, 2, (cells, days), generator=generator, dtype=torch.int8),
        depth=torch.ones(cells, layers),
    )
    usable = np.zeros((cells, days), dtype=bool)
    usable[:, task.window : days - leads] = True
    return samples, SampleIndex(usable)


class PlainLSTM(nn.Module):
    """The network of the paper as torch has it."""

    def __init__(self, features: int = FEATURES, outputs: int = 1, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True)
        self.dropout, self.head = nn.Dropout(0.15), nn.Linear(hidden, outputs)

    def forward(self, windows: Tensor) -> Tensor:
        hidden, _ = self.lstm(windows)
        return self.head(self.dropout(hidden[:, -1])).squeeze(-1)


def tuned_epoch(batches: int) -> Epoch:
    """Train nn.LSTM with fused Adam on batches that are in memory already: the loop at its best."""
    held = [(torch.rand(SIZE, LENGTH, FEATURES), torch.rand(SIZE)) for _ in range(batches)]
    return _epoch(PlainLSTM(), held, rmse)


def loader_epoch(samples: Samples, batches: int) -> Epoch:
    """Train the same loop on a DataLoader over windows, one sample at a time, shuffled."""
    loader = DataLoader(_Windows(samples), batch_size=SIZE, shuffle=True)
    return _epoch(PlainLSTM(), loader, rmse, batches)


def tuned_epoch_of(config: Config, samples: Samples, usable: SampleIndex, batches: int) -> Epoch:
    """Train nn.LSTM with the head and the loss of a config as `tuned_epoch` does."""
    held = []
    for drawn in np.random.default_rng(0).integers(len(usable), size=(batches, 1, SIZE)):
        batch = samples.gather(usable.at(drawn))
        held.append((batch.windows[0].transpose(0, 1).contiguous(), batch.targets))
    loss = build_loss(config)
    return _epoch(build_networks(config)[0], held, lambda output, targets: loss(output[None], targets)[0])


def rmse(output: Tensor, observed: Tensor) -> Tensor:
    return torch.sqrt(torch.mean((observed - output) ** 2))


@dataclass(frozen=True)
class Threaded:
    """Work with so many of torch's threads, whatever others have."""

    threads: int
    work: Epoch

    def __call__(self) -> None:
        torch.set_num_threads(self.threads)
        self.work()


def at_its_best(work: Epoch) -> Threaded:
    """Give it as many of torch's threads as suit it best."""
    return Threaded(best_threads(work)[0], work)


def best_threads(work: Epoch) -> tuple[int, float]:
    """How many of torch's threads it is fastest with, and what it takes then [s], once it has run before."""
    trials = {str(threads): Threaded(threads, work) for threads in range(1, usable_cores() + 1)}
    return min(((int(name), float(times[0])) for name, times in in_turns(trials, 1).items()), key=lambda one: one[1])


def _epoch(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], loss_of: LossOf, most: int | None = None
) -> Epoch:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001, fused=True)

    def epoch() -> None:
        network.train()
        for windows, targets in islice(batches, most):
            loss = loss_of(network(windows), targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch


@dataclass(frozen=True)
class PlainForecast:
    """Forecasts of nn.LSTM on the last days of a cube, cell after cell.

    Parameters
    ----------
    network
        What forecasts a cell's windows, all at once.
    cube
        Where to read.
    days
        So many windows, up to the end.
    window
        Their days.
    names
        Dynamic inputs.
    """

    network: PlainLSTM
    cube: Path
    days: int
    window: int = LENGTH
    names: tuple[str, ...] = PAPER_DYNAMIC

    def read(self, cells: slice) -> tuple[Tensor, Tensor]:
        """Read and normalise the inputs of some cells: ``(cell, day, feature)`` and ``(cell, feature)``."""
        opened = xr.open_zarr(self.cube, consolidated=False, chunks=None).isel(cell=cells)
        days = slice(opened.sizes["time"] - self.days - self.window + 1, None)
        dynamic = np.stack([opened[name][:, days].to_numpy() for name in self.names], axis=-1)
        static = np.stack([opened[name].to_numpy() for name in PAPER_STATIC], axis=-1)
        dynamic = (dynamic - dynamic.mean(axis=1, keepdims=True)) / (dynamic.std(axis=1, keepdims=True) + 1e-6)
        static = (static - static.mean(axis=0)) / (static.std(axis=0) + 1e-6)
        return torch.from_numpy(dynamic.astype(np.float32)), torch.from_numpy(static.astype(np.float32))

    def forecast(self, dynamic: Tensor, static: Tensor) -> Tensor:
        """Forecast from what `read` gives: as many windows at once as a cell has in a year."""
        sequences = torch.cat((dynamic, static.unsqueeze(1).expand(-1, dynamic.shape[1], -1)), dim=2)
        windows = sequences.unfold(1, self.window, 1).transpose(2, 3)  # (cell, day, step, feature)
        with torch.inference_mode():
            parts = [self.network(part.flatten(0, 1)) for part in windows.split(max(1, 366 // self.days))]
        return torch.cat(parts).unflatten(0, windows.shape[:2])

    def write(self, out: Path, cells: slice) -> None:
        """Read, forecast and write."""
        forecasts = self.forecast(*self.read(cells))
        variable = ("cell", "time", "number")[: forecasts.ndim], forecasts.numpy()
        xr.Dataset({"swvl1": variable}).to_zarr(out, mode="w", consolidated=False)


class _Windows(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, samples: Samples) -> None:
        self._samples, self._days = samples, samples.observed.shape[1] - LENGTH

    def __len__(self) -> int:
        return len(self._samples.observed) * self._days

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        cell, day = number // self._days, number % self._days + LENGTH
        window = self._samples.source.dynamic[cell, day - LENGTH : day]
        static = self._samples.source.static[cell].expand(LENGTH, -1)
        return torch.cat((window, static), dim=1), self._samples.observed[cell, day, 0]
