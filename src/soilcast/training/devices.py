"""Where torch works: a GPU or the CPU, and on how many of its threads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
        print("soilcast: no GPU found (train.device=cuda): using the CPU", file=sys.stderr)
    return torch.device("cpu")


@contextmanager
def torch_threads(threads: int) -> Iterator[int]:
    """Use this number of threads (0: the cores at hand, at most 4, where a batch of 64 stops to gain), then go back."""
    before = torch.get_num_threads()
    chosen = threads or min(len(os.sched_getaffinity(0)), 4)
    torch.set_num_threads(chosen)
    try:
        yield chosen
    finally:
        torch.set_num_threads(before)
