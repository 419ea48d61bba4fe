"""The network of the paper against Eq. 1-7 written out, step by step, in float64; trunks, and how dropout acts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from soilcast.models import HEADS, NETWORKS, Network, NetworkDesign, needs_of
from soilcast.task import Layout, Task
from soilcast.training.dropout import DropoutMask

PAPER = NetworkDesign(Layout(Task(dynamic=("t2m", "tp"), static=("clay",))), hidden_size=5, dropout=0.0)


def sigma(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def test_the_network_is_equations_1_to_7() -> None:
    torch.manual_seed(0)
    network = Network(PAPER).eval()
    inputs = torch.randn(4, 7, 3)
    weights = {name: value.detach().double().numpy() for name, value in network.named_parameters()}
    w_i, w_f, w_g, w_o = np.split(weights["trunk.weight_ih_l0"], 4)
    u_i, u_f, u_g, u_o = np.split(weights["trunk.weight_hh_l0"], 4)
    b_i, b_f, b_g, b_o = np.split(weights["trunk.bias_ih_l0"] + weights["trunk.bias_hh_l0"], 4)
    hidden = cell = np.zeros((4, 5))
    for x in inputs.double().numpy().transpose(1, 0, 2):
        i = sigma(x @ w_i.T + hidden @ u_i.T + b_i)
        f = sigma(x @ w_f.T + hidden @ u_f.T + b_f)
        g = np.tanh(x @ w_g.T + hidden @ u_g.T + b_g)
        o = sigma(x @ w_o.T + hidden @ u_o.T + b_o)
        cell = f * cell + i * g
        hidden = o * np.tanh(cell)
    expected = hidden @ weights["head.linear.weight"].T + weights["head.linear.bias"]
    found = network(inputs).detach().numpy()
    assert found.shape == (4, *network.output_shape) == (4, 1, 1, 1)
    np.testing.assert_allclose(found[:, :, 0, 0], expected, atol=1e-6)


def test_a_fresh_network_is_that_of_torch() -> None:
    """The same draws in the same order, so that the weights of the paper's designs come from the seed as ever."""
    torch.manual_seed(3)
    network = Network(PAPER)
    torch.manual_seed(3)
    trunk, linear = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 1)
    expected = [*trunk.parameters(), *linear.parameters()]
    for mine, theirs in zip(network.parameters(), expected, strict=True):
        assert torch.equal(mine, theirs)


def test_dropout_is_the_mask_that_is_given() -> None:
    torch.manual_seed(0)
    network, inputs = Network(PAPER), torch.randn(4, 7, 3)
    mask = torch.tensor([0.0, 2.0, 0.0, 2.0, 2.0]).expand(4, 1, 5)
    states, _ = network.trunk(inputs)
    expected = network.head.linear(states[:, -1] * mask[:, 0])
    for one in (network.train(), network.eval()):
        torch.testing.assert_close(one(inputs, mask)[:, 0, 0], expected)
        assert torch.equal(one(inputs), one(inputs))
        assert not torch.equal(one(inputs), one(inputs, mask))


def test_masks_drop_the_share_that_is_asked_for_and_make_up_for_it() -> None:
    masks = DropoutMask(0.3, (4, 50), [0, 1], 7).draw(100)
    assert masks is not None
    assert masks.shape == (2, 100, 4, 50)
    values = masks.unique().tolist()
    assert values == pytest.approx([0.0, 1 / 0.7], rel=1e-4)
    # Of 40 000 draws the share scatters by 0.0023.
    assert (masks == 0).float().mean().item() == pytest.approx(0.3, abs=0.012)
    for first, second in ((masks[0], masks[1]), (masks[:, :, 0], masks[:, :, 1])):
        assert not torch.equal(first, second)
    again = DropoutMask(0.3, (4, 50), [0, 1], 7).draw(100)
    assert torch.equal(masks, again)
    for other in (DropoutMask(0.3, (4, 50), [2, 3], 7), DropoutMask(0.3, (4, 50), [0, 1], 8)):
        assert not torch.equal(masks, other.draw(100))
    # A member's masks are its own, whoever is trained beside it.
    assert torch.equal(DropoutMask(0.3, (4, 50), [1], 7).draw(100)[0], masks[1])
    assert DropoutMask(0.0, (4, 50), [0, 1], 7).draw(100) is None


@pytest.mark.parametrize("head", list(HEADS))
@pytest.mark.parametrize("trunk", list(NETWORKS))
def test_any_trunk_carries_any_head(trunk: str, head: str) -> None:
    task = Task(
        dynamic=("t2m", "tp"), static=("clay",), lead_days=3, lags=("swvl1", "swvl2"), layers=("swvl1", "swvl2"),
        known_future=("tp",), neighbourhood=3 if "neighbours" in needs_of(trunk) else 1,
    )  # fmt: skip
    layout = Layout(task, physical=HEADS[head].needs_water, mass="rain" in needs_of(trunk))
    network = Network(NetworkDesign(layout, trunk, head, hidden_size=5, origin="newest", spread=(0.1, 0.2)))
    windows = torch.rand(4, layout.steps, layout.channels["physical"].stop) + 0.1
    mask = torch.ones(4, *network.mask_shape)
    output = network(windows, mask)
    assert output.shape == (4, 3, 2, 3) == (4, *network.output_shape)
    torch.testing.assert_close(network(windows), output)
    output.sum().backward()
    assert all(one.grad is not None and torch.isfinite(one.grad).all() for one in network.parameters())
