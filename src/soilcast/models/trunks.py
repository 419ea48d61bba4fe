"""Trunks that read the window of a cell step by step; those of neighbouring cells: `soilcast.models.neighbourhood`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from soilcast.models.design import NetworkDesign

_ATTENTION_HEADS = 4
_ATTENTION_BLOCKS = 2
_WAVELENGTH = 10_000.0
"""The longest wavelength of the positions over 2 pi (Vaswani et al. 2017) [step]."""


def build_lstm(design: NetworkDesign) -> nn.Module:
    """Build the LSTM of Eq. 1-6 of Geng et al. (2024): one layer, c_0 = h_0 = 0."""
    return nn.LSTM(design.layout.features, design.hidden_size, batch_first=True)


def build_gru(design: NetworkDesign) -> nn.Module:
    """Build the gated recurrent unit of Cho et al. (2014), arXiv:1406.1078, as torch has it: one layer, h_0 = 0.

    With x the inputs of a step, r the reset gate and z the update gate::

        r  = sigmoid(W_r x + U_r h + b_r)
        z  = sigmoid(W_z x + U_z h + b_z)
        n  = tanh(W_n x + b_n + r (U_n h + b_hn))
        h' = (1 - z) n + z h
    """
    return nn.GRU(design.layout.features, design.hidden_size, batch_first=True)


class EALSTM(nn.LSTM):
    """The entity-aware LSTM of Kratzert et al. (2019), doi:10.5194/hess-23-5089-2019, Eq. 1-6 there.

    With s the static inputs of a cell and x the other inputs of a step, the input gate opens by the cell alone::

        i  = sigmoid(W_i s + b_i)
        f  = sigmoid(W_f x + U_f h + b_f)
        g  = tanh(W_g x + U_g h + b_g)
        o  = sigmoid(W_o x + U_o h + b_o)
        c' = f c + i g
        h' = o tanh(c')

    It is an LSTM without some connections (`absent`), so that whatever computes an LSTM computes it.
    """

    needs: ClassVar = frozenset({"static"})

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__(design.layout.features, design.hidden_size, batch_first=True)
        self._static = design.layout.channels["static"]
        with torch.no_grad():
            for name, absent in self.absent().items():
                self.get_parameter(name).masked_fill_(absent, 0.0)

    def absent(self) -> Mapping[str, Tensor]:
        """Mark what of each parameter stays 0: of x and h in the input gate, and of s in the other gates."""
        weights = {name: self.get_parameter(name) for name in ("weight_ih_l0", "weight_hh_l0")}
        inputs, output = (torch.zeros_like(one, dtype=torch.bool) for one in weights.values())
        inputs[:, self._static] = True
        inputs[: self.hidden_size] = ~inputs[: self.hidden_size]
        output[: self.hidden_size] = True
        return dict(zip(weights, (inputs, output), strict=True))


class MassConservingLSTM(nn.Module):
    """The mass-conserving LSTM of Hoedt et al. (2021), arXiv:2101.05186, Eq. 2-8 there: rain is the mass.

    With x the rain [mm d-1], a the other inputs of a step and c the mass in the memory cells [mm]::

        i  = softmax(W_i a + U_i c / |c|_1 + b_i)
        o  = sigmoid(W_o a + U_o c / |c|_1 + b_o)
        R  = softmax(W_r a + U_r c / |c|_1 + b_r), over where the mass of a cell goes
        m  = R c + i x
        h  = o m
        c' = (1 - o) m

    So |c'|_1 + |h|_1 = |c|_1 + x in every step. The states are log(1 + h), which takes millimetres to the scale of
    other trunks; rain that is not known is 0.
    """

    needs: ClassVar = frozenset({"rain"})

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__()
        self._hidden, self._mass = design.hidden_size, design.layout.channels["mass"]
        self.gates = nn.Linear(design.layout.features - 1 + self._hidden, self._hidden * (2 + self._hidden))
        with torch.no_grad():
            entries, outputs, moves = self._parts(self.gates.bias)
            entries.zero_()
            outputs.fill_(-3.0)  # what enters stays for some weeks at first
            moves.copy_(5.0 * torch.eye(self._hidden).flatten())

    def forward(self, windows: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `soilcast.models.design.NETWORKS`; the memory is c ``(sample, hidden)`` [mm]."""
        states, memory, _ = self.balance(windows, memory)
        return states, memory

    def balance(self, windows: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Give states, memory, and |c'|_1 + |h|_1 - |c|_1 - x of every step ``(sample, step)`` [mm]."""
        # Sums of what is conserved are float32 whatever the products are.
        rain = 1000.0 * windows[..., self._mass].float()
        others = torch.cat((windows[..., : self._mass.start], windows[..., self._mass.stop :]), dim=-1)
        cell = rain.new_zeros(len(windows), self._hidden) if memory is None else memory
        from_inputs = functional.linear(others, self.gates.weight[:, : others.shape[-1]], self.gates.bias)
        states, residuals = [], []
        for step in range(windows.shape[1]):
            share = cell / cell.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
            recurrent = functional.linear(share.to(windows.dtype), self.gates.weight[:, others.shape[-1] :])
            enter, leave, move = self._parts((from_inputs[:, step] + recurrent).float())
            moved = torch.softmax(move.view(-1, self._hidden, self._hidden), dim=-2)
            mass = torch.einsum("sto,so->st", moved, cell) + torch.softmax(enter, dim=-1) * rain[:, step]
            output = torch.sigmoid(leave) * mass
            before, cell = cell, mass - output
            residuals.append((cell + output - before).sum(dim=-1) - rain[:, step, 0])
            states.append(torch.log1p(output))
        return torch.stack(states, dim=1), cell, torch.stack(residuals, dim=1)

    def _parts(self, gates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        enter, leave, move = torch.split(gates, [self._hidden, self._hidden, self._hidden**2], dim=-1)
        return enter, leave, move


class Transformer(nn.Module):
    """A small encoder of Vaswani et al. (2017), arXiv:1706.03762: two blocks of causal self-attention over the window.

    With x the inputs of the steps and p their positions as sines and cosines::

        u      = W x + b + p
        u     := u + attention(norm(u))
        u     := u + W_2 GELU(W_1 norm(u) + b_1) + b_2
        states = norm(u)

    A step attends to itself and to those before it, so that a forecast day sees no weather of later days.
    """

    def __init__(self, design: NetworkDesign) -> None:
        super().__init__()
        hidden = design.hidden_size
        heads = math.gcd(_ATTENTION_HEADS, hidden)
        self.embedding = nn.Linear(design.layout.features, hidden)
        block = nn.TransformerEncoderLayer(
            hidden, heads, 2 * hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(block, _ATTENTION_BLOCKS, nn.LayerNorm(hidden), enable_nested_tensor=False)
        for parameter in self.encoder.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)  # the blocks begin as copies of one

    def forward(self, windows: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `soilcast.models.design.NETWORKS`; the memory are all steps so far."""
        seen = windows if memory is None else torch.cat((memory, windows), dim=1)
        steps = seen.shape[1]
        later = torch.full((steps, steps), -torch.inf, dtype=seen.dtype, device=seen.device).triu(1)
        embedded = self.embedding(seen)
        states = self.encoder(embedded + positions(steps, embedded), mask=later, is_causal=True)
        return states[:, -windows.shape[1] :], seen


def positions(steps: int, like: Tensor) -> Tensor:
    """Sines and cosines of the positions of some steps ``(step, hidden)``, of the type and device of ``like``."""
    hidden = like.shape[-1]
    wave = torch.arange(0, hidden, 2, device=like.device) / hidden
    angle = torch.arange(steps, device=like.device).unsqueeze(-1) * _WAVELENGTH**-wave
    return torch.stack((torch.sin(angle), torch.cos(angle)), dim=-1).flatten(1)[:, :hidden].to(like.dtype)
