"""What every attack promises: in ball and box, repeatable, exact where exactness is known, clear about bad input."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from oracles import ATTACK_NORMS, CoinClassifier, LinearClassifier, fixed, raises_sentence, small_inputs, small_model
from oracles import precise_model as model
from unshaken.attacks import ATTACKS, NORMS
from unshaken.attacks.norms import STARTS
from unshaken.attacks.sampling import SCHEMES
from unshaken.evaluation.predict import predict
from unshaken.models import SeededModule

every_attack = pytest.mark.parametrize(("name", "norm"), ATTACK_NORMS)
EPS = [0.0, 0.003, 0.1, 0.5, 3.0]
X, Y = small_inputs(dtype=torch.float64)
QUICK = {  # settings of attacks that are slow by default
    "spsa": {"directions": 12, "steps": 8, "step_size": 0.05},
    "carlini_wagner": {"steps": 6, "search_steps": 2},
}
EXACT = {"carlini_wagner": {"steps": 40, "search_steps": 4, "initial_c": 0.1, "lr": 0.02, "confidence": 0.02}}
GRADIENT_FREE = ("spsa",)
NEAREST = ("carlini_wagner",)  # attacks that move an input no further than it takes, with one search for all sizes


def attack(name: str, norm: str, net=None, x=X, y=Y, *, eps, **settings):
    arguments = {"norm": norm, **QUICK.get(name, {}), **settings}
    free = {argument: value for argument, value in arguments.items() if argument not in fixed_in(name)}
    return ATTACKS[name](net or model(), x, y, eps=eps, **free)


def fixed_in(name: str) -> dict[str, object]:
    """What an attack that is a setting of another one fixes for good."""
    return getattr(ATTACKS[name], "keywords", {})


def takes(name: str, words) -> bool:
    """Whether an attack has all of these arguments, fixed or not."""
    return words <= {*inspect.signature(ATTACKS[name]).parameters, *fixed_in(name)}


SETTINGS = [(name, argument) for name in ATTACKS for argument in fixed_in(name)]


@pytest.mark.parametrize(("name", "argument"), SETTINGS)
def test_what_an_attack_fixes_cannot_be_set(name, argument):
    with pytest.raises(ValueError, match=f"{argument} is fixed at .* in this attack: use pgd to set it"):
        ATTACKS[name](model(), X, Y, eps=0.1, **{argument: 5})


@every_attack
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_result_is_in_the_ball_and_in_the_box_for_every_size(name, norm, dtype):
    x_adv = attack(name, norm, small_model("mean_field", dtype=dtype), X.to(dtype), eps=EPS)
    assert x_adv.shape == (len(EPS), *X.shape)
    assert x_adv.dtype == dtype
    assert not x_adv.requires_grad
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    for eps, moved in zip(EPS, x_adv - X.to(dtype), strict=True):
        assert NORMS[norm].size(moved).max() <= eps + 1e-6
        anywhere = NORMS[norm].size(moved) > 0
        assert (anywhere.any() if name in NEAREST else anywhere.all()) == (eps > 0)


@every_attack
def test_size_zero_gives_x_back(name, norm):
    for eps in (0.0, 0, torch.zeros(len(X))):
        assert torch.equal(attack(name, norm, eps=eps), X)
    assert torch.equal(attack(name, norm, eps=[0.1, 0.0])[1], X)


@every_attack
def test_the_same_seed_gives_the_same_result_whatever_the_global_random_numbers(name, norm):
    one = attack(name, norm, eps=0.1, seed=1)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert torch.equal(attack(name, norm, eps=0.1, seed=1), one)


@every_attack
def test_another_seed_gives_another_result(name, norm):
    if fixed(name, "draws") in SCHEMES:
        pytest.skip("nothing is random")
    assert not torch.equal(attack(name, norm, eps=0.1, seed=1), attack(name, norm, eps=0.1, seed=2))


@every_attack
def test_a_list_of_sizes_is_one_call_for_each(name, norm):
    for eps, x_adv in zip(EPS, attack(name, norm, eps=EPS), strict=True):
        torch.testing.assert_close(x_adv, attack(name, norm, eps=eps))
    torch.testing.assert_close(attack(name, norm, eps=(0.1,)), attack(name, norm, eps=0.1)[None])


@every_attack
def test_one_size_for_each_input_is_one_call_for_each_size(name, norm):
    sizes = torch.linspace(0, 0.3, len(X))
    together = attack(name, norm, eps=sizes)
    for i, eps in enumerate(sizes):
        torch.testing.assert_close(together[i], attack(name, norm, eps=eps)[i])
    torch.testing.assert_close(attack(name, norm, eps=[0.1, sizes])[1], together)


@every_attack
def test_the_batch_size_changes_nothing(name, norm):
    x, y = small_inputs(20, dtype=torch.float64)
    settings = {"x": x, "y": y, "eps": [0.1, 0.2]} | ({"steps": 2, "draws": 3} if name in GRADIENT_FREE else {})
    whole = attack(name, norm, **settings)
    for batch_size in (1, 7):
        torch.testing.assert_close(attack(name, norm, **settings, batch_size=batch_size), whole)


@every_attack
@pytest.mark.parametrize("scale", [0.0, 0.02])
def test_it_wins_at_the_exact_distance_of_a_linear_model_and_not_before(name, norm, scale):
    net = LinearClassifier(scale=scale)
    x, y = net.inputs(40)
    distance = net.distance(x, y, norm)
    labels = [
        net.logits(x_adv, net.mean())[0].argmax(-1)
        for x_adv in attack(name, norm, net, x, y, eps=[0.99 * distance, 1.25 * distance], **EXACT.get(name, {}))
    ]
    assert (labels[0] == y).all()
    assert (labels[1] != y).all()


@every_attack
def test_a_coin_cannot_be_moved(name, norm):
    coin = CoinClassifier(0.7)
    y = torch.zeros_like(Y)
    x_adv = attack(name, norm, coin, y=y, eps=0.5)
    assert torch.equal(x_adv, X)
    right = predict(coin, x_adv, coin.draw(1000, seed=1), rule="vote")[:, 0]
    assert (right - 0.7).abs().max() < 4 * math.sqrt(0.7 * 0.3 / 1000)


@every_attack
def test_it_works_where_gradients_are_switched_off(name, norm):
    expected = attack(name, norm, eps=0.1)
    with torch.no_grad():
        assert torch.equal(attack(name, norm, eps=0.1), expected)
    if name in GRADIENT_FREE:
        with torch.inference_mode():
            assert torch.equal(attack(name, norm, eps=0.1), expected)
        return
    with torch.inference_mode(), raises_sentence(r"an attack needs gradients, which torch.inference_mode\(\) forbids"):
        attack(name, norm, eps=0.1)


@every_attack
def test_a_list_costs_one_gradient_for_the_first_step_and_one_for_each_size_later(name, norm):
    if name == "doubling":
        pytest.skip("inputs that are done cost nothing")
    net = model()
    quick = QUICK.get(name, {})
    if name in NEAREST:
        attack(name, norm, net, eps=0.1)
        single, net.cost.gradients, net.cost.forwards = net.cost.gradients, 0, 0
        attack(name, norm, net, eps=EPS)
        assert net.cost.gradients == net.cost.forwards == single <= len(X) * 10 * quick["steps"] * quick["search_steps"]
        return
    steps = fixed(name, "steps") or quick.get("steps", 10)
    draws = 1 if fixed(name, "draws") in SCHEMES else 10
    attack(name, norm, net, eps=EPS)
    slopes = len(X) * draws * (1 + (steps - 1) * len(EPS))
    assert net.cost.gradients == (0 if name in GRADIENT_FREE else slopes)
    assert net.cost.forwards == slopes * (2 * quick["directions"] if name in GRADIENT_FREE else 1)


def changed(value: float):
    x = X.clone()
    x[1, 0, 0, 0] = value
    return x


BAD = {
    "above 1": ({"x": changed(1.5)}, r"x must lie in \[0, 1\] .* got values in \[.*, 1.5\]"),
    "below 0": ({"x": changed(-0.5)}, r"x must lie in \[0, 1\] .* got values in \[-0.5, "),
    "NaN": ({"x": changed(math.nan)}, "x contains NaN or infinite values"),
    "infinite": ({"x": changed(math.inf)}, "x contains NaN or infinite values"),
    "one axis": ({"x": X[0, 0, 0]}, r"batch axis and an input axis, such as \(B, C, H, W\); got \(4,\)"),
    "bytes": ({"x": X.byte()}, "x must be floating point .* got torch.uint8: divide 8-bit images by 255"),
    "no inputs": ({"x": X[:0], "y": Y[:0]}, "x is empty: at least one input is needed"),
    "float labels": ({"y": Y.float()}, r"y must be int64 class indices; got torch.float32: use y.long\(\)"),
    "too few labels": ({"y": Y[:4]}, r"same length; got 6 inputs and labels \(4,\)"),
    "one-hot labels": ({"y": torch.eye(6).long()}, r"same length; got 6 inputs and labels \(6, 6\)"),
    "negative label": ({"y": Y - 3}, "labels must be 0 or more; got -3"),
    "label too large": ({"y": Y + 1}, "labels must be below 3, the number of logits; got 3"),
    "negative size": ({"eps": -0.1}, "eps must be finite and 0 or more; got -0.1"),
    "NaN size": ({"eps": math.nan}, "eps must be finite and 0 or more; got nan"),
    "infinite size": ({"eps": [0.1, math.inf]}, "eps must be finite and 0 or more; got inf"),
    "NaN in sizes": ({"eps": torch.tensor([0.1] * 5 + [math.nan])}, "eps must be finite and 0 or more"),
    "no size": ({"eps": []}, "eps is an empty list: at least one perturbation size is needed"),
    "sizes for others": ({"eps": torch.ones(4)}, r"one size per input, shape \(6,\); got \(4,\)"),
    "size in words": ({"eps": "8/255"}, "eps must be a number, a tensor or a list of these; got '8/255'"),
    "zero draws": ({"draws": 0}, "draws must be a whole number, 1 or more; got 0"),
    "half a draw": ({"draws": 0.5}, "draws must be a whole number, 1 or more; got 0.5"),
    "unknown draws": (
        {"draws": "meen"},
        "draws must be a number, a Draws object, 'mean', 'moments' or 'all'; .*did you mean 'mean'",
    ),
    "zero steps": ({"steps": 0}, "steps must be a whole number, 1 or more; got 0"),
    "zero inputs at a time": ({"batch_size": 0}, "batch_size must be a whole number, 1 or more; got 0"),
    "zero step size": ({"step_size": 0.0}, "step_size must be a number above 0; got 0.0"),
    "unknown loss": ({"loss": "logerror"}, "unknown loss 'logerror': did you mean 'log_error'"),
    "unknown norm": ({"norm": "linff"}, "unknown norm 'linff': did you mean 'linf'"),
    "unknown start": ({"start": "uniforn"}, "unknown start 'uniforn': did you mean 'uniform'"),
    "unknown update": ({"update": "adan"}, "unknown update 'adan': did you mean 'adam'"),
    "far from any word": ({"loss": "?"}, "unknown loss '\\?': choose one of: cross_entropy, cw, kl, latent_shift, "),
    "no moments": (
        {"model": SeededModule(small_model("module", dtype=torch.float64).net), "draws": "moments"},
        "a 'module' model has no mean network: attack it with a number of draws instead",
    ),
    "no mean network": (
        {"model": SeededModule(small_model("module", dtype=torch.float64).net), "draws": "mean"},
        "a 'module' model has no mean network: attack it with a number of draws instead",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_answered_in_one_sentence(name, arguments, message):
    if arguments.keys() & fixed_in(name) or not takes(name, arguments.keys()):
        pytest.skip("this attack fixes it or has no such setting")
    good = {"model": model(), "x": X, "y": Y, "eps": 0.1}
    with raises_sentence(message):
        ATTACKS[name](**{**good, **arguments})


@pytest.mark.parametrize("name", ATTACKS)
def test_sentences_come_before_any_work(name):
    for what, (arguments, _) in BAD.items():
        if not takes(name, arguments.keys()):
            continue
        good = {"model": model(), "x": X, "y": Y, "eps": 0.1, **QUICK.get(name, {})}
        with pytest.raises(ValueError):
            ATTACKS[name](**{**good, **arguments})
        passes = (
            len(X) * 10 * QUICK.get(name, {}).get("directions", 1) if what == "label too large" else 0
        )  # the number of classes is seen in the first logits
        assert good["model"].cost.forwards <= passes, what


@every_attack
@pytest.mark.parametrize("start", STARTS)
def test_starts_stay_in_ball_and_box(name, norm, start):
    if not takes(name, {"start"}) or ("start" in fixed_in(name) and start != "none"):
        pytest.skip("this attack starts at x")
    x_adv = attack(name, norm, eps=EPS, start=start)
    assert torch.equal(x_adv[0], X)
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1
    for eps, moved in zip(EPS, x_adv - X, strict=True):
        assert NORMS[norm].size(moved).max() <= eps + 1e-6
