"""Plans: the units of a recipe, named by what their results depend on."""

from dataclasses import replace
from pathlib import Path

from small_recipes import read, read_with_curves

from unshaken.runs.plan import plan
from unshaken.runs.recipe import Recipe
from unshaken.runs.units import AnalysisUnit, Fingerprint

INPUTS = Fingerprint(images={"train": "t", "test": "x", "validation": "a"}, networks=["n"], version="1")


def test_units_are_in_the_order_in_which_they_are_needed(path: Path) -> None:
    units = plan(read(path))
    assert [unit.kind for unit in units] == ["train", *["attack"] * 8]
    assert [unit.label for unit in units[1:5]] == [
        f"mean_field {attack} r0" for attack in ("clean", "MEAN", "FGSM-1", "FGSM-4")
    ]


def test_more_repeats_or_attacks_keep_what_another_run_would_compute(path: Path) -> None:
    few, many = ({u.name for u in plan(read(path, f"evaluation.repeats={n}"))} for n in (2, 3))
    assert few < many


def test_other_data_change_every_unit_and_other_test_images_no_model(path: Path) -> None:
    recipe = read(path)
    before = plan(recipe, INPUTS)
    train, test = (plan(recipe, replace(INPUTS, images=INPUTS.images | {split: "z"})) for split in ("train", "test"))
    assert not {unit.name for unit in before} & {unit.name for unit in train}
    assert {unit.name for unit in before} & {unit.name for unit in test} == {before[0].name}


def test_only_an_analysis_of_attacks_depends_on_them(path: Path) -> None:
    analyses = 'analyses=[{kind="gradient_agreement"}, {kind="conditions", eps=[0.1]}]'
    units = [unit for unit in plan(read(path, analyses)) if isinstance(unit, AnalysisUnit)]
    assert [len(unit.attacks) for unit in units] == [0, 3]


def test_curves_are_part_of_the_training_where_there_are_some_and_their_drawing_is_not(path: Path) -> None:
    def digest(recipe: Recipe, images: str = "a") -> str:
        return plan(recipe, replace(INPUTS, images=INPUTS.images | {"validation": images}))[0].digest

    bare = digest(read(path))
    base = digest(read_with_curves(path))
    assert digest(read_with_curves(path, "curves.smooth=3")) == base
    others = [read_with_curves(path, s) for s in ("curves.every=4", "curves.select=none", "evaluation.rule=vote")]
    assert len({bare, base, digest(read_with_curves(path), "b"), *map(digest, others)}) == 6
