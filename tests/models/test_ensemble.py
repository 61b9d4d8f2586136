"""Ensembles: members as draws, trained as one model, put together in other ways, joined and taken apart."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from oracles import SHAPE, raises_sentence, small_inputs, small_net
from unshaken.attacks import fgsm, input_gradient, pgd
from unshaken.attacks.losses import cross_entropy
from unshaken.evaluation.evaluate import evaluate
from unshaken.evaluation.predict import predict
from unshaken.models import Deterministic, Ensemble, MeanField, Together, joined
from unshaken.models.base import mode
from unshaken.models.ensemble import ensemble, member
from unshaken.training import OBJECTIVES, adversarial, train

X, Y = small_inputs(20)
JOINT = partial(OBJECTIVES["with_clean"], loss="cross_entropy")


def nets(count: int = 3, **net) -> list[nn.Module]:
    return [small_net(seed, **net) for seed in range(count)]


def normed(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)]
    return nn.Sequential(*layers)


def probabilities(members: list[nn.Module], x: Tensor = X) -> Tensor:
    with torch.no_grad():
        return torch.stack([net.eval()(x).softmax(-1) for net in members])


def test_a_prediction_with_all_draws_is_the_mean_probability() -> None:
    members = nets()
    model = Ensemble(members)
    mean = probabilities(members).mean(0)
    torch.testing.assert_close(predict(model, X, model.all()), mean)
    torch.testing.assert_close(predict(model, X, model.draw(3, seed=5)), mean)
    torch.testing.assert_close(predict(model, X, model.draw(6, seed=5)), mean)


def test_every_member_is_drawn_once_before_any_is_drawn_again() -> None:
    model = Ensemble(nets(4))
    drawn = [int(state["member"]) for state in model.draw(12, seed=3)]
    assert all(sorted(drawn[first : first + 4]) == [0, 1, 2, 3] for first in (0, 4, 8))
    assert drawn[:4] != drawn[4:8] or drawn[4:8] != drawn[8:]


def test_draws_of_all_members_differ_but_nothing_is_random() -> None:
    model = Ensemble(nets())
    draws = model.all()
    assert (len(draws), draws.seed, len(draws.distinct)) == (3, None, 3)
    x_adv = pgd(model, X, Y, eps=0.1, draws="all", seed=1)
    assert torch.equal(x_adv, pgd(model, X, Y, eps=0.1, draws="all", seed=2))
    rows = evaluate(model, x_adv, Y, draws=draws)
    assert (rows.inference_draws == 3).all()
    assert (rows.shared_draws == 0).all()


def test_the_gradient_of_an_attack_is_that_of_minus_log_of_the_mean_probability() -> None:
    members = nets()
    model = Ensemble(members)
    x = X.clone().requires_grad_()
    mean = torch.stack([net.eval()(x).softmax(-1) for net in members]).mean(0)
    (expected,) = torch.autograd.grad(-mean.gather(1, Y[:, None]).log().sum(), x)
    gradient = input_gradient(model, X, Y, model.all(), cross_entropy)
    torch.testing.assert_close(gradient, expected)


def test_joint_training_is_one_step_on_minus_log_of_the_mean_probability_halved() -> None:
    members, x_adv = [net[:3] + net[4:] for net in nets(2)], (X + 0.05).clamp(0, 1)
    model = Ensemble(members)
    terms = []
    for inputs in (X, x_adv):
        mean = torch.stack([net(inputs).softmax(-1) for net in members]).mean(0)
        terms.append(-mean.gather(1, Y[:, None]).log().mean())
    loss = JOINT(model, x_adv, Y, before=X, examples=20, seed=0)
    torch.testing.assert_close(loss, (terms[0] + terms[1]) / 2)
    torch.testing.assert_close(
        JOINT(model, x_adv, Y, before=X, examples=20, seed=0, rho=2.0, halved=False), terms[0] + 2 * terms[1]
    )
    assert all(
        torch.allclose(a, b, atol=1e-6)
        for a, b in zip(
            torch.autograd.grad(loss, model.parameters(), retain_graph=True),
            torch.autograd.grad((terms[0] + terms[1]) / 2, model.parameters()),
            strict=True,
        )
    )


def test_the_mean_of_the_members_losses_is_another_loss() -> None:
    model = Ensemble([net[:3] + net[4:] for net in nets(2)])
    each = [nn.functional.cross_entropy(member.net(X), Y) for member in model.members]
    loss = OBJECTIVES["with_clean"](model, X, Y, before=X, examples=20, seed=0)
    torch.testing.assert_close(loss, sum(each) / 2)
    assert JOINT(model, X, Y, before=X, examples=20, seed=0) < loss


def test_training_under_attack_trains_every_member_and_its_own_statistics() -> None:
    members = [normed(0), normed(1)]
    model = Ensemble(members)
    before = {name: tensor.clone() for name, tensor in model.tensors().items()}
    inputs = partial(adversarial, eps=0.1, probability=1.0, attack=partial(pgd, draws="all", steps=2, start="gaussian"))
    train(model, X, Y, inputs=inputs, objective=JOINT, epochs=1, batch_size=10)
    for name in before:
        assert not torch.equal(model.tensors()[name], before[name]), name
    assert not torch.equal(members[0][1].running_mean, members[1][1].running_mean)
    assert (
        int(members[0][1].num_batches_tracked) == 4
    )  # clean and attacked inputs of two minibatches, none of an attack


def test_a_member_is_a_model_by_itself_that_shares_its_tensors() -> None:
    members = nets()
    model = Ensemble(members)
    one = model.member(2)
    assert isinstance(one, Deterministic)
    torch.testing.assert_close(predict(one, X, one.draw(1)), probabilities(members)[1])
    with torch.no_grad():
        members[1][1].weight.add_(1.0)
    torch.testing.assert_close(predict(one, X, one.draw(1)), probabilities(members)[1])
    with raises_sentence("number must be that of one of the 3 members, from 1; got 4"):
        model.member(4)


def test_members_may_be_of_different_architectures(tmp_path) -> None:
    members = [small_net(0), small_net(1, hidden=7), normed(2)]
    model = Ensemble(members)
    torch.testing.assert_close(predict(model, X, model.all()), probabilities(members).mean(0))
    model.save(tmp_path / "model.safetensors")
    other = Ensemble([small_net(3), small_net(4, hidden=7), normed(5)])
    other.load(tmp_path / "model.safetensors")
    assert torch.equal(predict(other, X, other.all()), predict(model, X, model.all()))


def test_the_networks_are_left_as_they_were() -> None:
    members = [normed(0).train(), normed(1).eval()]
    model = Ensemble(members)
    model.logits(X, model.all())
    with mode(model.net, training=True):
        model.training_logits(X, 1, 0)
    assert members[0].training
    assert not members[1].training


@pytest.mark.parametrize("combine", ["logit", "probability"])
def test_together_it_is_one_network(combine: str) -> None:
    members = nets()
    model = Together(Ensemble(members), combine=combine)
    logits = torch.stack([net.eval()(X) for net in members]).detach()
    expected = logits.mean(0).softmax(-1) if combine == "logit" else logits.softmax(-1).mean(0)
    for draws in (model.all(), model.draw(5, seed=1)):
        assert len(draws.distinct) == 1
        torch.testing.assert_close(predict(model, X, draws), expected)
    moved = fgsm(model, X, Y, eps=0.1, draws="all", loss="cross_entropy")
    same = fgsm(model, X, Y, eps=0.1, draws=4, loss="cross_entropy", seed=7)
    assert torch.equal(moved, same)


def test_a_gate_weighs_members_for_each_input_and_learns_with_them() -> None:
    members = nets(2)
    torch.manual_seed(0)
    gate = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    model = Together(Ensemble(members), gate=gate)
    with torch.no_grad():
        weights = gate(X).softmax(-1).T.unsqueeze(-1)
    torch.testing.assert_close(predict(model, X, model.all()), (weights * probabilities(members)).sum(0))
    before = gate[1].weight.clone()
    train(model, X, Y, objective=OBJECTIVES["mixture"], epochs=1, batch_size=10)
    assert not torch.equal(gate[1].weight, before)
    assert "gate.1.weight" in model.tensors()


def test_a_recipe_lists_networks_or_says_how_many() -> None:
    assert isinstance(ensemble(nets(2), SHAPE, members=2), Ensemble)
    assert isinstance(ensemble(nets(2), SHAPE, combine="logit"), Together)
    gate = lambda shape, classes: nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))  # noqa: E731
    assert ensemble(nets(2), SHAPE, gate=gate).gate is not None
    with raises_sentence("members is 3, but 2 networks are listed"):
        ensemble(nets(2), SHAPE, members=3)


def test_models_that_are_trained_are_joined_and_members_taken_out_again() -> None:
    members = nets(5)
    model = joined([Deterministic(members[0]), Ensemble(members[1:3]), Together(Ensemble(members[3:]))])
    assert len(model) == 5
    mean = probabilities(members).mean(0)
    torch.testing.assert_close(predict(model, X, model.all()), mean)
    one = member([model], number=4)
    torch.testing.assert_close(predict(one, X, one.all()), probabilities(members)[3])
    logit = joined([Ensemble(members[:2])], combine="logit")
    assert isinstance(logit, Together)
    with raises_sentence("only networks and ensembles of them can be joined; got a 'mean_field' model"):
        joined([MeanField(small_net())])
    with raises_sentence("only an ensemble has members; A is of kind 'deterministic'"):
        member([Deterministic(small_net())], of=["A"])


def test_an_ensemble_of_one_is_refused() -> None:
    with raises_sentence("members must be a whole number, 2 or more: one network is a 'deterministic' model; got 1"):
        Ensemble(nets(1))
    net = small_net()
    with raises_sentence("an ensemble is made of networks; got a model of kind 'deterministic': use joined"):
        Ensemble([Deterministic(small_net()), Deterministic(small_net())])
    with raises_sentence("the same network is a member twice"):
        Ensemble([net, net])


def test_members_for_other_classes_or_inputs_are_refused() -> None:
    other = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    model = Ensemble([small_net(), other])
    with raises_sentence(r"members must know the same classes; theirs are \[3, 5\] in number"):
        model.logits(X, model.all())
    wide = nn.Sequential(nn.Flatten(), nn.Linear(27, 3))
    model = Ensemble([small_net(), wide])
    with raises_sentence(r"member 2 takes no inputs of shape \(1, 3, 4\), as all members must"):
        train(model, X, Y, epochs=1)


def test_an_ensemble_has_no_mean_network() -> None:
    for model in (Ensemble(nets()), Together(Ensemble(nets()), combine="logit")):
        with raises_sentence(f"a '{model.kind}' model has no mean network: attack it with a number of draws"):
            fgsm(model, X, Y, eps=0.1, draws="mean")


def test_a_member_is_no_member_again() -> None:
    pair = Ensemble(nets())
    with raises_sentence("the same network is a member twice"):
        joined([pair, pair.member(2)])
    with raises_sentence("a member is taken out of one ensemble; got 2: A, B"):
        member([pair, pair], of=["A", "B"])


def test_dropout_of_a_gate_follows_from_the_seed() -> None:
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(9, 4)) for _ in range(2)]
    gated = Together(Ensemble(nets), gate=nn.Sequential(nn.Flatten(), nn.Linear(9, 64), nn.Dropout(), nn.Linear(64, 2)))
    x = torch.rand(5, 1, 3, 3)
    state = torch.get_rng_state()
    with mode(gated.net, training=True):
        first, repeated, other = (gated.training_logits(x, 1, seed) for seed in (1, 1, 2))
    assert torch.equal(first, repeated)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_gate_has_an_output_for_each_member() -> None:
    pair = Ensemble(nets())
    for outputs in (1, 2):
        model = Together(pair, gate=nn.Sequential(nn.Flatten(), nn.Linear(12, outputs)))
        with raises_sentence(rf"a gate must have an output for each of the 3 members, .* got \(\d+, {outputs}\)"):
            model.logits(X, model.all())
