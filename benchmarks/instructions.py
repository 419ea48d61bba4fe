"""Instructions of a step of training, counted by callgrind: what does not depend on how busy a machine is.

Of one thread, limited to AVX2, since valgrind knows nothing beyond.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.measuring import LIMITS, show
from benchmarks.plain import SIZE, Epoch, random_samples, tuned_epoch
from benchmarks.training import config_of, learner_of
from soilcast.models.native import VARIABLE
from soilcast.training.build import layout_of
from soilcast.training.config import Config
from soilcast.training.dropout import DropoutMask
from soilcast.training.steps import make_steps

PLAIN = "nn.LSTM, tuned loop"
CONTENDERS: dict[str, Callable[[int], Epoch]] = {
    PLAIN: tuned_epoch,
    "soilcast, LSTM": lambda steps: soilcast_steps(config_of(1), steps),
    "soilcast, PHY-LSTM": lambda steps: soilcast_steps(config_of(1, {"model": "phy-lstm"}), steps),
    "soilcast, LSTM, bfloat16": lambda steps: soilcast_steps(config_of(1, precision="bfloat16"), steps),
}


def soilcast_steps(config: Config, steps: int) -> Epoch:
    """Steps on batches that are in memory already, dropout drawn."""
    learner, (samples, usable) = learner_of(config, 1), random_samples(layout_of(config), 50, 100)
    take, drawn = make_steps(learner), np.random.default_rng(0).integers(len(usable), size=(steps, 1, SIZE))
    batches = samples.gather(usable.at(drawn))
    dropout = DropoutMask(config.network.dropout, learner.mask_shape, [0], 1)
    return lambda: take(batches, dropout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8, help="that are counted of each")
    parser.add_argument("--counted", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.counted:
        _run(options.steps)
        return
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: nothing is counted")
        return
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        valgrind = f"valgrind --tool=callgrind --instr-atstart=no --collect-atstart=no --callgrind-out-file={out}"
        command = [*valgrind.split(), sys.executable, "-m", "benchmarks.instructions", "--counted", "--steps"]
        environment = {**os.environ, VARIABLE: "avx2", **LIMITS["avx2"], "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*command, str(options.steps)], env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"valgrind failed:\n{done.stderr[-2000:]}")
        dumps = [Path(f"{out}.{number}").read_text() for number in range(1, len(CONTENDERS) + 1)]
    counts = {name: _total(dump) / options.steps for name, dump in zip(CONTENDERS, dumps, strict=True)}
    rows = [(name, f"{count / 1e6:,.2f}", f"{counts[PLAIN] / count:.2f}") for name, count in counts.items()]
    show(f"A step of {SIZE} windows, one thread, AVX2", ("what", "million instructions", "times fewer"), rows)


def _run(steps: int) -> None:
    """Run under callgrind, which is told by torch what to count, as by `torch.utils.benchmark.Timer`."""
    torch.set_num_threads(1)
    for make in CONTENDERS.values():
        work = make(steps)
        _instrument()
        work()
        torch._C._valgrind_toggle()
        work()
        torch._C._valgrind_toggle_and_dump_stats()


def _instrument() -> None:
    """Have callgrind follow what is executed from here on, which takes ten times as long as what is before."""
    control = subprocess.Popen(["callgrind_control", "--instr=on", str(os.getpid())], stdout=subprocess.DEVNULL)
    while control.poll() is None:  # it reaches a program that runs, not one that waits
        pass
    assert control.returncode == 0, "callgrind_control comes with valgrind"


def _total(dump: str) -> int:
    found = re.search(r"^(?:totals|summary): (\d+)", dump, re.MULTILINE)
    assert found is not None, "callgrind writes what it counted"
    return int(found[1])


if __name__ == "__main__":
    main()
