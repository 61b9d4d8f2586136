"""Plain networks: inputs (B, C, H, W) in [0, 1], logits (B, K)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken.networks.autoencoder import vae
from unshaken.types import Count, NotNegative, Positive, Probability, Supplied
from unshaken.validate import check_range

Shape = tuple[int, int, int]  # (C, H, W)
PerChannel = float | Sequence[float]  # one number for all channels, or one for each


def mlp(shape: Supplied[Shape], classes: Supplied[int], *, widths: Sequence[Count] = (128, 128)) -> nn.Sequential:
    """Dense layers with ReLU between them: C·H·W → widths → classes."""
    for width in widths:
        check_range("every width", width, Count)
    sizes = [shape[0] * shape[1] * shape[2], *widths]
    hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(sizes[-1], classes))


def small_cnn(shape: Supplied[Shape], classes: Supplied[int], *, widths: Sequence[Count] = (32, 512)) -> nn.Sequential:
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
    _check_convolutions(name, shape, widths, smallest=4)
    check_range("dense", dense, Count)
    first, second = widths
    return nn.Sequential(
        nn.Conv2d(shape[0], first, size, padding=size // 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, size, padding=size // 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        *_dropout(dropout),
        nn.Linear(second * (shape[1] // 4) * (shape[2] // 4), dense),
        nn.ReLU(),
        nn.Linear(dense, classes),
    )


def _check_convolutions(name: str, shape: Shape, widths: Sequence[Count], *, smallest: int, count: int = 2) -> None:
    """Widths of `count` convolutions, and images that are large enough for them."""
    if len(widths) != count:
        word = {2: "two", 3: "three"}[count]
        raise ValueError(f"{name} has {word} convolutions, so widths must be {word} numbers; got {list(widths)}.")
    for width in widths:
        check_range("every width", width, Count)
    if min(shape[1:]) < smallest:
        raise ValueError(f"{name} needs images of {smallest} x {smallest} or more; got {shape[1]} x {shape[2]}.")


def _dropout(probability: float, kind: type[nn.Module] = nn.Dropout) -> list[nn.Module]:
    """A dropout layer, or none where nothing is dropped."""
    if not 0 <= probability < 1:
        raise ValueError(f"dropout must be a number from 0 to below 1; got {probability!r}.")
    return [kind(probability)] if probability else []


class Normalise(nn.Module):
    """(x − mean) / std for x (B, C, H, W); `mean` and `std` are one number, or one for each channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, mean: PerChannel = 0.5, std: PerChannel = 0.25) -> None:
        super().__init__()
        for name, given, kind in (("mean", mean, NotNegative), ("std", std, Positive)):
            values = [*given] if isinstance(given, Sequence) else [given] * channels
            if len(values) != channels:
                raise ValueError(
                    f"{name} must be one number, or one for each of the {channels} channels; got {len(values)} numbers."
                )
            for value in values:
                check_range(f"every {name}", value, kind)
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
    shape: Supplied[Shape],
    classes: Supplied[int],
    *,
    depth: Count = 28,
    width: Count = 10,
    dropout: Probability = 0.0,
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
    check_range("depth", depth, Count)
    check_range("width", width, Count)
    blocks = (depth - 4) // 6
    if depth < 10 or depth != 6 * blocks + 4:
        valid = (6 * blocks + 4, 6 * blocks + 10) if depth > 10 else (10,)
        raise ValueError(
            f"the depth of wide_resnet must be 6n + 4, such as {' or '.join(map(str, valid))}; got {depth}."
        )
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
        *_dropout(dropout),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, stride, padding=1),
    )
    same = stride == 1 and inputs == outputs
    return Residual(main, nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride))


def resnet18(
    shape: Supplied[Shape], classes: Supplied[int], *, width: Count = 64, mean: PerChannel = 0.5, std: PerChannel = 0.25
) -> nn.Sequential:
    """ResNet-18 for small images: 3x3 stem, no max-pooling, 4 groups of 2 blocks, width, 2, 4 and 8·width channels.

    A block is 3x3 convolution → BatchNorm → ReLU → 3x3 convolution → BatchNorm, plus its input (through a 1x1
    convolution and BatchNorm where the shape changes), then ReLU. `mean` and `std` normalise the input, per channel.

    Source: He et al., "Deep residual learning for image recognition" (2016); the stem is that of its section 4.2.
    """
    check_range("width", width, Count)
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
    _check_convolutions(name, shape, widths, smallest=2 ** len(widths), count=len(widths))
    check_range("dense", dense, Count)
    counts = [2 if group < 2 else 3 for group in range(len(widths))] if convolutions is None else convolutions
    if len(counts) != len(widths):
        raise ValueError(f"{name} needs as many numbers of convolutions; got {list(counts)}.")
    layers: list[nn.Module] = [Normalise(shape[0], mean, std)]
    channels = shape[0]
    for width, count in zip(widths, counts, strict=True):
        check_range("every number of convolutions", count, Count)
        for _ in range(count):
            layers += [*_normed(channels, width, 3), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    left = channels * (shape[1] // 2 ** len(widths)) * (shape[2] // 2 ** len(widths))
    hidden = [*_dropout(dropout), nn.Linear(left, dense), nn.ReLU(), *_dropout(dropout)]
    return nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(dense, classes))


class SpatialTransformer(nn.Module):
    """x (B, C, H, W) seen through an affine map for each image, which `localisation` predicts: (B, C, H, W) → (B, 6).

    With its six numbers as the rows of [A | b], the output at the place p is x at Ap + b: bilinear between pixels,
    zero outside the image. Places are (column, row) from −1 to 1, the centres of the outermost pixels
    (`align_corners=True`: PyTorch 0.4, in which the authors of `stn` wrote it, knows nothing else). A GPU adds up the
    gradients of pixels in no fixed order, so results there are the same but for rounding.

    Source: Jaderberg et al., "Spatial transformer networks" (2015).
    """

    def __init__(self, localisation: nn.Module) -> None:
        super().__init__()
        self.localisation = localisation

    def forward(self, x: Tensor) -> Tensor:
        maps = self.localisation(x).unflatten(1, (2, 3))
        identity = torch.eye(2, 3, dtype=x.dtype, device=x.device).unsqueeze(0)
        # of one image: for maps that differ between draws affine_grid falls back to a loop under vmap (torch 2.13)
        places = F.affine_grid(identity, [1, 1, *x.shape[2:]], align_corners=True)
        moved = places.flatten(1, 2) @ maps[..., :2].mT + maps[..., 2].unsqueeze(1)
        return F.grid_sample(x, moved.unflatten(1, x.shape[2:]), align_corners=True)


def stn(
    shape: Supplied[Shape],
    classes: Supplied[int],
    *,
    widths: Sequence[Count] = (50, 100, 150),
    dense: Count = 350,
    localisation: Sequence[Count] = (10, 10, 10),
    dropout: Probability = 0.5,
) -> nn.Sequential:
    """Spatial transformer, then 5x5, 3x3 and 1x1 convolutions without padding, then dense → dense; leaky ReLU 0.01.

    Each convolution is followed by leaky ReLU → max-pool 2 → BatchNorm → dropout of whole channels; the first dense
    layer by leaky ReLU → dropout. The map of the spatial transformer comes from a 7x7 and a 5x5 convolution that keep
    the size, each with leaky ReLU → max-pool 2 → dropout of whole channels, and from a dense layer with leaky ReLU →
    dropout, of the widths `localisation`; before training it is the identity for every image. `dropout` is the
    probability of a zero; at 0 there are no dropout layers. There is no moment rule for it.

    Source: Ye & Zhu, "Bayesian adversarial learning" (2018), section 5.2, for grey traffic signs of 32 x 32. All but
    the spatial transformer is told by the authors' code alone (github.com/PKUAI26/Bayesian-Adversarial-Learning), where
    a log-softmax comes last.
    """
    _check_convolutions("stn", shape, widths, smallest=16, count=3)
    check_range("dense", dense, Count)
    layers: list[nn.Module] = [SpatialTransformer(_localisation(shape, localisation, dropout))]
    channels = shape[0]
    for width, size in zip(widths, (5, 3, 1), strict=True):
        layers += [nn.Conv2d(channels, width, size), nn.LeakyReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(width)]
        layers += _dropout(dropout, nn.Dropout2d)
        channels = width
    left = [((side - 4) // 2 - 2) // 4 for side in shape[1:]]
    hidden = [nn.Linear(channels * left[0] * left[1], dense), nn.LeakyReLU(), *_dropout(dropout)]
    return nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(dense, classes))


def _localisation(shape: Shape, widths: Sequence[Count], dropout: float) -> nn.Sequential:
    """An affine map for each image (B, 6), the identity for any image before training."""
    if len(widths) != 3:
        told = "localisation must be three numbers, the widths of two convolutions and of a dense layer"
        raise ValueError(f"{told}; got {list(widths)}.")
    for width in widths:
        check_range("every width of localisation", width, Count)
    layers: list[nn.Module] = []
    for inputs, width, size in ((shape[0], widths[0], 7), (widths[0], widths[1], 5)):
        layers += [nn.Conv2d(inputs, width, size, padding=size // 2), nn.LeakyReLU(), nn.MaxPool2d(2)]
        layers += _dropout(dropout, nn.Dropout2d)
    hidden = nn.Linear(widths[1] * (shape[1] // 4) * (shape[2] // 4), widths[2])
    last = nn.Linear(widths[2], 6)
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.eye(2, 3).flatten())
    return nn.Sequential(*layers, nn.Flatten(), hidden, nn.LeakyReLU(), *_dropout(dropout), last)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    "small_cnn": small_cnn,
    "lenet": lenet,
    "dropout_cnn": dropout_cnn,
    "wide_resnet": wide_resnet,
    "resnet18": resnet18,
    "vgg": vgg,
    "stn": stn,
    "vae": vae,
}
