"""Where images come from: scikit-learn, the Hugging Face Hub, parquet files and image folders."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from datasets import Dataset, DatasetBuilder


class Data(NamedTuple):
    """N labelled images of one set."""

    x: Tensor  # (N, C, H, W) float32 in [0, 1]; C is 1 (grey) or 3 (RGB)
    y: Tensor  # (N,) int64 in [0, classes)
    classes: int  # of the whole set, whatever part of it is here
    name: str
    labels: tuple[str, ...]  # the name of every class; "0", "1", ... when the set has none


Source = Callable[..., "Data | Dataset"]  # called as source(split=str, data_root=Path | None)


def digits(split: str, data_root: Path | None = None) -> Data:
    """scikit-learn's 1,797 digits of 8 x 8 pixels, which need no file: 1,200 to train, then 597 to test."""
    import numpy as np

    parts = {"train": slice(1200), "test": slice(1200, None)}
    if split not in parts:
        raise _no_split(split, parts, "digits")
    # the file alone: an import of scikit-learn takes a second
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(str(file), delimiter=",", dtype="float32")[parts[split]]
    x, y = torch.from_numpy(table).split([64, 1], dim=1)
    return Data(x.reshape(-1, 1, 8, 8) / 16, y.flatten().long(), 10, "digits", tuple("0123456789"))


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

    splits: the ones it has, so that a wrong name is refused before any download; () when unknown.
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
    candidates = map(_shards, (folder, folder / (config or "data"), folder / "data"))
    shards = next(filter(None, candidates), {})
    if split in shards:
        return _from_parquet(shards[split], split)
    folders = {path.name: path for path in _subfolders(folder) if _subfolders(path)}
    if split in folders:
        return _from_folder(folders, split)
    if shards or folders:
        raise _no_split(split, [*shards, *folders], str(folder), f"; {fetch} gets the whole set" if fetch else "")
    missing = f"no {folder / split}.parquet and no {folder / split}/<class>/ with images"
    raise FileNotFoundError(f"{missing}: {f'get the set by {fetch}' if fetch else 'put one of them there'}.")


def _no_split(split: str, splits: Iterable[str], title: str, remedy: str = "") -> ValueError:
    return ValueError(f"{title} has no split {split!r}: choose one of {', '.join(sorted(set(splits)))}{remedy}.")


def _shards(folder: Path) -> dict[str, list[Path]]:
    """Split -> its parquet files in `folder`, of which the Hub's have the suffix -00000-of-00001."""
    shards: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.parquet")):
        shards.setdefault(re.sub(r"-\d+-of-\d+$", "", path.stem), []).append(path)
    return shards


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
        metadata_filenames=["-"],  # a metadata.csv would replace the classes
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
    splits = builder.info.splits
    if splits is not None and splits[split].num_examples == 0:  # which as_dataset cannot read
        return Dataset.from_dict({})
    return builder.as_dataset(split)


def _literal(path: Path) -> str:
    """The pattern that matches this path only: `datasets` reads brackets and stars in a path as a pattern."""
    return glob.escape(str(path.absolute()))
