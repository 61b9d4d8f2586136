"""Which images a recipe loads."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from image_files import same_data, write_parquet
from unshaken.data import load, load_images
from unshaken.runs.recipe import read_recipe
from unshaken.runs.units import load_data, load_split, load_unlabelled


def recipe_data(**settings) -> dict:
    words = [f"data.{word}={value}" for word, value in settings.items()]
    return read_recipe("demo", preset="smoke", settings=words).config


def test_a_recipe_loads_both_parts_of_its_train_split():
    config = recipe_data(held_out=0.25, train_limit=600, test_limit=200)
    found = load_data(config, None, torch.device("cpu"))
    rows = {split: {tuple(x.flatten().tolist()) for x in data.x} for split, data in found.items()}
    assert (len(rows["train"]), len(rows["test"])) == (600, 200)
    assert not rows["train"] & rows["test"]
    assert same_data(found["test"], load("digits", held_out=0.25, limit=200))


def test_a_recipe_loads_the_images_that_its_curves_are_on():
    config = recipe_data(validation=0.25, train_limit=200, test_limit=50)
    sizes = []
    for split in (None, "test", "validation"):
        curves = {"curves": {"split": split, "limit": 50}} if split else {}
        found = load_data(config | curves, None, torch.device("cpu"))
        sizes.append({name: len(data.y) for name, data in found.items()})
    assert sizes == [{"test": 50, "train": 150}] * 2 + [{"test": 50, "train": 150, "validation": 50}]
    with pytest.raises(ValueError, match=r"^\[curves\]: limit is 51, but there are 50 images of validation\.$"):
        load_data(config | {"curves": {"split": "validation", "limit": 51}}, None, torch.device("cpu"))


def test_unlabelled_images_are_held_out_where_their_set_is_the_same(tmp_path):
    colours = [Image.new("RGB", (8, 8), (10 * i, 0, 0)) for i in range(20)]
    write_parquet(tmp_path / "other" / "train.parquet", colours, [0] * 20)
    config = recipe_data(held_out=0.25, grey=True) | {"models": [{"training": {"teacher": "a"}}]}

    def unlabelled(name: str) -> torch.Tensor | None:
        config["data"]["unlabelled"] = {"name": name, "skip": 5, "limit": 9}
        return load_unlabelled(config, tmp_path, torch.device("cpu"))

    assert torch.equal(unlabelled("digits"), load_images("digits", skip=5, limit=9, held_out=0.25))
    assert torch.equal(unlabelled("other")[:, 0, 0, 0], torch.arange(50, 140, 10) / 255 / 3)


def test_a_stored_recipe_from_before_these_settings_still_says_what_to_load():
    section = recipe_data(test_limit=20)["data"]
    older = {word: value for word, value in section.items() if word not in ("grey", "held_out")}
    assert same_data(load_split(older, "test", None, torch.device("cpu")), load("digits", limit=20))
