"""A plain network: nothing is random, every draw is the same."""

from collections.abc import Callable

from torch import nn

from unshaken.models.base import StochasticClassifier, own_copy
from unshaken.models.draws import Draws
from unshaken.types import Inputs, Logits, State, Supplied


class Deterministic(StochasticClassifier):
    """Any network as a stochastic classifier whose draws are all alike.

    The network's tensors are shared (training this trains it); its modes, hooks and gradients are left alone, and
    it is always used in eval mode. A layer that is replaced after wrapping is not seen.
    """

    kind = "deterministic"

    def __init__(self, net: Supplied[nn.Module]) -> None:
        super().__init__(own_copy(net))

    def sampler(self) -> Callable[[int, int], State]:
        return lambda seed, index: {}

    def draw(self, n: int, *, seed: int = 0) -> Draws:
        return super().draw(n, seed=seed).of_one_network()

    def mean(self) -> Draws:
        return self.draw(1)

    def all(self) -> Draws:
        return self.draw(1)

    def training_logits(self, x: Inputs, draws: int, seed: int) -> Logits:
        """Logits (S, B, K): one pass for all draws, unless the network has dropout, whose masks tell them apart."""
        if self.has_dropout:
            return super().training_logits(x, draws, seed)
        logits = super().training_logits(x, 1, seed)
        return logits.expand(draws, *logits.shape[1:])

    def variances(self) -> State:
        return {}

    def start_at(self, state: State) -> None:
        self.copy_into(self.fixed, state)
