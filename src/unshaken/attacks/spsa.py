"""SPSA: projected ascent along a slope that is estimated from values of the loss alone, without any gradient."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from unshaken.attacks.interface import OnGradient
from unshaken.attacks.losses import LATENT, LossName, check_loss_values
from unshaken.attacks.norms import Norm, NormName, StartName, UpdateName
from unshaken.attacks.objective import loss_arguments
from unshaken.attacks.pgd import pgd
from unshaken.attacks.sampling import SchemeName
from unshaken.evaluation.predict import batches
from unshaken.models import Draws, StochasticClassifier
from unshaken.models.draws import generator
from unshaken.types import Count, Eps, Inputs, Labels, Loss, Positive, Supplied
from unshaken.validate import check_range


def spsa(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    eps: Supplied[Eps],
    norm: NormName | Norm = "linf",
    loss: LossName | Loss = "cw",
    draws: Count | SchemeName | Draws = 10,
    directions: Count = 64,
    delta: Positive = 0.01,
    steps: Count = 100,
    step_size: Positive = 0.01,
    start: StartName | Positive = "none",
    restarts: Count = 1,
    update: UpdateName = "adam",
    seed: Supplied[int] = 0,
    batch_size: Count = 256,
    indices: Supplied[Sequence[int] | None] = None,
    on_gradient: Supplied[OnGradient | None] = None,
) -> Inputs:
    """SPSA-k: PGD along the mean over v of (loss(x + δv) − loss(x − δv)) / 2δ · v, v in {−1, 1}^d at random.

    It needs no gradient, so it is not deceived by one that is masked, zero or random, nor by a step in the network.

    Args:
        directions: how many v for each input, new ones at every step; they cost twice as many passes per draw.
        delta: δ in the scale of x. As in the authors' code x ± δv is not clipped: the network sees values up to δ
            outside [0, 1], and the estimate is as good at the edge of the box as inside.
        step_size, update: of Adam by default. For norm "l2" "steepest" climbs better: Adam's step is that of a cube.
        batch_size: inputs x directions in one pass; it changes memory and speed, not the result.

    The rest is as in `pgd`, with k fresh draws at every step, which both sides of a difference share.
    Source: Uesato et al., "Adversarial risk and the dangers of evaluating against weak attacks" (2018), algorithm 1.
    The paper climbs the margin of the logits, `cw`. Steps, δ and Adam are the defaults of the authors' code in
    cleverhans, as are 64 directions (its 128 evaluations); it starts uniformly in the ball.
    """
    check_range("directions", directions, Count)
    check_range("delta", delta, Positive)
    attack = partial(pgd, norm=norm, loss=loss, draws=draws, steps=steps, step_size=step_size, start=start)
    attack = partial(attack, restarts=restarts, update=update, seed=seed, batch_size=batch_size, indices=indices)
    estimator = partial(finite_differences, directions=directions, delta=delta)
    return attack(model, x, y, eps=eps, on_gradient=on_gradient, gradient_estimator=estimator)


@torch.no_grad()
def finite_differences(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    draws: Draws,
    loss: Loss,
    *,
    directions: int,
    delta: float,
    batch_size: int,
    seed: int,
    indices: Sequence[int],
) -> Tensor:
    """Mean over directions v of (loss(x + δv) − loss(x − δv)) / 2δ · v, shape of x: an estimate of ∇_x loss.

    The directions of an input follow from the seed and its index. At most `batch_size` inputs x directions are in one
    pass; memory does not grow with the number of draws (but for the logits).
    """
    kept, shape = draws.distinct.keep(), (directions, *x.shape[1:])
    estimate = torch.zeros_like(x)
    for at in batches(len(x), max(1, batch_size // directions)):
        rngs = [generator(seed, index, x.device) for index in indices[at]]
        # int8, since the bits of all directions of a batch are alive together
        bits = [torch.randint(2, shape, generator=rng, dtype=torch.int8, device=x.device) for rng in rngs]
        for chunk in torch.stack(bits).split(int(batch_size), 1):
            v = (chunk * 2 - 1).to(x.dtype)  # (b, d, ...)
            labels = y[at].repeat_interleave(v.shape[1], 0)
            moved = ((x[at, None] + shift * v).flatten(0, 1) for shift in (delta, -delta))
            above, below = (_losses(model, inputs, labels, kept, loss) for inputs in moved)
            rise = (above - below).to(v.dtype).view(v.shape[:2])
            estimate[at] += torch.einsum("bd,bd...->b...", rise, v)
    return estimate.div_(2 * delta * directions)


def _losses(model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, loss: Loss) -> Tensor:
    """The loss (B,), whose forward passes are made chunk by chunk of the draws."""
    chunks = [loss_arguments(model, x, y, chunk, loss) for chunk in draws.chunks(model.execution.draws_per_graph(x))]
    of_x, clean = (torch.cat(each) for each in zip(*chunks, strict=True))
    return check_loss_values(loss(of_x, clean if loss in LATENT else y))
