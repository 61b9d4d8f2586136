"""The columns of a split: encoded images become tensors in [0, 1], resized and grey on request; labels int64."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from datasets import Dataset
    from PIL.Image import Image

LABEL_COLUMNS = ("label", "labels", "ClassId", "class", "target", "y")
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")


def shape_of(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """(height, width) of the argument `size`."""
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int | np.integer) else tuple(size)
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"size must be (height, width) or one number, each at least 1, got {size}.")
    return sides[0], sides[1]


def read_images(dataset: Dataset, rows: Tensor, shape: tuple[int, int] | None, grey: bool, title: str) -> Tensor:
    """The images of `rows`, (len(rows), C, H, W); with `grey`, C is 1."""
    from datasets import Image

    column = _image_column(dataset, title)
    dataset = dataset.select_columns(column).cast_column(column, Image(decode=False))
    # of the whole split: the number of channels must not depend on which images of it are loaded
    colourless = all(map(_is_grey, dataset[column]))
    x = np.empty(0, np.float32)
    for i, cell in enumerate(dataset.select(rows.tolist())[column]):
        try:
            pixels = decode(_open(cell), colourless, shape)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"image {int(rows[i])} of {title} cannot be decoded: {error}.") from error
        if grey:
            pixels = pixels.mean(0, keepdims=True)
        if i == 0:
            x = np.empty((len(rows), *pixels.shape), np.float32)
        if pixels.shape != x.shape[1:]:
            sizes = [f"image {int(rows[j])} is {h} x {w}" for j, (_, h, w) in ((0, x.shape[1:]), (i, pixels.shape))]
            raise ValueError(f"the images of {title} differ in size ({', '.join(sizes)}): give size=(height, width).")
        x[i] = pixels
    return torch.from_numpy(x)


def _image_column(dataset: Dataset, title: str) -> str:
    """The first image column: an Image by its type, or a struct with encoded `bytes`."""
    from datasets import Image

    for name, feature in dataset.features.items():
        if isinstance(feature, Image) or (isinstance(feature, dict) and "bytes" in feature):
            return name
    raise ValueError(f"{title} has no image column, got {', '.join(dataset.features)}.")


def _open(cell: dict[str, Any] | None) -> Image:
    """The image of one cell, of which only the header is read so far."""
    from PIL import Image

    if cell is None or (cell["bytes"] is None and cell["path"] is None):
        raise ValueError("it is missing")
    encoded = cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
    return Image.open(BytesIO(encoded))


def _is_grey(cell: dict[str, Any] | None) -> bool:
    try:
        return _open(cell).mode in GREY_MODES
    except (OSError, SyntaxError, ValueError):
        return True  # a broken image does not count here; it is an error where it is loaded


def decode(image: Image, grey: bool, shape: tuple[int, int] | None) -> np.ndarray:
    """One image as (C, H, W) float32 in [0, 1]."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its pixels are floats of unknown range")
    if image.mode.startswith("I"):  # 16 bits, which convert() would clip to 8
        image = Image.fromarray(np.asarray(image, np.float32) / 257)
    if image.mode == "P":
        image = image.convert("RGBA")  # a transparent palette goes to RGB by this step only
    if not grey:
        image = image.convert("RGB")
    elif image.mode != "F":
        image = image.convert("L")
    if shape is not None:
        image = image.resize(shape[::-1], Image.Resampling.BILINEAR)
    values = np.asarray(image, np.float32) / 255
    return values[None] if grey else values.transpose(2, 0, 1)


def convert(x: Tensor, shape: tuple[int, int] | None, grey: bool) -> Tensor:
    """Images that are already tensors, (N, C, H, W), resized and made grey as `read_images` does it."""
    from PIL import Image

    if shape is not None and tuple(x.shape[2:]) != shape:
        planes = map(Image.fromarray, x.flatten(0, 1).numpy())
        resized = [np.asarray(p.resize(shape[::-1], Image.Resampling.BILINEAR)) for p in planes]
        x = torch.from_numpy(np.stack(resized)).unflatten(0, x.shape[:2])
    return x.mean(1, keepdim=True) if grey else x


def read_labels(dataset: Dataset, title: str) -> tuple[Tensor, tuple[str, ...]]:
    """The labels of the whole split, (N,) int64, and the names of the classes."""
    import pyarrow
    from datasets import ClassLabel

    features = dataset.features
    typed = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
    column = next(iter([*typed, *(name for name in LABEL_COLUMNS if name in features)]), None)
    if column is None:
        expected = f"a ClassLabel column or one named {', '.join(LABEL_COLUMNS)}"
        raise ValueError(f"{title} has no labels: expected {expected}, got {', '.join(features)}.")
    values = dataset.select_columns(column).with_format("arrow")[:].column(0)
    if not pyarrow.types.is_integer(values.type):
        raise ValueError(f"the labels of {title} (column {column!r}) must be integers, got {values.type}.")
    if values.null_count:
        raise ValueError(f"{values.null_count} labels of {title} (column {column!r}) are missing.")
    y = torch.from_numpy(values.to_numpy().astype(np.int64))
    low, high = int(y.min()), int(y.max())
    labels = tuple(features[column].names if typed else map(str, range(high + 1)))
    if low < 0 or high >= len(labels):
        bound = f"from 0 to {len(labels) - 1}" if typed else "0 or more"
        raise ValueError(f"the labels of {title} (column {column!r}) must be {bound}, got {low if low < 0 else high}.")
    return y, labels
