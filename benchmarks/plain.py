"""What a user would write without soilcast: the references of the benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from soilcast.task import Layout, Task
from soilcast.training.samples import SampleIndex, SampleIndices, Samples
from soilcast.training.windows import WindowSource

DYNAMIC, STATIC, LENGTH, HIDDEN, SIZE, BATCHES = 8, 6, 7, 128, 64, 300

Epoch = Callable[[], None]


def random_samples(cells: int = 1000, days: int = 540) -> tuple[Samples, SampleIndex]:
    """Random numbers in the place of data: the work is the same."""
    random = torch.Generator().manual_seed(0)
    none = torch.zeros(cells, days, 0)
    source = WindowSource(
        dynamic=torch.rand(cells, days, DYNAMIC, generator=random),
        lags=none,
        newest=none,
        calendar=torch.zeros(days, 2),
        static=torch.rand(cells, STATIC, generator=random),
        rain=torch.zeros(cells, 2),
        physical=torch.zeros(cells, 0),
    )
    samples = Samples(
        source,
        Layout(Task()),
        observed=torch.rand(cells, days, 1, generator=random),
        water_sign=torch.randint(-1, 2, (cells, days), generator=random, dtype=torch.int8),
        depth=torch.ones(cells, 1),
    )
    usable = np.zeros((cells, days), dtype=bool)
    usable[:, LENGTH:] = True
    return samples, SampleIndex(usable)


class PlainLSTM(nn.Module):
    """The network of the paper as torch has it."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(DYNAMIC + STATIC, HIDDEN, batch_first=True)
        self.dropout, self.head = nn.Dropout(0.15), nn.Linear(HIDDEN, 1)

    def forward(self, windows: Tensor) -> Tensor:
        hidden, _ = self.lstm(windows)
        return self.head(self.dropout(hidden[:, -1])).squeeze(-1)


def tuned_epoch() -> Epoch:
    """Train nn.LSTM with fused Adam on batches that are in memory already: the loop at its best."""
    batches = [(torch.rand(SIZE, LENGTH, DYNAMIC + STATIC), torch.rand(SIZE)) for _ in range(BATCHES)]
    return _epoch(lambda: iter(batches))


def loader_epoch(samples: Samples) -> Epoch:
    """Train the same loop on a DataLoader over windows, one sample at a time, shuffled."""
    loader = DataLoader(_Windows(samples), batch_size=SIZE, shuffle=True)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for _, batch in zip(range(BATCHES), loader, strict=False):
            yield batch

    return _epoch(batches)


def _epoch(batches: Callable[[], Iterator[tuple[Tensor, Tensor]]]) -> Epoch:
    network = PlainLSTM()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001, fused=True)

    def epoch() -> None:
        network.train()
        for windows, observed in batches():
            loss = torch.sqrt(torch.mean((observed - network(windows)) ** 2))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch


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


def forecast_cell_by_cell(network: nn.Module, dynamic: Tensor, static: Tensor) -> Tensor:
    """Forecast cell after cell, each cell's windows ``(day, 7, feature)`` at once; ``dynamic (cell, day, feature)``."""
    forecasts = []
    with torch.inference_mode():
        for forcing, fixed in zip(dynamic, static, strict=True):
            sequence = torch.cat((forcing, fixed.expand(len(forcing), -1)), dim=1)
            windows = torch.stack([sequence[day - LENGTH : day] for day in range(LENGTH, len(sequence))])
            forecasts.append(network(windows))
    return torch.stack(forecasts)


def single_sample_index() -> SampleIndices:
    """A validation of one sample, for trainings that are timed without one."""
    return SampleIndices(np.zeros(1, dtype=np.int64), np.full(1, LENGTH, dtype=np.int64))
