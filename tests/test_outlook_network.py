"""The network of outlooks: direct and rolled out, from persistence on, with gaps, rain and a bucket."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from soilcast.models.horizon import Horizon
from soilcast.models.outlook import OutlookDesign, OutlookLSTM

HORIZON = Horizon(5, 4, 0, 3, 1, (0, 1), True, ("swvl1", "swvl2"), ("swvl1", "swvl2"), True, None)
DESIGN = OutlookDesign(HORIZON, 8, 0.0, (), True, False, False, None, 0.0)


def network(**changes: object) -> OutlookLSTM:
    torch.manual_seed(0)
    return OutlookLSTM(replace(DESIGN, **changes)).eval()  # type: ignore[arg-type]


def windows(horizon: Horizon = HORIZON, samples: int = 6) -> Tensor:
    random = torch.Generator().manual_seed(1)
    found = torch.randn(samples, horizon.steps, horizon.channels["physical"].stop, generator=random)
    for name, behind in (("past_known", 0), ("lags_known", horizon.latency)):
        flags = (torch.arange(horizon.steps) < horizon.length - behind).float()
        found[..., horizon.channels[name]] = flags[:, None]
    found[..., horizon.channels["lags"]] *= found[..., horizon.channels["lags_known"]]
    found[..., horizon.channels["anchor"]] = found[:, :1, horizon.channels["anchor"]]
    return found


def like(rolled: OutlookLSTM, direct: OutlookLSTM) -> None:
    """Give both the same LSTM, and every day of the direct one the head of the rolled out one."""
    direct.lstm.load_state_dict(rolled.lstm.state_dict())
    direct.head.weight.data.copy_(rolled.head.weight.repeat(HORIZON.leads, 1))
    direct.head.bias.data.copy_(rolled.head.bias.repeat(HORIZON.leads))


def test_direct_and_rolled_out_agree_on_the_first_day() -> None:
    inputs = windows()
    direct, rolled = network(), network(rollout=True)
    like(rolled, direct)
    torch.testing.assert_close(rolled(inputs)[:, 0], direct(inputs)[:, 0])
    assert not torch.allclose(rolled(inputs)[:, 1:], direct(inputs)[:, 1:])


def test_they_agree_on_every_day_where_soil_moisture_does_not_matter() -> None:
    inputs = windows()
    direct, rolled = network(change=False), network(change=False, rollout=True)
    like(rolled, direct)
    for one in (direct, rolled):
        for name in ("lags", "lags_known"):
            one.lstm.weight_ih_l0.data[:, HORIZON.channels[name]] = 0.0
    torch.testing.assert_close(rolled(inputs), direct(inputs))


def test_rolled_out_it_is_the_first_day_again_and_again() -> None:
    """Day two is what the first step says once the forecast of day one stands where soil moisture is seen."""
    inputs, rolled = windows(), network(rollout=True)
    said = rolled(inputs)[..., 0]
    told = inputs.clone()
    told[:, HORIZON.length, HORIZON.channels["lags"]] = said[:, 0]
    told[:, HORIZON.length, HORIZON.channels["lags_known"]] = 1.0
    outputs, _ = rolled.lstm(told[:, : HORIZON.length + 1, : HORIZON.seen])
    beside = [told[:, HORIZON.length - 1, HORIZON.channels[name]] for name in ("anchor", "calendar")]
    change = 0.3 * rolled.head(torch.cat([outputs[:, -1], *beside], dim=-1))
    torch.testing.assert_close(said[:, 1], said[:, 0] + change)


def test_late_soil_moisture_is_bridged_day_by_day() -> None:
    late = replace(HORIZON, latency=2)
    inputs = windows(late)
    rolled = network(horizon=late, rollout=True)
    assert rolled(inputs).shape == (6, 4, 2, 1)
    early = replace(HORIZON, length=3, leads=6)
    same_season = inputs.clone()
    same_season[:, 2, HORIZON.channels["calendar"]] = inputs[:, 4, HORIZON.channels["calendar"]]
    inputs = same_season
    again = network(horizon=early, rollout=True)(inputs)
    torch.testing.assert_close(rolled(inputs), again[:, 2:])


@pytest.mark.parametrize("rollout", [False, True])
def test_an_untrained_head_says_persistence(rollout: bool) -> None:
    inputs, one = windows(), network(rollout=rollout)
    one.head.weight.data.zero_()
    anchor = inputs[:, 0, HORIZON.channels["anchor"]]
    torch.testing.assert_close(one(inputs)[..., 0], anchor[:, None].expand(-1, 4, -1))


def test_days_behind_do_not_matter() -> None:
    inputs = windows()
    other = inputs.clone()
    other[:, HORIZON.length + 1 :] += 1.0
    for one in (network(), network(rollout=True)):
        torch.testing.assert_close(one(other)[:, :2], one(inputs)[:, :2], rtol=0, atol=0)


def test_without_weather_ahead_the_days_ahead_stand_on_the_issue_day() -> None:
    blind = replace(HORIZON, ahead=())
    inputs, one = windows(blind), network(horizon=blind)
    other = inputs.clone()
    other[:, blind.length :] += 1.0
    torch.testing.assert_close(one(other), one(inputs), rtol=0, atol=0)


def test_the_first_day_alone_shapes_the_state() -> None:
    one = network(first_day_leads=True)
    one(windows())[:, 1:].sum().backward()
    assert (one.lstm.weight_ih_l0.grad == 0).all() or one.lstm.weight_ih_l0.grad is None
    one(windows())[:, :1].sum().backward()
    assert (one.lstm.weight_ih_l0.grad != 0).any()


def test_hidden_soil_moisture_is_hidden_in_training_alone() -> None:
    one, inputs = network(hidden_lags=0.99), windows()
    whole = one(inputs)
    torch.testing.assert_close(one(inputs), whole)
    one.train()
    without = inputs.clone()
    for name in ("lags", "lags_known"):
        without[..., HORIZON.channels[name]] = 0.0
    torch.manual_seed(3)
    hidden = torch.stack([one(inputs) for _ in range(3)])
    one.eval()
    assert (hidden - one(without)).abs().mean() < (hidden - whole).abs().mean()


def test_the_answer_to_more_rain_is_that_of_the_forecast() -> None:
    one, inputs = network(response=1, spread=(0.5,)), windows()
    assert one.output_shape == (4, 2, 3)
    assert (one(inputs)[..., -1] == 0).all()
    one.train()
    more = inputs.clone()
    more[:, HORIZON.length - 1 :, HORIZON.channels["ahead"].start + 1] += 0.5
    torch.testing.assert_close(one(inputs)[..., -1], one(more)[..., 0] - one(inputs)[..., 0])


def test_the_answer_to_rain_is_of_the_rain_alone() -> None:
    one, inputs = network(response=1, dropout=0.5), windows()
    one.lstm.weight_ih_l0.data[:, HORIZON.channels["ahead"].start + 1] = 0.0
    one.train()
    assert (one(inputs)[..., -1] == 0).all()


def test_a_bucket_gains_no_more_than_it_rains_and_stays_within_its_bounds() -> None:
    wet = replace(HORIZON, rain=1)
    torch.manual_seed(2)
    one = network(horizon=wet, bucket=True)
    for part in one.gates.parameters():
        part.data.mul_(20)
    inputs = windows(wet, 200)
    rain = torch.rand(200, wet.steps) * 0.05
    inputs[..., wet.channels["rain"].start] = rain
    offset, scale, thickness, porosity = 0.3, 0.05, 0.1, 0.45
    inputs[..., wet.channels["physical"]] = torch.tensor([offset, scale, thickness, porosity] * 2)
    with torch.no_grad():
        level = one(inputs)[..., 0] * scale + offset
    assert (level >= -1e-6).all()
    assert (level <= porosity + 1e-6).all()
    start = (inputs[:, 0, wet.channels["anchor"]] * scale + offset).clamp(0, porosity)
    water = torch.cat([start[:, None], level], dim=1).sum(dim=-1) * thickness
    gained = torch.diff(water, dim=1)
    assert (gained <= rain[:, wet.length - 1 :] + 1e-6).all()
    assert (gained > 0).any()
