"""Units: the smallest pieces of a run that are computed, stored and resumed as a whole.

The fields of a unit are everything that its result depends on; their hash is in its name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, TypeAlias

from unshaken.runs.parts import Part
from unshaken.runs.settings import (
    AnalysisConfig,
    AttackConfig,
    CurvesConfig,
    DataConfig,
    PredictionConfig,
    TrainingConfig,
    as_json,
)
from unshaken.store import digest

WRAPPERS = ("smoothing", "mean_network")  # models that are trained as what they are around,
BLIND = ("clean", "constant_noise", "variable_noise")  # on inputs that do not depend on the model


@dataclass(frozen=True)
class Fingerprint:
    """What results depend on besides the recipe, as checksums; empty where a plan is made without data."""

    images: dict[str, str] = field(default_factory=dict)  # with their labels, by split
    networks: list[str] = field(default_factory=list)  # as built before training, one for each model
    version: str | None = None
    unlabelled: str | None = None
    sets: dict[str, str] = field(default_factory=dict)  # stored perturbations, by path


@dataclass(frozen=True)
class CurvesSource:
    """[curves] as far as a trained model depends on them, which may select its weights."""

    settings: CurvesConfig
    rule: str
    images: str | None


@dataclass(frozen=True)
class ModelSource:
    """What a trained model depends on: nothing of attacks, evaluation or test images, so that runs can share one.

    `needs` are the models that it is trained with or made of, by what for (`ModelConfig.needs`).
    """

    network: Part | list[Part]
    model: Part
    training: TrainingConfig | None
    seed: int
    initial_network: str | None
    version: str | None
    images: str | None
    uses_unlabelled: bool
    unlabelled: str | None
    curves: CurvesSource | None
    needs: dict[str, ModelSource]

    @cached_property
    def components(self) -> list[ModelSource]:
        """The models that it is made of, in order."""
        return [source for role, source in self.needs.items() if role.startswith("component")]

    @cached_property
    def digest(self) -> str:
        return digest(as_json(self))

    @cached_property
    def training_digest(self) -> str:
        """The hash of what is trained: a model around another one is trained as that is.

        But not where the learner's inputs are made by an attack, which is one on the whole model, or where the model
        is evaluated meanwhile.
        """
        trained = self
        if self.training is not None and self.training.inputs.kind in BLIND and self.curves is None:
            while trained.model.kind in WRAPPERS:
                trained = replace(trained, model=trained.model.arguments["base"])
        return trained.digest


@dataclass(frozen=True)
class TrainUnit:
    """A model to be trained."""

    kind: ClassVar[str] = "train"
    label: str
    model: str
    source: ModelSource

    @property
    def digest(self) -> str:
        return self.source.training_digest

    @property
    def name(self) -> str:
        return _name(self.label, self.digest)


@dataclass(frozen=True)
class Subject:
    """A trained model by its label, the test images and everything else that its evaluation depends on.

    `source` is the digest of how it was trained. Networks of several seeds have draws of their own.
    """

    model: str
    source: str
    seed: int
    data: DataConfig
    inputs: Fingerprint


@dataclass(frozen=True)
class _Evaluated:
    """What the units of a trained model have in common."""

    kind: ClassVar[str]
    label: str
    subject: Subject

    @property
    def model(self) -> str:
        return self.subject.model

    @property
    def seed(self) -> int:
        return self.subject.seed

    @cached_property
    def digest(self) -> str:
        unlabelled = replace(self, label="", subject=replace(self.subject, model=""))
        return digest([self.kind, as_json(unlabelled)])

    @property
    def name(self) -> str:
        return _name(self.label, self.digest)


@dataclass(frozen=True)
class AttackUnit(_Evaluated):
    """An attack on a model at all its sizes, or no attack; one repeat."""

    kind: ClassVar[str] = "attack"
    attack: AttackConfig
    repeat: int
    prediction: PredictionConfig


@dataclass(frozen=True)
class UnitPerturbations:
    """Perturbations that an attack unit of the same run stores."""

    unit: str
    source: str
    attack: AttackConfig


@dataclass(frozen=True)
class StoredPerturbations:
    """Perturbations in a file, as another run stored them."""

    path: str
    checksum: str | None


@dataclass(frozen=True)
class TransferUnit(_Evaluated):
    """A model under perturbations that were made against another one; one repeat."""

    kind: ClassVar[str] = "transfer"
    perturbations: UnitPerturbations | StoredPerturbations
    repeat: int
    prediction: PredictionConfig


@dataclass(frozen=True)
class AnalysisUnit(_Evaluated):
    """An analysis of a model, and the attacks that it is told."""

    kind: ClassVar[str] = "analysis"
    analysis: AnalysisConfig
    attacks: list[AttackConfig]


EvaluationUnit: TypeAlias = AttackUnit | TransferUnit
Unit: TypeAlias = TrainUnit | AttackUnit | TransferUnit | AnalysisUnit


def _name(label: str, digest: str) -> str:
    """The name of a unit's files."""
    return f"{re.sub(r'[^a-z0-9]+', '-', label.lower()).strip('-')}-{digest}"
