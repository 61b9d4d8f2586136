"""SPSA: an estimate of the gradient from values of the loss, alike in any company, also where no gradient is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from oracles import OF_LOGITS, CoinClassifier, LinearClassifier, raises_sentence, small_inputs, small_net
from oracles import precise_model as model
from unshaken.attacks import ATTACKS, LOSSES, NORMS, input_gradient, pgd, spsa
from unshaken.attacks.losses import cw
from unshaken.models import Deterministic, SeededModule, StochasticClassifier
from unshaken.runs.parts import resolve_part

X, Y = small_inputs(dtype=torch.float64)
QUICK = {"directions": 8, "steps": 3, "draws": 2}


def estimate(net: StochasticClassifier, x: Tensor = X, y: Tensor = Y, *, step: int = 0, **settings) -> Tensor:
    """What the attack follows at a step."""
    gradients: list[Tensor] = []
    spsa(net, x, y, eps=0.1, steps=step + 1, on_gradient=lambda _, gradient: gradients.append(gradient), **settings)
    return gradients[step]


def recorded(net: nn.Module) -> list[Tensor]:
    """The inputs that the network will be shown."""
    batches: list[Tensor] = []
    net.register_forward_pre_hook(lambda module, args: batches.append(args[0].detach().clone()))
    return batches


def test_it_is_the_mean_of_differences_along_random_signs():
    net = small_net(dtype=torch.float64)
    batches = recorded(net)
    gradient = estimate(Deterministic(net), directions=5, delta=0.03, draws=1)
    above, below = (side.view(len(X), 5, *X.shape[1:]) for side in batches)
    signs = (above - X[:, None]) / 0.03
    torch.testing.assert_close(signs.abs(), torch.ones_like(signs))
    torch.testing.assert_close(below, X[:, None] - 0.03 * signs)
    assert 0.3 < (signs > 0).double().mean() < 0.7
    expected = torch.zeros_like(X)
    for i in range(len(X)):
        for v in signs[i]:
            up, down = (cw(net(x[None])[None], Y[i : i + 1]) for x in (X[i] + 0.03 * v, X[i] - 0.03 * v))
            expected[i] += (up - down) / (2 * 0.03) * v / 5
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize("loss", OF_LOGITS)
def test_with_many_directions_and_the_same_draws_it_is_the_gradient(loss):
    net = model()
    draws = net.draw(3, seed=1)
    gradient = estimate(net, loss=loss, draws=draws, directions=20_000, delta=1e-3, batch_size=4096)
    exact = input_gradient(net, X, Y, draws, LOSSES[loss])
    assert torch.cosine_similarity(gradient.flatten(1), exact.flatten(1)).min() > 0.99
    torch.testing.assert_close(gradient.flatten(1).norm(dim=1), exact.flatten(1).norm(dim=1), rtol=0.05, atol=0)


def test_a_linear_loss_is_estimated_without_bias_at_the_edge_of_the_box():
    net = LinearClassifier(dtype=torch.float64)
    x = torch.zeros(1, 1, 1, 8, dtype=torch.float64)
    y = net.logits(x, net.mean())[0].argmax(-1)
    exact = (net.weight[1 - y] - net.weight[y])[0]
    gradient = estimate(net, x, y, draws="mean", directions=5000).flatten()
    torch.testing.assert_close(gradient, exact, atol=0.15, rtol=0)


def test_both_sides_of_a_difference_see_the_same_draws():
    """A draw changes the loss by far more than a step does: with other draws the estimate would be noise."""
    coin = CoinClassifier(0.5, classes=3)
    assert not estimate(coin, draws=1).any()
    net = SeededModule(small_net(dtype=torch.float64).train())
    assert estimate(net, draws=1, directions=50, delta=1e-6).abs().max() < 10


def test_directions_are_new_at_every_step_and_for_every_input_and_seed():
    net = small_net(dtype=torch.float64)
    batches = recorded(net)
    for seed in (0, 1):
        spsa(Deterministic(net), X[:1].repeat(2, 1, 1, 1), Y[:1].repeat(2), eps=0.0, steps=2, directions=2, seed=seed)
    signs = torch.stack(batches[::2]) > X[0]  # (seeds x steps, inputs x directions, ...)
    assert len(signs.flatten(0, 1).flatten(1).unique(dim=0)) == 2 * 2 * 2 * 2


@pytest.mark.parametrize("update", ["adam", "steepest"])
@pytest.mark.parametrize("start", ["none", "uniform"])
def test_the_result_of_an_input_depends_on_no_other_input_and_on_no_batch_size(update, start):
    settings = {"eps": [0.05, 0.1], "update": update, "start": start, **QUICK}
    whole = spsa(model(), X, Y, **settings)
    two = spsa(model(), X[[4, 1]], Y[[4, 1]], indices=[4, 1], **settings)
    torch.testing.assert_close(two, whole[:, [4, 1]])
    for batch_size in (1, 3, 8, 20):
        torch.testing.assert_close(spsa(model(), X, Y, batch_size=batch_size, **settings), whole)
    torch.testing.assert_close(spsa(model(), X, Y, **{**settings, "eps": 0.1}), whole[1])


@pytest.mark.parametrize(("directions", "batch_size"), [(4, 9), (4, 4), (7, 3), (1, 2)])
def test_no_pass_is_larger_than_asked_for(directions, batch_size):
    net = small_net(dtype=torch.float64)
    batches = recorded(net)
    spsa(Deterministic(net), X, Y, eps=0.1, directions=directions, steps=1, batch_size=batch_size)
    assert max(map(len, batches)) <= batch_size
    assert sum(map(len, batches)) == 2 * directions * len(X)


class Rounded(nn.Module):
    """A linear classifier of the input in steps of 1/50: its gradient is zero everywhere."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return ((50 * x).round() / 50 - 0.5).flatten(1) @ self.weight.T


@pytest.mark.parametrize("norm", NORMS)
def test_it_wins_where_there_is_no_gradient(norm):
    linear = LinearClassifier()
    x, y = linear.inputs(40)
    net = Deterministic(Rounded(linear.weight))
    eps = 1.5 * linear.distance(x, y, norm) + 0.05
    settings = {"eps": eps, "norm": norm, "draws": 1}
    assert torch.equal(pgd(net, x, y, **settings), x)
    net.cost.gradients = net.cost.forwards = 0
    x_adv = spsa(net, x, y, steps=20, step_size=0.03, directions=16, delta=0.02, **settings)
    assert (net.cost.gradients, net.cost.forwards) == (0, 40 * 20 * 16 * 2)
    with torch.no_grad():
        assert (net.net(x_adv).argmax(1) != y).all()


def test_it_is_pgd_but_for_the_gradient():
    """Where the estimate points along the gradient in every entry, the steps are the same."""
    net = LinearClassifier(dimensions=2, dtype=torch.float64)
    x, y = net.inputs(20)
    settings = {"eps": 0.3, "draws": 1, "steps": 4, "step_size": 0.05, "update": "steepest"}
    expected = pgd(net, x, y, loss="cw", **settings)
    torch.testing.assert_close(spsa(net, x, y, directions=200, **settings), expected)
    together = spsa(net, x, y, directions=200, start="uniform", restarts=2, **settings)
    assert NORMS["linf"].size(together - x).max() <= 0.3 + 1e-9


def test_the_moments_and_the_mean_network_serve_as_one_draw():
    net = model()
    for draws in ("mean", "moments"):
        net.cost.forwards = 0
        spsa(net, X, Y, eps=0.1, steps=2, directions=3, draws=draws)
        assert net.cost.forwards == 2 * 2 * 3 * len(X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"directions": 0}, "directions must be a whole number, 1 or more; got 0"),
        ({"delta": 0.0}, "delta must be a number above 0; got 0.0"),
        ({"y": torch.full((6, 3), 1 / 3)}, "got probabilities .* only the loss 'kl' takes"),
    ],
)
def test_bad_settings_are_answered_before_any_work(settings, message):
    net = model()
    with raises_sentence(message):
        spsa(net, X, eps=0.1, **{"y": Y, **settings})
    assert net.cost.forwards == 0


def test_a_network_that_gives_nan_is_told():
    class Broken(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flatten(1)) * float("nan")

    with raises_sentence("the loss is NaN: the network gives NaN or infinite logits"):
        spsa(Deterministic(Broken(12, 3).double()), X, Y, eps=0.1, directions=2)


def test_probabilities_serve_as_labels_for_kl():
    net = model()
    draws = net.draw(3, seed=1)
    y = X.flatten(1)[:, :3].softmax(1)
    gradient = estimate(net, X, y, loss="kl", draws=draws, directions=5000, delta=1e-3, batch_size=4096)
    exact = input_gradient(net, X, y, draws, LOSSES["kl"])
    assert torch.cosine_similarity(gradient.flatten(1), exact.flatten(1)).min() > 0.97


def test_a_recipe_sets_directions_and_delta_and_not_the_gradient_estimator():
    resolved = resolve_part("attack", ATTACKS, {"kind": "spsa", "directions": 5})
    assert tuple(map(resolved.get, ("directions", "delta", "loss"))) == (5, 0.01, "cw")
    for settings, message in (
        ({"kind": "spsa", "directions": 0}, "directions must be a whole number, 1 or more; got 0"),
        ({"kind": "spsa", "delta": -1.0}, "delta must be a number above 0; got -1.0"),
        ({"kind": "spsa", "gradient_estimator": "exact"}, "unknown setting 'gradient_estimator'"),
        ({"kind": "pgd", "gradient_estimator": "exact"}, "unknown setting 'gradient_estimator'"),
    ):
        with raises_sentence(message):
            resolve_part("attack", ATTACKS, settings)
