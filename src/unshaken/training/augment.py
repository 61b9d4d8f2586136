"""What is done to a batch of training images before anything else: functions (x, *, seed) -> x of the same shape."""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional as F

from unshaken.models.draws import generator
from unshaken.types import Inputs, Probability, Supplied
from unshaken.validate import check_range

Padding = Annotated[int, Field(ge=0, description="a whole number of pixels, 0 or more")]


def none(x: Supplied[Inputs], *, seed: Supplied[int]) -> Inputs:
    """The images as they are."""
    return x


def crop_flip(x: Supplied[Inputs], *, seed: Supplied[int], padding: Padding = 4, flip: Probability = 0.5) -> Inputs:
    """Every image moved by up to `padding` pixels each way, zeros coming in, and mirrored with probability `flip`.

    That is a random crop of the image with `padding` zeros around it; x is (B, C, H, W), and each image has a move of
    its own. Digits and letters need flip = 0.
    """
    check_range("padding", padding, Padding)
    check_range("flip", flip, Probability)
    if x.dim() != 4:
        raise ValueError(f"crop_flip needs images (B, C, H, W); got {tuple(x.shape)}.")
    batch, _, height, width = x.shape
    rng = generator(seed, 0, x.device)
    down, right = torch.randint(2 * padding + 1, (2, batch, 1), generator=rng, device=x.device)
    mirrored = torch.rand(batch, 1, generator=rng, device=x.device) < flip
    rows = down + torch.arange(height, device=x.device)
    columns = right + torch.arange(width, device=x.device)
    columns = torch.where(mirrored, columns.flip(1), columns)
    image = torch.arange(batch, device=x.device).view(-1, 1, 1)
    padded = F.pad(x, (padding, padding, padding, padding)).movedim(1, -1)
    return padded[image, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


AUGMENTS: dict[str, Callable[..., Inputs]] = {"none": none, "crop_flip": crop_flip}
