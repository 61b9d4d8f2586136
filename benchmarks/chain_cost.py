"""What chains and samplers cost: Bayesian adversarial learning with 5 chains beside 1, samplers beside Adam.

    python benchmarks/chain_cost.py                  # half an hour on one CPU core
    python benchmarks/chain_cost.py --quick          # the dense network, the smallest minibatches, few samplers

A minibatch of Bayesian adversarial learning is 15 steps of Langevin dynamics of its inputs and 15 updates of all chains
on both, the clean and the moved ones. Contenders take turns within a round, and a ratio is taken within each.

The process keeps memory that is freed, as `unshaken run` has it; what that is worth is measured in two other processes.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer

from common import OURS, Benchmark, Call, Target, Times, bullets, random_images, ratio, seconds, time_table
from unshaken.models import Chain
from unshaken.networks import dropout_cnn, mlp
from unshaken.runs.memory import keep_freed_memory
from unshaken.training import SGLD, SGAdaLD
from unshaken.training.generators import langevin
from unshaken.training.learner import Learner
from unshaken.training.objectives import cross_entropy, with_clean

CHAINS, UPDATES, EXAMPLES = 5, 15, 60_000
LOOP, VMAP = f"{CHAINS} chains, a loop", f"{CHAINS} chains, vmap"
SHAPE = (1, 28, 28)
CHAINS_LIMIT, UPDATE_LIMIT = 3.5, 1.3  # times one chain, times Adam
NETWORKS: dict[str, Callable[..., nn.Module]] = {"784-128-128-10": mlp, "dropout_cnn": dropout_cnn}
GENERATOR = partial(langevin, seed=1, step_size=1.2, cost=0.0256, decay=0.25)

# as in the authors' code, and with what the samplers themselves propose
AS_CODED = partial(SGAdaLD, lr=0.015, window=2.0, first=1e-5, reset=True, form="deviation", scale=1.0)
SAMPLERS: dict[str, Callable[..., Optimizer]] = {
    OURS: torch.optim.Adam,
    "SGLD": partial(SGLD, lr=1e-6, scale=1.0, temperature=1e-5),
    "SGLD, T = 0": partial(SGLD, lr=1e-6, scale=1.0, temperature=0.0),
    "SGAdaLD as coded": partial(AS_CODED, temperature=1e-5),
    "SGAdaLD as coded, T = 0": partial(AS_CODED, temperature=0.0),
    "SGAdaLD, window 300": partial(SGAdaLD, friction="matched", window=300.0, scale=1.0, temperature=1e-5),
    "SGAdaLD, automatic": partial(SGAdaLD, friction="matched", scale=1.0, temperature=1e-5),
}

JUDGED = ("SGAdaLD as coded", "SGAdaLD as coded, T = 0")


def model_of(network: str, device: str, chains: int, vectorised: bool | None = None) -> Chain:
    torch.manual_seed(0)
    return Chain(NETWORKS[network](SHAPE, 10).to(device), chains=chains, vectorised=vectorised)


def minibatch(network: str, batch: int, device: str, chains: int, vectorised: bool | None) -> Call:
    """One minibatch of Bayesian adversarial learning."""
    model, (x, y) = model_of(network, device, chains, vectorised), random_images(batch, SHAPE, device)
    optimizer = SAMPLERS["SGAdaLD as coded"](model.parameters())
    learner = Learner(model, optimizer, with_clean, EXAMPLES, UPDATES)
    model.net.train()

    def learn() -> None:
        with model.in_training():
            learner.learn(GENERATOR(model, x, y), 0, "the benchmark")

    return learn


def minibatches(network: str, batch: int, device: str) -> dict[str, Call]:
    make = partial(minibatch, network, batch, device)
    return {OURS: make(1, False), LOOP: make(CHAINS, False), VMAP: make(CHAINS, True)}


def training_step(network: str, batch: int, device: str, sampler: Callable[..., Optimizer]) -> Call:
    """The gradient of the mean cross-entropy of one network, and an update."""
    model, (x, y) = model_of(network, device, 1), random_images(batch, SHAPE, device)
    optimizer = sampler(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model, x, y, examples=EXAMPLES, seed=0).backward()
        optimizer.step()

    return step


def update(network: str, device: str, chains: int, sampler: Callable[..., Optimizer]) -> Call:
    """An update alone, always with the same gradient."""
    weights, rng = model_of(network, device, chains).parameters(), torch.Generator().manual_seed(0)
    for p in weights:
        p.grad = 0.01 * torch.randn(p.shape, generator=rng).to(device)
    return sampler(weights).step


def with_each(make: Callable[[Callable[..., Optimizer]], Call], quick: bool) -> dict[str, Call]:
    names = (OURS, *JUDGED) if quick else tuple(SAMPLERS)
    return {name: make(SAMPLERS[name]) for name in names}


def time_here(network: str, batch: int, device: str, keep: bool) -> float:
    """Milliseconds of CPU time of a minibatch with 5 chains in this process."""
    if keep:
        keep_freed_memory()
    call = minibatch(network, batch, device, CHAINS, None)
    call()
    return 1000 * statistics.median(seconds(call, 1, device)[0] for _ in range(3))


def table(rows: dict[str, Times], baseline: str) -> str:
    return time_table(rows, next(iter(rows.values())), baseline)


def targets(times: dict[str, dict[str, Times]], default: str) -> list[str]:
    """Each number to reach: of chains as they are trained by default, whichever way is faster."""
    chains = [
        Target(f"{row}: {default} / 1 chain", ratio(measured, default), CHAINS_LIMIT)
        for row, measured in times["chains"].items()
    ]
    updates = [
        Target(f"{row}, {title}: {name} / Adam", ratio(measured, name), UPDATE_LIMIT)
        for title, key in (("training step", "steps"), ("update alone", "updates"))
        for row, measured in times[key].items()
        for name in JUDGED
    ]
    return bullets([*chains, *updates])


def main() -> None:
    quick = "the dense network alone, the smallest minibatches, few samplers and rounds"
    options = {"--batches": {"type": int, "nargs": "+", "default": [64, 256]}}
    benchmark = Benchmark(__file__, __doc__, quick=quick, task=time_here, options=options)
    args = benchmark.args
    keep_freed_memory()
    networks, batches = (list(NETWORKS)[:1], args.batches[:1]) if args.quick else (list(NETWORKS), args.batches)
    cases = {f"{network}, batch {batch}": (network, batch, args.device) for network in networks for batch in batches}
    chains = {
        f"{network}, {count} chain{'s' * (count > 1)}": (network, args.device, count)
        for network in networks
        for count in (1, CHAINS)[args.quick :]
    }
    times = {
        "chains": {row: benchmark.time(minibatches(*case)) for row, case in cases.items()},
        "steps": {
            row: benchmark.time(with_each(partial(training_step, *case), args.quick)) for row, case in cases.items()
        },
        "updates": {row: benchmark.time(with_each(partial(update, *case), args.quick)) for row, case in chains.items()},
    }
    memory_cases = cases.items() if args.memory and args.device == "cpu" else ()
    kept = {row: [benchmark.in_own_process(*case, keep) for keep in (True, False)] for row, case in memory_cases}
    lines = [
        "Milliseconds: median (least-most) over rounds, and ×: how many times as long as the first column.",
        "",
        f"A minibatch of Bayesian adversarial learning, 15 Langevin steps and {UPDATES} updates of SGAdaLD:",
        "",
        table(times["chains"], "1 chain"),
        "",
        "A training step of one network, gradient and update:",
        "",
        table(times["steps"], "Adam"),
        "",
        "The update alone:",
        "",
        table(times["updates"], "Adam"),
        "",
        *targets(times, VMAP if args.device == "cuda" else LOOP),
    ]
    for row, (keeping, freeing) in kept.items():
        slowdown = f"×{freeing / keeping:.2f} the time"
        lines += ["", f"{row}, {CHAINS} chains, memory given back to the system: {slowdown}."]
    benchmark.write("What chains and samplers cost", lines, {"ms": times, "kept": kept})


if __name__ == "__main__":
    main()
