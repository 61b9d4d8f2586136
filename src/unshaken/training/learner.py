"""Learning from one minibatch: the objective, its gradient and steps of the optimizer.

Markov chains are trained side by side as one model; one that diverges is left out, and the others go on. `chain` is
None for a model without any.
"""

import inspect
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor
from torch.optim import Optimizer

from unshaken.models import StochasticClassifier, derive
from unshaken.models.chain import Chain, chain_in
from unshaken.training.inputs import Batch
from unshaken.types import Count, Inputs
from unshaken.validate import check_ranges


def new_optimizer(
    model: StochasticClassifier, optimizer: Callable[..., Optimizer], examples: int, seed: int
) -> Optimizer:
    """The optimizer of a model; a sampler is passed the number of training inputs and a seed too."""
    parameters = inspect.signature(optimizer).parameters
    supplied = {"examples": examples, "seed": seed}
    return optimizer(model.parameters(), **{name: supplied[name] for name in supplied.keys() & parameters.keys()})


def compared_inputs(objective: Callable[..., Tensor], batch: Batch) -> dict[str, Inputs]:
    """The argument `before` of an objective that has one: it needs inputs that an attack makes."""
    if "before" not in inspect.signature(objective).parameters:
        return {}
    if batch.before is None:
        raise ValueError(
            "the objective looks at inputs before and after they are moved: it needs inputs of kind 'adversarial', "
            "'langevin' or 'wasserstein'."
        )
    return {"before": batch.before}


@dataclass(frozen=True)
class Learner:
    """Minimises `objective` by `updates` steps of `optimizer` on every minibatch; `examples` is its N."""

    model: StochasticClassifier
    optimizer: Optimizer
    objective: Callable[..., Tensor]
    examples: int
    updates: int = 1

    @cached_property
    def chain(self) -> Chain | None:
        return chain_in(self.model)

    def learn(self, batch: Batch, seed: int, step: str) -> tuple[float, list[str]]:
        """(mean loss, chains that diverged) of the updates on one minibatch; `step` names it in sentences."""
        before = compared_inputs(self.objective, batch)
        losses, diverged = list[float](), list[str]()
        for update in range(self.updates):
            update_seed = derive(seed, "update", update) if update else seed
            loss = self.objective(self.model, batch.x, batch.y, examples=self.examples, seed=update_seed, **before)
            losses.append(float(loss.detach()))
            chains = 1 if self.chain is None else self.chain.members
            if chains == 1 and not math.isfinite(losses[-1]):
                break
            self.optimizer.zero_grad()
            # an objective is a mean over chains: times their number, each has the gradient that it would have alone
            (loss * chains if chains > 1 else loss).backward()
            self.optimizer.step()
            if self.chain is not None:
                diverged += drop_diverged(self.chain, step)
        mean = sum(losses) / len(losses)
        if not math.isfinite(mean) and not diverged:
            raise ValueError(f"the loss became {mean} in {step}: a lower learning rate is the usual cure.")
        return mean, diverged


def steps_to_store(model: StochasticClassifier, burn_in: int | None, thin: int, steps: int) -> range:
    """The numbers of minibatches, of `steps` in all, after which the state of a chain is stored."""
    if burn_in is None:
        return range(0)
    check_ranges(Count, burn_in=burn_in, thin=thin)
    if burn_in > steps:
        raise ValueError(f"burn_in must be at most the {steps} minibatches of this training; got {burn_in}.")
    if chain_in(model) is None:
        raise ValueError(f"a {model.kind!r} model stores no states: burn_in is for a 'chain'.")
    return range(burn_in, steps + 1, thin)


def finite_batch(chain: Chain | None, make: Callable[[], Batch], step: str) -> tuple[Batch, list[str]]:
    """(what `make` returns, the chains that were left out because their share of it is not finite).

    An attack or a generator uses all chains at once: one that is about to diverge would spoil the inputs of all.
    """
    if chain is None:
        return make(), []

    def is_finite() -> bool:
        with suppress(ValueError):  # such as a loss that is NaN
            return bool(make().x.isfinite().all())
        return False

    with suppress(ValueError):
        batch = make()
        if chain.members == 1 or batch.x.isfinite().all():
            return batch, []
    diverged = drop_diverged(chain, step, is_finite)
    return make(), diverged  # where no chain was left out, an error is raised again


def drop_diverged(chain: Chain, step: str, is_finite: Callable[[], bool] | None = None) -> list[str]:
    """As `Chain.drop_diverged`, with the step in the names; an error where no chain is left."""
    names = chain.drop_diverged(is_finite)
    if chain.members == 0:
        raise ValueError(f"all chains have diverged in {step}: a lower learning rate is the usual cure.")
    return [f"{name} in {step}" for name in names]
