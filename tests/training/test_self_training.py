"""Self-training: what the teacher predicts becomes the label, and half of an epoch is unlabelled."""

import pytest
import torch

from oracles import raises_sentence, small_inputs, small_model
from unshaken.evaluation.predict import predict
from unshaken.models import derive
from unshaken.training import train
from unshaken.training.objectives import cross_entropy
from unshaken.training.self_training import with_unlabelled

X, Y = small_inputs()
MORE = torch.rand(3 * len(X), *X.shape[1:], generator=torch.Generator().manual_seed(1))


def test_the_labels_are_what_the_teacher_predicts():
    teacher = small_model("mean_field")
    x, y, _ = with_unlabelled(X, Y, MORE, teacher, seed=2)
    assert torch.equal(x, torch.cat([X, MORE]))
    assert torch.equal(y[: len(Y)], Y)
    labels = predict(teacher, MORE, teacher.draw(100, seed=derive(2, "teacher"))).argmax(-1)
    assert torch.equal(y[len(Y) :], labels)


@pytest.mark.parametrize("unlabelled", [1, len(X), 3 * len(X)])
def test_half_of_an_epoch_is_unlabelled_where_there_is_enough(unlabelled):
    _, _, members = with_unlabelled(X, Y, MORE[:unlabelled], small_model("deterministic"), seed=2)
    counts = torch.bincount(members)
    assert counts[len(X) :].tolist() == [1] * unlabelled
    assert counts[: len(X)].tolist() == [max(1, unlabelled // len(X))] * len(X)


def test_training_sees_both(monkeypatch):
    batches = []

    def objective(model, x, y, *, examples, seed):
        batches.append((x, y, examples))
        return cross_entropy(model, x, y, examples=examples, seed=seed)

    net, teacher = small_model("deterministic"), small_model("deterministic", seed=1)
    history = train(net, X, Y, unlabelled=MORE, teacher=teacher, objective=objective, epochs=1, batch_size=100)
    assert sum(len(x) for x, _, _ in batches) == 2 * len(MORE)
    assert batches[0][2] == len(X) + len(MORE)
    assert len(history) == 1


def test_unlabelled_inputs_and_a_teacher_go_together():
    with raises_sentence("unlabelled inputs and a teacher go together; got only inputs"):
        with_unlabelled(X, Y, MORE, None, 0)
    with raises_sentence("unlabelled inputs and a teacher go together; got only a teacher"):
        with_unlabelled(X, Y, None, small_model("deterministic"), 0)


def test_unlabelled_inputs_of_another_shape_or_range_are_refused():
    teacher = small_model("deterministic")
    with raises_sentence(r"unlabelled inputs must have the shape of the others, \(1, 3, 4\); got \(1, 3, 3\)"):
        with_unlabelled(X, Y, MORE[..., :3], teacher, 0)
    with raises_sentence("x must lie in"):
        with_unlabelled(X, Y, MORE * 255, teacher, 0)
