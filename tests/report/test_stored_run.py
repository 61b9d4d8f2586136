"""What is read from a run folder: models and attacks in the order of the recipe, analyses by kind."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from synthetic import attacked, clean, run_record

from unshaken.report import report
from unshaken.report.accuracy import accuracy_table, panels
from unshaken.report.stored_run import attack_of_row, load_run
from unshaken.runs.record import ModelRecord, write_record
from unshaken.store import write_rows
from unshaken.training import Epoch

MODELS = ("none", "MEAN", "FGSM-2", "FGSM-10")
ATTACKS = ("PGD-10", "MEAN", "PGD-2", "FGSM-1")


@pytest.fixture
def folder(tmp_path):
    """Files whose names sort otherwise than the recipe."""
    for subfolder in ("rows", "models", "analyses"):
        (tmp_path / subfolder).mkdir()
    entries = [{"label": label, "name": label.lower().split("-")[0], "loss": "cw"} for label in ATTACKS]
    for entry in entries:
        entry |= {"draws": int(entry["label"].split("-")[1])} if "-" in entry["label"] else {}
    recipe = {"models": [{"label": model} for model in MODELS], "attacks": entries}
    write_record(tmp_path / "run.json", run_record(recipe=recipe))
    for model in MODELS:
        parts = {"clean": clean(model), **{label: attacked(model, label, {0.2: 10, 0.1: 50}) for label in ATTACKS}}
        for label, rows in parts.items():
            write_rows(tmp_path / f"rows/{label}-{model}.parquet".lower(), _complete(rows), {})
        record = ModelRecord(unit=model, model=model, history=[Epoch(1.0, 0.5, 1.0)], sha256="")
        write_record(tmp_path / f"models/{model}.json".lower(), record)
        rows = pd.DataFrame(
            {"attack": ["MEAN"], "round": [0], "seconds": [1.0], "model": [model], "analysis": ["time"]}
        )
        write_rows(tmp_path / f"analyses/{model}.parquet".lower(), rows, {"analysis": "attack_time"})
    return tmp_path


def _complete(rows):
    return rows.assign(votes=1, probability=0.5, size=rows.eps)


def test_everything_is_in_the_order_of_the_recipe(folder):
    source = load_run(folder)
    curves = panels(accuracy_table(source.rows))
    assert [panel.model for panel in curves] == list(MODELS)
    assert all(list(panel.curves) == list(ATTACKS) for panel in curves)
    assert all(curve.eps.tolist() == [0.1, 0.2] for curve in curves[0].curves.values())
    assert list(source.histories) == list(MODELS)
    assert source.analyses["attack_time"].model.tolist() == list(MODELS)
    text = report(folder).read_text()
    assert re.findall(r"<p><b>([^<]+)\.</b>", text)[:4] == ["none", "MEAN", "FGSM-2", "FGSM-10"]


def test_without_a_recipe_draws_are_counted_and_mean_is_last(folder):
    write_record(folder / "run.json", run_record())
    curves = panels(accuracy_table(load_run(folder).rows))
    assert [panel.model for panel in curves] == ["FGSM-10", "FGSM-2", "MEAN", "none"]
    assert list(curves[0].curves) == ["FGSM-1", "PGD-2", "PGD-10", "MEAN"]


def test_an_attack_of_another_loss_is_another_entry():
    record = run_record(recipe={"attacks": [{"name": "mean", "loss": "cw"}, {"name": "mean", "loss": "log_error"}]})
    row = attacked("m", "MEAN", {0.1: 5}, loss="log_error").iloc[0]
    assert attack_of_row(record, row)[0] == 1
    assert attack_of_row(record, attacked("m", "FGSM-1", {0.1: 5}).iloc[0]) == (2, None)
