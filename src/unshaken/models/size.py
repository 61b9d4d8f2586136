"""What a model costs to hold and to use: its parameters, and the operations of a prediction."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from unshaken.models.base import StochasticClassifier
from unshaken.models.chain import chain_in
from unshaken.models.draws import Draws
from unshaken.models.ensemble import Ensemble, Together
from unshaken.models.mean_network import MeanNetwork
from unshaken.models.wrapper import nested
from unshaken.types import Inputs


def parameters(model: StochasticClassifier) -> int:
    """How many learnt numbers have to be stored to predict with the model, all its networks together.

    Of a plain network, MC dropout, input noise and masks: its weights. Of a Bayesian network: what its distribution is
    made of, so twice the weights for `mean_field` (means and ρ), means and logarithms of row and column variances for
    `matrix_gaussian`; its mean network alone (`mean_network`) has the weights only. Of a chain: the weights of every
    stored state, or of every chain where none is stored; of an ensemble, those of all members and of its gate. Buffers
    (BatchNorm statistics, the constants of an input) are not learnt and not counted; shared tensors count once.
    """
    weights = sum(tensor.numel() for tensor in model.net.parameters())
    if any(isinstance(inner, MeanNetwork) for inner in nested(model)):
        return weights
    if chain := chain_in(model):
        return weights * (len(chain.stored) or chain.members)
    learnt, buffers = (dict(named) for named in (model.net.named_parameters(), model.net.named_buffers()))
    return sum(
        tensor.numel()
        for name, tensor in model.tensors().items()
        if name in learnt or not {name, name.partition(".")[2]} & buffers.keys()
    )


@torch.no_grad()
def flops(model: StochasticClassifier, x: Inputs, draws: Draws) -> int:
    """Floating point operations of the prediction of `x` (B, ...) with `draws`, a multiply-add counted as two.

    The first draw is counted and stands for all: each is a pass through the same layers. Draws of an ensemble, also of
    one inside a wrapper, are counted member by member. Where nothing is random one pass is a prediction (`predict`).

    Counted are convolutions, matrix products and attention, by torch's FlopCounterMode; not biases, activations,
    BatchNorm, pooling, dropout masks, softmax, interpolation or eigenvalues (of `matrix_estimation`), which grow with
    the size of the layers and not with its square, nor the drawing of the weights.
    """
    *wrappers, innermost = nested(model)
    if isinstance(innermost, Ensemble):
        innermost.check_alike(x)  # its passes on one input are no part of the prediction
        if not any(isinstance(wrapper, Together) for wrapper in wrappers):
            drawn = [int(state["member"]) for state in draws]
            first = {member: drawn.index(member) for member in set(drawn)}
            return sum(drawn.count(member) * _of_one(model, x, draws[i : i + 1]) for member, i in first.items())
    return len(draws.distinct) * _of_one(model, x, draws[:1])


def _of_one(model: StochasticClassifier, x: Inputs, one: Draws) -> int:
    one = one.keep()  # what drawing computes is no part of it
    with FlopCounterMode(display=False) as counter:
        model.logits(x, one)
    return int(counter.get_total_flops())
