"""The objective of auto-encoders: the negative ELBO of the textbook, with labels where there are any."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional as F

from oracles import raises_sentence, small_coder, small_inputs, small_model
from unshaken.evaluation.predict import predict
from unshaken.models import Deterministic, MeanField
from unshaken.models.latents import reconstructions
from unshaken.training import adversarial, train
from unshaken.training.objectives import OBJECTIVES, UNLABELLED, cross_entropy, denoising_vae, vae
from unshaken.training.self_training import takes_unlabelled, with_unlabelled

X, Y = small_inputs(400, dtype=torch.float64)
NOWHERE = torch.full_like(Y, -1)
SETTINGS = {"examples": 100, "seed": 0}


class Sure(torch.nn.Module):
    """Codes every input without noise in the latent."""

    def __init__(self) -> None:
        super().__init__()
        self.coder = small_coder(dtype=torch.float64)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, _ = self.coder.encode(x)
        return mean, torch.full_like(mean, -60.0)

    def decode(self, z: Tensor) -> Tensor:
        return self.coder.decode(z)

    def forward(self, x: Tensor) -> Tensor:
        return self.coder(x)


def textbook(net, x: Tensor, x0: Tensor) -> Tensor:
    """−E log p(x0|z) by 2000 draws of z, plus the KL that torch knows, (B,)."""
    mean, log_variance = net.encode(x)
    code = Normal(mean, (log_variance / 2).exp())
    with torch.random.fork_rng():
        torch.manual_seed(3)
        pixels = Bernoulli(logits=net.decode(code.sample((2000,)).flatten(0, 1)), validate_args=False)
    fit = pixels.log_prob(x0.repeat(2000, 1, 1, 1)).flatten(1).sum(1).view(2000, -1).mean(0)
    return -fit + kl_divergence(code, Normal(torch.zeros_like(mean), 1.0)).sum(1)


@pytest.mark.parametrize("x0", [X, 1 - X], ids=["the input itself", "another one"])
def test_it_is_the_negative_elbo_of_the_textbook(x0):
    net = small_coder(dtype=torch.float64)
    with torch.no_grad():
        net.log_variance.bias -= 1.5  # σ is about ½, σ² about ¼: each moves what the decoder says
        net.decoder[0].weight *= 5
    settings = {**SETTINGS, "label_weight": 0.0, "draws": 50}
    loss = denoising_vae(Deterministic(net), X, Y, before=x0, **settings)
    assert loss.item() == pytest.approx(textbook(net, X, x0).mean().item(), abs=0.01)
    if x0 is X:
        assert vae(Deterministic(net), X, Y, **settings).equal(loss)


def test_without_doubt_about_the_latent_every_term_is_exact():
    net = Sure()
    mean, log_variance = net.encode(X)
    fit = -Bernoulli(logits=net.decode(mean), validate_args=False).log_prob(X).flatten(1).sum(1)
    code = ((mean**2 - log_variance - 1).sum(1) + 2 * log_variance.exp()[:, 0]) / 2
    wrong = F.cross_entropy(net(X), Y, reduction="none")
    loss = vae(Deterministic(net), X, Y, **SETTINGS, label_weight=3.0)
    assert loss.item() == pytest.approx((fit + code + 3 * wrong).mean().item(), rel=1e-9)


def test_an_input_without_a_label_has_no_term_of_the_label():
    net = Deterministic(Sure())
    some = torch.where(torch.arange(len(Y)) < 100, Y, -1)
    of_all, of_some, of_none = (vae(net, X, y, **SETTINGS).item() for y in (Y, some, NOWHERE))
    unweighted = vae(net, X, Y, **SETTINGS, label_weight=0.0).item()
    assert of_none == pytest.approx(unweighted)
    wrong = F.cross_entropy(net.net(X[:100]), Y[:100], reduction="sum").item() / len(X)
    assert of_some - of_none == pytest.approx(10 * wrong)
    assert of_all > of_some > of_none


def test_the_noise_follows_from_the_seed_and_differs_between_draws():
    net = Deterministic(small_coder(dtype=torch.float64))
    one, again, other = (vae(net, X, Y, examples=100, seed=seed).item() for seed in (1, 1, 2))
    assert one == again != other
    assert vae(net, X, Y, examples=100, seed=1, draws=2).item() != pytest.approx(one, abs=1e-9)


def test_a_posterior_of_the_weights_is_counted_once_in_a_pass_over_the_data():
    net = MeanField(small_coder(dtype=torch.float64))
    few, many = (vae(net, X, Y, examples=n, seed=0).item() for n in (50, 100))
    assert few - many == pytest.approx(net.divergence().item() / 100)


def test_a_network_that_codes_nothing_is_answered_in_one_sentence():
    with raises_sentence(r"a network with encode\(\), such as 'vae'; Sequential has none"):
        vae(small_model("deterministic", dtype=torch.float64), X, Y, **SETTINGS)
    with raises_sentence("label_weight must be a finite number, 0 or more; got -1"):
        vae(Deterministic(Sure()), X, Y, **SETTINGS, label_weight=-1.0)


@pytest.mark.parametrize("objective", UNLABELLED)
def test_some_objectives_take_inputs_without_a_label(objective):
    x, y, members = with_unlabelled(X[:100], Y[:100], X[100:], None, 0, partial(objective, label_weight=1.0))
    assert torch.equal(x, X)
    assert torch.equal(y[:100], Y[:100])
    assert torch.equal(y[100:], NOWHERE[100:])
    assert torch.equal(torch.bincount(members), torch.tensor([3] * 100 + [1] * 300))


def test_others_do_not():
    assert {name for name in OBJECTIVES if takes_unlabelled(OBJECTIVES[name])} == {"vae", "denoising_vae"}
    for objective in (None, cross_entropy, partial(cross_entropy, draws=2)):
        with raises_sentence("unlabelled inputs and a teacher go together; got only inputs, for an objective that nee"):
            with_unlabelled(X[:100], Y[:100], X[100:], None, 0, objective)


def test_training_on_attacked_inputs_lowers_the_error_of_reconstructions():
    from unshaken.attacks import pgd

    net = Deterministic(small_coder())
    x, y = X[:100].float(), Y[:100]
    attack = partial(pgd, loss="latent_shift", start="near", draws=1, steps=2)
    inputs = partial(adversarial, eps=0.1, probability=1.0, attack=attack)

    def error() -> float:
        return float((reconstructions(net, x, net.draw(1))[0] - x).square().mean())

    before = error()
    optimizer = partial(torch.optim.Adam, lr=0.02)
    history = train(net, x, y, inputs=inputs, objective=denoising_vae, optimizer=optimizer, epochs=10, batch_size=25)
    assert history[-1].loss < history[0].loss
    assert error() < 0.95 * before
    assert predict(net, x, net.draw(1)).shape == (len(x), 3)


def test_training_without_a_teacher_has_labels_of_minus_one_and_records_the_accuracy_on_the_others():
    net, targets = Deterministic(small_coder()), []

    def watched(model, x, y, *, examples, seed):
        targets.append(y)
        return vae(model, x, y, examples=examples, seed=seed)

    UNLABELLED.append(watched)
    try:
        history = train(net, X[:100].float(), Y[:100], unlabelled=X[100:].float(), objective=watched, epochs=1)
    finally:
        UNLABELLED.remove(watched)
    labels = torch.cat(targets)
    assert ((labels == -1).sum(), len(labels)) == (300, 600)
    right = net.logits(X[:100].float(), net.draw(1))[0].argmax(-1) == Y[:100]
    assert history[0].accuracy == pytest.approx(right.float().mean().item())


def test_without_a_label_only_the_latent_can_be_attacked_in_training():
    inputs = partial(adversarial, eps=0.1, probability=1.0)
    with raises_sentence("labels must be 0 or more; got -1, which only an attack on the latent takes"):
        train(
            Deterministic(small_coder()), X[:9].float(), Y[:9], unlabelled=X[9:].float(), inputs=inputs, objective=vae
        )
