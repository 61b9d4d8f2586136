"""What is random in an attack: its draws, its starts, and the choice among the results of several restarts."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Annotated

import torch
from torch import Tensor

from unshaken.attacks.interface import Budgets
from unshaken.attacks.losses import LATENT, LOSSES
from unshaken.attacks.norms import STARTS, Norm, per_input
from unshaken.errors import lookup, nearest, unknown
from unshaken.models import Draws, StochasticClassifier, derive
from unshaken.models.draws import Provenance, generator
from unshaken.types import Count, Inputs, Loss, OneOf, Positive
from unshaken.validate import check_range

SELECTION_DRAWS = 20  # at least, to choose among perturbations
Candidate = tuple[Inputs, list[Provenance]]  # x_adv (E·B, ...), and the draws that made it

# what an attack can do without drawing: one deterministic pass, or every draw that there is
SCHEMES: dict[str, Callable[[StochasticClassifier], Draws]] = {
    "mean": lambda model: model.mean(),
    "moments": lambda model: model.expected(),
    "all": lambda model: model.all(),
}
SchemeName = Annotated[str, OneOf(SCHEMES)]


def attack_draws(model: StochasticClassifier, draws: int | str | Draws, seed: int) -> Draws:
    """What an attack with one gradient uses: that many draws of its seed, a scheme of SCHEMES, or the Draws object."""
    if isinstance(draws, Draws):
        return draws
    if not isinstance(draws, str):
        return model.draw(draws, seed=derive(seed, "attack"))
    if draws not in SCHEMES:
        expected = "a number, a Draws object, 'mean', 'moments' or 'all'"
        raise ValueError(f"draws must be {expected}; got {draws!r}: {nearest(draws, SCHEMES)}")
    return SCHEMES[draws](model)


def draws_of_steps(
    model: StochasticClassifier, draws: int | str | Draws, steps: int, redraw: bool, seed: int
) -> Iterator[Draws]:
    """The draws of each step: the next k of one set, or the same ones at all steps, kept in memory."""
    if redraw and not isinstance(draws, str | Draws):
        check_range("draws", draws, Count)
        return model.draw(draws * steps, seed=derive(seed, "attack")).chunks(draws)
    fixed = attack_draws(model, draws, seed)
    return repeat(fixed.keep() if steps > 1 else fixed, steps)


def selection_draws(model: StochasticClassifier, draws: int | str | Draws, seed: int) -> Draws:
    """The draws that choose among perturbations: k new ones, at least SELECTION_DRAWS, or the scheme of the attack."""
    draws = draws if isinstance(draws, str | Draws) else max(draws, SELECTION_DRAWS)
    return attack_draws(model, draws, derive(seed, "judge")).keep()


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


def check_start(loss: str | Loss, start: str | float, restarts: int) -> None:
    """A word of STARTS or a σ above 0.

    Several restarts need a random one, and so does a loss of latents: it is smallest, and flat, at the input itself.
    """
    check_range("restarts", restarts, Count)
    if restarts > 1 and start == "none":
        raise ValueError(f"restarts start anew: {restarts} of them need a random start, such as 'uniform', not 'none'.")
    if not isinstance(start, str):
        check_range("start", start, Positive)
    elif start not in STARTS:
        raise unknown("start", start, STARTS)
    if start == "none" and lookup("loss", loss, LOSSES) in LATENT:
        remedy = "use pgd with a start such as 'near', not 'none'"
        raise ValueError(f"a loss of latents has no gradient at the input itself: {remedy}.")
