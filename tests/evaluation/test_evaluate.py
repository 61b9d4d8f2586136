"""Rows: fresh draws, plain predictions, and a refusal to score a perturbation with its own draws."""

import pytest
import torch

from oracles import CoinClassifier, LinearClassifier
from unshaken.attacks import fgsm
from unshaken.evaluation.evaluate import evaluate
from unshaken.models import Deterministic, MeanField, derive
from unshaken.networks import mlp


@pytest.fixture
def model() -> MeanField:
    torch.manual_seed(0)
    return MeanField(mlp((1, 4, 4), 3, widths=(8,)), initial_scale=1.0)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(7, 1, 4, 4), torch.tensor([0, 1, 2, 0, 1, 2, 0])


def test_rows_say_what_a_plain_loop_says(model, batch) -> None:
    x, y = batch
    draws = model.draw(9, seed=5)
    rows = evaluate(model, x, y, draws=draws)
    logits = torch.stack([model.logits(x, draws[s : s + 1])[0] for s in range(9)])
    mean = logits.softmax(-1).mean(0)
    assert rows.predicted.tolist() == mean.argmax(-1).tolist()
    assert rows.correct.tolist() == (mean.argmax(-1) == y).tolist()
    assert rows.votes.tolist() == (logits.argmax(-1) == y).sum(0).tolist()
    assert rows.probability.tolist() == pytest.approx(mean[torch.arange(7), y].tolist(), abs=1e-6)
    assert rows["index"].tolist() == list(range(7))
    assert set(rows.inference_draws) == {9}


def test_draws_that_are_exactly_sure_are_counted(batch) -> None:
    x, y = batch
    model = MeanField(mlp((1, 4, 4), 3), initial_scale=1.0)
    rows = evaluate(model, x, y, draws=50, seed=5)
    sure = [
        (model.logits(x, sample).softmax(-1) == 1).any(-1)
        for sample in model.draw(50, seed=derive(5, "inference", 0)).chunks(1)
    ]
    assert rows.saturated.tolist() == torch.cat(sure).sum(0).tolist()
    assert 0 < rows.saturated.sum() < 350


def test_repeats_are_independent_and_come_first_whatever_their_number(model, batch) -> None:
    three, five = (evaluate(model, *batch, draws=4, repeats=r, seed=1) for r in (3, 5))
    assert five[five.repeat < 3].equals(three)
    assert five.groupby("repeat").probability.sum().nunique() == 5


def test_batch_size_changes_nothing(model, batch) -> None:
    a, b = (evaluate(model, *batch, draws=4, batch_size=size) for size in (2, 256))
    assert a.drop(columns="probability").equals(b.drop(columns="probability"))


def test_the_same_seed_gives_attack_and_inference_other_draws(model, batch) -> None:
    x, y = batch
    x_adv = fgsm(model, x, y, eps=0.1, draws=50, seed=3)
    assert evaluate(model, x_adv, y, draws=50, seed=3).shared_draws.eq(0).all()


def test_the_draws_that_made_a_perturbation_may_not_score_it(model, batch) -> None:
    x, y = batch
    draws = model.draw(10, seed=3)
    x_adv = fgsm(model, x, y, eps=0.1, draws=draws[:6])
    with pytest.raises(ValueError, match="6 of the inference draws also made these perturbations"):
        evaluate(model, x_adv, y, draws=draws)
    assert evaluate(model, x_adv, y, draws=draws, allow_shared_draws=True).shared_draws.eq(6).all()
    assert evaluate(model, x_adv, y, draws=draws[6:]).shared_draws.eq(0).all()


def test_slices_of_a_perturbed_batch_remember_the_draws_that_made_it(model, batch) -> None:
    x, y = batch
    draws = model.draw(10, seed=3)
    small, large = fgsm(model, x, y, eps=[0.1, 0.2], draws=draws)
    for inputs, labels in ((small, y), (large, y), (large[:3], y[:3])):
        with pytest.raises(ValueError, match="10 of the inference draws also made"):
            evaluate(model, inputs, labels, draws=draws)


def test_what_is_not_random_is_never_shared(batch) -> None:
    x, y = batch
    model = Deterministic(mlp((1, 4, 4), 3))
    draws = model.draw(2)
    assert evaluate(model, fgsm(model, x, y, eps=0.1, draws=draws), y, draws=draws).shared_draws.eq(0).all()


def test_an_attack_cannot_move_the_coin() -> None:
    model, x, y = CoinClassifier(0.6), torch.rand(30, 1, 2, 2), torch.zeros(30, dtype=torch.int64)
    clean = evaluate(model, x, y, draws=1, repeats=50, seed=7)
    attacked = evaluate(model, fgsm(model, x, y, eps=0.5, seed=7), y, draws=1, repeats=50, seed=7)
    assert attacked.correct.equals(clean.correct)


def test_labels_outside_the_logits_are_refused() -> None:
    model = LinearClassifier(4, 2)
    with pytest.raises(ValueError, match="labels must be below 2, the number of logits; got 2"):
        evaluate(model, torch.rand(2, 1, 1, 4), torch.tensor([0, 2]), draws=1)


def test_no_repeats_are_refused(model, batch) -> None:
    with pytest.raises(ValueError, match="repeats must be a whole number, 1 or more; got 0"):
        evaluate(model, *batch, repeats=0)
