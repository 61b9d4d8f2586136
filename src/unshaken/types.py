"""The vocabulary: names of the tensors and functions that every other file speaks of.

Axes: S draws, B inputs of a batch, K classes, E perturbation sizes; C, H, W of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from torch import Tensor

Inputs: TypeAlias = Tensor  # (B, C, H, W), float, in [0, 1]
Labels: TypeAlias = Tensor  # (B,), int64
Logits: TypeAlias = Tensor  # (S, B, K)
State: TypeAlias = dict[str, Tensor]  # one draw: the random tensors of a network, by name
Loss: TypeAlias = Callable[[Logits, Labels], Tensor]  # -> (B,), larger is worse for the classifier
Eps: TypeAlias = float | Tensor | Sequence[float | Tensor]  # one size, one per input (B,), or a list of sizes
"""Largest allowed norm of the perturbation, in the [0, 1] input scale."""
