"""Heads: direct and rolled out, from persistence on, with gaps, rain and a bucket."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from soilcast.models import Head, Network, NetworkDesign
from soilcast.models.design import HEADS
from soilcast.task import Layout, Task

TASK = Task(
    window=5,
    lead_days=4,
    dynamic=("t2m", "tp", "sp"),
    static=("clay",),
    known_future=("t2m", "tp"),
    calendar=True,
    lags=("swvl1", "swvl2"),
    layers=("swvl1", "swvl2"),
)


def changed(**changes: Any) -> Task:
    return TASK.model_copy(update=changes)


def network(head: str = "direct", task: Task = TASK, **changes: Any) -> Network:
    torch.manual_seed(0)
    layout = Layout(task, physical=HEADS[head].needs_water)
    design = NetworkDesign(layout, head=head, hidden_size=8, dropout=0.0, origin="newest")
    return Network(replace(design, **changes)).eval()


def windows(task: Task = TASK, samples: int = 6, *, physical: bool = False) -> Tensor:
    layout = Layout(task, physical)
    random = torch.Generator().manual_seed(1)
    found = torch.randn(samples, layout.steps, layout.channels["physical"].stop, generator=random)
    for name, behind in (("past_known", 0), ("lags_known", task.soil_latency)):
        flags = (torch.arange(layout.steps) < task.window - behind).float()
        found[..., layout.channels[name]] = flags[:, None]
    found[..., layout.channels["lags"]] *= found[..., layout.channels["lags_known"]]
    found[..., layout.channels["newest"]] = found[:, :1, layout.channels["newest"]]
    return found


def like(rolled: Network, direct: Network) -> None:
    """Give both the same trunk, and every day of the direct one the linear layer of the rolled out one."""
    direct.trunk.load_state_dict(rolled.trunk.state_dict())
    direct.head.linear.weight.data.copy_(rolled.head.linear.weight.repeat(TASK.lead_days, 1))
    direct.head.linear.bias.data.copy_(rolled.head.linear.bias.repeat(TASK.lead_days))


def test_direct_and_rolled_out_agree_on_the_first_day() -> None:
    inputs = windows()
    direct, rolled = network(), network("rollout")
    like(rolled, direct)
    torch.testing.assert_close(rolled(inputs)[:, 0], direct(inputs)[:, 0])
    assert not torch.allclose(rolled(inputs)[:, 1:], direct(inputs)[:, 1:])


def test_they_agree_on_every_day_where_soil_moisture_does_not_matter() -> None:
    inputs = windows()
    direct, rolled = network(origin=None), network("rollout", origin=None)
    like(rolled, direct)
    for one in (direct, rolled):
        for name in ("lags", "lags_known"):
            one.trunk.weight_ih_l0.data[:, Layout(TASK).channels[name]] = 0.0
    torch.testing.assert_close(rolled(inputs), direct(inputs))


@pytest.mark.parametrize("lead1_only", [False, True])
def test_every_lead_has_a_linear_layer_on_the_state_of_its_day(lead1_only: bool) -> None:
    """Where weather is known ahead; Eq. 7 of every day, with what is known of it on the issue day beside it."""
    inputs, one = windows(), network(origin=None, lead1_only=lead1_only)
    channels = Layout(TASK).channels
    states, _ = one.trunk(inputs[..., : Layout(TASK).features])
    beside = torch.cat([inputs[:, 4, channels[name]] for name in ("newest", "calendar")], dim=-1)
    weight, bias = one.head.linear.weight.view(4, 2, -1), one.head.linear.bias.view(4, 2)
    for lead in range(4):
        seen = torch.cat((states[:, 4 + lead], beside), dim=-1)
        torch.testing.assert_close(one(inputs)[:, lead, :, 0], seen @ weight[lead].T + bias[lead])


def test_rolled_out_it_is_the_first_day_again_and_again() -> None:
    """Lead 2 is what the first step gives once the forecast of lead 1 stands where soil moisture is seen."""
    inputs, rolled, layout = windows(), network("rollout"), Layout(TASK)
    output = rolled(inputs)[..., 0]
    fed = inputs.clone()
    fed[:, TASK.window, layout.channels["lags"]] = output[:, 0]
    fed[:, TASK.window, layout.channels["lags_known"]] = 1.0
    states, _ = rolled.trunk(fed[:, : TASK.window + 1, : layout.features])
    beside = [fed[:, TASK.window - 1, layout.channels[name]] for name in ("newest", "calendar")]
    change = 0.3 * rolled.head.linear(torch.cat([states[:, -1], *beside], dim=-1))
    torch.testing.assert_close(output[:, 1], output[:, 0] + change)


def test_late_soil_moisture_is_bridged_day_by_day() -> None:
    late = changed(latency={"lags": 2})
    inputs = windows(late)
    rolled = network("rollout", late)
    assert rolled(inputs).shape == (6, 4, 2, 1)
    assert rolled.mask_shape == (6, 8)
    early = changed(window=3, lead_days=6)
    calendar = Layout(TASK).channels["calendar"]
    same_season = inputs.clone()
    same_season[:, 2, calendar] = inputs[:, 4, calendar]
    again = network("rollout", early)(same_season)
    torch.testing.assert_close(rolled(same_season), again[:, 2:])


@pytest.mark.parametrize("head", ["direct", "rollout"])
def test_an_untrained_head_forecasts_persistence(head: str) -> None:
    inputs, one = windows(), network(head)
    one.head.linear.weight.data.zero_()
    newest = inputs[:, 0, Layout(TASK).channels["newest"]]
    torch.testing.assert_close(one(inputs)[..., 0], newest[:, None].expand(-1, 4, -1))


def test_days_behind_do_not_matter() -> None:
    inputs = windows()
    other = inputs.clone()
    other[:, TASK.window + 1 :] += 1.0
    for one in (network(), network("rollout")):
        torch.testing.assert_close(one(other)[:, :2], one(inputs)[:, :2], rtol=0, atol=0)
        assert not torch.equal(one(other)[:, 2:], one(inputs)[:, 2:])


def test_without_weather_ahead_the_days_ahead_stand_on_the_issue_day() -> None:
    blind = changed(known_future=())
    inputs, one = windows(blind), network(task=blind)
    other = inputs.clone()
    other[:, blind.window :] += 1.0
    torch.testing.assert_close(one(other), one(inputs), rtol=0, atol=0)


def test_lead_1_alone_shapes_the_trunk() -> None:
    one = network(lead1_only=True)
    one(windows())[:, 1:].sum().backward()
    assert one.trunk.weight_ih_l0.grad is None or (one.trunk.weight_ih_l0.grad == 0).all()
    assert (one.head.linear.weight.grad != 0).any()
    one(windows())[:, :1].sum().backward()
    assert (one.trunk.weight_ih_l0.grad != 0).any()


def test_the_response_to_more_rain_is_that_of_the_forecast() -> None:
    one, inputs = network(rain_response=1, spread=(0.5,)), windows()
    assert one.output_shape == (4, 2, 3)
    assert (one(inputs)[..., -1] == 0).all()
    one.train()
    more = inputs.clone()
    more[:, TASK.window - 1 :, Layout(TASK).channels["ahead"].start + 1] += 0.5
    torch.testing.assert_close(one(inputs)[..., -1], one(more)[..., 0] - one(inputs)[..., 0])


def test_the_response_to_rain_is_of_the_rain_alone() -> None:
    one, inputs = network(rain_response=1), windows()
    one.train()
    mask = (torch.rand(6, *one.mask_shape) > 0.5) * 2.0
    assert (one(inputs, mask)[..., -1] != 0).any()
    one.trunk.weight_ih_l0.data[:, Layout(TASK).channels["ahead"].start + 1] = 0.0
    assert (one(inputs, mask)[..., -1] == 0).all()


@pytest.mark.parametrize("head", list(HEADS))
def test_raw_numbers_of_a_distribution_begin_as_it_says(head: str) -> None:
    spread = (0.5, -1.0, 2.0)
    one = network(head, spread=spread)
    with torch.no_grad():
        one.head.linear.weight.zero_()
        inputs = windows(physical=HEADS[head].needs_water)
        raw = one(inputs)[..., 1:]
    torch.testing.assert_close(raw, torch.tensor(spread).expand_as(raw))


def test_a_bucket_gains_no_more_than_it_rains_and_stays_within_its_bounds() -> None:
    torch.manual_seed(2)
    one, layout = network("bucket"), Layout(TASK, physical=True)
    assert isinstance(one.head, Head)
    for part in one.head.gates.parameters():
        part.data.mul_(20)
    inputs = windows(samples=200, physical=True)
    rain = torch.rand(200, layout.steps) * 0.05
    inputs[..., layout.channels["rain"].start] = rain
    offset, scale, thickness, porosity = 0.3, 0.05, 0.1, 0.45
    inputs[..., layout.channels["physical"]] = torch.tensor([offset, scale, thickness, porosity] * 2)
    with torch.no_grad():
        level = one(inputs)[..., 0] * scale + offset
    assert (level >= -1e-6).all()
    assert (level <= porosity + 1e-6).all()
    start = (inputs[:, 0, layout.channels["newest"]] * scale + offset).clamp(0, porosity)
    water = torch.cat([start[:, None], level], dim=1).sum(dim=-1) * thickness
    gained = torch.diff(water, dim=1)
    assert (gained <= rain[:, TASK.window - 1 :] + 1e-6).all()
    assert (gained > 0).any()


def test_a_bucket_fills_from_the_day_of_its_newest_soil_moisture_on() -> None:
    """With a latency of 2 days, days -2 and -1 are poured too, with the rain that fell on them."""
    late, early = changed(latency={"lags": 2}), changed(window=3, lead_days=6)
    inputs = windows(late, physical=True)
    place = Layout(late, physical=True).channels
    inputs[..., place["rain"]] = inputs[..., place["rain"]].abs() * 0.02
    inputs[..., place["physical"]] = torch.tensor([0.3, 0.05, 0.1, 0.45] * 2)
    one, again = network("bucket", late), network("bucket", early)
    again.trunk.load_state_dict(one.trunk.state_dict())
    again.head.gates.load_state_dict(one.head.gates.state_dict())
    torch.testing.assert_close(one(inputs), again(inputs)[:, 2:])
    dry = inputs.clone()
    dry[:, 2:4, place["rain"]] = 0.0
    assert (one(dry)[..., 0, 0] < one(inputs)[..., 0, 0]).any()
