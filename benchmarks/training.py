"""A training step of soilcast beside a bare loop: nn.LSTM, fused Adam, batches built beforehand."""

from __future__ import annotations

import argparse
import os
import resource
import time
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from soilcast.models import LSTM
from soilcast.training.config import TrainConfig
from soilcast.training.loop import torch_threads, train_network
from soilcast.training.samples import Draw, Samples
from soilcast.water.losses import LOSSES

CELLS, DAYS, DYNAMIC, STATIC, LENGTH = 1000, 540, 8, 6, 7
BATCHES, SIZE = 300, 64


def made_samples() -> Samples:
    random = torch.Generator().manual_seed(0)
    return Samples(
        dynamic=torch.rand(CELLS, DAYS, DYNAMIC, generator=random),
        static=torch.rand(CELLS, STATIC, generator=random),
        target=torch.rand(CELLS, DAYS, generator=random),
        water_sign=torch.randint(-1, 2, (CELLS, DAYS), generator=random, dtype=torch.int8),
        to_loss_space=torch.tensor([[1.0, 0.0]]).repeat(CELLS, 1),
        length=LENGTH,
    )


def soilcasts_epoch(samples: Samples, loss: str, config: TrainConfig) -> Callable[[], None]:
    usable = np.zeros((CELLS, DAYS), dtype=bool)
    usable[:, LENGTH:] = True
    network = LSTM(DYNAMIC + STATIC)
    one = Draw(np.zeros(1, dtype=np.int64), np.full(1, LENGTH, dtype=np.int64))
    built = LOSSES[loss]((0.5, 0.5))

    def epoch() -> None:
        train_network(network, built, samples, usable, one, config, record=lambda _: None, advance=lambda _: None)

    return epoch


def bare_epoch() -> Callable[[], None]:
    network, dropout, head = nn.LSTM(DYNAMIC + STATIC, 128, batch_first=True), nn.Dropout(0.15), nn.Linear(128, 1)
    optimiser = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=0.001, fused=True)
    batches = [(torch.rand(SIZE, LENGTH, DYNAMIC + STATIC), torch.rand(SIZE)) for _ in range(BATCHES)]

    def epoch() -> None:
        for inputs, observed in batches:
            hidden, _ = network(inputs)
            predicted = head(dropout(hidden[:, -1])).squeeze(-1)
            loss = torch.sqrt(torch.mean((observed - predicted) ** 2))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="epochs of each, in turns")
    parser.add_argument("--threads", type=int, default=0, help="0: soilcast's own choice")
    options = parser.parse_args()
    samples = made_samples()
    config = TrainConfig(epochs=1, batch_size=SIZE, batches_per_epoch=BATCHES)
    with torch_threads(options.threads) as threads:
        contenders = {
            "bare loop, batches built beforehand": bare_epoch(),
            "soilcast, LSTM": soilcasts_epoch(samples, "rmse", config),
            "soilcast, PHY-LSTM": soilcasts_epoch(samples, "water_balance", config),
        }
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(options.rounds + 1):
            for name, epoch in contenders.items():
                start = time.perf_counter()
                epoch()
                taken[name].append(time.perf_counter() - start)
    steps = {name: 1000 * np.array(seconds[1:]) / BATCHES for name, seconds in taken.items()}
    bare = steps["bare loop, batches built beforehand"]
    table = Table(title=f"Training step: {SIZE} windows x {LENGTH} days x {DYNAMIC + STATIC} inputs x 128 units")
    for column in ("what", "threads", "median [ms]", "least [ms]", "median ratio", "windows a second"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, one in steps.items():
        # The ratio is taken round by round, so that a busy moment of the machine weighs on both sides.
        row = (np.median(one), one.min(), np.median(one / bare), SIZE / np.median(one) * 1000)
        table.add_row(name, str(threads), *(f"{value:.2f}" for value in row[:3]), f"{row[3]:,.0f}")
    Console(width=120).print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{options.rounds} rounds; peak memory {peak:.0f} MiB; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )


if __name__ == "__main__":
    main()
