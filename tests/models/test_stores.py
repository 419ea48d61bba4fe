"""Heads that close their water balance: by hand, against a reference, whatever the weights and the inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from soilcast.models import HEADS, ClosingHead, Network, NetworkDesign
from soilcast.models.stores import MassConservingLSTM, WaterBalance, surface_water
from soilcast.task import Layout, Task

CLOSING = [name for name, head in HEADS.items() if issubclass(head, ClosingHead)]
LAYERS = ("swvl1", "swvl2", "swvl3", "swvl4")
DEPTHS = torch.tensor([0.07, 0.21, 0.72, 1.89])


def logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def network(head: str, layers: int, leads: int, latency: int, seed: int, spread: float) -> Network:
    names = LAYERS[:layers]
    task = Task(
        window=4, lead_days=leads, dynamic=("tp", "sd"), static=(), layers=names, lags=names,
        known_future=("tp", "sd"), latency={"lags": latency},
    )  # fmt: skip
    torch.manual_seed(seed)
    made = Network(NetworkDesign(Layout(task, physical=True), head=head, hidden_size=4, origin="newest")).eval()
    for parameter in made.head.gates.parameters():
        parameter.data += spread * torch.randn_like(parameter)
    return made


def windows(layout: Layout, samples: int, seed: int) -> Tensor:
    """Rain of up to 0.3 m a day, snow, soils from dry to saturated that lie above any porosity seen before."""
    random, layers = torch.Generator().manual_seed(seed), len(layout.task.layers)
    found = torch.randn(samples, layout.steps, layout.channels["physical"].stop, generator=random)
    found[..., layout.channels["rain"]] = torch.rand(samples, layout.steps, 3, generator=random) ** 4 * 0.3
    offset, scale = torch.rand(samples, layers, generator=random) * 0.4, 0.02 + torch.rand(samples, layers) * 0.4
    moisture = torch.rand(samples, layers, generator=random)
    physical = torch.stack((offset, scale, DEPTHS[:layers].expand(samples, -1), moisture * 0.9), dim=-1)
    found[..., layout.channels["physical"]] = physical.flatten(1)[:, None]
    found[..., layout.channels["newest"]] = ((moisture - offset) / scale)[:, None]
    return found


@pytest.mark.parametrize("name", CLOSING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(deadline=None, max_examples=40)
@given(
    layers=st.integers(1, 4),
    leads=st.integers(1, 6),
    latency=st.integers(0, 3),
    seed=st.integers(0, 2**31),
    spread=st.sampled_from([0.0, 1.0, 5.0, 100.0]),
)
def test_the_balance_closes(
    name: str, dtype: torch.dtype, layers: int, leads: int, latency: int, seed: int, spread: float
) -> None:
    one = network(name, layers, leads, latency, seed, spread).to(dtype)
    inputs, layout = windows(one.design.layout, 5, seed).to(dtype), one.design.layout
    places = layout.channels
    with torch.no_grad():
        forecasts = one(inputs)[..., 0].double()
        assert float(one.closure_residual(inputs)) <= 1e-6
        states, _ = one.trunk(inputs[..., : layout.features])
        days = list(one.head.days(states[:, one.head.used_steps], inputs))
    offset, scale, thickness, _ = inputs[:, 0, places["physical"]].double().view(5, layers, 4).unbind(-1)
    level = inputs[:, 0, places["newest"]].double()
    before, moisture = (level * scale + offset) * thickness, forecasts * scale[:, None] + offset[:, None]
    assert (moisture >= -1e-6).all()
    assert (moisture <= 1 + 1e-6).all()
    for number, (_, _, fluxes) in enumerate(days):
        for flux in fluxes:
            assert (flux >= 0).all()
        inflow, evaporation, drainage = (flux.double() for flux in fluxes)
        after = before + inflow - evaporation - drainage
        if number >= latency:
            after = moisture[:, number - latency] * thickness
            assert ((after - before - inflow + evaporation + drainage).abs() <= 1e-6).all()
        tp, snow, snow_before = inputs[:, layout.task.window - 1 - latency + number, places["rain"]].double().unbind(-1)
        # What the whole soil gains came from above and is not more than that.
        melted = torch.relu(tp - torch.relu(snow - snow_before)) + torch.relu(snow_before - snow)
        assert ((after - before).sum(dim=-1) <= melted + 1e-6).all()
        before = after


@pytest.mark.parametrize("name", CLOSING)
def test_gradients_are_finite(name: str) -> None:
    one = network(name, 3, 4, 1, 0, 5.0)
    one(windows(one.design.layout, 8, 0))[..., 0].square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in one.parameters() if parameter.grad is not None)
    assert (one.head.gates.weight.grad != 0).any()
    assert (one.trunk.weight_ih_l0.grad != 0).any()


@pytest.mark.parametrize("store", [WaterBalance, MassConservingLSTM])
def test_gradients_are_those_of_finite_differences(store: type[WaterBalance]) -> None:
    raw = (store.start(2).double() + torch.tensor([[0.3], [-0.2]], dtype=torch.float64)).requires_grad_()
    water = torch.tensor([0.01, 0.0], dtype=torch.float64)
    storage = torch.tensor([[0.02, 0.06], [0.01, 0.05]], dtype=torch.float64, requires_grad=True)
    thickness = DEPTHS[:2].double().expand(2, -1)

    def fluxes(raw: Tensor, storage: Tensor) -> tuple[Tensor, ...]:
        return tuple(store.fluxes(raw, water, storage, thickness))

    assert torch.autograd.gradcheck(fluxes, (raw, storage))


def test_a_water_balance_by_hand() -> None:
    # Half of 20 mm infiltrates into 20 mm: of 30 mm 10 % evaporate and 20 % drain; of 60 + 6 mm below 1 % and 3 %.
    shares = [(0.1, 0.2), (0.01, 0.03)]
    raw = torch.tensor([[0.0, *(np.log(one / (1 - sum(pair))) for pair in shares for one in pair)]])
    fluxes = WaterBalance.fluxes(raw, torch.tensor([0.020]), torch.tensor([[0.020, 0.060]]), DEPTHS[None, :2])
    np.testing.assert_allclose(fluxes.inflow, [[0.010, 0.006]], rtol=1e-5)
    np.testing.assert_allclose(fluxes.evaporation, [[0.003, 0.00066]], rtol=1e-5)
    np.testing.assert_allclose(fluxes.drainage, [[0.006, 0.00198]], rtol=1e-5)


def test_what_exceeds_the_volume_of_a_layer_drains_and_nothing_is_lost() -> None:
    """A store limited to the porosity would lose the water; here all 0.3 m of rain are in the layers or have left."""
    raw = torch.tensor([[50.0, -50.0, -50.0, -50.0, -50.0]])
    storage = torch.tensor([[0.065, 0.20]])
    fluxes = WaterBalance.fluxes(raw, torch.tensor([0.3]), storage, DEPTHS[None, :2])
    after = storage + fluxes.inflow - fluxes.evaporation - fluxes.drainage
    np.testing.assert_allclose(after, [[0.07, 0.21]], rtol=1e-5)
    assert fluxes.drainage[0, 1].item() == pytest.approx(0.3 + 0.265 - 0.28, rel=1e-5)


def test_water_above_every_soil_moisture_of_the_training_days_stays() -> None:
    """0.6 m3 m-3 where the training days had 0.4 at most."""
    one = network("water_balance", 1, 1, 0, 0, 0.0)
    one.head.gates.weight.data.zero_()
    one.head.gates.bias.data.copy_(torch.tensor([-50.0, -50.0, -50.0]))
    inputs = windows(one.design.layout, 1, 0)
    inputs[..., one.design.layout.channels["physical"]] = torch.tensor([0.0, 1.0, 0.07, 0.4])
    inputs[..., one.design.layout.channels["newest"]] = 0.6
    assert one(inputs)[0, 0, 0, 0].item() == pytest.approx(0.6, rel=1e-6)


@given(seed=st.integers(0, 2**31), layers=st.integers(1, 4))
def test_the_mass_conserving_lstm_is_that_of_its_authors(seed: int, layers: int) -> None:
    """Eq. 2 to 7 of Hoedt et al. (2021) in numpy, with weights of gates that see an input and c / |c|_1."""
    random = np.random.default_rng(seed)
    auxiliary, stored = random.normal(size=3), random.uniform(0.001, 0.05, layers)
    rain = random.exponential(0.01)

    def softmax(values: np.ndarray) -> np.ndarray:
        exponentials = np.exp(values - values.max(axis=0))
        return exponentials / exponentials.sum(axis=0)

    def gate(*shape: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return random.normal(size=(*shape, 3)), random.normal(size=(*shape, layers)), random.normal(size=shape)

    enter, leave, move = gate(layers), gate(layers), gate(layers, layers)
    share = stored / np.abs(stored).sum()
    summed = [weight @ auxiliary + recurrent @ share + bias for weight, recurrent, bias in (enter, leave, move)]
    total = softmax(summed[2]) @ stored + softmax(summed[0]) * rain
    outflow = total / (1 + np.exp(-summed[1]))
    expected = total - outflow

    storage = torch.from_numpy(stored)[None]
    shares = MassConservingLSTM.gate_state(storage, torch.zeros_like(storage))
    seen = torch.cat((torch.from_numpy(auxiliary)[None], shares), dim=-1)
    gates = enter, leave, move
    weight = np.concatenate([np.concatenate(one[:2], -1).reshape(-1, 3 + layers) for one in gates])
    bias = np.concatenate([one[2].ravel() for one in gates])
    raw = seen @ torch.from_numpy(weight).T + torch.from_numpy(bias)
    water, thickness = torch.tensor([rain], dtype=raw.dtype), torch.full_like(storage, 1e3)
    fluxes = MassConservingLSTM.fluxes(raw, water, storage, thickness)
    after = storage + fluxes.inflow - fluxes.evaporation - fluxes.drainage
    np.testing.assert_allclose(after[0], expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(fluxes.evaporation[0], outflow, rtol=1e-9, atol=1e-15)
    assert float(after.sum()) == pytest.approx(stored.sum() + rain - outflow.sum(), rel=1e-12)


def test_stores_start_with_most_rain_in_and_little_water_out() -> None:
    thickness, storage, water = DEPTHS[None, :2], torch.tensor([[0.02, 0.06]]), torch.tensor([0.01])
    balance = WaterBalance.fluxes(WaterBalance.start(2)[None], water, storage, thickness)
    np.testing.assert_allclose(balance.inflow[0, 0], 0.008, rtol=1e-5)
    np.testing.assert_allclose(balance.evaporation[0, 0], 0.005 * 0.028, rtol=1e-5)
    np.testing.assert_allclose(balance.drainage[0, 0], 0.005 * 0.028, rtol=1e-5)
    cells = MassConservingLSTM.fluxes(MassConservingLSTM.start(2)[None], water, storage, thickness)
    np.testing.assert_allclose(cells.drainage[0], [0.01 * 0.02, 0.01 * 0.06], rtol=1e-5)
    np.testing.assert_allclose(cells.inflow[0, 0], 0.8 * 0.01 + 0.01 * 0.06, rtol=1e-5)
    np.testing.assert_allclose(cells.evaporation[0, 0], 0.01 * (0.0198 + 0.0086), rtol=1e-5)


@pytest.mark.parametrize(
    ("depths", "expected"),
    [
        ({"tp": 0.010}, 0.010),
        ({"tp": -0.001}, 0.0),
        ({"tp": 0.010, "sd": 0.050, "sd the day before": 0.050}, 0.010),
        ({"tp": 0.010, "sd": 0.056, "sd the day before": 0.050}, 0.004),
        ({"tp": 0.010, "sd": 0.080, "sd the day before": 0.050}, 0.0),
        ({"tp": 0.010, "sd": 0.030, "sd the day before": 0.050}, 0.030),
        ({"tp": 0.010, "sf": 0.006, "smlt": 0.002}, 0.006),
        ({"tp": 0.010, "sf": -0.006, "smlt": -0.002}, 0.010),
    ],
)
def test_water_at_the_surface_is_rain_and_melt(depths: dict[str, float], expected: float) -> None:
    found = surface_water({name: torch.tensor([depth]) for name, depth in depths.items()})
    assert found.item() == pytest.approx(expected, abs=1e-8)
