"""Image sets: which images `load` returns, with which labels."""

from __future__ import annotations

import pytest
import torch

from image_files import picture, same_data, write_parquet
from unshaken.data import load, load_images

DIGITS = [str(digit) for digit in range(10)]


def test_digits_are_two_fixed_parts_of_the_whole():
    train, test = load("digits", split="train"), load("digits")
    assert train.x.shape == (1200, 1, 8, 8)
    assert test.x.shape == (597, 1, 8, 8)
    assert test.x.dtype == torch.float32
    assert test.y.dtype == torch.int64
    assert test.x.min() == 0
    assert test.x.max() == 1
    assert (test.classes, test.name, test.labels) == (10, "digits", tuple(DIGITS))
    assert train.y[:5].tolist() == [0, 1, 2, 3, 4]
    assert not torch.equal(train.x[:597], test.x)


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_a_smaller_limit_is_a_prefix_of_a_larger_one(seed):
    few, more = load("digits", limit=5, seed=seed), load("digits", limit=9, seed=seed)
    assert torch.equal(few.x, more.x[:5])
    assert torch.equal(few.y, more.y[:5])


def test_a_seed_chooses_other_images_and_keeps_them_with_their_labels():
    whole, seeded = load("digits"), load("digits", seed=1)
    assert not torch.equal(whole.y, seeded.y)
    assert sorted(whole.y.tolist()) == sorted(seeded.y.tolist())
    assert not torch.equal(seeded.y, load("digits", seed=2).y)
    labels = {tuple(x.flatten().tolist()): int(y) for x, y in zip(whole.x, whole.y, strict=True)}
    assert all(labels[tuple(x.flatten().tolist())] == y for x, y in zip(seeded.x, seeded.y, strict=True))


def test_size_resizes_tensors_in_height_then_width():
    x = load("digits", limit=3, size=(5, 12)).x
    assert x.shape == (3, 1, 5, 12)
    assert x.min() >= 0
    assert x.max() <= 1
    assert load("digits", limit=3, size=8).x.equal(load("digits", limit=3).x)
    drift = load("digits", limit=3, size=[16, 16]).x.mean() - load("digits", limit=3).x.mean()
    assert abs(drift) < 0.01


# A part of the train split to test on


@pytest.mark.parametrize("seed", [None, 0, 7])
def test_held_out_images_are_the_same_for_every_seed_and_limit(tmp_path, seed):
    write_parquet(tmp_path / "train.parquet", [picture(i) for i in range(12)], list(range(12)))
    write_parquet(tmp_path / "test.parquet", [picture(i) for i in range(3)], [0, 1, 2])

    def labels(split: str, **settings) -> list[int]:
        return load(str(tmp_path), split=split, held_out=0.25, seed=seed, **settings).y.tolist()

    train, test = labels("train"), labels("test")
    assert sorted(test) == [0, 5, 8]
    assert sorted(train + test) == list(range(12))
    assert [train[:5], test[:2]] == [labels("train", limit=5), labels("test", limit=2)]
    if seed is None:
        assert train != sorted(train)  # a folder is ordered by class: the first of a part are not of one class
    elif seed:
        assert train != load(str(tmp_path), split="train", held_out=0.25).y.tolist()


def test_held_out_leaves_other_splits_and_the_set_alone(tmp_path):
    write_parquet(tmp_path / "train.parquet", [picture(i) for i in range(4)], [0, 1, 2, 3])
    write_parquet(tmp_path / "extra.parquet", [picture(i) for i in range(4, 7)], [4, 5, 6])
    assert load(str(tmp_path), split="extra", held_out=0.5).y.tolist() == [4, 5, 6]
    assert load(str(tmp_path), split="train").y.tolist() == [0, 1, 2, 3]


def test_shares_are_rounded():
    sizes = {share: len(load("digits", held_out=share).y) for share in (0.0005, 0.25, 0.9)}
    assert sizes == {0.0005: 1, 0.25: 300, 0.9: 1080}
    assert len(load("digits", split="train", held_out=0.25).y) == 900


@pytest.mark.parametrize(
    "settings", [{}, {"held_out": 0.25}, {"held_out": 0.25, "seed": 3}, {"seed": 3}, {"limit": 100}]
)
def test_validation_images_are_taken_from_those_to_train_on(settings):
    whole = load("digits", split="train", **settings)
    parts = [load("digits", split=split, validation=0.2, **settings) for split in ("train", "validation")]
    rows = [{(*x.flatten().tolist(), int(y)) for x, y in zip(data.x, data.y, strict=True)} for data in (whole, *parts)]
    assert len(parts[1].y) == round(0.2 * len(whole.y)) == len(whole.y) - len(parts[0].y)
    assert rows[0] == rows[1] | rows[2]
    assert not rows[1] & rows[2]
    assert len({*parts[1].y.tolist()}) > 5, "they are not the first ones"
    assert same_data(load("digits", **settings), load("digits", validation=0.2, **settings)), "the test is what it was"


def test_images_without_labels_are_of_the_same_part_in_the_same_order():
    train = load("digits", split="train", held_out=0.25, seed=2)
    assert torch.equal(load_images("digits", held_out=0.25, seed=2, skip=10, limit=5), train.x[10:15])
    with pytest.raises(ValueError, match=r"^skip is 900, but the train part of the train split of digits has only 900"):
        load_images("digits", held_out=0.25, skip=900)
