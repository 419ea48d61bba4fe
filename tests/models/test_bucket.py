"""The bucket: mass closes and soil moisture stays between 0 and the porosity, whatever a network gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from soilcast.models.bucket import Bucket

ROWS = 5


def exact(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(np.float32(low).item(), np.float32(high).item(), width=32)


def column(low: float, high: float) -> st.SearchStrategy[torch.Tensor]:
    return hnp.arrays(np.float32, ROWS, elements=exact(low, high)).map(torch.from_numpy)


def raws(bound: float) -> st.SearchStrategy[torch.Tensor]:
    return hnp.arrays(np.float32, (ROWS, 2), elements=exact(-bound, bound)).map(torch.from_numpy)


def logit(share: float) -> float:
    return float(np.log(share / (1 - share)))


def tensors(*values: float) -> list[torch.Tensor]:
    return [torch.tensor([value]) for value in values]


def test_a_day_by_hand() -> None:
    # Half of 10 mm infiltrates into 20 mm; of the 25 - 7 mm above the wilting point a tenth leaves.
    raw = torch.tensor([[0.0, logit(0.1)]])
    step = Bucket()(raw, *tensors(0.010, 0.020, 0.5, 0.07), wilting=0.1)
    assert step.infiltration.item() == pytest.approx(0.005)
    assert step.loss.item() == pytest.approx(0.0018)
    assert step.storage.item() == pytest.approx(0.0232)


def test_a_full_soil_takes_no_more_than_its_pores() -> None:
    raw = torch.tensor([[50.0, -50.0]])
    step = Bucket()(raw, *tensors(0.5, 0.030, 0.5, 0.07))
    assert step.infiltration.item() == pytest.approx(0.005)
    assert step.storage.item() == pytest.approx(0.035)


def test_water_above_the_porosity_leaves() -> None:
    step = Bucket()(torch.tensor([[0.0, -50.0]]), *tensors(0.01, 0.040, 0.5, 0.07))
    assert step.infiltration.item() == 0
    assert step.loss.item() == pytest.approx(0.005)
    assert step.storage.item() == pytest.approx(0.035)


def test_below_the_wilting_point_nothing_leaves() -> None:
    step = Bucket()(torch.tensor([[0.0, 50.0]]), *tensors(0.0, 0.005, 0.5, 0.07), wilting=0.1)
    assert step.loss.item() == 0
    assert step.storage.item() == pytest.approx(0.005)


@given(raws(3e38), column(0, 1.9), column(0, 2), column(0.01, 1), column(1e-4, 3), column(0, 0.4))
def test_mass_closes_within_bounds(
    raw: torch.Tensor,
    rain: torch.Tensor,
    storage: torch.Tensor,
    porosity: torch.Tensor,
    thickness: torch.Tensor,
    wilting: torch.Tensor,
) -> None:
    after, infiltration, loss = Bucket()(raw, rain, storage, porosity, thickness, wilting)
    turnover = storage + infiltration + loss
    closing = (after - storage - infiltration + loss).abs()
    assert (closing <= 4 * torch.finfo(torch.float32).eps * turnover).all()
    assert (infiltration >= 0).all()
    assert (infiltration <= rain).all()
    assert (infiltration <= torch.relu(porosity * thickness - storage)).all()
    assert (loss >= 0).all()
    assert (loss <= storage + infiltration).all()
    assert (after >= 0).all()
    assert (after <= porosity * thickness).all()
    assert (after - storage <= rain + 4 * torch.finfo(torch.float32).eps * turnover).all()


@given(raws(3e38), column(0, 0.3), column(0, 0.1))
def test_gradients_are_finite(raw: torch.Tensor, rain: torch.Tensor, storage: torch.Tensor) -> None:
    raw, storage = raw.requires_grad_(True), storage.requires_grad_(True)
    porosity, thickness = torch.full((ROWS,), 0.4), torch.full((ROWS,), 0.07)
    for _ in range(3):
        storage, _, _ = Bucket()(raw, rain, storage, porosity, thickness)
    (grad,) = torch.autograd.grad((storage**2).sum(), raw)
    assert torch.isfinite(grad).all()


def test_gradients_are_those_of_finite_differences() -> None:
    raw = torch.tensor([[0.3, -2.0], [-1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    rain, storage, porosity, thickness = (
        torch.tensor(pair, dtype=torch.float64) for pair in ([0.01, 0.002], [0.01, 0.02], [0.4, 0.5], [0.07, 0.07])
    )
    storage.requires_grad_(True)
    bucket = Bucket()

    def end(raw: torch.Tensor, storage: torch.Tensor) -> torch.Tensor:
        return bucket(raw, rain, storage, porosity, thickness).storage

    assert torch.autograd.gradcheck(end, (raw, storage))


@given(raws(20), column(0, 0.3), column(0, 0.03), column(0, 0.1))
def test_more_rain_never_dries(
    raw: torch.Tensor, rain: torch.Tensor, storage: torch.Tensor, more: torch.Tensor
) -> None:
    porosity, thickness = torch.full((ROWS,), 0.4), torch.full((ROWS,), 0.07)
    less = Bucket()(raw, rain, storage, porosity, thickness).storage
    assert (Bucket()(raw, rain + more, storage, porosity, thickness).storage >= less - 1e-8).all()


def test_leads_and_layers_spread() -> None:
    step = Bucket()(
        torch.randn(4, 3, 2), torch.rand(4, 1), torch.rand(4, 3) * 0.02, torch.full((3,), 0.4), torch.tensor(0.07)
    )
    assert step.storage.shape == step.infiltration.shape == step.loss.shape == (4, 3)


def test_the_head_starts_with_most_rain_in_and_little_water_out() -> None:
    assert Bucket.start().shape == (Bucket.parameters_a_day,)
    np.testing.assert_allclose(torch.sigmoid(Bucket.start()), [0.8, 0.05], rtol=1e-6)
