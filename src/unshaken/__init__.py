"""Unshaken: how robust is a classifier whose prediction is random?

Public names, in the order of the pipeline. They are imported when first used, so that `unshaken --help` is quick.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = version("unshaken")

_HOME = {
    "Data": "data",
    "load": "data",
    "load_images": "data",
    "mlp": "networks",
    "small_cnn": "networks",
    "lenet": "networks",
    "dropout_cnn": "networks",
    "wide_resnet": "networks",
    "resnet18": "networks",
    "vgg": "networks",
    "stn": "networks",
    "vae": "networks",
    "Draws": "models",
    "StochasticClassifier": "models",
    "Deterministic": "models",
    "MeanField": "models",
    "MatrixGaussian": "models",
    "Dropout": "models",
    "Chain": "models",
    "Ensemble": "models",
    "Together": "models",
    "joined": "models",
    "Smoothing": "models",
    "MatrixEstimation": "models",
    "MeanNetwork": "models",
    "SeededModule": "models",
    "load_draws": "models",
    "parameters": "models.size",
    "flops": "models.size",
    "predict": "evaluation.predict",
    "input_gradient": "attacks",
    "fgm": "attacks",
    "fgsm": "attacks",
    "ifgsm": "attacks",
    "mean": "attacks",
    "moments": "attacks",
    "pgd": "attacks",
    "one_step_cw": "attacks",
    "spsa": "attacks",
    "carlini_wagner": "attacks",
    "doubling": "attacks",
    "spatial": "attacks",
    "transfer": "attacks",
    "transfer_set": "attacks",
    "TransferSet": "attacks",
    "load_transfer_set": "attacks",
    "train": "training",
    "Monitor": "training",
    "adversarial": "training",
    "constant_noise": "training",
    "variable_noise": "training",
    "langevin": "training",
    "wasserstein": "training",
    "SGLD": "training",
    "SGAdaLD": "training",
    "gradient_agreement": "analysis",
    "attack_time": "analysis",
    "conditions": "analysis",
    "robustness": "analysis",
    "prediction_variance": "analysis",
    "flatness": "analysis",
    "latent_shift": "analysis",
    "evaluate": "evaluation.evaluate",
    "accuracy": "evaluation.statistics",
    "difference": "evaluation.statistics",
    "Interval": "evaluation.statistics",
    "check": "evaluation.checks",
    "run": "runs.run",
    "report": "report",
    "explain": "report.explain",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unshaken' has no attribute {name!r}")
    return getattr(import_module(f"unshaken.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Keeps the name of a function that its module bears too: importing `unshaken.evaluate` leaves `evaluate` alone."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


if TYPE_CHECKING:
    from unshaken.analysis import (
        attack_time,
        conditions,
        flatness,
        gradient_agreement,
        latent_shift,
        prediction_variance,
        robustness,
    )
    from unshaken.attacks import (
        TransferSet,
        carlini_wagner,
        doubling,
        fgm,
        fgsm,
        ifgsm,
        input_gradient,
        load_transfer_set,
        mean,
        moments,
        one_step_cw,
        pgd,
        spatial,
        spsa,
        transfer,
        transfer_set,
    )
    from unshaken.data import Data, load, load_images
    from unshaken.evaluation.checks import check
    from unshaken.evaluation.evaluate import evaluate
    from unshaken.evaluation.predict import predict
    from unshaken.evaluation.statistics import Interval, accuracy, difference
    from unshaken.models import (
        Chain,
        Deterministic,
        Draws,
        Dropout,
        Ensemble,
        MatrixEstimation,
        MatrixGaussian,
        MeanField,
        MeanNetwork,
        SeededModule,
        Smoothing,
        StochasticClassifier,
        Together,
        joined,
        load_draws,
    )
    from unshaken.models.size import flops, parameters
    from unshaken.networks import dropout_cnn, lenet, mlp, resnet18, small_cnn, stn, vae, vgg, wide_resnet
    from unshaken.report import report
    from unshaken.report.explain import explain
    from unshaken.runs.run import run
    from unshaken.training import (
        SGLD,
        Monitor,
        SGAdaLD,
        adversarial,
        constant_noise,
        langevin,
        train,
        variable_noise,
        wasserstein,
    )
