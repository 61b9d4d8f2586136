"""Draws as an object: seeds, memory, files, and what is known of who has seen them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from oracles import LinearClassifier, raises_sentence, small_model, truncate
from unshaken.models import Deterministic, MeanField, derive, load_draws, shared_draws
from unshaken.models.draws import remember
from unshaken.store import write_tensors


def test_every_path_has_a_seed_of_its_own():
    paths = [(), ("attack",), ("attack", 0), ("attack", 1), ("inference", 0), ("attack", "0"), (0, "attack")]
    seeds = {derive(seed, *path) for seed in (0, 1, 2**40, -1) for path in paths}
    assert len(seeds) == 4 * len(paths)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(1, "attack", 3) == 7682623451869127591  # another value would change every result


def test_draws_are_made_when_they_are_used_and_once_when_they_are_kept():
    draws, realised = LinearClassifier(scale=1.0).draw(3, seed=0), []
    counted = replace(draws, realise=lambda s: realised.append(s) or draws.realise(s))
    assert realised == []
    kept = counted.keep()
    for _ in range(3):
        list(kept)
    assert realised == [0, 1, 2]


def test_draws_above_the_limit_are_made_anew_at_each_use():
    draws = LinearClassifier(scale=1.0).draw(3, seed=0)
    bytes_of_one = sum(tensor.nbytes for tensor in next(iter(draws)).values())
    assert draws.keep(3 * bytes_of_one).states is not None
    assert draws.keep(3 * bytes_of_one - 1) is draws


def test_shared_draws_counts_the_draws_that_made_a_perturbation():
    model = LinearClassifier(scale=1.0)
    x_adv = remember(torch.zeros(1), [model.draw(5, seed=1).provenance, model.draw(9, seed=2)[4:].provenance])
    assert shared_draws(x_adv, model.draw(9, seed=1)) == 5
    assert shared_draws(x_adv, model.draw(9, seed=2)) == 5
    assert shared_draws(x_adv, model.draw(9, seed=3)) == 0
    assert shared_draws(x_adv, small_model("mean_field").draw(9, seed=1)) == 0
    assert shared_draws(torch.zeros(1), model.draw(9, seed=1)) == 0


def test_where_nothing_is_random_no_draw_is_shared():
    model = LinearClassifier()
    assert shared_draws(remember(torch.zeros(1), [model.mean().provenance]), model.mean()) == 0


@pytest.mark.parametrize("rows", [slice(3, None), slice(0), 1])
def test_a_part_without_draws_is_refused(rows):
    with raises_sentence("draws are taken by a slice that holds one at least"):
        LinearClassifier().draw(3, seed=0)[rows]


def test_draws_of_another_network_are_refused():
    model, x = MeanField(nn.Linear(12, 3)), torch.rand(2, 12)
    with raises_sentence("a draw of another network: it has '1.bias'"):
        model.logits(x, small_model("mean_field").draw(2, seed=0))
    with raises_sentence("draws of a 'deterministic' model cannot be used with a 'mean_field' model"):
        model.logits(x, Deterministic(nn.Linear(12, 3)).draw(2))


@pytest.mark.parametrize("cut", [truncate, lambda path: path.write_bytes(b""), lambda path: path.write_text("{}")])
def test_a_file_that_is_cut_or_of_another_format_is_refused(cut, tmp_path):
    path = tmp_path / "draws.safetensors"
    LinearClassifier(scale=1.0).draw(3, seed=0).save(path)
    cut(path)
    with raises_sentence("draws.safetensors is truncated or not a safetensors file"):
        load_draws(path)


def test_a_file_of_a_model_is_not_taken_for_draws(tmp_path):
    small_model("mean_field").save(tmp_path / "model")
    with raises_sentence("model holds no draws"):
        load_draws(tmp_path / "model")


def test_draws_of_an_earlier_version_are_refused(tmp_path):
    metadata = {"source": "linear", "seed": "0", "ids": "[0]", "expected": "false", "whole": "false"}
    write_tensors(tmp_path / "draws", {"weight": torch.zeros(1, 2)}, metadata)
    with raises_sentence("draws holds draws of an earlier version of Unshaken: draw and save them again"):
        load_draws(tmp_path / "draws")


def test_draws_keep_their_kind_in_a_file(tmp_path):
    bayesian, members = small_model("mean_field"), small_model("ensemble")
    for draws in (bayesian.draw(2, seed=0), bayesian.mean(), bayesian.expected(), members.all()):
        draws.save(tmp_path / "draws")
        assert load_draws(tmp_path / "draws").kind is draws.kind


def test_a_missing_file_is_named():
    with raises_sentence("nowhere/draws does not exist", FileNotFoundError):
        load_draws("nowhere/draws")
