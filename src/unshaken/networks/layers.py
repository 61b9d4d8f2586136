"""Layers and checks of arguments that the networks share."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from unshaken.types import Count, NotNegative, Positive
from unshaken.validate import check_each

Shape = tuple[int, int, int]  # (C, H, W)
PerChannel = float | Sequence[float]  # one number for all channels, or one for each


class Normalise(nn.Module):
    """(x − mean) / std for x (B, C, H, W); `mean` and `std` are one number, or one for each channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, mean: PerChannel = 0.5, std: PerChannel = 0.25) -> None:
        super().__init__()
        for name, value, interval in (("mean", mean, NotNegative), ("std", std, Positive)):
            values = [*value] if isinstance(value, Sequence) else [value] * channels
            if len(values) != channels:
                expected = f"one number, or one for each of the {channels} channels"
                raise ValueError(f"{name} must be {expected}; got {len(values)} numbers.")
            check_each(f"every {name}", values, interval)
            self.register_buffer(name, torch.tensor(values, dtype=torch.get_default_dtype()).view(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def dense_layers(sizes: Sequence[int]) -> list[nn.Module]:
    """Dense layers from each of `sizes` to the next, with ReLU after each."""
    return [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]


def normed_convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """A convolution that keeps the size of the image but for its stride, and BatchNorm instead of its bias."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(outputs)


def dropout_layers(probability: float, layer: type[nn.Module] = nn.Dropout) -> list[nn.Module]:
    """A dropout layer, or none where nothing is dropped."""
    if not 0 <= probability < 1:
        raise ValueError(f"dropout must be a number from 0 to below 1; got {probability!r}.")
    return [layer(probability)] if probability else []


def check_sizes(name: str, shape: Shape, widths: Sequence[Count], *, smallest: int, count: int = 2) -> None:
    """Widths of `count` convolutions, and images that are large enough for them."""
    if len(widths) != count:
        number = {2: "two", 3: "three"}[count]
        raise ValueError(f"{name} has {number} convolutions, so widths must be {number} numbers; got {list(widths)}.")
    check_each("every width", widths, Count)
    if min(shape[1:]) < smallest:
        raise ValueError(f"{name} needs images of {smallest} x {smallest} or more; got {shape[1]} x {shape[2]}.")
