"""What is random: every kind of stochastic classifier, by name."""

from collections.abc import Callable

from unshaken.models.base import StochasticClassifier
from unshaken.models.chain import Chain
from unshaken.models.deterministic import Deterministic
from unshaken.models.draws import Draws, derive, load_draws, shared_draws
from unshaken.models.dropout import Dropout
from unshaken.models.ensemble import Ensemble, Together, ensemble, joined, member
from unshaken.models.execution import Cost
from unshaken.models.matrix_estimation import MatrixEstimation, matrix_estimation
from unshaken.models.matrix_gaussian import MatrixGaussian
from unshaken.models.mean_field import MeanField
from unshaken.models.mean_network import MeanNetwork, mean_network
from unshaken.models.module import SeededModule
from unshaken.models.smoothing import Smoothing, smoothing

MODELS: dict[str, Callable[..., StochasticClassifier]] = {
    "deterministic": Deterministic,
    "mean_field": MeanField,
    "matrix_gaussian": MatrixGaussian,
    "dropout": Dropout,
    "smoothing": smoothing,
    "matrix_estimation": matrix_estimation,
    "mean_network": mean_network,
    "chain": Chain,
    "ensemble": ensemble,
    "module": SeededModule,
}

# models that are made of others, which are trained already: functions of a list of models
MADE_OF: dict[str, Callable[..., StochasticClassifier]] = {"joined": joined, "member": member}

__all__ = [
    "MADE_OF",
    "MODELS",
    "Chain",
    "Cost",
    "Deterministic",
    "Draws",
    "Dropout",
    "Ensemble",
    "MatrixEstimation",
    "MatrixGaussian",
    "MeanField",
    "MeanNetwork",
    "SeededModule",
    "Smoothing",
    "StochasticClassifier",
    "Together",
    "derive",
    "joined",
    "load_draws",
    "shared_draws",
]
