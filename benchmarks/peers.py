"""Other frameworks on the same samples, where they are installed: pip install neuralhydrology."""

from __future__ import annotations

import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.plain import HIDDEN, LENGTH, SIZE, Epoch
from soilcast.training.samples import Samples


def neuralhydrology_epoch(samples: Samples, batches: int) -> Epoch:
    """NeuralHydrology's model, loss and batches (samples as its data sets give them) in the loop of its trainer."""
    try:
        from neuralhydrology.datasetzoo.basedataset import BaseDataset
        from neuralhydrology.modelzoo.cudalstm import CudaLSTM
        from neuralhydrology.training import get_loss_obj
        from neuralhydrology.utils.config import Config
    except ImportError as error:
        sys.exit(f"--peers: NeuralHydrology is not installed ({error})")
    task = samples.layout.task
    config = Config(
        {
            "model": "cudalstm",
            "head": "regression",
            "output_activation": "linear",
            "hidden_size": HIDDEN,
            "output_dropout": 0.15,
            "initial_forget_bias": None,
            "dynamic_inputs": list(task.dynamic),
            "static_attributes": list(task.static),
            "target_variables": ["swvl1"],
            "seq_length": LENGTH,
            "predict_last_n": 1,
            "loss": "rmse",
            "run_dir": Path(tempfile.gettempdir()),
        }
    )
    network, loss_of = CudaLSTM(cfg=config), get_loss_obj(config)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    loader = DataLoader(_Basins(samples), batch_size=SIZE, shuffle=True, collate_fn=BaseDataset.collate_fn)

    def epoch() -> None:
        network.train()
        for batch in islice(loader, batches):
            data = network.pre_model_hook(batch, is_train=True)
            loss, _ = loss_of(network(data), data)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

    return epoch


class _Basins(Dataset[dict[str, Any]]):
    """The samples as NeuralHydrology's own data sets give them: a cell is a basin, a feature a tensor."""

    def __init__(self, samples: Samples) -> None:
        source, names = samples.source, samples.layout.task.dynamic
        self._inputs = [{name: series[:, [index]] for index, name in enumerate(names)} for series in source.dynamic]
        self._static, self._target = source.static, samples.observed
        self._days = samples.observed.shape[1] - LENGTH
        self._dates = np.datetime64("2018-01-01") + np.arange(samples.observed.shape[1])

    def __len__(self) -> int:
        return len(self._inputs) * self._days

    def __getitem__(self, number: int) -> dict[str, Any]:
        cell, day = number // self._days, number % self._days + LENGTH
        part = slice(day + 1 - LENGTH, day + 1)
        return {
            "x_d": {name: values[part] for name, values in self._inputs[cell].items()},
            "y": self._target[cell, part],
            "date": self._dates[part],
            "x_s": self._static[cell],
        }
