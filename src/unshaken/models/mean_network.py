"""The mean network of a model by itself: what is left of a stochastic classifier when its randomness is off."""

from collections.abc import Callable, Sequence

from torch import nn

from unshaken.models.base import StochasticClassifier
from unshaken.models.draws import Draws
from unshaken.models.mean_field import MeanField
from unshaken.models.wrapper import Base, Wrapper, base_model
from unshaken.types import State, Supplied


class MeanNetwork(Wrapper):
    """The network at the mean of `model`'s weights, with its dropout or noise off: every draw is the same.

    It is trained as the model is. Source: the deterministic network of Däubener & Fischer (2022), section 4.3.

    Raises ValueError for a model that has no mean network.
    """

    kind = "mean_network"

    def __init__(self, model: StochasticClassifier) -> None:
        super().__init__(model)
        model.mean()

    def sampler(self) -> Callable[[int, int], State]:
        state = next(iter(self.model.mean()))
        return lambda seed, index: state

    def draw(self, n: int, *, seed: int = 0) -> Draws:
        return super().draw(n, seed=seed).of_one_network()

    def variances(self) -> State:
        return {}


def mean_network(net: Supplied[nn.Module], shape: Supplied[Sequence[int]], *, base: Base = MeanField) -> MeanNetwork:
    """The mean network of a model of kind `base` by itself, trained as that model is."""
    return MeanNetwork(base_model(base, net, shape))
