"""A network that looks at its input through an affine map."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unshaken.networks.layers import Shape, check_sizes, dropout_layers
from unshaken.types import Count, Probability, Supplied
from unshaken.validate import check_each, check_range


class SpatialTransformer(nn.Module):
    """x (B, C, H, W) seen through an affine map for each image, which `localisation` predicts: (B, C, H, W) → (B, 6).

    With its six numbers as the rows of [A | b], the output at position p is x at Ap + b: bilinear between pixels,
    zero outside the image. Positions are (column, row) from −1 to 1, the centres of the outermost pixels
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
        positions = F.affine_grid(identity, [1, 1, *x.shape[2:]], align_corners=True)
        sampled = positions.flatten(1, 2) @ maps[..., :2].mT + maps[..., 2].unsqueeze(1)
        return F.grid_sample(x, sampled.unflatten(1, x.shape[2:]), align_corners=True)


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
    check_sizes("stn", shape, widths, smallest=16, count=3)
    check_range("dense", dense, Count)
    layers: list[nn.Module] = [SpatialTransformer(_localisation(shape, localisation, dropout))]
    channels = shape[0]
    for width, size in zip(widths, (5, 3, 1), strict=True):
        layers += [nn.Conv2d(channels, width, size), nn.LeakyReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(width)]
        layers += dropout_layers(dropout, nn.Dropout2d)
        channels = width
    height, width = (((side - 4) // 2 - 2) // 4 for side in shape[1:])
    hidden = [nn.Linear(channels * height * width, dense), nn.LeakyReLU(), *dropout_layers(dropout)]
    return nn.Sequential(*layers, nn.Flatten(), *hidden, nn.Linear(dense, classes))


def _localisation(shape: Shape, widths: Sequence[Count], dropout: float) -> nn.Sequential:
    """An affine map for each image (B, 6), the identity for any image before training."""
    if len(widths) != 3:
        expected = "localisation must be three numbers, the widths of two convolutions and of a dense layer"
        raise ValueError(f"{expected}; got {list(widths)}.")
    check_each("every width of localisation", widths, Count)
    layers: list[nn.Module] = []
    for inputs, width, size in ((shape[0], widths[0], 7), (widths[0], widths[1], 5)):
        layers += [nn.Conv2d(inputs, width, size, padding=size // 2), nn.LeakyReLU(), nn.MaxPool2d(2)]
        layers += dropout_layers(dropout, nn.Dropout2d)
    hidden = nn.Linear(widths[1] * (shape[1] // 4) * (shape[2] // 4), widths[2])
    last = nn.Linear(widths[2], 6)
    nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.eye(2, 3).flatten())
    return nn.Sequential(*layers, nn.Flatten(), hidden, nn.LeakyReLU(), *dropout_layers(dropout), last)
