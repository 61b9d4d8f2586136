"""What units compute: each is a pure function of its fields, the data and the model it names."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from unshaken.analysis import ANALYSES
from unshaken.attacks import ATTACKS, LOSSES, NORMS
from unshaken.attacks.interface import supported_kwargs
from unshaken.attacks.losses import LATENT
from unshaken.attacks.transfer import TransferSet, covered, of_perturbed, transfer
from unshaken.data import Data
from unshaken.evaluation.evaluate import evaluate, inference_sets
from unshaken.models import MADE_OF, Draws, StochasticClassifier, derive
from unshaken.models.draws import provenance_of, remember
from unshaken.runs.loading import new_model
from unshaken.runs.parts import bound, build
from unshaken.runs.units import (
    AnalysisUnit,
    AttackUnit,
    CurvesSource,
    EvaluationUnit,
    StoredPerturbations,
    TrainUnit,
    TransferUnit,
)
from unshaken.store import hash_tensors
from unshaken.training import Epoch, Monitor, train
from unshaken.training.loop import Progress

if TYPE_CHECKING:
    from pandas import DataFrame

EXAMPLES = 8  # inputs whose images are kept for the report
LEAST = 25  # inputs, at least, that are attacked at the two extreme sizes for the checks
FEW = -1.0  # shared draws of a model with a finite set of members, which attack and evaluation share
SLICE = 2**24  # numbers in one perturbed slice of the inputs: 64 MiB, and a few copies of it while it is made

Perturb = Callable[[Tensor, Tensor, range], tuple[Tensor, Tensor]]
"""(x, y, their indices) -> (x_adv (E, n, ...), whether each gradient was zero (n,))."""


def train_unit(
    unit: TrainUnit,
    data: dict[str, Data],
    checkpoint: Path,
    progress: Progress | None,
    unlabelled: Tensor | None,
    needed: dict[str, StochasticClassifier],
) -> tuple[StochasticClassifier, list[Epoch]]:
    """(model, one record per epoch); goes on from the checkpoint if there is one. `needed`: models, by what for."""
    source = unit.source
    if source.components:
        return build(MADE_OF, source.model)([needed[role] for role in source.needs]), []
    model = new_model(source, data["test"])
    if source.training is None:
        return model, []
    settings = bound(train, vars(source.training)) | {role: needed.get(role) for role in ("teacher", "continues")}
    settings["unlabelled"] = unlabelled if source.uses_unlabelled else None
    settings["monitor"] = monitor(source.curves, source.seed, data) if source.curves else None
    x, y, *_ = data["train"]
    return model, train(model, x, y, **settings, seed=source.seed, checkpoint=checkpoint, progress=progress)


def monitor(curves: CurvesSource, seed: int, data: dict[str, Data]) -> Monitor:
    """What is evaluated while a model is trained."""
    settings, images, seed = curves.settings, data[curves.settings.split], derive(seed, "curves")
    x, y = images.x[: settings.limit], images.y[: settings.limit]
    select = None if settings.select == "none" else settings.select
    attacks = {attack.label: partial(build(ATTACKS, attack.settings), eps=attack.eps[0]) for attack in settings.attacks}
    return Monitor(
        x, y, every=settings.every, attacks=attacks, draws=settings.draws, rule=curves.rule, select=select, seed=seed
    )


def inference_draws(unit: EvaluationUnit, model: StochasticClassifier) -> Draws:
    """The evaluation draws of a repeat: the same for every attack on a model, so that attacks compare in pairs."""
    return inference_sets(model, unit.prediction.draws, derive(unit.seed, "repeat", unit.repeat), 1)[0].keep()


class Attacked(NamedTuple):
    """Rows of all inputs at every size, example images, seconds of the attack alone, perturbations of a source."""

    rows: DataFrame
    examples: dict[str, Tensor]
    seconds: float
    perturbations: TransferSet | None


def attack_unit(
    unit: AttackUnit, model: StochasticClassifier, data: Data, inference: Draws, *, keep: bool = False
) -> Attacked:
    """Perturb, then predict with draws the attack never saw, some inputs at a time: memory is bounded in their number.

    With `keep` the perturbations are given back, at the sizes of the recipe.
    """
    sizes, seconds, kept = [float(size) for size in unit.attack.eps], 0.0, list[Tensor]()

    def timed(x: Tensor, y: Tensor, indices: range) -> tuple[Tensor, Tensor]:
        nonlocal seconds
        started = time.perf_counter()
        x_adv, zero_gradient = perturb(unit, model, sizes, x, y, indices)
        seconds += time.perf_counter() - started
        if keep or not kept:
            kept.append(x_adv if keep else x_adv[:, :EXAMPLES].clone())
        return x_adv, zero_gradient

    arguments = unit.attack.arguments
    columns = {
        "attack": unit.attack.name,
        "norm": arguments.get("norm", ""),
        "loss": arguments.get("loss", ""),
        "attack_draws": str(arguments.get("draws", "")),
        "steps": arguments.get("steps", 0),
        "restarts": 0 if unit.attack.is_clean else arguments.get("restarts", 1),
    }
    scorer = _Scorer(unit, model, inference, columns["norm"])
    rows = scorer.rows(data, timed, sizes, "sweep")
    rows = _with_checks(scorer, unit, data, rows).assign(**columns, source="")
    examples = {"x": data.x[:EXAMPLES], "x_adv": kept[0][:, :EXAMPLES]}
    if not keep:
        return Attacked(rows, examples, seconds, None)
    metadata = {name: str(value) for name, value in columns.items()} | {"source": unit.model, "data": data.name}
    metadata["weights"] = hash_tensors(model.tensors().values())
    x_adv = remember(torch.cat(kept, 1), provenance_of(kept[0]))
    return Attacked(rows, examples, seconds, of_perturbed(data.x, x_adv, sizes, metadata))


def _with_checks(scorer: _Scorer, unit: AttackUnit, data: Data, rows: DataFrame) -> DataFrame:
    """With the rows that checks ask for, in the first repeat: some inputs at size zero and with the whole box."""
    import pandas as pd

    if scorer.norm not in NORMS or unit.repeat > 0:
        return rows
    extremes = [0.0]
    arguments = unit.attack.arguments
    # the whole box leaves no accuracy, unless steps are as long as the gradient or the label is not what is aimed at
    if arguments.get("update") != "gradient" and LOSSES.get(arguments.get("loss", "")) not in LATENT:
        extremes.append(float(NORMS[scorer.norm].size(torch.ones_like(data.x[:1]))))
    count = max(LEAST, len(data.y) * len(unit.attack.eps) // 4)  # they cost half of the sizes of the recipe
    few = data._replace(x=data.x[:count], y=data.y[:count])

    checks = scorer.rows(few, partial(perturb, unit, scorer.model, extremes), extremes, "check")
    return pd.concat([rows, checks], ignore_index=True)


def transfer_unit(
    unit: TransferUnit, model: StochasticClassifier, data: Data, inference: Draws, perturbations: TransferSet
) -> DataFrame:
    """The rows of a model under perturbations that were made against another one.

    Where the stored set turns out to be made against this very network, their role is "own": no transfer.
    """
    metadata = perturbations.metadata
    defaults = {"attack": "transfer", "norm": "", "loss": "", "attack_draws": "", "steps": "0", "restarts": "1"}
    columns: dict[str, Any] = {name: metadata.get(name, default) for name, default in defaults.items()}
    columns |= {name: int(columns[name]) for name in ("steps", "restarts")}
    source, same_network = metadata.get("source", "?"), False
    if isinstance(unit.perturbations, StoredPerturbations):  # two of them may have sources of the same name
        source = f"{source} ({Path(unit.perturbations.path).stem})"
        same_network = metadata.get("weights") == hash_tensors(model.tensors().values())
    indices = covered(perturbations, data.x)
    if not indices:
        raise ValueError(f"none of the perturbations made against {source} fooled all of its members.")

    def stored(x: Tensor, y: Tensor, _: range) -> tuple[Tensor, Tensor]:
        x_adv = transfer(model, x, y, eps=perturbations.eps, perturbations=perturbations)
        return x_adv, torch.full((len(y),), float("nan"))

    few, role = data._replace(x=data.x[indices], y=data.y[indices]), "own" if same_network else "transfer"
    rows = _Scorer(unit, model, inference, str(columns["norm"])).rows(few, stored, perturbations.eps, role)
    return rows.assign(index=[indices[i] for i in rows["index"]], source=source, **columns)


@dataclass(frozen=True)
class _Scorer:
    """Predictions of a model in one repeat, as rows."""

    unit: EvaluationUnit
    model: StochasticClassifier
    inference: Draws
    norm: str

    def rows(self, data: Data, perturb: Perturb, sizes: list[float], role: str) -> DataFrame:
        """Rows of all inputs at every size, some inputs at a time."""
        import pandas as pd

        at_once = max(1, SLICE // (len(sizes) * data.x[0].numel()))
        slices: list[DataFrame] = []
        for first in range(0, len(data.y), at_once):
            x, y = data.x[first : first + at_once], data.y[first : first + at_once]
            x_adv, zero_gradient = perturb(x, y, range(first, first + len(y)))
            rows = self._rows_of_slice(x, y, x_adv)
            index, zero = rows["index"].to_numpy(), zero_gradient.repeat(len(sizes)).cpu().numpy()
            eps = pd.Series(sizes)[index // len(y)].to_numpy()
            slices.append(rows.assign(eps=eps, index=first + index % len(y), zero_gradient=zero))
        frame = pd.concat(slices, ignore_index=True)
        return frame.assign(model=self.unit.model, repeat=self.unit.repeat, role=role)

    def _rows_of_slice(self, x: Tensor, y: Tensor, x_adv: Tensor) -> DataFrame:
        """Rows of x_adv (E, n, ...), one size after the other, with the norm of each perturbation where it is one."""
        provenance, prediction = provenance_of(x_adv), self.unit.prediction
        flat = remember(x_adv.flatten(0, 1), provenance)
        settings: dict[str, Any] = vars(prediction) | {"draws": self.inference}
        rows = evaluate(self.model, flat, y.repeat(len(x_adv)), **settings)
        moved = flat - x.repeat(len(x_adv), *[1] * (x.dim() - 1))
        clean = isinstance(self.unit, AttackUnit) and self.unit.attack.is_clean
        traced = provenance or isinstance(self.unit, TransferUnit) or clean or self.inference.seed is None
        return rows.assign(
            size=NORMS[self.norm].size(moved).cpu().numpy() if self.norm in NORMS else 0.0,
            shared_draws=float("nan") if not traced else FEW if self.model.finite else rows.shared_draws.astype(float),
        )


def perturb(
    unit: AttackUnit, model: StochasticClassifier, sizes: list[float], x: Tensor, y: Tensor, indices: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """(x_adv (E, n, ...), whether each gradient was exactly zero at the first step (n,): 1, 0, NaN: unknown)."""
    zero = torch.full((len(y),), float("nan"))
    if unit.attack.is_clean:
        return x[None], zero

    def note_zeros(step: int, gradient: Tensor) -> None:
        if step == 0:
            zero.copy_((gradient == 0).flatten(1).all(1)[: len(zero)])

    attack = build(ATTACKS, unit.attack.settings)
    optional = supported_kwargs(attack, indices=indices, on_gradient=note_zeros)
    return attack(model, x, y, eps=sizes, seed=derive(unit.seed, "repeat", unit.repeat), **optional), zero


def analysis_unit(unit: AnalysisUnit, model: StochasticClassifier, data: Data) -> DataFrame:
    """The rows of an analysis of one model."""
    attacks = {attack.label: build(ATTACKS, attack.settings) for attack in unit.attacks}
    supplied = {"seed": derive(unit.seed, "analysis")} | ({"attacks": attacks} if attacks else {})
    rows: DataFrame = build(ANALYSES, unit.analysis.settings)(model, data.x, data.y, **supplied)
    return rows.assign(model=unit.model, analysis=unit.analysis.label)
