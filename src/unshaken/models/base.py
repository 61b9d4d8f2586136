"""What every stochastic classifier can do: give draws, and the logits of inputs under draws."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from unshaken.models.draws import Draws, DrawsKind, derive
from unshaken.models.execution import Cost, Execution
from unshaken.models.moments import Moments, propagate
from unshaken.store import read_tensors, write_tensors
from unshaken.types import Count, Inputs, Logits, State
from unshaken.validate import check_range

VARIANCE = "variance of "  # before the name of a tensor, in the state of `expected`
NOISE = "input noise"  # the name, in a draw, of what is added to every input


def own_copy(net: nn.Module, replacements: Mapping[int, nn.Module] | None = None) -> nn.Module:
    """A copy of the modules, in eval mode, that shares every tensor: the user's flags and hooks stay as they are.

    A module whose id is in `replacements` is replaced by the one there.
    """
    # deepcopy takes what is in its memo for copied already
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    return copy.deepcopy(net, {**memo, **(replacements or {})}).eval()


def copy_tensors(source: State, target: State, title: str) -> None:
    """Copy `source` into the tensors of `target`, name by name, after checking every name and shape."""
    for name in [*target, *source]:
        here, there = (tuple(tensors[name].shape) if name in tensors else "nothing" for tensors in (target, source))
        if here != there:
            raise ValueError(f"{title} of another architecture: {name} is {there} there, {here} here.")
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(source[name])


@contextmanager
def dropout_from(seed: int, x: Tensor, *, enabled: bool) -> Iterator[None]:
    """The dropout masks of a pass through a network in training follow from `seed`; other random numbers go on."""
    with torch.random.fork_rng([x.device] if x.device.type == "cuda" else [], enabled=enabled):
        if enabled:
            torch.manual_seed(seed)
        yield


@contextmanager
def mode(net: nn.Module, *, training: bool) -> Iterator[None]:
    """Every module in train or eval mode; then each back in the mode it was in, which may be another one for each."""
    modes = [(module, module.training) for module in net.modules()]
    net.train(training)
    try:
        yield
    finally:
        for module, before in modes:
            module.training = before


class StochasticClassifier(ABC):
    """A distribution over networks. All randomness is in the draws; `logits` draws nothing.

    A subclass says how a draw is made (`sampler`), and where it has other tensors than its network, which (`tensors`).
    """

    kind: str
    finite = False  # whether its draws are a few networks, all of which an attacker may know
    shape: tuple[int, ...] | None = None  # of one input, where draws are made for it

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.cost = Cost()
        self.fixed: State = {**dict(net.named_parameters()), **dict(net.named_buffers())}
        self.has_dropout = any(isinstance(module, _DropoutNd) for module in net.modules())
        self.execution = Execution(net)

    @abstractmethod
    def sampler(self) -> Callable[[int, int], State]:
        """A function (seed, index) -> state, differentiable in the parameters; does shared work once."""

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is learnt or stored, by name: what `save` writes and `load` fills in place."""
        return self.fixed

    def parameters(self) -> list[Tensor]:
        """The tensors that training changes."""
        return [tensor for tensor in self.tensors().values() if tensor.requires_grad]

    def divergence(self) -> Tensor:
        """KL(posterior ‖ prior) in nats, summed over all weights; 0 where there is no posterior."""
        return torch.zeros((), device=self.device)

    def network(self) -> State:
        """The tensors of its mean network, by name."""
        state = next(iter(self.mean()))
        return {name: state.get(name, self.fixed[name]) for name in self.net.state_dict() if name in self.fixed}

    def start_at(self, state: State) -> None:
        """Copy the tensors of a network, by name, to where training starts."""
        raise ValueError(f"a {self.kind!r} model cannot start at the weights of another one.")

    def copy_into(self, target: State, state: State) -> None:
        """Copy the tensors of a network into `target` by name, after checking every name and shape."""
        names = self.net.state_dict()
        copy_tensors(state, {name: tensor for name, tensor in target.items() if name in names}, "a network")

    @property
    def stored_kind(self) -> str:
        """The kind of model that a file of `tensors()` is of."""
        return self.kind

    @property
    def device(self) -> torch.device:
        return next((t.device for t in self.tensors().values()), torch.device("cpu"))

    def draw(self, n: int, *, seed: int) -> Draws:
        """`n` draws. Draw s depends on (seed, s) alone: the same draws come first whatever `n` is."""
        check_range("draws", n, Count)
        with torch.no_grad():
            sample = torch.no_grad()(self.sampler())
        return Draws(lambda s: sample(seed, s), tuple(range(n)), int(seed), self.kind)

    def mean(self) -> Draws:
        """The network at the mean of the weights, as one draw (the MEAN scheme)."""
        raise ValueError(f"a {self.kind!r} model has no mean network: attack it with a number of draws instead.")

    def all(self) -> Draws:
        """Every draw that there is, each once, of a model with a few: the prediction with them is not random."""
        raise ValueError(f"a {self.kind!r} model has more draws than can be listed: give a number of them instead.")

    def variances(self) -> State:
        """The variance of every tensor that is random, by name, of a model with independent Gaussians."""
        raise ValueError(
            f"a {self.kind!r} model has no moments to propagate: attack it with a number of draws instead."
        )

    def expected(self) -> Draws:
        """The whole distribution instead of one draw: its logits are the expected ones (the MOMENTS scheme)."""
        weights, variances = next(iter(self.mean())), self.variances()
        state = weights | {VARIANCE + name: tensor for name, tensor in variances.items()}
        return Draws.single(state, self.kind, DrawsKind.MOMENTS)

    def moments(self, x: Inputs, expected: Draws | None = None) -> tuple[Tensor, Tensor]:
        """Mean and variance of the logits of `x`, (B, K) each, in one pass through the layers (`models/moments.py`)."""
        state = next(iter(expected or self.expected()))
        fixed = {name: tensor.detach() for name, tensor in self.fixed.items()}
        variances = {name.removeprefix(VARIANCE): tensor for name, tensor in state.items() if name not in fixed}
        self.cost.forwards += len(x)
        noise = torch.full_like(x, float(variances.pop(NOISE))) if NOISE in variances else None
        inputs = Moments(self.execution.memory_order(x), noise)
        mean, variance, _ = propagate(self.net, fixed | state, variances, inputs)
        return mean, torch.zeros_like(mean) if variance is None else variance

    def logits(self, x: Inputs, draws: Draws) -> Logits:
        """Logits (S, B, K) of `x` (B, ...) under each of the S draws, differentiable in x."""
        if draws.source != self.kind:
            raise ValueError(f"draws of a {draws.source!r} model cannot be used with a {self.kind!r} model.")
        if self.shape is not None and tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"this model is for inputs of shape {self.shape}; got {tuple(x.shape[1:])}.")
        if draws.kind is DrawsKind.MOMENTS:
            return self.moments(x, draws)[0].unsqueeze(0)
        return self.execution.logits(self, x, draws)

    def training_logits(self, x: Inputs, draws: int, seed: int) -> Logits:
        """Logits (S, B, K) of `draws` new draws, differentiable in the parameters: what an objective is made of.

        Dropout of the network, where it is no part of the draws, follows from the seed too.
        """
        sample = self.sampler()
        with dropout_from(derive(seed, "dropout"), x, enabled=self.has_dropout):
            return torch.stack([self.forward(x, sample(seed, s), training=True) for s in range(draws)])

    def forward(self, x: Inputs, state: State, *, training: bool = False) -> Tensor:
        """Logits (B, K) of one draw; tensors that are not random are the network's own, detached unless training."""
        if not state.keys() <= self.fixed.keys():  # functional_call's own check walks the whole network each time
            raise ValueError(f"a draw of another network: it has {sorted(state.keys() - self.fixed.keys())[0]!r}.")
        self.cost.forwards += len(x)
        fixed = {name: tensor for name, tensor in self.fixed.items() if name not in state}
        tensors = state | (fixed if training else {name: tensor.detach() for name, tensor in fixed.items()})
        return self.execution.call(self.net, tensors, self.execution.memory_order(x))

    def save(self, path: str | Path) -> None:
        """Write `tensors()` as safetensors."""
        write_tensors(Path(path), self.tensors(), {"kind": self.stored_kind})

    def load(self, path: str | Path) -> None:
        """Fill this model with what `save` wrote; `ValueError` where the file is of another model or network."""
        metadata, tensors = read_tensors(path)
        self.fill(tensors, metadata.get("kind", "?"), str(path))

    def fill(self, tensors: dict[str, Tensor], kind: str, source: str) -> None:
        """Copy `tensors` of a model of that kind into `tensors()`; `source` is what an error calls them."""
        if kind != self.stored_kind:
            raise ValueError(f"{source} holds a {kind!r} model; this one is {self.stored_kind!r}.")
        copy_tensors(tensors, self.tensors(), f"{source} is a checkpoint")
