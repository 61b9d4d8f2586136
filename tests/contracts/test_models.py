"""What every kind of model promises: draws that depend on (seed, number) alone, logits, files."""

from __future__ import annotations

import pytest
import torch

from oracles import raises_sentence, small_inputs, small_model, states_equal, truncate
from unshaken.models import MODELS, load_draws
from unshaken.models.execution import logits_by_loop, logits_by_vmap
from unshaken.training import train

pytestmark = pytest.mark.parametrize("kind", MODELS)
X, Y = small_inputs()


def skip_if_nothing_is_random(model) -> None:
    if model.draw(1, seed=0).seed is None:
        pytest.skip("nothing is random")


def test_logits_are_draws_by_inputs_by_classes(kind):
    model = small_model(kind)
    assert model.kind == kind
    assert model.logits(X, model.draw(5, seed=1)).shape == (5, len(X), 3)
    assert model.logits(X, model.draw(1, seed=1)).shape == (1, len(X), 3)
    assert model.cost.forwards == 6 * len(X)


def test_draws_differ_and_so_do_seeds(kind):
    if kind in ("chain", "ensemble"):
        pytest.skip("draws are a few stored states or members")
    model = small_model(kind, hidden=64)  # masks of units that are zero for all inputs make no difference
    skip_if_nothing_is_random(model)
    logits = torch.cat([model.logits(X, model.draw(4, seed=seed)) for seed in (1, 2)])
    assert len(logits.flatten(1).unique(dim=0)) == 8


def test_the_same_seed_gives_the_same_draws(kind):
    model = small_model(kind)
    one, other = model.draw(5, seed=1), model.draw(5, seed=1)
    assert states_equal(one, other)
    assert torch.equal(model.logits(X, one), model.logits(X, other))
    assert torch.equal(model.logits(X, one), model.logits(X, one))
    assert one.provenance == other.provenance


def test_5_draws_are_the_first_5_of_9(kind):
    model = small_model(kind)
    few, many = model.draw(5, seed=1), model.draw(9, seed=1)
    assert states_equal(few, many[:5])
    torch.testing.assert_close(model.logits(X, few), model.logits(X, many)[:5])


def test_slices_and_chunks_are_the_same_draws(kind):
    model = small_model(kind)
    draws = model.draw(7, seed=1)
    chunks = list(draws.chunks(3))
    assert [len(chunk) for chunk in chunks] == [3, 3, 1]
    assert states_equal(chunks[1], draws[3:6])
    assert chunks[1].ids == draws.ids[3:6]
    torch.testing.assert_close(torch.cat([model.logits(X, chunk) for chunk in chunks]), model.logits(X, draws))


@pytest.mark.parametrize("limit", [2**28, 0])
def test_keeping_draws_changes_nothing(kind, limit):
    draws = small_model(kind).draw(7, seed=1)
    kept = draws.keep(limit)
    assert states_equal(kept, draws)
    assert states_equal(kept[2:4], draws[2:4])
    assert kept.provenance == draws.provenance
    assert (kept.keep() is kept) == (kept.states is not None)


def test_a_loop_over_draws_is_one_vectorised_pass(kind):
    model = small_model(kind)
    if not model.execution.vectorises:
        pytest.skip("draws cannot be vectorised")
    draws = model.draw(5, seed=1)
    loop = logits_by_loop(model, X, draws)
    assert model.cost.forwards == 5 * len(X)
    torch.testing.assert_close(logits_by_vmap(model, X, draws), loop)
    assert model.cost.forwards == 10 * len(X)


def test_the_logits_of_an_input_are_those_it_has_alone(kind):
    model = small_model(kind)
    draws = model.draw(5, seed=1)
    torch.testing.assert_close(model.logits(X[2:3], draws), model.logits(X, draws)[:, 2:3])


def test_logits_are_differentiable_in_x_and_in_nothing_else(kind):
    model = small_model(kind)
    draws = model.draw(3, seed=1)
    assert not model.logits(X, draws).requires_grad
    x = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model.logits(x, draws)[..., 0].sum(), x)
    assert gradient.abs().flatten(1).sum(1).all()


def test_draws_are_a_snapshot_that_training_does_not_change(kind):
    model = small_model(kind)
    lazy, kept = model.draw(3, seed=1), model.draw(3, seed=1).keep()
    before = [{name: tensor.clone() for name, tensor in state.items()} for state in kept]
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(1)
    for draws in (lazy, kept):
        for state, was in zip(draws, before, strict=True):
            assert all(torch.equal(state[name], was[name]) for name in was)


def test_the_mean_is_one_network_or_a_sentence(kind):
    model = small_model(kind)
    try:
        mean = model.mean()
    except ValueError:
        with raises_sentence(f"a '{kind}' model has no mean network: attack it with a number of draws"):
            model.mean()
    else:
        assert (len(mean), mean.seed) == (1, None)
        assert model.logits(X, mean).shape == (1, len(X), 3)


def test_the_divergence_is_a_finite_number_of_nats(kind):
    divergence = small_model(kind).divergence()
    assert divergence.shape == ()
    assert 0 <= divergence < torch.inf


@pytest.mark.parametrize("n", [0, -1, 2.5, True])
def test_a_number_of_draws_below_1_is_refused(kind, n):
    with raises_sentence(f"draws must be a whole number, 1 or more; got {n}"):
        small_model(kind).draw(n, seed=0)


def test_draws_are_saved_and_loaded_with_their_provenance(kind, tmp_path):
    model = small_model(kind)
    draws = model.draw(9, seed=1)[2:5]
    draws.save(tmp_path / "draws.safetensors")
    loaded = load_draws(tmp_path / "draws.safetensors")
    assert states_equal(loaded, draws)
    assert loaded.provenance == draws.provenance
    assert torch.equal(model.logits(X, loaded[1:]), model.logits(X, draws[1:]))


def test_a_model_is_saved_and_loaded(kind, tmp_path):
    model, other = small_model(kind, seed=0), small_model(kind, seed=1)
    before = model.logits(X, model.draw(4, seed=1))
    assert not torch.allclose(other.logits(X, other.draw(4, seed=1)), before)
    model.save(tmp_path / "model.safetensors")
    other.load(tmp_path / "model.safetensors")
    assert torch.equal(other.logits(X, other.draw(4, seed=1)), before)
    assert all(a.requires_grad == b.requires_grad for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(kind, tmp_path):
    model = small_model(kind)
    before = {name: tensor.detach().clone() for name, tensor in model.tensors().items()}
    path = tmp_path / "model.safetensors"

    small_model(kind, hidden=20).save(path)
    with raises_sentence(r"checkpoint of another architecture: .* is \(20, 12\) there, \(16, 12\) here"):
        model.load(path)
    other = next(name for name in MODELS if name != kind)
    small_model(other).save(path)
    with raises_sentence(f"holds a '{other}' model; this one is '{model.stored_kind}'"):
        model.load(path)
    model.save(path)
    truncate(path)
    with raises_sentence("truncated or not a safetensors file"):
        model.load(path)
    with raises_sentence("no_such_file does not exist", FileNotFoundError):
        model.load(tmp_path / "no_such_file")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.tensors().items())


def test_training_goes_on_from_a_checkpoint(kind, tmp_path):
    first, whole = small_model(kind), small_model(kind)
    train(first, X, Y, epochs=1, batch_size=3, checkpoint=tmp_path / "checkpoint")
    resumed = small_model(kind, seed=1)
    assert len(train(resumed, X, Y, epochs=2, batch_size=3, checkpoint=tmp_path / "checkpoint")) == 2
    train(whole, X, Y, epochs=2, batch_size=3)
    assert all(torch.equal(tensor, whole.tensors()[name]) for name, tensor in resumed.tensors().items())
