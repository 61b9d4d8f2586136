"""The benchmarks run from start to end, with whatever peers are installed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, BENCHMARKS / script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_attack_cost_writes_its_table_and_its_numbers(tmp_path):
    smallest = ["--quick", "--repeats", "1", "--rows", "FGSM-1", "MEAN", "--no-memory"]
    printed = run("attack_cost.py", *smallest, "--out", tmp_path)
    found = json.loads((tmp_path / "attack_cost-cpu.json").read_text())
    assert set(found["nets"]["mlp"]["ms"]) == {"FGSM-1", "MEAN"}
    assert all(len(times) == 1 for row in found["nets"]["mlp"]["ms"].values() for times in row.values())
    text = (tmp_path / "attack_cost-cpu.md").read_text()
    assert text.strip() in printed
    assert "MEAN / FGSM by hand" in text
    assert "not measured: peak memory" in text


def test_attack_cost_of_mc_dropout_has_a_number_to_reach(tmp_path):
    smallest = ["--nets", "wrn", "--repeats", "1", "--rows", "FGSM-1", "--no-memory", "--no-vmap"]
    printed = run("attack_cost.py", *smallest, "--out", tmp_path)
    found = json.loads((tmp_path / "attack_cost-cpu.json").read_text())
    assert list(found["nets"]) == ["wrn"]
    assert all(len(times) == 1 for times in found["nets"]["wrn"]["ms"]["FGSM-1"].values())
    assert "not measured: MC-dropout FGSM-10 on the small wide ResNet / fastest peer" in printed


@pytest.fixture
def attack_cost(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    module = importlib.import_module("attack_cost")
    module.build.cache_clear()
    return module


def test_the_module_with_mc_dropout_is_our_network_and_stays_random_in_eval_mode(attack_cost):
    setup = attack_cost.build("wrn", "cpu", 2)
    logits = [setup.random(setup.x) for _ in range(2)]
    assert not torch.equal(*logits)
    ours = setup.model.logits(setup.x, setup.model.mean())[0]
    torch.testing.assert_close(setup.at_mean(setup.x), ours)
    for layer in setup.random.modules():
        if isinstance(layer, attack_cost.StaysOn):
            layer.p = 0.0
    torch.testing.assert_close(setup.random(setup.x), ours)


def test_an_attack_that_moves_the_statistics_of_batchnorm_is_no_attack(attack_cost):
    setup, row = attack_cost.build("wrn", "cpu", 3), attack_cost.ROWS["FGSM-1"]
    x_adv = attack_cost.ours(setup, row)()
    attack_cost.check_result(setup, row, x_adv)
    setup.random.train()(setup.x)
    with pytest.raises(AssertionError, match="statistics of BatchNorm"):
        attack_cost.check_result(setup, row, x_adv)


def test_the_memory_of_one_attack_is_measured_in_its_own_process():
    cell = json.dumps(["mlp", "FGSM-10", "ours", "cpu", 1])
    assert 0 <= float(run("attack_cost.py", "--cell", cell)) < 100


def test_training_cost_writes_its_table_and_its_numbers(tmp_path):
    printed = run("training_cost.py", "--quick", "--repeats", "1", "--out", tmp_path)
    found = json.loads((tmp_path / "training_cost-cpu.json").read_text())
    assert {"ours", "plain loop"} <= set(found["ms"])
    assert all(len(times) == 1 for times in found["ms"].values())
    assert 0 <= found["memory_mib"]["ours"] < 100
    text = (tmp_path / "training_cost-cpu.md").read_text()
    assert text.strip() in printed
    assert "| plain loop | " in text


def test_conditions_cost_writes_its_table_and_its_numbers(tmp_path):
    printed = run("conditions_cost.py", "--quick", "--repeats", "1", "--out", tmp_path)
    found = json.loads((tmp_path / "conditions_cost-cpu.json").read_text())
    assert {"ours", "plain loop"} <= set(found["ms"])
    assert all(len(times) == 1 for times in found["ms"].values())
    assert 0 <= found["memory_mib"]["ours"] < 100
    text = (tmp_path / "conditions_cost-cpu.md").read_text()
    assert text.strip() in printed
    assert "| plain loop | " in text
    assert "not measured: seconds, ours" in text


def test_noise_cost_writes_its_table_and_its_numbers(tmp_path):
    printed = run("noise_cost.py", "--quick", "--repeats", "1", "--no-memory", "--out", tmp_path)
    found = json.loads((tmp_path / "noise_cost-cpu.json").read_text())
    assert set(found["ms"]["784-128-128-10"]) == {"ours", "uniform", "gaussian", "stored"}
    assert (tmp_path / "noise_cost-cpu.md").read_text().strip() in printed


def test_chain_cost_writes_its_tables_and_its_numbers(tmp_path):
    printed = run("chain_cost.py", "--quick", "--repeats", "1", "--no-memory", "--batches", "2", "--out", tmp_path)
    found = json.loads((tmp_path / "chain_cost-cpu.json").read_text())["ms"]
    assert set(found["chains"]["784-128-128-10, batch 2"]) == {"ours", "5 chains, a loop", "5 chains, vmap"}
    assert {"ours", "SGAdaLD as coded"} <= set(found["updates"]["784-128-128-10, 5 chains"])
    text = (tmp_path / "chain_cost-cpu.md").read_text()
    assert text.strip() in printed
    assert "to reach 3.5" in text
    assert "to reach 1.3" in text


def test_ensemble_cost_writes_its_tables_and_its_numbers(tmp_path):
    printed = run("ensemble_cost.py", "--quick", "--repeats", "1", "--no-memory", "--batch", "2", "--out", tmp_path)
    found = json.loads((tmp_path / "ensemble_cost-cpu.json").read_text())["ms"]
    assert set(found["an attack"]["lenet"]) == set(found["a training step"]["lenet"]) == {"ours", "2 members"}
    text = (tmp_path / "ensemble_cost-cpu.md").read_text()
    assert text.strip() in printed
    assert text.count("to reach 1.1") == 2
