"""Convolutional networks without shortcuts."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from unshaken.networks.layers import Normalise, PerChannel, Shape, check_sizes, dropout_layers, normed_convolution
from unshaken.types import Count, Probability, Supplied
from unshaken.validate import check_each, check_range


def small_cnn(shape: Supplied[Shape], classes: Supplied[int], *, widths: Sequence[Count] = (32, 512)) -> nn.Sequential:
    """5x5 convolution → max-pool 2 stride 2 → 5x5 convolution → max-pool 2 stride 1 → dense; leaky ReLU 0.01.

    Source: Däubener et al., "Efficient calculation of adversarial examples for Bayesian neural networks", appendix
    A: widths (32, 512) for MNIST, (32, 1024) for Fashion-MNIST.
    """
    check_sizes("small_cnn", shape, widths, smallest=16)
    height, width = (((side - 4) // 2 - 4) - 1 for side in shape[1:])
    first, second = widths
    layers: list[nn.Module] = [nn.Conv2d(shape[0], first, 5), nn.LeakyReLU(0.01), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(first, second, 5), nn.LeakyReLU(0.01), nn.MaxPool2d(2, stride=1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(second * height * width, classes))


def lenet(
    shape: Supplied[Shape], classes: Supplied[int], *, widths: Sequence[Count] = (32, 64), dense: Count = 1024
) -> nn.Sequential:
    """Twice 5x5 convolution with padding 2 → ReLU → max-pool 2, then dense → ReLU → dense.

    Source: Chernyak et al., "Constant random perturbations provide adversarial robustness with minimal effect on
    accuracy" (2021), appendix A.1. It tells neither the padding nor the width of the first dense layer: both are those
    of the MNIST network of Madry et al. (2018), which is otherwise the same.
    """
    return _two_convolutions("lenet", shape, classes, widths, dense, size=5)


def dropout_cnn(
    shape: Supplied[Shape],
    classes: Supplied[int],
    *,
    widths: Sequence[Count] = (32, 32),
    dense: Count = 64,
    dropout: Probability = 0.5,
) -> nn.Sequential:
    """Twice 3x3 convolution with padding 1 → ReLU → max-pool 2, then dropout → dense → ReLU → dense.

    `dropout` is the probability of a zero; at 0 there is no dropout layer.
    Source: Ye & Zhu, "Bayesian adversarial learning" (2018), section 5.1, for MNIST. The padding, the width of the
    first dense layer and the probability are those of the authors' code
    (github.com/PKUAI26/Bayesian-Adversarial-Learning).
    """
    return _two_convolutions("dropout_cnn", shape, classes, widths, dense, size=3, dropout=dropout)


def _two_convolutions(
    name: str, shape: Shape, classes: int, widths: Sequence[Count], dense: int, *, size: int, dropout: float = 0.0
) -> nn.Sequential:
    """Twice convolution of this size, which keeps that of the image → ReLU → max-pool 2; dropout, two dense layers."""
    check_sizes(name, shape, widths, smallest=4)
    check_range("dense", dense, Count)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((shape[0], *widths)):
        layers += [nn.Conv2d(inputs, outputs, size, padding=size // 2), nn.ReLU(), nn.MaxPool2d(2)]
    hidden = nn.Linear(widths[1] * (shape[1] // 4) * (shape[2] // 4), dense)
    return nn.Sequential(*layers, nn.Flatten(), *dropout_layers(dropout), hidden, nn.ReLU(), nn.Linear(dense, classes))


def vgg(
    shape: Supplied[Shape],
    classes: Supplied[int],
    *,
    widths: Sequence[Count] = (64, 128, 256, 512, 512),
    convolutions: Sequence[Count] | None = None,
    dense: Count = 512,
    dropout: Probability = 0.0,
    mean: PerChannel = 0.5,
    std: PerChannel = 0.25,
) -> nn.Sequential:
    """VGG for small images: a group of 3x3 convolutions for each of `widths`, max-pool 2 after it, two dense layers.

    Each convolution keeps the size of the image and is followed by BatchNorm → ReLU. `convolutions` is how many each
    group has, by default 2 in the first two and 3 in all others. `dropout`, before each dense layer, is the probability
    of a zero; at 0 there are no dropout layers. `mean` and `std` normalise the input, per channel.
    Source: Simonyan & Zisserman, "Very deep convolutional networks for large-scale image recognition" (2014),
    configuration D of 16 layers. There was no BatchNorm, and 4096 units in each of two hidden dense layers, where
    images of 32 x 32 leave but 512 numbers to begin with: here is one, of `dense` units.
    """
    name = f"vgg with {len(widths)} groups"
    check_sizes(name, shape, widths, smallest=2 ** len(widths), count=len(widths))
    check_range("dense", dense, Count)
    counts = [2 if group < 2 else 3 for group in range(len(widths))] if convolutions is None else convolutions
    if len(counts) != len(widths):
        raise ValueError(f"{name} needs as many numbers of convolutions; got {list(counts)}.")
    check_each("every number of convolutions", counts, Count)
    layers: list[nn.Module] = [Normalise(shape[0], mean, std)]
    channels = shape[0]
    for width, count in zip(widths, counts, strict=True):
        for _ in range(count):
            layers += [*normed_convolution(channels, width, 3), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    features = channels * (shape[1] // 2 ** len(widths)) * (shape[2] // 2 ** len(widths))
    hidden = [*dropout_layers(dropout), nn.Linear(features, dense), nn.ReLU(), *dropout_layers(dropout)]
    return nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(dense, classes))
