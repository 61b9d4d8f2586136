"""Self-training: unlabelled inputs join the training set with the labels that another model, the teacher, predicts.

With an attack on the inputs it is robust self-training: Carmon, Raghunathan, Schmidt, Duchi & Liang, "Unlabeled data
improves adversarial robustness" (2019), where half of every minibatch is unlabelled too. An objective that needs no
labels has them without a teacher: their label is then −1.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unshaken.evaluation.predict import predict
from unshaken.models import StochasticClassifier, derive
from unshaken.training.objectives import UNLABELLED
from unshaken.types import Inputs, Labels
from unshaken.validate import check_inputs


def with_unlabelled(
    x: Inputs,
    y: Labels,
    unlabelled: Inputs | None,
    teacher: StochasticClassifier | None,
    seed: int,
    objective: Callable[..., Tensor] | None = None,
) -> tuple[Inputs, Labels, Tensor]:
    """(x, y, members): all inputs, their labels given or predicted, and which inputs an epoch consists of.

    The teacher predicts by the mean probability of 100 draws, once, before training; without one labels are −1, which
    an `objective` of UNLABELLED takes. Where there are more unlabelled inputs than others, the others come several
    times, so that each kind has about half of an epoch.
    """
    members = torch.arange(len(x), device=x.device)
    if unlabelled is None and teacher is None:
        return x, y, members
    if unlabelled is None or (teacher is None and not takes_unlabelled(objective)):
        got = "a teacher" if teacher else "inputs, for an objective that needs labels"
        raise ValueError(f"unlabelled inputs and a teacher go together; got only {got}.")
    check_unlabelled(unlabelled, x.shape[1:])
    labels = y.new_full((len(unlabelled),), -1)
    if teacher is not None:
        labels = predict(teacher, unlabelled, teacher.draw(100, seed=derive(seed, "teacher"))).argmax(-1)
    more = torch.arange(len(x), len(x) + len(unlabelled), device=x.device)
    members = torch.cat([members.repeat(max(1, round(len(more) / len(x)))), more])
    return torch.cat([x, unlabelled]), torch.cat([y, labels]), members


def takes_unlabelled(objective: Any) -> bool:
    """Whether an objective, perhaps with settings bound to it, takes inputs whose label is −1."""
    while hasattr(objective, "func"):
        objective = objective.func
    return objective in UNLABELLED


def check_unlabelled(unlabelled: Inputs, shape: Sequence[int]) -> None:
    """Unlabelled inputs are inputs, and of the same shape."""
    if tuple(unlabelled.shape[1:]) != tuple(shape):
        raise ValueError(
            f"unlabelled inputs must have the shape of the others, {tuple(shape)}; got {tuple(unlabelled.shape[1:])}."
        )
    check_inputs(unlabelled, torch.zeros(len(unlabelled), dtype=torch.int64))
