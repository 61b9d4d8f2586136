"""What an ensemble costs: a training step and an attack of k members beside k times those of one network.

    python benchmarks/ensemble_cost.py               # ten minutes on one CPU core
    python benchmarks/ensemble_cost.py --quick       # small networks, two members

A training step is IFGSM with seven steps on the whole ensemble, the mean of the clean and the attacked loss, and SGD
with momentum. The attack is PGD with ten steps. Contenders take turns within a round, and a ratio is taken within each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

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
    ratio,
    write,
)
from unshaken.attacks import pgd
from unshaken.models import Deterministic, Ensemble, StochasticClassifier
from unshaken.networks import lenet, wide_resnet
from unshaken.runs.memory import keep_freed_memory
from unshaken.training.inputs import adversarial
from unshaken.training.loop import _learn
from unshaken.training.objectives import with_clean

MEMBERS = (2, 4)
MOST = 1.1  # times k single steps, or single attacks
Make = Callable[[], nn.Module]
NETWORKS: dict[str, tuple[tuple[int, int, int], Make]] = {
    "lenet": ((1, 28, 28), lambda: lenet((1, 28, 28), 10)),
    "WRN-10-1": ((3, 32, 32), lambda: wide_resnet((3, 32, 32), 10, depth=10, width=1)),
    "WRN-16-4": ((3, 32, 32), lambda: wide_resnet((3, 32, 32), 10, depth=16, width=4)),
}
SHOWN = {"cpu": ("lenet", "WRN-10-1"), "cuda": ("WRN-10-1", "WRN-16-4")}
ATTACK = partial(pgd, loss="cross_entropy", draws="all", start="gaussian", step_size=2 / 255)
INPUTS = partial(adversarial, eps=8 / 255, probability=1.0, attack=partial(ATTACK, steps=7))


def model_of(network: str, members: int, device: str) -> StochasticClassifier:
    torch.manual_seed(0)
    nets = [NETWORKS[network][1]().to(device) for _ in range(members)]
    return Ensemble(nets) if members > 1 else Deterministic(nets[0])


def images(network: str, batch: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(batch, *NETWORKS[network][0], generator=rng)
    return x.to(device), torch.randint(10, (batch,), generator=rng).to(device)


def step_of(network: str, batch: int, device: str, members: int) -> Callable[[], None]:
    """One step of joint training under attack."""
    model, (x, y) = model_of(network, members, device), images(network, batch, device)
    rule = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    objective = partial(with_clean, loss="cross_entropy")
    model.net.train()
    return lambda: _learn(model, rule, objective, INPUTS(model, x, y, seed=1), 1, batch, 0, "the benchmark") and None


def attack_of(network: str, batch: int, device: str, members: int, steps: int = 10) -> Callable[[], object]:
    model, (x, y) = model_of(network, members, device), images(network, batch, device)
    return lambda: ATTACK(model, x, y, eps=8 / 255, steps=steps, seed=1)


def contenders(
    make: Callable[[int], Callable[[], object]], members: tuple[int, ...]
) -> dict[str, Callable[[], object]]:
    return {OURS: make(1), **{name(k): make(k) for k in members}}


def name(members: int) -> str:
    return f"{members} members"


def memory_here(network: str, batch: int, device: str, members: int) -> float:
    """MiB that an attack takes above the weights and an attack on one image, in this process."""
    attack_of(network, 1, device, members, steps=2)()
    before = peak(device)
    attack_of(network, batch, device, members, steps=2)()
    return peak(device) - before


def table(rows: dict[str, Times], members: tuple[int, ...]) -> str:
    names = [OURS, *map(name, members)]
    return markdown(
        ["", "one network", *names[1:]], [[row, *(cell(times, one) for one in names)] for row, times in rows.items()]
    )


def targets(what: str, rows: dict[str, Times], members: tuple[int, ...]) -> list[str]:
    told = [
        (f"{row}, {what}: {name(k)} / {k} x one", ratio(times, name(k)) / k)
        for row, times in rows.items()
        for k in members
    ]
    return [
        f"* {text}: {value:.2f}, to reach {MOST} ({'reached' if value <= MOST else 'not reached'})"
        for text, value in told
    ]


def main() -> None:
    options = parser(__doc__, "the smaller network, two members, a small batch")
    options.add_argument("--batch", type=int, default=128)
    args = parse(options)
    torch.set_num_threads(args.threads)
    if args.cell:
        print(memory_here(*json.loads(args.cell)))
        return
    keep_freed_memory()
    networks, members = SHOWN[args.device], MEMBERS
    if args.quick:
        networks, members, args.batch = networks[:1], members[:1], min(args.batch, 8)
    found: dict[str, dict[str, Times]] = {"a training step": {}, "an attack": {}}
    for network in networks:
        for what, make in zip(found, (step_of, attack_of), strict=True):
            calls = contenders(partial(make, network, args.batch, args.device), members)
            found[what][network] = interleaved(calls, args.repeats, args.device, args.wall)
    used = {
        network: {str(k): in_its_own_process(__file__, [network, args.batch, args.device, k]) for k in (1, *members)}
        for network in (networks if args.memory else ())
    }
    told = machine(args, {})
    lines = [
        *heading("What an ensemble costs", told),
        f"Milliseconds: median (least-most) over rounds, and ×: how many times one network's. Batches of {args.batch}.",
        "",
    ]
    for what, rows in found.items():
        lines += [f"{what[0].upper()}{what[1:]}:", "", table(rows, members), ""]
    lines += [line for what, rows in found.items() for line in targets(what, rows, members)]
    if used:
        head = ["MiB of an attack above the weights", "one network", *map(name, members)]
        lines += ["", markdown(head, [[row, *(f"{mib:.0f}" for mib in sizes.values())] for row, sizes in used.items()])]
    write(args, "ensemble_cost", {"machine": told, "ms": found, "mib": used}, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
