"""Residual networks, layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import count, raises_sentence, small_network
from unshaken.networks import wide_resnet


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 5, 9)])
def test_residual_networks_take_images_of_any_size(shape):
    for name in ("wide_resnet", "resnet18"):
        assert small_network(name, shape, 3)(torch.rand(2, *shape)).shape == (2, 3)


def test_a_wide_block_is_its_layers_in_order_with_the_stride_in_the_second_convolution():
    net = wide_resnet((3, 8, 8), 4, depth=16, width=2, dropout=0.3)
    block = net[4]  # after normalisation, stem and the two blocks of the first group
    layers = [nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.Dropout, nn.BatchNorm2d, nn.ReLU, nn.Conv2d]
    assert [type(layer) for layer in block.main] == layers
    assert (block.main[2].stride, block.main[6].stride, block.shortcut.stride) == ((1, 1), (2, 2), (2, 2))
    assert (block.main[2].weight.shape[:2], block.main[6].weight.shape[:2]) == ((64, 32), (64, 64))
    assert isinstance(net[5].shortcut, nn.Identity)
    assert [layer.momentum for layer in (net[8], block.main[0])] == [0.9, 0.1]
    assert count(wide_resnet((3, 8, 8), 4, depth=16, width=2), nn.Dropout) == 0
    assert all(not tensor.any() for name, tensor in block.named_parameters() if name == "main.6.bias")
    bound = (2 * 6 / (9 * (64 + 64))) ** 0.5  # Xavier's, with gain √2
    assert 0.95 * bound < block.main[6].weight.abs().max() < bound


def test_a_wide_block_adds_its_raw_input():
    block = wide_resnet((3, 8, 8), 4, depth=10, width=1)[2].eval()
    x = torch.randn(2, 16, 8, 8)
    normed = [block.main[i].eps + 1 for i in (0, 3)]  # fresh running statistics: mean 0, variance 1
    hidden = block.main[2](torch.relu(x / normed[0] ** 0.5))
    torch.testing.assert_close(block(x), block.main[5](torch.relu(hidden / normed[1] ** 0.5)) + x)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 27}, r"depth of wide_resnet must be 6n \+ 4, such as 22 or 28; got 27"),
        ({"depth": 4}, r"depth of wide_resnet must be 6n \+ 4, such as 10; got 4"),
        ({"depth": 2.5}, "depth must be a whole number, 1 or more; got 2.5"),
        ({"dropout": 1.0}, "dropout must be a number from 0 to below 1; got 1.0"),
        ({"mean": (0.5, 0.5)}, "mean must be one number, or one for each of the 3 channels; got 2 numbers"),
        ({"std": (0.5, 0.5, 0.0)}, "every std must be a number above 0; got 0.0"),
        ({"mean": float("nan")}, "every mean must be a finite number, 0 or more; got nan"),
    ],
)
def test_wide_resnet_says_what_it_cannot_be(settings, message):
    with raises_sentence(message):
        wide_resnet((3, 32, 32), 10, **settings)
