"""Training steps and forecasts on a GPU, beside torch's nn.LSTM, which is cuDNN's; says so where there is no GPU."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.forecast import forecaster_of, random_run
from benchmarks.measuring import in_turns, machine, median_ratio, show
from benchmarks.plain import BATCHES, DYNAMIC, HIDDEN, LENGTH, SIZE, STATIC, PlainLSTM, random_samples
from benchmarks.training import soilcast_epoch
from soilcast.models.backends import PRODUCTS, AutogradBackend, LSTMBackend
from soilcast.training.build import build_loss, build_networks
from soilcast.training.config import Config
from soilcast.training.cuda_graph import make_step
from soilcast.training.devices import Ranks
from soilcast.training.dropout import DropoutMask
from soilcast.training.learner import Learner
from soilcast.training.predictor import Predictor

MEMBERS = (1, 4, 8, 19, 64)
PLAIN, GRAPH = "nn.LSTM", "nn.LSTM, CUDA graph"
EPOCHS = 5
"""So many that the capture of the step, once a training, is no more than it is to users."""

CELLS, DAYS, AT_ONCE = 4096, 365, 128
GPU = torch.device("cuda", 0)

Task = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("torch finds no GPU here: nothing is measured")
        sys.exit()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    torch.backends.cudnn.allow_tf32 = False  # float32 is to be float32 on both sides
    rows = [row for members in MEMBERS for row in _steps(members, options.rounds)]
    head = ("members", "what", "least", "median", "most", f"x {PLAIN}", "x its graph", "peak [MiB]")
    shape = f"{SIZE} windows x {LENGTH} days x {DYNAMIC + STATIC} inputs x {HIDDEN} units, {options.rounds} rounds"
    show(f"A step of training of all members, ms: {shape}", head, rows)
    head = ("members", "least", "median", "most", "1000 samples/s")
    show("A step in soilcast's loop, draws and dropout included, ms", head, _epochs(options.rounds))
    head = ("what", "least", "median", "most", f"x {PLAIN}", "peak [MiB]")
    show(f"Million cell-days forecast a second, {DAYS} days of {CELLS:,} cells", head, _forecasts(options.rounds))
    print(machine())


def _steps(members: int, rounds: int) -> list[tuple[str, ...]]:
    """Time a step of a number of members: nn.LSTM's one after the other, soilcast's together."""
    steps = max(4, 200 // members)
    makers = {
        PLAIN: lambda: _plain_step(members),
        GRAPH: lambda: _captured(_plain_step(members)),
        f"{GRAPH}, TF32": lambda: _captured(_plain_step(members), rounded=True),
        "soilcast, cuDNN": lambda: _soilcast_step(members, AutogradBackend),
        "soilcast, together": lambda: _soilcast_step(members, LSTMBackend),
        "soilcast, together, bfloat16": lambda: _soilcast_step(members, LSTMBackend, "bfloat16"),
    }
    seconds, peaks = _measured(makers, steps, rounds)
    return [
        (
            str(members),
            name,
            *_spread(1000 * times / steps),
            *(f"{median_ratio(seconds[reference], times):.2f}" for reference in (PLAIN, GRAPH)),
            f"{peaks[name]:,.0f}",
        )
        for name, times in seconds.items()
    ]


def _plain_step(members: int) -> Task:
    """Train nn.LSTM with fused Adam on a batch that is on the GPU already, member after member."""
    networks = [PlainLSTM().to(GPU).train() for _ in range(members)]
    optimizers = [torch.optim.Adam(network.parameters(), lr=0.001, fused=True, capturable=True) for network in networks]
    windows, observed = torch.rand(SIZE, LENGTH, DYNAMIC + STATIC, device=GPU), torch.rand(SIZE, device=GPU)

    def step() -> None:
        for network, optimizer in zip(networks, optimizers, strict=True):
            loss = torch.sqrt(torch.mean((observed - network(windows)) ** 2))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return step


def _captured(step: Task, *, rounded: bool = False) -> Task:
    """Capture a step; which kernels it has is settled then."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=rounded):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=aside):
            step()

    return lambda step=step: graph.replay()  # what the graph works on lives as long as the step


def _soilcast_step(members: int, backend: type[AutogradBackend | LSTMBackend], precision: str = "float32") -> Task:
    """Step of soilcast's loop on a batch that is on the GPU already."""
    config = Config.model_validate({"train": {"batch_size": SIZE, "ensemble": members, "precision": precision}})
    networks = [network.to(GPU) for network in build_networks(config)]
    learner = Learner(networks, build_loss(config), config.train, Ranks())
    learner.backend = backend(learner.members, PRODUCTS[precision])
    learner.members.train(True)
    samples, usable = random_samples()
    drawn = np.random.default_rng(0).integers(len(usable), size=(members, SIZE))
    batch = samples.gather(usable.at(drawn)).to(GPU)
    mask = DropoutMask(config.network.dropout, learner.mask_shape, range(members), 1).draw(SIZE)
    on_gpu = None if mask is None else mask.to(GPU)
    step = make_step(learner)
    return lambda: step(batch, on_gpu)


def _epochs(rounds: int) -> list[tuple[str, ...]]:
    samples, usable = random_samples()
    on_gpu = samples.to(GPU)
    makers = {str(members): soilcast_epoch(on_gpu, usable, 1, ensemble=members, epochs=EPOCHS) for members in MEMBERS}
    seconds = {name: times / (EPOCHS * BATCHES) for name, times in in_turns(makers, rounds).items()}
    return [
        (name, *_spread(1000 * step_times), f"{int(name) * SIZE / np.median(step_times) / 1000:,.0f}")
        for name, step_times in seconds.items()
    ]


def _forecasts(rounds: int) -> list[tuple[str, ...]]:
    """Forecast with one network, from inputs that are on the GPU already to forecasts in memory, and from a cube."""
    sequences = torch.rand(CELLS, DAYS + LENGTH - 1, DYNAMIC + STATIC, device=GPU)
    run, cube = random_run(CELLS, DAYS + LENGTH)
    days = slice(LENGTH, DAYS + LENGTH)
    makers: dict[str, Callable[[], Task]] = {PLAIN: lambda: _plain_forecast(PlainLSTM().to(GPU).eval(), sequences)}
    for precision in ("float32", "bfloat16"):
        makers[f"soilcast, {precision}"] = lambda precision=precision: _soilcast_forecast(
            Predictor(run.networks, run.config, GPU, precision), sequences
        )
    makers["soilcast, float32, from a cube in memory"] = lambda: functools.partial(
        forecaster_of(run, cube, days, "float32", 1, GPU), slice(0, CELLS)
    )
    seconds, peaks = _measured(makers, 1, rounds)
    rates = {name: CELLS * DAYS / times / 1e6 for name, times in seconds.items()}
    return [
        (name, *_spread(rate, 1), f"{median_ratio(1 / rates[PLAIN], 1 / rate):.2f}", f"{peaks[name]:,.0f}")
        for name, rate in rates.items()
    ]


def _plain_forecast(network: nn.Module, sequences: Tensor) -> Task:
    windows = sequences.unfold(1, LENGTH, 1).transpose(2, 3)  # (cell, window, day, feature)

    @torch.inference_mode()
    def forecast() -> list[Tensor]:
        return [network(part.flatten(0, 1)).cpu() for part in windows.split(AT_ONCE)]

    return forecast


def _soilcast_forecast(predictor: Predictor, sequences: Tensor) -> Task:
    @torch.inference_mode()
    def forecast() -> list[Tensor]:
        return [predictor.from_sequences(part, None).centre for part in sequences.split(AT_ONCE)]

    return forecast


def _measured(
    makers: Mapping[str, Callable[[], Task]], times: int, rounds: int
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Wall times ``(round,)`` [s] of a number of calls of each task, and its peak GPU memory [MiB]."""
    contenders, peaks = {}, {}
    for name, make in makers.items():
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        contenders[name] = _repeated(make(), times)
        contenders[name]()
        peaks[name] = (torch.cuda.max_memory_allocated() - before) / 2**20
    return in_turns(contenders, rounds), peaks


def _repeated(task: Task, times: int) -> Task:
    def repeat() -> None:
        for _ in range(times):
            task()
        torch.cuda.synchronize()

    return repeat


def _spread(values: np.ndarray, digits: int = 3) -> tuple[str, str, str]:
    return tuple(f"{value:,.{digits}f}" for value in (values.min(), np.median(values), values.max()))


if __name__ == "__main__":
    main()
