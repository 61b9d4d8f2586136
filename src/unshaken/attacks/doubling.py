"""Twice as many steps, again and again, until they no longer help: how strong a longer attack would be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from unshaken.attacks.losses import LATENT, LOSSES, LossName, margin
from unshaken.attacks.norms import Norm, NormName, StartName
from unshaken.attacks.pgd import SchemeName, UpdateName, Watch, heights, judges_of, pgd, sizes_of
from unshaken.errors import lookup
from unshaken.models import Draws, StochasticClassifier, derive
from unshaken.models.draws import Provenance, provenance_of, remember
from unshaken.types import Count, Eps, Inputs, Labels, Loss, NotNegative, Positive, Supplied
from unshaken.validate import check_eps, check_inputs, check_range


def doubling(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    eps: Supplied[Eps],
    norm: NormName | Norm = "linf",
    loss: LossName | Loss = "cw",
    draws: Count | SchemeName | Draws = 10,
    steps: Count = 10,
    most_steps: Count = 1280,
    rise: NotNegative = 0.01,
    step_size: Positive | None = None,
    start: StartName | Positive = "none",
    redraw: bool = True,
    update: UpdateName = "steepest",
    seed: Supplied[int] = 0,
    batch_size: Count = 256,
    places: Supplied[Sequence[int] | None] = None,
    watch: Supplied[Watch | None] = None,
) -> Inputs:
    """DOUBLING-k: PGD of n, 2n, 4n, ... steps, each from the start anew, until an input has fallen or its loss settles.

    Of every input the first perturbation that takes its label is kept, or else the one with the largest loss. It is
    done when its label is lost, or when twice the steps raised its loss by `rise` or less; both are judged by further
    draws, as restarts of `pgd` are. So the accuracy that is left has stopped falling, or `most_steps` have not been
    enough.

    Args:
        steps: n, of the first round.
        most_steps: a round with more steps than this is not begun.
        rise: in the scale of the loss, which is by default a margin of logits.
        start: where it is random every round has one of its own.
        step_size: by default 2·eps over the steps of a round, so it shrinks as they double.

    The rest is as in `pgd`. Source: Grefenstette et al., "Strength in numbers" (2018), appendix A, who double the steps
    until the accuracy of all inputs stops falling; here each input decides, so that none depends on the others.
    """
    objective = lookup("loss", loss, LOSSES)
    check_inputs(x, y)
    check_eps(eps, len(x))
    check_range("steps", steps, Count)
    check_range("most_steps", most_steps, Count)
    if most_steps < steps:
        raise ValueError(f"most_steps must be at least the {steps} steps of the first round; got {most_steps}.")
    check_range("rise", rise, NotNegative)
    if objective in LATENT:
        raise ValueError("doubling ends where the label has fallen, which a loss of latents does not aim at: use pgd.")
    sizes = sizes_of(eps, x)
    radius, where = sizes.flatten(), list(range(len(x)) if places is None else places) * len(sizes)
    origin, labels = x.detach().repeat(len(sizes), *[1] * (x.dim() - 1)), y.repeat(len(sizes))
    judges = judges_of(model, draws, seed)
    used: list[Provenance] = [judges.provenance]
    climb = partial(pgd, model, norm=norm, loss=loss, draws=draws, step_size=step_size, start=start, redraw=redraw)
    climb = partial(climb, update=update, batch_size=batch_size)

    def ascend(going: Tensor, count: int, look: Watch | None) -> Inputs:
        """PGD of so many steps on the inputs that are not done."""
        own, places = derive(seed, "round", count), [where[i] for i in going.tolist()]
        found = climb(origin[going], labels[going], eps=radius[going], steps=count, seed=own, places=places, watch=look)
        used.extend(provenance_of(found))
        return found

    def height(inputs: Inputs, going: Tensor, of: Loss) -> Tensor:
        return heights(model, inputs, labels[going], judges, of, batch_size)

    going, count = torch.arange(len(origin), device=x.device), steps
    x_adv = ascend(going, count, watch)
    best = height(x_adv, going, objective)
    going = going[height(x_adv, going, margin) <= 0]
    while len(going) and 2 * count <= most_steps:
        count *= 2
        tried = ascend(going, count, None)
        value = height(tried, going, objective)
        fallen = height(tried, going, margin) > 0  # the label is what counts, of inputs that have kept it so far
        higher = fallen | (value > best[going])
        settled = value <= best[going] + rise
        x_adv[going[higher]], best[going[higher]] = tried[higher], value[higher]
        going = going[~fallen & ~settled]
    x_adv = x_adv.view(*sizes.shape, *x.shape[1:])
    return remember(x_adv if isinstance(eps, list | tuple) else x_adv[0], used)
