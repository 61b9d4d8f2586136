"""Plain networks: inputs (B, C, H, W) in [0, 1], logits (B, K)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from unshaken.validate import check_count, check_not_negative, check_positive

Shape = tuple[int, int, int]  # (C, H, W)
PerChannel = float | Sequence[float]  # one number for all channels, or one for each


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
    _check_convolutions("small_cnn", shape, widths, smallest=16)
    height, width = (((side - 4) // 2 - 4) - 1 for side in shape[1:])
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


def lenet(shape: Shape, classes: int, *, widths: Sequence[int] = (32, 64), dense: int = 1024) -> nn.Sequential:
    """Twice 5x5 convolution with padding 2 → ReLU → max-pool 2, then dense → ReLU → dense.

    Source: Chernyak et al., "Constant random perturbations provide adversarial robustness with minimal effect on
    accuracy" (2021), appendix A.1. It tells neither the padding nor the width of the first dense layer: both are those
    of the MNIST network of Madry et al. (2018), which is otherwise the same.
    """
    _check_convolutions("lenet", shape, widths, smallest=4)
    check_count("dense", dense)
    first, second = widths
    return nn.Sequential(
        nn.Conv2d(shape[0], first, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(second * (shape[1] // 4) * (shape[2] // 4), dense),
        nn.ReLU(),
        nn.Linear(dense, classes),
    )


def _check_convolutions(name: str, shape: Shape, widths: Sequence[int], *, smallest: int) -> None:
    """Widths of two convolutions, and images that are large enough for them."""
    if len(widths) != 2:
        raise ValueError(f"{name} has two convolutions, so widths must be two numbers; got {list(widths)}.")
    for width in widths:
        check_count("every width", width)
    if min(shape[1:]) < smallest:
        raise ValueError(f"{name} needs images of {smallest} x {smallest} or more; got {shape[1]} x {shape[2]}.")


class Normalise(nn.Module):
    """(x − mean) / std for x (B, C, H, W); `mean` and `std` are one number, or one for each channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, mean: PerChannel = 0.5, std: PerChannel = 0.25) -> None:
        super().__init__()
        for name, given, check in (("mean", mean, check_not_negative), ("std", std, check_positive)):
            values = [*given] if isinstance(given, Sequence) else [given] * channels
            if len(values) != channels:
                raise ValueError(
                    f"{name} must be one number, or one for each of the {channels} channels; got {len(values)} numbers."
                )
            for value in values:
                check(f"every {name}", value)
            self.register_buffer(name, torch.tensor(values, dtype=torch.get_default_dtype()).view(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class Residual(nn.Module):
    """main(x) + shortcut(x), two modules from the same shape to the same shape."""

    def __init__(self, main: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.main(x) + self.shortcut(x)
        return total


def wide_resnet(
    shape: Shape,
    classes: int,
    *,
    depth: int = 28,
    width: int = 10,
    dropout: float = 0.0,
    mean: PerChannel = 0.5,
    std: PerChannel = 0.25,
) -> nn.Sequential:
    """WRN-depth-width: 3 groups of (depth − 4) / 6 residual blocks, 16·width, 32·width and 64·width channels wide.

    A block is BatchNorm → ReLU → 3x3 convolution → dropout → BatchNorm → ReLU → 3x3 convolution, plus its input, which
    goes through a 1x1 convolution where the shape changes. `dropout` is the probability of a zero; at 0 there are no
    dropout layers. `mean` and `std` normalise the input, per channel.

    Source: Zagoruyko & Komodakis, "Wide residual networks" (2017), in the PyTorch form that Däubener & Fischer (2022)
    trained with MC dropout (github.com/meliketoy/wide-resnet.pytorch): the second convolution of a block has the
    stride, the shortcut starts at the input itself, convolutions have biases and begin as Xavier's with gain √2, and
    the last BatchNorm keeps only 0.1 of its running statistics at each step. In the authors' own code the first
    convolution has the stride, a shortcut of another shape starts behind the first ReLU, and there are no biases.
    """
    check_count("depth", depth)
    check_count("width", width)
    blocks = (depth - 4) // 6
    if depth < 10 or depth != 6 * blocks + 4:
        valid = (6 * blocks + 4, 6 * blocks + 10) if depth > 10 else (10,)
        raise ValueError(
            f"the depth of wide_resnet must be 6n + 4, such as {' or '.join(map(str, valid))}; got {depth}."
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be a number from 0 to below 1; got {dropout!r}.")
    layers: list[nn.Module] = [Normalise(shape[0], mean, std), nn.Conv2d(shape[0], 16, 3, padding=1)]
    channels = 16
    for group, stride in enumerate((1, 2, 2)):
        for block in range(blocks):
            wide = width * 16 * 2**group
            layers.append(_wide_block(channels, wide, 1 if block else stride, dropout))
            channels = wide
    layers += [nn.BatchNorm2d(channels, momentum=0.9), nn.ReLU(), *_head(shape, 2, channels, classes)]
    net = nn.Sequential(*layers)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.xavier_uniform_(module.weight, gain=2**0.5)
            nn.init.zeros_(module.bias)
    return net


def _wide_block(inputs: int, outputs: int, stride: int, dropout: float) -> Residual:
    main = nn.Sequential(
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, 3, padding=1),
        *([nn.Dropout(dropout)] if dropout else []),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, stride, padding=1),
    )
    same = stride == 1 and inputs == outputs
    return Residual(main, nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride))


def resnet18(
    shape: Shape, classes: int, *, width: int = 64, mean: PerChannel = 0.5, std: PerChannel = 0.25
) -> nn.Sequential:
    """ResNet-18 for small images: 3x3 stem, no max-pooling, 4 groups of 2 blocks, width, 2, 4 and 8·width channels.

    A block is 3x3 convolution → BatchNorm → ReLU → 3x3 convolution → BatchNorm, plus its input (through a 1x1
    convolution and BatchNorm where the shape changes), then ReLU. `mean` and `std` normalise the input, per channel.

    Source: He et al., "Deep residual learning for image recognition" (2016); the stem is that of its section 4.2.
    """
    check_count("width", width)
    layers: list[nn.Module] = [Normalise(shape[0], mean, std), *_normed(shape[0], width, 3), nn.ReLU()]
    channels = width
    for group, stride in enumerate((1, 2, 2, 2)):
        for step in (stride, 1):
            wide = width * 2**group
            layers += [_basic_block(channels, wide, step), nn.ReLU()]
            channels = wide
    return nn.Sequential(*layers, *_head(shape, 3, channels, classes))


def _basic_block(inputs: int, outputs: int, stride: int) -> Residual:
    main = nn.Sequential(*_normed(inputs, outputs, 3, stride), nn.ReLU(), *_normed(outputs, outputs, 3))
    same = stride == 1 and inputs == outputs
    return Residual(main, nn.Identity() if same else nn.Sequential(*_normed(inputs, outputs, 1, stride)))


def _normed(inputs: int, outputs: int, size: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    """A convolution that keeps the size of the image but for its stride, and BatchNorm in the place of its bias."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(outputs)


def _head(shape: Shape, halvings: int, channels: int, classes: int) -> tuple[nn.Module, ...]:
    """The mean over what is left of the image, then a dense layer."""
    # not AdaptiveAvgPool2d, which falls back to a loop under vmap (torch 2.13)
    left = [-(-side // 2**halvings) for side in shape[1:]]
    return nn.AvgPool2d((left[0], left[1])), nn.Flatten(), nn.Linear(channels, classes)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "small_cnn": small_cnn,
    "lenet": lenet,
    "wide_resnet": wide_resnet,
    "resnet18": resnet18,
}
