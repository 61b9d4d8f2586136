"""Chains: networks that are trained side by side, and the states that they leave behind."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from oracles import raises_sentence, small_inputs, small_net, states_equal
from unshaken.evaluation.predict import predict
from unshaken.models import Chain, Deterministic, MeanField, MeanNetwork, Smoothing
from unshaken.models.chain import chain_in
from unshaken.training import OBJECTIVES, SGLD, adversarial, langevin, train

X, Y = small_inputs(20)
CE = OBJECTIVES["cross_entropy"]


def trained(chains: int = 3, net: nn.Module | None = None, **settings) -> Chain:
    model = Chain(net or small_net(), chains=chains, vectorised=settings.pop("vectorised", None))
    defaults = {
        "objective": CE,
        "optimizer": partial(SGLD, lr=1e-3, scale=1.0),
        "epochs": 3,
        "batch_size": 5,
        "seed": 1,
    }
    train(model, X, Y, **defaults | settings)
    return model


def weights(model: Chain, chain: int) -> Tensor:
    return torch.cat([t.detach().flatten() for t in model.positions[chain].values()])


def test_chains_start_alike_and_part(tmp_path: Path) -> None:
    model = Chain(small_net(), chains=3)
    assert states_equal(model.draw(1, seed=0), model.draw(3, seed=0)[1:2])
    model = trained()
    assert not torch.equal(weights(model, 0), weights(model, 1))
    assert not torch.equal(weights(model, 1), weights(model, 2))


def test_dropout_masks_alone_lead_chains_apart() -> None:
    model = trained(2, optimizer=partial(torch.optim.SGD, lr=0.1))
    assert not torch.equal(weights(model, 0), weights(model, 1))


def test_the_network_that_chains_are_made_of_stays_as_it_is() -> None:
    net = small_net()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    trained(net=net)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("optimizer", [partial(SGLD, lr=1e-2, scale=1.0), partial(torch.optim.SGD, lr=0.1)])
def test_a_chain_is_the_same_however_many_others_there_are(optimizer) -> None:
    alone, among = (trained(chains, optimizer=optimizer) for chains in (1, 3))
    torch.testing.assert_close(weights(alone, 0), weights(among, 0))


def test_one_chain_without_noise_is_a_network_that_is_trained() -> None:
    net = small_net()
    net[3].p = 0.0
    settings = {"objective": CE, "optimizer": partial(torch.optim.Adam, lr=0.01), "epochs": 2, "seed": 3}
    chain, plain = Chain(net, chains=1), Deterministic(small_net())
    plain.net[3].p = 0.0
    for model in (chain, plain):
        train(model, X, Y, **settings)
    torch.testing.assert_close(predict(chain, X, chain.draw(1, seed=0)), predict(plain, X, plain.draw(1)))


def test_one_vectorised_pass_is_a_loop_over_chains() -> None:
    net = small_net()
    net[3].p = 0.0
    loop, passes = (trained(net=net, vectorised=vectorised) for vectorised in (False, True))
    for chain in range(3):
        torch.testing.assert_close(weights(loop, chain), weights(passes, chain))
    assert loop.cost.forwards == passes.cost.forwards


def test_every_state_comes_once_before_any_comes_again() -> None:
    model = trained(4)
    draws = model.draw(8, seed=5).stack()["1.bias"]
    for half in (draws[:4], draws[4:]):
        assert len(half.unique(dim=0)) == 4
    assert not torch.equal(model.draw(4, seed=6).stack()["1.bias"], draws[:4])


def test_stored_states_are_the_draws() -> None:
    model = trained(2, burn_in=6, thin=3)  # of 12 minibatches: after 6, 9 and 12
    assert len(model.stored) == 6
    assert states_equal(sorted_by_bias(model.stored[-2:]), sorted_by_bias(model.living()))
    assert len(model.draw(6, seed=0).stack()["1.bias"].unique(dim=0)) == 6
    mean = torch.stack([state["1.bias"] for state in model.stored]).mean(0)
    torch.testing.assert_close(next(iter(model.mean()))["1.bias"], mean)


def sorted_by_bias(states):
    return sorted(states, key=lambda state: float(state["1.bias"].detach().sum()))


def test_attacks_in_training_see_where_the_chains_are() -> None:
    model, biases = Chain(small_net(), chains=2), []

    def attack(model, x, y, *, eps, seed):
        biases.append(
            (model.draw(2, seed=seed).stack()["1.bias"].sum(), sum(s["1.bias"].sum() for s in model.living()))
        )
        return x

    inputs = partial(adversarial, eps=0.1, attack=attack, probability=1.0)
    train(model, X, Y, inputs=inputs, objective=CE, epochs=2, batch_size=5, burn_in=1, thin=1)
    assert len(biases) == 8
    for drawn, now in biases:
        torch.testing.assert_close(drawn, now.detach(), atol=1e-5, rtol=0)


def test_files_keep_chains_and_stored_states(tmp_path: Path) -> None:
    model = trained(2, burn_in=6, thin=3)
    model.save(tmp_path / "chain.safetensors")
    again = Chain(small_net(1), chains=2)
    again.load(tmp_path / "chain.safetensors")
    assert states_equal(again.draw(6, seed=1), model.draw(6, seed=1))
    with raises_sentence("is a checkpoint of another architecture"):
        Chain(small_net(), chains=3).load(tmp_path / "chain.safetensors")


def test_a_run_that_was_cut_off_goes_on_to_the_same_states(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(done: int, total: int, note: str) -> None:
        if done == 9:
            raise Killed

    settings = {"burn_in": 2, "thin": 3, "epochs": 3, "checkpoint": tmp_path / "state"}
    with pytest.raises(Killed):
        trained(2, **settings, progress=kill)
    resumed, whole = trained(2, **settings), trained(2, **settings | {"checkpoint": None})
    assert states_equal(resumed.stored, whole.stored)
    assert states_equal(resumed.living(), whole.living())


def test_files_of_a_model_around_a_chain_keep_its_stored_states(tmp_path: Path) -> None:
    model, again = Smoothing(trained(2, burn_in=6, thin=3), X.shape[1:], sigma=0.1), Chain(small_net(1), chains=2)
    model.save(tmp_path / "smoothed")
    Smoothing(again, X.shape[1:], sigma=0.1).load(tmp_path / "smoothed")
    assert chain_in(model).stored
    assert states_equal(again.stored, chain_in(model).stored)


def test_only_a_chain_or_a_model_around_one_has_a_chain_in_it() -> None:
    model = Chain(small_net(), chains=2)
    for wrapper in (model, MeanNetwork(model), Smoothing(MeanNetwork(model), X.shape[1:], sigma=0.1)):
        assert chain_in(wrapper) is model
    assert chain_in(Smoothing(MeanField(small_net()), X.shape[1:], sigma=0.1)) is None


def explode(model: Chain, number: int) -> None:
    with torch.no_grad():
        model.positions[number]["1.weight"][0, 0] = torch.inf


def test_a_chain_that_diverges_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    model = Chain(small_net(), chains=3)
    explode(model, 1)
    settings = {"objective": CE, "optimizer": partial(SGLD, lr=1e-3, scale=1.0), "batch_size": 5, "seed": 1}
    history = train(model, X, Y, **settings, epochs=3)
    assert history[0].diverged == ["chain 2 in epoch 1, step 1"]
    assert not history[1].diverged
    assert model.members == 2
    sound = trained(3)
    for chain in (0, 2):
        torch.testing.assert_close(weights(model, chain), weights(sound, chain))
    assert model.logits(X, model.draw(4, seed=0)).isfinite().all()
    model.save(tmp_path / "two")
    again = Chain(small_net(), chains=3)
    again.load(tmp_path / "two")
    assert again.members == 2
    assert len(again.parameters()) == len(model.parameters())


def test_no_chain_left_is_an_error() -> None:
    model = Chain(small_net(), chains=2)
    explode(model, 0)
    explode(model, 1)
    with raises_sentence("all chains have diverged in epoch 1, step 1: a lower learning rate is the usual cure"):
        train(model, X, Y, objective=CE, epochs=1)


class Normed(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def test_every_chain_has_statistics_of_its_own() -> None:
    model = trained(2, net=Normed())
    one, other = (state["2.running_mean"] for state in model.positions)
    assert not torch.equal(one, other)
    assert (one != 0).any()
    assert model.positions[0]["2.num_batches_tracked"] == 12
    with raises_sentence("chains of a network with BatchNorm cannot be vectorised: set vectorised to false"):
        Chain(Normed(), vectorised=True)


def test_training_may_start_where_another_model_is() -> None:
    first = Deterministic(small_net(5))
    for model in (Chain(small_net(), chains=2), MeanField(small_net()), Deterministic(small_net())):
        model.start_at(first.network())
        assert torch.equal(next(iter(model.mean())).get("1.weight", model.fixed["1.weight"]), first.fixed["1.weight"])
    with raises_sentence(r"a network of another architecture: 1.weight is \(8, 12\) there, \(16, 12\) here"):
        Chain(small_net()).start_at(Deterministic(small_net(hidden=8)).network())


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (
            Deterministic(small_net()),
            {"burn_in": 1},
            "a 'deterministic' model stores no states: burn_in is for a 'chain'",
        ),
        (Chain(small_net()), {"burn_in": 0}, "burn_in must be a whole number, 1 or more; got 0"),
        (Chain(small_net()), {"burn_in": 9}, "burn_in must be at most the 4 minibatches of this training; got 9"),
        (Chain(small_net()), {"burn_in": 1, "thin": 0}, "thin must be a whole number, 1 or more; got 0"),
        (Chain(small_net()), {"updates": 0}, "updates must be a whole number, 1 or more; got 0"),
    ],
)
def test_bad_settings_are_answered_in_one_sentence(model, settings, message) -> None:
    with raises_sentence(message):
        train(model, X, Y, objective=CE, epochs=1, batch_size=5, **settings)


def test_there_is_one_chain_at_least() -> None:
    with raises_sentence("chains must be a whole number, 1 or more; got 0"):
        Chain(small_net(), chains=0)


def huge(model: Chain, number: int, size: float = 1e12) -> None:
    with torch.no_grad():
        for tensor in model.positions[number].values():
            tensor.mul_(size)


@pytest.mark.parametrize("size", [1e12, 1e30])
def test_a_chain_that_would_spoil_the_inputs_of_all_is_named_and_left_out(size: float) -> None:
    model = Chain(small_net(), chains=3)
    huge(model, 1, size)
    generator = partial(langevin, step_size=0.1, cost=0.1, steps=5)
    history = train(model, X, Y, inputs=generator, objective=CE, optimizer=partial(torch.optim.SGD, lr=0.1), epochs=1)
    assert history[0].diverged == ["chain 2 in epoch 1, step 1"]
    assert model.alive.tolist() == [True, False, True]
    assert all(tensor.isfinite().all() for state in model.states() for tensor in state.values())


def test_another_training_forgets_the_states_of_the_first() -> None:
    model = trained(burn_in=2, thin=1)
    before = predict(model, X, model.draw(3, seed=0))
    train(model, X, Y, objective=CE, optimizer=partial(torch.optim.SGD, lr=0.5), epochs=3)
    assert model.stored == []
    assert not torch.allclose(predict(model, X, model.draw(3, seed=0)), before, atol=0.01)
