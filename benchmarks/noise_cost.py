"""What constant noise adds to an epoch of training: the same number of minibatches with it and without.

    python benchmarks/noise_cost.py                  # some minutes on one CPU core
    python benchmarks/noise_cost.py --quick          # the dense network alone

Every contender trains the same network for the same number of minibatches of 100: "clean" on as many different images
as the others have points, which are two copies of half of them. "stored" is what constant noise costs when all
copies are made before the training and kept. Contenders take turns within a round, and a ratio is taken within each.

Memory: the peak of a process in which the training set is extended by so many copies, above that of one copy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from common import OURS, Benchmark, Call, peak, random_images, time_table
from unshaken.models import Deterministic
from unshaken.networks import lenet, mlp, resnet18
from unshaken.training import constant_noise, train
from unshaken.training.noise import NOISES, noise_of
from unshaken.training.objectives import cross_entropy

BATCH, INPUTS, COPIES, SIZE = 100, 1000, 2, 0.3
MEMORY_COPIES = (1, 10, 100)


class Case(NamedTuple):
    """A network and the shape of its images."""

    shape: tuple[int, int, int]
    network: Callable[..., nn.Module]


CASES = {
    "784-128-128-10": Case((1, 28, 28), mlp),
    "LeNet 32/64": Case((1, 28, 28), lenet),
    "ResNet-18, width 8, 3x32x32": Case((3, 32, 32), partial(resnet18, width=8)),
}


def model_of(case: Case) -> Deterministic:
    torch.manual_seed(0)
    return Deterministic(case.network(case.shape, 10))


def epoch(model: Deterministic, x: Tensor, y: Tensor, **settings: object) -> None:
    train(model, x, y, objective=cross_entropy, epochs=1, batch_size=BATCH, **settings)


def stored_copies(case: Case, noise: str) -> Call:
    """All copies made and kept beforehand, as independent points."""
    x, y = random_images(INPUTS, case.shape)
    indices = torch.arange(INPUTS).repeat(COPIES)
    copies = torch.arange(COPIES).repeat_interleave(INPUTS)
    extended = (x[indices] + noise_of(noise, SIZE, 0, indices, copies, case.shape)).clamp(0, 1)
    return partial(epoch, model_of(case), extended, y[indices])


def contenders(case: Case) -> dict[str, Call]:
    """Each trains on INPUTS x COPIES points."""
    x, y = random_images(INPUTS, case.shape)
    calls: dict[str, Call] = {OURS: partial(epoch, model_of(case), *random_images(INPUTS * COPIES, case.shape))}
    for noise in NOISES:
        inputs = partial(constant_noise, size=SIZE, noise=noise, copies=COPIES)
        calls[noise] = partial(epoch, model_of(case), x, y, inputs=inputs)
    return calls | {"stored": stored_copies(case, "uniform")}


def memory_here(copies: int) -> float:
    """Peak MiB of this process when the training set is extended by so many copies."""
    case = CASES["784-128-128-10"]
    x, y = random_images(2000, case.shape)
    epoch(model_of(case), x, y, inputs=partial(constant_noise, size=SIZE, copies=copies))
    return peak("cpu")


def main() -> None:
    benchmark = Benchmark(__file__, __doc__, quick="the dense network alone, few rounds", task=memory_here)
    cases = dict(list(CASES.items())[:1]) if benchmark.args.quick else CASES
    times = {name: benchmark.time(contenders(case)) for name, case in cases.items()}
    memory = {n: benchmark.in_own_process(n) for n in (MEMORY_COPIES if benchmark.args.memory else ())}
    lines = [
        f"{math.ceil(INPUTS * COPIES / BATCH)} minibatches of {BATCH}, and the accuracy of 1,000 images at the end.",
        "Milliseconds: median (least-most) over rounds, and ×: how many times as long as without noise.",
        "",
        time_table(times, [OURS, *NOISES, "stored"], "clean"),
    ]
    if memory:
        growth = ", ".join(f"{mib - memory[1]:+.1f} MiB with {copies}" for copies, mib in memory.items() if copies > 1)
        lines += [
            "",
            f"Peak memory above that with one copy, 2,000 images of MNIST's size: {growth} "
            f"(a stored copy takes {2000 * 28 * 28 * 4 / 2**20:.1f} MiB).",
        ]
    benchmark.write("What constant noise adds to an epoch of training", lines, {"ms": times, "memory": memory})


if __name__ == "__main__":
    main()
