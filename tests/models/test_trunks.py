"""Trunks against their equations written out in float64, step by step; what holds for every one of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from soilcast.models import NETWORKS, Network, NetworkDesign
from soilcast.models.members import Members
from soilcast.models.trunks import EALSTM, MassConservingLSTM, build_gru
from soilcast.task import Layout, Task

TASK = Task(dynamic=("t2m", "tp"), static=("clay", "silt"), neighbourhood=3)
HIDDEN = 6
Floats = np.ndarray


def design(network: str = "lstm", **changes: object) -> NetworkDesign:
    layout = Layout(TASK.model_copy(update=changes), mass=network == "mc_lstm")
    return NetworkDesign(layout, network, hidden_size=HIDDEN, dropout=0.0)


def trunk_of(network: str, **changes: object) -> nn.Module:
    torch.manual_seed(1)
    return Network(design(network, **changes)).trunk.eval()


def windows_of(network: str, samples: int = 4, steps: int = 7) -> Tensor:
    torch.manual_seed(2)
    layout = design(network).layout
    windows = torch.randn(samples, steps, layout.features)
    windows[..., layout.channels["static"]] = windows[:, :1, layout.channels["static"]]
    windows[..., layout.channels["mass"]] = 0.01 * torch.rand(samples, steps, 1)
    return windows


def parameters(trunk: nn.Module) -> dict[str, Floats]:
    return {name: value.detach().double().numpy() for name, value in trunk.named_parameters()}


def sigma(value: Floats) -> Floats:
    return 1 / (1 + np.exp(-value))


def softmax(value: Floats, axis: int) -> Floats:
    grown = np.exp(value - value.max(axis=axis, keepdims=True))
    return grown / grown.sum(axis=axis, keepdims=True)


def expect_gru(trunk: nn.Module, windows: Floats) -> Floats:
    of = parameters(trunk)
    (w_r, w_z, w_n), (u_r, u_z, u_n) = (np.split(of[f"weight_{part}_l0"], 3) for part in ("ih", "hh"))
    (b_r, b_z, b_n), (d_r, d_z, d_n) = (np.split(of[f"bias_{part}_l0"], 3) for part in ("ih", "hh"))
    h, states = np.zeros((len(windows), HIDDEN)), []
    for x in windows.transpose(1, 0, 2):
        r = sigma(x @ w_r.T + h @ u_r.T + b_r + d_r)
        z = sigma(x @ w_z.T + h @ u_z.T + b_z + d_z)
        n = np.tanh(x @ w_n.T + b_n + r * (h @ u_n.T + d_n))
        h = (1 - z) * n + z * h
        states.append(h)
    return np.stack(states, axis=1)


def expect_ea_lstm(trunk: nn.Module, windows: Floats) -> Floats:
    of, static = parameters(trunk), design("ea_lstm").layout.channels["static"]
    w_i, w_f, w_g, w_o = np.split(of["weight_ih_l0"], 4)
    _, u_f, u_g, u_o = np.split(of["weight_hh_l0"], 4)
    b_i, b_f, b_g, b_o = np.split(of["bias_ih_l0"] + of["bias_hh_l0"], 4)
    others = [column for column in range(windows.shape[-1]) if not static.start <= column < static.stop]
    s = windows[:, 0, static]
    i = sigma(s @ w_i[:, static].T + b_i)
    h = c = np.zeros((len(windows), HIDDEN))
    states = []
    for x in windows.transpose(1, 0, 2)[..., others]:
        f, o = (sigma(x @ w[:, others].T + h @ u.T + b) for w, u, b in ((w_f, u_f, b_f), (w_o, u_o, b_o)))
        c = f * c + i * np.tanh(x @ w_g[:, others].T + h @ u_g.T + b_g)
        h = o * np.tanh(c)
        states.append(h)
    return np.stack(states, axis=1)


def expect_mc_lstm(trunk: nn.Module, windows: Floats) -> Floats:
    of, mass = parameters(trunk), design("mc_lstm").layout.channels["mass"]
    weight, bias = of["gates.weight"], of["gates.bias"]
    c, states = np.zeros((len(windows), HIDDEN)), []
    for step in windows.transpose(1, 0, 2):
        x, a = 1000 * step[:, mass], np.delete(step, mass, axis=1)
        total = c.sum(axis=1, keepdims=True)
        share = np.divide(c, total, out=np.zeros_like(c), where=total > 0)
        gates = np.concatenate((a, share), axis=1) @ weight.T + bias
        i, o, r = np.split(gates, [HIDDEN, 2 * HIDDEN], axis=1)
        moved = softmax(r.reshape(-1, HIDDEN, HIDDEN), axis=1)
        m = (moved @ c[..., np.newaxis])[..., 0] + softmax(i, axis=1) * x
        h = sigma(o) * m
        np.testing.assert_allclose((m - h).sum(axis=1) + h.sum(axis=1), c.sum(axis=1) + x[:, 0], rtol=1e-12)
        c = m - h
        states.append(np.log1p(h))
    return np.stack(states, axis=1)


def expect_transformer(trunk: nn.Module, windows: Floats) -> Floats:
    of, (samples, steps, _) = parameters(trunk), windows.shape

    def normed(u: Floats, name: str) -> Floats:
        centred = u - u.mean(axis=-1, keepdims=True)
        return centred / np.sqrt(u.var(axis=-1, keepdims=True) + 1e-5) * of[f"{name}.weight"] + of[f"{name}.bias"]

    angle = np.arange(steps)[:, np.newaxis] * 10_000.0 ** -(np.arange(0, HIDDEN, 2) / HIDDEN)
    places = np.stack((np.sin(angle), np.cos(angle)), axis=-1).reshape(steps, -1)
    u = windows @ of["embedding.weight"].T + of["embedding.bias"] + places
    heads = 2  # of 6 hidden units, as 4 does not divide them
    for block in ("encoder.layers.0", "encoder.layers.1"):
        seen = normed(u, f"{block}.norm1") @ of[f"{block}.self_attn.in_proj_weight"].T
        seen = seen + of[f"{block}.self_attn.in_proj_bias"]
        q, k, v = (part.reshape(samples, steps, heads, -1).transpose(0, 2, 1, 3) for part in np.split(seen, 3, axis=-1))
        fit = q @ k.transpose(0, 1, 3, 2) / np.sqrt(HIDDEN / heads)
        fit = np.where(np.tri(steps, dtype=bool), fit, -np.inf)
        attended = (softmax(fit, axis=-1) @ v).transpose(0, 2, 1, 3).reshape(samples, steps, -1)
        u = u + attended @ of[f"{block}.self_attn.out_proj.weight"].T + of[f"{block}.self_attn.out_proj.bias"]
        inner = normed(u, f"{block}.norm2") @ of[f"{block}.linear1.weight"].T + of[f"{block}.linear1.bias"]
        inner = functional.gelu(torch.from_numpy(inner)).numpy()
        u = u + inner @ of[f"{block}.linear2.weight"].T + of[f"{block}.linear2.bias"]
    return normed(u, "encoder.norm")


def pictures(windows: Floats) -> Floats:
    """Windows laid out by hand: ``(sample, step, row, column, channel)``, the cell itself in the middle."""
    own = design("cnn").layout.own_features
    found = np.empty((*windows.shape[:2], 3, 3, own + 1))
    around = iter(range(8))
    for row in range(3):
        for column in range(3):
            if (row, column) == (1, 1):
                found[:, :, 1, 1] = np.concatenate((windows[..., :own], np.ones((*windows.shape[:2], 1))), axis=-1)
            else:
                start = own + next(around) * (own + 1)
                found[:, :, row, column] = windows[..., start : start + own + 1]
    return found


def expect_cnn(trunk: nn.Module, windows: Floats) -> Floats:
    of = parameters(trunk)
    u = np.einsum("btrcf,ofrc->bto", pictures(windows), of["space.weight"]) + of["space.bias"]
    u = np.maximum(u, 0)
    for layer, dilation in enumerate((1, 2, 4)):
        added = u + of[f"time.{layer}.bias"]
        for back in range(3):
            for step in range(back * dilation, u.shape[1]):
                added[:, step] += u[:, step - back * dilation] @ of[f"time.{layer}.weight"][:, :, 2 - back].T
        u = np.maximum(added, 0)
    return u


def convolved(maps: Floats, kernel: Floats) -> Floats:
    padded, found = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0))), np.zeros((*maps.shape[:3], len(kernel)))
    for row in range(3):
        for column in range(3):
            found[:, row, column] = np.einsum("brcf,ofrc->bo", padded[:, row : row + 3, column : column + 3], kernel)
    return found


def expect_conv_lstm(trunk: nn.Module, windows: Floats) -> Floats:
    of, shown = parameters(trunk), pictures(windows)
    h = c = np.zeros((len(windows), 3, 3, HIDDEN))
    states = []
    for step in range(windows.shape[1]):
        sums = convolved(shown[:, step], of["inputs.weight"]) + of["inputs.bias"] + convolved(h, of["output.weight"])
        i, f, g, o = np.split(sums, 4, axis=-1)
        c = sigma(f) * c + sigma(i) * np.tanh(g)
        h = sigma(o) * np.tanh(c)
        states.append(h[:, 1, 1])
    return np.stack(states, axis=1)


EXPECTED = {
    "gru": expect_gru,
    "ea_lstm": expect_ea_lstm,
    "mc_lstm": expect_mc_lstm,
    "transformer": expect_transformer,
    "cnn": expect_cnn,
    "conv_lstm": expect_conv_lstm,
}


@pytest.mark.parametrize("network", list(EXPECTED))
def test_a_trunk_is_its_equations(network: str) -> None:
    trunk, windows = trunk_of(network), windows_of(network)
    with torch.inference_mode():
        states, _ = trunk(windows)
    np.testing.assert_allclose(states, EXPECTED[network](trunk, windows.double().numpy()), atol=3e-6)


def test_every_trunk_is_checked() -> None:
    assert {"lstm", *EXPECTED} == set(NETWORKS)  # the LSTM is in test_network.py


@pytest.mark.parametrize("network", list(NETWORKS))
def test_a_trunk_goes_on_from_its_memory(network: str) -> None:
    trunk, windows = trunk_of(network), windows_of(network)
    with torch.inference_mode():
        whole, _ = trunk(windows)
        states, memory = trunk(windows[:, :4])
        parts = [states]
        for step in range(4, 7):
            states, memory = trunk(windows[:, step : step + 1], memory)
            parts.append(states)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("network", list(NETWORKS))
def test_a_step_knows_nothing_of_later_steps_and_of_other_samples(network: str) -> None:
    trunk, windows = trunk_of(network), windows_of(network)
    with torch.inference_mode():
        expected, _ = trunk(windows)
        later = windows.clone()
        later[:, 5:] += 1.0
        found, _ = trunk(later)
        torch.testing.assert_close(found[:, :5], expected[:, :5], atol=2e-6, rtol=1e-5)
        assert not torch.allclose(found[:, 5:], expected[:, 5:])
        alone, _ = trunk(windows[2:3])
        torch.testing.assert_close(alone[0], expected[2], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("network", list(NETWORKS))
def test_gradients_are_those_of_differences(network: str) -> None:
    trunk, windows = trunk_of(network).double(), windows_of(network, samples=2, steps=3).double()
    direction = {name: torch.randn_like(value) for name, value in trunk.named_parameters()}
    weight = torch.randn(2, 3, HIDDEN, dtype=torch.float64)

    def total(step: float) -> Tensor:
        moved = {name: value + step * direction[name] for name, value in trunk.named_parameters()}
        return (torch.func.functional_call(trunk, moved, (windows,))[0] * weight).sum()

    gradients = torch.autograd.grad(total(0.0), list(trunk.parameters()))
    along = sum((one * direction[name]).sum() for one, name in zip(gradients, direction, strict=True))
    with torch.no_grad():
        slope = (total(1e-5) - total(-1e-5)) / 2e-5
    # The mass is float32 whatever the rest is, so differences of it are coarse.
    torch.testing.assert_close(along, slope, rtol=2e-2 if network == "mc_lstm" else 1e-6, atol=1e-6)


def test_mass_is_conserved_in_every_step() -> None:
    trunk = trunk_of("mc_lstm")
    assert isinstance(trunk, MassConservingLSTM)
    windows = windows_of("mc_lstm", samples=100, steps=60)
    with torch.inference_mode():
        states, cell, residual = trunk.balance(windows)
    rain = 1000 * windows[..., design("mc_lstm").layout.channels["mass"]].double().sum(dim=(1, 2))
    left = cell.double().sum(dim=-1) + torch.expm1(states.double()).sum(dim=(1, 2))
    torch.testing.assert_close(left, rain, rtol=1e-6, atol=1e-6)
    assert residual.abs().max() / cell.sum(dim=-1).max() < 1e-6
    assert (cell >= 0).all()


def test_an_ea_lstm_keeps_to_its_connections_whatever_it_learns() -> None:
    trunk = trunk_of("ea_lstm")
    assert isinstance(trunk, EALSTM)
    static = design("ea_lstm").layout.channels["static"]
    weight, output = trunk.weight_ih_l0.detach(), trunk.weight_hh_l0.detach()
    assert (weight[HIDDEN:, static] == 0).all()
    assert (output[:HIDDEN] == 0).all()
    others = torch.ones(weight.shape[1], dtype=torch.bool)
    others[static] = False
    assert (weight[:HIDDEN, others] == 0).all()
    members = Members([Network(design("ea_lstm")), Network(design("ea_lstm"))])
    absent = members.absent()
    assert absent is not None
    assert (members.weights[absent.expand_as(members.weights)] == 0).all()
    assert Members([Network(design())]).absent() is None


def test_a_gru_is_that_of_torch() -> None:
    torch.manual_seed(3)
    mine = build_gru(replace(design(), hidden_size=5))
    torch.manual_seed(3)
    theirs = nn.GRU(design().layout.features, 5, batch_first=True)
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
