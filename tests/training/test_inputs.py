"""Adversarial inputs: which batches are replaced, by what, and what is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from oracles import raises_sentence, small_inputs, small_model
from unshaken.attacks import ATTACKS, fgm, fgsm, mean, pgd
from unshaken.models import derive
from unshaken.models.draws import provenance_of
from unshaken.training.inputs import NOISES, adversarial, variable_noise

X, Y = small_inputs()


def model():
    return small_model("mean_field")


def attacked(net=None, **settings):
    return adversarial(net or model(), X, Y, **{"seed": 3, "eps": 0.1, "probability": 1.0, **settings})[0]


@pytest.mark.parametrize(
    "attack", [mean, partial(fgsm, draws=4), partial(pgd, draws=2, steps=3), partial(fgm, draws=2)]
)
def test_a_replaced_batch_is_attacked(attack):
    net = model()
    assert torch.equal(attacked(net, attack=attack), attack(net, X, Y, eps=0.1, seed=derive(3, "inputs")))


def test_the_whole_batch_is_replaced_with_the_probability():
    replaced = [not torch.equal(attacked(seed=seed, probability=0.3), X) for seed in range(400)]
    assert 90 < sum(replaced) < 150
    assert torch.equal(attacked(probability=0.0), X)


def test_the_posterior_is_the_current_one():
    net = model()
    before = attacked(net)
    with torch.no_grad():
        net.mean_vector.copy_(torch.randn(net.mean_vector.shape, generator=torch.Generator().manual_seed(0)))
    assert not torch.equal(attacked(net), before)


def test_the_attack_has_draws_of_its_own():
    seen = provenance_of(attacked(attack=partial(fgsm, draws=4)))
    assert seen[0][1] != 3
    assert len(seen[0][2]) == 4


def test_the_network_is_in_eval_mode_for_the_attack_and_then_as_it_was():
    net, modes = model(), []
    net.net.train()
    net.net[0].eval()

    def attack(model, x, y, *, eps, seed):
        modes.append([module.training for module in model.net.modules()])
        return x

    attacked(net, attack=attack)
    assert not any(modes[0])
    assert [module.training for module in net.net.modules()] == [True, False, True, True, True, True]


@pytest.mark.parametrize("probability", [-0.1, 1.5, float("nan"), True, "0.3"])
def test_a_probability_outside_0_and_1_is_refused(probability):
    with raises_sentence("probability must be a number from 0 to 1; got"):
        attacked(probability=probability)


@pytest.mark.parametrize(
    ("attack", "eps", "told"),
    [
        (mean, 16, "eps 16 is larger than the whole input box, 1 in the linf norm; is 16/255 meant?"),
        (partial(pgd, norm="l2", draws=2), 4.0, "eps 4 is larger than the whole input box, 3.46 in the l2 norm"),
        (partial(fgm, draws=2), 4.0, "eps 4 is larger than the whole input box, 3.46 in the l2 norm"),
        (pgd, 1.01, "eps 1.01 is larger than the whole input box, 1 in the linf norm"),
    ],
)
def test_a_perturbation_larger_than_the_box_is_refused_also_where_no_batch_is_replaced(attack, eps, told):
    with raises_sentence(told):
        attacked(attack=attack, eps=eps, probability=0.0)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_can_be_trained_with(name):
    assert (attacked(attack=ATTACKS[name]) - X).abs().max() <= 0.1 + 1e-6


@pytest.mark.parametrize("noise", NOISES)
def test_noise_copies_are_the_input_with_noise_of_its_own_each(noise):
    x, y = variable_noise(model(), X, Y, seed=1, size=0.3, noise=noise, copies=3)
    assert torch.equal(y, Y.repeat(3))
    moved = (x - X.repeat(3, 1, 1, 1)).view(3, *X.shape)
    assert len(moved.flatten(1).unique(dim=0)) == 3
    assert not torch.equal(x, variable_noise(model(), X, Y, seed=2, size=0.3, noise=noise, copies=3)[0])


def test_gaussian_and_uniform_noise_have_their_size():
    x, y = torch.full((2000, 1, 3, 4), 0.5), torch.zeros(2000, dtype=torch.int64)
    gaussian, uniform = (variable_noise(model(), x, y, seed=1, size=0.3, noise=noise)[0] - 0.5 for noise in NOISES)
    assert gaussian.std() == pytest.approx(0.3, rel=0.02)
    assert gaussian.abs().max() > 0.9
    assert uniform.std() == pytest.approx(0.3 / 3**0.5, rel=0.02)
    assert uniform.abs().max() == pytest.approx(0.3, rel=0.01)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"size": -0.1}, "size must be a finite number, 0 or more; got -0.1"),
        ({"copies": 0}, "copies must be a whole number, 1 or more; got 0"),
        ({"noise": "gausian"}, "unknown noise 'gausian': did you mean 'gaussian'?"),
    ],
)
def test_bad_noise_is_refused(settings, told):
    with raises_sentence(told.replace("?", ".")):
        variable_noise(model(), X, Y, **{"seed": 1, "size": 0.1, **settings})
