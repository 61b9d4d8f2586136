"""[paper] is checked when the recipe is read."""

from pathlib import Path

import pytest
from small_recipes import RESOLVED

from oracles import raises_sentence
from unshaken.runs.published import Published, PublishedAccuracy, PublishedFlatness, PublishedLengths
from unshaken.runs.recipe import read_recipe


def published(recipe: str, paper: str) -> Published:
    Path(recipe).write_text(RESOLVED + paper)
    return read_recipe(recipe).config.paper


@pytest.mark.parametrize(("preset", "same_size"), [("paper", True), ("laptop", False), ("paper_mnist", False)])
def test_published_flatness_stands_beside_the_published_noise_alone(preset: str, same_size: bool) -> None:
    config = read_recipe("constant_flatness", preset=preset).config
    sizes = {entry.size for entry in config.paper.flatness.values()}
    assert (sizes == {config.analyses[0].settings.get("size")}) == same_size


def test_published_values_are_typed(recipe: str) -> None:
    paper = """
[paper]
source = "Table 1"
eps = "8/255"
[[paper.accuracy]]
model = "BNN"
attack = "PGD"
eps = 0.1
value = 0.5
[paper.flatness.BNN]
mean = 1
variance = 0.5
[paper.length.BNN]
eps = 0.2
FGSM-1 = 1
[paper.inference.BNN]
10 = 0.9
[paper.time.mnist]
FGSM-1 = 2
"""
    assert published(recipe, paper) == Published(
        source="Table 1",
        eps=8 / 255,
        accuracy=[PublishedAccuracy("PGD", 0.1, 0.5, model="BNN")],
        flatness={"BNN": PublishedFlatness(1.0, 0.5)},
        length={"BNN": PublishedLengths({"FGSM-1": 1.0}, 0.2)},
        inference={"BNN": {10: 0.9}},
        time={"mnist": {"FGSM-1": 2.0}},
    )
    assert published(recipe, "") == Published()


ACCURACY = "[[paper.accuracy]]\nmodel = 'BNN'\nattack = 'PGD'\neps = 0.1\n"


@pytest.mark.parametrize(
    ("paper", "message"),
    [
        ("paper = 5", r"\[paper\]: expected a table of settings, got 5"),
        ("[paper]\nsuorce = 'Table 1'", r"\[paper\]: unknown setting 'suorce': did you mean 'source'?"),
        ("[paper]\nsource = 5", r"\[paper\]: source must be text; got 5"),
        ("[paper]\neps = -1", r"\[paper\]: eps must be a finite number, 0 or more; got -1"),
        ("[paper]\naccuracy = 5", r"\[paper\]: accuracy must be a list in which each entry is a table of settings"),
        ("[paper]\naccuracy = [5]", r"\[paper\]: each entry of accuracy must be a table of settings; got 5"),
        (ACCURACY, r"\[\[paper.accuracy\]\] 1: 'value' is missing"),
        (ACCURACY + "value = 50", r"\[\[paper.accuracy\]\] 1: value must be a number from 0 to 1; got 50"),
        (ACCURACY + "valeu = 0.5", r"\[\[paper.accuracy\]\] 1: unknown setting 'valeu': did you mean 'value'?"),
        ("[paper.flatness.BNN]\nmean = 1", r"\[paper.flatness.BNN\]: 'variance' is missing"),
        ("[paper.flatness]\nBNN = 1", r"\[paper\]: flatness.BNN must be a table of settings; got 1"),
        ("[paper.length.BNN]\nFGSM = 'long'", r"\[paper\]: length.BNN.FGSM must be a number; got 'long'"),
        ("[paper.inference.BNN]\nten = 1", r"\[paper.inference.BNN\]: expected a number of draws, .*; got 'ten'"),
        ("[paper.inference.BNN]\n10 = true", r"\[paper\]: inference.BNN.10 must be a number; got True"),
        ("[paper.time]\nmnist = 2", r"\[paper\]: time.mnist must be a table of settings; got 2"),
    ],
)
def test_a_wrong_value_is_answered_in_one_sentence(recipe: str, paper: str, message: str) -> None:
    Path(recipe).write_text(paper + RESOLVED if paper.startswith("paper =") else RESOLVED + paper)
    with raises_sentence(message):
        read_recipe(recipe)
