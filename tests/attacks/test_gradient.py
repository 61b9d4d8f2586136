"""The input gradient: equal to a plain loop for every loss and every way of cutting the work, in bounded memory."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from oracles import OF_LOGITS, PLAIN_LOSSES, CoinClassifier, raises_sentence, small_inputs, small_model
from unshaken.attacks import LOSSES, input_gradient
from unshaken.attacks.losses import SOFT, STREAMING
from unshaken.models import Deterministic, Draws, MeanField, StochasticClassifier
from unshaken.models.execution import LOOP_DRAWS

DRAWS = 23  # chunks of 5 are not all of one size
X, Y = small_inputs(20, dtype=torch.float64)
every_loss = pytest.mark.parametrize("name", OF_LOGITS)


def plain_gradient(model: StochasticClassifier, draws: Draws, name: str, x: Tensor = X, y: Tensor = Y) -> Tensor:
    """One graph over a Python loop, and the formula of a textbook."""
    x = x.clone().requires_grad_()
    logits = torch.stack([functional_call(model.net, state, (x,)) for state in draws])
    return torch.autograd.grad(PLAIN_LOSSES.get(name, LOSSES[name])(logits, y).sum(), x)[0]


@every_loss
@pytest.mark.parametrize("chunk", [None, 1, 5, 64])
@pytest.mark.parametrize("batch_size", [256, 7])  # 7: vectorised over draws by default
def test_the_gradient_is_that_of_a_plain_loop(name, chunk, batch_size):
    model = small_model("mean_field", dtype=torch.float64)
    draws = model.draw(DRAWS, seed=0)
    gradient = input_gradient(model, X, Y, draws, LOSSES[name], chunk=chunk, batch_size=batch_size)
    torch.testing.assert_close(gradient, plain_gradient(model, draws, name), rtol=1e-9, atol=1e-12)
    assert model.cost.gradients == DRAWS * len(X)


@pytest.mark.parametrize("draws", [1, DRAWS])  # one graph, two passes
@pytest.mark.parametrize("batch_size", [256, 7])
@pytest.mark.parametrize("name", [name for name in LOSSES if LOSSES[name] in SOFT])
def test_with_probabilities_too_the_gradient_is_that_of_a_plain_loop(name, draws, batch_size):
    model = small_model("mean_field", dtype=torch.float64)
    used, y = model.draw(draws, seed=0), X.flatten(1)[:, :3].softmax(1)
    gradient = input_gradient(model, X, y, used, LOSSES[name], batch_size=batch_size)
    torch.testing.assert_close(gradient, plain_gradient(model, used, name, y=y), rtol=1e-9, atol=1e-12)
    assert gradient.flatten(1).norm(dim=1).min() > 0


def test_probabilities_are_for_losses_that_take_them_and_as_many_as_the_logits():
    model = small_model("mean_field", dtype=torch.float64)
    with raises_sentence(r"got probabilities \(20, 3\), which only the loss 'kl' takes"):
        input_gradient(model, X, torch.full((20, 3), 1 / 3), model.draw(2, seed=0), LOSSES["log_error"])
    with raises_sentence("y must have 3 probabilities, as many as there are logits; got 4"):
        input_gradient(model, X, torch.full((20, 4), 1 / 4), model.draw(2, seed=0), LOSSES["kl"])


@pytest.mark.parametrize("chunk", [1, 5])
def test_every_draw_is_made_once_for_all_batches(chunk):
    draws, indices = small_model("mean_field", dtype=torch.float64).draw(DRAWS, seed=0), []
    counted = replace(draws, realise=lambda s: indices.append(s) or draws.realise(s))
    model = small_model("mean_field", dtype=torch.float64)
    input_gradient(model, X, Y, counted, LOSSES["log_error"], chunk=chunk, batch_size=7)
    assert sorted(indices) == list(range(DRAWS))


@every_loss
def test_one_draw_is_enough(name):
    model = small_model("mean_field", dtype=torch.float64)
    draws = model.draw(1, seed=0)
    gradient = input_gradient(model, X, Y, draws, LOSSES[name])
    torch.testing.assert_close(gradient, plain_gradient(model, draws, name), rtol=1e-9, atol=1e-12)


@every_loss
def test_float32_on_confident_draws_is_close_to_float64(name):
    if name in ("naive_cross_entropy", "margin"):
        pytest.skip("loses its gradient on confident draws")
    model = small_model("mean_field", dtype=torch.float64)
    with torch.no_grad():
        model.mean_vector.mul_(4)
    draws = model.draw(DRAWS, seed=0)
    y = model.logits(X, model.mean())[0].argmax(-1)
    single = small_model("mean_field")
    states = tuple({key: tensor.float() for key, tensor in state.items()} for state in draws)
    single_draws = Draws(states.__getitem__, draws.ids, 0, "mean_field", states)
    gradient = input_gradient(single, X.float(), y, single_draws, LOSSES[name]).double()
    expected = input_gradient(model, X, y, draws, LOSSES[name])
    scale = expected.flatten(1).abs().amax(1).view(-1, 1, 1, 1)
    torch.testing.assert_close(gradient / scale, expected / scale, rtol=0, atol=1e-3)


@every_loss
def test_losses_that_differ_by_more_than_exp_can_hold_are_weighted_right(name):
    model = small_model("mean_field", dtype=torch.float64)
    with torch.no_grad():
        model.rho_vector.add_(100)
    draws = model.draw(DRAWS, seed=0)
    values = torch.cat([LOSSES["log_error"](model.logits(X, draws[s : s + 1]), Y) for s in range(DRAWS)])
    assert values.min() < -1000
    one, other = (input_gradient(model, X, Y, draws, LOSSES[name], chunk=chunk) for chunk in (1, 64))
    torch.testing.assert_close(one, other)


@every_loss
@pytest.mark.parametrize("draws", [1, 40])
def test_a_classifier_that_ignores_its_input_has_a_zero_gradient(name, draws):
    coin = CoinClassifier(0.5, classes=3)
    gradient = input_gradient(coin, X, Y, coin.draw(draws, seed=0), LOSSES[name], chunk=8)
    assert torch.equal(gradient, torch.zeros_like(X))


class Peak:
    """The most bytes that autograd held at one time, within the `with`."""

    def __enter__(self) -> Peak:
        self.now = self.most = 0
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.pack, lambda held: held.tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.hooks.__exit__(*error)

    def pack(self, tensor: Tensor) -> object:
        peak = self

        class Held:
            def __init__(self) -> None:
                self.tensor = tensor
                peak.now += tensor.nbytes
                peak.most = max(peak.most, peak.now)

            def __del__(self) -> None:
                peak.now -= tensor.nbytes

        return Held()


@every_loss
def test_memory_does_not_grow_with_the_number_of_draws(name):
    model = MeanField(nn.Sequential(nn.Flatten(), nn.Linear(12, 500), nn.ReLU(), nn.Linear(500, 3)).double())

    def peak(draws: int) -> int:
        with Peak() as peak:
            input_gradient(model, X, Y, model.draw(draws, seed=0), LOSSES[name])
        return peak.most

    fixed = peak(2 * LOOP_DRAWS if LOSSES[name] in STREAMING else 16)
    logits = 10 * 100 * Y.numel() * 3 * 8  # a loss that needs all draws holds some terms of the size of all logits
    assert peak(100) <= fixed + (0 if LOSSES[name] in STREAMING else logits)
    assert 100 * peak(1) > 4 * fixed  # the measure would see 100 graphs


class Broken(nn.Module):
    """Gives `value` in the logits of one input."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.net, self.value = nn.Linear(12, 3).double(), value

    def forward(self, x: Tensor) -> Tensor:
        z = self.net(x.flatten(1))
        return z * torch.where(torch.arange(len(z)) == 2, self.value, 1.0).unsqueeze(1)


@every_loss
@pytest.mark.parametrize("draws", [1, 20])
def test_a_network_that_gives_nan_is_told_apart(name, draws):
    model = Deterministic(Broken(math.nan))
    with raises_sentence("the loss is NaN: the network gives NaN or infinite logits for these inputs"):
        input_gradient(model, X, Y, model.draw(draws), LOSSES[name])


def test_labels_are_compared_with_the_number_of_logits():
    model = small_model("mean_field", dtype=torch.float64)
    for name, draws in (("log_error", 2), ("cw", 40)):
        with raises_sentence("labels must be below 3, the number of logits; got 3"):
            input_gradient(model, X, Y + 1, model.draw(draws, seed=0), LOSSES[name])
    with raises_sentence("a classifier needs 2 logits at least; this network gives 1"):
        one = Deterministic(nn.Sequential(nn.Flatten(), nn.Linear(12, 1)).double())
        input_gradient(one, X, torch.zeros_like(Y), one.draw(1), LOSSES["log_error"])


class Fixed(nn.Module):
    """Logits (x w, 0) with a weight of its own for each draw."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(4))

    def forward(self, x):
        score = x.flatten(1) @ self.w
        return torch.stack([score, torch.zeros_like(score)], 1)


@pytest.mark.parametrize("loss", ["log_error", "cross_entropy", "mean_cross_entropy"])
@pytest.mark.parametrize("chunk", [1, 3, 64])
@pytest.mark.parametrize("wrong", [0, 1, 9])
def test_the_direction_survives_where_every_draw_is_sure(loss, chunk, wrong):
    x, y = torch.full((1, 1, 2, 2), 0.5), torch.zeros(1, dtype=torch.int64)
    weights = [
        (60 + s) * (1 if s >= wrong else -1) * torch.tensor([1.0, 1 + s / 9, 0.5, 1 - s / 20]) for s in range(10)
    ]
    states = tuple({"w": weight} for weight in weights)
    draws = Draws(states.__getitem__, tuple(range(10)), 0, "mean_field", states)
    gradient = input_gradient(MeanField(Fixed()), x, y, draws, LOSSES[loss], chunk=chunk).flatten().double()
    exact = x.double().requires_grad_()
    u = torch.stack([-(exact.flatten(1) @ weight.double()) for weight in weights])
    slopes = {
        "log_error": u.sigmoid() * (-u).sigmoid() / u.sigmoid().sum(0),
        "cross_entropy": u.sigmoid() * (-u).sigmoid() / (-u).sigmoid().sum(0),
        "mean_cross_entropy": u.sigmoid() / 10,
    }
    expected = -sum(slopes[loss][s] * weights[s].double() for s in range(10)).detach()
    assert gradient.abs().max() > 0
    torch.testing.assert_close(gradient / gradient.abs().max(), expected / expected.abs().max(), atol=1e-4, rtol=0)
