"""Sweeps are grids of models, attacks and analyses, whose labels tell the points apart."""

from pathlib import Path

import pytest
from small_recipes import RESOLVED

from oracles import raises_sentence
from unshaken.runs.recipe import read_recipe
from unshaken.runs.settings import ModelConfig


def models_of(recipe: str, *settings: str) -> list[ModelConfig]:
    return read_recipe(recipe, settings=settings).config.models


def test_a_sweep_is_a_grid_and_labels_tell_its_points_apart(recipe: str) -> None:
    labels = [attack.label for attack in read_recipe(recipe).config.attacks]
    assert labels == ["MEAN", "PGD-1 (norm linf)", "PGD-1 (norm l2)", "PGD-5 (norm linf)", "PGD-5 (norm l2)"]


def test_several_seeds_are_several_models_of_one_group(recipe: str) -> None:
    config = read_recipe(recipe, settings=["seed=[3, 5]", 'sweep."network.widths"=[[4], [8]]']).config
    assert config.seed == 3
    assert [model.seed for model in config.models] == [3, 5, 3, 5]
    assert [model.label for model in config.models[:2]] == [
        "mean_field, widths [4], seed 3",
        "mean_field, widths [4], seed 5",
    ]
    assert len({model.group for model in config.models}) == 2
    (only,) = models_of(recipe, "seed=[3]")
    assert (only.label, only.seed, only.group) == ("mean_field", 3, None)


def test_a_sweep_over_models(recipe: str) -> None:
    Path(recipe).write_text(RESOLVED + '\n[sweep]\n"model.prior_scale" = [0.1, 1.0]\n')
    models = models_of(recipe)
    assert [model.label for model in models] == ["mean_field, prior_scale 0.1", "mean_field, prior_scale 1.0"]
    assert [model.model.get("prior_scale") for model in models] == [0.1, 1.0]


ADVERSARIAL = '{ kind = "adversarial", eps = "8/255", attack = { kind = "pgd", draws = 2 } }'
NAMED = f"""
[sweep."training.inputs"]
none = {{ kind = "clean" }}
PGD-2 = {ADVERSARIAL}
[sweep.prior]
wide = {{ model = {{ prior_scale = 3.0 }}, training = {{ epochs = 9 }} }}
"""


def test_a_sweep_of_names_labels_the_models_and_may_change_several_sections(recipe: str) -> None:
    Path(recipe).write_text(RESOLVED + NAMED)
    models = models_of(recipe)
    assert [model.label for model in models] == ["none, wide", "PGD-2, wide"]
    assert [model.model.get("prior_scale") for model in models] == [3.0, 3.0]
    assert [model.training.epochs for model in models] == [9, 9]
    inputs = models[1].training.inputs
    assert (inputs.get("eps"), inputs.get("probability")) == (8 / 255, 0.3)
    attack = inputs.get("attack")
    assert attack.kind == "pgd"
    assert (attack.get("draws"), attack.get("steps"), attack.get("loss")) == (2, 10, "log_error")
    assert "eps" not in attack.arguments


def test_a_sweep_of_names_and_one_of_values(recipe: str) -> None:
    Path(recipe).write_text(RESOLVED + '\n[sweep]\n"model.prior_scale" = [0.1, 1.0]\n' + NAMED)
    labels = [model.label for model in models_of(recipe)]
    assert labels[0] == "mean_field, prior_scale 0.1, none, wide"
    assert len(labels) == 4


def test_a_named_point_of_a_sweep_may_be_set(recipe: str) -> None:
    Path(recipe).write_text(RESOLVED + NAMED)
    models = models_of(recipe, 'sweep."training.inputs".PGD-2.eps=0.2')
    assert models[1].training.inputs.get("eps") == 0.2


def test_analyses_are_parts_and_attacks_are_then_optional(recipe: str) -> None:
    text = RESOLVED[: RESOLVED.index("[[attacks]]")] + RESOLVED[RESOLVED.index("[presets.sgd]") :]
    analyses = '[[analyses]]\nkind = "gradient_agreement"\nsweep.loss = ["cw", "log_error"]\n'
    Path(recipe).write_text(text + analyses)
    config = read_recipe(recipe, settings=["analyses.reference=7"]).config
    assert config.attacks == []
    assert [analysis.label for analysis in config.analyses] == [
        "gradient agreement, loss cw",
        "gradient agreement, loss log_error",
    ]
    assert [analysis.settings.get("reference") for analysis in config.analyses] == [7, 7]
    assert config.analyses[0].settings.get("draws") == [1, 5, 10, 20, "mean", "moments"]


def test_an_analysis_of_attacks_needs_attacks(recipe: str) -> None:
    text = RESOLVED.split("[[attacks]]")[0] + '[[analyses]]\nkind = "conditions"\neps = [0.1]\n'
    Path(recipe).write_text(text)
    with raises_sentence(r"conditions is of attacks: \[\[attacks\]\] is missing"):
        read_recipe(recipe)


def test_restarts_have_a_column_and_are_in_the_label_alone(recipe: str) -> None:
    settings = ["attacks.start=uniform", "attacks.norm=linf", "attacks.draws=2", "attacks.sweep.restarts=[1, 5]"]
    attacks = read_recipe(recipe, settings=settings).config.attacks
    names = [(attack.name, attack.label) for attack in attacks if attack.settings.kind == "pgd"][:2]
    assert names == [("pgd", "PGD-2 (restarts 1)"), ("pgd", "PGD-2 (restarts 5)")]


def test_shares_of_255_are_written_as_such(recipe: str) -> None:
    settings = 'attacks=[{kind="pgd", sweep={step_size=["2/255", "0.5/255", 0.1, 0.123456789]}}]'
    labels = [attack.label for attack in read_recipe(recipe, settings=[settings]).config.attacks]
    assert [label.split("step_size ")[1].rstrip(")") for label in labels] == [
        "2/255", "0.5/255", "0.1", "0.123456789"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("evaluation.eps=[]", "eps is an empty list"),
        ("evaluation.eps=[8]", r"eps 8 is larger than the whole input box; is 8/255 meant\?"),
        ("evaluation.eps=[0.1, 0.1]", "eps has a size twice"),
        ("training=false", r"\[training\] must be a table of settings; got False"),
        ("attacks=[5]", r"\[\[attacks\]\] must be a list of one attack or more"),
        ("attacks.sweep.draws=[1, 1]", "two attacks are the same: "),
        ("attacks.restarts=2", "restarts start anew: 2 of them need a random start, such as 'uniform', not 'none'"),
        ("analyses=5", r"\[\[analyses\]\] must be a list of analyses"),
        ("sweep=5", r"\[sweep\]: expected a table of settings, got 5"),
        ("sweep.replica=[0]", "replica must be a whole number, 1 or more; got 0"),
    ],
)
def test_a_wrong_sweep_is_answered_in_one_sentence(recipe: str, setting: str, message: str) -> None:
    with raises_sentence(message):
        read_recipe(recipe, settings=[setting])
