"""The layer that normalises inputs."""

from __future__ import annotations

import torch

from oracles import small_network
from unshaken.networks import Normalise


def test_normalisation_is_per_channel_and_saved():
    layer = Normalise(2, mean=(0.5, 0.25), std=(0.5, 0.125))
    x = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(3, 2, 4, 5)
    torch.testing.assert_close(layer(x)[2, :, 3, 4], torch.tensor([1.0, -2.0]))
    torch.testing.assert_close(Normalise(2, mean=0.5, std=0.25)(x)[0, :, 0, 0], torch.tensor([2.0, -2.0]))
    assert layer.state_dict().keys() == {"mean", "std"}
    assert all(type(small_network(name, (1, 8, 8), 2)[0]) is Normalise for name in ("wide_resnet", "resnet18", "vgg"))
