"""Markov chains: copies of a network that are trained side by side, and the states they went through."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import vmap

from unshaken.models.base import StochasticClassifier, dropout_from, own_copy
from unshaken.models.draws import Draws, derive, state_index
from unshaken.models.wrapper import nested
from unshaken.types import Count, Inputs, Logits, State, Supplied
from unshaken.validate import check_range


class Chain(StochasticClassifier):
    """A classifier whose draws are stored states of Markov chains; every chain is a network of its own.

    All chains start at the network's own weights, so it is their samplers (and dropout masks) that lead them apart. In
    training they see the same inputs, none sees another's gradient, and as a loop a chain is the same however many
    others there are (vectorised, its dropout masks are not). Draws are the states that `keep_state` stored (training
    with `burn_in`), or else where the chains are now: of M states, draws 0 to M − 1 are each of them once, in an order
    of the seed's, and so on in turns. The mean network is at their mean. Weights and buffers (BatchNorm statistics)
    belong to the chain; the user's network is copied. A chain whose weights are no longer finite is left out.

    Args:
        chains: how many.
        vectorised: one pass for all chains in training (vmap), not a loop; by default on GPUs (measured: on a CPU no
            faster for dense layers, and half as fast for convolutions). Not for networks with BatchNorm.

    Source: Ye & Zhu, "Bayesian adversarial learning" (2018), algorithm 1: the end points of the chains.
    """

    kind = "chain"
    finite = True

    def __init__(self, net: Supplied[nn.Module], *, chains: Count = 5, vectorised: bool | None = None) -> None:
        check_range("chains", chains, Count)
        super().__init__(own_copy(net))
        counts = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.net.modules())
        if vectorised and counts:
            raise ValueError("chains of a network with BatchNorm cannot be vectorised: set vectorised to false.")
        self.vectorised = False if counts else vectorised
        self.positions = [
            {name: t.detach().clone().requires_grad_(t.requires_grad) for name, t in self.fixed.items()}
            for _ in range(chains)
        ]
        self.alive = torch.ones(chains, dtype=torch.bool)
        self.stored: list[State] = []
        self.training = False

    @property
    def members(self) -> int:
        """How many chains have not diverged."""
        return int(self.alive.sum())

    def numbered(self) -> list[tuple[int, State]]:
        """(number, where it is) of each chain that has not diverged."""
        return list(itertools.compress(enumerate(self.positions), self.alive.tolist()))

    def living(self) -> list[State]:
        """Where each chain is that has not diverged."""
        return [state for _, state in self.numbered()]

    def states(self) -> list[State]:
        """What the draws are: the stored states, or where the chains are now, in training or where none is stored."""
        return self.stored if self.stored and not self.training else [_snapshot(state) for state in self.living()]

    def sampler(self) -> Callable[[int, int], State]:
        states = self.states()
        return lambda seed, index: states[state_index(seed, index, len(states))]

    def all(self) -> Draws:
        return Draws.all_members(self.states(), self.kind)

    @contextmanager
    def in_training(self) -> Iterator[None]:
        """While it is trained: draws are of where the chains are at this step."""
        self.training = True
        try:
            yield
        finally:
            self.training = False

    def mean(self) -> Draws:
        stacked = self.all().stack().items()
        return Draws.single({name: t.mean(0) if t.is_floating_point() else t[0] for name, t in stacked}, self.kind)

    def training_logits(self, x: Inputs, draws: int, seed: int) -> Logits:
        """Logits (S, B, K) of every chain where it is now, whatever `draws` is; each has dropout masks of its own."""
        if x.device.type != "cpu" if self.vectorised is None else self.vectorised:
            self.cost.forwards += (self.members - 1) * len(x)
            stacked = Draws.all_members(self.living(), self.kind).stack()
            with dropout_from(derive(seed, "dropout"), x, enabled=self.has_dropout):
                return vmap(lambda state: self.forward(x, state, training=True), randomness="different")(stacked)
        each = list[Tensor]()
        for number, state in self.numbered():
            with dropout_from(derive(seed, "dropout", number), x, enabled=self.has_dropout):
                each.append(self.forward(x, state, training=True))
        return torch.stack(each)

    def keep_state(self) -> None:
        """Store where the chains are now, as draws."""
        self.stored += [_snapshot(state) for state in self.living()]

    def drop_diverged(self, is_finite: Callable[[], bool] | None = None) -> list[str]:
        """Leave out, and name, the chains whose weights are no longer finite, or for which `is_finite` is false.

        `is_finite` is called once for each remaining chain, while the model consists of that one alone.
        """
        numbered = self.numbered()
        with torch.no_grad():
            sums = torch.stack([t.sum() for _, state in numbered for t in state.values() if t.requires_grad])
        finite = sums.view(len(numbered), -1).sum(1).isfinite().tolist()
        diverged = [number for (number, _), good in zip(numbered, finite, strict=True) if not good]
        self.alive[diverged] = False
        if is_finite is not None:
            alive = self.alive.clone()
            try:
                for number, _ in self.numbered():
                    self.alive[:] = torch.arange(len(alive)) == number
                    if not is_finite():
                        diverged.append(number)
            finally:
                self.alive.copy_(alive)
            self.alive[diverged] = False
        self._freeze_diverged()
        return [f"chain {number + 1}" for number in diverged]

    def _freeze_diverged(self) -> None:
        for state in itertools.compress(self.positions, (~self.alive).tolist()):
            for tensor in state.values():
                tensor.requires_grad_(False)

    def start_at(self, state: State) -> None:
        for position in self.positions:
            self.copy_into(position, state)

    def tensors(self) -> dict[str, Tensor]:
        named = {f"chain{s}.{name}": t for s, state in enumerate(self.positions) for name, t in state.items()}
        stored = {f"stored{s}.{name}": t for s, state in enumerate(self.stored) for name, t in state.items()}
        return {**named, **stored, "alive": self.alive}

    def fill(self, tensors: dict[str, Tensor], kind: str, source: str) -> None:
        # a file may hold any number of stored states
        count = len({name.split(".")[0] for name in tensors if name.startswith("stored")})
        self.stored = [_snapshot(self.fixed) for _ in range(count)]
        super().fill(tensors, kind, source)
        self._freeze_diverged()


def chain_in(model: StochasticClassifier) -> Chain | None:
    """The chain that a model is, or is wrapped around; None where there is none."""
    return next((inner for inner in nested(model) if isinstance(inner, Chain)), None)


def _snapshot(state: State) -> State:
    """The same tensors, which nothing that comes later changes."""
    return {name: tensor.detach().clone() for name, tensor in state.items()}
