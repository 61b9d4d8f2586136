"""Somebody else's stochastic network, made into draws by seeding each of them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from unshaken.models.base import StochasticClassifier
from unshaken.models.draws import derive
from unshaken.types import Inputs, State, Supplied


class SeededModule(StochasticClassifier):
    """A network that draws inside its forward pass (MC dropout switched on by hand, layers that resample weights).

    Draw s is that forward pass with torch's global random numbers seeded from (seed, s), then put back. The modes
    are the ones the module is in: switch dropout on and BatchNorm to eval before wrapping. Buffers are copied for
    every pass, so nothing that the pass writes stays; plain attributes that a layer sets on itself do.

    What batching costs: a layer that draws weights gives a function of x, the same in every batch. A layer that draws
    one number per activation (nn.Dropout) gives each input a mask by its index in the batch, so such a draw is a
    function of the batch, not of x: results depend on the batch size, and draws cannot be vectorised. Randomness that
    does not come from torch (NumPy, `random`) is not seeded. There is no mean network.
    """

    kind = "module"

    def __init__(self, net: Supplied[nn.Module]) -> None:
        super().__init__(net)
        self.execution.vectorises = False

    def sampler(self) -> Callable[[int, int], State]:
        return lambda seed, index: {"seed": torch.tensor(derive(seed, index))}

    def forward(self, x: Inputs, state: State, *, training: bool = False) -> Tensor:
        self.cost.forwards += len(x)
        buffers = {name: buffer.clone() for name, buffer in self.net.named_buffers()}
        tensors = dict(self.fixed) if training else {n: t.detach() for n, t in self.fixed.items()} | buffers
        cuda = x.device.type == "cuda"
        reseed = torch.manual_seed if cuda else torch.default_generator.manual_seed  # the first reseeds GPUs too
        with torch.random.fork_rng([x.device] if cuda else []):
            reseed(int(state["seed"]))
            return self.execution.call(self.net, tensors, x)
