"""Runs: what is finished is never repeated, what fails does not take the rest along."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from small_recipes import MLP, RUN, all_rows, frames, read, read_with_curves, record_of, time_stamps

from oracles import raises_sentence, truncate
from unshaken.report import report
from unshaken.report.sections.curves import curves_section
from unshaken.report.stored_run import load_run
from unshaken.runs.plan import plan
from unshaken.runs.recipe import Recipe, read_recipe
from unshaken.runs.record import ModelRecord, read_record
from unshaken.runs.run import Worker, choose_device, failed_units, run
from unshaken.store import read_rows, read_tensors


def worker(recipe: Recipe, out: Path) -> Worker:
    return Worker(recipe, out, None, torch.device("cpu"), print)


def run_and_interrupt(recipe: Recipe, out: Path, after: int) -> None:
    """Train the first model of a recipe until Ctrl-C after so many steps."""

    def interrupt(step: int, *_: Any) -> None:
        if step > after:
            raise KeyboardInterrupt

    one = worker(recipe, out)
    with pytest.raises(KeyboardInterrupt):
        one.finish(one.units[0], interrupt)


def test_a_run_has_the_rows_and_costs_of_every_unit(path: Path, tmp_path: Path) -> None:
    recipe = read(path)
    folder = run(recipe, out=tmp_path / "runs")
    record = record_of(folder)
    assert [unit.label for unit in record.units] == [unit.label for unit in plan(recipe)]
    assert frames(folder).keys() == {unit.name for unit in record.units if unit.kind == "attack"}
    rows = all_rows(folder)
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
    units = {unit.label: unit for unit in record.units}
    assert all(unit.status == "done" for unit in units.values())
    # one gradient for both sizes and one for the two extreme ones, these on 25 inputs; prediction has six draws
    assert units["mean_field FGSM-4 r0"].gradients == 4 * (40 + 25)
    assert units["mean_field FGSM-4 r0"].forwards == 4 * (40 + 25) + 6 * 2 * (40 + 25)
    assert units["mean_field MEAN r1"].forwards == 40 + 6 * 40 * 2


def test_a_run_records_the_size_of_every_model(path: Path, tmp_path: Path) -> None:
    folder = run(read(path), out=tmp_path / "runs")
    weights, one_pass = (64 + 1) * 16 + (16 + 1) * 10, 2 * (64 * 16 + 16 * 10)
    (size,) = record_of(folder).sizes.values()
    assert (size.parameters, size.flops) == (2 * weights, 6 * one_pass)
    worker(read(path), tmp_path / "runs").record()
    assert record_of(folder).sizes == {"mean_field": size}  # though this process has loaded no model
    header = (report(folder).parent / "tables/accuracy.csv").read_text().splitlines()[0]
    assert header.endswith(",high,parameters,flops")


def test_operations_that_cannot_be_counted_are_reported_and_change_nothing(path, tmp_path, monkeypatch) -> None:
    def broken(*arguments):
        raise RuntimeError("no such luck")

    monkeypatch.setattr("unshaken.runs.run.flops", broken)
    messages: list[str] = []
    folder = run(read(path), out=tmp_path / "runs", say=messages.append)
    assert messages == ["the operations of mean_field cannot be counted: no such luck"]
    assert failed_units(folder) == []
    assert record_of(folder).sizes["mean_field"].flops is None


def test_a_process_that_has_done_nothing_yet_keeps_what_others_recorded(path: Path, tmp_path: Path) -> None:
    folder = run(read(path), out=tmp_path / "runs")
    one = worker(read(path), tmp_path / "runs")
    one.record()
    assert failed_units(folder) == []


def test_the_same_command_again_repeats_nothing(path: Path, tmp_path: Path) -> None:
    folder = run(read(path), out=tmp_path / "runs")
    before = time_stamps(folder)
    assert run(read(path), out=tmp_path / "runs") == folder
    assert time_stamps(folder) == before


def test_several_seeds_train_several_networks(path: Path, tmp_path: Path) -> None:
    folder = run(read(path, "seed=[0, 1]", "training.epochs=1"), out=tmp_path / "runs")
    weights = [file.read_bytes() for file in sorted(folder.glob("models/*.safetensors"))]
    assert len(set(weights)) == 2
    assert set(all_rows(folder).model) == {"mean_field, seed 0", "mean_field, seed 1"}


def test_a_smoothed_model_of_another_kind_runs_from_a_recipe(path: Path, tmp_path: Path) -> None:
    model = 'model={kind="smoothing", sigma=0.2, base={kind="matrix_gaussian"}}'
    noise = 'training.inputs={kind="variable_noise", size=0.2}'
    folder = run(read(path, model, noise), out=tmp_path / "runs")
    assert failed_units(folder) == []


def test_a_unit_that_fails_is_recorded_and_the_rest_goes_on(path: Path, tmp_path: Path) -> None:
    path.write_text(RUN + '[[attacks]]\nkind = "outside:failing_attack"\n')
    messages: list[str] = []
    folder = run(read(path), out=tmp_path / "runs", say=messages.append)
    assert [unit.error for unit in failed_units(folder)] == ["RuntimeError: no such luck"] * 2
    assert len(messages) == 2
    assert len(frames(folder)) == 8


def test_a_model_that_cannot_be_trained_skips_its_attacks(path: Path, tmp_path: Path) -> None:
    recipe = read(path, "training.optimizer={kind='sgd', lr=1e30}")
    folder = run(recipe, out=tmp_path / "runs", say=lambda message: None)
    failed = failed_units(folder)
    assert [unit.status for unit in failed] == ["failed"] + ["skipped"] * 8
    assert "lower learning rate" in failed[0].error


def test_parts_from_outside_the_package(path: Path, tmp_path: Path) -> None:
    path.write_text(
        RUN.replace(MLP, 'kind = "outside:dropout_net"')
        .replace('"mean_field"', '"module"')
        .replace('[training]\nepochs = 3\noptimizer = { kind = "adam", lr = 0.01 }\n', "")
        .replace('kind = "mean"', 'kind = "outside:noise_attack"')
    )
    rows = all_rows(run(read(path), out=tmp_path / "runs"))
    assert set(rows.attack) == {"none", "outside:noise_attack", "fgsm"}
    assert set(rows.model) == {"module"}


def test_settings_that_no_column_holds_are_in_the_name_of_the_attack(path: Path, tmp_path: Path) -> None:
    pgd = '[[attacks]]\nkind = "pgd"\nsteps = 2\ndraws = 2\nsweep.start = ["none", "uniform"]\n'
    path.write_text(RUN + pgd)
    folder = run(read(path), out=tmp_path / "runs")
    assert {"pgd", "pgd (start uniform)"} < set(all_rows(folder).attack)
    assert "PGD-2 (start uniform)" in report(folder).read_text(encoding="utf-8")


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with raises_sentence(r"unknown device 'gpu': did you mean 'cpu'?"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        with raises_sentence("torch finds no GPU: use --device cpu"):
            choose_device("cuda")


def test_progress_ends_at_the_number_of_units(path: Path, tmp_path: Path) -> None:
    calls: list[tuple[float, float, str]] = []
    run(read(path), out=tmp_path / "runs", progress=lambda *arguments: calls.append(arguments))
    done = [units for units, _, _ in calls]
    assert done == sorted(done)
    assert calls[-1][:2] == (9, 9)
    assert any(note.startswith("training: loss") for _, _, note in calls)
    assert "accuracy" in calls[-1][2]


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
    path.write_text(RUN.replace("[[attacks]]", ANALYSES + "[[attacks]]", 1))
    folder, messages = run(read(path), out=tmp_path / "runs"), list[str]()
    files = {read_rows(file)[1]["analysis"]: file for file in folder.glob("analyses/*.parquet")}
    agreement, times = (read_rows(files[kind])[0] for kind in ("gradient_agreement", "attack_time"))
    assert agreement.groupby("draws").size().to_dict() == {"1": 40 * 3, "mean": 40 * 3}
    assert set(agreement.model) == {"mean_field"}
    attacks = [attack.label for attack in read(path).config.attacks]
    assert times.attack.tolist() == attacks * 2
    assert set(load_run(folder).analyses) == {"gradient_agreement", "attack_time"}
    stamp = files["attack_time"].stat().st_mtime_ns
    truncate(files["gradient_agreement"])
    run(read(path), out=tmp_path / "runs", say=messages.append)
    assert files["gradient_agreement"].name in messages[0]
    pd.testing.assert_frame_equal(read_rows(files["gradient_agreement"])[0], agreement)
    assert files["attack_time"].stat().st_mtime_ns == stamp


def test_an_analysis_from_outside_the_package(path: Path, tmp_path: Path) -> None:
    path.write_text(RUN + '\n[[analyses]]\nkind = "outside:spread"\ndraws = 3\n')
    folder = run(read(path), out=tmp_path / "runs")
    assert not failed_units(folder)
    rows = load_run(folder).analyses["outside:spread"]
    assert (len(rows), bool((rows.spread > 0).all())) == (40, True)
    report(folder)


def test_training_that_was_killed_costs_what_all_of_it_cost(path: Path, tmp_path: Path) -> None:
    whole = run(read(path), out=tmp_path / "whole")
    run_and_interrupt(read(path), tmp_path / "cut", after=3)
    again = run(read(path), out=tmp_path / "cut")
    one, other = (record_of(folder).units[0] for folder in (whole, again))
    assert (one.forwards, one.gradients) == (other.forwards, other.gradients)
    assert one.forwards > 0


def test_a_training_is_evaluated_and_ends_with_the_selected_weights(path: Path, tmp_path: Path) -> None:
    folder = run(read_with_curves(path), out=tmp_path / "runs")
    (record,) = (read_record(file, ModelRecord) for file in folder.glob("models/*.json"))
    scores = [score for epoch in record.history for score in epoch.scores]
    assert [score.step for score in scores] == [3, 6, 9, 12]
    assert all([*score.right] == ["clean", "FGSM-1", "PGD-2"] and score.images == 40 for score in scores)
    assert record.gradients == 0
    assert scores[0].gradients == 40 + 2 * 2 * 40
    (best,) = [score for score in scores if score.selected]
    assert best.right["FGSM-1"] == max(score.right["FGSM-1"] for score in scores)
    assert failed_units(folder) == []
    first, second = curves_section(load_run(folder), []).tables
    assert (len(first.data), len(second.data)) == (4 * 3, 3)


def test_a_run_with_curves_that_was_killed_goes_on_to_the_same_weights(path: Path, tmp_path: Path) -> None:
    whole, recipe = run(read_with_curves(path), out=tmp_path / "whole"), read_with_curves(path)
    run_and_interrupt(recipe, tmp_path / "cut", after=9)
    again = run(recipe, out=tmp_path / "cut")
    weights = [[file.read_bytes() for file in folder.glob("models/*.safetensors")] for folder in (whole, again)]
    assert weights[0] == weights[1]


def test_another_network_of_the_same_name_is_another_run(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(RUN.replace(MLP, 'kind = "outside:stored_net"'))
    (tmp_path / "net").write_text("1.0")
    monkeypatch.setenv("STORED_NET", str(tmp_path / "net"))
    first = run(read(path), out=tmp_path / "runs")
    (tmp_path / "net").write_text("2.0")
    assert run(read(path), out=tmp_path / "runs") != first
    (tmp_path / "net").write_text("1.0")
    assert run(read(path), out=tmp_path / "runs") == first


def write_images(folder: Path, value: int) -> None:
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
    path.write_text(RUN.replace('"digits"', f'"{tmp_path / "pets"}"').replace("_limit = 200", "_limit = 40"))
    write_images(tmp_path / "pets", 50)
    first = run(read(path), out=tmp_path / "runs")
    write_images(tmp_path / "pets", 120)
    assert run(read(path), out=tmp_path / "runs") != first


LATENT = '\n[[attacks]]\nkind = "pgd"\nloss = "latent_shift"\nstart = "near"\ndraws = 1\nsteps = 2\n'
SHIFT = '\n[[analyses]]\nkind = "latent_shift"\neps = [0.1, 0.2]\ndraws = 3\n'


def test_an_auto_encoder_is_trained_and_attacked_at_its_latent(path: Path, tmp_path: Path) -> None:
    text = RUN.replace('"mlp"', '"vae"').replace("epochs = 3", 'epochs = 1\nobjective = { kind = "vae" }')
    path.write_text(text.replace("sweep.draws = [1, 4]", "draws = 1") + LATENT + SHIFT)
    folder = run(read(path, "evaluation.repeats=1"), out=tmp_path / "runs")
    assert not failed_units(folder)
    rows = load_run(folder).analyses["latent_shift"]
    assert rows.groupby(["attack", "eps"]).size().tolist() == [40] * 6


CHAINS = """
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


def test_chains_continue_another_model_and_store_their_states(tmp_path: Path) -> None:
    (tmp_path / "chains.toml").write_text(CHAINS, encoding="utf-8")

    def read_chains(*settings: str) -> Recipe:
        return read_recipe(str(tmp_path / "chains.toml"), settings=settings)

    folder = run(read_chains(), out=tmp_path / "runs", say=lambda message: None)
    weights = {path.stem.split("-")[0]: read_tensors(path)[1] for path in (folder / "models").glob("*.safetensors")}
    assert sum(name.startswith("stored") and name.endswith("1.weight") for name in weights["second"]) == 6
    moved = weights["second"]["chain0.1.weight"] - weights["first"]["1.weight"]
    assert 0 < moved.abs().max() < 0.1
    wrong = {
        "sweep.method.second.training.continues='frst'": "unknown model 'frst': did you mean 'first'",
        "sweep.method.first.training.continues='second'": "which continues it: one of them must start by itself",
        "sweep.method.second.training.burn_in=9": "burn_in must be at most the 4 minibatches of this training; got 9",
        "training.burn_in=1": "a 'deterministic' model stores no states: burn_in is for a 'chain'",
        "sweep.method.second.network.widths=[9]": "second continues 'first': a network of another architecture",
    }
    for setting, message in wrong.items():
        with raises_sentence(message):
            run(read_chains(setting), out=tmp_path / "wrong", say=lambda message: None)
    assert not list(tmp_path.glob("wrong/*/models"))
