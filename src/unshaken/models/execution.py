"""How a network is run fastest on this device: memory order, and draws vectorised or one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from unshaken.models.draws import Draws
from unshaken.types import Inputs, Logits, State

if TYPE_CHECKING:
    from unshaken.models.base import StochasticClassifier

# measured on one CPU core: vmap over draws beats a loop up to this batch; a small dense net gains by some draws a graph
SMALL_BATCH, SMALL_NETWORK = 4, 2**18
VMAP_DRAWS, LOOP_DRAWS = 32, 5


@dataclass
class Cost:
    """What was computed, counted in inputs x draws: forward passes, and gradients with respect to inputs."""

    forwards: int = 0
    gradients: int = 0


class Execution:
    """What was found out about running one network: `small`, `channels_last`, and whether draws can be vectorised."""

    def __init__(self, net: nn.Module) -> None:
        tensors, layers = [*net.parameters(), *net.buffers()], list(net.modules())
        dense = all(tensor.dim() <= 2 for tensor in tensors)
        standard = all(type(layer).__module__.startswith(("torch.nn.", "unshaken.")) for layer in layers)
        self.small = dense and sum(tensor.numel() for tensor in tensors) <= SMALL_NETWORK
        self.channels_last = standard and any(isinstance(layer, nn.Conv2d) for layer in layers)
        self.vectorises = True
        self.aliases = _aliases(net)

    def call(self, net: nn.Module, tensors: State, x: Inputs) -> Tensor:
        """The forward pass of `net` with these tensors; one that has several names is given under one of them."""
        tied = {alias: tensors[name] for alias, name in self.aliases.items()}
        logits: Tensor = functional_call(net, tensors | tied if tied else tensors, (x,), tie_weights=False)
        return logits

    def memory_order(self, x: Inputs) -> Inputs:
        """The same inputs in the memory order in which a CPU convolves and pools fastest (measured: 1.3 to 2.4 times).

        Only for networks made of torch's own layers: a forward pass of somebody else's may count on the usual order.
        """
        changed = self.channels_last and x.device.type == "cpu" and x.dim() == 4
        return x.to(memory_format=torch.channels_last) if changed else x

    def vmap_wins(self, x: Inputs) -> bool:
        """Whether one vectorised pass over draws is faster than a loop: on accelerators and for small batches."""
        return self.vectorises and (x.device.type != "cpu" or len(x) <= SMALL_BATCH)

    def draws_per_graph(self, x: Inputs) -> int:
        """How many draws to put in one graph: many where vmap is faster; a few for a small dense network, where the
        loss costs as much as the layers; else one, so that one graph is alive at a time."""
        if self.vmap_wins(x):
            return VMAP_DRAWS
        return LOOP_DRAWS if self.small else 1

    def logits(self, model: StochasticClassifier, x: Inputs, draws: Draws) -> Logits:
        """Logits (S, B, K) of a model of this network, the faster way."""
        if len(draws) == 1 or not self.vmap_wins(x):
            return logits_by_loop(model, x, draws)
        try:
            return logits_by_vmap(model, x, draws)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # such as control flow on values; if it is an error of x, the loop raises it again
            logits = logits_by_loop(model, x, draws)
            self.vectorises = False
            return logits


def logits_by_loop(model: StochasticClassifier, x: Inputs, draws: Draws) -> Logits:
    each = [model.forward(x, state) for state in draws]
    return torch.stack(each) if len(each) > 1 else each[0].unsqueeze(0)  # a view is cheaper than a copy


def logits_by_vmap(model: StochasticClassifier, x: Inputs, draws: Draws) -> Logits:
    model.cost.forwards += (len(draws) - 1) * len(x)  # the one pass below counts as one draw
    stacked = draws.stack()
    if not stacked:  # nothing is random: every draw is the same network
        logits = model.forward(x, {})
        return logits.expand(len(draws), *logits.shape)
    return vmap(lambda state: model.forward(x, state))(stacked)


def _aliases(net: nn.Module) -> dict[str, str]:
    """Further names of tensors that several modules share, each with the first name.

    For `functional_call(tie_weights=True)` leaves its own tensors behind in a module that a network holds twice (2.13).
    """
    first, aliases = dict[Tensor, str](), dict[str, str]()
    for prefix, module in net.named_modules():
        named = (*module.named_parameters(prefix, recurse=False), *module.named_buffers(prefix, recurse=False))
        for name, tensor in named:
            if first.setdefault(tensor, name) != name:
                aliases[name] = first[tensor]
    return aliases
