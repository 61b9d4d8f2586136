"""The folder of a run: what is damaged is named and computed again, what another run has trained is borrowed."""

import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from small_recipes import all_rows, assert_same_rows, frames, read, read_with_curves, time_stamps

from oracles import truncate
from unshaken.runs.run import failed_units, run
from unshaken.store import read_rows, read_tensors, write_rows


def run_again(path: Path, tmp_path: Path, *settings: str) -> list[str]:
    """What the same command says."""
    messages: list[str] = []
    folder = run(read(path, *settings), out=tmp_path / "runs", say=messages.append)
    assert failed_units(folder) == []
    return messages


@pytest.mark.parametrize("share", [0.5, 0])
def test_rows_that_were_cut_are_named_and_computed_again(
    path: Path, tmp_path: Path, folder: Path, share: float
) -> None:
    before, stamps = frames(folder), time_stamps(folder)
    victim = sorted((folder / "rows").glob("*.parquet"))[2]
    victim.write_bytes(victim.read_bytes()[: int(victim.stat().st_size * share)])
    (message,) = run_again(path, tmp_path)
    assert f"{victim.name} is damaged" in message
    assert "Computing it again" in message
    pd.testing.assert_frame_equal(frames(folder)[victim.stem], before[victim.stem])
    assert {name for name, stamp in time_stamps(folder).items() if stamps[name] != stamp} == {victim.name}


@pytest.mark.parametrize("metadata", [{}, [], {"unit": 5}, {"unit": "a unit", "accuracy": "good"}])
def test_rows_with_the_metadata_of_something_else_are_computed_again(path, tmp_path, folder, metadata) -> None:
    victim = sorted((folder / "rows").glob("*.parquet"))[2]
    before = read_rows(victim)
    write_rows(victim, before[0].iloc[:3], metadata)
    (message,) = run_again(path, tmp_path)
    assert f"{victim.name} is damaged or of another version" in message
    assert message.count("\n") == 0
    pd.testing.assert_frame_equal(read_rows(victim)[0], before[0])
    assert read_rows(victim)[1].keys() == before[1].keys()


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_damaged_model_is_trained_again_to_the_same_weights(path, tmp_path, folder, suffix) -> None:
    weights = next((folder / "models").glob("*.safetensors"))
    before = weights.read_bytes()
    truncate(weights.with_suffix(suffix))
    (message,) = run_again(path, tmp_path)
    assert "Computing it again" in message
    assert weights.read_bytes() == before


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"unit": "a", "model": "b"}', '{"history": 5}'])
def test_a_foreign_record_of_a_model_is_written_again(path: Path, tmp_path: Path, folder: Path, content: str) -> None:
    victim = next((folder / "models").glob("*.json"))
    before = json.loads(victim.read_text())
    victim.write_text(content)
    (message,) = run_again(path, tmp_path)
    assert victim.name in message
    assert message.count("\n") == 0
    after = json.loads(victim.read_text())
    assert all(after[name] == before[name] for name in ("unit", "model", "sha256", "forwards"))


def test_a_cut_checkpoint_is_named_and_dropped(path: Path, tmp_path: Path, finished: Path) -> None:
    unit = next((finished / "models").glob("*.json"))
    checkpoint = tmp_path / "runs" / finished.name / "models" / f"{unit.stem}.checkpoint"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"half a checkpoint")
    message = run_again(path, tmp_path)[0]
    assert f"{checkpoint.name} is truncated or not a safetensors file" in message
    assert "Training from the start" in message
    assert_same_rows(finished, tmp_path / "runs" / finished.name)


@pytest.mark.parametrize("content", [b"", None])
def test_damaged_or_missing_examples_are_made_again(path, tmp_path, folder, content: bytes | None) -> None:
    victim = next((folder / "examples").iterdir())
    before = read_tensors(victim)[1]
    victim.unlink() if content is None else victim.write_bytes(content)
    (message,) = run_again(path, tmp_path)
    assert victim.name in message
    after = read_tensors(victim)[1]
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_model_that_another_run_has_trained_is_taken_from_there(path: Path, tmp_path: Path, folder: Path) -> None:
    messages: list[str] = []
    other = run(read(path, "evaluation.draws=5", "data.test_limit=30"), out=tmp_path / "runs", say=messages.append)
    assert folder != other
    assert len(messages) == 1
    assert f"taken from {folder.name}" in messages[0]
    weights = [next(each.glob("models/*.safetensors")).read_bytes() for each in (folder, other)]
    assert weights[0] == weights[1]
    assert_same_rows(other, run(read(path, "evaluation.draws=5", "data.test_limit=30"), out=tmp_path / "whole"))


@pytest.mark.parametrize("setting", ["seed=1", "data.train_limit=150", "training.epochs=2", "network.widths=[15]"])
def test_a_model_that_was_trained_otherwise_is_not_taken(path, tmp_path, folder, setting: str) -> None:
    assert run_again(path, tmp_path, setting) == []


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_a_damaged_model_of_another_run_is_not_taken(path, tmp_path, folder, suffix: str) -> None:
    truncate(next(folder.glob(f"models/*{suffix}")))
    assert run_again(path, tmp_path, "evaluation.draws=5") == []


AROUND = '{model={kind="mean_network", base={kind="%s"}}}'
SWEEP = 'sweep.mean={off={model={kind="%s"}}, on=' + AROUND + "}"


def test_a_model_around_another_takes_what_that_one_was_trained_to(path: Path, tmp_path: Path) -> None:
    sweep, messages = SWEEP % ("matrix_gaussian", "matrix_gaussian"), list[str]()
    folder = run(read(path, sweep), out=tmp_path / "runs", say=messages.append)
    assert len(messages) == 1
    assert messages[0].startswith("on is trained already")
    rows = all_rows(folder)
    clean = rows[(rows.attack == "none") & (rows.repeat == 0)]
    assert set(clean[clean.model == "on"].votes) <= {0, 6}
    assert not set(clean[clean.model == "off"].votes) <= {0, 6}


def test_a_model_that_was_trained_against_attacks_is_not_shared_with_one_around_it(path: Path, tmp_path: Path) -> None:
    inputs = 'training.inputs={kind="adversarial", eps=0.1, attack={kind="fgsm", draws=1}}'
    assert run_again(path, tmp_path, inputs, SWEEP % ("mean_field", "mean_field")) == []


def test_a_model_that_was_evaluated_meanwhile_is_not_shared_with_one_around_it(path: Path, tmp_path: Path) -> None:
    messages: list[str] = []
    recipe = read_with_curves(path, SWEEP % ("matrix_gaussian", "matrix_gaussian"))
    run(recipe, out=tmp_path / "runs", say=messages.append)
    assert messages == []
