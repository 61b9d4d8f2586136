"""What constant noise adds to an epoch of training: the same number of minibatches with it and without.

    python benchmarks/noise_cost.py                  # some minutes on one CPU core
    python benchmarks/noise_cost.py --quick          # the dense network alone

Every contender trains the same network for the same number of minibatches of 100: "clean" on as many different images
as the others have points, which are two copies of half of them. "stored" is what constant noise costs when all
copies are made before the training and kept. Contenders take turns within a round, and a ratio is taken within each.

Memory: the peak of a process in which the training set is extended by so many copies, above that of one copy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from common import OURS, cell, heading, in_its_own_process, interleaved, machine, markdown, parse, parser, peak, write
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


def images(case: Case, n: int) -> tuple[Tensor, Tensor]:
    """Equal values in every process."""
    rng = torch.Generator().manual_seed(0)
    return torch.rand(n, *case.shape, generator=rng), torch.randint(10, (n,), generator=rng)


def model_of(case: Case) -> Deterministic:
    torch.manual_seed(0)
    return Deterministic(case.network(case.shape, 10))


def epoch(model: Deterministic, x: Tensor, y: Tensor, **settings: object) -> None:
    train(model, x, y, objective=cross_entropy, epochs=1, batch_size=BATCH, **settings)


def stored(case: Case, noise: str) -> Callable[[], None]:
    """All copies made and kept beforehand, as independent points."""
    x, y = images(case, INPUTS)
    places = torch.arange(INPUTS).repeat(COPIES)
    copies = torch.arange(COPIES).repeat_interleave(INPUTS)
    extended = (x[places] + noise_of(noise, SIZE, 0, places, copies, case.shape)).clamp(0, 1)
    return partial(epoch, model_of(case), extended, y[places])


def contenders(case: Case) -> dict[str, Callable[[], None]]:
    """Each trains on INPUTS x COPIES points."""
    x, y = images(case, INPUTS)
    calls = {
        noise: partial(
            epoch, model_of(case), x, y, inputs=partial(constant_noise, size=SIZE, noise=noise, copies=COPIES)
        )
        for noise in NOISES
    }
    return {
        OURS: partial(epoch, model_of(case), *images(case, INPUTS * COPIES)),
        **calls,
        "stored": stored(case, "uniform"),
    }


def memory_here(copies: int, threads: int) -> float:
    """Peak MiB of this process when the training set is extended by so many copies."""
    torch.set_num_threads(threads)
    case = CASES["784-128-128-10"]
    x, y = images(case, 2000)
    epoch(model_of(case), x, y, inputs=partial(constant_noise, size=SIZE, copies=copies))
    return peak("cpu")


def report(found: dict[str, object], times: dict[str, dict[str, list[float]]], memory: dict[int, float]) -> str:
    names = [OURS, *NOISES, "stored"]
    header = ["", *("clean" if name == OURS else name for name in names)]
    rows = [[case, *(cell(row, name) for name in names)] for case, row in times.items()]
    points = INPUTS * COPIES
    lines = [
        *heading("What constant noise adds to an epoch of training", found),
        f"{math.ceil(points / BATCH)} minibatches of {BATCH}, and the accuracy of 1,000 images at the end.",
        "Milliseconds: median (least-most) over rounds, and ×: how many times as long as without noise.",
        "",
        markdown(header, rows),
    ]
    if memory:
        told = [f"{value - memory[1]:+.1f} MiB with {copies}" for copies, value in memory.items() if copies > 1]
        stored_size = 2000 * 28 * 28 * 4 / 2**20
        lines += [
            "",
            f"Peak memory above that with one copy, 2,000 images of MNIST's size: {', '.join(told)} "
            f"(a stored copy takes {stored_size:.1f} MiB).",
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    args = parse(parser(__doc__, "the dense network alone, few rounds"))
    torch.set_num_threads(args.threads)
    if args.cell:
        print(memory_here(*json.loads(args.cell)))
        return
    chosen = dict(list(CASES.items())[:1]) if args.quick else CASES
    times = {}
    for name, case in chosen.items():
        times[name] = interleaved(contenders(case), args.repeats, args.device, args.wall)
    copies = MEMORY_COPIES if args.memory else ()
    memory = {n: in_its_own_process(__file__, [n, args.threads]) for n in copies}
    told = machine(args, {})
    write(args, "noise_cost", {"machine": told, "ms": times, "memory": memory}, report(told, times, memory))


if __name__ == "__main__":
    main()
