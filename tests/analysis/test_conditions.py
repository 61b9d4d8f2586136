"""Robustness conditions: exact on linear classifiers, sufficient on smooth ones, the plain formulas everywhere."""

from __future__ import annotations

import math
from functools import partial
from importlib import import_module

import pytest
import torch
from torch import Tensor, nn

from oracles import CoinClassifier, LinearClassifier, raises_sentence, small_inputs, small_model
from unshaken.analysis import SMOOTHNESS, conditions, robustness, smoothness_of
from unshaken.attacks import fgm, fgsm, pgd
from unshaken.evaluation.evaluate import evaluate
from unshaken.evaluation.predict import RULES
from unshaken.models import MODELS, Deterministic, MeanField, SeededModule, derive
from unshaken.models.smoothing import Smoothing

X, Y = small_inputs(12)
FGM = {"FGM": partial(fgm, draws=3)}
PREFIX = ["index", "repeat", "attack", "eps", "inference_draws"]
OUTCOME = ["correct", "survived", "linear", "linear_distance", "linear_class"]
COLUMNS = [*PREFIX, *OUTCOME, "margin", "cosine", "gradient_norm", "length"]
HOME = import_module("unshaken.analysis.margins")


def moved(n: int, *sizes: float, dtype=torch.float32, seed: int = 3) -> Tensor:
    """X or its like moved in random directions by the given lengths, (E, n, 1, 3, 4)."""
    x, _ = small_inputs(n, dtype=dtype)
    step = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    step /= step.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return torch.stack([x + size * step for size in sizes])


# Theorem 3.2


@pytest.mark.parametrize("classes", [2, 5])
def test_on_a_linear_classifier_the_linear_condition_is_what_happens(classes):
    net = LinearClassifier(20, classes, scale=0.5, dtype=torch.float64)
    x, y = net.inputs(300)
    y[:40] = (y[:40] + 1) % classes  # misclassified by most draws: not robust, whatever x_adv is classified as
    attacks = {
        "FGM": partial(fgm, draws=5, loss="cw"),
        "FGSM": partial(fgsm, draws=2, loss="cw"),
        "away": lambda model, x, y, **settings: 2 * x - fgm(model, x, y, **settings),
    }
    eps = [0.0, 0.01, 0.02, 0.05, 0.1]
    rows = conditions(net, x, y, seed=1, attacks=attacks, eps=eps, draws=[1, 10], repeats=2, rule="logit")
    assert len(rows) == 300 * 2 * 3 * 5 * 2
    assert (rows.linear == (rows.correct & rows.survived)).all()
    assert (rows.linear == (rows.linear_distance > rows.length)).all()
    assert (rows.groupby(["correct", "survived"]).size() > 300).sum() == 4
    assert rows[rows.eps > 0].groupby("eps").linear.mean().between(0.2, 0.8).all()
    assert (rows.linear_distance[~rows.correct] == 0).all()


def test_the_distance_is_where_a_linear_classifier_changes_its_mind():
    net = LinearClassifier(6, 4, scale=0.3, dtype=torch.float64)
    x, _ = net.inputs(50)
    draws = net.draw(4, seed=5)
    y = net.logits(x, draws).mean(0).argmax(-1)
    direction = torch.randn_like(x)
    result = robustness(net, x, y, x + direction, draws, rule="logit")
    reach = result.linear_distance.amin(1)
    ends = reach.isfinite()
    assert ends.sum() > 20
    per_length = (reach / result.length)[ends].view(-1, 1, 1, 1)
    for share, same in ((1 - 1e-9, True), (1 + 1e-9, False)):
        there = x[ends] + share * per_length * direction[ends]
        label = net.logits(there, draws).mean(0).argmax(-1)
        assert ((label == y[ends]) == same).all()
        if not same:
            assert torch.equal(label, result.linear_class[ends])
    far = x[~ends] + 1e6 * direction[~ends]
    assert torch.equal(net.logits(far, draws).mean(0).argmax(-1), y[~ends])


# Every number, against a loop over inputs and classes


@pytest.mark.parametrize("rule", ["probability", "logit"])
@pytest.mark.parametrize("kind", MODELS)
def test_every_number_is_that_of_a_plain_loop(kind, rule):
    n, limit = 6, 0.05
    net = small_model(kind, dtype=torch.float64)
    x, y = small_inputs(n, dtype=torch.float64)
    x_adv = moved(n, 2.0, dtype=torch.float64)[0]
    draws = net.draw(3, seed=2)
    result = robustness(net, x, y, x_adv, draws, smoothness=limit, rule=rule)
    at = x.clone().requires_grad_()
    f = sum(RULES[rule](net.logits(at, draws[s : s + 1])[0]) for s in range(3)) / 3
    f_adv = sum(RULES[rule](net.logits(x_adv, draws[s : s + 1])[0]) for s in range(3)) / 3
    for b in range(n):
        label, delta = int(y[b]), (x_adv - x)[b].flatten()
        length = float(delta.norm())
        assert result.length[b] == pytest.approx(length)
        assert bool(result.correct[b]) == (int(f[b].argmax()) == label)
        assert bool(result.survived[b]) == (int(f_adv[b].argmax()) == label)
        left = []
        for c in range(3):
            if c == label:
                assert result.margin[b, c] == result.linear_distance[b, c] == result.smooth_distance[b, c] == math.inf
                assert result.slope[b, c] == result.gradient_norm[b, c] == 0
                assert result.cosine[b, c].isnan()
                continue
            margin = f[b, label] - f[b, c]
            gradient = torch.autograd.grad(margin, at, retain_graph=True)[0][b].flatten()
            margin, norm = margin.item(), gradient.norm().item()
            cosine = (gradient @ delta).item() / norm / length
            assert result.margin[b, c] == pytest.approx(margin)
            assert result.slope[b, c] == pytest.approx(norm * cosine * length)
            assert result.gradient_norm[b, c] == pytest.approx(norm)
            assert result.cosine[b, c] == pytest.approx(cosine)
            linear = math.inf if cosine >= 0 else -margin / (norm * cosine)
            v = norm * cosine - limit * length
            smooth = math.inf if v >= 0 else margin / abs(v)
            assert result.linear_distance[b, c] == pytest.approx(linear if margin > 0 else 0)
            assert result.smooth_distance[b, c] == pytest.approx(smooth if margin > 0 else 0)
            left.append((min(linear, smooth) if margin > 0 else 0, linear if margin > 0 else 0, smooth, c))
        assert bool(result.linear[b]) == (min(one[1] for one in left) > length)
        assert bool(result.smooth[b]) == (min(one[0] for one in left) > length)


# Theorem 3.4


class Waves(nn.Module):
    """f_y − f_c swings with a known bound on its second derivatives: z_k = sin(<w_k, x>), L = max ‖w_k‖²."""

    def __init__(self) -> None:
        super().__init__()
        weight = 6 * torch.randn(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.register_buffer("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(x.flatten(1) @ self.weight.T)


def test_the_smooth_condition_is_never_violated_unless_the_constant_is_too_small():
    net = Deterministic(Waves())
    x, _ = small_inputs(2000, dtype=torch.float64)
    draws = net.draw(1, seed=0)
    y = net.logits(x, draws)[0].argmax(-1)
    x_adv = moved(2000, 0.01, 0.03, 0.05, 0.1, 0.3, dtype=torch.float64)
    limit = float(net.fixed["weight"].square().sum(1).max())
    result = robustness(net, x, y, x_adv, draws, smoothness=limit, rule="logit")
    assert (result.smooth <= result.survived).all()
    assert result.smooth[0].sum() > 1000
    assert (~result.survived).sum() > 1000
    assert torch.equal(result.smooth, result.smooth_distance.amin(-1) > result.length)
    loose = robustness(net, x, y, x_adv, draws, smoothness=limit / 20, rule="logit")
    assert (loose.smooth & ~loose.survived).any()
    assert (loose.smooth >= result.smooth).all()


def test_the_smoothness_of_a_word_is_that_of_the_noise_of_the_model():
    net = Smoothing(small_model("mean_field"), (1, 3, 4), sigma=0.1)
    assert smoothness_of(net, "published") == pytest.approx(200)
    assert smoothness_of(net, "tight") == pytest.approx(48.394, rel=1e-4)
    assert smoothness_of(net, 7) == 7
    assert smoothness_of(net, None) is None
    by_word, by_number = (
        robustness(net, X, Y, moved(12, 0.02)[0], net.draw(4, seed=0), smoothness=smoothness)
        for smoothness in ("tight", 48.3941449)
    )
    torch.testing.assert_close(by_word.smooth_distance, by_number.smooth_distance)
    assert all(function.__doc__.splitlines()[0].endswith(".") for function in SMOOTHNESS.values())


def test_the_tight_constant_is_attained_and_not_exceeded():
    """The second derivative of E f(x + σz) for f = 1{|x| > a} on the line: the largest over a is 2φ(1)/σ², at a = σ."""
    sigma = 0.3
    normal = torch.distributions.Normal(0.0, sigma)
    derivatives = {}
    for a in torch.linspace(0.1, 1, 91, dtype=torch.float64).tolist():
        x = torch.zeros((), dtype=torch.float64, requires_grad=True)
        outside = normal.cdf(-a - x) + 1 - normal.cdf(a - x)
        (slope,) = torch.autograd.grad(outside, x, create_graph=True)
        derivatives[a] = float(torch.autograd.grad(slope, x)[0])
    assert max(derivatives.values()) == pytest.approx(SMOOTHNESS["tight"](sigma), rel=1e-6)
    assert max(derivatives, key=derivatives.get) == pytest.approx(sigma)


# What is not robust, and what no attack reaches


def test_a_misclassified_input_is_not_robust_at_distance_0():
    net = small_model("mean_field")
    draws = net.draw(5, seed=0)
    predicted = net.logits(X, draws).softmax(-1).mean(0).argmax(-1)
    result = robustness(net, X, (predicted + 1) % 3, moved(12, 0.0, 0.1), draws, smoothness=1.0)
    for holds, distance, nearest in (
        (result.linear, result.linear_distance, result.linear_class),
        (result.smooth, result.smooth_distance, result.smooth_class),
    ):
        assert not holds.any()
        assert (distance.amin(-1) == 0).all()
        assert (distance.gather(-1, nearest[..., None]) == 0).all()
    assert torch.equal(result.linear_class[0], predicted)


def test_a_perturbation_of_no_length_is_withstood_where_the_label_is_right():
    net = small_model("mean_field")
    result = robustness(net, X, Y, X.clone(), net.draw(5, seed=0), smoothness=5.0)
    assert 0 < result.correct.sum() < len(X)
    assert torch.equal(result.linear, result.correct)
    assert torch.equal(result.smooth, result.correct)
    assert torch.equal(result.survived, result.correct)
    assert torch.equal(result.linear_distance.amin(1) == math.inf, result.correct)
    assert result.cosine.isnan().all()
    assert (result.length == 0).all()


def test_a_classifier_that_ignores_its_input_stays_as_it_is():
    net = CoinClassifier(0.7)
    y = torch.tensor([0, 1] * 6)
    result = robustness(net, X, y, moved(12, 0.3)[0], net.draw(40, seed=0))
    assert torch.equal(result.linear, y == 0)
    assert (result.gradient_norm == 0).all()
    assert result.cosine.isnan().all()
    assert (result.linear_distance.amin(1)[y == 0] == math.inf).all()


def test_a_tie_is_no_promise():
    """Two draws that disagree with certainty: argmax takes the first class, at a margin of 0."""
    net = CoinClassifier(0.5)
    sides = [state["scores"][0] > 0 for state in net.draw(20, seed=0)]
    first = next(s for s in range(19) if sides[s] != sides[s + 1])
    y, draws = torch.zeros_like(Y), net.draw(20, seed=0)[first : first + 2]
    result = robustness(net, X, y, torch.stack([X, moved(12, 0.3)[0]]), draws)
    assert result.correct.all()
    assert result.survived.all()
    assert result.linear.tolist() == [[True] * 12, [False] * 12]  # what does not move keeps its label
    assert result.linear_distance.amin(-1).tolist() == [[math.inf] * 12, [0.0] * 12]


def test_tiny_gradients_keep_their_angle():
    """Squares of 1e-25 are 0 in float32."""
    net = LinearClassifier(8, 2)
    net.weight *= 1e-25
    x, y = net.inputs(5)
    x_adv = x.clone()
    x_adv[..., 0] += 0.1
    result = robustness(net, x, y, x_adv, net.draw(1, seed=0), rule="logit")
    gap = (net.weight[y] - net.weight[1 - y]).double()
    cosine = result.cosine.gather(1, 1 - y[:, None])[:, 0]
    torch.testing.assert_close(cosine, gap[:, 0] / gap.norm(dim=1), rtol=1e-5, atol=0)


# One pass, in pieces


def test_fewer_draws_are_the_first_of_more_and_sizes_share_their_gradients():
    net = small_model("mean_field")
    rows = conditions(net, X, Y, seed=4, attacks=FGM, eps=[0.1, 0.2], draws=[9, 2])
    assert rows.inference_draws.drop_duplicates().tolist() == [9, 2]
    repeat_seed = derive(4, "repeat", 0)
    for count in (2, 9):
        x_adv = fgm(net, X, Y, draws=3, eps=[0.1, 0.2], seed=repeat_seed)
        result = robustness(net, X, Y, x_adv, net.draw(count, seed=derive(repeat_seed, "inference", 0)))
        for e, eps in enumerate([0.1, 0.2]):
            group = rows[(rows.inference_draws == count) & (rows.eps == eps)]
            assert group["index"].tolist() == list(range(12))
            assert group.linear.tolist() == result.linear[e].tolist()
            assert group.linear_class.tolist() == result.linear_class[e].tolist()
            for name in ("margin", "cosine", "gradient_norm"):
                expected = getattr(result, name)[e].gather(1, result.linear_class[e][:, None])[:, 0]
                assert group[name].tolist() == pytest.approx(expected.tolist(), rel=1e-4)
            assert group.linear_distance.tolist() == pytest.approx(result.linear_distance[e].amin(1).tolist(), rel=1e-4)


def test_what_happened_is_what_evaluate_says():
    net = small_model("mean_field")
    rows = conditions(net, X, Y, seed=4, attacks=FGM, eps=[0.0, 0.3], draws=7, repeats=2)
    for repeat in range(2):
        repeat_seed = derive(4, "repeat", repeat)
        x_adv = fgm(net, X, Y, draws=3, eps=0.3, seed=repeat_seed)
        for images, column in ((X, "correct"), (x_adv, "survived")):
            correct = evaluate(net, images, Y, draws=7, seed=repeat_seed).correct.tolist()
            group = rows[(rows.repeat == repeat) & (rows.eps == 0.3)]
            assert group[column].tolist() == correct
        still = rows[(rows.repeat == repeat) & (rows.eps == 0)]
        assert (still.linear == still.correct).all()
    parts = [rows[rows.repeat == repeat].margin.tolist() for repeat in range(2)]
    assert parts[0] != parts[1]


def test_columns_and_order_of_rows():
    net = Smoothing(MeanField(small_model("deterministic").net, initial_scale=0.2), (1, 3, 4), sigma=0.5)
    attacks = {"B": partial(fgm, draws=1), "A": partial(pgd, draws=1, steps=2, norm="l2")}
    settings = {"seed": 0, "attacks": attacks, "eps": [0.2, 0.1], "draws": (3, 1), "repeats": 2}
    plain = conditions(net, X, Y, **settings)
    assert list(plain.columns) == COLUMNS
    rows = conditions(net, X, Y, **settings, smoothness="published")
    assert list(rows.columns) == [*COLUMNS, "smooth", "smooth_distance", "smooth_class"]
    assert rows[COLUMNS].equals(plain)
    assert rows["index"].tolist()[:13] == [*range(12), 0]
    assert rows.inference_draws.tolist()[::12] == [3, 1] * 8
    assert rows.eps.tolist()[::24] == [0.2, 0.1] * 4
    assert rows.attack.tolist()[::48] == ["B", "A"] * 2
    assert rows.repeat.tolist()[::96] == [0, 1]
    assert (rows.smooth <= rows.linear).all()
    assert (rows.smooth_distance <= rows.linear_distance).all()
    assert (rows.smooth == (rows.smooth_distance > rows.length)).all()
    assert (rows.linear == (rows.linear_distance > rows.length)).all()
    assert (rows.smooth != rows.linear).any()
    assert rows.length.between(0.0, rows.eps + 1e-6).all()


@pytest.mark.parametrize("kind", ["mean_field", "deterministic"])
def test_pieces_are_the_whole(kind, monkeypatch):
    net = small_model(kind, dtype=torch.float64)
    x, y = small_inputs(30, dtype=torch.float64)
    x_adv = moved(30, 0.1, 0.2, dtype=torch.float64)
    whole = robustness(net, x, y, x_adv, net.draw(11, seed=0), smoothness=1.0)
    most, logits = [], type(net).logits
    monkeypatch.setattr(type(net), "logits", lambda self, x, draws: most.append(len(x)) or logits(self, x, draws))
    for settings, block, size in (({"batch_size": 7}, 2**24, 7), ({}, 12 * (2 + 2) * 6, 6), ({}, 1, 1)):
        monkeypatch.setattr(HOME, "BLOCK", block)
        most.clear()
        pieces = robustness(net, x, y, x_adv, net.draw(11, seed=0), smoothness=1.0, **settings)
        assert max(most) == size
        for one, other in zip(whole, pieces, strict=True):
            torch.testing.assert_close(one, other, equal_nan=True)


def test_slices_of_the_inputs_are_perturbed_and_judged_apart(monkeypatch):
    net = small_model("mean_field", dtype=torch.float64)
    x, y = small_inputs(30, dtype=torch.float64)
    sizes = []

    def attack(model, x, y, *, eps, seed):
        sizes.append(len(x))
        return fgm(model, x, y, eps=eps, seed=seed, draws=2)

    settings = {"seed": 1, "attacks": {"A": attack, "B": FGM["FGM"]}, "eps": [0.1, 0.2], "draws": [2, 5]}
    whole = conditions(net, x, y, **settings)
    monkeypatch.setattr(HOME, "BLOCK", 2 * 2 * 12 * 8)
    pieces = conditions(net, x, y, **settings)
    assert sizes == [30, 8, 8, 8, 6]
    exact = [name for name in whole if whole[name].dtype != float]
    assert pieces[exact].equals(whole[exact])
    for name in whole.columns.difference(exact):
        assert pieces[name].tolist() == pytest.approx(whole[name].tolist(), rel=1e-9)


def test_no_more_draws_are_held_than_one_graph_takes(monkeypatch):
    net = small_model("mean_field")
    most = []
    logits = type(net).logits
    monkeypatch.setattr(type(net), "logits", lambda self, x, draws: most.append(len(draws)) or logits(self, x, draws))
    robustness(net, X, Y, moved(12, 0.1)[0], net.draw(200, seed=0))
    assert max(most) <= 8


def test_the_cost_is_what_was_done():
    net = small_model("mean_field")
    robustness(net, X, Y, moved(12, 0.1, 0.2, 0.3), net.draw(5, seed=0))
    assert net.cost.gradients == (3 - 1) * 5 * 12
    assert net.cost.forwards == 1 + (1 + 3) * 5 * 12


def test_a_module_that_draws_inside_is_the_same_network_at_x_and_x_adv():
    layer = nn.Sequential(nn.Flatten(), nn.Linear(12, 200), nn.Dropout(0.5), nn.Linear(200, 3)).train()
    net = SeededModule(layer.double())
    x, y = small_inputs(12, dtype=torch.float64)
    result = robustness(net, x, y, moved(12, 0.5, 0.5, dtype=torch.float64), net.draw(1, seed=0), rule="logit")
    assert torch.equal(result.linear, result.correct & result.survived)


# Errors


def test_draws_that_made_the_perturbation_are_refused():
    net = small_model("mean_field")
    draws = net.draw(6, seed=0)
    x_adv = fgm(net, X, Y, eps=[0.1, 0.2], draws=draws[:2])
    for perturbed in (x_adv, x_adv[0]):
        with raises_sentence("2 of the inference draws also made these perturbations"):
            robustness(net, X, Y, perturbed, draws)
        assert robustness(net, X, Y, perturbed, draws, allow_shared_draws=True).length.shape == perturbed.shape[:-3]
    repeat_seed = derive(0, "repeat", 0)
    cheat = {"cheat": partial(fgm, draws=net.draw(6, seed=derive(repeat_seed, "inference", 0)))}
    with raises_sentence("4 of the inference draws also made these perturbations"):
        conditions(net, X, Y, seed=0, attacks=cheat, eps=[0.1], draws=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attacks": {}}, "there are no attacks whose perturbations could be judged"),
        ({"eps": []}, r"eps must be one number at least, none of them twice; got \[\]"),
        ({"eps": [0.1, 0.1]}, "eps must be one number at least, none of them twice"),
        ({"eps": [-0.1]}, "eps must be finite and 0 or more; got -0.1"),
        ({"draws": []}, "draws must be one number at least, none of them twice"),
        ({"draws": [5, 5]}, "draws must be one number at least, none of them twice"),
        ({"draws": 0}, "draws must be a whole number, 1 or more; got 0"),
        ({"repeats": 0}, "repeats must be a whole number, 1 or more; got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more; got 0"),
        ({"smoothness": 0.0}, "the L of an L-smooth prediction, must be a number above 0; got 0.0"),
        ({"smoothness": -1}, "must be a number above 0; got -1"),
        ({"smoothness": math.nan}, "must be a number above 0; got nan"),
        ({"smoothness": "tigt"}, "unknown smoothness 'tigt': did you mean 'tight'"),
        (
            {"smoothness": "published"},
            "smoothness 'published' needs a smoothing model, which a 'mean_field' model is not; give a number or wrap",
        ),
        ({"smoothness": "tight", "rule": "logit"}, "smoothness 'tight' is that of probabilities: with rule 'logit'"),
        ({"rule": "vote"}, "rule 'vote' has no gradient; choose 'probability' or 'logit'"),
        ({"rule": "logits"}, "unknown rule 'logits': did you mean 'logit'"),
        ({"attacks": {"A": lambda model, x, y, *, eps, seed: x}}, r"the attack 'A' must give \(E, \*\(12, 1, 3, 4\)\)"),
        ({"attacks": {"A": lambda model, x, y, *, eps, seed: x[None] / 0}}, "the attack 'A' gives contains NaN or inf"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(settings, message):
    with raises_sentence(message):
        conditions(small_model("mean_field"), X, Y, seed=0, **{"attacks": FGM, "eps": [0.1], "draws": 2, **settings})


@pytest.mark.parametrize("shape", [(11, 1, 3, 4), (12, 1, 4, 3), (12, 12), (2, 11, 1, 3, 4), (1, 1, 12, 1, 3, 4)])
def test_a_perturbation_of_another_shape_is_answered_in_one_sentence(shape):
    net = small_model("mean_field")
    with raises_sentence(r"x_adv must be of the shape of x, \(12, 1, 3, 4\), or \(E, "):
        robustness(net, X, Y, torch.zeros(shape), net.draw(1, seed=0))


def test_wrong_labels_networks_and_modes_are_answered_in_one_sentence():
    net = small_model("mean_field")
    with raises_sentence("labels must be below 3, the number of logits; got 3"):
        robustness(net, X, Y * 0 + 3, X, net.draw(1, seed=0))
    with raises_sentence("draws of a 'mean_field' model cannot be used with a 'linear' model"):
        robustness(LinearClassifier(12), X, Y, X, net.draw(1, seed=0))
    with torch.inference_mode(), raises_sentence("the conditions need gradients, which torch.inference_mode"):
        robustness(net, X, Y, X, net.draw(1, seed=0))
    with torch.no_grad():
        net.mean_vector.fill_(math.nan)
    with raises_sentence("the prediction is NaN: the network gives NaN or infinite logits"):
        robustness(net, X, Y, X, net.draw(1, seed=0))


def test_many_draws_of_a_model_without_randomness_cost_one():
    net = Deterministic(small_model("deterministic").net)
    rows = conditions(net, X, Y, seed=0, attacks={"FGM": fgm}, eps=[0.1], draws=[1, 5, 50])
    assert net.cost.gradients == len(X) * (2 + 1)  # two margins, and the attack
    assert rows.groupby("index").cosine.nunique().max() == 1
    assert sorted(rows.inference_draws.unique()) == [1, 5, 50]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"draws": 10}, "draws must be a Draws object, such as model.draw"),
        ({"x_adv": X.double()}, "x_adv must be of the type of x, torch.float32; got torch.float64"),
        ({"x_adv": X[None][:0]}, "x_adv must be of the shape of x"),
        ({"smoothness": True}, "must be a number above 0; got True"),
    ],
)
def test_what_a_user_may_mistake_is_answered_in_a_sentence(settings, message):
    net = small_model("mean_field")
    arguments = {"x_adv": X, "draws": net.draw(3, seed=1), **settings}
    with raises_sentence(message):
        robustness(net, X, Y, **arguments)
