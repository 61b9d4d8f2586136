"""Random starts, and the choice among the results of several restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from unshaken.attacks.budgets import Budgets
from unshaken.attacks.losses import LATENT, LOSSES
from unshaken.attacks.norms import STARTS, Norm, per_input
from unshaken.errors import lookup, unknown
from unshaken.models.draws import Provenance, generator
from unshaken.types import Count, Inputs, Loss, Positive
from unshaken.validate import check_range

Candidate = tuple[Inputs, list[Provenance]]  # x_adv (E·B, ...), and the draws that made it


def random_start(
    x: Inputs, ball: Norm, start: str | float, budgets: Budgets, seed: int, indices: Sequence[int]
) -> Inputs:
    """A point in the ball of each input and budget, (E·B, ...); the noise of an input depends on its index alone."""
    units = [ball.start(x[i : i + 1], start, generator(seed, index, x.device)) for i, index in enumerate(indices)]
    noise = budgets.tile(torch.cat(units))
    return (budgets.tile(x) + noise * per_input(budgets.radius, noise)).clamp(0, 1)


def strongest(first: Candidate, others: Iterable[Candidate], losses: Callable[[Inputs], Tensor]) -> Candidate:
    """Of every input the perturbation with the largest loss, and all draws that were used; of equals the first."""
    (x_adv, used), best = first, losses(first[0])
    for other, other_used in others:
        values = losses(other)
        x_adv = torch.where(per_input(values > best, x_adv), other, x_adv)
        best, used = torch.maximum(best, values), [*used, *other_used]
    return x_adv, used


def check_restarts(restarts: int, start: str | float) -> None:
    """Several restarts need a start that is not always the same."""
    check_range("restarts", restarts, Count)
    if restarts > 1 and start == "none":
        raise ValueError(f"restarts start anew: {restarts} of them need a random start, such as 'uniform', not 'none'.")


def check_start(loss: str | Loss, start: str | float) -> None:
    """A word of STARTS or a σ above 0. A loss of latents needs one: it is smallest, and flat, at the input itself."""
    if not isinstance(start, str):
        check_range("start", start, Positive)
    elif start not in STARTS:
        raise unknown("start", start, STARTS)
    if start == "none" and lookup("loss", loss, LOSSES) in LATENT:
        raise ValueError(
            "a loss of latents has no gradient at the input itself: use pgd with a start such as 'near', not 'none'."
        )
