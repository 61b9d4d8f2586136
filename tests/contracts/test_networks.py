"""What every network promises: logits for images of any shape it accepts, from a file that says so."""

from __future__ import annotations

import pytest
import torch

from oracles import raises_sentence
from unshaken.networks import NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 18, 20)])
def test_logits_have_one_row_per_input_and_reach_every_pixel(name, shape):
    net = NETWORKS[name](shape, 7)
    x = torch.rand(5, *shape, requires_grad=True)
    logits = net(x)
    assert logits.shape == (5, 7)
    (gradient,) = torch.autograd.grad(logits.square().sum(), x)
    assert gradient[:, :, :15, :15].ne(0).float().mean() > 0.5  # max-pooling drops some, and the last rows
    torch.testing.assert_close(net.eval()(x)[:2], net(x[:2]))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_width_that_is_no_whole_number_above_zero_is_refused(name):
    for width in (0, 2.5):
        with raises_sentence(rf"every width must be a whole number, 1 or more; got {width}"):
            NETWORKS[name]((1, 28, 28), 10, widths=(8, width))


@pytest.mark.parametrize(
    ("shape", "widths", "message"),
    [((1, 28, 28), (8,), r"two numbers; got \[8\]"), ((1, 15, 28), (8, 8), r"16 x 16 or more; got 15 x 28")],
)
def test_small_cnn_says_what_it_cannot_be(shape, widths, message):
    with raises_sentence(message):
        NETWORKS["small_cnn"](shape, 10, widths=widths)


def test_widths_are_those_asked_for():
    shapes = [tuple(tensor.shape) for tensor in NETWORKS["mlp"]((1, 2, 3), 4, widths=(5, 7)).parameters()]
    assert shapes == [(5, 6), (5,), (7, 5), (7,), (4, 7), (4,)]
    assert NETWORKS["small_cnn"]((1, 28, 28), 10)[-1].in_features == 512 * 7 * 7
