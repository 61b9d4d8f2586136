"""Markov chains in training: `chain` is None for a model without any.

Chains are trained side by side as one model; one that diverges is left out, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from unshaken.models import Draws, StochasticClassifier
from unshaken.models.chain import Chain, chain_in
from unshaken.training.inputs import Batch
from unshaken.types import Count
from unshaken.validate import check_range


def current_states(chain: Chain | None) -> AbstractContextManager[None]:
    """While draws are of where the chains are at this step, not of the states they stored."""
    return nullcontext() if chain is None else chain.in_training()


def current_draws(model: StochasticClassifier, draws: int, *, seed: int) -> Draws:
    """So many draws of a model at this step; of a chain itself every one, of a model around it as many as of others."""
    return model.draw(model.members if isinstance(model, Chain) else draws, seed=seed)


def steps_to_store(model: StochasticClassifier, burn_in: int | None, thin: int, steps: int) -> range:
    """The numbers of minibatches, of `steps` in all, after which the state of a chain is stored."""
    if burn_in is None:
        return range(0)
    check_range("burn_in", burn_in, Count)
    check_range("thin", thin, Count)
    if burn_in > steps:
        raise ValueError(f"burn_in must be at most the {steps} minibatches of this training; got {burn_in}.")
    if chain_in(model) is None:
        raise ValueError(f"a {model.kind!r} model stores no states: burn_in is for a 'chain'.")
    return range(burn_in, steps + 1, thin)


def finite_batch(chain: Chain | None, make: Callable[[], Batch], step: str) -> tuple[Batch, list[str]]:
    """(what `make` returns, the chains that were left out because their share of it is not finite).

    An attack or a generator uses all chains at once: one that is about to diverge would spoil the inputs of all.
    `step` says in sentences when that was.
    """
    if chain is None:
        return make(), []
    failure: ValueError | None = None
    try:
        batch = make()
    except ValueError as error:  # such as a loss that is NaN
        failure = error
    if failure is None and (chain.members == 1 or bool(batch.x.isfinite().all())):
        return batch, []
    diverged = drop_diverged(chain, step, partial(_is_finite, make))
    if failure is not None and not diverged:
        raise failure
    return make(), diverged


def _is_finite(make: Callable[[], Batch]) -> bool:
    try:
        return bool(make().x.isfinite().all())
    except ValueError:
        return False


def drop_diverged(chain: Chain, step: str, is_finite: Callable[[], bool] | None = None) -> list[str]:
    """As `Chain.drop_diverged`, with the step in the names; an error where no chain is left."""
    names = chain.drop_diverged(is_finite)
    if chain.members == 0:
        raise ValueError(f"all chains have diverged in {step}: a lower learning rate is the usual cure.")
    return [f"{name} in {step}" for name in names]
