"""A resolved recipe as types: every setting, also the defaults, and no preset or sweep any more.

The sections of a TOML file that are not parts are dataclasses whose fields are the schema, as signatures are of parts.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core import to_jsonable_python

from unshaken.attacks import ATTACKS
from unshaken.evaluation.predict import RuleName
from unshaken.models import MADE_OF, derive
from unshaken.runs.parts import Part, all_arguments
from unshaken.runs.published import Published
from unshaken.types import Count, NotNegative, Share

Skip = Annotated[int, Field(ge=0, description="a whole number, 0 or more")]
Draws = Count | Literal["all"]


@dataclass(frozen=True)
class UnlabelledConfig:
    """[data.unlabelled]: images without labels; `limit` of them, behind the first `skip`.

    They are for models with a teacher, which labels them, and for objectives that need no labels. Their size and
    colours are those of [data]; where the set is the same, `held_out` is too.
    """

    name: str
    split: str = "train"
    skip: Skip = 0
    limit: Count | None = None
    seed: int | None = None


@dataclass(frozen=True)
class DataConfig:
    """[data]: the image set; how many images, the first ones or, with a seed, random ones; resized to `size`.

    With `grey`, the mean of the colours is the only channel. With `held_out`, models are trained on a part of the train
    split and tested on this share of it. With `validation`, this share of the images to train on is kept for [curves].
    """

    name: str
    train_limit: Count | None = None
    test_limit: Count | None = None
    seed: int | None = None
    size: Count | list[Count] | None = None
    grey: bool = False
    held_out: Share | None = None
    validation: Share | None = None
    unlabelled: UnlabelledConfig | None = None


@dataclass(frozen=True)
class TrainingConfig:
    """[training]: the arguments of `train` that a recipe may set."""

    augment: Part
    inputs: Part
    objective: Part
    optimizer: Part
    schedule: Part
    epochs: int
    batch_size: int
    updates: int
    burn_in: int | None
    thin: int
    continues: str | None
    teacher: str | None


@dataclass(frozen=True)
class ModelConfig:
    """A model of a recipe: [network] (or one for each member), [model] and [training] at one point of [sweep].

    `training` is None for a model that is not trained. Models that differ only in their seed have a `group` in common.
    """

    label: str
    network: Part | list[Part]
    model: Part
    training: TrainingConfig | None
    seed: int
    group: str | None = None
    replica: int | None = None

    @property
    def own_seed(self) -> int:
        """The seed of this model: another one where it is a replica."""
        return self.seed if self.replica is None else derive(self.seed, "replica", self.replica)

    @property
    def components(self) -> list[str]:
        """The labels of the models that one of MADE_OF consists of."""
        return list(self.model.arguments["of"]) if self.model.kind in MADE_OF else []

    @property
    def needs(self) -> dict[str, str]:
        """The labels of other models that this one needs: a teacher, one that it continues, those it consists of."""
        training = self.training
        named = {"teacher": training.teacher, "continues": training.continues} if training else {}
        trained = {role: label for role, label in named.items() if label is not None}
        return trained | {f"component {number:03}": label for number, label in enumerate(self.components, 1)}


@dataclass(frozen=True)
class AttackConfig:
    """An attack of a recipe, at its perturbation sizes.

    The `name` says what no column of a row does, where it is not the default: pgd (start uniform). No other attack has
    the same `label`.
    """

    settings: Part
    name: str
    label: str
    eps: list[float]

    @property
    def arguments(self) -> dict[str, Any]:
        """Every argument, also those that its kind fixes, such as the single step of FGSM."""
        return {} if self.is_clean else all_arguments(ATTACKS, self.settings)

    @property
    def is_clean(self) -> bool:
        return self.settings.kind == "none"


CLEAN = AttackConfig(Part(kind="none"), "none", "clean", [0.0])


@dataclass(frozen=True)
class AnalysisConfig:
    """An analysis of a recipe."""

    settings: Part
    label: str


@dataclass(frozen=True)
class TransferConfig:
    """[transfer]: models, or groups of them, whose perturbations are given to every other model; files of such ones.

    "all" stands for every model. With keep "fooled", only perturbations are given that fool every member of their
    source, a network or an ensemble; of a group it is then the first network, so that all are of one set.
    """

    sources: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    keep: Literal["all", "fooled"] = "all"


@dataclass(frozen=True)
class PredictionConfig:
    """How a model predicts: evaluation draws, and the rule that makes one prediction of them."""

    draws: Draws
    rule: RuleName
    batch_size: Count


@dataclass(frozen=True)
class EvaluationConfig:
    """[evaluation]: perturbation sizes, evaluation draws, independent repeats of attack and evaluation draws.

    Draws "all" are every member of an ensemble, or stored state of a chain, once.
    """

    eps: list[NotNegative]
    draws: Draws = 100
    repeats: Count = 3
    rule: RuleName = "probability"
    batch_size: Count = 256

    @property
    def prediction(self) -> PredictionConfig:
        return PredictionConfig(self.draws, self.rule, self.batch_size)


@dataclass(frozen=True)
class CurvesConfig:
    """[curves]: models are evaluated after `every` so many minibatches of their training, and after the last.

    On the first `limit` images of the split, with so many evaluation draws, without an attack ("clean") and under each
    of [[curves.attacks]], which have one size each. With `select`, the label of one of these or "clean", a model keeps
    the weights that were best under it. Figures have a running median over `smooth` evaluations.
    """

    every: Count
    split: Literal["validation", "test"] = "validation"
    limit: Count | None = None
    draws: Draws = 10
    select: str = "none"
    smooth: Count = 1
    attacks: list[AttackConfig] = field(default_factory=list)


@dataclass(frozen=True)
class RecipeConfig:
    """A resolved recipe."""

    title: str
    about: str
    seed: int
    data: DataConfig
    models: list[ModelConfig]
    attacks: list[AttackConfig]
    analyses: list[AnalysisConfig]
    transfer: TransferConfig
    evaluation: EvaluationConfig
    curves: CurvesConfig | None = None
    paper: Published = field(default_factory=Published)

    def model(self, label: str) -> ModelConfig:
        return next(model for model in self.models if model.label == label)


as_json = to_jsonable_python
"""A dataclass of settings as JSON has it, with parts in the flat form of a recipe."""
