"""What a step of training costs: Unshaken, a plain loop and three Bayesian libraries, side by side in one process.

    python benchmarks/training_cost.py                  # about a minute on one CPU core
    python benchmarks/training_cost.py --quick          # few rounds, memory of ours alone

A step is zero_grad, the negative ELBO of one draw, backward and Adam: the mean cross-entropy of 100 inputs plus KL / N,
for an independent Gaussian on every weight of the same network, from the same means and standard deviations, with the
prior N(0, 1). Before the clock starts, every contender shows that its KL is the closed form and that its loss falls.
Contenders take turns within a round; a ratio is taken within each round and then its median over rounds, so a busy
machine slows both sides of it.

The others are given their best case. bayesian-torch: layers that return their KL with their output, which computes
every scale once; its KL, a mean over the weights of each layer, is made the sum that the ELBO has. Pyro: no validation,
and a guide by hand, since AutoNormal samples the KL instead of computing it. It has two rows: SVI with Pyro's own
Adam, and Pyro's loss with the Adam of all the others.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common import OURS, Benchmark, installed, peak_growth, time_and_memory_table
from unshaken.models import MeanField
from unshaken.networks import mlp
from unshaken.training.objectives import elbo

BATCH, EXAMPLES = 100, 60_000
SCALE, RATE = 0.05, 1e-3  # initial standard deviation of every weight; learning rate of Adam
RHO = math.log(math.expm1(SCALE))
CHECKED = 200  # steps in which the loss must fall
PEERS = {
    "torchbnn": "torchbnn",
    "bayesian-torch": "bayesian-torch",
    "Pyro, SVI": "pyro-ppl",
    "Pyro, torch's Adam": "pyro-ppl",
}


class Setup(NamedTuple):
    """A network at its initial weights, a batch that can be learnt, and N."""

    net: nn.Sequential
    x: Tensor
    y: Tensor
    examples: int


class Training(NamedTuple):
    """What a contender learns, and one step, which returns the loss that it lowers."""

    parameters: list[Tensor]
    step: Callable[[], Tensor | float]


def build(device: str, widths: tuple[int, ...] = (128, 128)) -> Setup:
    """Equal values in every process."""
    torch.manual_seed(0)
    net, x = mlp((1, 28, 28), 10, widths=widths), torch.rand(BATCH, 1, 28, 28)
    y = (x.flatten(1) @ torch.randn(784, 10)).argmax(-1)
    return Setup(net.to(device), x.to(device), y.to(device), EXAMPLES)


# Contenders: setup -> the training of that network


def by_adam(parameters: list[Tensor], loss: Callable[[], Tensor]) -> Training:
    optimizer = torch.optim.Adam(parameters, lr=RATE)

    def step() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.detach()

    return Training(parameters, step)


def ours(setup: Setup) -> Training:
    model, seeds = MeanField(setup.net, prior_scale=1.0, initial_scale=SCALE), count()
    return by_adam(model.parameters(), lambda: elbo(model, setup.x, setup.y, examples=setup.examples, seed=next(seeds)))


def replaced(setup: Setup, random: Callable[[nn.Linear], nn.Module]) -> nn.Sequential:
    """The network with other dense layers, the weights of which are random."""
    layers = (random(layer) if isinstance(layer, nn.Linear) else layer for layer in setup.net)
    return nn.Sequential(*layers).to(setup.x.device)


def start(layer: nn.Linear, means: tuple[Tensor, Tensor], scales: tuple[Tensor, Tensor], scale: float) -> None:
    """Give a library's layer the initial values of all: the means are those of `layer`."""
    with torch.no_grad():
        for mean, value in zip(means, (layer.weight, layer.bias), strict=True):
            mean.copy_(value)
        for tensor in scales:
            tensor.fill_(scale)


def by_layers(setup: Setup, net: nn.Sequential, random: type[nn.Module]) -> Training:
    """Training of a network whose `random` layers return their output and their KL."""

    def loss() -> Tensor:
        out, kl = setup.x, torch.zeros((), device=setup.x.device)
        for layer in net:
            if isinstance(layer, random):
                out, layer_kl = layer(out)
                kl = kl + layer_kl
            else:
                out = layer(out)
        return F.cross_entropy(out, setup.y) + kl / setup.examples

    return by_adam(list(net.parameters()), loss)


class Gaussian(nn.Module):
    """A dense layer with Gaussian weights, drawn anew at every forward pass, as a user would write it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.mean_weight, self.mean_bias = (nn.Parameter(t.detach().clone()) for t in (layer.weight, layer.bias))
        self.rho_weight, self.rho_bias = (nn.Parameter(torch.full_like(t, RHO)) for t in (layer.weight, layer.bias))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scale_weight, scale_bias = F.softplus(self.rho_weight), F.softplus(self.rho_bias)
        weight = self.mean_weight + scale_weight * torch.randn_like(scale_weight)
        bias = self.mean_bias + scale_bias * torch.randn_like(scale_bias)
        kl = self.kl(self.mean_weight, scale_weight) + self.kl(self.mean_bias, scale_bias)
        return F.linear(x, weight, bias), kl

    def kl(self, mean: Tensor, scale: Tensor) -> Tensor:
        return ((scale**2 + mean**2 - 1) / 2 - scale.log()).sum()


def plain_loop(setup: Setup) -> Training:
    return by_layers(setup, replaced(setup, Gaussian), Gaussian)


def by_torchbnn(setup: Setup) -> Training:
    import torchbnn

    def random(layer: nn.Linear) -> nn.Module:
        other = torchbnn.BayesLinear(0.0, 1.0, layer.in_features, layer.out_features)
        start(layer, (other.weight_mu, other.bias_mu), (other.weight_log_sigma, other.bias_log_sigma), math.log(SCALE))
        return other

    def loss() -> Tensor:
        return F.cross_entropy(net(setup.x), setup.y) + divergence(net).squeeze() / setup.examples

    net, divergence = replaced(setup, random), torchbnn.BKLLoss(reduction="sum")
    return by_adam(list(net.parameters()), loss)


def by_bayesian_torch(setup: Setup) -> Training:
    from bayesian_torch.layers import LinearReparameterization

    class Summed(LinearReparameterization):
        def kl_div(self, mu_q: Tensor, *others: Any) -> Tensor:
            return super().kl_div(mu_q, *others) * mu_q.numel()

    def random(layer: nn.Linear) -> nn.Module:
        other = Summed(layer.in_features, layer.out_features)
        start(layer, (other.mu_weight, other.mu_bias), (other.rho_weight, other.rho_bias), RHO)
        return other

    return by_layers(setup, replaced(setup, random), Summed)


def pyro_model(setup: Setup) -> Callable[[Tensor, Tensor], None]:
    """The network with Gaussian priors on its tensors, which are sites of the same names, and the labels."""
    import pyro
    from pyro import distributions as dist
    from pyro.nn import PyroSample
    from pyro.nn.module import to_pyro_module_

    pyro.enable_validation(False)
    net = copy.deepcopy(setup.net)
    to_pyro_module_(net)
    for layer in net:
        for name, value in list(layer.named_parameters()):
            setattr(layer, name, PyroSample(dist.Normal(value.new_zeros(()), 1.0).expand(value.shape).to_event()))

    def model(x: Tensor, y: Tensor) -> None:
        logits = net(x)
        with pyro.plate("inputs", len(x)), pyro.poutine.scale(scale=setup.examples / len(x)):
            pyro.sample("y", dist.Categorical(logits=logits), obs=y)

    return model


def by_svi(setup: Setup) -> Training:
    import pyro
    from pyro import distributions as dist
    from pyro.infer import SVI, TraceMeanField_ELBO

    positive = dist.constraints.softplus_positive
    initial = [(name, t.detach().clone(), torch.full_like(t, SCALE)) for name, t in setup.net.named_parameters()]

    def guide(x: Tensor, y: Tensor) -> None:
        for name, value, spread in initial:
            mean, scale = pyro.param(f"mean.{name}", value), pyro.param(f"scale.{name}", spread, constraint=positive)
            pyro.sample(name, dist.Normal(mean, scale).to_event())

    pyro.clear_param_store()
    guide(setup.x, setup.y)
    learnt = [tensor for _, tensor in pyro.get_param_store().named_parameters()]
    per_example = pyro.poutine.scale(scale=1 / setup.examples)
    optimizer = pyro.optim.Adam({"lr": RATE})
    svi = SVI(per_example(pyro_model(setup)), per_example(guide), optimizer, TraceMeanField_ELBO())
    return Training(learnt, lambda: svi.step(setup.x, setup.y))


def by_pyro_loss(setup: Setup) -> Training:
    import pyro
    from pyro import distributions as dist
    from pyro.infer import TraceMeanField_ELBO

    means = {name: tensor.detach().clone().requires_grad_() for name, tensor in setup.net.named_parameters()}
    rhos = {name: torch.full_like(tensor, RHO).requires_grad_() for name, tensor in means.items()}
    model, objective = pyro_model(setup), TraceMeanField_ELBO()

    def guide(x: Tensor, y: Tensor) -> None:
        for name, mean in means.items():
            pyro.sample(name, dist.Normal(mean, F.softplus(rhos[name])).to_event())

    def loss() -> Tensor:
        return objective.differentiable_loss(model, guide, setup.x, setup.y) / setup.examples

    return by_adam([*means.values(), *rhos.values()], loss)


CONTENDERS: dict[str, Callable[[Setup], Training]] = {
    OURS: ours,
    "plain loop": plain_loop,
    "torchbnn": by_torchbnn,
    "bayesian-torch": by_bayesian_torch,
    "Pyro, SVI": by_svi,
    "Pyro, torch's Adam": by_pyro_loss,
}


def divergence(net: nn.Module) -> float:
    """KL(q ‖ p) at the initial values, by torch.distributions."""
    normal = torch.distributions.Normal
    posteriors = [normal(tensor.detach().double().cpu(), SCALE) for tensor in net.parameters()]
    return sum(float(torch.distributions.kl_divergence(q, normal(0.0, 1.0)).sum()) for q in posteriors)


def check_training(name: str, setup: Setup) -> None:
    """Whatever runs, it is this training: two numbers for every weight, the KL in full, and a loss that falls."""
    one_example = CONTENDERS[name](setup._replace(examples=1))  # its loss is the KL but for some nats
    learnt = sum(tensor.numel() for tensor in one_example.parameters)
    expected = 2 * sum(tensor.numel() for tensor in setup.net.parameters())
    if learnt != expected:
        raise AssertionError(f"{name} learns {learnt} numbers where {expected} were asked for.")
    kl, loss = divergence(setup.net), float(one_example.step())
    if not abs(loss - kl) < 1e-4 * kl:
        raise AssertionError(f"{name} has a KL of about {loss:g} where {kl:g} was asked for.")
    training = CONTENDERS[name](setup)
    losses = [float(training.step()) for _ in range(CHECKED)]
    if not (all(map(math.isfinite, losses)) and losses[-1] < losses[0] - 0.5):
        raise AssertionError(f"{name} went from a loss of {losses[0]:g} to {losses[-1]:g} in {CHECKED} steps.")


def memory_here(contender: str, device: str) -> float:
    """MiB that training adds to the peak of this process, after that of a tiny network has set everything up."""
    tiny, setup = build(device, widths=(1,)), build(device)

    def some_steps(of: Setup) -> None:
        training = CONTENDERS[contender](of)
        for _ in range(3):
            training.step()

    return peak_growth(lambda: some_steps(tiny), lambda: some_steps(setup), device)


def main() -> None:
    benchmark = Benchmark(__file__, __doc__, quick="5 rounds, memory of ours alone", task=memory_here)
    args, setup, contenders = benchmark.args, build(benchmark.args.device), installed(CONTENDERS, PEERS)
    for name in contenders:
        check_training(name, setup)
    times = benchmark.time({name: CONTENDERS[name](setup).step for name in contenders})
    names = [OURS] if args.quick else contenders
    memory = {name: benchmark.in_own_process(name, args.device) for name in names if args.memory}
    lines = [
        f"784-128-128-10, {BATCH} inputs, one draw. Milliseconds: median (least-most) over rounds, and ×: how many",
        "times as long as ours. Memory: the peak above that of training a tiny network, MiB.",
        "",
        time_and_memory_table("one step", times, memory, CONTENDERS),
    ]
    packages = {package: package for package in PEERS.values()}
    benchmark.write("What a step of training costs", lines, {"ms": times, "memory_mib": memory}, packages)


if __name__ == "__main__":
    main()
