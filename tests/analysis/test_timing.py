"""Time of attacks: taken in turns, batch by batch."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from oracles import raises_sentence, small_model
from unshaken.analysis import attack_time, timing
from unshaken.attacks import fgsm, mean

X, Y = torch.rand(7, 1, 3, 4), torch.zeros(7, dtype=torch.int64)


@pytest.fixture
def clock(monkeypatch):
    """A clock whose `seconds` pass only where an attack of a test adds some."""
    clock = SimpleNamespace(seconds=0.0, perf_counter=lambda: clock.seconds)
    monkeypatch.setattr(timing, "time", clock)
    return clock


def test_rounds_take_turns_and_each_attack_takes_its_time(clock):
    called, batches = [], []

    def attack(name, seconds, model, x, y, *, eps, seed):
        called.append(name)
        batches.append((tuple(x[:, 0, 0, 0].tolist()), eps))
        clock.seconds += seconds

    attacks = {"slow": partial(attack, "slow", 0.25), "quick": partial(attack, "quick", 0.125)}
    rows = attack_time(
        small_model("mean_field"), X, Y, seed=0, attacks=attacks, eps=0.2, rounds=3, batch=3, shortest=0.001
    )
    assert called == ["slow", "quick"] * 4
    assert rows["round"].tolist() == [0, 0, 1, 1, 2, 2]
    assert rows["seconds"].tolist() == [0.25, 0.125] * 3
    first, second = tuple(X[:3, 0, 0, 0].tolist()), tuple(X[3:6, 0, 0, 0].tolist())
    assert [batch for batch, _ in batches[::2]] == [second, first, second, first]
    assert {eps for _, eps in batches} == {0.2}


def test_a_quick_attack_is_repeated_and_the_time_is_of_one(clock):
    called = []

    def attack(model, x, y, *, eps, seed):
        called.append(1)
        clock.seconds += 0.125

    rows = attack_time(small_model("mean_field"), X, Y, seed=0, attacks={"a": attack}, rounds=2, batch=7, shortest=1.0)
    assert len(called) == 1 + 2 * 8  # the round that is not counted, and two that are
    assert rows["seconds"].tolist() == [0.125] * 2


def test_attacks_of_ours():
    attacks = {"MEAN": mean, "FGSM-50": partial(fgsm, draws=50)}
    rows = attack_time(small_model("mean_field"), X, Y, seed=0, attacks=attacks, rounds=5, batch=7)
    assert rows["attack"].tolist() == ["MEAN", "FGSM-50"] * 5
    assert (rows["seconds"] > 0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attacks": {}}, "there are no attacks to be timed"),
        ({"rounds": 0}, "rounds must be a whole number, 1 or more; got 0"),
        ({"batch": 8}, "a batch of 8 needs as many inputs; got 7"),
        ({"eps": -1.0, "batch": 2}, "eps must be finite and 0 or more; got -1.0"),
        ({"batch": 0}, "batch must be a whole number, 1 or more; got 0"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(settings, message):
    with raises_sentence(message):
        attack_time(small_model("mean_field"), X, Y, seed=0, **{"attacks": {"MEAN": mean}, **settings})
