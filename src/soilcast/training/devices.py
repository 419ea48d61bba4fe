"""Where torch works: GPU or CPU, how many threads, and which processes train together (``torchrun``)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor

from soilcast.errors import SoilcastError
from soilcast.models.native import engine_name
from soilcast.workers import usable_cores

_PATIENCE = timedelta(minutes=10)


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


def engine_of(device: torch.device) -> str:
    """Name what networks go through on a device: ``torch``, or an instruction set of the native engine."""
    return engine_name() if device.type == "cpu" else "torch"


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


@dataclass(frozen=True)
class Ranks:
    """One of the processes that train one network together, each with its share of every batch: the one that asks.

    Parameters
    ----------
    rank, size
        Number of this process, and how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Its own part of ``count`` samples; the parts differ by one at most."""
        return slice(self.rank * count // self.size, (self.rank + 1) * count // self.size)

    def gather(self, own: Tensor, count: int) -> Tensor:
        """Put together ``(member, count, ...)`` from what every process has of it by `share`.

        Raises
        ------
        SoilcastError
            Another process has gone.
        """
        if self.size == 1:
            return own
        every = own.new_zeros(len(own), count, *own.shape[2:])
        every[:, self.share(count)] = own
        return self.add(every)  # a sum with zeros is exact, and shares may differ in size

    def add(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over the processes, in place."""
        if self.size > 1:
            try:
                torch.distributed.all_reduce(tensor)
            except RuntimeError as error:
                raise self._gone() from error
        return tensor

    def any(self, own: bool, device: torch.device) -> bool:
        """Whether any process says so."""
        return (self.size > 1 and bool(self.add(torch.tensor(float(own), device=device)) > 0)) or own

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.size > 1:
            try:
                torch.distributed.barrier()
            except RuntimeError as error:
                raise self._gone() from error

    def _gone(self) -> SoilcastError:
        return SoilcastError(
            f"process {self.rank} of {self.size} lost another process, which was killed or failed: see its output, "
            "and restart all with --resume"
        )


@contextmanager
def joined_ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that ``torchrun`` started, or be the only one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or torch.distributed.is_initialized():
        yield Ranks(int(os.environ.get("RANK", "0")), size)
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        torch.distributed.init_process_group(backend, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise SoilcastError(f"WORLD_SIZE is {size}, but the processes cannot connect ({line}): use torchrun") from error
    try:
        yield Ranks(torch.distributed.get_rank(), size)
    finally:
        torch.distributed.destroy_process_group()
