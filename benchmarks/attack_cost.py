"""What an attack costs: Unshaken, a plain Python loop and three attack libraries, side by side in one process.

    python benchmarks/attack_cost.py                  # three networks, a quarter of an hour on one CPU core
    python benchmarks/attack_cost.py --quick          # the MLP alone, few rounds
    python benchmarks/attack_cost.py --device cuda    # needs a GPU

Every attack ascends a mean of cross-entropies over draws of the same network, mean-field or with MC dropout (foolbox:
the cross-entropy of the mean logits, the only one it has). Unshaken's default loss has a column of its own. The others
see the module that a user would write, which draws its weights or masks anew at every forward pass; its parameters are
frozen, which spares foolbox and ART the gradients of the weights, and their objects are built before the clock starts.
torchattacks and ART put a module into eval mode, which suits BatchNorm but would switch nn.Dropout off without a word:
all are given a dropout layer that ignores modes, and none may have moved the statistics. Contenders take turns within
a round; a ratio is taken within each round and then its median over rounds, so a busy machine slows both sides of it.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common import (
    OURS,
    Benchmark,
    Call,
    Target,
    Times,
    bullets,
    installed,
    markdown,
    peak_growth,
    ratio,
    spread,
    time_table,
)
from unshaken.attacks import pgd
from unshaken.models import Dropout, MeanField, StochasticClassifier
from unshaken.networks import Shape, mlp, small_cnn, wide_resnet

EPS = 0.1
SWEEP = (0.05, 0.07, 0.09, 0.11, 0.13, 0.17, 0.25)
PEERS = {"foolbox": "foolbox", "torchattacks": "torchattacks", "ART": "adversarial-robustness-toolbox"}
LOOP = "plain loop"


class Row(NamedTuple):
    """One attack: draws per gradient (0: the mean network), steps, sizes, and whether ours keeps its draws."""

    name: str
    draws: int
    steps: int = 1
    eps: tuple[float, ...] = (EPS,)
    redraw: bool = True

    @property
    def step_size(self) -> float:
        """The step of an attack of one size: Unshaken's default."""
        return self.eps[0] * min(1.0, 2 / self.steps)


ROWS = {
    row.name: row
    for row in (
        Row("FGSM-1", 1),
        Row("FGSM-10", 10),
        Row("FGSM-100", 100),
        Row("PGD 10 steps, 1 draw", 1, 10),
        Row("PGD 10 steps, 1 draw kept", 1, 10, redraw=False),
        Row("PGD 10 steps, 10 draws", 10, 10),
        Row("PGD 10 steps, 10 draws kept", 10, 10, redraw=False),
        Row("MEAN", 0),
        Row("FGSM-10, seven eps", 10, eps=SWEEP),
    )
}
MEMORY_ROWS = {"FGSM-10": ROWS["FGSM-10"], "FGSM-100": ROWS["FGSM-100"], "FGSM-1000": Row("FGSM-1000", 1000)}


# The networks, and the module that a user would write for the other libraries


class Redrawn(nn.Module):
    """A dense or convolutional layer with Gaussian weights, drawn anew at every forward pass."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, tensors: dict[str, Tensor], prefix: str) -> None:
        super().__init__()
        self.apply_weights = F.linear if isinstance(layer, nn.Linear) else F.conv2d
        for tensor in ("weight", "bias"):
            for moment in ("mean", "rho"):
                value = tensors[f"{moment}.{prefix}.{tensor}"].detach().clone()
                self.register_parameter(f"{moment}_{tensor}", nn.Parameter(value, requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.mean_weight + F.softplus(self.rho_weight) * torch.randn_like(self.mean_weight)
        bias = self.mean_bias + F.softplus(self.rho_bias) * torch.randn_like(self.mean_bias)
        return self.apply_weights(x, weight, bias)


def redrawing(net: nn.Sequential, model: StochasticClassifier) -> nn.Module:
    """The network with Gaussian weights: those of `model`."""
    layers = (
        Redrawn(layer, model.tensors(), str(i)) if isinstance(layer, nn.Linear | nn.Conv2d) else layer
        for i, layer in enumerate(net)
    )
    return nn.Sequential(*layers)


class StaysOn(nn.Dropout):
    """Dropout in eval mode too, where BatchNorm uses its running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=True)


def dropping(net: nn.Sequential, model: StochasticClassifier) -> nn.Module:
    """The network with dropout that no library can switch off."""
    copies: dict[int, Any] = {id(layer): StaysOn(layer.p) for layer in net.modules() if isinstance(layer, nn.Dropout)}
    return copy.deepcopy(net, copies)  # takes these for copies that it has made already


class Net(NamedTuple):
    """A network and its inputs; what is random about it, as our model and as the user's module; what is measured."""

    title: str
    make: Callable[..., nn.Sequential]
    shape: Shape
    batch: int
    model: Callable[[nn.Module, Shape], StochasticClassifier]
    by_user: Callable[[nn.Sequential, StochasticClassifier], nn.Module]
    rows: tuple[str, ...] = tuple(ROWS)
    memory: tuple[str, ...] = tuple(MEMORY_ROWS)

    @property
    def summary(self) -> str:
        return f"{self.title}, {self.batch} inputs of {' x '.join(map(str, self.shape))}"


def mean_field(net: nn.Module, shape: Shape) -> StochasticClassifier:
    return MeanField(net)


cnn = partial(small_cnn, widths=(32, 64))
wrn = partial(wide_resnet, depth=10, width=1, dropout=0.3)
QUICKER = tuple(name for name in ROWS if name != "FGSM-100")
FEW = {"rows": ("FGSM-10", "MEAN"), "memory": ("FGSM-10",)}
NETS = {
    "mlp": Net("784-128-128-10", mlp, (1, 28, 28), 100, mean_field, redrawing),
    "cnn": Net("small_cnn(widths=(32, 64))", cnn, (1, 28, 28), 20, mean_field, redrawing, QUICKER),
    "wrn": Net("wide_resnet(depth=10, width=1), MC dropout 0.3", wrn, (3, 32, 32), 20, Dropout, dropping, **FEW),
}


class Setup(NamedTuple):
    """A stochastic classifier; the same as two plain modules, random and at its mean; a batch."""

    model: StochasticClassifier
    random: nn.Module
    at_mean: nn.Module
    x: Tensor
    y: Tensor


@cache
def build(name: str, device: str, batch: int | None = None) -> Setup:
    """The classifiers and the batch of one network; equal values in every process."""
    torch.manual_seed(0)
    network = NETS[name]
    net = network.make(network.shape, 10).to(device).eval().requires_grad_(False)
    x, y = torch.rand(batch or network.batch, *network.shape), torch.randint(10, (batch or network.batch,))
    model = network.model(net, network.shape)
    return Setup(model, network.by_user(net, model).eval(), net, x.to(device), y.to(device))


# Contenders: (setup, row) -> a call that runs the attack of that row


def ours(setup: Setup, row: Row, loss: str = "mean_cross_entropy") -> Call:
    model, x, y = setup.model, setup.x, setup.y
    eps: Any = list(row.eps) if len(row.eps) > 1 else row.eps[0]
    draws = row.draws or "mean"
    return lambda: pgd(model, x, y, eps=eps, draws=draws, steps=row.steps, redraw=row.redraw, loss=loss)


def ours_by_default(setup: Setup, row: Row) -> Call:
    return ours(setup, row, "log_error")


def fgsm_by_hand(net: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cross_entropy(net(leaf), y, reduction="sum"), leaf)
    return (x + eps * gradient.sign()).clamp(0, 1)


def pgd_by_hand(net: nn.Module, x: Tensor, y: Tensor, row: Row, eps: float) -> Tensor:
    x_adv, nu = x, eps * min(1.0, 2 / row.steps)
    for _ in range(row.steps):
        leaf = x_adv.clone().requires_grad_()
        total = torch.zeros_like(x)
        for _ in range(row.draws):
            total += torch.autograd.grad(F.cross_entropy(net(leaf), y, reduction="sum"), leaf)[0]
        x_adv = (x + (x_adv + nu * total.sign() - x).clamp(-eps, eps)).clamp(0, 1)
    return x_adv


def plain_loop(setup: Setup, row: Row) -> Call:
    if not row.draws:
        return lambda: fgsm_by_hand(setup.at_mean, setup.x, setup.y, row.eps[0])
    return lambda: [pgd_by_hand(setup.random, setup.x, setup.y, row, eps) for eps in row.eps]


def by_foolbox(setup: Setup, row: Row) -> Call:
    """`run` rather than the call itself, which would also test whether the result is adversarial."""
    import foolbox

    net = setup.random if row.draws else setup.at_mean
    model: Any = foolbox.PyTorchModel(net, bounds=(0, 1), device=setup.x.device)
    if row.draws > 1:
        model = foolbox.models.ExpectationOverTransformationWrapper(model, n_steps=row.draws)
    attack: Any = foolbox.attacks.FGSM()
    if row.steps > 1:
        attack = foolbox.attacks.LinfPGD(abs_stepsize=row.step_size, steps=row.steps, random_start=False)
    return lambda: [attack.run(model, setup.x, setup.y, epsilon=eps) for eps in row.eps]


def by_torchattacks(setup: Setup, row: Row) -> Call:
    import torchattacks

    net = setup.random if row.draws else setup.at_mean
    settings = {"steps": row.steps, "eot_iter": max(row.draws, 1), "random_start": False}
    if not row.draws:
        attacks = [torchattacks.FGSM(net, eps=eps) for eps in row.eps]
    else:
        alphas = [eps * min(1.0, 2 / row.steps) for eps in row.eps]
        attacks = [torchattacks.EOTPGD(net, eps=e, alpha=a, **settings) for e, a in zip(row.eps, alphas, strict=True)]
    return lambda: [attack(setup.x, setup.y) for attack in attacks]


def by_art(setup: Setup, row: Row) -> Call:
    """A subclass that averages `loss_gradient` over draws: ART has no such wrapper of its own."""
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    class Averaged(PyTorchClassifier):
        def loss_gradient(self, *args: Any, **kwargs: Any) -> Any:
            total = super().loss_gradient(*args, **kwargs)
            for _ in range(row.draws - 1):
                total = total + super().loss_gradient(*args, **kwargs)
            return total / max(row.draws, 1)

    device = "gpu" if setup.x.is_cuda else "cpu"
    net = setup.random if row.draws else setup.at_mean
    model = Averaged(net, nn.CrossEntropyLoss(), tuple(setup.x.shape[1:]), 10, clip_values=(0, 1), device_type=device)
    settings = {"batch_size": len(setup.x)}
    if row.steps > 1:
        settings |= {"eps_step": row.step_size, "max_iter": row.steps, "verbose": False}
    method = ProjectedGradientDescent if row.steps > 1 else FastGradientMethod
    attacks = [method(model, eps=eps, **settings) for eps in row.eps]
    x, y = setup.x.cpu().numpy(), setup.y.cpu().numpy()
    return lambda: [attack.generate(x, y) for attack in attacks]


CONTENDERS: dict[str, Callable[[Setup, Row], Call]] = {
    OURS: ours,
    "ours, log_error": ours_by_default,
    LOOP: plain_loop,
    "foolbox": by_foolbox,
    "torchattacks": by_torchattacks,
    "ART": by_art,
}


def last(result: object) -> Tensor:
    """The perturbed batch of the last size, of whatever a contender returned."""
    if isinstance(result, list):
        return torch.as_tensor(result[-1]).cpu()
    assert isinstance(result, Tensor)
    return result.cpu()[-1] if result.dim() == 5 else result.cpu()


def check_result(setup: Setup, row: Row, result: object) -> None:
    """Whatever ran, it was this attack: in [0, 1], within eps, and reaching eps, and BatchNorm stayed in eval mode."""
    x_adv, x = last(result), setup.x.cpu()
    size = float((x_adv - x).abs().max())
    if not (x_adv.shape == x.shape and abs(size - row.eps[-1]) < 1e-5 and 0 <= x_adv.min() <= x_adv.max() <= 1):
        raise AssertionError(f"{row.name}: a perturbation of {size:g} where {row.eps[-1]:g} was asked for.")
    statistics_of_both = zip(setup.random.buffers(), setup.at_mean.buffers(), strict=True)
    if not all(torch.equal(one, other) for one, other in statistics_of_both):
        raise AssertionError(f"{row.name}: the running statistics of BatchNorm have changed.")


# Time


def time_rows(benchmark: Benchmark, net: str, rows: Sequence[Row]) -> dict[str, Times]:
    setup, times = build(net, benchmark.args.device), {}
    for row in rows:
        attacks = {name: CONTENDERS[name](setup, row) for name in installed(CONTENDERS, PEERS)}
        for attack in attacks.values():
            check_result(setup, row, attack())
        times[row.name] = benchmark.time(attacks)
        print(
            f"  {net}  {row.name}: " + ", ".join(f"{k} {statistics.median(v):.2f}" for k, v in times[row.name].items())
        )
    return times


def time_vmap(benchmark: Benchmark, net: str, batches: Sequence[int]) -> dict[str, Times]:
    """FGSM-10 by a loop over draws and by one vectorised pass, for several batch sizes."""
    times = {}
    for batch in batches:
        setup = build(net, benchmark.args.device, batch)
        attacks = {}
        for name, wins in (("loop", False), ("vmap", True)):
            model = NETS[net].model(setup.at_mean, NETS[net].shape)
            model.execution.vmap_wins = lambda x, wins=wins: wins  # type: ignore[method-assign]
            attacks[name] = ours(setup._replace(model=model), ROWS["FGSM-10"])
        times[f"{net}, {batch} inputs"] = benchmark.time(attacks)
    return times


# Memory


def memory_here(net: str, row: str, contender: str, device: str) -> float:
    """MiB that an attack adds to the peak of this process, after one draw of one input has set everything up."""
    setup, attack = build(net, device), CONTENDERS[contender]
    one_input = setup._replace(x=setup.x[:1], y=setup.y[:1])
    return peak_growth(lambda: attack(one_input, Row("one", 1))(), lambda: attack(setup, MEMORY_ROWS[row])(), device)


def measure_memory(benchmark: Benchmark, net: str) -> dict[str, dict[str, float]]:
    memory: dict[str, dict[str, float]] = {}
    for row in NETS[net].memory:
        names = [name for name in installed(CONTENDERS, PEERS) if name != "ours, log_error"]
        if benchmark.args.quick or row == "FGSM-1000":
            names = [OURS]
        memory[row] = {name: benchmark.in_own_process(net, row, name, benchmark.args.device) for name in names}
        print(f"  {net}  memory of {row}: " + ", ".join(f"{k} {v:.1f}" for k, v in memory[row].items()))
    return memory


# Numbers to reach


def ratio_to_fastest_peer(times: Times | None) -> float | None:
    peers = [name for name in times or {} if name in PEERS]
    return 1 / min(ratio(times, name) for name in peers) if times and peers else None


def mean_field_targets(times: dict[str, Times], memory: dict[str, dict[str, float]]) -> list[Target]:
    mean = times.get("MEAN")
    few, many = (memory.get(row, {}).get(OURS) for row in ("FGSM-10", "FGSM-1000"))
    # 1 MiB: less cannot be told from nothing
    growth = max(many, 1.0) / max(few, 1.0) if few is not None and many is not None else None
    kept = times.get("PGD 10 steps, 10 draws kept")
    return [
        Target("FGSM-10 at seven eps / fastest peer", ratio_to_fastest_peer(times.get("FGSM-10, seven eps")), 0.2),
        Target("FGSM-100 / fastest peer", ratio_to_fastest_peer(times.get("FGSM-100")), 1.0),
        Target("PGD 10 steps, 10 draws kept / fastest peer", ratio_to_fastest_peer(kept), 0.6),
        Target("MEAN / FGSM by hand on the mean network", 1 / ratio(mean, LOOP) if mean else None, 1.2),
        Target("peak memory of FGSM-1000 / of FGSM-10", growth, 1.2),
    ]


def dropout_targets(times: dict[str, Times], memory: dict[str, dict[str, float]]) -> list[Target]:
    fastest = ratio_to_fastest_peer(times.get("FGSM-10"))
    return [Target("MC-dropout FGSM-10 on the small wide ResNet / fastest peer", fastest, 1.0)]


TARGETS = {"mlp": mean_field_targets, "wrn": dropout_targets}


# Report


def vmap_table(times: dict[str, Times]) -> str:
    rows = [[row, spread(t["loop"]), f"{ratio(t, 'vmap', 'loop'):.2f}"] for row, t in times.items()]
    return markdown(["FGSM-10", "loop, ms", "vmap / loop"], rows)


def memory_table(memory: dict[str, dict[str, float]]) -> str:
    names = [name for name in CONTENDERS if name != "ours, log_error"]
    rows = [[row, *(f"{mib[name]:.1f}" if name in mib else "-" for name in names)] for row, mib in memory.items()]
    return markdown(["", *names], rows)


OPTIONS: dict[str, dict[str, Any]] = {
    "--nets": {"nargs": "+", "choices": NETS, "help": "networks to measure (default: all)"},
    "--rows": {"nargs": "+", "choices": ROWS, "help": "attacks (default: most, few on the wide ResNet)"},
    "--slow": {"action": "store_true", "help": "every attack on every network"},
    "--no-vmap": {"dest": "vmap", "action": "store_false", "help": "leave out loop against vmap"},
}


def main() -> None:
    quick = "the MLP alone, 5 rounds, memory of ours alone, no vmap"
    benchmark = Benchmark(__file__, __doc__, quick=quick, task=memory_here, options=OPTIONS)
    args = benchmark.args
    lines = ["Milliseconds: median (least-most) over rounds, and ×: how many times as long as ours.", ""]
    numbers: dict[str, dict[str, Any]] = {"nets": {}, "vmap_ms": {}}
    for net in args.nets or (["mlp"] if args.quick else NETS):
        rows = [ROWS[name] for name in args.rows or (ROWS if args.slow else NETS[net].rows)]
        times = time_rows(benchmark, net, rows)
        memory = measure_memory(benchmark, net) if args.memory else {}
        targets = TARGETS[net](times, memory) if net in TARGETS else []
        numbers["nets"][net] = {"ms": times, "memory_mib": memory, "targets": [target.line for target in targets]}
        lines += [f"## {NETS[net].summary}", "", time_table(times, CONTENDERS), ""]
        if memory:
            lines += ["Peak memory above that of one draw of one input, MiB:", "", memory_table(memory), ""]
        lines += [*bullets(targets), ""]
        if args.vmap and not args.quick:
            numbers["vmap_ms"] |= time_vmap(benchmark, net, (1, 4, 16, 64))
    if numbers["vmap_ms"]:
        lines += ["## A loop over draws, or one vectorised pass", "", vmap_table(numbers["vmap_ms"])]
    benchmark.write("What an attack costs", lines, numbers, PEERS)


if __name__ == "__main__":
    main()
