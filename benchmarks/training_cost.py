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

import argparse
import copy
import json
import math
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common import (
    OURS,
    Times,
    cell,
    heading,
    in_its_own_process,
    interleaved,
    machine,
    markdown,
    parse,
    parser,
    peak,
    version,
    write,
)
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
    rule = torch.optim.Adam(parameters, lr=RATE)

    def step() -> Tensor:
        rule.zero_grad()
        value = loss()
        value.backward()
        rule.step()
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
                out, of_layer = layer(out)
                kl = kl + of_layer
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
        made = torchbnn.BayesLinear(0.0, 1.0, layer.in_features, layer.out_features)
        start(layer, (made.weight_mu, made.bias_mu), (made.weight_log_sigma, made.bias_log_sigma), math.log(SCALE))
        return made

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
        made = Summed(layer.in_features, layer.out_features)
        start(layer, (made.mu_weight, made.mu_bias), (made.rho_weight, made.rho_bias), RHO)
        return made

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
    rule = pyro.optim.Adam({"lr": RATE})
    svi = SVI(per_example(pyro_model(setup)), per_example(guide), rule, TraceMeanField_ELBO())
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


def installed() -> list[str]:
    return [name for name in CONTENDERS if name not in PEERS or version(PEERS[name])]


def divergence(net: nn.Module) -> float:
    """KL(q ‖ p) at the initial values, by torch.distributions."""
    normal = torch.distributions.Normal
    q = [normal(tensor.detach().double().cpu(), SCALE) for tensor in net.parameters()]
    return sum(float(torch.distributions.kl_divergence(part, normal(0.0, 1.0)).sum()) for part in q)


def check_training(name: str, setup: Setup) -> None:
    """Whatever runs, it is this training: two numbers for every weight, the KL in full, and a loss that falls."""
    alone = CONTENDERS[name](setup._replace(examples=1))  # its loss is the KL but for some nats
    learnt, wanted = sum(t.numel() for t in alone.parameters), 2 * sum(t.numel() for t in setup.net.parameters())
    if learnt != wanted:
        raise AssertionError(f"{name} learns {learnt} numbers where {wanted} were asked for.")
    kl, loss = divergence(setup.net), float(alone.step())
    if not abs(loss - kl) < 1e-4 * kl:
        raise AssertionError(f"{name} has a KL of about {loss:g} where {kl:g} was asked for.")
    training = CONTENDERS[name](setup)
    losses = [float(training.step()) for _ in range(CHECKED)]
    if not (all(map(math.isfinite, losses)) and losses[-1] < losses[0] - 0.5):
        raise AssertionError(f"{name} went from a loss of {losses[0]:g} to {losses[-1]:g} in {CHECKED} steps.")


# Time and memory


def time_step(setup: Setup, args: argparse.Namespace) -> Times:
    for name in installed():
        check_training(name, setup)
    steps = {name: CONTENDERS[name](setup).step for name in installed()}
    return interleaved(steps, args.repeats, args.device, args.wall)


def memory_here(contender: str, device: str, threads: int) -> float:
    """MiB that training adds to the peak of this process, after that of a tiny network has set everything up."""
    torch.set_num_threads(threads)
    tiny, setup = build(device, widths=(1,)), build(device)
    tops = []
    for each in (tiny, setup):
        training = CONTENDERS[contender](each)
        for _ in range(3):
            training.step()
        tops.append(peak(device))
    return tops[1] - tops[0]


# Report


def report(found: dict[str, Any]) -> str:
    times, used = found["ms"], found["memory_mib"]
    rows = [[name, cell(times, name), f"{used[name]:.1f}" if name in used else "-"] for name in CONTENDERS]
    parts = heading("What a step of training costs", found["machine"])
    parts += [
        f"784-128-128-10, {BATCH} inputs, one draw. Milliseconds: median (least-most) over rounds, and ×: how many"
    ]
    parts += ["times as long as ours. Memory: the peak above that of training a tiny network, MiB.", ""]
    return "\n".join([*parts, markdown(["", "one step, ms", "memory, MiB"], rows), ""])


def measure(args: argparse.Namespace) -> dict[str, Any]:
    times = time_step(build(args.device), args)
    names = [OURS] if args.quick else installed()
    used = {name: in_its_own_process(__file__, [name, args.device, args.threads]) for name in names if args.memory}
    packages = {package: package for package in PEERS.values()}
    return {"machine": machine(args, packages), "ms": times, "memory_mib": used}


def main() -> None:
    args = parse(parser(__doc__, quick="5 rounds, memory of ours alone"))
    if args.cell:
        print(memory_here(*json.loads(args.cell)))
        return
    torch.set_num_threads(args.threads)
    found = measure(args)
    write(args, "training_cost", found, report(found))


if __name__ == "__main__":
    main()
