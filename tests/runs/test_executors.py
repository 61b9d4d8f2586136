"""Several processes at work on one run, and what is left when they are killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_recipes import RUN, assert_same_rows, frames, read, record_of, time_stamps

from oracles import raises_sentence
from unshaken.runs.executors import MOST, choose_jobs
from unshaken.runs.run import run

ENV = {**os.environ, "OMP_NUM_THREADS": "1"}
QUIET = {"stdout": subprocess.DEVNULL, "env": ENV}


def command(path: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "unshaken", "run", str(path), "--out", str(out), "--device", "cpu"]


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def test_there_is_a_process_for_each_thread_of_a_cpu_but_no_more_than_units() -> None:
    cpu, threads = torch.device("cpu"), torch.get_num_threads()
    assert choose_jobs(None, cpu, 100) == min(threads, MOST)
    assert choose_jobs(None, cpu, 1) == choose_jobs(None, torch.device("cuda"), 100) == 1
    assert choose_jobs(3, cpu, 1) == 3
    with raises_sentence("jobs must be 1 or more processes; got 0"):
        choose_jobs(0, cpu, 1)


def test_kill_minus_nine_and_the_same_command(path: Path, tmp_path: Path) -> None:
    path.write_text(RUN.replace("repeats = 2", "repeats = 8"))
    whole = run(read(path), out=tmp_path / "whole")
    process = subprocess.Popen([*command(path, tmp_path / "runs"), "--jobs", "2"], **QUIET)
    folder = tmp_path / "runs" / whole.name
    while len(list(folder.glob("rows/*.parquet"))) < 3:
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.005)
    fellows = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert fellows
    wait_for(lambda: not any(Path(f"/proc/{fellow}").exists() for fellow in fellows))
    left = {name: stamp for name, stamp in time_stamps(folder).items() if not name.endswith(".checkpoint")}
    assert 3 <= len(list(folder.glob("rows/*.parquet"))) < len(frames(whole))
    again = subprocess.run(command(path, tmp_path / "runs"), capture_output=True, text=True, env=ENV, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stderr == "", "no progress bar without a terminal"
    assert "report.html" in again.stdout
    assert "\x1b" not in again.stdout
    assert {name: stamp for name, stamp in time_stamps(folder).items() if name in left} == left
    assert_same_rows(whole, folder)


def test_a_run_killed_while_it_trains_goes_on_to_the_same_weights(path: Path, tmp_path: Path) -> None:
    path.write_text(RUN.replace("epochs = 3", "epochs = 200"))
    process = subprocess.Popen(command(path, tmp_path / "runs"), **QUIET)
    folder = tmp_path / "runs"
    while not list(folder.glob("*/models/*.checkpoint")):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(folder.glob("*/models/*.json"))
    assert_same_rows(run(read(path), out=tmp_path / "whole"), run(read(path), out=folder))


def test_processes_at_once_share_the_work_and_end_with_one_whole_result(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    path.write_text(
        RUN + '[[attacks]]\nkind = "outside:logging_attack"\n[[attacks]]\nkind = "outside:failing_attack"\n'
    )
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**ENV, "PYTHONPATH": os.pathsep.join(paths), "ATTACK_LOG": str(log)}
    both = subprocess.run([*command(path, tmp_path / "runs"), "--jobs", "2"], capture_output=True, env=env, text=True)
    assert both.returncode == 1, both.stderr
    calls = [line.split() for line in log.read_text().splitlines()]
    assert len(calls) == len({seed for _, seed in calls}) == 2, "one call for each repeat, whoever made it"
    assert len({process for process, _ in calls}) == 2, "both had something to do"
    assert both.stderr.count(" failed: no such luck") == 2, "a unit that failed is not tried by the other process"
    monkeypatch.setenv("ATTACK_LOG", str(log))
    whole = run(read(path), out=tmp_path / "whole", say=lambda message: None)
    assert_same_rows(whole, tmp_path / "runs" / whole.name)
    assert not list((tmp_path / "runs").rglob("*.part"))
    assert not list((tmp_path / "runs").rglob("failed-*"))
    statuses = [unit.status for unit in record_of(tmp_path / "runs" / whole.name).units]
    assert (statuses.count("failed"), statuses.count("done")) == (2, len(statuses) - 2)
