"""Image sets: `load` gives one split as tensors in [0, 1], always in the same order.

A source is a function of `split` and `data_root` that returns the whole split, either as `Data` or as a
`datasets.Dataset` with an image column and a label column, which is then decoded only where it is needed.
To add a set, write such a function, or a partial of `hub_images`, and give it one line in `DATASETS`.
"""

from __future__ import annotations

import glob
import importlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unshaken.errors import unknown
from unshaken.types import Share
from unshaken.validate import check_range

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder
    from PIL.Image import Image

LABEL_COLUMNS = ("label", "labels", "ClassId", "class", "target", "y")
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")


class Data(NamedTuple):
    """N labelled images of one set."""

    x: Tensor  # (N, C, H, W) float32 in [0, 1]; C is 1 (grey) or 3 (RGB)
    y: Tensor  # (N,) int64 in [0, classes)
    classes: int  # of the whole set, whatever part of it is here
    name: str
    labels: tuple[str, ...]  # the name of every class; "0", "1", ... when the set has none


Source = Callable[..., "Data | Dataset"]  # called as source(split=str, data_root=Path | None)


def load(
    name: str,
    *,
    split: str = "test",
    limit: int | None = None,
    seed: int | None = None,
    size: int | Sequence[int] | None = None,
    grey: bool = False,
    held_out: float | None = None,
    validation: float | None = None,
    data_root: str | Path | None = None,
) -> Data:
    """One split of the image set `name`.

    name: a key of `DATASETS`, a folder of `data_root`, a local folder, "package.module:function", or a Hub name
        "owner/name".
    limit: how many images, all by default: the first ones, or with `seed` random ones, of which the first 5
        are the same whatever the limit. An image folder is ordered by class: give it a seed.
    size: (height, width), or one number for both, to which every image is resized (bilinear).
    grey: colours become their plain mean (not luminance), after resizing: C is 1.
    held_out: the share of the set's "train" split that is "test" here, in the place of the set's own; the rest is
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
    own = split if share is None else "train"
    found, rows, what = _chosen(name, own, held_out, 0, limit, seed, data_root)
    if share is not None:
        images = f"the images of {name} to train on"
        rows = rows[_part(len(rows), share, split == "validation", "validation", images)]
    shape = _shape(size)
    if isinstance(found, Data):
        return found._replace(x=_converted(found.x[rows], shape, grey), y=found.y[rows], name=name)
    y, labels = _labels(found, what)
    return Data(_decode(found, rows, shape, grey, what), y[rows], len(labels), name, labels)


def load_images(
    name: str,
    *,
    split: str = "train",
    skip: int = 0,
    limit: int | None = None,
    seed: int | None = None,
    size: int | Sequence[int] | None = None,
    grey: bool = False,
    held_out: float | None = None,
    data_root: str | Path | None = None,
) -> Tensor:
    """The images of one split without their labels, (N, C, H, W) in [0, 1]: there need not be any.

    skip: how many images to leave out first, of the order that `limit` counts in: where a model is trained on the first
        2,000 with labels, skip = 2000 gives others. The other arguments are those of `load`.
    """
    found, rows, what = _chosen(name, split, held_out, skip, limit, seed, data_root)
    shape = _shape(size)
    if isinstance(found, Data):
        return _converted(found.x[rows], shape, grey)
    return _decode(found, rows, shape, grey, what)


def _chosen(
    name: str,
    split: str,
    held_out: float | None,
    skip: int,
    limit: int | None,
    seed: int | None,
    data_root: str | Path | None,
) -> tuple[Data | Dataset, Tensor, str]:
    """(a whole split of the source, which of its images, what to call it)."""
    root = data_root or os.environ.get("UNSHAKEN_DATA")
    source = _source(name, Path(root).expanduser() if root else None)
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}.")
    if skip < 0:
        raise ValueError(f"skip must be 0 or more, got {skip}.")
    if held_out is not None:
        check_range("held_out", held_out, Share)
    share = held_out if split in ("train", "test") else None
    own = split if share is None else "train"
    found = source(split=own, data_root=Path(root).expanduser() if root else None)
    what = whose = f"the {own} split of {name}"
    count = len(found.y) if isinstance(found, Data) else len(found)
    if count == 0:
        raise ValueError(f"{what} is empty.")
    rows = torch.arange(count)
    if share is not None:
        rows, whose = _part(count, share, split == "test", "held_out", what), f"the {split} part of {what}"
    return found, _limited(rows, skip, limit, seed, whose), what


def _part(count: int, share: float, away: bool, word: str, what: str) -> Tensor:
    """Which of `count` images are the share that is taken `away`, or else the others; in random order."""
    taken = round(share * count)
    if not 0 < taken < count:
        raise ValueError(f"{word} must leave an image in each part; got {share}, {taken} of the {count} of {what}.")
    order = _rows(count, None, 0)
    return order[:taken] if away else order[taken:]


def _limited(part: Tensor, skip: int, limit: int | None, seed: int | None, what: str) -> Tensor:
    """`limit` of the images of `part`, behind the first `skip`."""
    count = len(part)
    if skip >= count:
        raise ValueError(f"skip is {skip}, but {what} has only {count} images.")
    if limit is not None and limit > count - skip:
        left = f" behind the first {skip}" if skip else ""
        raise ValueError(f"limit is {limit}, but {what} has only {count - skip} images{left}.")
    return part[_rows(count, None if limit is None else skip + limit, seed)[skip:]]


def digits(split: str, data_root: Path | None = None) -> Data:
    """scikit-learn's 1,797 digits of 8 x 8 pixels, which need no file: 1,200 to train, then 597 to test."""
    from sklearn.datasets import load_digits

    parts = {"train": slice(1200), "test": slice(1200, None)}
    if split not in parts:
        raise _no_split(split, parts, "digits")
    images, y = load_digits(return_X_y=True)
    x = torch.from_numpy(images[parts[split]]).float().reshape(-1, 1, 8, 8) / 16
    labels = tuple(str(c) for c in range(10))
    return Data(x, torch.from_numpy(y[parts[split]]).long(), 10, "digits", labels)


def hub_images(
    name: str,
    hub: str,
    config: str | None = None,
    splits: tuple[str, ...] = ("train", "test"),
    *,
    split: str,
    data_root: Path | None,
) -> Dataset:
    """The set `hub` of the Hugging Face Hub, or its local copy `data_root/name` when that folder exists.

    splits: the ones it has, so that a wrong word is answered before the network is; () when not known.
    A local copy that lacks the split is an error: half a set from here and half from there is not one set.
    """
    if data_root is not None and not data_root.is_dir():
        raise FileNotFoundError(f"the data root {str(data_root)!r} is not a folder.")
    folder = (data_root or Path("DATA_ROOT")) / name
    fetch = f"`hf download {hub} --repo-type dataset --local-dir {folder}`"
    if data_root is not None and folder.is_dir():
        return local_images(folder, split, config, fetch)
    if splits and split not in splits:
        raise _no_split(split, splits, hub)
    return _from_hub(hub, config, split, f"run {fetch} where there is a network, then pass --data-root DATA_ROOT")


def local_images(folder: Path, split: str, config: str | None = None, fetch: str = "") -> Dataset:
    """The split in `folder`: `<split>.parquet`, the Hub's shards of it, or `<split>/<class>/*.png`."""
    # The Hub keeps its shards in a folder named for the configuration, or in data/.
    places = [folder, folder / (config or "data"), folder / "data"]
    shards = next((found for place in places if (found := _shards(place))), {})
    if split in shards:
        return _from_parquet(shards[split], split)
    folders = {path.name: path for path in _subfolders(folder) if _subfolders(path)}
    if split in folders:
        return _from_folder(folders, split)
    if shards or folders:
        raise _no_split(split, [*shards, *folders], str(folder), f"; {fetch} gets the whole set" if fetch else "")
    looked = f"no {folder / split}.parquet and no {folder / split}/<class>/ with images"
    raise FileNotFoundError(f"{looked}: {f'get the set by {fetch}' if fetch else 'put one of them there'}.")


DATASETS: dict[str, Source] = {
    "digits": digits,
    "mnist": partial(hub_images, "mnist", "ylecun/mnist", "mnist"),
    "fashion_mnist": partial(hub_images, "fashion_mnist", "zalando-datasets/fashion_mnist", "fashion_mnist"),
    "cifar10": partial(hub_images, "cifar10", "uoft-cs/cifar10", "plain_text"),
    "svhn": partial(hub_images, "svhn", "ufldl-stanford/svhn", "cropped_digits", ("train", "test", "extra")),
    "gtsrb": partial(hub_images, "gtsrb", "tanganke/gtsrb"),  # sizes differ: needs `size`
}


def _source(name: str, root: Path | None = None) -> Source:
    """The function that `name` stands for."""
    if name in DATASETS:
        return DATASETS[name]
    if root is not None and re.fullmatch(r"\w[\w.-]*", name) and (root / name).is_dir():
        return lambda split, data_root: local_images(root / name, split)
    if (folder := Path(name).expanduser()).is_dir():
        return lambda split, data_root: local_images(folder, split)
    if re.fullmatch(r"[\w.]+:\w+", name):
        return _outside(*name.split(":"))
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", name):
        return partial(hub_images, name, name, splits=())
    if len(folder.parts) > 1:
        raise FileNotFoundError(f"{name!r} is not a folder: expected one with test.parquet or test/<class>/*.png.")
    if root is not None:
        raise ValueError(f"{unknown('dataset', name, DATASETS)} (There is no folder {root / name} either.)")
    raise unknown("dataset", name, DATASETS)


def _outside(module: str, function: str) -> Source:
    """A source that lives in another package."""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"cannot import {module!r} for the dataset '{module}:{function}': {error}.") from error
    if not callable(getattr(found, function, None)):
        raise unknown(f"function of {module}", function, [n for n, value in vars(found).items() if callable(value)])
    source: Source = getattr(found, function)
    return source


def _no_split(split: str, splits: Iterable[str], where: str, remedy: str = "") -> ValueError:
    return ValueError(f"{where} has no split {split!r}: choose one of {', '.join(sorted(set(splits)))}{remedy}.")


def _shards(folder: Path) -> dict[str, list[Path]]:
    """Split -> its parquet files in `folder`, of which the Hub's have the suffix -00000-of-00001."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.parquet")):
        found.setdefault(re.sub(r"-\d+-of-\d+$", "", path.stem), []).append(path)
    return found


def _subfolders(folder: Path) -> list[Path]:
    return [p for p in folder.iterdir() if p.is_dir() and p.name[0] not in "._"] if folder.is_dir() else []


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars from `datasets`, which are back afterwards if they were there."""
    import datasets

    silent = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not silent:
            datasets.enable_progress_bars()


@_quiet()
def _from_parquet(files: list[Path], split: str) -> Dataset:
    """The rows of `files`, in their order, cached by `datasets` until a file changes."""
    from datasets import Dataset
    from datasets.exceptions import DatasetGenerationError
    from datasets.packaged_modules.parquet.parquet import Parquet
    from pyarrow import ArrowException, parquet

    try:
        if not any(parquet.read_metadata(path).num_rows for path in files):
            return Dataset.from_dict({})
        return _prepare(Parquet(data_files={split: [_literal(path) for path in files]}), split)
    except (ArrowException, DatasetGenerationError) as error:
        listed, reason = ", ".join(map(str, files)), error.__cause__ or error
        raise ValueError(f"cannot read {listed} as parquet, is it truncated? ({reason})") from error


@_quiet()
def _from_folder(folders: dict[str, Path], split: str) -> Dataset:
    """Images in `<split>/<class>/`, ordered by class; a class has the same number in every split."""
    from datasets import ClassLabel, Features, Image
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    # A split may lack a class, and "10" comes after "9": neither may shift the labels.
    classes = {path.name for folder in folders.values() for path in _subfolders(folder)}
    names = sorted(classes, key=lambda c: (not c.isdecimal(), int(c) if c.isdecimal() else 0, c))
    builder = ImageFolder(
        data_files={split: [f"{_literal(path)}/*" for path in sorted(_subfolders(folders[split]))]},
        features=Features({"image": Image(), "label": ClassLabel(names=names)}),
        drop_labels=False,
        metadata_filenames=["-"],  # a metadata.csv would take the place of the classes
    )
    return _prepare(builder, split)


@_quiet()
def _from_hub(hub: str, config: str | None, split: str, remedy: str) -> Dataset:
    """The split as the Hub has it; a wrong split is noticed before anything is downloaded."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(hub, config)
        splits = builder.config.data_files or {}
        if split not in splits:
            raise _no_split(split, splits, hub)
        return _prepare(builder, split)
    except OSError as error:  # no network, no such set, no access: the reason says which
        raise FileNotFoundError(f"cannot get {hub!r} from the Hugging Face Hub ({error}): {remedy}.") from error


def _prepare(builder: DatasetBuilder, split: str) -> Dataset:
    from datasets import Dataset

    builder.download_and_prepare()
    known = builder.info.splits
    if known is not None and known[split].num_examples == 0:  # as_dataset has no word for it
        return Dataset.from_dict({})
    return builder.as_dataset(split)


def _literal(path: Path) -> str:
    """The pattern that matches this path only: `datasets` reads brackets and stars in a path as a pattern."""
    return glob.escape(str(path.absolute()))


def _rows(count: int, limit: int | None, seed: int | None) -> Tensor:
    """Which of `count` images, (limit,) int64: a prefix of their order, or of that seed's permutation."""
    order = torch.arange(count)
    if seed is not None:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return order[:limit]


def _labels(dataset: Dataset, what: str) -> tuple[Tensor, tuple[str, ...]]:
    """The labels of the whole split, (N,) int64, and the names of the classes."""
    import pyarrow
    from datasets import ClassLabel

    features = dataset.features
    typed = [name for name, feature in features.items() if isinstance(feature, ClassLabel)]
    column = next(iter([*typed, *(name for name in LABEL_COLUMNS if name in features)]), None)
    if column is None:
        expected = f"a ClassLabel column or one named {', '.join(LABEL_COLUMNS)}"
        raise ValueError(f"{what} has no labels: expected {expected}, got {', '.join(features)}.")
    values = dataset.select_columns(column).with_format("arrow")[:].column(0)
    if not pyarrow.types.is_integer(values.type):
        raise ValueError(f"the labels of {what} (column {column!r}) must be integers, got {values.type}.")
    if values.null_count:
        raise ValueError(f"{values.null_count} labels of {what} (column {column!r}) are missing.")
    y = torch.from_numpy(values.to_numpy().astype(np.int64))
    low, high = int(y.min()), int(y.max())
    labels = tuple(features[column].names if typed else map(str, range(high + 1)))
    if low < 0 or high >= len(labels):
        bound = f"from 0 to {len(labels) - 1}" if typed else "0 or more"
        raise ValueError(f"the labels of {what} (column {column!r}) must be {bound}, got {low if low < 0 else high}.")
    return y, labels


def _decode(dataset: Dataset, rows: Tensor, shape: tuple[int, int] | None, grey: bool, what: str) -> Tensor:
    """The images of `rows`, (len(rows), C, H, W); with `grey`, C is 1."""
    from datasets import Image

    column = _image_column(dataset, what)
    dataset = dataset.select_columns(column).cast_column(column, Image(decode=False))
    # Asked of the whole split: what is loaded of it must not change the number of channels.
    colourless = all(map(_is_grey, dataset[column]))
    x = np.empty(0, np.float32)
    for i, cell in enumerate(dataset.select(rows.tolist())[column]):
        try:
            pixels = _pixels(_open(cell), colourless, shape)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"image {int(rows[i])} of {what} cannot be decoded: {error}.") from error
        if grey:
            pixels = pixels.mean(0, keepdims=True)
        if i == 0:
            x = np.empty((len(rows), *pixels.shape), np.float32)
        if pixels.shape != x.shape[1:]:
            sizes = [f"image {int(rows[j])} is {h} x {w}" for j, (_, h, w) in ((0, x.shape[1:]), (i, pixels.shape))]
            raise ValueError(f"the images of {what} differ in size ({', '.join(sizes)}): give size=(height, width).")
        x[i] = pixels
    return torch.from_numpy(x)


def _image_column(dataset: Dataset, what: str) -> str:
    """The first image column: an Image by its type, or a struct with encoded `bytes`."""
    from datasets import Image

    for name, feature in dataset.features.items():
        if isinstance(feature, Image) or (isinstance(feature, dict) and "bytes" in feature):
            return name
    raise ValueError(f"{what} has no image column, got {', '.join(dataset.features)}.")


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
        return True  # a broken image has no say; it is an error where it is loaded


def _pixels(image: Image, grey: bool, shape: tuple[int, int] | None) -> np.ndarray:
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


def _converted(x: Tensor, shape: tuple[int, int] | None, grey: bool) -> Tensor:
    """Images that are already tensors, (N, C, H, W), as `_decode` gives them."""
    x = _resize(x, shape)
    return x.mean(1, keepdim=True) if grey else x


def _resize(x: Tensor, shape: tuple[int, int] | None) -> Tensor:
    """Images that are already tensors, (N, C, H, W), resized as `_pixels` does it."""
    from PIL import Image

    if shape is None or tuple(x.shape[2:]) == shape:
        return x
    planes = map(Image.fromarray, x.flatten(0, 1).numpy())
    resized = [np.asarray(p.resize(shape[::-1], Image.Resampling.BILINEAR)) for p in planes]
    return torch.from_numpy(np.stack(resized)).unflatten(0, x.shape[:2])


def _shape(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = (size, size) if isinstance(size, int) else tuple(size)
    if len(sides) != 2 or min(sides) < 1:
        raise ValueError(f"size must be (height, width) or one number, each at least 1, got {size}.")
    return sides[0], sides[1]
