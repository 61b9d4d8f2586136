"""Training is three choices: inputs x objective x optimizer."""

from collections.abc import Callable

from unshaken.training.augment import AUGMENTS
from unshaken.training.generators import WAYS, langevin, wasserstein
from unshaken.training.history import Epoch
from unshaken.training.inputs import ANSWERS, Batch, adversarial, clean, constant_noise, variable_noise
from unshaken.training.loop import OPTIMIZERS, train
from unshaken.training.monitor import Monitor
from unshaken.training.noise import NOISES
from unshaken.training.objectives import OBJECTIVES
from unshaken.training.samplers import SGLD, SGAdaLD
from unshaken.training.schedules import SCHEDULES

INPUTS: dict[str, Callable[..., Batch]] = {
    "clean": clean,
    "adversarial": adversarial,
    "constant_noise": constant_noise,
    "variable_noise": variable_noise,
    "langevin": langevin,
    "wasserstein": wasserstein,
}

__all__ = [
    "ANSWERS",
    "AUGMENTS",
    "INPUTS",
    "NOISES",
    "OBJECTIVES",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGLD",
    "WAYS",
    "Epoch",
    "Monitor",
    "SGAdaLD",
    "adversarial",
    "clean",
    "constant_noise",
    "langevin",
    "train",
    "variable_noise",
    "wasserstein",
]
