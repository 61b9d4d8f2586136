"""What every stochastic classifier can do: give draws, and the logits of inputs under draws."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.modules.dropout import _DropoutNd

from unshaken.models.draws import Draws, derive
from unshaken.models.moments import Moments, propagate
from unshaken.store import read_tensors, write_tensors
from unshaken.types import Count, Inputs, Logits, State
from unshaken.validate import check_range

# measured on one CPU core: vmap over draws beats a loop up to this batch; a small dense net gains by some draws a graph
SMALL_BATCH, SMALL_NETWORK = 4, 2**18
VMAP_DRAWS, LOOP_DRAWS = 32, 5
VARIANCE = "variance of "  # before the name of a tensor, in the state of `expected`


@dataclass
class Cost:
    """What was computed, counted in inputs x draws: forward passes, and gradients with respect to inputs."""

    forwards: int = 0
    gradients: int = 0


def own_copy(net: nn.Module, instead: Mapping[int, nn.Module] | None = None) -> nn.Module:
    """A copy of the modules, in eval mode, that shares every tensor: the user's flags and hooks stay as they are.

    A module whose id is in `instead` is replaced by what is there.
    """
    known: dict[int, Any] = {id(tensor): tensor for tensor in (*net.parameters(), *net.buffers())}
    return copy.deepcopy(net, {**known, **(instead or {})}).eval()


def _aliases(net: nn.Module) -> dict[str, str]:
    """Further names of tensors that several modules share, each with the first name.

    They are passed on by name, for `functional_call(tie_weights=True)` leaves its own tensors behind in a module that a
    network holds twice (seen in torch 2.13).
    """
    first: dict[Tensor, str] = {}
    found = {}
    for prefix, module in net.named_modules():
        own = (*module.named_parameters(prefix, recurse=False), *module.named_buffers(prefix, recurse=False))
        for name, tensor in own:
            if first.setdefault(tensor, name) != name:
                found[name] = first[tensor]
    return found


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


def _latent(net: Any, x: Inputs) -> Tensor:
    mean: Tensor = net.encode(x)[0]
    return mean


def _reconstruction(net: Any, x: Inputs) -> Tensor:
    pixels: Tensor = net.decode(_latent(net, x))
    return pixels.sigmoid()


def check_coded(net: nn.Module, *methods: str) -> None:
    """A network with `encode`, and perhaps `decode`."""
    for method in methods:
        if not callable(getattr(net, method, None)):
            raise ValueError(
                f"latents are those of a network with {method}(), such as 'vae'; {type(net).__name__} has none."
            )


class StochasticClassifier(ABC):
    """A distribution over networks. All randomness is in the draws; `logits` draws nothing.

    A subclass says how a draw is made (`sampler`) and what it keeps (`tensors`); the rest is the same for all.
    """

    kind: str
    few = False  # whether its draws are some networks that anybody may know
    vectorises = True  # whether vmap over draws is possible at all
    shape: tuple[int, ...] | None = None  # of one input, where draws are made for it
    input_variance: float | None = None  # of noise on every entry of the input

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.cost = Cost()
        self.fixed: State = {**dict(net.named_parameters()), **dict(net.named_buffers())}
        dense = all(tensor.dim() <= 2 for tensor in self.fixed.values())
        self.small = dense and sum(tensor.numel() for tensor in self.fixed.values()) <= SMALL_NETWORK
        modules = list(net.modules())
        plain = all(type(module).__module__.startswith(("torch.nn.", "unshaken.")) for module in modules)
        self.channels_last = plain and any(isinstance(module, nn.Conv2d) for module in modules)
        self.drops = any(isinstance(module, _DropoutNd) for module in modules)
        self.aliases = _aliases(net)

    @abstractmethod
    def sampler(self) -> Callable[[int, int], State]:
        """A function (seed, index) -> state, differentiable in the parameters; does shared work once."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Everything that is learnt or stored, by name: what `save` writes and `load` fills in place."""

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

    def copy_into(self, own: State, state: State) -> None:
        """Copy the tensors of a network into `own` by name, after checking every name and shape."""
        names = self.net.state_dict()
        own = {name: tensor for name, tensor in own.items() if name in names}
        for name in [*own, *state]:
            here, there = (tuple(t[name].shape) if name in t else "nothing" for t in (own, state))
            if here != there:
                raise ValueError(f"a network of another architecture: {name} is {there} there, {here} here.")
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])

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
        """The variance of every tensor that is random, by name, for models whose weights are independent Gaussians."""
        raise ValueError(
            f"a {self.kind!r} model has no moments to propagate: attack it with a number of draws instead."
        )

    def expected(self) -> Draws:
        """The whole distribution in the place of one draw: its logits are the expected ones (the MOMENTS scheme)."""
        weights, variances = next(iter(self.mean())), self.variances()
        state = weights | {VARIANCE + name: tensor for name, tensor in variances.items()}
        return Draws(lambda s: state, (0,), None, self.kind, (state,), expected=True)

    def moments(self, x: Inputs, expected: Draws | None = None) -> tuple[Tensor, Tensor]:
        """Mean and variance of the logits of `x`, (B, K) each, in one pass through the layers (`models/moments.py`)."""
        state = next(iter(expected or self.expected()))
        own = {name: tensor.detach() for name, tensor in self.fixed.items()}
        variances = {name.removeprefix(VARIANCE): tensor for name, tensor in state.items() if name not in own}
        self.cost.forwards += len(x)
        noise = None if self.input_variance is None else torch.full_like(x, self.input_variance)
        mean, variance, _ = propagate(self.net, own | state, variances, Moments(self.laid_out(x), noise))
        return mean, torch.zeros_like(mean) if variance is None else variance

    def logits(self, x: Inputs, draws: Draws) -> Logits:
        """Logits (S, B, K) of `x` (B, ...) under each of the S draws, differentiable in x."""
        if draws.source != self.kind:
            raise ValueError(f"draws of a {draws.source!r} model cannot be used with a {self.kind!r} model.")
        if self.shape is not None and tuple(x.shape[1:]) != self.shape:
            raise ValueError(f"this model is for inputs of shape {self.shape}; got {tuple(x.shape[1:])}.")
        if draws.expected:
            return self.moments(x, draws)[0].unsqueeze(0)
        if len(draws) > 1 and self.vmap_wins(x):
            try:
                return self.logits_by_vmap(x, draws)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError:  # such as control flow on values; if it is an error of x, the loop raises it again
                logits = self.logits_by_loop(x, draws)
                self.vectorises = False
                return logits
        return self.logits_by_loop(x, draws)

    def vmap_wins(self, x: Inputs) -> bool:
        """Whether one vectorised pass over draws is faster than a loop: on accelerators and for small batches."""
        return self.vectorises and (x.device.type != "cpu" or len(x) <= SMALL_BATCH)

    def graph_draws(self, x: Inputs) -> int:
        """How many draws to put in one graph: many where vmap is faster; a few for a small dense network, where the
        loss costs as much as the layers; else one, so that one graph is alive at a time."""
        if self.vmap_wins(x):
            return VMAP_DRAWS
        return LOOP_DRAWS if self.small else 1

    def training_logits(self, x: Inputs, draws: int, seed: int) -> Logits:
        """Logits (S, B, K) of `draws` new draws, differentiable in the parameters: what an objective is made of.

        Dropout of the network, where it is no part of the draws, follows from the seed too.
        """
        sample = self.sampler()
        with dropout_from(derive(seed, "dropout"), x, enabled=self.drops):
            return torch.stack([self.forward(x, sample(seed, s), training=True) for s in range(draws)])

    def logits_by_loop(self, x: Inputs, draws: Draws) -> Logits:
        each = [self.forward(x, state) for state in draws]
        return torch.stack(each) if len(each) > 1 else each[0].unsqueeze(0)

    def logits_by_vmap(self, x: Inputs, draws: Draws) -> Logits:
        self.cost.forwards += (len(draws) - 1) * len(x)
        stacked = draws.stack()
        if not stacked:  # nothing is random: every draw is the same network
            found = self.forward(x, {})
            return found.expand(len(draws), *found.shape)
        return vmap(lambda state: self.forward(x, state))(stacked)

    def latents(self, x: Inputs, draws: Draws) -> Tensor:
        """Mean of the latent (S, B, L) of `x` under each draw, differentiable in x: what the attack on it moves.

        For a network with `encode(x)` -> (mean, log-variance), (B, L) each.
        """
        self._check_coded(draws, "encode")
        return self.instead(_latent).logits(x, draws)

    def reconstructions(self, x: Inputs, draws: Draws) -> Tensor:
        """What the decoder makes of the mean of the latent under each draw: (S, B, C, H, W) in [0, 1].

        For a network with `encode`, and `decode(z)` -> logits of the pixels.
        """
        self._check_coded(draws, "encode", "decode")
        return self.instead(_reconstruction).logits(x, draws)

    def _check_coded(self, draws: Draws, *methods: str) -> None:
        check_coded(self.net, *methods)
        if draws.expected:
            raise ValueError("moments are those of the logits: latents need a number of draws, or the mean network.")

    def instead(self, function: Callable[[Any, Inputs], Tensor]) -> Self:
        """The same model with `function(net, x)` in the place of the network's forward pass, sharing everything.

        What it calls logits is then what the function gives, (B, ...) for each draw.
        """
        found = copy.copy(self)
        found.net = copy.copy(self.net)  # shares layers and tensors, so a draw reaches the network given to `function`
        vars(found.net).update(forward=partial(function, self.net))
        return found

    def laid_out(self, x: Inputs) -> Inputs:
        """The same inputs in the memory order in which a CPU convolves and pools fastest (measured: 1.3 to 2.4 times).

        Only for networks made of torch's own layers: a forward pass of somebody else's may count on the usual order.
        """
        wanted = self.channels_last and x.device.type == "cpu" and x.dim() == 4
        return x.to(memory_format=torch.channels_last) if wanted else x

    def forward(self, x: Inputs, state: State, *, training: bool = False) -> Tensor:
        """Logits (B, K) of one draw; tensors that are not random are the network's own, detached unless training."""
        if not state.keys() <= self.fixed.keys():  # functional_call's own check walks the whole network each time
            raise ValueError(f"a draw of another network: it has {sorted(state.keys() - self.fixed.keys())[0]!r}.")
        self.cost.forwards += len(x)
        own = {name: tensor for name, tensor in self.fixed.items() if name not in state}
        tensors = state | (own if training else {name: tensor.detach() for name, tensor in own.items()})
        return self.call(tensors, self.laid_out(x))

    def call(self, tensors: State, x: Inputs) -> Tensor:
        """The network's forward pass with these tensors; one that has several names is given once."""
        tied = {alias: tensors[name] for alias, name in self.aliases.items()}
        logits: Tensor = functional_call(self.net, tensors | tied if tied else tensors, (x,), tie_weights=False)
        return logits

    def save(self, path: str | Path) -> None:
        """Write `tensors()` as safetensors."""
        write_tensors(Path(path), self.tensors(), {"kind": self.stored_kind})

    def load(self, path: str | Path) -> None:
        """Fill this model with what `save` wrote; `ValueError` where the file is of another model or network."""
        told, found = read_tensors(path)
        self.fill(found, told.get("kind", "?"), str(path))

    def fill(self, found: dict[str, Tensor], kind: str, where: str) -> None:
        """Copy `found` into `tensors()`, name by name, after checking every name and shape."""
        wanted = self.tensors()
        if kind != self.stored_kind:
            raise ValueError(f"{where} holds a {kind!r} model; this one is {self.stored_kind!r}.")
        for name in [*wanted, *found]:
            here, there = (tuple(t[name].shape) if name in t else "nothing" for t in (wanted, found))
            if here != there:
                raise ValueError(
                    f"{where} is a checkpoint of another architecture: {name} is {there} there, {here} here."
                )
        with torch.no_grad():
            for name, tensor in wanted.items():
                tensor.copy_(found[name])
