"""The backend that is written out against automatic differentiation: forecasts and gradients; compiled and not."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from soilcast.models import Network, NetworkDesign, backends, recurrence
from soilcast.models.backends import AutogradBackend, LSTMBackend, make_backend, takes_sequences
from soilcast.models.members import Members
from soilcast.models.native import VARIABLE, engines
from soilcast.task import Layout, Task
from tests.helpers.designs import CASES, PAPER, QUANTILES, SEVERAL, Case
from tests.helpers.networks import register_gru

sizes = st.integers(1, 20)

SEQUENCES = {name: case for name, case in CASES.items() if takes_sequences(case.network())}


def cell_forward(from_inputs: Tensor, from_output: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What a GPU does in one kernel."""
    i, f, g, o = (from_inputs + from_output).chunk(4, dim=-1)
    gates = torch.cat((i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()), dim=-1)
    i, f, g, o = gates.chunk(4, dim=-1)
    cell = f * before + i * g
    return o * cell.tanh(), cell, gates


def cell_backward(
    grad_output: Tensor, grad_cell: Tensor, before: Tensor, cell: Tensor, gates: Tensor
) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, dim=-1)
    of_cell = grad_cell + grad_output * o * (1 - cell.tanh() ** 2)
    of_gates = (of_cell * g * i * (1 - i), of_cell * before * f * (1 - f), of_cell * i * (1 - g**2))
    return torch.cat((*of_gates, grad_output * cell.tanh() * o * (1 - o)), dim=-1), of_cell * f


GPU = "as on a GPU"


@pytest.fixture(params=[*engines(), GPU], autouse=True)
def _way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test here runs with each instruction set that the processor has, and as a GPU goes through the days."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == GPU:
            patch.setattr(recurrence, "fused_forward", cell_forward)
            patch.setattr(recurrence, "fused_backward", cell_backward)
            patch.setattr(backends, "NativeRecurrence", lambda *parts: recurrence.FusedRecurrence(*parts[:3]))
            patch.setattr(backends, "engine_name", lambda: "none of a processor")
        else:
            patch.setenv(VARIABLE, request.param)
        yield


def networks(members: int, features: int, hidden: int, days: int = 7) -> list[Network]:
    """The paper's network of some sizes, for windows of so many days."""
    torch.manual_seed(0)
    task = Task(window=days, dynamic=Task().dynamic[:1], static=Task().static[: features - 1])
    return [Network(NetworkDesign(Layout(task), hidden_size=hidden, dropout=0.0)) for _ in range(members)]


def gradients_in_float64(network: Network, windows: Tensor, grad: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
    """By torch's own LSTM; ``windows (step, sample, feature)``, ``grad (sample, lead, layer, number)``."""
    exact = Network(network.design).double()
    exact.load_state_dict(network.state_dict())
    output = exact(windows.transpose(0, 1).double(), None if mask is None else mask.double())
    output.backward(grad.double())
    return {name: torch.zeros_like(one) if one.grad is None else one.grad for name, one in exact.named_parameters()}


def assert_gradients(stacked: Members, windows: Tensor, grad: Tensor, masks: Tensor | None = None) -> None:
    """The gradients that a backend has written are those of automatic differentiation in float64."""
    for member, network in enumerate(stacked.networks):
        mask = None if masks is None else masks[member]
        for name, exact in gradients_in_float64(network, windows[member], grad[member], mask).items():
            found = stacked.of(stacked.gradients, name)[member]
            torch.testing.assert_close(found.double(), exact, atol=2e-5, rtol=1e-4)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 9), sizes, st.integers(1, 5), sizes)
def test_forecasts_and_gradients_of_the_papers_network_are_those_of_torch(
    members: int, days: int, samples: int, features: int, hidden: int
) -> None:
    stacked = Members(networks(members, features, hidden, days))
    windows, grad = torch.randn(members, days, samples, features), torch.randn(members, samples, 1, 1, 1)
    backend = make_backend(stacked)
    assert isinstance(backend, LSTMBackend)
    forecasts = backend.forward(windows, None)
    backend.backward(grad)
    torch.testing.assert_close(backend.infer(windows), forecasts, atol=1e-6, rtol=1e-5)
    for member, network in enumerate(stacked.networks):
        expected = network(windows[member].transpose(0, 1))
        torch.testing.assert_close(forecasts[member], expected, atol=1e-6, rtol=1e-5)
    assert_gradients(stacked, windows, grad)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", list(CASES))
def test_forecasts_and_gradients_of_any_design_are_those_of_autograd(name: str, masked: bool) -> None:
    case = CASES[name]
    stacked, other = case.stacked(), case.stacked()
    backend, reference = make_backend(stacked), AutogradBackend(other, torch.float32)
    assert isinstance(backend, LSTMBackend)
    # One after the other, of changing size: nothing of a batch may be left to the next.
    for number, samples in enumerate((11, 4, 11)):
        windows, grad = case.windows(samples, number), case.grad(samples, number)
        mask = case.mask(samples, number) if masked else None
        forecasts, expected = backend.forward(windows, mask), reference.forward(windows, mask)
        assert forecasts.shape == (case.members, samples, *case.network().output_shape)
        torch.testing.assert_close(forecasts, expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(backend.infer(windows, mask), expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(reference.infer(windows, mask), expected, atol=1e-6, rtol=1e-5)
        if masked:
            # Dropout acts on what is linear in the states: in stores alone, with no distribution, nothing is.
            is_store_alone = case.layout.physical and not case.options.get("spread")
            assert torch.equal(backend.infer(windows), backend.infer(windows, mask)) == is_store_alone
        backend.backward(grad)
        reference.backward(grad)
        assert (stacked.gradients != 0).any()
        torch.testing.assert_close(stacked.gradients, other.gradients, atol=2e-5, rtol=1e-4)
        assert_gradients(stacked, windows, grad, mask)


def test_a_second_batch_of_another_size_leaves_nothing_of_the_first() -> None:
    stacked = Members(networks(1, 3, 8))
    backend = make_backend(stacked)
    for samples in (16, 5, 16):
        windows, grad = torch.randn(1, 7, samples, 3), torch.randn(1, samples, 1, 1, 1)
        backend.forward(windows, None)
        backend.backward(grad)
        assert_gradients(stacked, windows, grad)


def test_dropout_acts_on_the_last_state_and_its_gradients() -> None:
    stacked = Members(networks(1, 3, 8))
    backend, windows, grad = make_backend(stacked), torch.randn(1, 7, 5, 3), torch.randn(1, 5, 1, 1, 1)
    mask = (torch.rand(1, 5, 1, 8) > 0.4) / 0.6
    network = stacked.networks[0]
    states, _ = network.trunk(windows[0].transpose(0, 1))
    expected = network.head.linear(states[:, -1] * mask[0, :, 0])
    torch.testing.assert_close(backend.forward(windows, mask)[0, :, 0, 0], expected, atol=1e-6, rtol=1e-5)
    backend.backward(grad)
    by_torch = torch.autograd.grad(expected, list(network.parameters()), grad[0, :, 0, 0])
    for (name, _), exact in zip(network.named_parameters(), by_torch, strict=True):
        torch.testing.assert_close(stacked.of(stacked.gradients, name)[0], exact, atol=2e-5, rtol=1e-4)


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 2), st.integers(1, 4), st.integers(1, 8), st.integers(0, 12), st.integers(1, 4))
def test_a_sequence_is_every_window_by_itself(members: int, cells: int, length: int, more: int, features: int) -> None:
    sequences = torch.randn(cells, length + more, features)
    stacked = Members(networks(members, features, 8, length))
    for backend in (make_backend(stacked), AutogradBackend(stacked, torch.float32)):
        found = backend.predict_windows(sequences, length)
        assert found.shape == (members, cells, more + 1, 1, 1, 1)
        for first in range(more + 1):
            windows = sequences[:, first : first + length].transpose(0, 1).expand(members, -1, -1, -1)
            torch.testing.assert_close(found[:, :, first], backend.infer(windows), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(SEQUENCES))
def test_a_sequence_of_any_design_is_every_window_by_itself(name: str) -> None:
    case = SEQUENCES[name]
    stacked, length = case.stacked(), case.layout.task.window
    sequences = torch.rand(3, length + 5, case.layout.features)
    beyond = case.layout.steps - length
    for backend in (make_backend(stacked), AutogradBackend(stacked, torch.float32)):
        found = backend.predict_windows(sequences, length)
        assert found.shape == (case.members, 3, 6, *case.network().output_shape)
        for first in range(6):
            windows = sequences[:, first : first + length].transpose(0, 1).expand(case.members, -1, -1, -1)
            # Of the days ahead such a network sees nothing, whatever they hold.
            windows = torch.cat((windows, torch.rand(case.members, beyond, *windows.shape[2:])), dim=1)
            torch.testing.assert_close(found[:, :, first], backend.infer(windows), atol=1e-5, rtol=1e-5)


def test_only_designs_whose_windows_overlap_go_through_as_sequences() -> None:
    assert set(SEQUENCES) == {
        "the paper's",
        "an ensemble of the paper's",
        "the paper's, two layers",
        "the paper's, quantiles",
        "leads without weather ahead",
        "leads without weather ahead, cmal",
    }


def test_what_is_written_out_is_left_to_autograd_where_it_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    register_gru(monkeypatch)
    gru = Case(PAPER, options={"network": "gru"})
    rolled = Case(
        {**SEVERAL, "known_future": ("tp",)}, head="rollout", options={"origin": "newest", "spread": QUANTILES}
    )
    rain = Case({**SEVERAL, "known_future": ("tp",)}, options={"rain_response": 0})
    for case in (gru, rolled, rain):
        stacked = case.stacked()
        backend = make_backend(stacked)
        assert isinstance(backend, AutogradBackend)
        stacked.train(True)
        windows, grad, mask = case.windows(5), case.grad(5), case.mask(5)
        forecasts = backend.forward(windows, mask)
        backend.backward(grad)
        for member, network in enumerate(stacked.networks):
            torch.testing.assert_close(forecasts[member], network(windows[member].transpose(0, 1), mask[member]))
        assert_gradients(stacked, windows, grad, mask)


def test_bfloat16_products_stay_near() -> None:
    stacked = Members(networks(2, 5, 64))
    windows, grad = torch.rand(2, 7, 32, 5), torch.randn(2, 32, 1, 1, 1)
    exact, mixed = make_backend(stacked), make_backend(stacked, torch.bfloat16)
    forecasts = exact.forward(windows, None).clone()
    exact.backward(grad)
    gradients = stacked.gradients.clone()
    # bfloat16 holds 8 bits: about 0.4 % of each of the few numbers that are added.
    torch.testing.assert_close(mixed.forward(windows, None), forecasts, atol=5e-3, rtol=0.0)
    torch.testing.assert_close(mixed.infer(windows), forecasts, atol=5e-3, rtol=0.0)
    mixed.backward(grad)
    assert (stacked.gradients - gradients).norm() < 0.02 * gradients.norm()


@pytest.mark.parametrize(
    "value", [-1e30, -100.0, -40.0, -1.0, 0.0, 1.0, 40.0, 100.0, 1e30, math.inf, -math.inf, math.nan]
)
def test_extreme_and_missing_inputs_do_what_they_do_in_torch(value: float) -> None:
    stacked = Members(networks(1, 3, 5))
    windows = torch.rand(1, 7, 2, 3)
    windows[:, 3, 0, 1] = value
    with torch.no_grad():
        exact = stacked.networks[0](windows[0].transpose(0, 1))
    backend = make_backend(stacked)
    for found in (backend.forward(windows, None)[0], backend.infer(windows)[0]):
        torch.testing.assert_close(found, exact, atol=1e-6, rtol=1e-5, equal_nan=True)
    assert torch.isnan(found[0]).all() == math.isnan(value)
    assert torch.isfinite(found[1]).all()


def test_parameters_are_views_of_one_tensor() -> None:
    stacked = Members(networks(2, 3, 5))
    states = [{name: value.clone() for name, value in network.state_dict().items()} for network in stacked.networks]
    stacked.weights.add_(1.0)
    for network, state in zip(stacked.networks, states, strict=True):
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, state[name] + 1)


def test_forecasts_with_dropout_given_are_those_of_training() -> None:
    members = Members(networks(2, 5, 8))
    windows = torch.randn(2, 7, 30, 5)
    mask = torch.randint(0, 2, (2, 30, 1, 8)).float() * 2
    backend = LSTMBackend(members, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(backend.infer(windows, mask), backend.forward(windows, mask), atol=1e-6, rtol=1e-5)
        assert not torch.equal(backend.infer(windows, mask), backend.infer(windows))
