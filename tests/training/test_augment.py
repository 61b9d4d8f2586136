"""Augmentation: every image that comes out is one of the moves of the image that went in, and each of them occurs."""

import pytest
import torch
from torch.nn.functional import pad

from oracles import raises_sentence
from unshaken.training.augment import AUGMENTS, crop_flip


def moves(image: torch.Tensor, padding: int) -> list[torch.Tensor]:
    """All crops of one padded image (C, H, W), as they are and mirrored."""
    _, height, width = image.shape
    wide = pad(image, (padding,) * 4)
    places = range(2 * padding + 1)
    crops = [wide[:, top : top + height, left : left + width] for top in places for left in places]
    return [moved for crop in crops for moved in (crop, crop.flip(-1))]


@pytest.mark.parametrize(("padding", "shape", "times"), [(4, (1, 5, 6), 2000), (1, (3, 6, 5), 200)])
def test_every_move_of_an_image_occurs_and_nothing_else(padding, shape, times):
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) + 0.1
    out = crop_flip(images.repeat(times, 1, 1, 1), seed=3, padding=padding).view(times, 2, *shape)
    for i, image in enumerate(images):
        wanted = torch.stack(moves(image, padding))
        same = (out[:, i, None] == wanted).flatten(2).all(-1)  # (times, moves)
        assert same.sum(1).eq(1).all()
        assert same.any(0).all()
        share = same.float().mean(0)
        assert share.max() < 4 / len(wanted), "every move is as likely as every other"
        assert same[:, ::2].float().mean().mul(len(wanted) / 2) == pytest.approx(0.5, abs=0.1)


def test_images_of_one_batch_have_moves_of_their_own():
    x = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0)).expand(50, -1, -1, -1)
    assert len(crop_flip(x, seed=0).unique(dim=0)) > 30


@pytest.mark.parametrize("name", AUGMENTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_seed_is_all_the_randomness_and_the_shape_stays(name, dtype):
    x = torch.rand(8, 3, 6, 7, dtype=dtype)
    before = x.clone()
    first, again = (AUGMENTS[name](x, seed=5) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == x.shape
    assert first.dtype == dtype
    assert torch.equal(x, before)
    assert name == "none" or not torch.equal(first, AUGMENTS[name](x, seed=6))


def test_without_padding_and_mirrors_the_images_stay_and_with_certain_mirrors_they_turn():
    x = torch.rand(4, 3, 5, 6)
    assert torch.equal(AUGMENTS["none"](x, seed=0), x)
    assert torch.equal(crop_flip(x, seed=0, padding=0, flip=0.0), x)
    assert torch.equal(crop_flip(x, seed=0, padding=0, flip=1.0), x.flip(-1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"padding": -1}, "padding must be a whole number of pixels, 0 or more; got -1"),
        ({"padding": 0.5}, "padding must be a whole number of pixels, 0 or more; got 0.5"),
        ({"flip": 1.5}, "flip must be a number from 0 to 1; got 1.5"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with raises_sentence(message):
        crop_flip(torch.rand(2, 1, 4, 4), seed=0, **settings)


def test_only_images_are_cropped():
    with raises_sentence(r"needs images \(B, C, H, W\); got \(2, 9\)"):
        crop_flip(torch.rand(2, 9), seed=0)
