"""Image sets: `load` gives one split as tensors in [0, 1], always in the same order.

A source is a function of `split` and `data_root` that returns the whole split, either as `Data` or as a
`datasets.Dataset` with an image column and a label column, which is then decoded only where it is needed.
To add a set, write such a function, or a partial of `hub_images`, and give it one line in `DATASETS`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unshaken.data.columns import convert, read_images, read_labels, shape_of
from unshaken.data.sources import Data, Source, digits, hub_images, local_images
from unshaken.errors import unknown
from unshaken.types import Share
from unshaken.validate import check_range

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["DATASETS", "Data", "Source", "hub_images", "load", "load_images", "local_images"]

DATASETS: dict[str, Source] = {
    "digits": digits,
    "mnist": partial(hub_images, "mnist", "ylecun/mnist", "mnist"),
    "fashion_mnist": partial(hub_images, "fashion_mnist", "zalando-datasets/fashion_mnist", "fashion_mnist"),
    "cifar10": partial(hub_images, "cifar10", "uoft-cs/cifar10", "plain_text"),
    "svhn": partial(hub_images, "svhn", "ufldl-stanford/svhn", "cropped_digits", ("train", "test", "extra")),
    "gtsrb": partial(hub_images, "gtsrb", "tanganke/gtsrb"),  # sizes differ: needs `size`
}


def load(
    name: str,
    *,
    split: str = "test",
    limit: int | None = None,
    seed: int | None = None,
    size: int | Sequence[int] | None = None,
    grey: bool = False,
    held_out: Share | None = None,
    validation: Share | None = None,
    data_root: str | Path | None = None,
) -> Data:
    """One split of the image set `name`.

    name: a key of `DATASETS`, a folder of `data_root`, a local folder, "package.module:function", or a Hub name
        "owner/name".
    limit: how many images, all by default: the first ones, or with `seed` random ones, of which the first 5
        are the same whatever the limit. An image folder is ordered by class: give it a seed.
    size: (height, width), or one number for both, to which every image is resized (bilinear).
    grey: colours become their plain mean (not luminance), after resizing: C is 1.
    held_out: the share of the set's "train" split that is "test" here, instead of the set's own; the rest is
        "train". Which images these are is random, but always the same, whatever the seed and the limit, and so is the
        order in which a limit counts them. Pictures of one object may fall into both parts, as the tracks of GTSRB do.
    validation: the share of what is "train" otherwise, limit and all, that is "validation" instead and no longer
        "train". Which images these are is random, but always the same for the same images to take them from.
    data_root: a folder with `<name>/<split>.parquet` or `<name>/<split>/<class>/*.png`, used before the Hub;
        by default the environment variable UNSHAKEN_DATA.

    Raises ValueError for an unknown name or split, a limit outside the set, a share that leaves a part without
    images, images that differ in size or cannot be decoded, and labels that are missing, not integers or out of
    range; FileNotFoundError for files that are neither here nor on the Hub.
    """
    if validation is not None:
        check_range("validation", validation, Share)
    share = validation if split in ("train", "validation") else None
    images, rows, title = _select(name, split if share is None else "train", held_out, 0, limit, seed, data_root)
    if share is not None:
        pool = f"the images of {name} to train on"
        rows = rows[split_rows(len(rows), share, "validation", pool, first=split == "validation")]
    shape = shape_of(size)
    if isinstance(images, Data):
        return images._replace(x=convert(images.x[rows], shape, grey), y=images.y[rows], name=name)
    y, labels = read_labels(images, title)
    return Data(read_images(images, rows, shape, grey, title), y[rows], len(labels), name, labels)


def load_images(
    name: str,
    *,
    split: str = "train",
    skip: int = 0,
    limit: int | None = None,
    seed: int | None = None,
    size: int | Sequence[int] | None = None,
    grey: bool = False,
    held_out: Share | None = None,
    data_root: str | Path | None = None,
) -> Tensor:
    """The images of one split without their labels, (N, C, H, W) in [0, 1]: there need not be any.

    skip: how many images to leave out first, of the order that `limit` counts in: where a model is trained on the first
        2,000 with labels, skip = 2000 gives others. The other arguments are those of `load`.
    """
    images, rows, title = _select(name, split, held_out, skip, limit, seed, data_root)
    shape = shape_of(size)
    if isinstance(images, Data):
        return convert(images.x[rows], shape, grey)
    return read_images(images, rows, shape, grey, title)


def _select(
    name: str,
    split: str,
    held_out: float | None,
    skip: int,
    limit: int | None,
    seed: int | None,
    data_root: str | Path | None,
) -> tuple[Data | Dataset, Tensor, str]:
    """(a whole split of the source, the rows of it that are asked for, its title in error sentences)."""
    folder = data_root or os.environ.get("UNSHAKEN_DATA")
    root = Path(folder).expanduser() if folder else None
    source = _source(name, root)
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}.")
    if skip < 0:
        raise ValueError(f"skip must be 0 or more, got {skip}.")
    if held_out is not None:
        check_range("held_out", held_out, Share)
    share = held_out if split in ("train", "test") else None
    source_split = split if share is None else "train"
    images = source(split=source_split, data_root=root)
    title = f"the {source_split} split of {name}"
    count = len(images.y) if isinstance(images, Data) else len(images)
    if count == 0:
        raise ValueError(f"{title} is empty.")
    if share is None:
        return images, limited_rows(count, skip, limit, seed, title), title
    rows = split_rows(count, share, "held_out", title, first=split == "test")
    return images, rows[limited_rows(len(rows), skip, limit, seed, f"the {split} part of {title}")], title


def _source(name: str, root: Path | None = None) -> Source:
    """The function that `name` stands for."""
    if name in DATASETS:
        return DATASETS[name]
    if root is not None and re.fullmatch(r"\w[\w.-]*", name) and (root / name).is_dir():
        return lambda split, data_root: local_images(root / name, split)
    if (folder := Path(name).expanduser()).is_dir():
        return lambda split, data_root: local_images(folder, split)
    if re.fullmatch(r"[\w.]+:\w+", name):
        return _imported(*name.split(":"))
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", name):
        return partial(hub_images, name, name, splits=())
    if len(folder.parts) > 1:
        raise FileNotFoundError(f"{name!r} is not a folder: expected one with test.parquet or test/<class>/*.png.")
    if root is not None:
        raise ValueError(f"{unknown('dataset', name, DATASETS)} (There is no folder {root / name} either.)")
    raise unknown("dataset", name, DATASETS)


def _imported(package: str, function: str) -> Source:
    """A source that lives in another package."""
    try:
        module = import_module(package)
    except ModuleNotFoundError as error:
        raise ValueError(f"cannot import {package!r} for the dataset '{package}:{function}': {error}.") from error
    if not callable(getattr(module, function, None)):
        functions = [name for name, value in vars(module).items() if callable(value)]
        raise unknown(f"function of {package}", function, functions)
    return getattr(module, function)


def split_rows(count: int, share: float, keyword: str, title: str, *, first: bool) -> Tensor:
    """The `first` of two random parts of `count` images, a `share` of them, or else the second; in random order."""
    size = round(share * count)
    if not 0 < size < count:
        raise ValueError(f"{keyword} must leave an image in each part; got {share}, {size} of the {count} of {title}.")
    # one seed for all: a part is the same whatever the seed of the limit
    rows = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return rows[:size] if first else rows[size:]


def limited_rows(count: int, skip: int, limit: int | None, seed: int | None, title: str) -> Tensor:
    """`limit` of `count` images, in the order of the seed, behind the first `skip`."""
    if skip >= count:
        raise ValueError(f"skip is {skip}, but {title} has only {count} images.")
    if limit is not None and limit > count - skip:
        skipped = f" behind the first {skip}" if skip else ""
        raise ValueError(f"limit is {limit}, but {title} has only {count - skip} images{skipped}.")
    if seed is None:
        rows = torch.arange(count)
    else:
        rows = torch.randperm(count, generator=torch.Generator().manual_seed(int(seed)))
    return rows[skip : None if limit is None else skip + limit]
