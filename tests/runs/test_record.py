"""Stored records are read as types: what is damaged or foreign is one sentence, and run.json is written again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_recipes import read, record_of

from oracles import raises_sentence
from unshaken.runs.record import ModelRecord, RowMetadata, RunRecord, read_record, read_row_metadata
from unshaken.runs.run import Worker, choose_device, failed_units, run
from unshaken.store import Damaged

OLD = {
    "name": "small",
    "inputs": {"networks": ["n"], "unshaken": "1", "data": {"train": "t"}},
    "data": {"name": "digits", "classes": 10, "train": 200, "test": 40},
    "recipe": {"title": "A small run", "models": [{"label": "mean_field", "network": {"kind": "mlp"}}]},
    "units": [{"name": "a", "kind": "train", "label": "a", "model": "a", "status": "done"}],
}
"""A run.json as an earlier version wrote it."""

FOREIGN = ["", "[]", "{}", "null", "5", '{"units": [', json.dumps(OLD), '{"name": 5, "units": {}}']


@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_run_json_is_one_sentence_and_written_again(path, tmp_path, folder, content: str) -> None:
    before = record_of(folder)
    (folder / "run.json").write_text(content)
    for reader in (record_of, failed_units):
        with raises_sentence("run.json (cannot be read as JSON|is damaged or of another version)", Damaged):
            reader(folder)
    messages: list[str] = []
    assert run(read(path), out=tmp_path / "runs", say=messages.append) == folder
    after = record_of(folder)
    assert (after.units, after.sizes, after.recipe, after.inputs) == (
        before.units,
        before.sizes,
        before.recipe,
        before.inputs,
    )
    assert messages == []


def test_a_record_is_read_as_it_was_written(path: Path, tmp_path: Path) -> None:
    recipe = read(path, "analyses=[{kind='conditions', eps=[0.1]}]")
    folder = run(recipe, out=tmp_path / "runs")
    record = record_of(folder)
    assert record.recipe == recipe.config
    assert record.inputs == Worker(recipe, tmp_path / "runs", None, choose_device("cpu"), print).inputs
    assert record.data.images == {"train": 200, "test": 40}
    assert record.machine.device == "cpu"
    (model,) = (read_record(file, ModelRecord) for file in folder.glob("models/*.json"))
    assert (model.unit, model.model, len(model.history)) == (record.units[0].name, "mean_field", 3)
    rows = [read_row_metadata(file) for file in folder.glob("rows/*.parquet")]
    assert {metadata.unit for metadata in rows} == {unit.name for unit in record.units if unit.kind == "attack"}
    (analysis,) = map(read_row_metadata, folder.glob("analyses/*.parquet"))
    assert analysis.analysis == "conditions"


@pytest.mark.parametrize("kind", [RunRecord, ModelRecord, RowMetadata])
@pytest.mark.parametrize("content", ["[]", "{}", '"text"', "tru"])
def test_a_file_that_is_no_record_is_one_sentence(tmp_path: Path, kind: type, content: str) -> None:
    (tmp_path / "record.json").write_text(content)
    with raises_sentence("record.json", Damaged):
        read_record(tmp_path / "record.json", kind)


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with raises_sentence("run.json cannot be read", Damaged):
        failed_units(tmp_path)
