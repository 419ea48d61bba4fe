"""Where torch works: a GPU or the CPU, and on how many of its threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from soilcast.errors import SoilcastError
from soilcast.workers import usable_cores


def choose_device(wanted: str) -> torch.device:
    """Choose the device of a config's ``train.device``; without a GPU it is the CPU, which is said where one was asked.

    Parameters
    ----------
    wanted
        ``auto``, ``cpu`` or ``cuda``.
    """
    if wanted != "cpu" and torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    if wanted == "cuda":
        print("soilcast: torch finds no GPU (train.device=cuda): going on with the CPU", file=sys.stderr)
    return torch.device("cpu")


@contextmanager
def torch_threads(threads: int) -> Iterator[int]:
    """Use this number of threads (0: the cores at hand, at most 4, where a batch of 64 stops to gain), then go back."""
    before = torch.get_num_threads()
    chosen = threads or min(usable_cores(), 4)
    torch.set_num_threads(chosen)
    try:
        yield chosen
    finally:
        torch.set_num_threads(before)


@contextmanager
def full_gpu_told(remedy: str) -> Iterator[None]:
    """Raise `SoilcastError`, with what helps, where a GPU has too little memory."""
    try:
        yield
    except RuntimeError as error:
        # Not always an OutOfMemoryError: where other programs hold all of it, torch does not even start.
        if "out of memory" not in str(error):
            raise
        raise SoilcastError(f"too little memory on the GPU: {remedy}") from error
