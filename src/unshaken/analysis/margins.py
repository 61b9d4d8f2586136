"""Margins f_y − f_c of a prediction and their gradients, for all classes, in memory bounded in the number of draws."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from unshaken.evaluation.predict import RULES, batches, predict
from unshaken.models import Draws, StochasticClassifier
from unshaken.types import Inputs, Labels
from unshaken.validate import check_labels

BLOCK = 2**24  # numbers in the margin gradients of all classes of one slice of the inputs: 64 MiB
DIFFERENTIABLE = {name: RULES[name] for name in ("probability", "logit")}


class Measured(NamedTuple):
    """What the conditions are made of, for B inputs and E perturbations of each, in float64."""

    margin: Tensor  # (B, K)
    gradient_norm: Tensor  # (B, K)
    correct: Tensor  # (B,)
    slope: Tensor  # (E, B, K)
    length: Tensor  # (E, B)
    survived: Tensor  # (E, B)


def measure(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    x_adv: Tensor,
    draws: Draws,
    counts: Sequence[int],
    rule: str,
    batch_size: int,
) -> list[Measured]:
    """One for the first k draws of each k of `counts`, in that order; slice by slice of the inputs."""
    if torch.is_inference_mode_enabled():
        raise ValueError("the conditions need gradients, which torch.inference_mode() forbids: call it outside.")
    with torch.no_grad():
        classes = model.logits(x[:1], draws[:1]).shape[-1]
    check_labels(y, classes)
    draws = draws.distinct  # where nothing is random, one draw is as many
    counts = [min(count, len(draws)) for count in counts]
    draws, ordered = draws.keep(), sorted(set(counts))
    size = max(1, min(batch_size, BLOCK // ((classes - 1 + len(x_adv)) * x[0].numel())))

    def of_slice(at: slice) -> Iterator[Measured]:
        """One for each number of draws, in increasing order: one pass over the draws serves all."""
        inputs, labels, perturbed = x[at].detach(), y[at], x_adv[:, at].detach()
        others = (labels[:, None] + torch.arange(1, classes, device=y.device)) % classes  # (b, K − 1), all but y
        moved = perturbed.flatten(0, 1)  # predicted b at a time, so that an input has its row of x in every batch
        gradients, scores, scores_moved = x.new_zeros(classes - 1, *inputs.shape), x.new_zeros(()), x.new_zeros(())
        for used, count in pairwise([0, *ordered]):
            for chunk in draws[used:count].chunks(model.execution.draws_per_graph(inputs)):
                kept = chunk.keep()
                scores = scores + _add_gradients(model, inputs, labels, others, kept, rule, gradients)
                of_chunk = predict(model, moved, kept, rule=rule, batch_size=len(inputs))
                scores_moved = scores_moved + len(chunk) * of_chunk
            means = scores / count, gradients / count, scores_moved / count
            yield _reduced(*means, labels, others, perturbed - inputs)

    axes = (0, 0, 0, 1, 1, 1)  # of the inputs
    slices = [[*of_slice(at)] for at in batches(len(x), size)]
    whole = [Measured(*map(torch.cat, zip(*of_count, strict=True), axes)) for of_count in zip(*slices, strict=True)]
    return [whole[ordered.index(count)] for count in counts]


@torch.enable_grad()
def _add_gradients(
    model: StochasticClassifier, x: Inputs, y: Labels, others: Tensor, draws: Draws, rule: str, total: Tensor
) -> Tensor:
    """The sum of the scores over draws, (b, K); that of ∇(f_y − f_c) is added to `total` (K − 1, b, ...)."""
    x = x.detach().requires_grad_()
    scores = DIFFERENTIABLE[rule](model.logits(x, draws)).sum(0)
    if bool(scores.isnan().any()):
        raise ValueError("the prediction is NaN: the network gives NaN or infinite logits for these inputs.")
    if scores.requires_grad:  # not of a classifier that ignores its input
        model.cost.gradients += len(total) * len(draws) * len(x)
        margins = (scores.gather(1, y[:, None]) - scores.gather(1, others)).sum(0).unbind()
        # a backward pass per class: vectorised (`is_grads_batched`) they were measured slower on all but a few inputs
        for into, margin in zip(total, margins, strict=True):
            last = margin is margins[-1]
            into += torch.autograd.grad(margin, x, retain_graph=not last, materialize_grads=True)[0]
    return scores.detach()


def _reduced(
    scores: Tensor, gradients: Tensor, perturbed: Tensor, y: Labels, others: Tensor, delta: Tensor
) -> Measured:
    """Norms and products of the gradients with `delta` (E, b, ...); squares of small gradients need float64."""
    gradients, moves = gradients.flatten(2), delta.flatten(2)
    margin = (scores.gather(1, y[:, None]) - scores).double()
    slope = torch.einsum("ebd,cbd->ebc", moves, gradients).double()
    norm = torch.linalg.vector_norm(gradients, dim=-1, dtype=torch.float64).T
    perturbed = perturbed.view(*moves.shape[:2], -1)
    return Measured(
        margin=margin.scatter(1, y[:, None], torch.inf),
        gradient_norm=torch.zeros_like(margin).scatter(1, others, norm),
        correct=scores.argmax(-1) == y,
        slope=margin.new_zeros(perturbed.shape).scatter(2, others.expand_as(slope), slope),
        length=torch.linalg.vector_norm(moves, dim=-1, dtype=torch.float64),
        survived=perturbed.argmax(-1) == y,
    )
