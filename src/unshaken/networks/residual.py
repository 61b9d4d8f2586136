"""Residual networks."""

from torch import Tensor, nn

from unshaken.networks.layers import Normalise, PerChannel, Shape, dropout_layers, normed_convolution
from unshaken.types import Count, Probability, Supplied
from unshaken.validate import check_range


class Residual(nn.Module):
    """main(x) + shortcut(x), two modules from the same shape to the same shape."""

    def __init__(self, main: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.shortcut(x)


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
        valid = f"{6 * blocks + 4} or {6 * blocks + 10}" if depth > 10 else "10"
        raise ValueError(f"the depth of wide_resnet must be 6n + 4, such as {valid}; got {depth}.")
    layers: list[nn.Module] = [Normalise(shape[0], mean, std), nn.Conv2d(shape[0], 16, 3, padding=1)]
    channels = 16
    for group, stride in enumerate((1, 2, 2)):
        for block in range(blocks):
            outputs = width * 16 * 2**group
            layers.append(_wide_block(channels, outputs, 1 if block else stride, dropout))
            channels = outputs
    layers += [nn.BatchNorm2d(channels, momentum=0.9), nn.ReLU(), *_head(shape, 2, channels, classes)]
    net = nn.Sequential(*layers)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.xavier_uniform_(module.weight, gain=2**0.5)
            nn.init.zeros_(module.bias)
    return net


def _wide_block(inputs: int, outputs: int, stride: int, dropout: float) -> Residual:
    layers = [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 3, padding=1), *dropout_layers(dropout)]
    layers += [nn.BatchNorm2d(outputs), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, stride, padding=1)]
    keeps_shape = stride == 1 and inputs == outputs
    shortcut = nn.Identity() if keeps_shape else nn.Conv2d(inputs, outputs, 1, stride)
    return Residual(nn.Sequential(*layers), shortcut)


def resnet18(
    shape: Supplied[Shape], classes: Supplied[int], *, width: Count = 64, mean: PerChannel = 0.5, std: PerChannel = 0.25
) -> nn.Sequential:
    """ResNet-18 for small images: 3x3 stem, no max-pooling, 4 groups of 2 blocks, width, 2, 4 and 8·width channels.

    A block is 3x3 convolution → BatchNorm → ReLU → 3x3 convolution → BatchNorm, plus its input (through a 1x1
    convolution and BatchNorm where the shape changes), then ReLU. `mean` and `std` normalise the input, per channel.
    Source: He et al., "Deep residual learning for image recognition" (2016); the stem is that of its section 4.2.
    """
    check_range("width", width, Count)
    layers: list[nn.Module] = [Normalise(shape[0], mean, std), *normed_convolution(shape[0], width, 3), nn.ReLU()]
    channels = width
    for group, stride in enumerate((1, 2, 2, 2)):
        for block_stride in (stride, 1):
            outputs = width * 2**group
            layers += [_basic_block(channels, outputs, block_stride), nn.ReLU()]
            channels = outputs
    return nn.Sequential(*layers, *_head(shape, 3, channels, classes))


def _basic_block(inputs: int, outputs: int, stride: int) -> Residual:
    first, second = normed_convolution(inputs, outputs, 3, stride), normed_convolution(outputs, outputs, 3)
    keeps_shape = stride == 1 and inputs == outputs
    shortcut = nn.Identity() if keeps_shape else nn.Sequential(*normed_convolution(inputs, outputs, 1, stride))
    return Residual(nn.Sequential(*first, nn.ReLU(), *second), shortcut)


def _head(shape: Shape, halvings: int, channels: int, classes: int) -> tuple[nn.Module, ...]:
    """The mean over the pixels that remain of the image, then a dense layer."""
    # not AdaptiveAvgPool2d, which falls back to a loop under vmap (torch 2.13)
    height, width = (-(-side // 2**halvings) for side in shape[1:])
    return nn.AvgPool2d((height, width)), nn.Flatten(), nn.Linear(channels, classes)
