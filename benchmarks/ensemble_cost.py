"""What an ensemble costs: a training step and an attack of k members beside k times those of one network.

    python benchmarks/ensemble_cost.py               # ten minutes on one CPU core
    python benchmarks/ensemble_cost.py --quick       # small networks, two members

A training step is IFGSM with seven steps on the whole ensemble, the mean of the clean and the attacked loss, and SGD
with momentum. The attack is PGD with ten steps. Contenders take turns within a round, and a ratio is taken within each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from common import (
    OURS,
    Benchmark,
    Call,
    Target,
    Times,
    bullets,
    markdown,
    peak_growth,
    random_images,
    ratio,
    time_table,
)
from unshaken.attacks import pgd
from unshaken.models import Deterministic, Ensemble, StochasticClassifier
from unshaken.networks import Shape, lenet, wide_resnet
from unshaken.runs.memory import keep_freed_memory
from unshaken.training.inputs import adversarial
from unshaken.training.learner import Learner
from unshaken.training.objectives import with_clean

MEMBERS = (2, 4)
MOST = 1.1  # times k single steps, or single attacks
NETWORKS: dict[str, tuple[Shape, Callable[..., nn.Module]]] = {
    "lenet": ((1, 28, 28), lenet),
    "WRN-10-1": ((3, 32, 32), partial(wide_resnet, depth=10, width=1)),
    "WRN-16-4": ((3, 32, 32), partial(wide_resnet, depth=16, width=4)),
}
BY_DEVICE = {"cpu": ("lenet", "WRN-10-1"), "cuda": ("WRN-10-1", "WRN-16-4")}
ATTACK = partial(pgd, loss="cross_entropy", draws="all", start="gaussian", step_size=2 / 255)
INPUTS = partial(adversarial, eps=8 / 255, probability=1.0, attack=partial(ATTACK, steps=7))


def setup(network: str, batch: int, device: str, members: int) -> tuple[StochasticClassifier, Tensor, Tensor]:
    shape, make = NETWORKS[network]
    torch.manual_seed(0)
    nets = [make(shape, 10).to(device) for _ in range(members)]
    model = Ensemble(nets) if members > 1 else Deterministic(nets[0])
    return model, *random_images(batch, shape, device)


def training_step(network: str, batch: int, device: str, members: int) -> Call:
    """One step of joint training under attack."""
    model, x, y = setup(network, batch, device, members)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    learner = Learner(model, optimizer, partial(with_clean, loss="cross_entropy"), batch)
    model.net.train()
    return lambda: learner.learn(INPUTS(model, x, y, seed=1), 0, "the benchmark")


def attack(network: str, batch: int, device: str, members: int, steps: int = 10) -> Call:
    model, x, y = setup(network, batch, device, members)
    return lambda: ATTACK(model, x, y, eps=8 / 255, steps=steps, seed=1)


MEASURED: dict[str, Callable[..., Call]] = {"a training step": training_step, "an attack": attack}


def title(members: int) -> str:
    return f"{members} members"


def memory_here(network: str, batch: int, device: str, members: int) -> float:
    """MiB that an attack takes above the weights and an attack on one image, in this process."""
    one_image, whole = (attack(network, size, device, members, steps=2) for size in (1, batch))
    return peak_growth(one_image, whole, device)


def targets(measured: str, rows: dict[str, Times], members: tuple[int, ...]) -> list[str]:
    return bullets(
        Target(f"{network}, {measured}: {title(k)} / {k} x one", ratio(times, title(k)) / k, MOST)
        for network, times in rows.items()
        for k in members
    )


def main() -> None:
    quick = "the smaller network, two members, a small batch"
    options = {"--batch": {"type": int, "default": 128}}
    benchmark = Benchmark(__file__, __doc__, quick=quick, task=memory_here, options=options)
    batch, device = benchmark.args.batch, benchmark.args.device
    keep_freed_memory()
    networks, members = BY_DEVICE[device], MEMBERS
    if benchmark.args.quick:
        networks, members, batch = networks[:1], members[:1], min(batch, 8)
    times: dict[str, dict[str, Times]] = {
        measured: {
            network: benchmark.time(
                {OURS: make(network, batch, device, 1), **{title(k): make(network, batch, device, k) for k in members}}
            )
            for network in networks
        }
        for measured, make in MEASURED.items()
    }
    memory = {
        network: {str(k): benchmark.in_own_process(network, batch, device, k) for k in (1, *members)}
        for network in (networks if benchmark.args.memory else ())
    }
    lines = [f"Milliseconds: median (least-most) over rounds, and ×: how many times one network's. Batches of {batch}."]
    for measured, rows in times.items():
        table = time_table(rows, [OURS, *map(title, members)], "one network")
        lines += ["", f"{measured[0].upper()}{measured[1:]}:", "", table]
    lines += ["", *(line for measured, rows in times.items() for line in targets(measured, rows, members))]
    if memory:
        header = ["MiB of an attack above the weights", "one network", *map(title, members)]
        rows = [[network, *(f"{mib:.0f}" for mib in sizes.values())] for network, sizes in memory.items()]
        lines += ["", markdown(header, rows)]
    benchmark.write("What an ensemble costs", lines, {"ms": times, "mib": memory})


if __name__ == "__main__":
    main()
