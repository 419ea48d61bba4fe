"""Eq. 1-6 after the matrix products: compiled (lstm_kernel.c) where it can be, with torch's own operations elsewhere.

Shapes: ``gates (..., sample, 4 * hidden)`` in torch's order (input, forget, candidate, output), all others
``(..., sample, hidden)``; float32. A sum is what enters a gate's sigmoid or tanh.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_POINTER, _COUNT = ctypes.c_void_p, ctypes.c_int64


BoundStep = Callable[[], None]
"""A day's step on tensors that stay where they are: bound once, called on every batch."""


def bind_forward(gates: Tensor, before: Tensor | None, cell: Tensor, bounded: Tensor, output: Tensor) -> BoundStep:
    """One day's step that keeps what back-propagation needs.

    Parameters
    ----------
    gates
        The sums; become the activations.
    before
        c_{t-1}; None where it is 0.
    cell, bounded, output
        Receive c_t, tanh(c_t) and h_t.
    """
    if _compiled(gates):
        return _bound("soilcast_cell_forward", (gates, before, cell, bounded, output))
    i, f, g, o = torch.split(gates, cell.shape[-1], dim=-1)

    def step() -> None:
        candidate = torch.tanh(g)
        gates.sigmoid_()
        g.copy_(candidate)
        torch.mul(i, g, out=cell)
        if before is not None:
            cell.addcmul_(f, before)
        torch.tanh(cell, out=bounded)
        torch.mul(o, bounded, out=output)

    return step


def bind_backward(
    gates: Tensor, before: Tensor | None, bounded: Tensor, grad_output: Tensor, grad_cell: Tensor, *, last: bool
) -> BoundStep:
    """One day's step back.

    Parameters
    ----------
    gates
        The activations that the step forward left; become the gradients of the loss with respect to the sums.
    before, bounded
        c_{t-1} (None where it is 0) and tanh(c_t).
    grad_output
        Gradient of the loss with respect to h_t.
    grad_cell
        Gradient with respect to c_t that comes from the days after; becomes that of c_{t-1}.
    last
        There is no day after, whatever ``grad_cell`` holds.
    """
    if _compiled(gates):
        return _bound("soilcast_cell_backward", (gates, before, bounded, grad_output, grad_cell), int(last))
    i, f, g, o = torch.split(gates, bounded.shape[-1], dim=-1)

    def step() -> None:
        if last:
            grad_cell.zero_()
        grad_cell.add_(grad_output * o * (1 - bounded * bounded))
        grad_input, grad_candidate = grad_cell * g * i * (1 - i), grad_cell * i * (1 - g * g)
        o.copy_(grad_output * bounded * o * (1 - o))
        i.copy_(grad_input)
        g.copy_(grad_candidate)
        carried = grad_cell * f
        f.copy_(torch.zeros_like(f) if before is None else carried * (1 - f) * before)
        grad_cell.copy_(carried)

    return step


def infer(from_inputs: Tensor, from_output: Tensor | None, cell: Tensor, output: Tensor) -> None:
    """Take one day's step of a forecast, without keeping anything for back-propagation.

    Parameters
    ----------
    from_inputs
        The inputs' part of the sums, float32.
    from_output
        h_{t-1}'s part of the sums, in the type of ``output``; None on the first day, when c and h are 0.
    cell, output
        c and h, of the day before; become those of the day. ``output`` may be float32 or bfloat16.
    """
    if _compiled(cell):
        suffix = {torch.float32: "float32", torch.bfloat16: "bfloat16"}[output.dtype]
        _bound(f"soilcast_cell_infer_{suffix}", (from_inputs, from_output, cell, output))()
        return
    sums = from_inputs if from_output is None else from_inputs + from_output
    i, f, g, o = torch.split(sums, cell.shape[-1], dim=-1)
    added = torch.sigmoid(i) * torch.tanh(g)
    cell.copy_(added if from_output is None else torch.sigmoid(f) * cell + added)
    output.copy_(torch.sigmoid(o) * torch.tanh(cell))


def fused_forward(from_inputs: Tensor, from_output: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take one day's step on a GPU with one kernel, that of ``nn.LSTMCell``.

    Parameters
    ----------
    from_inputs, from_output
        The parts of the sums ``(member, sample, 4 * hidden)``.
    before
        c_{t-1} ``(member, sample, hidden)``.

    Returns
    -------
    h_t, c_t, and the activations for `fused_backward`.
    """
    flat = (tensor.flatten(0, 1) for tensor in (from_inputs, from_output, before))
    outputs = torch.ops.aten._thnn_fused_lstm_cell(*flat)
    output, cell, gates = (tensor.unflatten(0, before.shape[:2]) for tensor in outputs)
    return output, cell, gates


def fused_backward(
    grad_output: Tensor, grad_cell: Tensor, before: Tensor, cell: Tensor, gates: Tensor
) -> tuple[Tensor, Tensor]:
    """Take one day's step back on a GPU with one kernel.

    Parameters
    ----------
    grad_output, grad_cell
        Gradients of the loss with respect to h_t, and to c_t from the days after, ``(member, sample, hidden)``.
    before, cell, gates
        c_{t-1}, and what `fused_forward` gave.

    Returns
    -------
    Gradients with respect to the sums and to c_{t-1}.
    """
    flat = (tensor.flatten(0, 1) for tensor in (grad_output, grad_cell, before, cell, gates))
    gradients = torch.ops.aten._thnn_fused_lstm_cell_backward_impl(*flat, False)
    grad_sums, grad_previous_cell = (tensor.unflatten(0, before.shape[:2]) for tensor in gradients[:2])
    return grad_sums, grad_previous_cell


@functools.cache
def library() -> ctypes.CDLL | None:
    """Load what lstm_kernel.c was compiled to when soilcast was installed, if there was a compiler.

    Without it the networks are the same, and slower.
    """
    spec = importlib.util.find_spec("soilcast.models._lstm_kernel")
    if spec is None or spec.origin is None:
        return None
    compiled = ctypes.CDLL(spec.origin)
    compiled.soilcast_cell_forward.argtypes = [_COUNT, _COUNT, *[_POINTER] * 5]
    compiled.soilcast_cell_backward.argtypes = [_COUNT, _COUNT, *[_POINTER] * 5, ctypes.c_int32]
    for name in ("float32", "bfloat16"):
        getattr(compiled, f"soilcast_cell_infer_{name}").argtypes = [_COUNT, _COUNT, *[_POINTER] * 4]
    compiled.soilcast_wait_for.argtypes = compiled.soilcast_set.argtypes = [_POINTER, _COUNT]
    for name in ("cell_forward", "cell_backward", "cell_infer_float32", "cell_infer_bfloat16", "wait_for", "set"):
        getattr(compiled, f"soilcast_{name}").restype = None
    return compiled


def _compiled(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and library() is not None


def _bound(name: str, tensors: Sequence[Tensor | None], *more: int) -> BoundStep:
    """Bind the compiled step to where the tensors lie, member by member: those of one lie together, of all need not."""
    gates = tensors[0]
    assert gates is not None
    if gates.dim() == 2:
        # The compiled step walks over memory as it lies.
        assert all(tensor is None or tensor.is_contiguous() for tensor in tensors), "a member's tensors are contiguous"
        addresses = (None if tensor is None else tensor.data_ptr() for tensor in tensors)
        return functools.partial(getattr(library(), name), len(gates), gates.shape[1] // 4, *addresses, *more)
    of_members = zip(*([None] * len(gates) if tensor is None else tensor for tensor in tensors), strict=True)
    steps = [_bound(name, of_member, *more) for of_member in of_members]
    return steps[0] if len(steps) == 1 else functools.partial(_in_turn, steps)


def _in_turn(steps: Sequence[BoundStep]) -> None:
    for step in steps:
        step()
