"""Which images of a split: the part that is held out, the first ones behind others, in an order that a seed gives."""

import torch
from torch import Tensor


def order(count: int, seed: int | None) -> Tensor:
    """All of `count` images, (count,) int64: as they come, or in that seed's order."""
    if seed is None:
        return torch.arange(count)
    return torch.randperm(count, generator=torch.Generator().manual_seed(int(seed)))


def split_rows(count: int, share: float, keyword: str, title: str, *, first: bool) -> Tensor:
    """The `first` of two random parts of `count` images, a `share` of them, or else the second; in random order."""
    size = round(share * count)
    if not 0 < size < count:
        raise ValueError(f"{keyword} must leave an image in each part; got {share}, {size} of the {count} of {title}.")
    rows = order(count, 0)  # one seed for all: a part is the same whatever the seed of the limit
    return rows[:size] if first else rows[size:]


def limited_rows(count: int, skip: int, limit: int | None, seed: int | None, title: str) -> Tensor:
    """`limit` of `count` images, in the order of the seed, behind the first `skip`."""
    if skip >= count:
        raise ValueError(f"skip is {skip}, but {title} has only {count} images.")
    if limit is not None and limit > count - skip:
        skipped = f" behind the first {skip}" if skip else ""
        raise ValueError(f"limit is {limit}, but {title} has only {count - skip} images{skipped}.")
    return order(count, seed)[skip : None if limit is None else skip + limit]
