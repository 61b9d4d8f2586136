"""Transfer: perturbations are kept with what they were made for, found again, and refused elsewhere."""

from functools import partial

import pytest
import torch

from oracles import raises_sentence, small_inputs, small_model, truncate
from unshaken.attacks import fgsm, load_transfer_set, pgd, transfer, transfer_set
from unshaken.attacks.transfer import input_ids, of_perturbed
from unshaken.evaluation.evaluate import evaluate
from unshaken.models.draws import provenance_of

X, Y = small_inputs(20)
EPS = [0.05, 0.1]


def stored_set(attack=pgd, **settings):
    return transfer_set(small_model("mean_field"), X, Y, eps=EPS, attack=attack, seed=3, **settings)


def transferred(eps=EPS, x=X, y=Y, of=None):
    return transfer(small_model("deterministic", seed=1), x, y, eps=eps, perturbations=of or stored_set())


def test_what_was_made_against_one_model_is_given_to_another():
    expected = pgd(small_model("mean_field"), X, Y, eps=EPS, seed=3)
    assert torch.equal(transferred(), expected)
    assert torch.equal(transferred(eps=0.1), expected[1])
    assert torch.equal(transferred(eps=[0.1]), expected[1:])
    assert torch.equal(transferred(eps=0.1 * (1 + 1e-8)), expected[1])


def test_inputs_are_found_by_their_content():
    some = torch.tensor([7, 2, 19])
    assert torch.equal(transferred(x=X[some], y=Y[some]), transferred()[:, some])
    assert torch.equal(transferred(x=X.double(), y=Y), transferred().double())
    assert len(set(input_ids(X))) == len(X)


def test_a_set_is_saved_and_loaded_with_all_that_is_known_of_it(tmp_path):
    before = stored_set(partial(fgsm, draws=4), metadata={"source": "standard", "data": "digits"})
    before.save(tmp_path / "set.safetensors")
    after = load_transfer_set(tmp_path / "set.safetensors")
    assert torch.equal(after.x_adv, before.x_adv)
    assert after[1:] == before[1:]
    assert after.metadata == {"source": "standard", "data": "digits", "weights": before.metadata["weights"]}
    assert torch.equal(transferred(of=tmp_path / "set.safetensors"), before.x_adv)


def test_the_draws_that_made_a_set_are_remembered():
    model = small_model("mean_field")
    draws = model.draw(4, seed=5)
    kept = transfer_set(model, X, Y, eps=EPS, attack=partial(fgsm, draws=draws))
    x_adv = transfer(model, X, Y, eps=0.1, perturbations=kept)
    assert provenance_of(x_adv) == [draws.provenance]
    with raises_sentence("4 of the inference draws also made these perturbations; predict with draws of another seed"):
        evaluate(model, x_adv, Y, draws=draws)


def test_a_set_for_other_data_is_refused():
    for x in (1 - X, X.flip(0).roll(1, -1)):
        with raises_sentence(r"these perturbations were made for other data: 20 of the 20 inputs are not among its 20"):
            transferred(x=x)
    metadata = {"source": "standard", "data": "digits"}
    with raises_sentence(r"made for other data \(digits, against standard\): 1 of the 20 inputs"):
        transferred(x=torch.cat([X[:-1], 1 - X[-1:]]), of=stored_set(metadata=metadata))


def test_a_size_it_was_not_made_for_is_refused():
    with raises_sentence("the perturbations were made for eps 0.05, 0.1; got 0.2"):
        transferred(eps=0.2)
    with raises_sentence("the perturbations were made for eps 0.05, 0.1; got 0.3"):
        transferred(eps=[0.1, 0.3])


def test_a_file_that_is_no_set_is_refused(tmp_path):
    small_model("mean_field").save(tmp_path / "model.safetensors")
    with raises_sentence("holds no perturbations: it was not written by TransferSet.save"):
        load_transfer_set(tmp_path / "model.safetensors")
    stored_set().save(tmp_path / "set.safetensors")
    truncate(tmp_path / "set.safetensors")
    with raises_sentence("truncated or not a safetensors file"):
        load_transfer_set(tmp_path / "set.safetensors")
    with raises_sentence("nowhere does not exist", FileNotFoundError):
        transferred(of=tmp_path / "nowhere")


def test_perturbations_of_another_shape_are_no_set():
    with pytest.raises(
        ValueError, match=r"x_adv must be \(2, 20, 1, 3, 4\), a batch for each size; got \(20, 1, 3, 4\)"
    ):
        of_perturbed(X, X, EPS, {})
