"""Plain networks: inputs (B, C, H, W) in [0, 1], logits (B, K)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from unshaken.validate import check_count

Shape = tuple[int, int, int]  # (C, H, W)


def mlp(shape: Shape, classes: int, *, widths: Sequence[int] = (128, 128)) -> nn.Sequential:
    """Dense layers with ReLU between them: C·H·W → widths → classes."""
    for width in widths:
        check_count("every width", width)
    sizes = [shape[0] * shape[1] * shape[2], *widths]
    hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], classes))


def small_cnn(shape: Shape, classes: int, *, widths: Sequence[int] = (32, 512)) -> nn.Sequential:
    """5x5 convolution → max-pool 2 stride 2 → 5x5 convolution → max-pool 2 stride 1 → dense; leaky ReLU 0.01.

    Source: Däubener et al., "Efficient calculation of adversarial examples for Bayesian neural networks", appendix
    A: widths (32, 512) for MNIST, (32, 1024) for Fashion-MNIST.
    """
    if len(widths) != 2:
        raise ValueError(f"small_cnn has two convolutions, so widths must be two numbers; got {list(widths)}.")
    for width in widths:
        check_count("every width", width)
    height, width = (((side - 4) // 2 - 4) - 1 for side in shape[1:])
    if min(height, width) < 1:
        raise ValueError(f"small_cnn needs images of 16 x 16 or more; got {shape[1]} x {shape[2]}.")
    first, second = widths
    return nn.Sequential(
        nn.Conv2d(shape[0], first, 5),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5),
        nn.LeakyReLU(0.01),
        nn.MaxPool2d(2, stride=1),
        nn.Flatten(),
        nn.Linear(second * height * width, classes),
    )


NETWORKS: dict[str, Callable[..., nn.Module]] = {"mlp": mlp, "small_cnn": small_cnn}
