"""Steps of the native engine against steps one by one, by each instruction set that the processor has."""

from __future__ import annotations

import operator
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soilcast.models.native import VARIABLE, engines, least_operations
from soilcast.training.build import build_loss, build_networks, layout_of
from soilcast.training.config import Config, load_config
from soilcast.training.devices import Ranks
from soilcast.training.dropout import DropoutMask
from soilcast.training.learner import Learner
from soilcast.training.losses import Targets
from soilcast.training.samples import Batch, map_tensors
from soilcast.training.steps import _NativeSteps, _OneByOne, make_steps

ENGINES = pytest.mark.parametrize("engine", engines())


@pytest.fixture(autouse=True)
def _split() -> Iterator[None]:
    """Split the smallest batches too."""
    if not engines():
        yield
        return
    least = least_operations()
    before, least.value = least.value, 1
    yield
    least.value = before


SEVERAL_DAYS: dict[str, list[str]] = {
    "damped anomaly": [],
    "weather ahead": ["task.known_future=[tp,t2m]"],
    "quantiles": ["loss.name=quantiles", "task.known_future=[tp]", "head.predict=change"],
    "quantiles of two layers": ["loss.name=quantiles", "task.layers=[swvl1,swvl2]", "task.lags=[swvl1,swvl2]"],
    "lead 1 alone reaches the trunk": ["head.lead1_only=true", "head.predict=level", "task.known_future=[tp]"],
    "next day, quantiles": ["loss.name=quantiles", "task.lead_days=1", "head.predict=level"],
    "one level": ["loss.name=quantiles", "task.quantiles=[0.5]"],
}
"""Settings beside those of the preset of several days."""


def config_of(model: str, hidden: int = 20, dropout: float = 0.15, *settings: str, **train: object) -> Config:
    options = [f"network.hidden_size={hidden}", f"network.dropout={dropout}", *settings]
    return load_config(model=model, settings=[*options, *(f"train.{key}={value}" for key, value in train.items())])


def batches_of(config: Config, count: int, samples: int, *, scaled: bool = True, gaps: bool = False) -> Batch:
    """Random batches of a config's windows and targets."""
    random = torch.Generator().manual_seed(count + samples)
    layout, task = layout_of(config), config.task
    shape, days = (count, config.train.ensemble, samples), (task.lead_days, len(task.layers))
    observed = torch.rand(*shape, *days, generator=random)
    if gaps:
        observed[torch.rand(observed.shape, generator=random) < 0.3] = torch.nan
    targets = Targets(
        observed=observed,
        previous=torch.rand(*shape, days[1], generator=random),
        water_sign=torch.randint(-1, 2, (*shape, days[0]), generator=random).float(),
        error_scale=torch.rand(*shape, *days, generator=random) + 0.5 if scaled else None,
        depth=torch.rand(*shape, days[1], generator=random) + 0.5 if config.loss.weights[1] else None,
    )
    channels = sum(layout.count(name) for name in layout.channels)
    return Batch(torch.rand(*shape[:2], layout.steps, samples, channels, generator=random), targets)


def learner_of(config: Config, threads: int, rate: float = 0.01) -> Learner:
    before = torch.get_num_threads()
    learner = Learner(build_networks(config), build_loss(config), config.train, Ranks(), threads)
    torch.set_num_threads(before)
    learner.set_rate(rate)
    return learner


def dropout_of(config: Config) -> DropoutMask:
    seeds = [config.train.seed + member for member in range(config.train.ensemble)]
    return DropoutMask(config.network.dropout, (config.task.lead_days, config.network.hidden_size), seeds, 1)


@ENGINES
@pytest.mark.parametrize("model", ["lstm", "phy-lstm"])
@settings(deadline=None, max_examples=12)
@given(
    members=st.integers(1, 3),
    samples=st.integers(1, 21),
    hidden=st.integers(1, 40),
    threads=st.integers(1, 4),
    dropout=st.sampled_from([0.0, 0.15, 0.5]),
    scaled=st.booleans(),
)
def test_a_native_step_is_a_step_through_torch(
    engine: str, model: str, members: int, samples: int, hidden: int, threads: int, dropout: float, scaled: bool
) -> None:
    config = config_of(model, hidden, dropout, ensemble=members)
    assert_as_torch(engine, config, batches_of(config, 5, samples, scaled=scaled), threads)


@ENGINES
@pytest.mark.parametrize("name", list(SEVERAL_DAYS))
@pytest.mark.parametrize("threads", [1, 3])
def test_a_native_step_of_several_days_is_a_step_through_torch(engine: str, name: str, threads: int) -> None:
    for samples, ensemble, gaps in ((7, 1, True), (4, 2, False)):
        config = config_of("multi-day", 21, 0.2, *SEVERAL_DAYS[name], ensemble=ensemble)
        is_one = config.task.lead_days == 1
        assert_as_torch(engine, config, batches_of(config, 4, samples, gaps=gaps and not is_one), threads)


def assert_as_torch(engine: str, config: Config, batches: Batch, threads: int) -> None:
    """Losses, moments and weights after some native steps are those of steps through torch."""
    # By steps so small that the weights hardly change, gradients of the same weights are compared; then a large step.
    for rate, count in ((1e-7, len(batches.windows)), (0.01, 1)):
        some = map_tensors(batches, operator.itemgetter(slice(count)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(VARIABLE, engine)
            native = learner_of(config, threads, rate)
            steps = make_steps(native)
            assert isinstance(steps, _NativeSteps)
            found = steps(some, dropout_of(config))
            patch.setenv(VARIABLE, "torch")
            reference = learner_of(config, 1, rate)
            steps = make_steps(reference)
            assert isinstance(steps, _OneByOne)
            expected = steps(some, dropout_of(config))
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            torch.testing.assert_close(found[name], values, atol=1e-6, rtol=1e-5)
        for name, tensor in reference.moments.items():
            torch.testing.assert_close(native.moments[name], tensor, atol=1e-7, rtol=1e-4)
        # A gradient that is nearly zero decides by its sign alone, as Adam divides it by its size.
        assert (native.members.weights - reference.members.weights).abs().mean() < 1e-3 * rate
        assert float(native.moments["step"]) == count


@ENGINES
def test_what_is_frozen_does_not_change(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, engine)
    for frozen, changed in (("trunk", "head"), ("head", "trunk")):
        config = config_of("phy-lstm", freeze=f"[{frozen}]")
        learner = learner_of(config, 2)
        before = learner.state()["weights"]
        make_steps(learner)(batches_of(config, 3, 9), dropout_of(config))
        for name, _ in learner.members.networks[0].named_parameters():
            is_same = torch.equal(learner.members.of(before, name), learner.members.of(learner.members.weights, name))
            assert is_same == name.startswith(frozen), (name, changed)


@ENGINES
def test_members_learn_as_each_would_alone_and_any_calls_give_the_same_bits(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, engine)
    config = config_of("phy-lstm", 33, ensemble=3)
    batches = batches_of(config, 6, 17)
    together = learner_of(config, 2)
    losses = make_steps(together)(batches, dropout_of(config))
    piecewise, dropout = learner_of(config, 2), dropout_of(config)
    monkeypatch.setattr("soilcast.training.steps._MOST_OPERATIONS", 1)  # a call a step
    make_steps(piecewise)(batches, dropout)
    for name, tensor in together.state().items():
        assert torch.equal(tensor, piecewise.state()[name]), name
    for member in range(3):
        alone = config_of("phy-lstm", 33, seed=config.train.seed + member)
        learner = learner_of(alone, 1)
        own = map_tensors(batches, operator.itemgetter((slice(None), slice(member, member + 1))))
        of_member = make_steps(learner)(own, dropout_of(alone))
        assert torch.equal(of_member["loss"], losses["loss"][:, member : member + 1])
        assert torch.equal(learner.members.weights[0], together.members.weights[member])


@ENGINES
def test_a_loss_that_is_not_finite_is_told_and_stays(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, engine)
    config = config_of("phy-lstm")
    batches = batches_of(config, 3, 8)
    batches.targets.observed[1, 0, 2] = torch.nan
    learner = learner_of(config, 2)
    losses = make_steps(learner)(batches, dropout_of(config))
    assert torch.isfinite(losses["loss"][0]).all()
    assert torch.isnan(losses["loss"][1:]).all()
    assert torch.isnan(learner.members.weights).any()


@ENGINES
def test_bfloat16_learns_nearly_the_same(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, engine)
    weights = []
    for precision in ("float32", "bfloat16"):
        config = config_of("phy-lstm", 64, precision=precision)
        learner = learner_of(config, 2)
        before = learner.state()["weights"]
        make_steps(learner)(batches_of(config, 10, 32), dropout_of(config))
        weights.append(learner.members.weights - before)
    assert not torch.equal(*weights)
    assert (weights[1] - weights[0]).norm() < 0.1 * weights[0].norm()


def test_several_batches_one_by_one_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "torch")
    config = config_of("phy-lstm")
    batches = batches_of(config, 4, 9)
    together, apart = learner_of(config, 1), learner_of(config, 1)
    losses = make_steps(together)(batches, dropout_of(config))
    dropout = dropout_of(config)
    for number in range(4):
        batch = map_tensors(batches, operator.itemgetter(number))
        assert torch.equal(apart.learn(batch, dropout.draw(9))["loss"], losses["loss"][number])
    assert torch.equal(together.members.weights, apart.members.weights)
