"""Twice as many steps, again and again, until they no longer help: how strong a longer attack would be."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from unshaken.attacks.interface import OnGradient, budgets_of
from unshaken.attacks.losses import LATENT, LOSSES, LossName, margin
from unshaken.attacks.norms import Norm, NormName, StartName, UpdateName
from unshaken.attacks.objective import losses_under
from unshaken.attacks.pgd import pgd
from unshaken.attacks.sampling import SchemeName, selection_draws
from unshaken.errors import lookup
from unshaken.models import Draws, StochasticClassifier, derive
from unshaken.models.draws import provenance_of
from unshaken.types import Count, Eps, Inputs, Labels, Loss, NotNegative, Positive, Supplied
from unshaken.validate import check_inputs, check_range, check_ranges


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
    indices: Supplied[Sequence[int] | None] = None,
    on_gradient: Supplied[OnGradient | None] = None,
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
    budgets = budgets_of(eps, x)
    check_ranges(Count, steps=steps, most_steps=most_steps)
    if most_steps < steps:
        raise ValueError(f"most_steps must be at least the {steps} steps of the first round; got {most_steps}.")
    check_range("rise", rise, NotNegative)
    if objective in LATENT:
        raise ValueError("doubling ends where the label has fallen, which a loss of latents does not aim at: use pgd.")
    origin, labels, radius = budgets.tile(x.detach()), budgets.tile(y), budgets.radius
    indices = [*(range(len(x)) if indices is None else indices)] * len(budgets.eps)
    selection = selection_draws(model, draws, seed)
    used = [selection.provenance]
    attack = partial(pgd, model, norm=norm, loss=loss, draws=draws, step_size=step_size, start=start, redraw=redraw)
    attack = partial(attack, update=update, batch_size=batch_size)

    def ascend(active: Tensor, steps: int, on_gradient: OnGradient | None = None) -> tuple[Inputs, Tensor, Tensor]:
        """PGD of so many steps on the inputs that are not done: (x_adv, loss of each, whether its label is lost)."""
        chosen = {"eps": radius[active], "indices": [indices[i] for i in active.tolist()]}
        own_seed = derive(seed, "round", steps)
        x_adv = attack(origin[active], labels[active], steps=steps, seed=own_seed, on_gradient=on_gradient, **chosen)
        used.extend(provenance_of(x_adv))
        inputs = model, x_adv, labels[active], selection
        losses, margins = (losses_under(*inputs, each, batch_size) for each in (objective, margin))
        return x_adv, losses, margins > 0

    active = torch.arange(len(origin), device=x.device)
    x_adv, best, fooled = ascend(active, steps, on_gradient)
    active = active[~fooled]
    while len(active) and 2 * steps <= most_steps:
        steps *= 2
        candidate, losses, fooled = ascend(active, steps)
        better = fooled | (losses > best[active])  # losing the label counts, whatever it does to the loss
        settled = losses <= best[active] + rise
        x_adv[active[better]], best[active[better]] = candidate[better], losses[better]
        active = active[~fooled & ~settled]
    return budgets.result(x_adv, used)
