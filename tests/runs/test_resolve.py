"""A resolved recipe has every setting, also the defaults, and each of the right type."""

from pathlib import Path

import pytest
from small_recipes import RESOLVED

from oracles import raises_sentence
from unshaken.runs.parts import Part
from unshaken.runs.recipe import read_recipe


def test_defaults_are_written_out_and_fractions_are_numbers(recipe: str) -> None:
    config = read_recipe(recipe).config
    assert config.attacks[0].eps == [0.1, 8 / 255]
    assert (config.data.grey, config.data.held_out, config.data.validation) == (False, None, None)
    assert vars(config.evaluation) == {
        "eps": [0.1, 8 / 255],
        "draws": 7,
        "repeats": 3,
        "rule": "probability",
        "batch_size": 256,
    }
    training = config.models[0].training
    assert training.objective == Part(kind="elbo", arguments={"draws": 1, "kl_scale": 1.0})
    assert training.inputs == Part(kind="clean")
    assert training.batch_size == 100
    assert config.curves is None


CURVES = "curves={every=5, select='FGSM-1', attacks=[{kind='fgsm', draws=1, eps=['8/255']}, {kind='mean', eps=[0.1]}]}"


def test_curves_have_attacks_of_one_size_each(recipe: str) -> None:
    config = read_recipe(recipe, settings=["data.validation=0.1", CURVES]).config
    assert config.data.validation == 0.1
    curves = config.curves
    assert (curves.every, curves.split, curves.limit, curves.draws) == (5, "validation", None, 10)
    assert (curves.select, curves.smooth) == ("FGSM-1", 1)
    assert [(attack.label, attack.eps) for attack in curves.attacks] == [("FGSM-1", [8 / 255]), ("MEAN", [0.1])]
    assert read_recipe(recipe, settings=["curves={every=5, split='test'}"]).config.curves.attacks == []


def test_unlabelled_images_may_lie_behind_those_that_are_kept_for_validation(recipe: str) -> None:
    data = "data={name='digits', train_limit=50, validation=0.1, unlabelled={name='digits', skip=50}}"
    assert read_recipe(recipe, settings=[data]).config.data.unlabelled.skip == 50
    for other in (data.replace("skip=50", "skip=50, seed=1"), data.replace("skip=50", "skip=49")):
        with raises_sentence("its images must not be those of"):
            read_recipe(recipe, settings=[other])


def test_weights_of_one_step_are_not_selected_from_a_chain_of_many(recipe: str) -> None:
    settings = ["model={kind='chain'}", "training.burn_in=3", "attacks=[{kind='fgsm', draws=1}]"]
    curves = "curves={every=5, split='test', select='%s'}"
    assert read_recipe(recipe, settings=[*settings, curves % "none"]).config.curves
    with raises_sentence("select must be 'none' with burn_in: such a model is made of states of many"):
        read_recipe(recipe, settings=[*settings, curves % "clean"])


def test_curves_of_no_training_are_refused(recipe: str) -> None:
    training = '[training]\nepochs = 2\noptimizer = { kind = "adam", lr = 0.01 }\n'
    Path(recipe).write_text(RESOLVED.replace(training, ""))
    with raises_sentence(r"\[curves\]: section \[training\] is missing: no model is trained"):
        read_recipe(recipe, settings=["curves={every=5, split='test'}"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("attack.steps=3", "unknown section 'attack': did you mean 'attacks'?"),
        ("atacks.steps=3", "unknown section 'atacks': did you mean 'attacks'?"),
        ("title=5", "title must be text; got 5"),
        ("seed=abc", "seed must be a whole number, or a list of them; got 'abc'"),
        ("seed=[0, 0]", "two seeds are the same: 0"),
        ("seed=[]", r"seed must be a whole number, or a list of them; got \[\]"),
        ("seed=true", "seed must be a whole number, or a list of them; got True"),
        ("evaluation=5", r"\[evaluation\]: expected a table of settings, got 5"),
        ("evaluation.eps=0.1", "eps must be a list in which each entry is a finite number, 0 or more; got 0.1"),
        ("evaluation.eps=[-0.1]", "each entry of eps must be a finite number, 0 or more; got -0.1"),
        ("evaluation.eps=[nan]", "each entry of eps must be a finite number, 0 or more; got nan"),
        ("evaluation.draws=true", "draws must be a whole number, 1 or more, or 'all'; got True"),
        ("evaluation.draws=0", "draws must be a whole number, 1 or more, or 'all'; got 0"),
        ("evaluation.draws=mean", "draws must be a whole number, 1 or more, or 'all'; got 'mean'"),
        ("evaluation.rule=probabilty", r"\[evaluation\]: unknown rule 'probabilty': did you mean 'probability'?"),
        ("data=5", r"\[data\]: expected a table of settings, got 5"),
        ("data.nam=x", r"\[data\]: unknown setting 'nam': did you mean 'name'?"),
        ("data.gray=true", r"\[data\]: unknown setting 'gray': did you mean 'grey'?"),
        ("data.grey=mean", r"\[data\]: grey must be true or false; got 'mean'"),
        ("data.held_out=0", r"\[data\]: held_out must be a number above 0 and below 1; got 0"),
        ("data.held_out=25", "held_out must be a number above 0 and below 1; got 25"),
        ("data.held_out=true", "held_out must be a number above 0 and below 1; got True"),
        ("data.validation=1", r"\[data\]: validation must be a number above 0 and below 1; got 1"),
        ("data.size=[3, 0]", r"\[data\]: each entry of size must be a whole number, 1 or more; got 0"),
        ("curves.evry=5", r"\[curves\]: unknown setting 'evry': did you mean 'every'?"),
        ("curves.draws=5", r"\[curves\]: 'every' is missing"),
        ("curves.every=0", "every must be a whole number, 1 or more; got 0"),
        ("curves={every=5, limit=0}", "limit must be a whole number, 1 or more; got 0"),
        ("curves={every=5, split='test', smooth=4}", "smooth must be odd, to have a middle; got 4"),
        ("curves.every=5", r"split 'validation' needs a share of the training images: set validation in \[data\]"),
        ("curves={every=5, split='tset'}", r"\[curves\]: unknown split 'tset': did you mean 'test'?"),
        (
            "curves={every=5, split='test', select='PDG-1'}",
            "unknown attack to select by 'PDG-1': choose one of: clean, n",
        ),
        ("curves={every=5, split='test', attacks=[{kind='pgdd'}]}", r"\[\[curves.attacks\]\] number 1: unknown kind"),
        (
            "curves={every=5, split='test', attacks=[{kind='fgsm', draws=1}]}",
            r"FGSM-1 must have one eps, such as \[0.1\]",
        ),
        (
            "curves={every=5, split='test', attacks=[{kind='fgsm', eps=0.1}]}",
            "eps must be a list of perturbation sizes",
        ),
        (
            "data={name='digits', validation=0.1, unlabelled={name='digits', skip=5}}",
            r"its images must not be those of \[data\] validation: .* train_limit of \[data\]; got skip 5",
        ),
    ],
)
def test_a_wrong_section_is_answered_in_one_sentence(recipe: str, setting: str, message: str) -> None:
    with raises_sentence(message):
        read_recipe(recipe, settings=[setting])
