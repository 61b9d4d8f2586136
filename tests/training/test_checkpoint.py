"""Checkpoints: the state of a training comes back as it was, and a damaged file is one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from oracles import raises_sentence, small_inputs, small_model
from unshaken.models import StochasticClassifier
from unshaken.store import read_tensors, write_tensors
from unshaken.training import Epoch
from unshaken.training.checkpoint import TrainingState
from unshaken.training.history import Score, scores_of

HISTORY = [
    Epoch(0.1 + 0.2, 0.5, 1.5, diverged=["chain 1 in epoch 1, step 2"]),
    Epoch(1 / 3, 1.0, 2.0, 7, 9, 0.25, scores=[Score(3, 10, {"clean": 9, "PGD": 4}, 0.5, 20, 30)]),
]


def state_of(seed: int) -> TrainingState:
    """A state after one step of SGD with momentum."""
    model = small_model("deterministic", seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loss_of(model).backward()
    optimizer.step()
    return TrainingState(model, optimizer)


def loss_of(model: StochasticClassifier) -> torch.Tensor:
    x, y = small_inputs()
    return torch.nn.functional.cross_entropy(model.training_logits(x, 1, 0)[0], y)


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    first, second = state_of(1), state_of(2)
    first.history, first.best = list(HISTORY), {"a": torch.arange(3.0)}
    first.save(tmp_path / "c")
    second.load(tmp_path / "c")
    assert second.history == HISTORY
    assert torch.equal(second.best["a"], torch.arange(3.0))
    for one, other in zip(first.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(
            first.optimizer.state[one]["momentum_buffer"], second.optimizer.state[other]["momentum_buffer"]
        )


def test_scores_are_those_of_all_epochs_in_order() -> None:
    assert scores_of([*HISTORY, HISTORY[1]]) == [HISTORY[1].scores[0]] * 2


@pytest.mark.parametrize(
    ("history", "problem"),
    [
        ("", "history: Invalid JSON"),
        ("{}", "history: Input should be a valid array"),
        ('[{"loss": 1.0, "accuracy": 0.5}]', "0.seconds: Field required"),
        ('[{"loss": "low", "accuracy": 0.5, "seconds": 1.0}]', "0.loss: Input should be a valid number"),
        ('[{"loss": 1.0, "accuracy": 0.5, "seconds": 1.0, "rate": 0.1}]', "0.rate: Unexpected keyword argument"),
        (
            json.dumps([{"loss": 1.0, "accuracy": 0.5, "seconds": 1.0, "scores": [{"step": 1}]}]),
            "0.scores.0.images: Field required",
        ),
    ],
)
def test_a_damaged_history_is_one_sentence_and_changes_nothing(tmp_path: Path, history: str, problem: str) -> None:
    first, second = state_of(1), state_of(2)
    first.save(tmp_path / "c")
    metadata, tensors = read_tensors(tmp_path / "c")
    write_tensors(tmp_path / "c", tensors, metadata | {"history": history})
    before = [tensor.detach().clone() for tensor in second.model.parameters()]
    with raises_sentence(rf"c is damaged or of another version \({problem}.*\): delete it to train from the start"):
        second.load(tmp_path / "c")
    assert all(map(torch.equal, before, second.model.parameters()))
    assert second.history == []
