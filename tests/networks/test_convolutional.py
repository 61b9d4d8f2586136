"""Convolutional networks, layer by layer."""

from __future__ import annotations

import torch
from torch import nn

from oracles import count
from unshaken.networks import Normalise, dropout_cnn, lenet, small_cnn, vgg


def test_lenet_is_two_padded_convolutions_and_two_dense_layers():
    net = lenet((1, 28, 28), 10)
    stage = [nn.Conv2d, nn.ReLU, nn.MaxPool2d]
    assert [type(layer) for layer in net] == [*stage, *stage, nn.Flatten, nn.Linear, nn.ReLU, nn.Linear]
    assert net[:3](torch.rand(1, 1, 28, 28)).shape == (1, 32, 14, 14)
    assert count(net) == (25 + 1) * 32 + (25 * 32 + 1) * 64 + (7 * 7 * 64 + 1) * 1024 + (1024 + 1) * 10
    assert count(lenet((3, 8, 9), 10, widths=(2, 3), dense=5)[7:]) == (2 * 2 * 3 + 1) * 5 + (5 + 1) * 10
    assert lenet((1, 4, 4), 2)(torch.rand(3, 1, 4, 4)).shape == (3, 2)


def test_dropout_cnn_is_two_padded_convolutions_a_dropout_layer_and_two_dense_layers():
    net = dropout_cnn((1, 28, 28), 10)
    stage = [nn.Conv2d, nn.ReLU, nn.MaxPool2d]
    head = [nn.Flatten, nn.Dropout, nn.Linear, nn.ReLU, nn.Linear]
    assert [type(layer) for layer in net] == [*stage, *stage, *head]
    assert (net[7].p, net[:6](torch.rand(1, 1, 28, 28)).shape) == (0.5, (1, 32, 7, 7))
    assert count(net) == 110_634  # as many as the weights that came with the paper
    assert count(dropout_cnn((3, 8, 9), 10, widths=(2, 3), dense=5, dropout=0.0), nn.Dropout) == 0
    assert dropout_cnn((1, 4, 4), 2)(torch.rand(3, 1, 4, 4)).shape == (3, 2)


def test_vgg_is_groups_of_normed_convolutions_and_two_dense_layers():
    net = vgg((3, 9, 19), 5, widths=(2, 4, 6), convolutions=(1, 2, 1), dense=7, dropout=0.5)
    one = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    groups = [*one, nn.MaxPool2d, *one, *one, nn.MaxPool2d, *one, nn.MaxPool2d]
    head = [nn.Flatten, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert [type(layer) for layer in net] == [Normalise, *groups, *head]
    assert [net[i].in_channels for i in (1, 5, 8, 12)] == [3, 2, 4, 4]
    assert net[-4].in_features == 6 * 1 * 2  # 9 x 19 → 4 x 9 → 2 x 4 → 1 x 2
    assert net(torch.rand(2, 3, 9, 19)).shape == (2, 5)
    assert count(vgg((3, 32, 32), 10, widths=(2, 2, 2)), nn.Conv2d) == 2 + 2 + 3
    assert count(vgg((3, 32, 32), 10, widths=(2, 2, 2)), nn.Dropout) == 0


def test_the_dense_layer_of_small_cnn_takes_all_that_the_convolutions_leave():
    assert small_cnn((1, 28, 28), 10)[-1].in_features == 512 * 7 * 7
