"""The benchmark runs from start to end, with whatever peers are installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "attack_cost.py"


def test_attack_cost_writes_its_table_and_its_numbers(tmp_path):
    smallest = ["--quick", "--repeats", "1", "--rows", "FGSM-1", "MEAN", "--no-memory"]
    done = subprocess.run([sys.executable, SCRIPT, *smallest, "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "attack_cost-cpu.json").read_text())
    assert set(found["nets"]["mlp"]["ms"]) == {"FGSM-1", "MEAN"}
    assert all(len(times) == 1 for row in found["nets"]["mlp"]["ms"].values() for times in row.values())
    text = (tmp_path / "attack_cost-cpu.md").read_text()
    assert text.strip() in done.stdout
    assert "MEAN / FGSM by hand" in text
    assert "not measured: peak memory" in text


def test_the_memory_of_one_attack_is_measured_in_its_own_process():
    cell = json.dumps(["mlp", "FGSM-10", "ours", "cpu", 1])
    done = subprocess.run([sys.executable, SCRIPT, "--cell", cell], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0 <= float(done.stdout) < 100
