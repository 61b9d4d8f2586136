"""Images become tensors in [0, 1], of one size, grey or RGB."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from image_files import picture, png, same_data, write_parquet
from unshaken.data import load, load_images


def test_a_mixed_set_is_rgb_whatever_the_limit(tmp_path):
    grey, colour = picture(0), picture(1, mode="RGB")
    write_parquet(tmp_path / "test.parquet", [grey, grey, colour], [0, 0, 0])
    whole = load(str(tmp_path))
    assert whole.x.shape == (3, 3, 6, 4)
    assert torch.equal(whole.x[0, 0], whole.x[0, 2])
    assert torch.equal(load(str(tmp_path), limit=1).x, whole.x[:1])


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("LA", 1), ("RGBA", 3), ("P", 3)])
def test_other_modes_become_grey_or_rgb(tmp_path, mode, channels):
    image = picture(0, mode=mode)
    write_parquet(tmp_path / "test.parquet", [image], [0])
    x = load(str(tmp_path)).x
    expected = np.asarray(image.convert("L" if channels == 1 else "RGB"), np.float32) / 255
    assert torch.equal(x[0], torch.from_numpy(expected.reshape(6, 4, channels).transpose(2, 0, 1)))


def test_a_transparent_palette_is_rgb(tmp_path):
    write_parquet(tmp_path / "test.parquet", [png(picture(0, mode="P"), transparency=bytes([9, 20, 30]))], [0])
    assert load(str(tmp_path)).x.shape == (1, 3, 6, 4)


def test_sixteen_bits_keep_their_range(tmp_path):
    pixels = np.array([[0, 257, 65535]], np.uint16)
    write_parquet(tmp_path / "test.parquet", [Image.fromarray(pixels)], [0])
    x = load(str(tmp_path)).x
    assert torch.allclose(x, torch.tensor([0, 1 / 255, 1]).reshape(1, 1, 1, 3))


def test_a_photograph_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    write_parquet(tmp_path / "test.parquet", [png(picture(0), exif=exif)], [0])
    upright = np.rot90(np.asarray(picture(0), np.float32) / 255, -1)
    assert torch.equal(load(str(tmp_path)).x[0, 0], torch.from_numpy(upright.copy()))


def test_size_brings_images_of_many_sizes_together(tmp_path):
    images = [picture(0), picture(1, 7, 5)]
    write_parquet(tmp_path / "test.parquet", images, [0, 1])
    x = load(str(tmp_path), size=(6, 4)).x
    resized = images[1].resize((4, 6), Image.Resampling.BILINEAR)
    assert torch.equal(x[0, 0], torch.from_numpy(np.asarray(images[0], np.float32) / 255))
    assert torch.equal(x[1, 0], torch.from_numpy(np.asarray(resized, np.float32) / 255))


# Grey


def test_grey_is_the_plain_mean_of_the_colours(tmp_path):
    pure = [Image.new("RGB", (2, 2), colour) for colour in ((255, 0, 0), (0, 255, 0), (10, 20, 60))]
    write_parquet(tmp_path / "test.parquet", [*pure, Image.new("L", (2, 2), 70)], [0, 0, 0, 0])
    x = load(str(tmp_path), grey=True).x
    assert x.shape == (4, 1, 2, 2)
    torch.testing.assert_close(x[:, 0, 0, 0], torch.tensor([1 / 3, 1 / 3, 30 / 255, 70 / 255]))
    assert torch.equal(load_images(str(tmp_path), split="test", grey=True), x)


def test_grey_images_stay_what_they_are():
    assert same_data(load("digits", limit=5, grey=True), load("digits", limit=5))
