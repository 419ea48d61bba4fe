"""The native engine: an LSTM that is trained and forecasts on a CPU by compiled code, one set of it an instruction set.

Where it was not compiled, or ``SOILCAST_ENGINE=torch`` asks for it, torch does the same, more slowly.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from soilcast.errors import SoilcastError
from soilcast.models.heads import CHANGE
from soilcast.models.members import Members
from soilcast.models.recurrence import RecurrentWeights, recurrent_weights

VARIABLE = "SOILCAST_ENGINE"
"""The environment variable that chooses: ``torch``, or the name of an instruction set that the processor has."""

MOST_LEVELS = 64
"""Quantiles that a loss of `learn` may have (engine.h)."""

_ADDRESS, _COUNT, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


def _structure(name: str, **fields: Any) -> Any:
    """A structure of engine.h."""
    return type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})


_Shape = _structure("Shape", **dict.fromkeys(("days", "samples", "features", "hidden"), _COUNT))
_Parameters = _structure("Parameters", **dict.fromkeys(("inputs", "output", "bias_inputs", "bias_output"), _ADDRESS))
_Inputs = _structure("Inputs", values=_ADDRESS, day_stride=_COUNT, sample_stride=_COUNT)
_State = _structure("State", trunk=_Parameters, head=_ADDRESS, bias=_ADDRESS)
_Rule = _structure("Rule", **dict.fromkeys(("rate", "beta1", "beta2", "epsilon"), _FLOAT), steps=_COUNT)
_Head = _structure(
    "Head",
    **dict.fromkeys(("leads", "states", "layers", "numbers", "skipped", "skip_day"), _COUNT),
    skip_columns=_ADDRESS,
    **dict.fromkeys(("has_origin", "origin_column", "origin_day", "origin_moves"), _COUNT),
    change=_FLOAT,
    lead1_only=ctypes.c_bool,
)
_Loss = _structure(
    "Loss",
    levels=_ADDRESS,
    lead_weights=_ADDRESS,
    levels_count=_COUNT,
    data_weight=_FLOAT,
    physical_weight=_FLOAT,
    is_root=ctypes.c_bool,
    is_guided=ctypes.c_bool,
)
_Lesson = _structure(
    "Lesson",
    **dict.fromkeys(("steps", "members", "channels"), _COUNT),
    windows=_ADDRESS,
    window_days=_COUNT,
    **dict.fromkeys(("observed", "error_scale", "previous", "depth", "water_sign", "draws", "losses"), _ADDRESS),
    dropped_below=ctypes.c_uint32,
    trunk_learns=ctypes.c_bool,
    head_learns=ctypes.c_bool,
    head=_Head,
    loss=_Loss,
    rule=_Rule,
)


@functools.cache
def _library() -> ctypes.CDLL | None:
    spec = importlib.util.find_spec("soilcast.models.native._engine")
    if spec is None or spec.origin is None:
        return None
    library = ctypes.CDLL(spec.origin)
    library.soilcast_engine_name.restype = ctypes.c_char_p
    library.soilcast_trunk_new.restype = _ADDRESS
    for name in ("engines", "engine_is_supported", "infer", "learn"):
        getattr(library, f"soilcast_{name}").restype = _COUNT
    return library


def least_operations() -> ctypes.c_int64:
    """Give the least work of a part of a batch that has a thread of its own, to be changed in place (interface.cpp)."""
    library = _library()
    assert library is not None, "an engine that was compiled"
    return ctypes.c_int64.in_dll(library, "soilcast_least_operations")


def _call(name: str, *arguments: Any) -> Any:
    """Call a function of interface.cpp: integers are 64 bits wide, tensors and structures go by their address."""
    return getattr(_library(), f"soilcast_{name}")(*map(_argument, arguments))


def _argument(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _ADDRESS(value.data_ptr())
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    return _COUNT(value) if isinstance(value, int) else value


def _compiled() -> dict[str, int]:
    """The engines that were compiled by name, with their number in interface.cpp; the faster ones come later."""
    if _library() is None:
        return {}
    return {_call("engine_name", number).decode(): number for number in range(_call("engines"))}


def engines() -> list[str]:
    """Give the instruction sets that this processor has and whose engine was compiled, the fastest last."""
    return [name for name, number in _compiled().items() if _call("engine_is_supported", number)]


def engine_name() -> str:
    """Give what networks on a CPU go through: an instruction set, or ``torch``.

    Raises
    ------
    SoilcastError
        ``SOILCAST_ENGINE`` names what this processor or installation lacks.
    """
    there, wanted = ["torch", *engines()], os.environ.get(VARIABLE)
    if wanted and wanted not in there:
        raise SoilcastError(f"{VARIABLE}={wanted}: here there is {', '.join(there)}: use one of these, or unset it")
    return wanted or there[-1]


class NativeRecurrence:
    """Forward and backward through time on a CPU: see `soilcast.models.recurrence.Recurrence`.

    Parameters
    ----------
    weights
        The parameters.
    gradients
        Where `backward` writes the gradients with respect to them.
    product
        Type of the matrix products with h: float32, or bfloat16 for mixed precision (sums, cells and gradients stay
        float32).
    threads
        Threads that members and parts of a batch are shared among; 0 for as many as torch uses.
    """

    def __init__(
        self, weights: RecurrentWeights, gradients: RecurrentWeights, product: torch.dtype, threads: int = 0
    ) -> None:
        self._engine, self._bfloat16 = _compiled()[engine_name()], int(product == torch.bfloat16)
        self._weights, self._gradients, self._threads = weights, gradients, threads
        self._members, _, self._features = weights.inputs.shape
        self._hidden = weights.output.shape[2]
        self._trunk: _Trunk | None = None

    def forward(self, windows: Tensor, count: int = 1) -> Tensor:
        """See `soilcast.models.recurrence.Recurrence`."""
        shape = self._shape_of(windows)
        if self._trunk is None or self._trunk.key != bytes(shape):
            self._trunk = _Trunk(self._engine, self._thread_count(), self._members, shape, self._bfloat16)
        self._inputs = _inputs(windows)
        states = windows.new_empty(self._members, count, windows.shape[2], self._hidden)
        _call("trunk_forward", self._trunk.address, *self._inputs[1:], *_parameters(self._weights), states, count)
        return states

    def backward(self, grad: Tensor) -> None:
        """See `soilcast.models.recurrence.Recurrence`."""
        assert self._trunk is not None, "forward comes first"
        grad = grad.contiguous()
        arguments = (self._trunk.address, *self._inputs[1:], grad, grad.shape[1], *_parameters(self._gradients))
        _call("trunk_backward", *arguments)

    def infer(self, windows: Tensor, count: int = 1) -> Tensor:
        """See `soilcast.models.recurrence.Recurrence`."""
        states = windows.new_empty(self._members, count, windows.shape[2], self._hidden)
        self._infer(self._shape_of(windows), windows, 0, states, count)
        return states

    def infer_sequences(self, sequences: Tensor, length: int) -> Tensor:
        """See `soilcast.models.recurrence.Recurrence`; what a day's inputs add to the sums is computed once for all."""
        cells, days, _ = sequences.shape
        states = sequences.new_empty(self._members, cells, days - length + 1, self._hidden)
        shape = _Shape(length, cells, self._features, self._hidden)
        self._infer(shape, sequences.contiguous().expand(self._members, -1, -1, -1), days, states, 1)
        return states

    def _infer(self, shape: Any, inputs: Tensor, days: int, states: Tensor, count: int) -> None:
        kept = _inputs(inputs)
        setting = (self._engine, self._thread_count(), self._members, shape, self._bfloat16)
        _refuse(_call("infer", *setting, *kept[1:], days, *_parameters(self._weights), states, count))

    def _shape_of(self, windows: Tensor) -> Any:
        return _Shape(windows.shape[1], windows.shape[2], self._features, self._hidden)

    def _thread_count(self) -> int:
        return self._threads or torch.get_num_threads()


class _Trunk:
    """The memory of `NativeRecurrence` for windows of one shape."""

    def __init__(self, engine: int, threads: int, members: int, shape: Any, bfloat16: int) -> None:
        self.key = bytes(shape)
        address = _call("trunk_new", engine, threads, members, shape, bfloat16)
        _refuse(_NO_MEMORY if address is None else 0)
        self.address = _ADDRESS(address)
        weakref.finalize(self, _call, "trunk_free", self.address)


_NO_MEMORY, _NO_THREADS = 1, 2


def _refuse(outcome: int) -> None:
    if outcome == _NO_MEMORY:
        raise MemoryError("too little memory for the activations of a batch")
    if outcome == _NO_THREADS:
        raise SoilcastError("the system starts no more threads: set train.threads=1")


def _inputs(windows: Tensor) -> tuple[Tensor, Any, int]:
    """Give windows ``(member, day, sample, feature)`` for interface.cpp, and what they lie in, to be kept as long."""
    if windows.stride(-1) != 1:
        windows = windows.contiguous()
    return windows, _Inputs(windows.data_ptr(), windows.stride(1), windows.stride(2)), windows.stride(0)


def _parameters(weights: RecurrentWeights) -> tuple[Any, int]:
    of_first = (weights.inputs, weights.output, weights.bias_inputs, weights.bias_output)
    assert all(one[0].is_contiguous() for one in of_first), "a member's parameters lie together"
    stride = weights.inputs.stride(0) if len(weights.inputs) > 1 else 0
    return _Parameters(*(one.data_ptr() for one in of_first)), stride


@dataclass(frozen=True)
class Adam:
    """The state of Adam, changed in place, and its settings.

    Parameters
    ----------
    mean, square
        Moving averages of the gradients and of their squares ``(member, parameter)`` float32.
    rate
        The learning rate.
    steps
        Steps that were taken before.
    betas, epsilon
        Beta_1 and beta_2, and epsilon.
    """

    mean: Tensor
    square: Tensor
    rate: float
    steps: int
    betas: tuple[float, float]
    epsilon: float


@dataclass(frozen=True)
class LinearLoss:
    """A loss that the engine knows, of heads that are one linear layer for each lead.

    Parameters
    ----------
    weights
        l1 and l2 of Eq. 8. With an l2 it is that of one lead and layer.
    is_root
        Whether the mean score of the data is rooted: of squared errors that is Eq. 9.
    levels
        Of the quantiles whose pinball losses are added to the squared error.
    lead_weights
        Of each lead time; none for 1.
    """

    weights: tuple[float, float]
    is_root: bool
    levels: tuple[float, ...] = ()
    lead_weights: tuple[float, ...] = ()


def learn(
    members: Members,
    adam: Adam,
    loss: LinearLoss,
    windows: Tensor,
    targets: Mapping[str, Tensor | None],
    *,
    draws: Tensor | None = None,
    dropped_below: int = 0,
    frozen: Sequence[str] = (),
    product: torch.dtype = torch.float32,
    threads: int = 0,
) -> Tensor:
    """Train networks whose head is `soilcast.models.heads.Head`, a step a batch.

    Parameters
    ----------
    members
        The networks, whose weights change.
    windows
        ``(batch, member, step, sample, channel)`` float32.
    targets
        Those of `soilcast.training.losses.Targets` by name, ``(batch, member, sample, ...)``.
    draws, dropped_below
        Dropout: units whose draw ``(batch, member, sample, lead, hidden)`` uint16 is below are dropped.
    frozen
        ``trunk`` or ``head``, if it does not learn.
    product
        Type of the matrix products with h.
    threads
        See `NativeRecurrence`.

    Returns
    -------
    The loss, its part of the data and its physical part, ``(batch, member, 3)``.
    """
    batches, count, days, samples, channels = windows.shape
    network = members.networks[0]
    layout, head = network.design.layout, network.head
    losses = windows.new_empty(batches, count, 3)
    # As long as these are there the addresses below are those of something.
    held = {name: one.contiguous() for name, one in targets.items() if one is not None}
    held |= {"windows": windows.contiguous(), "losses": losses} | ({} if draws is None else {"draws": draws})
    levels, lead_weights = torch.tensor(loss.levels), torch.tensor(loss.lead_weights)
    columns = torch.tensor(head.skip_columns, dtype=torch.int64)
    origin = head.origin_of_window
    lesson = _Lesson(
        steps=batches,
        members=count,
        channels=channels,
        window_days=days,
        **{name: one.data_ptr() for name, one in held.items()},
        dropped_below=dropped_below,
        trunk_learns="trunk" not in frozen,
        head_learns="head" not in frozen,
        head=_Head(
            leads=layout.task.lead_days,
            states=len(range(layout.steps)[head.used_steps]),
            layers=head.numbers[0],
            numbers=head.numbers[1],
            skipped=len(columns),
            skip_day=layout.task.window - 1,
            skip_columns=columns.data_ptr(),
            has_origin=origin is not None,
            **dict(zip(("origin_column", "origin_day", "origin_moves"), origin or (0, 0, 0), strict=True)),
            change=CHANGE,
            lead1_only=head.design.lead1_only,
        ),
        loss=_Loss(
            levels=levels.data_ptr(),
            lead_weights=lead_weights.data_ptr() or None,
            levels_count=len(levels),
            data_weight=loss.weights[0],
            physical_weight=loss.weights[1],
            is_root=loss.is_root,
            is_guided=bool(loss.weights[1]) and targets["depth"] is not None,
        ),
        rule=_Rule(adam.rate, *adam.betas, adam.epsilon, adam.steps),
    )
    shape = _Shape(head.used_steps.stop, samples, layout.features, network.design.hidden_size)
    setting = (_compiled()[engine_name()], threads or torch.get_num_threads(), shape, int(product == torch.bfloat16))
    states = (_state(members, one) for one in (members.weights, adam.mean, adam.square))
    _refuse(_call("learn", *setting, lesson, *states, members.weights.stride(0)))
    return losses


def _state(members: Members, stacked: Tensor) -> Any:
    head = (members.of(stacked, f"head.linear.{part}").data_ptr() for part in ("weight", "bias"))
    return _State(_parameters(recurrent_weights(members, stacked))[0], *head)
