"""The benchmarks run from start to end, with whatever peers are installed."""

from __future__ import annotations

import importlib
import io
import json
import runpy
import subprocess
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(script: str, *arguments: object) -> str:
    result = subprocess.run([sys.executable, BENCHMARKS / script, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def results(tmp_path: Path, name: str, *arguments: str) -> tuple[dict, str]:
    """(numbers, report) that a benchmark writes in one round; it prints the report too."""
    command = [str(BENCHMARKS / f"{name}.py"), "--repeats", "1", "--out", str(tmp_path), *arguments]
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of peers
        patch.setattr(sys, "argv", command)
        patch.syspath_prepend(BENCHMARKS)
        runpy.run_path(command[0], run_name="__main__")
    torch.set_num_threads(1)
    printed = output.getvalue()
    text = (tmp_path / f"{name}-cpu.md").read_text()
    assert text.strip() in printed
    return json.loads((tmp_path / f"{name}-cpu.json").read_text()), text


def test_attack_cost_writes_its_table_and_its_numbers(tmp_path):
    numbers, text = results(tmp_path, "attack_cost", "--quick", "--rows", "FGSM-1", "MEAN", "--no-memory")
    assert set(numbers["nets"]["mlp"]["ms"]) == {"FGSM-1", "MEAN"}
    assert all(len(times) == 1 for row in numbers["nets"]["mlp"]["ms"].values() for times in row.values())
    assert "MEAN / FGSM by hand" in text
    assert "not measured: peak memory" in text


def test_attack_cost_of_mc_dropout_has_a_number_to_reach(tmp_path):
    arguments = ("--nets", "wrn", "--rows", "FGSM-1", "--no-memory", "--no-vmap")
    numbers, text = results(tmp_path, "attack_cost", *arguments)
    assert list(numbers["nets"]) == ["wrn"]
    assert all(len(times) == 1 for times in numbers["nets"]["wrn"]["ms"]["FGSM-1"].values())
    assert "not measured: MC-dropout FGSM-10 on the small wide ResNet / fastest peer" in text


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
    task = json.dumps(["mlp", "FGSM-10", "ours", "cpu"])
    assert 0 <= float(run("attack_cost.py", "--task", task)) < 100


@pytest.mark.parametrize("name", ["training_cost", "conditions_cost"])
def test_ours_and_a_plain_loop_are_timed_and_the_memory_of_ours_measured(tmp_path, name):
    numbers, text = results(tmp_path, name, "--quick")
    assert {"ours", "plain loop"} <= set(numbers["ms"])
    assert all(len(times) == 1 for times in numbers["ms"].values())
    assert 0 <= numbers["memory_mib"]["ours"] < 100
    assert "| plain loop | " in text
    assert ("not measured: seconds, ours" in text) == (name == "conditions_cost")


def test_noise_cost_writes_its_table_and_its_numbers(tmp_path):
    numbers, _ = results(tmp_path, "noise_cost", "--quick", "--no-memory")
    assert set(numbers["ms"]["784-128-128-10"]) == {"ours", "uniform", "gaussian", "stored"}


def test_chain_cost_writes_its_tables_and_its_numbers(tmp_path):
    numbers, text = results(tmp_path, "chain_cost", "--quick", "--no-memory", "--batches", "2")
    assert set(numbers["ms"]["chains"]["784-128-128-10, batch 2"]) == {"ours", "5 chains, a loop", "5 chains, vmap"}
    assert {"ours", "SGAdaLD as coded"} <= set(numbers["ms"]["updates"]["784-128-128-10, 5 chains"])
    assert text.count("(at most 3.5)") == 1
    assert text.count("(at most 1.3)") == 4


def test_ensemble_cost_writes_its_tables_and_its_numbers(tmp_path):
    numbers, text = results(tmp_path, "ensemble_cost", "--quick", "--no-memory", "--batch", "2")
    assert all(set(numbers["ms"][row]["lenet"]) == {"ours", "2 members"} for row in ("an attack", "a training step"))
    assert text.count("(at most 1.1)") == 2


def test_startup_cost_is_a_ratio_to_an_empty_python(tmp_path):
    numbers, text = results(tmp_path, "startup_cost")
    assert list(numbers["ms"]) == ["ours", "import unshaken", "unshaken --help", "import torch"]
    assert "unshaken --help / python -c pass" in text
