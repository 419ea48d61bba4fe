"""The pass that is written out against torch's own LSTM: forecasts, slopes, ensembles; compiled and not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from soilcast.models import LSTM, cell
from soilcast.models.members import Members
from soilcast.models.passes import AutogradPass, LSTMPass, make_pass

sizes = st.integers(1, 20)


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def _way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test here runs with the compiled step and without."""
    if request.param == "compiled" and not cell.is_compiled():
        pytest.skip("soilcast was installed without a compiler")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            patch.setattr(cell, "library", lambda: None)
        yield


def networks(members: int, features: int, hidden: int) -> list[nn.Module]:
    torch.manual_seed(0)
    return [LSTM(features, hidden, dropout=0.0) for _ in range(members)]


def slopes_by_autograd(network: nn.Module, windows: Tensor, slope: Tensor) -> dict[str, Tensor]:
    """In float64, by torch's own LSTM; ``windows (day, sample, feature)``."""
    exact = LSTM(windows.shape[-1], network.head.in_features, dropout=0.0).double()
    exact.load_state_dict(network.state_dict())
    exact(windows.transpose(0, 1).double()).backward(slope.double())
    return {name: parameter.grad for name, parameter in exact.named_parameters() if parameter.grad is not None}


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 9), sizes, st.integers(1, 5), sizes)
def test_forecasts_and_slopes_are_those_of_torch(
    members: int, days: int, samples: int, features: int, hidden: int
) -> None:
    stacked = Members(networks(members, features, hidden))
    windows, slope = torch.randn(members, days, samples, features), torch.randn(members, samples)
    passing = make_pass(stacked)
    assert isinstance(passing, LSTMPass)
    forecasts = passing.forward(windows, None)
    passing.backward(slope)
    torch.testing.assert_close(passing.infer(windows), forecasts, atol=1e-6, rtol=1e-5)
    for member, network in enumerate(stacked.networks):
        expected = network(windows[member].transpose(0, 1))
        torch.testing.assert_close(forecasts[member], expected, atol=1e-6, rtol=1e-5)
        for name, exact in slopes_by_autograd(network, windows[member], slope[member]).items():
            found = stacked.of(stacked.slopes, name)[member]
            torch.testing.assert_close(found.double(), exact, atol=2e-5, rtol=1e-4)


def test_a_second_batch_of_another_size_leaves_nothing_of_the_first() -> None:
    stacked = Members(networks(1, 3, 8))
    passing = make_pass(stacked)
    for samples in (16, 5, 16):
        windows, slope = torch.randn(1, 7, samples, 3), torch.randn(1, samples)
        passing.forward(windows, None)
        passing.backward(slope)
        for name, exact in slopes_by_autograd(stacked.networks[0], windows[0], slope[0]).items():
            torch.testing.assert_close(stacked.of(stacked.slopes, name)[0].double(), exact, atol=2e-5, rtol=1e-4)


def test_dropout_acts_on_the_last_output_and_its_slopes() -> None:
    stacked = Members(networks(1, 3, 8))
    passing, windows, slope = make_pass(stacked), torch.randn(1, 7, 5, 3), torch.randn(1, 5)
    kept = (torch.rand(1, 5, 8) > 0.4) / 0.6
    network = stacked.networks[0]
    hidden, _ = network.lstm(windows[0].transpose(0, 1))
    expected = network.head(hidden[:, -1] * kept[0]).squeeze(-1)
    torch.testing.assert_close(passing.forward(windows, kept)[0], expected, atol=1e-6, rtol=1e-5)
    passing.backward(slope)
    by_torch = torch.autograd.grad(expected, list(network.parameters()), slope[0])
    for (name, _), exact in zip(network.named_parameters(), by_torch, strict=True):
        torch.testing.assert_close(stacked.of(stacked.slopes, name)[0], exact, atol=2e-5, rtol=1e-4)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 2), st.integers(1, 4), st.integers(1, 8), st.integers(0, 12), st.integers(1, 4))
def test_a_sweep_is_every_window_by_itself(members: int, cells: int, length: int, more: int, features: int) -> None:
    sequences = torch.randn(cells, length + more, features)
    stacked = Members(networks(members, features, 8))
    for passing in (make_pass(stacked), AutogradPass(stacked, torch.float32)):
        swept = passing.sweep(sequences, length)
        assert swept.shape == (members, cells, more + 1)
        for first in range(more + 1):
            windows = sequences[:, first : first + length].transpose(0, 1).expand(members, -1, -1, -1)
            torch.testing.assert_close(swept[:, :, first], passing.infer(windows), atol=1e-5, rtol=1e-5)


def test_bfloat16_products_stay_near() -> None:
    stacked = Members(networks(2, 5, 64))
    windows, slope = torch.rand(2, 7, 32, 5), torch.randn(2, 32)
    exact, mixed = make_pass(stacked), make_pass(stacked, torch.bfloat16)
    forecasts = exact.forward(windows, None).clone()
    exact.backward(slope)
    slopes = stacked.slopes.clone()
    # bfloat16 holds 8 bits: about 0.4 % of each of the few numbers that are added.
    torch.testing.assert_close(mixed.forward(windows, None), forecasts, atol=5e-3, rtol=0.0)
    torch.testing.assert_close(mixed.infer(windows), forecasts, atol=5e-3, rtol=0.0)
    mixed.backward(slope)
    assert (stacked.slopes - slopes).norm() < 0.02 * slopes.norm()


def test_extreme_and_missing_sums_do_what_sigmoid_and_tanh_do() -> None:
    sums = torch.tensor([-1e30, -100.0, -40.0, -1.0, 0.0, 1.0, 40.0, 100.0, 1e30, float("nan")])
    gates = sums.repeat(4).unsqueeze(0)
    before, made = torch.full((1, 10), 0.5), [torch.empty(1, 10) for _ in range(3)]
    cell.bind_forward(gates, before, *made)()
    i, f, g, o = gates[0].split(10)
    torch.testing.assert_close(torch.stack((i, f, o)), torch.sigmoid(sums).expand(3, -1), equal_nan=True)
    torch.testing.assert_close(g, torch.tanh(sums), equal_nan=True, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(made[0][0], f * 0.5 + i * g, equal_nan=True)
    torch.testing.assert_close(made[2][0], o * torch.tanh(made[0][0]), equal_nan=True, atol=1e-6, rtol=1e-6)
    output, state = torch.empty(1, 10), before.clone()
    cell.infer(sums.repeat(4).unsqueeze(0), torch.zeros(1, 40), state, output)
    torch.testing.assert_close(output, made[2], equal_nan=True, atol=1e-6, rtol=1e-5)


def test_parameters_are_views_of_one_tensor() -> None:
    stacked = Members(networks(2, 3, 5))
    states = [{name: value.clone() for name, value in network.state_dict().items()} for network in stacked.networks]
    stacked.weights.add_(1.0)
    for network, state in zip(stacked.networks, states, strict=True):
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, state[name] + 1)


def test_forecasts_with_dropout_given_are_those_of_training() -> None:
    networks = [LSTM(5, 8, 0.5), LSTM(5, 8, 0.5)]
    members = Members(networks)
    windows = torch.randn(2, 7, 30, 5)
    kept = torch.randint(0, 2, (2, 30, 8)).float() * 2
    passing = LSTMPass(members, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(passing.infer(windows, kept), passing.forward(windows, kept), atol=1e-6, rtol=1e-5)
        assert not torch.equal(passing.infer(windows, kept), passing.infer(windows))
