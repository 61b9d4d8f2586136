"""Which images a recipe loads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from image_files import same_data, write_parquet
from unshaken.data import load, load_images
from unshaken.runs.loading import load_data, load_split, load_unlabelled
from unshaken.runs.recipe import read_recipe
from unshaken.runs.settings import CurvesConfig, RecipeConfig, UnlabelledConfig

CPU = torch.device("cpu")


def config_with(**data) -> RecipeConfig:
    """The recipe `demo` with these settings of [data]."""
    settings = [f"data.{key}={str(value).lower()}" for key, value in data.items()]
    return read_recipe("demo", preset="smoke", settings=settings).config


def test_a_recipe_loads_both_parts_of_its_train_split():
    data = load_data(config_with(held_out=0.25, train_limit=600, test_limit=200), None, CPU)
    images = {split: {tuple(x.flatten().tolist()) for x in data[split].x} for split in data}
    assert (len(images["train"]), len(images["test"])) == (600, 200)
    assert not images["train"] & images["test"]
    assert same_data(data["test"], load("digits", held_out=0.25, limit=200))


def test_a_recipe_loads_the_images_that_its_curves_are_on():
    config = config_with(validation=0.25, train_limit=200, test_limit=50)
    curves = [None, CurvesConfig(1, "test", 50), CurvesConfig(1, "validation", 50)]
    data = [load_data(replace(config, curves=curve), None, CPU) for curve in curves]
    sizes = [{split: len(images.y) for split, images in splits.items()} for splits in data]
    assert sizes == [{"test": 50, "train": 150}] * 2 + [{"test": 50, "train": 150, "validation": 50}]
    with pytest.raises(ValueError, match=r"^\[curves\]: limit is 51, but there are 50 images of validation\.$"):
        load_data(replace(config, curves=CurvesConfig(1, "validation", 51)), None, CPU)


@pytest.mark.usefixtures("private_cache")
def test_unlabelled_images_are_held_out_where_their_set_is_the_same(tmp_path):
    colours = [Image.new("RGB", (8, 8), (10 * i, 0, 0)) for i in range(20)]
    write_parquet(tmp_path / "other" / "train.parquet", colours, [0] * 20)
    config = config_with(held_out=0.25, grey=True)
    student = replace(config.models[0], training=replace(config.models[0].training, teacher="a"))

    def unlabelled(name: str) -> torch.Tensor | None:
        data = replace(config.data, unlabelled=UnlabelledConfig(name, skip=5, limit=9))
        return load_unlabelled(replace(config, data=data, models=[student]), tmp_path, CPU)

    assert torch.equal(unlabelled("digits"), load_images("digits", skip=5, limit=9, held_out=0.25))
    assert torch.equal(unlabelled("other")[:, 0, 0, 0], torch.arange(50, 140, 10) / 255 / 3)


def test_the_test_split_has_a_limit_of_its_own():
    data = config_with(test_limit=20).data
    assert same_data(load_split(data, "test", None, CPU), load("digits", limit=20))
