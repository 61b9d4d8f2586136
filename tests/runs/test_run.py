"""Runs: what is finished is never repeated, what is damaged is noticed, what fails does not take the rest along."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from oracles import raises_sentence, truncate
from unshaken.evaluation.checks import CHECKS
from unshaken.report import report
from unshaken.report.sections.curves import curves_section
from unshaken.report.stored_run import load_run
from unshaken.runs.plan import plan
from unshaken.runs.recipe import Recipe, read_recipe
from unshaken.runs.run import Work, choose_device, failed_units, run
from unshaken.store import read_json, read_rows, read_tensors

RECIPE = """
title = "A small run"
[data]
name = "digits"
train_limit = 200
test_limit = 40
[network]
kind = "mlp"
widths = [16]
[model]
kind = "mean_field"
[training]
epochs = 3
optimizer = { kind = "adam", lr = 0.01 }
[evaluation]
eps = [0.1, 0.2]
draws = 6
repeats = 2
[[attacks]]
kind = "mean"
[[attacks]]
kind = "fgsm"
sweep.draws = [1, 4]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "small.toml").write_text(RECIPE)
    return tmp_path / "small.toml"


def recipe(path: Path, *settings: str) -> Recipe:
    return read_recipe(str(path), settings=settings)


def frames(folder: Path) -> dict[str, pd.DataFrame]:
    """All rows of a run, by unit."""
    return {path.stem: read_rows(path)[0] for path in sorted((folder / "rows").glob("*.parquet"))}


def same(a: Path, b: Path) -> None:
    left, right = frames(a), frames(b)
    assert left.keys() == right.keys()
    for name, rows in left.items():
        pd.testing.assert_frame_equal(rows, right[name])


def written(folder: Path) -> dict[str, int]:
    """When each result was written."""
    kept = [*folder.glob("rows/*.parquet"), *folder.glob("models/*")]
    return {path.name: path.stat().st_mtime_ns for path in kept}


def test_a_run_has_the_rows_and_costs_of_every_unit(path: Path, tmp_path: Path) -> None:
    one = recipe(path)
    folder = run(one, out=tmp_path / "runs")
    units = read_json(folder / "run.json")["units"]
    assert [unit["label"] for unit in units] == [unit.label for unit in plan(one)]
    assert frames(folder).keys() == {unit["name"] for unit in units if unit["kind"] == "attack"}
    rows = pd.concat(frames(folder).values())
    clean = rows[rows.attack == "none"]
    assert len(clean) == 40 * 2
    assert set(clean.eps) == {0.0}
    mean = rows[(rows.attack == "mean") & (rows.repeat == 0)]
    assert sorted(mean.eps.unique()) == [0.0, 0.1, 0.2, 1.0]
    assert mean.groupby("role").eps.nunique().to_dict() == {"check": 2, "sweep": 2}
    assert (rows["size"] <= rows.eps + 1e-6).all()
    assert set(rows.attack_draws) == {"", "1", "4", "mean"}
    assert set(clean.restarts) == {0}
    assert set(rows[rows.attack != "none"].restarts) == {1}
    assert set(rows.source) == {""}
    units = {unit["label"]: unit for unit in read_json(folder / "run.json")["units"]}
    assert all(unit["status"] == "done" for unit in units.values())
    # one gradient for both sizes and one for the two extreme ones, these on 25 inputs; prediction has six draws
    assert units["mean_field FGSM-4 r0"]["gradients"] == 4 * (40 + 25)
    assert units["mean_field FGSM-4 r0"]["forwards"] == 4 * (40 + 25) + 6 * 2 * (40 + 25)
    assert units["mean_field MEAN r1"]["forwards"] == 40 + 6 * 40 * 2


def test_a_run_tells_the_size_of_every_model(path: Path, tmp_path: Path) -> None:
    folder = run(recipe(path), out=tmp_path / "runs")
    weights, one_pass = (64 + 1) * 16 + (16 + 1) * 10, 2 * (64 * 16 + 16 * 10)
    expected = {"mean_field": {"parameters": 2 * weights, "flops": 6 * one_pass}}
    assert read_json(folder / "run.json")["sizes"] == expected
    work = Work(recipe(path), tmp_path / "runs", None, torch.device("cpu"), print)
    work.record([])
    assert read_json(folder / "run.json")["sizes"] == expected  # though this process has loaded no model
    header = (report(folder).parent / "tables/accuracy.csv").read_text().splitlines()[0]
    assert header.endswith(",high,parameters,flops")


def test_operations_that_cannot_be_counted_are_said_and_change_nothing(path, tmp_path, monkeypatch) -> None:
    def broken(*told):
        raise RuntimeError("no such luck")

    monkeypatch.setattr("unshaken.runs.run.flops", broken)
    said: list[str] = []
    folder = run(recipe(path), out=tmp_path / "runs", say=said.append)
    assert said == ["the operations of mean_field cannot be counted: no such luck"]
    assert failed_units(folder) == []
    assert read_json(folder / "run.json")["sizes"]["mean_field"]["flops"] is None


def test_repeats_have_draws_of_their_own_and_attacks_of_a_repeat_share_them(path: Path, tmp_path: Path) -> None:
    rows = pd.concat(frames(run(recipe(path), out=tmp_path / "runs")).values())
    clean = rows[rows.attack == "none"].set_index(["repeat", "index"]).probability
    assert not clean[0].equals(clean[1])
    null = rows[(rows.attack == "mean") & (rows.eps == 0)].set_index("index").probability
    pd.testing.assert_series_equal(null, clean[0].loc[null.index], rtol=1e-5)
    assert (null - clean[1].loc[null.index]).abs().max() > 1e-3


def test_a_process_that_has_looked_at_nothing_yet_keeps_what_others_recorded(path: Path, tmp_path: Path) -> None:
    one = recipe(path)
    folder = run(one, out=tmp_path / "runs")
    work = Work(one, tmp_path / "runs", None, torch.device("cpu"), print)
    work.record(plan(one, work.inputs))
    assert failed_units(folder) == []


def test_the_same_command_again_repeats_nothing(path: Path, tmp_path: Path) -> None:
    folder = run(recipe(path), out=tmp_path / "runs")
    before = written(folder)
    assert run(recipe(path), out=tmp_path / "runs") == folder
    assert written(folder) == before


def test_more_repeats_or_attacks_keep_what_another_run_would_compute(path: Path) -> None:
    few, many = ({u.name for u in plan(recipe(path, f"evaluation.repeats={n}"))} for n in (2, 3))
    assert few < many


@pytest.mark.parametrize("share", [0.5, 0])
def test_rows_that_were_cut_are_named_and_computed_again(path: Path, tmp_path: Path, share: float) -> None:
    folder, said = run(recipe(path), out=tmp_path / "runs"), []
    before, stamps = frames(folder), written(folder)
    victim = sorted((folder / "rows").glob("*.parquet"))[2]
    victim.write_bytes(victim.read_bytes()[: int(victim.stat().st_size * share)])
    run(recipe(path), out=tmp_path / "runs", say=said.append)
    assert len(said) == 1
    assert f"{victim.name} is damaged" in said[0]
    assert "Computing it again" in said[0]
    pd.testing.assert_frame_equal(frames(folder)[victim.stem], before[victim.stem])
    assert {name for name, at in written(folder).items() if stamps[name] != at} == {victim.name}


@pytest.mark.parametrize("what", ["json", "safetensors"])
def test_a_damaged_model_is_trained_again_to_the_same_weights(path: Path, tmp_path: Path, what: str) -> None:
    folder, said = run(recipe(path), out=tmp_path / "runs"), []
    weights = next((folder / "models").glob("*.safetensors"))
    before = weights.read_bytes()
    victim = weights.with_suffix(f".{what}")
    victim.write_bytes(victim.read_bytes()[:-30])
    run(recipe(path), out=tmp_path / "runs", say=said.append)
    assert len(said) == 1
    assert "Computing it again" in said[0]
    assert weights.read_bytes() == before


def test_a_cut_checkpoint_is_named_and_dropped(path: Path, tmp_path: Path) -> None:
    whole = run(recipe(path), out=tmp_path / "whole")
    unit = next((whole / "models").glob("*.json"))
    other = tmp_path / "runs" / whole.name / "models" / f"{unit.stem}.checkpoint"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"half a checkpoint")
    said: list[str] = []
    run(recipe(path), out=tmp_path / "runs", say=said.append)
    assert "truncated or not a safetensors file" in said[0]
    assert "Training from the start" in said[0]
    same(whole, tmp_path / "runs" / whole.name)


def test_a_model_that_another_run_has_trained_is_taken_from_there(path: Path, tmp_path: Path) -> None:
    first, said = run(recipe(path), out=tmp_path / "runs"), list[str]()
    other = run(recipe(path, "evaluation.draws=5", "data.test_limit=30"), out=tmp_path / "runs", say=said.append)
    assert first != other
    assert len(said) == 1
    assert f"taken from {first.name}" in said[0]
    weights = [next(folder.glob("models/*.safetensors")).read_bytes() for folder in (first, other)]
    assert weights[0] == weights[1]
    same(other, run(recipe(path, "evaluation.draws=5", "data.test_limit=30"), out=tmp_path / "whole"))


@pytest.mark.parametrize("setting", ["seed=1", "data.train_limit=150", "training.epochs=2", "network.widths=[15]"])
def test_a_model_that_was_trained_otherwise_is_not_taken(path: Path, tmp_path: Path, setting: str) -> None:
    said: list[str] = []
    run(recipe(path), out=tmp_path / "runs")
    run(recipe(path, setting), out=tmp_path / "runs", say=said.append)
    assert said == []


def test_a_damaged_model_of_another_run_is_not_taken(path: Path, tmp_path: Path) -> None:
    first, said = run(recipe(path), out=tmp_path / "runs"), list[str]()
    truncate(next(first.glob("models/*.safetensors")))
    run(recipe(path, "evaluation.draws=5"), out=tmp_path / "runs", say=said.append)
    assert said == []


def test_a_model_around_another_takes_what_that_one_was_trained_to(path: Path, tmp_path: Path) -> None:
    off = '{model={kind="mean_network", base={kind="matrix_gaussian"}}}'
    sweep = f'sweep.how={{on={{model={{kind="matrix_gaussian"}}}}, off={off}}}'
    said: list[str] = []
    folder = run(recipe(path, sweep), out=tmp_path / "runs", say=said.append)
    assert len(said) == 1
    assert said[0].startswith("off is trained already")
    off, on = (rows for name, rows in frames(folder).items() if "-clean-r0" in name for rows in [rows])
    assert on.model.iloc[0] != off.model.iloc[0]
    assert set(off.votes) <= {0, 6}
    assert not set(on.votes) <= {0, 6}


def test_several_seeds_train_several_networks(path: Path, tmp_path: Path) -> None:
    folder = run(recipe(path, "seed=[0, 1]", "training.epochs=1"), out=tmp_path / "runs")
    weights = [file.read_bytes() for file in sorted(folder.glob("models/*.safetensors"))]
    assert len(set(weights)) == 2
    models = {rows.model.iloc[0] for rows in frames(folder).values()}
    assert models == {"mean_field, seed 0", "mean_field, seed 1"}


def test_a_smoothed_model_of_another_kind_runs_from_a_recipe(path: Path, tmp_path: Path) -> None:
    model = 'model={kind="smoothing", sigma=0.2, base={kind="matrix_gaussian"}}'
    noise = 'training.inputs={kind="variable_noise", size=0.2}'
    folder = run(recipe(path, model, noise), out=tmp_path / "runs")
    assert failed_units(folder) == []


def command(path: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "unshaken.cli", "run", str(path), "--out", str(out), "--device", "cpu"]


ENV = {**os.environ, "OMP_NUM_THREADS": "1"}
QUIET = {"stdout": subprocess.DEVNULL, "env": ENV}


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def test_kill_minus_nine_and_the_same_command(path: Path, tmp_path: Path) -> None:
    path.write_text(RECIPE.replace("repeats = 2", "repeats = 12"))
    whole, folder = run(recipe(path), out=tmp_path / "whole"), None
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
    left = {name: at for name, at in written(folder).items() if not name.endswith(".checkpoint")}
    assert 3 <= len(list(folder.glob("rows/*.parquet"))) < len(frames(whole))
    again = subprocess.run(command(path, tmp_path / "runs"), capture_output=True, text=True, env=ENV, check=False)
    assert again.returncode == 0, again.stderr
    assert {name: at for name, at in written(folder).items() if name in left} == left
    same(whole, folder)


def test_a_run_killed_while_it_trains_goes_on_to_the_same_weights(path: Path, tmp_path: Path) -> None:
    path.write_text(RECIPE.replace("epochs = 3", "epochs = 200"))
    process = subprocess.Popen(command(path, tmp_path / "runs"), **QUIET)
    folder = tmp_path / "runs"
    while not list(folder.glob("*/models/*.checkpoint")):
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(folder.glob("*/models/*.json"))
    same(run(recipe(path), out=tmp_path / "whole"), run(recipe(path), out=folder))


def test_processes_at_once_share_the_work_and_end_with_one_whole_result(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    path.write_text(
        RECIPE + '[[attacks]]\nkind = "outside:logging_attack"\n[[attacks]]\nkind = "outside:failing_attack"\n'
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
    whole = run(recipe(path), out=tmp_path / "whole", say=lambda text: None)
    same(whole, tmp_path / "runs" / whole.name)
    assert not list((tmp_path / "runs").rglob("*.part"))
    assert not list((tmp_path / "runs").rglob("failed-*"))
    statuses = [unit["status"] for unit in read_json(tmp_path / "runs" / whole.name / "run.json")["units"]]
    assert (statuses.count("failed"), statuses.count("done")) == (2, len(statuses) - 2)


def test_a_unit_that_fails_is_recorded_and_the_rest_goes_on(path: Path, tmp_path: Path) -> None:
    path.write_text(RECIPE + '[[attacks]]\nkind = "outside:failing_attack"\n')
    said: list[str] = []
    folder = run(recipe(path), out=tmp_path / "runs", say=said.append)
    failed = failed_units(folder)
    assert [unit["error"] for unit in failed] == ["RuntimeError: no such luck"] * 2
    assert len(said) == 2
    assert len(frames(folder)) == 8


def test_a_model_that_cannot_be_trained_skips_its_attacks(path: Path, tmp_path: Path) -> None:
    one = recipe(path, "training.optimizer={kind='sgd', lr=1e30}")
    folder = run(one, out=tmp_path / "runs", say=lambda text: None)
    statuses = [unit["status"] for unit in failed_units(folder)]
    assert statuses == ["failed"] + ["skipped"] * 8
    assert "lower learning rate" in failed_units(folder)[0]["error"]


def test_parts_from_outside_the_package(path: Path, tmp_path: Path) -> None:
    path.write_text(
        RECIPE.replace('kind = "mlp"\nwidths = [16]', 'kind = "outside:dropout_net"')
        .replace('"mean_field"', '"module"')
        .replace('[training]\nepochs = 3\noptimizer = { kind = "adam", lr = 0.01 }\n', "")
        .replace('kind = "mean"', 'kind = "outside:noise_attack"')
    )
    rows = pd.concat(frames(run(recipe(path), out=tmp_path / "runs")).values())
    assert set(rows.attack) == {"none", "outside:noise_attack", "fgsm"}
    assert set(rows.model) == {"module"}


TRAINING = {
    '{kind="adversarial", eps=0.1, attack={kind="mean"}}': "a 'module' model has no mean network",
    '{kind="adversarial", eps=0.1, attack={kind="moments"}}': "a 'module' model has no mean network",
    '{kind="adversarial", eps=16, attack={kind="fgsm"}}': r"eps 16 is larger than the whole input box, 1 in",
    '{kind="adversarial", eps=20, attack={kind="fgm"}}': "eps 20 is larger than the whole input box, 8 in the l2 norm",
    '{kind="adversarial", eps=0.1, probability=-1}': "probability must be a number from 0 to 1; got -1",
}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ('analyses=[{kind="conditions", eps=[0.1], rule="vote"}]', "rule 'vote' has no gradient"),
        (
            'analyses=[{kind="conditions", eps=[0.1], smoothness="tight"}]',
            "needs a smoothing model, which a 'mean_field'",
        ),
        ('training.schedule={kind="steps", at=[0]}', "every epoch of at must be a whole number, 1 or more; got 0"),
        ('training.augment={kind="crop_flip", padding=-1}', "padding must be a whole number, 0 or more; got -1"),
        ('training.optimizer={kind="sgadald", lr=0.1, friction="mached"}', "optimizer of mean_field: friction must be"),
        ('training.optimizer={kind="adam", betas=[2.0, 3.0]}', "optimizer of mean_field: Invalid beta"),
        ('model={kind="dropout"}', "dropout needs a network with nn.Dropout layers whose p is above 0"),
    ],
)
def test_a_setting_that_only_the_model_can_judge_is_judged_before_any_work(path, tmp_path, setting, told) -> None:
    with pytest.raises(ValueError, match=told):
        run(recipe(path, setting), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_model_that_was_trained_against_attacks_is_not_shared_with_one_around_it(path, tmp_path) -> None:
    inputs = 'training.inputs={kind="adversarial", eps=0.1, attack={kind="fgsm", draws=1}}'
    sweep = 'sweep.how={on={model={kind="mean_field"}}, off={model={kind="mean_network", base={kind="mean_field"}}}}'
    said: list[str] = []
    run(recipe(path, inputs, sweep), out=tmp_path / "runs", say=said.append)
    assert said == []


def test_what_cannot_work_is_said_before_any_work(path: Path, tmp_path: Path) -> None:
    text = RECIPE.replace('"mean_field"', '"module"')
    path.write_text(text)
    with pytest.raises(ValueError, match="a 'module' model has no mean network"):
        run(recipe(path), out=tmp_path / "runs")
    for words, told in TRAINING.items():
        path.write_text(text.replace('kind = "mean"', 'kind = "fgsm"\ndraws = 2'))
        with pytest.raises(ValueError, match=told):
            run(recipe(path, f"training.inputs={words}"), out=tmp_path / "runs")
    path.write_text(RECIPE.replace('kind = "mlp"\nwidths = [16]', 'kind = "outside:smooth_net"'))
    with pytest.raises(ValueError, match=r"there is no moment rule for layer '2' \(Tanh\)"):
        run(recipe(path, "attacks=[{kind='moments'}]"), out=tmp_path / "runs")
    path.write_text(RECIPE.replace('kind = "mlp"\nwidths = [16]', 'kind = "small_cnn"'))
    with pytest.raises(ValueError, match="small_cnn needs images of 16 x 16 or more; got 8 x 8"):
        run(recipe(path), out=tmp_path / "runs")
    path.write_text(RECIPE.replace("test_limit = 40", "test_limit = 4000"))
    with pytest.raises(ValueError, match="limit is 4000, but the test split of digits has only 597 images"):
        run(recipe(path), out=tmp_path / "runs")
    path.write_text(RECIPE.replace('"digits"', '"mnist"'))
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="hf download ylecun/mnist"):
        run(recipe(path), out=tmp_path / "runs", data_root=tmp_path / "data")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("damage", [b"", None])
def test_damaged_or_missing_examples_are_made_again(path: Path, tmp_path: Path, damage: bytes | None) -> None:
    folder, said = run(recipe(path), out=tmp_path / "runs"), []
    victim = next((folder / "examples").iterdir())
    before = read_tensors(victim)[1]
    victim.unlink() if damage is None else victim.write_bytes(damage)
    run(recipe(path), out=tmp_path / "runs", say=said.append)
    assert len(said) == 1
    assert victim.name in said[0]
    after = read_tensors(victim)[1]
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_damaged_run_json_is_written_again(path: Path, tmp_path: Path) -> None:
    folder = run(recipe(path), out=tmp_path / "runs")
    before = read_json(folder / "run.json")["units"]
    (folder / "run.json").write_text('{"units": [')
    run(recipe(path), out=tmp_path / "runs")
    assert read_json(folder / "run.json")["units"] == before


def test_another_network_of_the_same_name_is_another_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(RECIPE.replace('kind = "mlp"\nwidths = [16]', 'kind = "outside:stored_net"'))
    (tmp_path / "net").write_text("1.0")
    monkeypatch.setenv("STORED_NET", str(tmp_path / "net"))
    first = run(recipe(path), out=tmp_path / "runs")
    (tmp_path / "net").write_text("2.0")
    assert run(recipe(path), out=tmp_path / "runs") != first
    (tmp_path / "net").write_text("1.0")
    assert run(recipe(path), out=tmp_path / "runs") == first


def images(folder: Path, value: int) -> None:
    from PIL import Image

    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True, exist_ok=True)
            for i in range(30):
                Image.new("L", (8, 8), value + 40 * (label == "dog") + i).save(folder / split / label / f"{i}.png")


def test_other_images_under_the_same_name_are_another_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    path.write_text(RECIPE.replace('"digits"', f'"{tmp_path / "pets"}"').replace("_limit = 200", "_limit = 40"))
    images(tmp_path / "pets", 50)
    first = run(recipe(path), out=tmp_path / "runs")
    images(tmp_path / "pets", 120)
    assert run(recipe(path), out=tmp_path / "runs") != first


def test_inputs_are_perturbed_some_at_a_time(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(recipe(path), out=tmp_path / "whole")
    monkeypatch.setattr("unshaken.runs.units.SLICE", 64 * 4 * 7)  # seven of the forty inputs
    parts = run(recipe(path), out=tmp_path / "parts")
    for name, rows in frames(whole).items():
        keys = ["eps", "index"]
        left, right = (r.sort_values(keys, ignore_index=True) for r in (rows, frames(parts)[name]))
        pd.testing.assert_frame_equal(left, right)


def test_what_an_attack_from_outside_does_not_tell_is_unknown(path: Path, tmp_path: Path) -> None:
    path.write_text(RECIPE.replace('kind = "mean"', 'kind = "outside:noise_attack"'))
    rows = pd.concat(frames(run(recipe(path), out=tmp_path / "runs")).values())
    rows = rows[rows.attack.isin(["none", "outside:noise_attack"])]
    assert CHECKS["zero gradient"](rows).passed is None
    assert CHECKS["disjoint draws"](rows).passed is None


def test_settings_that_no_column_holds_are_in_the_name_of_the_attack(path: Path, tmp_path: Path) -> None:
    pgd = '[[attacks]]\nkind = "pgd"\nsteps = 2\ndraws = 2\nsweep.start = ["none", "uniform"]\n'
    path.write_text(RECIPE + pgd)
    folder = run(recipe(path), out=tmp_path / "runs")
    rows = pd.concat(frames(folder).values())
    assert {"pgd", "pgd (start uniform)"} < set(rows.attack)
    assert "PGD-2 (start uniform)" in report(folder).read_text(encoding="utf-8")


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match=r"unknown device 'gpu': did you mean 'cpu'?"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch finds no GPU: use --device cpu"):
            choose_device("cuda")


def test_progress_ends_at_the_number_of_units(path: Path, tmp_path: Path) -> None:
    seen: list[tuple[float, float, str]] = []
    run(recipe(path), out=tmp_path / "runs", progress=lambda *told: seen.append(told))
    done = [at for at, _, _ in seen]
    assert done == sorted(done)
    assert seen[-1][:2] == (9, 9)
    assert any(note.startswith("training: loss") for _, _, note in seen)
    assert "accuracy" in seen[-1][2]


ANALYSES = """
[[analyses]]
kind = "gradient_agreement"
draws = [1, "mean"]
reference = 3
[[analyses]]
kind = "attack_time"
rounds = 2
batch = 20
"""


def test_analyses_are_units_that_are_kept_and_made_again_when_damaged(path: Path, tmp_path: Path) -> None:
    path.write_text(RECIPE.replace("[[attacks]]", ANALYSES + "[[attacks]]", 1))
    folder, said = run(recipe(path), out=tmp_path / "runs"), []
    files = {read_rows(file)[1]["analysis"]: file for file in folder.glob("analyses/*.parquet")}
    agreement, times = (read_rows(files[kind])[0] for kind in ("gradient_agreement", "attack_time"))
    assert agreement.groupby("draws").size().to_dict() == {"1": 40 * 3, "mean": 40 * 3}
    assert set(agreement.model) == {"mean_field"}
    attacks = [attack["label"] for attack in recipe(path).config["attacks"]]
    assert times.attack.tolist() == attacks * 2
    assert set(load_run(folder).analyses) == {"gradient_agreement", "attack_time"}
    written = files["attack_time"].stat().st_mtime_ns
    truncate(files["gradient_agreement"])
    run(recipe(path), out=tmp_path / "runs", say=said.append)
    assert files["gradient_agreement"].name in said[0]
    pd.testing.assert_frame_equal(read_rows(files["gradient_agreement"])[0], agreement)
    assert files["attack_time"].stat().st_mtime_ns == written


def test_a_model_without_a_mean_network_has_no_agreement_with_it(path: Path, tmp_path: Path) -> None:
    path.write_text(
        RECIPE.replace('"mean_field"', '"module"').replace('kind = "mean"', 'kind = "fgsm"\ndraws = 2') + ANALYSES
    )
    with pytest.raises(ValueError, match="a 'module' model has no mean network"):
        run(recipe(path), out=tmp_path / "runs")


def test_an_analysis_from_outside_the_package(path: Path, tmp_path: Path) -> None:
    path.write_text(RECIPE + '\n[[analyses]]\nkind = "outside:spread"\ndraws = 3\n')
    folder = run(recipe(path), out=tmp_path / "runs")
    assert not failed_units(folder)
    rows = load_run(folder).analyses["outside:spread"]
    assert (len(rows), bool((rows.spread > 0).all())) == (40, True)
    report(folder)


def test_training_that_was_killed_costs_what_all_of_it_cost(path: Path, tmp_path: Path) -> None:
    whole = run(recipe(path), out=tmp_path / "whole")
    killed = recipe(path)
    unit = plan(killed, Work(killed, tmp_path / "cut", None, choose_device("cpu"), print).inputs)[0]
    work = Work(killed, tmp_path / "cut", None, choose_device("cpu"), print)

    def stop(step: int, steps: int, told: str) -> None:
        if step > steps // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work.do(unit, stop)
    again = run(killed, out=tmp_path / "cut")
    counts = [
        {word: entry[word] for word in ("forwards", "gradients")}
        for entry in (read_json(folder / "run.json")["units"][0] for folder in (whole, again))
    ]
    assert counts[0] == counts[1]
    assert counts[0]["forwards"] > 0


CURVES = """
[curves]
every = 3
draws = 2
select = "FGSM-1"
[[curves.attacks]]
kind = "fgsm"
draws = 1
eps = [0.1]
[[curves.attacks]]
kind = "pgd"
draws = 2
steps = 2
eps = [0.2]
"""


def with_curves(path: Path, *settings: str) -> Recipe:
    path.write_text(RECIPE + CURVES)
    return recipe(path, "data.validation=0.2", "training.batch_size=40", *settings)


def test_a_training_is_evaluated_and_ends_with_the_selected_weights(path: Path, tmp_path: Path) -> None:
    folder = run(with_curves(path), out=tmp_path / "runs")
    (file,) = folder.glob("models/*.json")
    told = read_json(file)
    scores = [score for epoch in told["history"] for score in epoch["scores"]]
    assert [score["step"] for score in scores] == [3, 6, 9, 12]
    assert all([*score["right"]] == ["clean", "FGSM-1", "PGD-2"] and score["images"] == 40 for score in scores)
    assert told["gradients"] == 0
    assert scores[0]["gradients"] == 40 + 2 * 2 * 40
    (best,) = [score for score in scores if score.get("selected")]
    assert best["right"]["FGSM-1"] == max(score["right"]["FGSM-1"] for score in scores)
    assert failed_units(folder) == []
    first, second = curves_section(load_run(folder), []).tables
    assert (len(first.data), len(second.data)) == (4 * 3, 3)


def test_a_run_with_curves_that_was_killed_goes_on_to_the_same_weights(path: Path, tmp_path: Path) -> None:
    whole, one = run(with_curves(path), out=tmp_path / "whole"), with_curves(path)
    work = Work(one, tmp_path / "cut", None, choose_device("cpu"), print)

    def stop(step: int, steps: int, told: str) -> None:
        if step == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work.do(plan(one, work.inputs)[0], stop)
    again = run(one, out=tmp_path / "cut")
    weights = [[file.read_bytes() for file in folder.glob("models/*.safetensors")] for folder in (whole, again)]
    assert weights[0] == weights[1]


def test_curves_are_part_of_the_training_where_there_are_some_and_their_drawing_is_not(path: Path) -> None:
    def digest(one: Recipe, images: str = "a") -> str:
        data = {"train": "t", "test": "x", "validation": images}
        return plan(one, {"networks": ["n"], "unshaken": "1", "data": data})[0].digest

    bare = digest(recipe(path))
    base = digest(with_curves(path))
    assert digest(with_curves(path, "curves.smooth=3")) == base
    others = [with_curves(path, s) for s in ("curves.every=4", "curves.select=none", "evaluation.rule=vote")]
    assert len({bare, base, digest(with_curves(path), "b"), *map(digest, others)}) == 6


def test_a_model_that_was_evaluated_meanwhile_is_not_shared_with_one_around_it(path: Path, tmp_path: Path) -> None:
    off = '{model={kind="mean_network", base={kind="matrix_gaussian"}}}'
    sweep = f'sweep.how={{on={{model={{kind="matrix_gaussian"}}}}, off={off}}}'
    said: list[str] = []
    run(with_curves(path, sweep), out=tmp_path / "runs", say=said.append)
    assert said == []


def test_curves_that_cannot_be_had_are_told_before_any_work(path: Path, tmp_path: Path) -> None:
    for settings, told in (
        (["curves.limit=41"], "limit is 41, but there are 40 images of validation"),
        (["curves.attacks=[{kind='pgd', loss='latent_shift', start='near', draws=1, eps=[0.1]}]"], "latents are those"),
        (["model.kind=module", "attacks=[{kind='fgsm', draws=1}]", "curves.attacks.draws=mean"], "has no mean network"),
    ):
        with raises_sentence(told):
            run(with_curves(path, "curves.select=none", *settings), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


LATENT = '\n[[attacks]]\nkind = "pgd"\nloss = "latent_shift"\nstart = "near"\ndraws = 1\nsteps = 2\n'
SHIFT = '\n[[analyses]]\nkind = "latent_shift"\neps = [0.1, 0.2]\ndraws = 3\n'


@pytest.mark.parametrize(
    ("more", "settings", "told"),
    [
        (LATENT, [], r"latents are those of a network with encode\(\), such as 'vae'; Sequential has none"),
        (SHIFT, [], r"latents are those of a network with encode\(\), such as 'vae'; Sequential has none"),
        ("", ["training.objective.kind='vae'"], r"a network with encode\(\), such as 'vae'; Sequential has none"),
        (LATENT.replace("near", "none"), [], r"number 3: a loss of latents has no gradient at the input itself"),
    ],
)
def test_what_has_no_latent_is_told_before_any_work(path, tmp_path, more, settings, told) -> None:
    path.write_text(RECIPE + more)
    with pytest.raises(ValueError, match=told):
        run(recipe(path, *settings), out=tmp_path / "runs")
    assert not list((tmp_path / "runs").glob("*/models/*"))


def test_an_auto_encoder_is_trained_and_attacked_at_its_latent(path: Path, tmp_path: Path) -> None:
    text = RECIPE.replace('"mlp"', '"vae"').replace("epochs = 3", 'epochs = 1\nobjective = { kind = "vae" }')
    path.write_text(text.replace("sweep.draws = [1, 4]", "draws = 1") + LATENT + SHIFT)
    folder = run(recipe(path, "evaluation.repeats=1"), out=tmp_path / "runs")
    assert not failed_units(folder)
    rows = load_run(folder).analyses["latent_shift"]
    assert rows.groupby(["attack", "eps"]).size().tolist() == [40] * 6


def test_chains_continue_another_model_and_store_their_states(tmp_path: Path) -> None:
    text = """
title = "chains"
data = { name = "digits", train_limit = 60, test_limit = 20 }
network = { kind = "mlp", widths = [8] }
model = { kind = "deterministic" }
evaluation = { eps = [0.1], draws = 4, repeats = 1 }

[training]
epochs = 2
batch_size = 30
objective = { kind = "cross_entropy" }

[sweep.method]
first = {}

[sweep.method.second]
model = { kind = "chain", chains = 2 }
training = { continues = "first", burn_in = 2, thin = 1, epochs = 2, optimizer = { kind = "sgld", lr = 1e-5 } }

[[attacks]]
kind = "fgsm"
draws = 4
"""
    (tmp_path / "chains.toml").write_text(text, encoding="utf-8")

    def read(*settings: str):
        return read_recipe(str(tmp_path / "chains.toml"), settings=settings)

    folder = run(read(), out=tmp_path / "runs", say=lambda told: None)
    weights = {path.stem.split("-")[0]: read_tensors(path)[1] for path in (folder / "models").glob("*.safetensors")}
    assert sum(name.startswith("stored") and name.endswith("1.weight") for name in weights["second"]) == 6
    moved = weights["second"]["chain0.1.weight"] - weights["first"]["1.weight"]
    assert 0 < moved.abs().max() < 0.1
    bad = {
        "sweep.method.second.training.continues='frst'": "unknown model 'frst': did you mean 'first'",
        "sweep.method.first.training.continues='second'": "which continues it: one of them must start by itself",
        "sweep.method.second.training.burn_in=9": "burn_in must be at most the 4 minibatches of this training; got 9",
        "training.burn_in=1": "a 'deterministic' model stores no states: burn_in is for a 'chain'",
        "sweep.method.second.network.widths=[9]": "second continues 'first': a network of another architecture",
    }
    for setting, message in bad.items():
        with raises_sentence(message):
            run(read(setting), out=tmp_path / "bad", say=lambda told: None)
    assert not list(tmp_path.glob("bad/*/models"))
