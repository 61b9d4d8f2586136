"""Time of attacks: taken in turns, batch by batch."""

from __future__ import annotations

import time
from functools import partial

import pytest
import torch

from oracles import raises_sentence, small_model
from unshaken.analysis import attack_time
from unshaken.attacks import fgsm, mean

X, Y = torch.rand(7, 1, 3, 4), torch.zeros(7, dtype=torch.int64)


def test_rounds_take_turns_and_a_slow_attack_takes_its_time():
    called, seen = [], []

    def attack(name, seconds, model, x, y, *, eps, seed):
        called.append(name)
        seen.append((tuple(x[:, 0, 0, 0].tolist()), eps))
        time.sleep(seconds)

    attacks = {"slow": partial(attack, "slow", 0.03), "quick": partial(attack, "quick", 0.005)}
    rows = attack_time(
        small_model("mean_field"), X, Y, seed=0, attacks=attacks, eps=0.2, rounds=3, batch=3, shortest=0.001
    )
    assert called == ["slow", "quick"] * 4
    assert rows["round"].tolist() == [0, 0, 1, 1, 2, 2]
    times = rows.groupby("attack").seconds.median()
    assert times["slow"] >= 0.03
    assert 0.005 <= times["quick"] < times["slow"]
    first, second = tuple(X[:3, 0, 0, 0].tolist()), tuple(X[3:6, 0, 0, 0].tolist())
    assert [part for part, _ in seen[::2]] == [second, first, second, first]
    assert {eps for _, eps in seen} == {0.2}


def test_a_quick_attack_is_repeated_and_the_time_is_of_one():
    called = []

    def attack(model, x, y, *, eps, seed):
        called.append(1)
        time.sleep(0.002)

    rows = attack_time(small_model("mean_field"), X, Y, seed=0, attacks={"a": attack}, rounds=2, batch=7, shortest=0.02)
    assert len(called) > 1 + 2  # the round that is not counted and two that are, had each been one call
    assert 0.002 <= rows.seconds.median() < 0.02


def test_attacks_of_ours():
    attacks = {"MEAN": mean, "FGSM-50": partial(fgsm, draws=50)}
    rows = attack_time(small_model("mean_field"), X, Y, seed=0, attacks=attacks, rounds=5, batch=7)
    times = rows.groupby("attack").seconds.median()
    assert times["FGSM-50"] > 5 * times["MEAN"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"attacks": {}}, "there are no attacks to be timed"),
        ({"rounds": 0}, "rounds must be a whole number, 1 or more; got 0"),
        ({"batch": 8}, "a batch of 8 needs as many inputs; got 7"),
        ({"eps": -1.0, "batch": 2}, "eps must be finite and 0 or more; got -1.0"),
        ({"batch": 0}, "batch must be a whole number, 1 or more; got 0"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(settings, told):
    with raises_sentence(told):
        attack_time(small_model("mean_field"), X, Y, seed=0, **{"attacks": {"MEAN": mean}, **settings})
