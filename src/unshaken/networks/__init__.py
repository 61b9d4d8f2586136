"""Plain networks: inputs (B, C, H, W) in [0, 1], logits (B, K).

A network is a function `network(shape, classes, *, ...) -> nn.Module`, with one line in `NETWORKS`.
"""

from collections.abc import Callable

from torch import nn

from unshaken.networks.convolutional import dropout_cnn, lenet, small_cnn, vgg
from unshaken.networks.dense import VAE, mlp, vae
from unshaken.networks.layers import Normalise, Shape
from unshaken.networks.residual import Residual, resnet18, wide_resnet
from unshaken.networks.spatial import SpatialTransformer, stn

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

__all__ = ["NETWORKS", "VAE", "Normalise", "Residual", "Shape", "SpatialTransformer", *NETWORKS]
