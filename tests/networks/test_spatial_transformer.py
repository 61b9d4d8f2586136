"""A spatial transformer moves its input as its map says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import count, moving, small_network
from unshaken.networks import SpatialTransformer, stn


def test_stn_is_a_spatial_transformer_three_convolutions_and_two_dense_layers():
    net = stn((1, 32, 32), 43)
    stage = [nn.Conv2d, nn.LeakyReLU, nn.MaxPool2d, nn.BatchNorm2d, nn.Dropout2d]
    head = [nn.Flatten, nn.Linear, nn.LeakyReLU, nn.Dropout, nn.Linear]
    assert [type(layer) for layer in net] == [SpatialTransformer, *stage, *stage, *stage, *head]
    assert [type(layer) for layer in net[0].localisation] == [*(stage[:3] + stage[4:]) * 2, *head]
    assert [layer.p for layer in net.modules() if isinstance(layer, nn.Dropout | nn.Dropout2d)] == [0.5] * 7
    convolutions = (25 + 1) * 50 + (9 * 50 + 1) * 100 + (100 + 1) * 150 + 2 * (50 + 100 + 150)
    transformer = (49 + 1) * 10 + (25 * 10 + 1) * 10 + (8 * 8 * 10 + 1) * 10 + (10 + 1) * 6
    assert count(net) == transformer + convolutions + (3 * 3 * 150 + 1) * 350 + (350 + 1) * 43
    bare = stn((3, 16, 19), 5, widths=(2, 3, 4), dense=6, localisation=(2, 3, 4), dropout=0.0)
    assert count(bare, nn.Dropout) == count(bare, nn.Dropout2d) == 0
    assert bare(torch.rand(2, 3, 16, 19)).shape == (2, 5)


def test_a_spatial_transformer_begins_as_the_identity():
    layer, x = small_network("stn", (3, 16, 20), 4)[0], torch.rand(2, 3, 16, 20)
    torch.testing.assert_close(layer(x), x, atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad(layer(x).square().sum(), layer.localisation[-1].weight)
    assert gradient.any()


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((-1, 0, 0, 0, 1, 0), lambda x: x.flip(3)),
        ((1, 0, 0, 0, -1, 0), lambda x: x.flip(2)),
        ((0, 1, 0, 1, 0, 0), lambda x: x.mT),
        (
            (1, 0, 0.5, 0, 1, 0),
            lambda x: nn.functional.pad(x[..., 1:], (0, 1)),
        ),  # half of the way to the edge: one of 4
        ((1, 0, 0, 0, 1, -0.5), lambda x: nn.functional.pad(x[..., :-1, :], (0, 0, 1, 0))),
    ],
)
def test_a_spatial_transformer_looks_where_its_map_says(numbers, expected):
    class Fixed(nn.Module):
        def forward(self, x):
            return torch.tensor([numbers, (1.0, 0, 0, 0, 1, 0)])

    x = torch.rand(2, 3, 5, 5)
    sampled = SpatialTransformer(Fixed())(x)
    torch.testing.assert_close(sampled, torch.stack([expected(x[:1])[0], x[1]]), atol=1e-5, rtol=0)


def test_a_spatial_transformer_maps_as_torch_does():
    layer, x = moving(small_network("stn", (3, 16, 20), 4))[0].eval(), torch.rand(4, 3, 16, 20)
    positions = nn.functional.affine_grid(layer.localisation(x).view(4, 2, 3), x.shape, align_corners=True)
    torch.testing.assert_close(layer(x), nn.functional.grid_sample(x, positions, align_corners=True))
