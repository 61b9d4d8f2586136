"""`explain` on a run: its own attack, its own draws, and inputs that are there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from oracles import raises_sentence
from unshaken.report.explain import explain
from unshaken.report.stored_run import load_run
from unshaken.runs.recipe import read_recipe
from unshaken.runs.run import run

RECIPE = """
[data]
name = "digits"
train_limit = 400
test_limit = 30
[network]
kind = "mlp"
widths = [16]
[model]
kind = "smoothing"
sigma = 0.2
base = { kind = "matrix_gaussian" }
[training]
epochs = 6
optimizer = { kind = "adam", lr = 0.01 }
[evaluation]
eps = [0.5, 1.0]
draws = 10
repeats = 1
[[attacks]]
kind = "fgm"
draws = 5
[[attacks]]
kind = "pgd"
norm = "l2"
steps = 2
draws = 2
start = "uniform"
"""


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    (folder / "small.toml").write_text(RECIPE)
    return run(read_recipe(str(folder / "small.toml")), out=folder / "runs")


@pytest.fixture
def folder(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / finished_run.name))


@pytest.mark.parametrize("attack", ["FGM-5", "PGD-2"])
def test_what_it_says_of_an_input_is_what_the_run_found(folder, attack):
    lines: list[str] = []
    rows = load_run(folder).rows
    attacked = rows[(rows.eps == 1.0) & (rows.role == "sweep") & (rows.attack_draws == attack[-1])].set_index("index")
    clean = rows[rows.attack == "none"].set_index("index")
    inputs = [*attacked.index[attacked.correct][:3], *attacked.index[~attacked.correct][:5]]
    page = explain(folder, inputs=inputs, attack=attack, eps=1.0, say=lines.append)
    for index, line in zip(inputs, lines, strict=True):
        stood, right = bool(attacked.correct[index]), bool(clean.correct[index])
        assert line.startswith(f"input {index} {'wrong before' if not right else 'stood' if stood else 'fell'}")
    assert {"stood", "fell"} <= {line.split()[2].rstrip(".") for line in lines}
    text = page.read_text()
    assert page == folder / "explain.html"
    assert text.count("<section") == 8
    assert "smooth distance" in text
    assert (folder / "explain" / f"input-{inputs[-1]}.png").exists()


def test_an_input_is_explained_alike_alone_and_among_others(folder):
    together: list[str] = []
    alone: list[str] = []
    explain(folder, inputs=range(4), attack="PGD-2", eps=1.0, say=together.append)
    explain(folder, inputs=[3, 1], attack="PGD-2", eps=1.0, say=alone.append)
    assert alone == [together[3], together[1]]


def test_by_default_it_shows_some_that_fell_and_some_that_stood(folder):
    lines: list[str] = []
    explain(folder, say=lines.append)
    assert {line.split()[2].rstrip(".") for line in lines} == {"fell", "stood"}
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputs": [30]}, "there is no input 30: the run has 30 of them, from 0 to 29"),
        ({"inputs": [-1]}, "there is no input -1"),
        ({"model": "smothing"}, "unknown model 'smothing': did you mean 'smoothing'"),
        ({"attack": "FGM-6"}, "unknown attack 'FGM-6': did you mean 'FGM-5'"),
        ({"eps": 0.7}, "was not run with eps 0.7; choose one of: 0.5, 1"),
    ],
)
def test_what_is_not_there_is_answered_in_a_sentence(folder, settings, message):
    with pytest.raises(ValueError, match=message):
        explain(folder, **settings)


def test_a_foreign_run_is_refused_in_a_sentence(folder):
    (folder / "run.json").write_text('{"name": "small", "recipe": {}, "units": []}')
    with raises_sentence("run.json"):
        explain(folder)


def test_a_run_that_is_none_or_has_no_model_or_other_images_is_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a run"):
        explain(tmp_path)
    about = (folder / "run.json").read_text()
    (folder / "run.json").write_text(about.replace('"test_limit": 30', '"test_limit": 29'))
    with pytest.raises(ValueError, match="was made with other test images than 'digits' has now"):
        explain(folder)
    (folder / "run.json").write_text(about)
    next((folder / "models").glob("*.safetensors")).unlink()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        explain(folder)


CHAINS = """
[data]
name = "digits"
train_limit = 200
test_limit = 20
[network]
kind = "vae"
latent = 4
widths = [32]
[model]
kind = "chain"
chains = 3
[training]
epochs = 20
objective = { kind = "vae", label_weight = 10.0 }
optimizer = { kind = "sgadald", lr = 0.05, friction = "matched", temperature = 1e-5 }
[evaluation]
eps = [0.1]
draws = 3
repeats = 1
[[attacks]]
kind = "pgd"
loss = "latent_shift"
start = "near"
steps = 2
draws = 3
[[attacks]]
kind = "fgsm"
draws = 3
"""


def test_chains_of_an_auto_encoder_are_explained_by_the_attack_on_their_label(tmp_path):
    (tmp_path / "chains.toml").write_text(CHAINS)
    folder = run(read_recipe(str(tmp_path / "chains.toml")), out=tmp_path / "runs", say=lambda line: None)
    rows = load_run(folder).rows
    clean = rows[rows.attack == "none"].set_index("index")
    right = clean.index[clean.correct][:2].tolist()
    lines: list[str] = []
    page = explain(folder, inputs=right, say=lines.append)
    assert "FGSM-3 on chain" in page.read_text(), "not the attack on the latent, which comes first"
    stood = rows[(rows.attack == "fgsm") & (rows.role == "sweep")].set_index("index").correct
    outcomes = [f"input {index} {'stood' if stood[index] else 'fell'}" for index in right]
    assert [line.partition(".")[0] for line in lines] == outcomes
    assert len(outcomes) == 2
