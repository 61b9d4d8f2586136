"""Latents: how far an attack moves what an auto-encoder makes of an input, and what is left of its reconstruction."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from unshaken.attacks.interface import supported_kwargs
from unshaken.evaluation.predict import batches
from unshaken.models import Draws, StochasticClassifier, derive
from unshaken.models.latents import latents as latents_of
from unshaken.models.latents import reconstructions
from unshaken.types import Count, Inputs, Labels, NotNegative, Supplied
from unshaken.validate import check_eps, check_inputs, check_labels, check_range

if TYPE_CHECKING:
    from pandas import DataFrame

PICTURES = 8  # inputs whose images are kept


class Coded(NamedTuple):
    """What a model makes of N inputs: latents of each draw (S, N, L) on the CPU, reconstruction and probabilities, both
    the mean over draws, (N, C, H, W) and (N, K)."""

    latents: Tensor
    reconstruction: Tensor
    probability: Tensor


def latent_shift(
    model: Supplied[StochasticClassifier],
    x: Supplied[Inputs],
    y: Supplied[Labels],
    *,
    seed: Supplied[int],
    attacks: Supplied[Mapping[str, Callable[..., Inputs]]],
    eps: Sequence[NotNegative],
    draws: Count = 20,
    batch_size: Count = 256,
) -> DataFrame:
    """How far each attack moves the latent, ‖μ_s(x~) − μ_s(x)‖ on average over draws, and the error it leaves.

    Args:
        model: of a network with `encode` and `decode`, such as `vae`.
        attacks: label -> attack(model, x, y, *, eps, seed); in a recipe, its [[attacks]], of the latent or not.
        eps: sizes of the perturbations.
        draws: inference draws, which no attack has seen.
        batch_size: inputs that are attacked and coded together; memory does not grow with the number of inputs but for
            their latents.

    Returns one row per input, attack and size: `index`, `attack`, `eps`, `draws`, `label`, `apart` (the distance of the
    latents of this input and the next one, which a shift is to be compared with), `shift`, `clean_error` and `error`
    (mean over pixels of the squared difference to x of the reconstruction of x and of x~, which is the mean over draws
    of that at μ_s), `before` and `after` (classes of the head for x and x~), and `picture`: for the first 8 inputs the
    bytes of a NumPy file with x, its reconstruction, x~ and that of x~, (4, H, W, C) in uint8; empty for others.
    Source: Kos, Fischer & Song, "Adversarial examples for generative models" (2017), who measure reconstructions.
    """
    import pandas as pd

    check_inputs(x, y)
    check_eps(list(eps), len(x))
    check_range("batch_size", batch_size, Count)
    if not attacks:
        raise ValueError("there are no attacks whose perturbations could be coded.")
    inference = model.draw(draws, seed=derive(seed, "inference", 0)).distinct.keep()
    slices, sizes = batches(len(x), batch_size), [*map(float, eps)]
    clean = [_coded(model, x[at], inference) for at in slices]
    latents = torch.cat([coded.latents for coded in clean], 1)
    apart = (latents - latents.roll(-1, 1)).norm(dim=-1).mean(0)
    check_labels(y, clean[0].probability.shape[-1])
    frames: dict[tuple[str, float], list[DataFrame]] = {(name, size): [] for name in attacks for size in sizes}
    for name, attack in attacks.items():
        for at, before in zip(slices, clean, strict=True):
            keywords = supported_kwargs(attack, indices=range(len(x))[at])
            x_adv = attack(model, x[at], y[at], eps=list(eps), seed=derive(seed, "attack"), **keywords)
            for size, moved in zip(sizes, x_adv, strict=True):
                columns = {"index": range(len(x))[at], "attack": name, "eps": size, "draws": draws}
                columns |= {"label": y[at].tolist(), "apart": apart[at].tolist()}
                after, pictures = _coded(model, moved, inference), max(0, PICTURES - at.start)
                frames[name, size].append(pd.DataFrame(columns | _columns(x[at], moved, before, after, pictures)))
    return pd.concat([frame for slices in frames.values() for frame in slices], ignore_index=True)


@torch.no_grad()
def _coded(model: StochasticClassifier, x: Inputs, draws: Draws) -> Coded:
    """Latents, reconstruction and probabilities, one chunk of draws after the other."""
    latents, reconstruction, probability = [], torch.zeros_like(x), torch.zeros((), device=x.device)
    for chunk in draws.chunks(model.execution.draws_per_graph(x)):
        latents.append(latents_of(model, x, chunk).cpu())
        reconstruction += reconstructions(model, x, chunk).sum(0)
        probability = probability + model.logits(x, chunk).softmax(-1).sum(0)
    return Coded(torch.cat(latents), reconstruction / len(draws), probability / len(draws))


def _columns(x: Inputs, x_adv: Inputs, before: Coded, after: Coded, pictures: int) -> dict[str, Any]:
    """What an attack did to some inputs; the first of them with their pictures."""
    images = torch.stack([x, before.reconstruction, x_adv, after.reconstruction], 1)[:pictures]
    columns = {
        "shift": (after.latents - before.latents).norm(dim=-1).mean(0),
        "clean_error": (before.reconstruction - x).square().flatten(1).mean(1),
        "error": (after.reconstruction - x).square().flatten(1).mean(1),
        "before": before.probability.argmax(-1),
        "after": after.probability.argmax(-1),
    }
    stored = [_stored(image) for image in images] + [b""] * (len(x) - len(images))
    return {name: values.tolist() for name, values in columns.items()} | {"picture": stored}


def _stored(images: Tensor) -> bytes:
    """Images (4, C, H, W) in [0, 1] as a NumPy file of bytes (4, H, W, C)."""
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    return stream.getvalue()
