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

_NAMES = {
    "data": "Data load load_images",
    "networks": "mlp small_cnn lenet dropout_cnn wide_resnet resnet18 vgg stn vae",
    "models": "Draws StochasticClassifier Deterministic MeanField MatrixGaussian Dropout Chain Ensemble "
    "Together joined Smoothing MatrixEstimation MeanNetwork SeededModule load_draws",
    "models.size": "parameters flops",
    "evaluation.predict": "predict",
    "attacks": "input_gradient fgm fgsm ifgsm mean moments pgd one_step_cw spsa carlini_wagner doubling spatial "
    "transfer transfer_set TransferSet load_transfer_set",
    "training": "train Monitor adversarial constant_noise variable_noise langevin wasserstein SGLD SGAdaLD",
    "analysis": "gradient_agreement attack_time conditions robustness prediction_variance flatness latent_shift",
    "evaluation.evaluate": "evaluate",
    "evaluation.statistics": "accuracy difference Interval",
    "evaluation.checks": "check",
    "runs.run": "run",
    "report": "report",
    "report.explain": "explain",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unshaken' has no attribute {name!r}")
    return getattr(import_module(f"unshaken.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """Keeps the name of a function that its module has too: importing the folder `report` leaves the function alone."""

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
