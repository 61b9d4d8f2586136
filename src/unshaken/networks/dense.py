"""Networks of dense layers."""

from collections.abc import Sequence

from torch import nn

from unshaken.networks.layers import Shape, dense_layers
from unshaken.types import Count, Supplied
from unshaken.validate import check_each


def mlp(shape: Supplied[Shape], classes: Supplied[int], *, widths: Sequence[Count] = (128, 128)) -> nn.Sequential:
    """Dense layers with ReLU between them: C·H·W → widths → classes."""
    check_each("every width", widths, Count)
    sizes = [shape[0] * shape[1] * shape[2], *widths]
    return nn.Sequential(nn.Flatten(), *dense_layers(sizes), nn.Linear(sizes[-1], classes))
