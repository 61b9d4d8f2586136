"""What every network promises: logits for images of any shape it accepts, from layers that can be walked."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import SMALL_NETWORKS, count, moving, raises_sentence, small_network
from unshaken.models import Deterministic, Dropout, MeanField
from unshaken.models.execution import logits_by_loop, logits_by_vmap
from unshaken.networks import NETWORKS, Residual, resnet18, vgg, wide_resnet

WIDTHS = {  # the setting that is checked, and what stands before its last number
    "mlp": ("widths", (8,)),
    "small_cnn": ("widths", (8,)),
    "lenet": ("widths", (8,)),
    "dropout_cnn": ("widths", (8,)),
    "stn": ("widths", (8, 8)),
    "vgg": ("widths", (8,)),
    "vae": ("widths", (8,)),
    "wide_resnet": ("width", None),
    "resnet18": ("width", None),
}


NO_MOMENTS = {"stn": r"'0' \(SpatialTransformer\)"}  # the layer that has no rule


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 18, 20)])
def test_logits_have_one_row_per_input_and_reach_every_pixel(name, shape):
    net = small_network(name, shape, 7)
    x = torch.rand(5, *shape, requires_grad=True)
    logits = net(x)
    assert logits.shape == (5, 7)
    (gradient,) = torch.autograd.grad(logits.square().sum(), x)
    assert gradient[:, :, :15, :15].ne(0).float().mean() > 0.5  # max-pooling drops some, and the last rows
    torch.testing.assert_close(net.eval()(x)[:2], net(x[:2]))


@pytest.mark.parametrize(
    "name", [name for name in NETWORKS if name != "vae"]
)  # half of which is not on the way to the logits
def test_layers_can_be_walked(name):
    """Moments go through every layer, and are the network's own logits where nothing is random."""
    model, x = Deterministic(small_network(name, (3, 16, 16), 4)), torch.rand(3, 3, 16, 16)
    if name in NO_MOMENTS:
        with raises_sentence(f"there is no moment rule for layer {NO_MOMENTS[name]}; there are rules for Sequential"):
            model.moments(x)
        return
    mean, variance = model.moments(x)
    torch.testing.assert_close(mean, model.logits(x, model.mean())[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(variance, torch.zeros(3, 4))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_width_that_is_no_whole_number_above_zero_is_refused(name):
    keyword, before = WIDTHS[name]
    for width in (0, 2.5):
        with raises_sentence(
            rf"{keyword.replace('widths', 'every width')} must be a whole number, 1 or more; got {width}"
        ):
            NETWORKS[name]((1, 28, 28), 10, **{keyword: width if before is None else (*before, width)})


@pytest.mark.parametrize("kind", ["mean_field", "dropout"])
@pytest.mark.parametrize("name", NETWORKS)
def test_draws_are_vectorised_without_a_loop_in_torch(name, kind):
    """One pass over all draws gives the logits and input gradients of a loop; a fallback of torch would warn."""
    settings = SMALL_NETWORKS.get(name, {}) | ({"dropout": 0.3} if name in ("wide_resnet", "vgg") else {})
    torch.manual_seed(0)
    net = moving(NETWORKS[name]((1, 16, 16), 4, **settings))
    if kind == "dropout" and not count(net, nn.Dropout):
        pytest.skip("nothing is dropped")
    model = MeanField(net) if kind == "mean_field" else Dropout(net, (1, 16, 16))
    x, draws = torch.rand(3, 1, 16, 16, requires_grad=True), model.draw(4, seed=1)
    loop, at_once = (each(model, x, draws) for each in (logits_by_loop, logits_by_vmap))
    torch.testing.assert_close(at_once, loop, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(logits.square().sum(), x)[0] for logits in (loop, at_once)]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_in_memory_changes_no_logits(name):
    net, x = moving(small_network(name, (3, 16, 16), 4)).eval(), torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(net(x.to(memory_format=torch.channels_last)), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "settings", "message"),
    [
        ("small_cnn", (1, 28, 28), {"widths": (8,)}, r"small_cnn has two .* two numbers; got \[8\]"),
        ("small_cnn", (1, 15, 28), {}, "small_cnn needs images of 16 x 16 or more; got 15 x 28"),
        ("lenet", (1, 28, 28), {"widths": (8, 8, 8)}, r"lenet has two .* two numbers; got \[8, 8, 8\]"),
        ("lenet", (1, 28, 3), {}, "lenet needs images of 4 x 4 or more; got 28 x 3"),
        ("lenet", (1, 28, 28), {"dense": 0}, "dense must be a whole number, 1 or more; got 0"),
        ("dropout_cnn", (1, 28, 28), {"widths": (8, 8, 8)}, r"dropout_cnn has two .* numbers; got \[8, 8, 8\]"),
        ("dropout_cnn", (1, 3, 28), {}, "dropout_cnn needs images of 4 x 4 or more; got 3 x 28"),
        ("dropout_cnn", (1, 28, 28), {"dense": 0}, "dense must be a whole number, 1 or more; got 0"),
        ("dropout_cnn", (1, 28, 28), {"dropout": 1}, "dropout must be a number from 0 to below 1; got 1"),
        ("vgg", (3, 28, 28), {}, "vgg with 5 groups needs images of 32 x 32 or more; got 28 x 28"),
        ("vgg", (3, 32, 7), {"widths": (8, 8, 8)}, "vgg with 3 groups needs images of 8 x 8 or more; got 32 x 7"),
        (
            "vgg",
            (3, 32, 32),
            {"widths": (8, 8, 8), "convolutions": (2, 2)},
            r"vgg with 3 groups needs as many numbers of convolutions; got \[2, 2\]",
        ),
        (
            "vgg",
            (3, 32, 32),
            {"widths": (8, 8), "convolutions": (2, 0)},
            "every number of convolutions must be a whole number, 1 or more; got 0",
        ),
        ("vgg", (3, 32, 32), {"dense": 0}, "dense must be a whole number, 1 or more; got 0"),
        ("vgg", (3, 32, 32), {"dropout": 1}, "dropout must be a number from 0 to below 1; got 1"),
        ("stn", (1, 32, 32), {"widths": (8, 8)}, r"stn has three .* three numbers; got \[8, 8\]"),
        ("stn", (1, 32, 15), {}, "stn needs images of 16 x 16 or more; got 32 x 15"),
        ("stn", (1, 32, 32), {"dense": 0}, "dense must be a whole number, 1 or more; got 0"),
        ("stn", (1, 32, 32), {"dropout": -0.1}, "dropout must be a number from 0 to below 1; got -0.1"),
        ("stn", (1, 32, 32), {"localisation": (8, 8)}, r"localisation must be three .* dense layer; got \[8, 8\]"),
        ("stn", (1, 32, 32), {"localisation": (8, 8, 0)}, "every width of localisation must be a whole .*; got 0"),
    ],
)
def test_networks_of_few_convolutions_say_what_they_cannot_be(name, shape, settings, message):
    with raises_sentence(message):
        NETWORKS[name](shape, 10, **settings)


def test_the_networks_of_the_papers_are_as_large_as_known():
    with torch.device("meta"):
        wide, eighteen = wide_resnet((3, 32, 32), 10, dropout=0.3), resnet18((3, 32, 32), 10)
        sixteen = vgg((3, 32, 32), 10)
    biases = 16 + 9 * (160 + 320 + 640)  # of the stem; of 8 convolutions and a shortcut in each group
    assert count(wide) == 36_479_194 + biases  # the paper's 36.5 million are without them
    assert (count(wide, Residual), count(wide, nn.Dropout)) == (12, 12)
    assert count(wide, nn.Conv2d) == 1 + 24 + 3
    assert count(eighteen) == 11_173_962
    assert (count(eighteen, Residual), count(eighteen, nn.Conv2d)) == (8, 17 + 3)
    assert count(sixteen, nn.Conv2d) == 13
    without_biases = 14_714_688 - 4_224  # the 13 convolutions of torchvision's vgg16; of these the biases
    assert count(sixteen) == without_biases + 2 * 4_224 + (512 + 1) * 512 + (512 + 1) * 10
