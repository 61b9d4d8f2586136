"""Evaluation during training: it changes nothing of it, happens when it should, and selects the best weights."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from oracles import raises_sentence
from unshaken.attacks import fgsm, pgd
from unshaken.evaluation.predict import predict
from unshaken.models import Chain, Deterministic, Dropout, MeanField, StochasticClassifier
from unshaken.networks import mlp
from unshaken.training import Monitor, train
from unshaken.training.history import scores_of
from unshaken.training.inputs import adversarial
from unshaken.training.objectives import cross_entropy

ATTACKS = {"FGSM": partial(fgsm, eps=0.1, draws=2), "PGD": partial(pgd, eps=0.1, draws=2, steps=2, start="uniform")}


def images(n: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes, bright and dark images, which overlap."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    return (0.45 + 0.1 * y[:, None, None, None] + 0.4 * torch.rand(n, 1, 3, 3, generator=rng)).clamp(0, 1), y


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2))


MODELS = {
    "deterministic": lambda: Deterministic(network()),
    "dropout": lambda: Dropout(network(), (1, 3, 3)),
    "mean_field": lambda: MeanField(mlp((1, 3, 3), 2, widths=(8,)), prior_scale=0.5),
    "chain": lambda: Chain(network(), chains=2),
}


def new(kind: str = "deterministic", seed: int = 0) -> StochasticClassifier:
    torch.manual_seed(seed)
    return MODELS[kind]()


def trained(model: StochasticClassifier, monitor: Monitor | None, **settings):
    """4 epochs of 3 minibatches."""
    optimizer = partial(torch.optim.SGD, lr=0.3, momentum=0.9)
    defaults = {"objective": cross_entropy, "optimizer": optimizer, "epochs": 4, "batch_size": 20, "seed": 5}
    return train(model, *images(), **defaults | settings, monitor=monitor)


def tensors_of(model: StochasticClassifier) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.tensors().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("kind", MODELS)
def test_training_is_the_same_bit_by_bit_and_costs_the_same_with_a_monitor(kind: str) -> None:
    alone, watched = new(kind), new(kind)
    inputs = partial(adversarial, eps=0.1, attack=partial(fgsm, draws=1))
    torch.manual_seed(3)
    unwatched = trained(alone, None, inputs=inputs)
    torch.manual_seed(4)  # what evaluation may take of the global random numbers is no part of training
    history = trained(watched, Monitor(*images(seed=1), every=1, attacks=ATTACKS, draws=3), inputs=inputs)
    assert same(tensors_of(alone), tensors_of(watched))
    counted = [[(e.loss, e.accuracy, e.forwards, e.gradients) for e in epochs] for epochs in (unwatched, history)]
    assert counted[0] == counted[1]
    assert scores_of(unwatched) == []
    draws = 1 if kind == "deterministic" else 2
    assert [score.gradients for score in scores_of(history)] == [(1 + 2) * draws * 60] * 12  # of both attacks


@pytest.mark.parametrize(("every", "steps"), [(1, [*range(1, 13)]), (5, [5, 10, 12]), (6, [6, 12]), (100, [12])])
def test_it_evaluates_after_every_so_many_minibatches_of_all_epochs_and_after_the_last(every: int, steps: list) -> None:
    history = trained(new(), Monitor(*images(seed=1), every=every))
    assert [score.step for score in scores_of(history)] == steps
    assert [len(epoch.scores) for epoch in history] == [sum(3 * e < s <= 3 * e + 3 for s in steps) for e in range(4)]


def test_a_score_is_the_number_of_right_answers_in_eval_mode() -> None:
    model, (x, y), modes = new(), images(seed=1), []

    def turn(model, x, y, *, seed):
        modes.append([module.training for module in model.net.modules()])
        return 1 - x

    history = trained(model, Monitor(x, y, every=5, attacks={"turned": turn}))
    for name, inputs in (("clean", x), ("turned", 1 - x)):
        right = (predict(model, inputs, model.mean()).argmax(-1) == y).sum()
        assert scores_of(history)[-1].right[name] == right
    assert scores_of(history)[-1].images == 60
    assert len(modes) == 3
    assert not any(map(any, modes))


def test_evaluations_differ_by_step_alone() -> None:
    seeds: list[list[int]] = [[], []]
    for seen, epochs in zip(seeds, (4, 5), strict=True):

        def attack(model, x, y, *, seed, seen=seen):
            seen.append(seed)
            return x

        trained(new(), Monitor(*images(seed=1), every=6, attacks={"a": attack}, seed=7), epochs=epochs)
    assert seeds[0] == seeds[1][:2]
    assert len({*seeds[1]}) == 3


def watched(model: StochasticClassifier, right: list[int], **settings):
    """(history, tensors at every evaluation) of a training in which so many are right under its attack."""
    counts, tensors = iter([number for n in right for number in (0, n)]), []  # "clean" comes first

    class Scripted(Monitor):
        def _correct(self, model, x, draws):
            return next(counts)

    def attack(model, x, y, *, seed):
        tensors.append(tensors_of(model))
        return x

    monitor = Scripted(*images(seed=1), every=3, attacks={"a": attack}, select="a")
    return trained(model, monitor, **settings), tensors


@pytest.mark.parametrize(("right", "best"), [([1, 5, 2, 3], 1), ([5, 1, 5, 5], 0), ([1, 2, 3, 4], 3)])
@pytest.mark.parametrize("kind", ["deterministic", "chain"])
def test_the_weights_of_the_first_best_evaluation_are_kept(kind: str, right: list[int], best: int) -> None:
    model = new(kind)
    history, tensors = watched(model, right)
    assert same(tensors_of(model), tensors[best])
    assert [score.selected for score in scores_of(history)] == [index == best for index in range(4)]


@pytest.mark.parametrize("done", [1, 2, 4])
def test_a_training_with_selection_that_was_cut_off_ends_with_the_same_bits(tmp_path: Path, done: int) -> None:
    whole, first, second = new(), new(), new(seed=9)
    right = [1, 5, 2, 3]
    uninterrupted, tensors = watched(whole, right)
    watched(first, right[:done], epochs=done, checkpoint=tmp_path / "c")
    resumed, _ = watched(second, right[done:], checkpoint=tmp_path / "c")
    assert same(tensors_of(whole), tensors_of(second))
    assert same(tensors_of(whole), tensors[1])
    timeless = [[replace(score, seconds=0.0) for score in scores_of(h)] for h in (uninterrupted, resumed)]
    assert timeless[0] == timeless[1]
    assert [epoch.loss for epoch in uninterrupted] == [epoch.loss for epoch in resumed]


def test_progress_tells_the_last_score() -> None:
    notes: list[str] = []
    monitor = Monitor(*images(seed=1), every=5, attacks={"PGD-2": ATTACKS["PGD"]})
    history = trained(new(), monitor, progress=lambda done, total, note: notes.append(note))
    first = scores_of(history)[0]
    assert "PGD-2" not in notes[3]
    assert notes[4].endswith(f", PGD-2 {first.right['PGD-2'] / 60:.3f}")
    assert notes[5].endswith(notes[4][-11:])


def test_what_a_monitor_cannot_do_is_one_sentence() -> None:
    x, y = images()
    for settings, message in (
        ({"every": 0}, "every must be a whole number, 1 or more; got 0"),
        ({"every": 1, "draws": 0}, "draws must be a whole number, 1 or more; got 0"),
        ({"every": 1, "attacks": ATTACKS, "select": "PDG"}, "unknown attack to select by 'PDG': did you mean 'PGD'"),
    ):
        with raises_sentence(message):
            Monitor(x, y, **settings)
    with raises_sentence("x must lie in"):
        Monitor(x + 1, y, every=1)
