"""Recipes are read strictly, from a file, another recipe, a preset and the command line."""

from pathlib import Path

import pytest
from small_recipes import RESOLVED

from oracles import raises_sentence
from unshaken.runs.recipe import find_recipe, read_recipe, recipe_paths


@pytest.mark.parametrize("name", recipe_paths())
@pytest.mark.parametrize("preset", [None, "smoke"])
def test_every_recipe_that_comes_with_the_package_resolves(name: str, preset: str | None) -> None:
    assert read_recipe(name, preset=preset).config.title


def test_a_recipe_may_begin_with_another(recipe: str) -> None:
    other = Path(recipe).with_name("other.toml")
    other.write_text(
        f'title = "Mine"\nlike = "{recipe}"\n[evaluation]\ndraws = 3\n[presets.smoke]\ntraining.epochs = 9\n'
    )
    config = read_recipe(str(other), preset="smoke").config
    assert (config.title, config.evaluation.draws, config.evaluation.repeats) == ("Mine", 3, 3)
    assert config.models[0].training.epochs == 9
    assert [attack.settings.kind for attack in config.attacks] == ["mean", *["pgd"] * 4]
    other.write_text(f'like = "{other}"\n')
    with raises_sentence("like goes in a circle: other → other"):
        read_recipe(str(other))
    other.write_text('title = "Mine"\nlike = "mine"\n')
    assert read_recipe(str(other)).config.title == "Mine"
    other.write_text("like = 5\n")
    with raises_sentence("like must name another recipe; got 5"):
        read_recipe(str(other))
    other.write_text('like = "no_such"\n')
    with raises_sentence("no recipe 'no_such'", FileNotFoundError):
        read_recipe(str(other))


def test_a_recipe_that_is_like_another_publishes_nothing_of_it(recipe: str) -> None:
    Path(recipe).write_text(RESOLVED + "[paper]\nsource = 'Table 1'\n")
    other = Path(recipe).with_name("other.toml")
    other.write_text('like = "mine"\n')
    assert read_recipe(recipe).config.paper.source == "Table 1"
    assert read_recipe(str(other)).config.paper.source == ""


def test_a_preset_overrides_and_a_setting_overrides_the_preset(recipe: str) -> None:
    config = read_recipe(recipe, preset="smoke", settings=["training.epochs=9", "attacks.draws=3"]).config
    assert config.models[0].training.epochs == 9
    assert [attack.settings.get("steps") for attack in config.attacks] == [None, 2, 2]
    assert [attack.settings.get("draws") for attack in config.attacks] == [None, 3, 3]


def test_a_mark_of_byte_order_is_no_content(recipe: str) -> None:
    Path(recipe).write_text(RESOLVED, encoding="utf-8-sig")
    assert read_recipe(recipe).config.title == "A test"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("attacks", "--set needs section.word=value"),
        ("=1", "--set needs section.word=value"),
        ("a b=1", "'a b' is no path of words"),
    ],
)
def test_what_is_no_setting_is_answered_in_one_sentence(recipe: str, setting: str, message: str) -> None:
    with raises_sentence(message):
        read_recipe(recipe, settings=[setting])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = [", "is not valid TOML"),
        (RESOLVED.replace("[data]", "[dat]"), "unknown section 'dat': did you mean 'data'?"),
        (RESOLVED.replace('[network]\nkind = "mlp"\nwidths = [8]\n', ""), r"section \[network\] is missing"),
        (RESOLVED.replace('kind = "mlp"', ""), r"\[network\]: expected a part"),
        (RESOLVED.replace('name = "digits"', ""), r"\[data\]: 'name' is missing"),
        (RESOLVED + "[sweep]\nprior = [1, 2]", r"\[sweep\]: unknown section 'prior'"),
        (
            RESOLVED + '[sweep]\n"model.prior_scale" = 2',
            "a sweep needs a list of values for 'model.prior_scale', or a table",
        ),
        (
            RESOLVED + "[sweep.prior]\nwide = { modl = {} }",
            r"\[sweep.prior\]: unknown section 'modl': did you mean 'model'?",
        ),
        (RESOLVED.replace("[1, 5]", "5"), "a sweep needs a list of values for 'draws'; got 5"),
        ("x = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    ],
)
def test_a_wrong_file(recipe: str, text: str, message: str) -> None:
    Path(recipe).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_recipe(recipe)


def test_an_unknown_preset_or_recipe_names_the_nearest(recipe: str) -> None:
    with raises_sentence(r"unknown preset of mine.toml 'smok': did you mean 'smoke'?"):
        read_recipe(recipe, preset="smok")
    with raises_sentence(r"no recipe 'demmo': did you mean 'demo'?", FileNotFoundError):
        find_recipe("demmo")
    Path(recipe).write_text(RESOLVED[: RESOLVED.index("[presets.smoke]")])
    with raises_sentence("mine.toml has no presets; got 'smoke'"):
        read_recipe(recipe, preset="smoke")
