"""What chains and samplers cost: Bayesian adversarial learning with 5 chains beside 1, samplers beside Adam.

    python benchmarks/chain_cost.py                  # half an hour on one CPU core
    python benchmarks/chain_cost.py --quick          # the dense network, the smallest minibatches, few samplers

A minibatch of Bayesian adversarial learning is 15 steps of Langevin dynamics of its inputs and 15 updates of all chains
on both, the clean and the moved ones. Contenders take turns within a round, and a ratio is taken within each.

The process keeps memory that is freed, as `unshaken run` has it; what that is worth is measured in two other processes.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer

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
    ratio,
    seconds,
    write,
)
from unshaken.models import Chain
from unshaken.networks import dropout_cnn, mlp
from unshaken.runs.memory import keep_freed_memory
from unshaken.training import SGLD, SGAdaLD
from unshaken.training.generators import langevin
from unshaken.training.loop import _learn
from unshaken.training.objectives import cross_entropy, with_clean

CHAINS, UPDATES, EXAMPLES = 5, 15, 60_000
LOOP, VMAP = f"{CHAINS} chains, a loop", f"{CHAINS} chains, vmap"
SHAPE = (1, 28, 28)
TARGETS = {"chains": 3.5, "update": 1.3}
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


def images(batch: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(batch, *SHAPE, generator=rng).to(device), torch.randint(10, (batch,), generator=rng).to(device)


def minibatch(network: str, batch: int, device: str, chains: int, vectorised: bool | None) -> Callable[[], None]:
    """One minibatch of Bayesian adversarial learning."""
    model, (x, y) = model_of(network, device, chains, vectorised), images(batch, device)
    rule = SAMPLERS["SGAdaLD as coded"](model.parameters())
    model.net.train()

    def learn() -> None:
        with model.moving():
            _learn(model, rule, with_clean, GENERATOR(model, x, y), UPDATES, EXAMPLES, 0, "the benchmark")

    return learn


def chains_of(network: str, batch: int, device: str) -> dict[str, Callable[[], None]]:
    make = partial(minibatch, network, batch, device)
    return {OURS: make(1, False), LOOP: make(CHAINS, False), VMAP: make(CHAINS, True)}


def step_of(network: str, batch: int, device: str, rule: Callable[..., Optimizer]) -> Callable[[], None]:
    """The gradient of the mean cross-entropy of one network, and an update."""
    model, (x, y) = model_of(network, device, 1), images(batch, device)
    optimizer = rule(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model, x, y, examples=EXAMPLES, seed=0).backward()
        optimizer.step()

    return step


def update_of(network: str, device: str, chains: int, rule: Callable[..., Optimizer]) -> Callable[[], None]:
    """An update alone, always with the same gradient."""
    weights, rng = model_of(network, device, chains).parameters(), torch.Generator().manual_seed(0)
    for p in weights:
        p.grad = 0.01 * torch.randn(p.shape, generator=rng).to(device)
    return rule(weights).step


def each(make: Callable[[Callable[..., Optimizer]], Callable[[], None]], quick: bool) -> dict[str, Callable[[], None]]:
    names = (OURS, *JUDGED) if quick else tuple(SAMPLERS)
    return {name: make(SAMPLERS[name]) for name in names}


def cell_here(network: str, batch: int, device: str, keep: bool) -> float:
    """Milliseconds of CPU time of a minibatch with 5 chains in this process."""
    if keep:
        keep_freed_memory()
    call = minibatch(network, batch, device, CHAINS, None)
    call()
    return 1000 * statistics.median(seconds(call, 1, device)[0] for _ in range(3))


def table(rows: dict[str, Times], first: str) -> str:
    names = list(next(iter(rows.values())))
    header = ["", *(first if name == OURS else name for name in names)]
    return markdown(header, [[row, *(cell(times, name) for name in names)] for row, times in rows.items()])


def targets(chains: dict[str, Times], steps: dict[str, Times], updates: dict[str, Times], default: str) -> list[str]:
    """Each number to reach, and where it was: of chains as they are trained by default, whichever way was faster."""
    told = [(f"{row}: {default} / 1 chain", ratio(times, default), TARGETS["chains"]) for row, times in chains.items()]
    for what, rows in (("training step", steps), ("update alone", updates)):
        for row, times in rows.items():
            for name in JUDGED:
                told.append((f"{row}, {what}: {name} / Adam", ratio(times, name), TARGETS["update"]))
    return [
        f"* {what}: {value:.2f}, to reach {limit} ({'reached' if value <= limit else 'not reached'})"
        for what, value, limit in told
    ]


def report(found: dict[str, object], parts: dict[str, dict[str, Times]], kept: dict[str, tuple[float, float]]) -> str:
    lines = [
        *heading("What chains and samplers cost", found),
        "Milliseconds: median (least-most) over rounds, and ×: how many times as long as the first column.",
        "",
        f"A minibatch of Bayesian adversarial learning, 15 Langevin steps and {UPDATES} updates of SGAdaLD:",
        "",
        table(parts["chains"], "1 chain"),
        "",
        "A training step of one network, gradient and update:",
        "",
        table(parts["steps"], "Adam"),
        "",
        "The update alone:",
        "",
        table(parts["updates"], "Adam"),
        "",
        *targets(parts["chains"], parts["steps"], parts["updates"], VMAP if found["gpu"] else LOOP),
    ]
    for row, (with_it, without) in kept.items():
        lines += ["", f"{row}, {CHAINS} chains, memory given back to the system: ×{without / with_it:.2f} the time."]
    return "\n".join(lines) + "\n"


def main() -> None:
    options = parser(__doc__, "the dense network alone, the smallest minibatches, few samplers and rounds")
    options.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    args = parse(options)
    torch.set_num_threads(args.threads)
    if args.cell:
        print(cell_here(*json.loads(args.cell)))
        return
    keep_freed_memory()
    networks, batches = (list(NETWORKS)[:1], args.batches[:1]) if args.quick else (list(NETWORKS), args.batches)
    cases = {f"{network}, batch {batch}": (network, batch, args.device) for network in networks for batch in batches}
    copies = {
        f"{network}, {chains} chain{'s' * (chains > 1)}": (network, args.device, chains)
        for network in networks
        for chains in (1, CHAINS)[args.quick :]
    }

    def measure(calls: dict[str, Callable[[], None]]) -> Times:
        return interleaved(calls, args.repeats, args.device, args.wall)

    parts = {
        "chains": {row: measure(chains_of(*case)) for row, case in cases.items()},
        "steps": {row: measure(each(partial(step_of, *case), args.quick)) for row, case in cases.items()},
        "updates": {row: measure(each(partial(update_of, *case), args.quick)) for row, case in copies.items()},
    }
    kept = {}
    for row, case in cases.items() if args.memory and args.device == "cpu" else ():
        with_it, without = (in_its_own_process(__file__, [*case, keep]) for keep in (True, False))
        kept[row] = (with_it, without)
    told = machine(args, {})
    write(args, "chain_cost", {"machine": told, "ms": parts, "kept": kept}, report(told, parts, kept))


if __name__ == "__main__":
    main()
