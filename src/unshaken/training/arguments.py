"""Types of the arguments that training passes to every function it is made of; a recipe cannot set these."""

from __future__ import annotations

from typing import TypeAlias

from unshaken.models import StochasticClassifier
from unshaken.types import Inputs, Labels, Supplied

Model: TypeAlias = Supplied[StochasticClassifier]
Images: TypeAlias = Supplied[Inputs]
Targets: TypeAlias = Supplied[Labels]
Total: TypeAlias = Supplied[int]
"""The number of training inputs, without copies."""
Seed: TypeAlias = Supplied[int]
