"""The label column of a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from datasets import Dataset

LABEL_COLUMNS = ("label", "labels", "ClassId", "class", "target", "y")


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
