"""From the logits of many draws (S, B, K) to one score per class (B, K): mean probability, mean logit, vote."""

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from unshaken.errors import lookup
from unshaken.models import Draws, StochasticClassifier
from unshaken.types import Count, Inputs, Logits, OneOf
from unshaken.validate import check_range


def probability(logits: Logits) -> Tensor:
    """softmax(z): its mean over draws is the predictive probability of a Bayesian network."""
    return logits.softmax(-1)


def logit(logits: Logits) -> Tensor:
    """z itself."""
    return logits


def vote(logits: Logits) -> Tensor:
    """1 for the class with the largest logit, 0 for the others: its mean is the share of draws that say so."""
    return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)


def batches(count: int, size: int) -> list[slice]:
    """The rows of each batch: `size` inputs, and what is left in the last one."""
    return [slice(first, first + size) for first in range(0, count, size)]


RULES: dict[str, Callable[[Logits], Tensor]] = {"probability": probability, "logit": logit, "vote": vote}
RuleName = Annotated[str, OneOf(RULES)]


@torch.no_grad()
def predict(
    model: StochasticClassifier,
    x: Inputs,
    draws: Draws,
    *,
    rule: str = "probability",
    batch_size: int = 256,
    on_logits: Callable[[slice, Logits], None] | None = None,
) -> Tensor:
    """Mean over draws of `RULES[rule](logits)`, (B, K), in memory that does not grow with the number of draws.

    `on_logits(rows, logits)` is called with the logits (s, b, K) of every chunk of draws and batch of inputs.
    """
    score = lookup("prediction rule", rule, RULES)
    check_range("batch_size", batch_size, Count)
    if len(x) == 0:
        raise ValueError("x is empty: at least one input is needed.")
    rows = batches(len(x), batch_size)
    total: list[Tensor | float] = [0.0] * len(rows)
    copies = len(draws) // len(draws.distinct)  # where nothing is random, one pass stands for all
    for chunk in draws.distinct.chunks(8 if model.execution.vectorises else 1):
        kept = chunk.keep()
        for i, at in enumerate(rows):
            logits = model.logits(x[at], kept)
            logits = logits.expand(copies, -1, -1) if copies > 1 else logits
            total[i] = total[i] + score(logits).sum(0)
            if on_logits is not None:
                on_logits(at, logits)
    mean = torch.cat([batch / len(draws) for batch in total if isinstance(batch, Tensor)])
    if bool(mean.isnan().any()):
        raise ValueError("the prediction is NaN: the network gives NaN or infinite logits for these inputs.")
    return mean
