"""Types of the arguments that training passes to each of its functions; a recipe cannot set these."""

from __future__ import annotations

from typing import TypeAlias

from unshaken.models import StochasticClassifier
from unshaken.types import Inputs, Labels, Supplied

Model: TypeAlias = Supplied[StochasticClassifier]
X: TypeAlias = Supplied[Inputs]
Y: TypeAlias = Supplied[Labels]
N: TypeAlias = Supplied[int]  # the number of training inputs, without copies
Seed: TypeAlias = Supplied[int]
