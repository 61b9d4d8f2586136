"""What the robustness conditions cost: Unshaken beside plain loops over draws and classes.

    python benchmarks/conditions_cost.py --threads 2    # some minutes on two CPU cores
    python benchmarks/conditions_cost.py --quick        # 100 inputs, 10 draws: seconds

784-128-128-10, mean field; the perturbation is given, so that the time is that of the conditions alone: gradients of
all classes of the mean probability, predictions at x and x_adv, angles and distances. The loops are what a user would
write, on all inputs at once: one backward pass for each draw and class, or one vectorised over the classes. All three
use the same draws, drawn within the time, and must give the same distances before the clock starts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from common import OURS, Benchmark, Target, bullets, peak_growth, time_and_memory_table
from unshaken.analysis import conditions
from unshaken.models import MeanField, derive
from unshaken.networks import mlp

CLASSES, EPS = 10, 1.5


class Size(NamedTuple):
    inputs: int
    draws: int


FULL, QUICK = Size(1000, 100), Size(100, 10)


class Setup(NamedTuple):
    """A mean-field classifier and the network in it, inputs, labels, perturbed inputs."""

    model: MeanField
    net: nn.Module
    x: Tensor
    y: Tensor
    x_adv: Tensor
    draws: int


@cache
def build(size: Size, device: str) -> Setup:
    """Equal values in every process. The labels are those of the mean network, so that most inputs are correct."""
    torch.manual_seed(0)
    net = mlp((1, 28, 28), CLASSES).eval().requires_grad_(False)
    x = torch.rand(size.inputs, 1, 28, 28)
    step = torch.randn_like(x)
    x_adv = (x + EPS * step / step.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).clamp(0, 1)
    y = net(x).argmax(1)
    return Setup(
        MeanField(net.to(device), initial_scale=0.01), net, x.to(device), y.to(device), x_adv.to(device), size.draws
    )


# Contenders: setup -> the smallest linear distance of every input


def ours(setup: Setup) -> Tensor:
    def stored_attack(model: MeanField, x: Tensor, y: Tensor, *, eps: list[float], seed: int) -> Tensor:
        return setup.x_adv[None]

    attacks = {"stored": stored_attack}
    rows = conditions(setup.model, setup.x, setup.y, seed=0, attacks=attacks, eps=EPS, draws=setup.draws)
    return torch.tensor(rows.linear_distance.to_numpy())


def loop(setup: Setup, vectorised: bool) -> Tensor:
    x, y, delta = setup.x, setup.y, setup.x_adv - setup.x
    f, f_adv, gradient = 0.0, 0.0, torch.zeros(CLASSES, *x.shape, device=x.device)
    for state in setup.model.draw(setup.draws, seed=derive(derive(0, "repeat", 0), "inference", 0)):
        leaf = x.clone().requires_grad_()
        probabilities = functional_call(setup.net, state, (leaf,)).softmax(1)
        if vectorised:
            one_hot = torch.eye(CLASSES, device=x.device)[:, None].expand(-1, len(x), -1)
            gradient += torch.autograd.grad(probabilities, leaf, one_hot, is_grads_batched=True)[0]
        else:
            for c in range(CLASSES):
                gradient[c] += torch.autograd.grad(probabilities[:, c].sum(), leaf, retain_graph=c < CLASSES - 1)[0]
        f = f + probabilities.detach()
        with torch.no_grad():
            f_adv = f_adv + functional_call(setup.net, state, (setup.x_adv,)).softmax(1)
    f, f_adv, gradient = f / setup.draws, f_adv / setup.draws, gradient.flatten(2) / setup.draws
    index = torch.arange(len(x), device=x.device)
    margin, slopes = f[index, y][:, None] - f, gradient[y, index] - gradient  # (B, K), (K, B, D)
    slope = (slopes * delta.flatten(1)).sum(-1).T
    length = delta.flatten(1).norm(dim=1)[:, None]
    cosine = slope / (slopes.norm(dim=-1).T * length)
    distance = torch.where(cosine < 0, -margin / (slopes.norm(dim=-1).T * cosine), torch.inf)
    distance[index, y] = torch.inf
    return torch.where(f.argmax(1) == y, distance.amin(1), 0.0).double().cpu()


CONTENDERS: dict[str, Callable[[Setup], Tensor]] = {
    OURS: ours,
    "plain loop": partial(loop, vectorised=False),
    "plain loop, classes vectorised": partial(loop, vectorised=True),
}


def check_results(setup: Setup) -> None:
    """Whatever runs, it is this computation."""
    expected = ours(setup)
    if not (expected.isfinite() & (expected > 0)).double().mean() > 0.5:
        raise AssertionError("most inputs should be correct and at a finite distance.")
    for name, call in CONTENDERS.items():
        message = partial("{}: {}".format, name)
        torch.testing.assert_close(call(setup), expected, rtol=1e-2, atol=1e-3, msg=message)


def memory_here(contender: str, size: list[int], device: str) -> float:
    """MiB that the conditions add to the peak of this process, after those of ten inputs have set everything up."""
    setup = build(Size(*size), device)
    few = setup._replace(x=setup.x[:10], y=setup.y[:10], x_adv=setup.x_adv[:10], draws=2)
    return peak_growth(partial(CONTENDERS[contender], few), partial(CONTENDERS[contender], setup), device)


def main() -> None:
    benchmark = Benchmark(
        __file__, __doc__, quick="100 inputs, 10 draws, 5 rounds, memory of ours alone", task=memory_here
    )
    args = benchmark.args
    size = QUICK if args.quick else FULL
    setup = build(size, args.device)
    check_results(setup)
    times = benchmark.time({name: partial(call, setup) for name, call in CONTENDERS.items()})
    names = [OURS] if args.quick else list(CONTENDERS)
    memory = {name: benchmark.in_own_process(name, size, args.device) for name in names if args.memory}
    targets = [  # those of the full size
        Target("seconds, ours", None if args.quick else min(times[OURS]) / 1000, 30),
        Target("MiB, ours", None if args.quick else memory.get(OURS), 1024),
    ]
    lines = [
        f"784-128-128-10, {size.inputs} inputs, {size.draws} inference draws, {CLASSES} classes, one perturbation.",
        "Milliseconds: median (least-most) over rounds, and ×: how many times as long as ours.",
        "Memory: the peak above that of ten inputs and two draws, MiB.",
        "",
        time_and_memory_table("conditions", times, memory, CONTENDERS),
        "",
        *bullets(targets),
    ]
    numbers = {"size": size, "ms": times, "memory_mib": memory, "targets": [target.line for target in targets]}
    benchmark.write("What the robustness conditions cost", lines, numbers)


if __name__ == "__main__":
    main()
