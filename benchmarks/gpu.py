"""Training steps and forecasts on a GPU, beside torch's nn.LSTM, which is cuDNN's; says so where there is no GPU."""

from __future__ import annotations

import argparse
import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.forecast import block_forecaster
from benchmarks.measuring import in_turns, machine, median_ratio, prepare_planet, show_times, train_briefly, verdict
from benchmarks.plain import FEATURES, HIDDEN, LENGTH, SIZE, PlainLSTM, random_samples, rmse
from benchmarks.training import config_of, learner_of, soilcast_epoch
from soilcast.cube import open_cube
from soilcast.models.backends import PRODUCTS, AutogradBackend, LSTMBackend
from soilcast.training.build import layout_of
from soilcast.training.cuda_graph import make_step
from soilcast.training.dropout import DropoutMask
from soilcast.training.predictor import Predictor
from soilcast.training.run import open_run

PLAIN, GRAPH = "nn.LSTM", "nn.LSTM, CUDA graph"
CUDNN, TOGETHER = "soilcast, cuDNN", "soilcast, together"
EPOCHS, BATCHES = 5, 300
"""So many that the capture of the step, once a training, is no more than it is to users."""

DAYS, AT_ONCE = 365, 128
GPU = torch.device("cuda", 0)

Work = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--members", type=int, nargs="+", default=[1, 4, 19, 64])
    parser.add_argument("--cells", type=int, default=4096)
    parser.add_argument("--resolution", default="2", help="of the planet that is forecast from its cube [degrees]")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("torch finds no GPU here: nothing is measured")
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}")
    torch.backends.cudnn.allow_tf32 = False  # float32 is to be float32 on both sides
    for members in options.members:
        _compare_steps(members, options.rounds)
    _time_epochs(options.members, options.rounds)
    _compare_forecasts(options.cells, options.resolution, options.rounds)
    print(machine())


def _compare_steps(members: int, rounds: int) -> None:
    """Time a step of some members: nn.LSTM's one after the other, soilcast's together."""
    steps = max(4, 200 // members)
    makers = {
        PLAIN: lambda: _plain_step(members),
        GRAPH: lambda: _captured(_plain_step(members)),
        CUDNN: lambda: _soilcast_step(members, AutogradBackend),
        TOGETHER: lambda: _soilcast_step(members, LSTMBackend),
        f"{TOGETHER}, bfloat16": lambda: _soilcast_step(members, LSTMBackend, "bfloat16"),
    }
    seconds, peaks = _measured(
        {name: functools.partial(_repeated, make, steps) for name, make in makers.items()}, rounds
    )
    seconds = {name: times / steps for name, times in seconds.items()}
    shape = f"{SIZE} windows x {LENGTH} days x {FEATURES} inputs x {HIDDEN} units"
    references = {f"x {PLAIN}": PLAIN, "x its graph": GRAPH}
    show_times(f"A step of {members} member(s), ms: {shape}", seconds, references, more={"peak [MiB]": peaks}, digits=3)
    chosen, other = (CUDNN, TOGETHER) if members == 1 else (TOGETHER, CUDNN)
    ratio = median_ratio(seconds[other], seconds[chosen])
    print(verdict(f"what soilcast takes ({chosen}) beside {other}", ratio, 1.0))


def _plain_step(members: int) -> Work:
    """Train nn.LSTM with fused Adam on a batch that is on the GPU already, member after member."""
    networks = [PlainLSTM().to(GPU).train() for _ in range(members)]
    optimizers = [torch.optim.Adam(network.parameters(), lr=0.001, fused=True, capturable=True) for network in networks]
    windows, observed = torch.rand(SIZE, LENGTH, FEATURES, device=GPU), torch.rand(SIZE, device=GPU)

    def step() -> None:
        for network, optimizer in zip(networks, optimizers, strict=True):
            loss = rmse(network(windows), observed)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return step


def _captured(step: Work) -> Work:
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=aside):
        step()
    return lambda step=step: graph.replay()  # what the graph works on lives as long as the step


def _soilcast_step(members: int, backend: type[AutogradBackend | LSTMBackend], precision: str = "float32") -> Work:
    """Step of soilcast's loop on a batch that is on the GPU already."""
    config = config_of(BATCHES, ensemble=members, precision=precision)
    learner, (samples, usable) = learner_of(config, 1, GPU), random_samples(layout_of(config))
    learner.backend = backend(learner.members, PRODUCTS[precision])
    learner.members.train(True)
    batch = samples.gather(usable.at(np.random.default_rng(0).integers(len(usable), size=(members, SIZE)))).to(GPU)
    mask = DropoutMask(config.network.dropout, learner.mask_shape, range(members), 1).draw(SIZE)
    on_gpu, step = None if mask is None else mask.to(GPU), make_step(learner)
    return lambda: step(batch, on_gpu)


def _time_epochs(every: list[int], rounds: int) -> None:
    config = config_of(BATCHES)
    samples, usable = random_samples(layout_of(config))
    on_gpu, contenders = samples.to(GPU), {}
    for members in every:
        config = config_of(BATCHES, ensemble=members, epochs=EPOCHS)
        contenders[f"{members} member(s)"] = soilcast_epoch(config, on_gpu, usable, 1)
    seconds = {name: times / (EPOCHS * BATCHES) for name, times in in_turns(contenders, rounds).items()}
    title = "A step in soilcast's loop, draws and dropout included, ms"
    show_times(title, seconds, {"x the first": next(iter(seconds))}, digits=3)


def _compare_forecasts(cells: int, resolution: str, rounds: int) -> None:
    """Forecast with one network, from inputs that are on the GPU already to forecasts in memory, and from a cube."""
    sequences = torch.rand(cells, DAYS + LENGTH - 1, FEATURES, device=GPU)
    with tempfile.TemporaryDirectory() as name:
        cube, run = Path(name) / "cube", Path(name) / "run"
        prepare_planet(cube, resolution)
        train_briefly(cube, run, "lstm")
        opened = open_run(run)
        makers: dict[str, Callable[[], Work]] = {PLAIN: lambda: _plain_forecast(sequences)}
        for precision in PRODUCTS:
            makers[f"soilcast, {precision}"] = lambda precision=precision: _soilcast_forecast(
                Predictor(opened.networks, opened.config, GPU, precision), sequences
            )
        in_cube, from_cube = slice(0, open_cube(cube).sizes["cell"]), "soilcast, float32, from a cube on disk"
        makers[from_cube] = lambda: functools.partial(block_forecaster(run, cube, "2019", 1, device="cuda"), in_cube)
        seconds, peaks = _measured(makers, rounds)
    seconds = {name: times / DAYS / (in_cube.stop if name == from_cube else cells) for name, times in seconds.items()}
    title = f"Million cell-days forecast a second, {DAYS} days of {cells:,} cells; from a cube {in_cube.stop:,}"
    references, rate = {f"x {PLAIN}": PLAIN}, lambda times: 1e-6 / times
    show_times(title, seconds, references, rate, more={"peak [MiB]": peaks})


def _plain_forecast(sequences: Tensor) -> Work:
    network = PlainLSTM().to(GPU).eval()
    windows = sequences.unfold(1, LENGTH, 1).transpose(2, 3)  # (cell, window, day, feature)

    @torch.inference_mode()
    def forecast() -> list[Tensor]:
        return [network(part.flatten(0, 1)).cpu() for part in windows.split(AT_ONCE)]

    return forecast


def _soilcast_forecast(predictor: Predictor, sequences: Tensor) -> Work:
    @torch.inference_mode()
    def forecast() -> list[Tensor]:
        return [predictor.from_sequences(part, None).centre for part in sequences.split(AT_ONCE)]

    return forecast


def _repeated(make: Callable[[], Work], times: int) -> Work:
    work = make()

    def repeat() -> None:
        for _ in range(times):
            work()
        torch.cuda.synchronize()

    return repeat


def _measured(makers: Mapping[str, Callable[[], Work]], rounds: int) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Wall times ``(round,)`` [s] of each, and its peak GPU memory [MiB]."""
    contenders, peaks = {}, {}
    for name, make in makers.items():
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        contenders[name] = make()
        contenders[name]()
        peaks[name] = f"{(torch.cuda.max_memory_allocated() - before) / 2**20:,.0f}"
    return in_turns(contenders, rounds), peaks


if __name__ == "__main__":
    main()
