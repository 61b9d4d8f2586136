"""Learning from one minibatch: the objective, its gradient and steps of the optimizer."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor
from torch.optim import Optimizer

from unshaken.models import StochasticClassifier, derive
from unshaken.models.chain import Chain, chain_in
from unshaken.training.chains import drop_diverged
from unshaken.training.inputs import Batch
from unshaken.types import Inputs


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
