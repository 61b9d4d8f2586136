"""The draws of an attack: fresh ones at each step, the same ones throughout, or a scheme that needs no sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Annotated

from unshaken.errors import nearest
from unshaken.models import Draws, StochasticClassifier, derive
from unshaken.types import Count, OneOf
from unshaken.validate import check_range

SELECTION_DRAWS = 20  # at least, to choose among perturbations

# what an attack can do without drawing: one deterministic pass, or every draw that there is
SCHEMES: dict[str, Callable[[StochasticClassifier], Draws]] = {
    "mean": lambda model: model.mean(),
    "moments": lambda model: model.expected(),
    "all": lambda model: model.all(),
}
SchemeName = Annotated[str, OneOf(SCHEMES)]


def attack_draws(model: StochasticClassifier, draws: int | str | Draws, seed: int) -> Draws:
    """What an attack with one gradient uses: that many draws of its seed, a scheme of SCHEMES, or the draws given."""
    if isinstance(draws, Draws):
        return draws
    if not isinstance(draws, str):
        return model.draw(draws, seed=derive(seed, "attack"))
    if draws not in SCHEMES:
        raise ValueError(
            f"draws must be a number, a Draws object, 'mean', 'moments' or 'all'; got {draws!r}: "
            f"{nearest(draws, SCHEMES)}"
        )
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
