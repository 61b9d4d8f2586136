"""Latents and reconstructions under the draws of every kind of model, and of networks that have no such thing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from oracles import raises_sentence, small_coder, small_inputs, small_model, wrap
from unshaken.models import MODELS, Deterministic, MeanField
from unshaken.models.draws import DrawsKind
from unshaken.models.execution import logits_by_loop, logits_by_vmap
from unshaken.models.latents import latents, reconstructions, with_forward

X, _ = small_inputs(5, dtype=torch.float64)
KINDS = [kind for kind in MODELS if kind not in ("matrix_estimation", "smoothing", "dropout", "ensemble")]


def coder(kind: str):
    return wrap(kind, small_coder(dtype=torch.float64))


@pytest.mark.parametrize("kind", MODELS)
def test_they_have_an_axis_of_draws_and_the_shapes_of_latent_and_image(kind):
    net = coder(kind)
    draws = net.draw(3, seed=0)
    assert latents(net, X, draws).shape == (3, 5, 2)
    images = reconstructions(net, X, draws)
    assert images.shape == (3, *X.shape)
    assert 0 < images.min() < images.max() < 1
    assert net.cost.forwards == 2 * 3 * 5
    assert net.logits(X, draws).shape == (3, 5, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_the_network_with_the_tensors_of_a_draw(kind):
    net, module = coder(kind), small_coder(seed=1, dtype=torch.float64)
    draws = net.draw(3, seed=0)
    for number, state in enumerate(draws):
        module.load_state_dict(dict(net.net.state_dict()) | {name: t for name, t in state.items() if name != "seed"})
        code, _ = module.encode(X)
        torch.testing.assert_close(latents(net, X, draws)[number], code)
        torch.testing.assert_close(reconstructions(net, X, draws)[number], module.decode(code).sigmoid())
        torch.testing.assert_close(net.logits(X, draws)[number], module.head(code))


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind not in ("module", "ensemble")])
def test_a_loop_and_vmap_agree(kind):
    net = coder(kind)
    draws = net.draw(4, seed=0)
    for function in (lambda module, x: module.encode(x)[0], lambda module, x: module.decode(module.encode(x)[0])):
        code = with_forward(net, function)
        torch.testing.assert_close(logits_by_loop(code, X, draws), logits_by_vmap(code, X, draws))


def test_input_noise_reaches_the_encoder():
    net = coder("smoothing")
    assert latents(net, X, net.draw(2, seed=0)).diff(dim=0).abs().min() > 0


class Shifted(nn.Module):
    """Has a tensor of its own, beside those of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.shift = nn.Linear(12, 3).double(), nn.Parameter(torch.ones(3, dtype=torch.float64))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.layer(x.flatten(1)) + self.shift, torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(x)[0].exp()


def test_a_draw_reaches_tensors_of_the_network_itself_and_leaves_it_as_it_was():
    net = MeanField(Shifted(), initial_scale=0.5)
    before = {name: (id(tensor), tensor.clone()) for name, tensor in net.net.named_parameters()}
    draws = net.draw(2, seed=0)
    torch.testing.assert_close(latents(net, X, draws).exp(), net.logits(X, draws))
    assert with_forward(net, lambda module, x: module(x)).logits(X, draws).equal(net.logits(X, draws))
    state = next(iter(draws))
    torch.testing.assert_close(latents(net, X, draws)[0], functional_call(net.net, state, (X,)).log())
    assert all(id(t) == before[name][0] and t.equal(before[name][1]) for name, t in net.net.named_parameters())


def test_the_gradient_reaches_the_input():
    net, x = coder("mean_field"), X.clone().requires_grad_()
    for output in (latents(net, x, net.draw(2, seed=0)), reconstructions(net, x, net.draw(2, seed=0))):
        (gradient,) = torch.autograd.grad(output.square().sum(), x)
        assert gradient.ne(0).float().mean() > 0.9


def test_what_has_no_latent_says_so():
    plain = small_model("mean_field", dtype=X.dtype)
    for function in (latents, reconstructions):
        with raises_sentence(r"latents are those of a network with encode\(\), such as 'vae'; Sequential has none"):
            function(plain, X, plain.draw(2, seed=0))
    half = Deterministic(Shifted())
    with raises_sentence(r"a network with decode\(\), such as 'vae'; Shifted has none"):
        reconstructions(half, X, half.draw(1))
    net = MeanField(Shifted())
    with raises_sentence("moments are those of the logits: latents need a number of draws, or the mean network"):
        latents(net, X, replace(net.mean(), kind=DrawsKind.MOMENTS))
