"""Parts are functions with arguments: signatures are the schema, and each error names what is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_recipes import RESOLVED

from oracles import raises_sentence
from unshaken.analysis import ANALYSES
from unshaken.attacks import ATTACKS
from unshaken.models import MADE_OF, MODELS
from unshaken.networks import NETWORKS
from unshaken.runs.parts import Part, build, describe, resolve_part, settable
from unshaken.runs.recipe import read_recipe
from unshaken.training import AUGMENTS, INPUTS, OBJECTIVES, SCHEDULES

TABLES = {
    "attacks": ATTACKS,
    "inputs": INPUTS,
    "objectives": OBJECTIVES,
    "models": MODELS,
    "made_of": MADE_OF,
    "networks": NETWORKS,
    "analyses": ANALYSES,
    "augments": AUGMENTS,
    "schedules": SCHEDULES,
}


@pytest.mark.parametrize(("table", "kind"), [(table, kind) for table in TABLES for kind in TABLES[table]])
def test_every_argument_says_what_a_recipe_may_write(table: str, kind: str) -> None:
    for argument in settable(TABLES[table][kind], TABLES[table]).values():
        if argument.table is None:
            assert argument.plain is not Any, f"the type of {argument.name} says nothing"
            assert describe(argument.plain) != describe(object), argument.name


def test_a_model_may_be_made_of_another(recipe: str) -> None:
    settings = ['model={kind="smoothing", sigma=0.5, base={kind="matrix_gaussian"}}']
    assert read_recipe(recipe, settings=settings).config.models[0].model.model_dump() == {
        "kind": "smoothing",
        "sigma": 0.5,
        "noises": 1,
        "base": {"kind": "matrix_gaussian", "prior_scale": 1.0, "initial_log_variance": -3.0},
    }


def test_schedule_and_augment_are_parts(recipe: str) -> None:
    settings = ['training.schedule={kind="steps", at=[1]}', 'training.augment={kind="crop_flip", padding=2}']
    training = read_recipe(recipe, settings=settings).config.models[0].training
    assert training.schedule == Part(kind="steps", arguments={"at": [1], "factor": 0.2})
    assert training.augment == Part(kind="crop_flip", arguments={"padding": 2, "flip": 0.5})


def test_an_attack_may_have_a_default_of_its_own(recipe: str) -> None:
    Path(recipe).write_text(RESOLVED.replace('kind = "mean"', 'kind = "moments"'))
    assert read_recipe(recipe).config.attacks[0].settings.get("loss") == "cw"
    assert read_recipe(recipe, settings=["attacks.loss=margin"]).config.attacks[0].settings.get("loss") == "margin"


def test_parts_from_outside_the_package(recipe: str) -> None:
    config = read_recipe(recipe, settings=["network.kind=unshaken.networks:mlp"]).config
    assert config.models[0].network == Part(kind="unshaken.networks:mlp", arguments={"widths": [128, 128]})


def test_an_argument_that_any_function_of_the_table_is_supplied_with_cannot_be_set() -> None:
    part = resolve_part("attack", ATTACKS, {"kind": "outside:noise_attack"})
    assert part.arguments == {"draws": 1, "loss": "cw"}


def test_a_resolved_attack_knows_what_its_kind_fixes(recipe: str) -> None:
    mean = read_recipe(recipe).config.attacks[0]
    assert "draws" not in mean.settings.arguments
    assert mean.arguments["draws"] == "mean"
    assert build(ATTACKS, Part(kind="fgsm", arguments={"draws": 3})).keywords["draws"] == 3


def test_a_part_is_written_flat_and_read_again() -> None:
    settings = {"kind": "smoothing", "sigma": 1, "base": {"kind": "mean_field"}}
    part = resolve_part("[model]", MODELS, settings)
    assert isinstance(part.get("base"), Part)
    assert part.model_dump()["base"]["kind"] == "mean_field"
    assert Part.model_validate(part.model_dump(mode="json")) == part


@pytest.mark.parametrize(("steps", "resolved"), [(20, 20), (20.0, 20), (1e3, 1000)])
def test_a_whole_number_may_be_written_as_any_number(steps: float, resolved: int) -> None:
    steps = resolve_part("attack", ATTACKS, {"kind": "pgd", "steps": steps}).get("steps")
    assert (steps, type(steps)) == (resolved, int)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.kind=mean_feild", r"\[model\]: unknown kind 'mean_feild': did you mean 'mean_field'?"),
        ("model.kind=5", r"\[model\]: unknown kind 5: choose one of: chain, deterministic"),
        ("model.kind=['chain']", r"\[model\]: unknown kind \['chain'\]: did you mean 'chain'?"),
        ("model.kind=os:sep", "kind 'os:sep' names no function"),
        ("network.kind=nowhere:net", "cannot import kind 'nowhere:net'"),
        ("model.prior_scael=1", r"\[model\]: unknown setting 'prior_scael': did you mean 'prior_scale'?"),
        ("model.prior_scale=-1", r"\[model\]: prior_scale must be a number above 0; got -1"),
        ("model.initial=gausian", "unknown initial 'gausian': did you mean 'gaussian'?"),
        ('model={kind="smoothing", sigma=0}', "sigma must be a number above 0; got 0"),
        ('model={kind="smoothing", sigma=1, base={kind="dropuot"}}', "unknown kind 'dropuot': did you mean 'dropout'"),
        ("network.widths=5", "widths must be a list in which each entry is a whole number, 1 or more; got 5"),
        ("network.widths=[8, 0]", r"\[network\]: each entry of widths must be a whole number, 1 or more; got 0"),
        ("training.optimizer.lrr=1", r"\[training\]: optimizer: unknown setting 'lrr': did you mean 'lr'?"),
        ("training.optimizer.kind=adan", "unknown kind 'adan': did you mean 'adam'?"),
        ("training.optimizer.betas=[0.9]", r"betas must be a list of 2 in which each entry is a number; got \[0.9\]"),
        ("training.epochs=0", "epochs must be a whole number, 1 or more; got 0"),
        ("training.epochs=many", "epochs must be a whole number, 1 or more; got 'many'"),
        ("training.epochs=1.5", "epochs must be a whole number, 1 or more; got 1.5"),
        ("training.epochs=true", "epochs must be a whole number, 1 or more; got True"),
        ("training.objective=elbo", r"objective: expected a part \{ kind = ... \}, got 'elbo'"),
        ('training.inputs={kind="adversarial"}', r"\[training\]: inputs: 'eps' is missing"),
        ('training.inputs={kind="adversarial", eps=-1}', "inputs: eps must be a finite number, 0 or more; got -1"),
        (
            'training.inputs={kind="adversarial", eps=0.1, probability=1.5}',
            "probability must be a number from 0 to 1; got 1.5",
        ),
        (
            'training.inputs={kind="adversarial", eps=0.1, attack={kind="means"}}',
            "inputs: attack: unknown kind 'means': did you mean 'mean'?",
        ),
        (
            'training.inputs={kind="adversarial", eps=0.1, attack={kind="mean", eps=0.1}}',
            "attack: unknown setting 'eps'",
        ),
        ('training.inputs={kind="variable_noise", size=1, noise="gausian"}', "did you mean 'gaussian'"),
        ('training.objective={kind="elbo", kl_scale=-1}', "kl_scale must be a finite number, 0 or more; got -1"),
        ('training.objective={kind="elbo", kl_scale=nan}', "kl_scale must be a finite number, 0 or more; got nan"),
        ('training.objective={kind="mixture", kl_weight=-1}', "kl_weight must be a finite number, 0 or more; got -1"),
        ("attacks.loss=log_eror", "unknown loss 'log_eror': did you mean 'log_error'?"),
        ("attacks.norm=l22", "unknown norm 'l22': did you mean 'l2'?"),
        ("attacks.draws=meen", "unknown draws 'meen': did you mean 'mean'?"),
        ("attacks.draws=0", "draws must be a whole number, 1 or more, or one of all, mean, moments; got 0"),
        ("attacks.draws=five", "draws must be a whole number, 1 or more, or one of all, mean, moments; got 'five'"),
        ("attacks.steps=0", r"\[\[attacks\]\] number 2: steps must be a whole number, 1 or more; got 0"),
        ("attacks.step_size=0", "step_size must be a number above 0; got 0"),
        ('analyses=[{kind="agreement"}]', r"\[\[analyses\]\] number 1: unknown kind 'agreement'"),
        ('analyses=[{kind="gradient_agreement", draws=[1, "meen"]}]', "unknown draws 'meen': did you mean 'mean'?"),
        (
            'analyses=[{kind="gradient_agreement", draws=[1, 0]}]',
            "each entry of draws must be a whole number, 1 or more, or one of all, mean, moments; got 0",
        ),
        ('analyses=[{kind="gradient_agreement", zeros="bot"}]', "unknown zeros 'bot': did you mean 'both'?"),
        ('analyses=[{kind="attack_time", rounds=0}]', "rounds must be a whole number, 1 or more; got 0"),
        (
            'analyses=[{kind="conditions", eps=[1], smoothness=0}]',
            "smoothness must be a number above 0, or one of published, tight; got 0",
        ),
        (
            'analyses=[{kind="conditions", eps=[1], smoothness="tigt"}]',
            "unknown smoothness 'tigt': did you mean 'tight'",
        ),
    ],
)
def test_a_wrong_part_is_answered_in_one_sentence(recipe: str, setting: str, message: str) -> None:
    with raises_sentence(message):
        read_recipe(recipe, settings=[setting])
