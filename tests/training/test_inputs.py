"""Training inputs: which batches are replaced, by what; points of an extended training set; what is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from oracles import SHORT, raises_sentence, small_inputs, small_model
from unshaken.attacks import ATTACKS, fgm, fgsm, mean, pgd
from unshaken.evaluation.predict import predict
from unshaken.models import derive
from unshaken.models.draws import provenance_of
from unshaken.training.inputs import (
    Points,
    adversarial,
    clean,
    constant_noise,
    points_per_input,
    variable_noise,
    with_augmentation,
)
from unshaken.training.noise import NOISES

X, Y = small_inputs()


def model():
    return small_model("mean_field")


def attacked(net=None, **settings):
    return adversarial(net or model(), X, Y, **{"seed": 3, "eps": 0.1, "probability": 1.0, **settings}).x


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
    provenance = provenance_of(attacked(attack=partial(fgsm, draws=4)))
    assert provenance[0][1] != 3
    assert len(provenance[0][2]) == 4


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
    ("attack", "eps", "message"),
    [
        (mean, 16, "eps 16 is larger than the whole input box, 1 in the linf norm; is 16/255 meant?"),
        (partial(pgd, norm="l2", draws=2), 4.0, "eps 4 is larger than the whole input box, 3.46 in the l2 norm"),
        (partial(fgm, draws=2), 4.0, "eps 4 is larger than the whole input box, 3.46 in the l2 norm"),
        (pgd, 1.01, "eps 1.01 is larger than the whole input box, 1 in the linf norm"),
    ],
)
def test_a_perturbation_larger_than_the_box_is_refused_also_where_no_batch_is_replaced(attack, eps, message):
    with raises_sentence(message):
        attacked(attack=attack, eps=eps, probability=0.0)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_can_be_trained_with(name):
    x_adv = attacked(attack=partial(ATTACKS[name], **SHORT.get(name, {})))
    assert (x_adv - X).abs().max() <= (1 if name == "spatial" else 0.1) + 1e-6  # that one's size is of displacements


def test_the_attack_leads_away_from_the_labels_or_from_what_the_model_says():
    net, targets = model(), []

    def attack(model, x, y, *, eps, seed):
        targets.append(y)
        return x

    attacked(net, attack=attack)
    attacked(net, attack=attack, labels="predicted")
    assert torch.equal(targets[0], Y)
    assert torch.equal(targets[1], predict(net, X, net.draw(10, seed=derive(3, "predicted"))))
    with raises_sentence("unknown labels 'true': "):
        attacked(net, labels="true")


def test_what_the_inputs_were_before_the_attack_is_kept():
    batch = adversarial(model(), X, Y, seed=3, eps=0.1, probability=1.0)
    assert torch.equal(batch.before, X)
    assert not torch.equal(batch.x, X)


INDICES, COPIES = torch.arange(len(X)), torch.zeros(len(X), dtype=torch.int64)


def noisy(inputs, *, epoch=0, copy=0, seed=1, indices=INDICES, augment=lambda x: x, **settings):
    """The batch as inputs that extend the training set make it, every input with the same copy."""
    points = Points(indices, torch.full_like(indices, copy), epoch, seed)
    make = with_augmentation(partial(inputs, **{"size": 0.3, **settings}))
    return make(model(), X[indices], Y[indices], points, augment, 99).x


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("inputs", [constant_noise, variable_noise])
def test_every_copy_of_every_input_has_noise_of_its_own(inputs, noise):
    moved = torch.cat([noisy(inputs, copy=copy, noise=noise, copies=3) - X for copy in range(3)])
    assert len(moved.flatten(1).unique(dim=0)) == 3 * len(X)
    assert not torch.equal(noisy(inputs, noise=noise), noisy(inputs, noise=noise, seed=2))


def test_constant_noise_is_the_same_in_every_epoch_and_variable_noise_is_not():
    assert torch.equal(noisy(constant_noise, epoch=0), noisy(constant_noise, epoch=7))
    assert not torch.equal(noisy(variable_noise, epoch=0), noisy(variable_noise, epoch=7))


def test_constant_noise_does_not_depend_on_the_rest_of_the_batch():
    some = torch.tensor([4, 1])
    assert torch.equal(noisy(constant_noise, indices=some), noisy(constant_noise)[some])


@pytest.mark.parametrize("inputs", [constant_noise, variable_noise])
def test_the_last_copy_is_the_input_itself_where_it_is_wanted(inputs):
    assert torch.equal(noisy(inputs, copy=2, copies=2, clean=True), X)
    assert not torch.equal(noisy(inputs, copy=1, copies=2, clean=True), X)
    assert torch.equal(noisy(inputs, copy=1, copies=2, clean=True), noisy(inputs, copy=1, copies=5))
    counts = [points_per_input(partial(inputs, size=0.1, copies=3, clean=clean)) for clean in (False, True)]
    assert counts == [3, 4]


def test_inputs_that_do_not_extend_the_training_set_hold_each_input_once():
    assert points_per_input(clean) == points_per_input(partial(adversarial, eps=0.1)) == 1


def test_noise_is_clipped_only_where_asked():
    outside = noisy(constant_noise, size=2.0)
    assert outside.min() < 0
    assert outside.max() > 1
    assert torch.equal(noisy(constant_noise, size=2.0, clip=True), outside.clamp(0, 1))


def test_noise_comes_before_the_augmentation_and_an_attack_after_it():
    def double(x):
        return 2 * x

    assert torch.equal(noisy(constant_noise, augment=double), 2 * noisy(constant_noise))
    points, seen = Points(INDICES, COPIES, 0, 1), []

    def attack(model, x, y, *, eps, seed):
        seen.append(x)
        return x

    inputs = partial(adversarial, eps=0.1, attack=attack, probability=1.0)
    with_augmentation(inputs)(model(), X, Y, points, double, 99)
    assert torch.equal(seen[0], 2 * X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": -0.1}, "size must be a finite number, 0 or more; got -0.1"),
        ({"copies": 0}, "copies must be a whole number, 1 or more; got 0"),
        ({"copies": -3}, "copies must be a whole number, 1 or more; got -3"),
        ({"noise": "gausian"}, "unknown noise 'gausian': did you mean 'gaussian'?"),
    ],
)
@pytest.mark.parametrize("inputs", [constant_noise, variable_noise])
def test_bad_noise_is_refused(inputs, settings, message):
    with raises_sentence(message.replace("?", ".")):
        noisy(inputs, **settings)
