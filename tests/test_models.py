"""The LSTM against Eq. 1-7 written out, step by step, in float64."""

from __future__ import annotations

import numpy as np
import torch

from soilcast.models import LSTM, MODELS, NETWORKS
from soilcast.water.losses import LOSSES


def sigma(value: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-value))


def test_the_network_is_equations_1_to_7() -> None:
    torch.manual_seed(0)
    network = LSTM(3, hidden_size=5).eval()
    inputs = torch.randn(4, 7, 3)
    weights = {name: value.detach().double().numpy() for name, value in network.named_parameters()}
    w_i, w_f, w_g, w_o = np.split(weights["lstm.weight_ih_l0"], 4)
    u_i, u_f, u_g, u_o = np.split(weights["lstm.weight_hh_l0"], 4)
    b_i, b_f, b_g, b_o = np.split(weights["lstm.bias_ih_l0"] + weights["lstm.bias_hh_l0"], 4)
    hidden = cell = np.zeros((4, 5))
    for x in inputs.double().numpy().transpose(1, 0, 2):
        i = sigma(x @ w_i.T + hidden @ u_i.T + b_i)
        f = sigma(x @ w_f.T + hidden @ u_f.T + b_f)
        g = np.tanh(x @ w_g.T + hidden @ u_g.T + b_g)
        o = sigma(x @ w_o.T + hidden @ u_o.T + b_o)
        cell = f * cell + i * g
        hidden = o * np.tanh(cell)
    expected = hidden @ weights["head.weight"].T + weights["head.bias"]
    np.testing.assert_allclose(network(inputs).detach().numpy(), expected[:, 0], atol=1e-6)


def test_dropout_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    network, inputs = LSTM(3, hidden_size=32, dropout=0.5), torch.randn(4, 7, 3)
    assert not torch.equal(network.train()(inputs), network(inputs))
    assert torch.equal(network.eval()(inputs), network(inputs))


def test_every_model_names_a_network_and_a_loss() -> None:
    for model in MODELS.values():
        assert model.network in NETWORKS
        assert model.loss in LOSSES
