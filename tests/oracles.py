"""Classifiers whose answers are known, plain formulas to compare with, and one small example of every kind of model."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unshaken.attacks import ATTACKS, LOSSES, NORMS
from unshaken.attacks.losses import LATENT
from unshaken.models import MODELS, Chain, Draws, Dropout, Ensemble, MeanField, StochasticClassifier
from unshaken.models.draws import generator
from unshaken.models.matrix_estimation import matrix_estimation
from unshaken.models.mean_network import mean_network
from unshaken.models.smoothing import smoothing
from unshaken.networks import NETWORKS, VAE, SpatialTransformer, vae
from unshaken.types import State

DUAL = {"linf": 1, "l2": 2}  # the order of the norm that measures gradients where the input is measured by the key


class LinearClassifier(StochasticClassifier):
    """z_s(x) = W_s (x − ½) with W_s = W + scale · N_s and N_s standard Gaussian: attacks and distances are exact.

    Every boundary passes through the middle of the box, and `inputs` are within 0.1 of it: their labels can be
    changed well inside [0, 1]. The mean network is W.
    """

    kind = "linear"

    def __init__(
        self, dimensions: int = 8, classes: int = 2, *, scale: float = 0.0, seed: int = 0, dtype=torch.float32
    ) -> None:
        super().__init__(nn.Sequential(nn.Flatten(), nn.Linear(dimensions, classes, dtype=dtype)))
        self.weight = torch.randn(classes, dimensions, generator=generator(seed, 0), dtype=dtype)
        self.scale = scale

    def sampler(self) -> Callable[[int, int], State]:
        def sample(seed: int, index: int) -> State:
            noise = torch.randn(self.weight.shape, generator=generator(seed, index), dtype=self.weight.dtype)
            return self.state(self.weight + self.scale * noise)

        return sample

    def state(self, weight: Tensor) -> State:
        return {"1.weight": weight, "1.bias": -weight.sum(1) / 2}

    def mean(self) -> Draws:
        return Draws.single(self.state(self.weight), self.kind)

    def variances(self) -> State:
        return {"1.weight": torch.full_like(self.weight, self.scale**2)}

    def tensors(self) -> dict[str, Tensor]:
        return {"weight": self.weight}

    def inputs(self, n: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
        """x (n, 1, 1, D) within 0.1 of the middle, and the labels (n,) that the mean network gives them."""
        noise = torch.rand(n, 1, 1, self.weight.shape[1], generator=generator(seed, 1), dtype=self.weight.dtype)
        x = 0.4 + 0.2 * noise
        return x, self.logits(x, self.mean())[0].argmax(-1)

    def distance(self, x: Tensor, y: Tensor, norm: str, draws: Draws | None = None) -> Tensor:
        """The smallest ‖δ‖ (B,) that takes the label y from the mean logits of `draws` (by default the mean network).

        min over c≠y of (w_y − w_c)·(x − ½) / ‖w_y − w_c‖ in the dual norm; negative where x is not classified as y.
        """
        weight = self.weight if draws is None else draws.stack()["1.weight"].mean(0)
        gaps = weight[y][:, None] - weight  # (B, K, D)
        distances = (gaps * (x.flatten(1)[:, None] - 0.5)).sum(-1) / gaps.norm(p=DUAL[norm], dim=-1)
        return distances.scatter(1, y[:, None], torch.inf).amin(1)


class Scores(nn.Module):
    """The same logits for every input."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("scores", torch.zeros(classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.scores.expand(len(x), -1)


class CoinClassifier(StochasticClassifier):
    """Ignores x. Every draw says label 0 with probability p, else label 1: where all labels are 0, no attack can
    change its accuracy, which is p."""

    kind = "coin"

    def __init__(self, p: float, classes: int = 2) -> None:
        super().__init__(Scores(classes))
        self.p = p

    def sampler(self) -> Callable[[int, int], State]:
        return lambda seed, index: self.state(float(torch.rand((), generator=generator(seed, index)) < self.p))

    def state(self, share: float) -> State:
        """10 logits, shared between label 0 and label 1."""
        scores = torch.zeros_like(self.net.scores)
        scores[:2] = 10 * torch.tensor([share, 1 - share])
        return {"scores": scores}

    def mean(self) -> Draws:
        return Draws.single(self.state(self.p), self.kind)

    def expected(self) -> Draws:
        return self.mean()

    def tensors(self) -> dict[str, Tensor]:
        return self.fixed


# Losses as a textbook writes them, one input after the other, from the probabilities.


def plain_cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    p = torch.exp(z) / torch.exp(z).sum(-1, keepdim=True)
    return torch.stack([-torch.log(p[:, b, c].mean()) for b, c in enumerate(y.tolist())])


def plain_mean_cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    p = torch.exp(z) / torch.exp(z).sum(-1, keepdim=True)
    return torch.stack([-torch.log(p[:, b, c]).mean() for b, c in enumerate(y.tolist())])


def plain_log_error(z: Tensor, y: Tensor) -> Tensor:
    p = torch.exp(z) / torch.exp(z).sum(-1, keepdim=True)
    return torch.stack([torch.log((1 - p[:, b, c]).mean()) for b, c in enumerate(y.tolist())])


def plain_margin(z: Tensor, y: Tensor) -> Tensor:
    p = torch.exp(z) / torch.exp(z).sum(-1, keepdim=True)
    return plain_cw(p, y)


def plain_cw(z: Tensor, y: Tensor) -> Tensor:
    mean = sum(z) / len(z)
    return torch.stack([max(s for k, s in enumerate(mean[b]) if k != c) - mean[b, c] for b, c in enumerate(y.tolist())])


def plain_logit_sum(z: Tensor, y: Tensor) -> Tensor:
    mean = sum(z) / len(z)
    return torch.stack([sum(-s if k == c else s for k, s in enumerate(mean[b])) for b, c in enumerate(y.tolist())])


PLAIN_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": plain_cross_entropy,
    "naive_cross_entropy": plain_cross_entropy,
    "mean_cross_entropy": plain_mean_cross_entropy,
    "log_error": plain_log_error,
    "margin": plain_margin,
    "cw": plain_cw,
    "logit_sum": plain_logit_sum,
}
OF_LOGITS = [name for name in LOSSES if LOSSES[name] not in LATENT]


# Every network, small, and what it is made of.


SMALL_NETWORKS: dict[str, dict[str, Any]] = {
    "small_cnn": {"widths": (4, 8)},
    "lenet": {"widths": (4, 8), "dense": 16},
    "dropout_cnn": {"widths": (4, 8), "dense": 16},
    "stn": {"widths": (8, 8, 8), "dense": 16, "localisation": (2, 3, 4)},
    "wide_resnet": {"depth": 10, "width": 1},
    "resnet18": {"width": 4},
    "vgg": {"widths": (4, 8), "dense": 16},
    "vae": {"latent": 3, "widths": (8,)},
}


def small_network(name: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name](shape, classes, **SMALL_NETWORKS.get(name, {}))


def moving(net: nn.Module) -> nn.Module:
    """A spatial transformer whose map differs between images, as it does after training."""
    for module in net.modules():
        if isinstance(module, SpatialTransformer):
            nn.init.normal_(module.localisation[-1].weight, std=0.3)
    return net


def count(net: nn.Module, kind: type[nn.Module] | None = None) -> int:
    """How many parameters, or layers of a kind."""
    if kind is None:
        return sum(tensor.numel() for tensor in net.parameters())
    return sum(isinstance(module, kind) for module in net.modules())


# One small example of every kind of model, for inputs (B, 1, 3, 4) and 3 classes.


class Resampled(nn.Linear):
    """A dense layer that draws its weight anew in every forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight + 0.3 * torch.randn_like(self.weight)
        return nn.functional.linear(x, weight, self.bias)


SHAPE = (1, 3, 4)  # of one input


def small_net(seed: int = 0, *, dtype=torch.float32, hidden: int = 16, layer: type[nn.Linear] = nn.Linear) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        parts = [nn.Flatten(), nn.Linear(12, hidden), nn.ReLU(), nn.Dropout(0.5), layer(hidden, 3)]
        return nn.Sequential(*parts).to(dtype).eval()


class Branching(nn.Module):
    """Looks at values, which a vectorised pass cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.net = small_net()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.net(x)
        return z if z.sum() > 0 else 2 * z


def parted_chains(net: nn.Module) -> Chain:
    """Chains that have gone some way."""
    model, rng = Chain(net, chains=4), generator(0, 7)
    for tensor in model.parameters():
        tensor.data.add_(0.1 * torch.randn(tensor.shape, generator=rng, dtype=tensor.dtype))
    return model


def two_members(net: nn.Module) -> Ensemble:
    """An ensemble of a network and of one like it with other weights."""
    other, rng = copy.deepcopy(net), generator(0, 8)
    for tensor in other.parameters():
        tensor.data.add_(0.1 * torch.randn(tensor.shape, generator=rng, dtype=tensor.dtype))
    return Ensemble([net, other])


# How a model is made from one network, for the kinds that do not take just a network.
WRAP: dict[str, Callable[[nn.Module], StochasticClassifier]] = {
    "mean_field": lambda net: MeanField(net, initial_scale=0.2),
    "chain": parted_chains,
    "ensemble": two_members,
    "dropout": lambda net: Dropout(net, SHAPE),
    "mean_network": lambda net: mean_network(net, SHAPE),
    "smoothing": lambda net: smoothing(net, SHAPE, sigma=0.2, base=MeanField),
    "matrix_estimation": lambda net: matrix_estimation(net, SHAPE, low=0.4, high=0.6, base=MeanField),
}


def wrap(kind: str, net: nn.Module) -> StochasticClassifier:
    return WRAP.get(kind, MODELS[kind])(net)


def small_model(kind: str, **net) -> StochasticClassifier:
    """A model of any kind; `net` are arguments of `small_net`."""
    return wrap(kind, small_net(**{"layer": Resampled if kind == "module" else nn.Linear, **net}))


def small_coder(seed: int = 0, *, dtype=torch.float32) -> VAE:
    """An auto-encoder for the same inputs, with dropout for the models that want some."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = vae(SHAPE, 3, latent=2, widths=(7,))
    net.trunk.append(nn.Dropout(0.5))
    return net.to(dtype).eval()


def precise_model() -> StochasticClassifier:
    """In float64, for gradients that are compared with formulas."""
    return small_model("mean_field", dtype=torch.float64)


def precise_coder() -> MeanField:
    return MeanField(small_coder(dtype=torch.float64), initial_scale=0.3)


def small_inputs(n: int = 6, *, dtype=torch.float32) -> tuple[Tensor, Tensor]:
    rng = generator(0, 0)
    return torch.rand(n, 1, 3, 4, generator=rng, dtype=dtype), torch.randint(3, (n,), generator=rng)


# Every attack with every norm that it does not fix itself.


def fixed(name: str, argument: str) -> object:
    """The value that the attack `name` is a setting for, or None."""
    return getattr(ATTACKS[name], "keywords", {}).get(argument)


# Fewer steps where an attack takes minutes by default.
SHORT = {
    "spsa": {"directions": 2, "steps": 2},
    "carlini_wagner": {"steps": 3, "search_steps": 2},
    "spatial": {"steps": 2},
}
ATTACK_NORMS = [(name, norm) for name in ATTACKS for norm in NORMS if fixed(name, "norm") in (None, norm)]


# What tests say more than once.


def states_equal(one: Draws, other: Draws) -> bool:
    """Whether two sets of draws hold the same tensors, bit for bit."""
    pairs = list(zip(one, other, strict=True))
    return all(a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs)


def raises_sentence(match: str, error: type[Exception] = ValueError):
    """`pytest.raises` for a message of one line that ends like a sentence and contains `match`."""
    return pytest.raises(error, match=rf"^(?=.*{match})[^\n]*[.?]$")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
