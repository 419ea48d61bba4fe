"""Memory: amounts as people write them, and what this process holds."""

from __future__ import annotations

import os
import re
from pathlib import Path

from soilcast.errors import SoilcastError

_UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "kB": 10**3, "MB": 10**6, "GB": 10**9}


def parse_bytes(text: str, option: str = "--memory") -> int:
    """Read an amount of memory such as ``2GiB`` [bytes], which was given as an ``option``.

    Raises
    ------
    SoilcastError
        It is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2] not in _UNITS or not float(found[1]):
        raise SoilcastError(f"{option} {text}: not an amount of memory: write it as 2GiB or 1500MiB")
    return int(float(found[1]) * _UNITS[found[2]])


def peak_memory() -> int:
    """The most memory that this process has held so far [bytes]; what it holds now where the system does not tell."""
    return highest_of(os.getpid()) or held_memory()


def highest_of(process: int) -> int:
    """The most memory that a process has held since its program began [bytes]; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def held_memory() -> int:
    """The memory that this process holds now [bytes]."""
    import psutil  # --help needs no such thing

    return int(psutil.Process().memory_info().rss)
