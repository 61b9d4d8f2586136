"""What every network promises: logits for images of any shape it accepts, from layers that can be walked."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from oracles import raises_sentence
from unshaken.models import Deterministic, Dropout, MeanField
from unshaken.networks import (
    NETWORKS,
    Normalise,
    Residual,
    SpatialTransformer,
    dropout_cnn,
    lenet,
    resnet18,
    stn,
    vgg,
    wide_resnet,
)

SMALL = {
    "small_cnn": {"widths": (4, 8)},
    "lenet": {"widths": (4, 8), "dense": 16},
    "dropout_cnn": {"widths": (4, 8), "dense": 16},
    "stn": {"widths": (8, 8, 8), "dense": 16, "localisation": (2, 3, 4)},
    "wide_resnet": {"depth": 10, "width": 1},
    "resnet18": {"width": 4},
    "vgg": {"widths": (4, 8), "dense": 16},
    "vae": {"latent": 3, "widths": (8,)},
}
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


def small(name: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name](shape, classes, **SMALL.get(name, {}))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 18, 20)])
def test_logits_have_one_row_per_input_and_reach_every_pixel(name, shape):
    net = small(name, shape, 7)
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
    model, x = Deterministic(small(name, (3, 16, 16), 4)), torch.rand(3, 3, 16, 16)
    if name in NO_MOMENTS:
        with raises_sentence(f"there is no moment rule for layer {NO_MOMENTS[name]}; there are rules for Sequential"):
            model.moments(x)
        return
    mean, variance = model.moments(x)
    torch.testing.assert_close(mean, model.logits(x, model.mean())[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(variance, torch.zeros(3, 4))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_width_that_is_no_whole_number_above_zero_is_refused(name):
    word, before = WIDTHS[name]
    for width in (0, 2.5):
        with raises_sentence(
            rf"{word.replace('widths', 'every width')} must be a whole number, 1 or more; got {width}"
        ):
            NETWORKS[name]((1, 28, 28), 10, **{word: width if before is None else (*before, width)})


@pytest.mark.parametrize("kind", ["mean_field", "dropout"])
@pytest.mark.parametrize("name", NETWORKS)
def test_draws_are_vectorised_without_a_loop_in_torch(name, kind):
    """One pass over all draws gives the logits and input gradients of a loop; a fallback of torch would warn."""
    settings = SMALL.get(name, {}) | ({"dropout": 0.3} if name in ("wide_resnet", "vgg") else {})
    torch.manual_seed(0)
    net = _moved(NETWORKS[name]((1, 16, 16), 4, **settings))
    if kind == "dropout" and not count(net, nn.Dropout):
        pytest.skip("nothing is dropped")
    model = MeanField(net) if kind == "mean_field" else Dropout(net, (1, 16, 16))
    x, draws = torch.rand(3, 1, 16, 16, requires_grad=True), model.draw(4, seed=1)
    loop, at_once = (each(x, draws) for each in (model.logits_by_loop, model.logits_by_vmap))
    torch.testing.assert_close(at_once, loop, rtol=1e-4, atol=1e-5)
    gradients = [torch.autograd.grad(logits.square().sum(), x)[0] for logits in (loop, at_once)]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_in_memory_changes_no_logits(name):
    net, x = _moved(small(name, (3, 16, 16), 4)).eval(), torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(net(x.to(memory_format=torch.channels_last)), net(x), rtol=1e-4, atol=1e-5)


def _moved(net: nn.Module) -> nn.Module:
    """A spatial transformer whose map differs between images, as it does after training."""
    for module in net.modules():
        if isinstance(module, SpatialTransformer):
            nn.init.normal_(module.localisation[-1].weight, std=0.3)
    return net


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
    assert [net[at].in_channels for at in (1, 5, 8, 12)] == [3, 2, 4, 4]
    assert net[-4].in_features == 6 * 1 * 2  # 9 x 19 → 4 x 9 → 2 x 4 → 1 x 2
    assert net(torch.rand(2, 3, 9, 19)).shape == (2, 5)
    assert count(vgg((3, 32, 32), 10, widths=(2, 2, 2)), nn.Conv2d) == 2 + 2 + 3
    assert count(vgg((3, 32, 32), 10, widths=(2, 2, 2)), nn.Dropout) == 0


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
    layer, x = small("stn", (3, 16, 20), 4)[0], torch.rand(2, 3, 16, 20)
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
    seen = SpatialTransformer(Fixed())(x)
    torch.testing.assert_close(seen, torch.stack([expected(x[:1])[0], x[1]]), atol=1e-5, rtol=0)


def test_a_spatial_transformer_maps_as_torch_does():
    layer, x = _moved(small("stn", (3, 16, 20), 4))[0].eval(), torch.rand(4, 3, 16, 20)
    places = nn.functional.affine_grid(layer.localisation(x).view(4, 2, 3), x.shape, align_corners=True)
    torch.testing.assert_close(layer(x), nn.functional.grid_sample(x, places, align_corners=True))


def test_widths_are_those_asked_for():
    shapes = [tuple(tensor.shape) for tensor in NETWORKS["mlp"]((1, 2, 3), 4, widths=(5, 7)).parameters()]
    assert shapes == [(5, 6), (5,), (7, 5), (7,), (4, 7), (4,)]
    assert NETWORKS["small_cnn"]((1, 28, 28), 10)[-1].in_features == 512 * 7 * 7


def count(net: nn.Module, kind: type[nn.Module] | None = None) -> int:
    """How many parameters, or layers of a kind."""
    if kind is None:
        return sum(tensor.numel() for tensor in net.parameters())
    return sum(isinstance(module, kind) for module in net.modules())


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


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 5, 9)])
def test_residual_networks_take_images_of_any_size(shape):
    for name in ("wide_resnet", "resnet18"):
        assert small(name, shape, 3)(torch.rand(2, *shape)).shape == (2, 3)


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
    normed = [block.main[at].eps + 1 for at in (0, 3)]  # fresh running statistics: mean 0, variance 1
    hidden = block.main[2](torch.relu(x / normed[0] ** 0.5))
    torch.testing.assert_close(block(x), block.main[5](torch.relu(hidden / normed[1] ** 0.5)) + x)


def test_normalisation_is_per_channel_and_saved():
    layer = Normalise(2, mean=(0.5, 0.25), std=(0.5, 0.125))
    x = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(3, 2, 4, 5)
    torch.testing.assert_close(layer(x)[2, :, 3, 4], torch.tensor([1.0, -2.0]))
    torch.testing.assert_close(Normalise(2, mean=0.5, std=0.25)(x)[0, :, 0, 0], torch.tensor([2.0, -2.0]))
    assert layer.state_dict().keys() == {"mean", "std"}
    assert all(type(small(name, (1, 8, 8), 2)[0]) is Normalise for name in ("wide_resnet", "resnet18", "vgg"))


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
