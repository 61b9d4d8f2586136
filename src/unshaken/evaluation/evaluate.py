"""From inputs to rows: one row for each input and each independent set of inference draws."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING

import torch

from unshaken.evaluation.predict import predict
from unshaken.models import Draws, StochasticClassifier, derive, shared_draws
from unshaken.types import Count, Inputs, Labels, Logits
from unshaken.validate import check_inputs, check_labels, check_range

if TYPE_CHECKING:
    from pandas import DataFrame


def evaluate(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    *,
    draws: int | str | Draws | Sequence[Draws] = 100,
    seed: int = 0,
    repeats: int = 1,
    rule: str = "probability",
    batch_size: int = 256,
    allow_shared_draws: bool = False,
) -> DataFrame:
    """Predict every input with `repeats` independent sets of `draws` draws that no attack has seen.

    Args:
        x: (B, ...) in [0, 1], clean or perturbed; y: (B,).
        draws: the size of a set; "all" for every member of an ensemble or stored state of a chain; or the set itself,
            or one set per repeat.
        seed: sets come from a seed path of their own, apart from every attack's, also at the same seed.
        rule: a key of `predict.RULES`.
        allow_shared_draws: score a perturbation with draws that made it, which is refused otherwise.

    Returns one row per input and repeat: `index` (in x), `repeat`, `label`, `predicted`, `correct`, `votes`
    (how many of the `inference_draws` draws are right on their own), `saturated` (how many have a softmax that is
    exactly 1 for some class in their precision, so that their cross-entropy has no gradient), `probability` (the score
    of the label), `shared_draws` (how many inference draws also made x).
    """
    import pandas as pd

    check_inputs(x, y)
    sets = inference_sets(model, draws, seed, repeats)
    shared = [shared_draws(x, sample) for sample in sets]
    if any(shared) and not allow_shared_draws:
        remedy = "predict with draws of another seed, or pass allow_shared_draws=True"
        raise ValueError(f"{max(shared)} of the inference draws also made these perturbations; {remedy}.")
    scored = [_score(model, x, y, sample, rule, batch_size) for sample in sets]
    frames = [rows.assign(repeat=r, shared_draws=shared[r]) for r, rows in enumerate(scored)]
    return pd.concat(frames, ignore_index=True)


def inference_sets(
    model: StochasticClassifier, draws: int | str | Draws | Sequence[Draws], seed: int, repeats: int
) -> list[Draws]:
    """`repeats` independent sets ℐ: set r depends on (seed, r) alone."""
    if isinstance(draws, Draws):
        return [draws]
    check_range("repeats", repeats, Count)
    if draws == "all":
        return [model.all()] * repeats
    if isinstance(draws, Integral):
        return [model.draw(int(draws), seed=derive(seed, "inference", r)) for r in range(repeats)]
    if isinstance(draws, str) or not isinstance(draws, Sequence) or not draws:
        raise ValueError(f"draws must be a number, 'all', a Draws object or a list of these; got {draws!r}.")
    return [*draws]


def _score(model: StochasticClassifier, x: Inputs, y: Labels, draws: Draws, rule: str, batch_size: int) -> DataFrame:
    import pandas as pd

    votes, saturated = torch.zeros_like(y), torch.zeros_like(y)

    def count(rows: slice, logits: Logits) -> None:
        check_labels(y[rows], logits.shape[-1])
        votes[rows] += (logits.argmax(-1) == y[rows]).sum(0)
        saturated[rows] += (logits.softmax(-1).amax(-1) == 1).sum(0)

    scores = predict(model, x, draws, rule=rule, batch_size=batch_size, on_logits=count)
    predicted, probability = scores.argmax(-1), scores.gather(1, y[:, None])[:, 0].float()
    columns = {"index": torch.arange(len(y)), "label": y, "predicted": predicted, "correct": predicted == y}
    columns |= {"votes": votes, "saturated": saturated, "probability": probability}
    arrays = {name: values.cpu().numpy() for name, values in columns.items()}
    return pd.DataFrame({**arrays, "inference_draws": len(draws)})
