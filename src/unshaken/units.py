"""Units: the pieces of a run. Each is a pure function of its configuration, the data and the model it names."""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

import unshaken
from unshaken.analysis import ANALYSES
from unshaken.attacks import ATTACKS, NORMS
from unshaken.attacks.pgd import accepted
from unshaken.attacks.transfer import TransferSet, of_perturbed, transfer
from unshaken.data import Data, load, load_images
from unshaken.errors import lookup
from unshaken.evaluate import evaluate, inference_sets
from unshaken.models import MODELS, Draws, StochasticClassifier, derive
from unshaken.models.draws import provenance_of, remember
from unshaken.models.wrapper import of_shape
from unshaken.networks import NETWORKS
from unshaken.parts import Table, bound, build, full
from unshaken.recipe import Recipe
from unshaken.store import checksum, digest, hash_tensors
from unshaken.training import train
from unshaken.training.loop import Progress

if TYPE_CHECKING:
    from pandas import DataFrame

EXAMPLES = 8  # inputs whose images are kept for the report
SLICE = 2**24  # numbers in one perturbed slice of the inputs: 64 MiB, and a few copies of it while it is made
AROUND = ("smoothing", "mean_network")  # models that are trained as what they are made of,
BLIND = ("clean", "constant_noise", "variable_noise")  # on inputs that do not look at the model
CLEAN = {"kind": "none", "label": "clean", "eps": [0.0]}


@dataclass(frozen=True)
class Unit:
    """The smallest piece of a run that is computed, stored and resumed as a whole.

    `config` is everything that the result depends on: its hash is in the name.
    """

    kind: str  # "train", "attack", "transfer" or "analysis"
    label: str
    model: str
    config: Table

    @cached_property
    def name(self) -> str:
        words = re.sub(r"[^a-z0-9]+", "-", self.label.lower()).strip("-")
        return f"{words}-{self.digest}"

    @cached_property
    def digest(self) -> str:
        """The hash of `config`; for training, of what is trained: a model around another one is trained as that is.

        But not where the learner's inputs are made by an attack, which is one on the whole model.
        """
        made = dict(self.config)
        if self.kind == "train" and ((made["training"] or {}).get("inputs") or {}).get("kind") in BLIND:
            while made["model"]["kind"] in AROUND:
                made["model"] = made["model"]["base"]
        return digest(made)


def plan(recipe: Recipe, inputs: Table | None = None) -> list[Unit]:
    """The units of a recipe in order: each model, its clean rows and attacks, repeat by repeat, and its analyses.

    A model comes after the teacher that its training has; perturbations are transferred at the end. `inputs` is what
    the results depend on besides the recipe, see `fingerprint`.
    """
    config, units = recipe.config, list[Unit]()
    common = {**{word: config[word] for word in ("seed", "data")}, "inputs": inputs}
    evaluation = {word: value for word, value in config["evaluation"].items() if word != "repeats"}
    for place in _teachers_first(config["models"]):
        model = config["models"][place]
        label, source = model["label"], _source(config, place, inputs)
        common["seed"] = source["seed"]  # networks of several seeds have draws of their own
        units.append(Unit("train", label, label, source))
        for repeat in range(config["evaluation"]["repeats"]):
            for attack in (CLEAN, *config["attacks"]):
                named = {"model": digest(source), "attack": attack, "repeat": repeat, "evaluation": evaluation}
                units.append(Unit("attack", f"{label} {attack['label']} r{repeat}", label, {**common, **named}))
        for analysis in config["analyses"]:
            named = {"model": digest(source), "analysis": analysis}
            if "attacks" in inspect.signature(lookup("kind", analysis["kind"], ANALYSES)).parameters:
                named["attacks"] = config["attacks"]
            units.append(Unit("analysis", f"{label} {analysis['label']}", label, {**common, **named}))
    return units + _transfers(config, units, inputs)


def _transfers(config: Table, units: list[Unit], inputs: Table | None) -> list[Unit]:
    """The perturbations of every source, and every stored set, given to each (other) model."""
    found = []
    clean = {(unit.model, unit.config["repeat"]): unit for unit in units if is_clean(unit)}
    for model, repeat in clean:
        own = {word: clean[model, repeat].config[word] for word in ("seed", "data", "inputs", "model", "evaluation")}
        for made in (unit for unit in units if is_source(unit, config)):
            if made.model != model and made.config["repeat"] == repeat:
                named = {"made": made.name, "source": made.model, "attack": made.config["attack"], "repeat": repeat}
                label = f"{model} {made.config['attack']['label']} from {made.model} r{repeat}"
                found.append(Unit("transfer", label, model, own | named))
        for path in config["transfer"]["sets"]:
            named = {"set": path, "content": (inputs or {}).get("sets", {}).get(path), "repeat": repeat}
            found.append(Unit("transfer", f"{model} {Path(path).stem} r{repeat}", model, own | named))
    return found


def is_clean(unit: Unit) -> bool:
    return unit.kind == "attack" and unit.config["attack"]["kind"] == "none"


def is_source(unit: Unit, config: Table) -> bool:
    """Whether the perturbations of a unit are kept, to be given to other models."""
    return unit.kind == "attack" and not is_clean(unit) and unit.model in config["transfer"]["sources"]


def _teachers_first(models: list[Table]) -> list[int]:
    """Places of the models in their order, but that of a teacher before those of its pupils."""
    labels = {model["label"]: place for place, model in enumerate(models)}
    places = [[labels[name]] if (name := teacher_of(model)) else [] for model in models]
    return list(dict.fromkeys(place for own, before in enumerate(places) for place in (*before, own)))


def teacher_of(model: Table) -> str | None:
    """The label of the model that labels unlabelled images for this one, if any."""
    name: str | None = (model["training"] or {}).get("teacher")
    return name


def _source(config: Table, place: int, inputs: Table | None) -> Table:
    """What a model depends on: nothing of attacks, evaluation or test images, so that runs can share a trained one."""
    model = config["models"][place]
    found = {word: model[word] for word in ("network", "model", "training")} | {"seed": seed_of(model, config)}
    if inputs is not None:
        found |= {"network_made": inputs["networks"][place], "unshaken": inputs["unshaken"]}
        found |= {"images": inputs["data"].get("train") if model["training"] else None}
    if (name := teacher_of(model)) is not None:
        labels = [other["label"] for other in config["models"]]
        found |= {
            "unlabelled": (inputs or {}).get("unlabelled"),
            "teacher": _source(config, labels.index(name), inputs),
        }
    return found


def seed_of(model: Table, config: Table) -> int:
    """The seed of a model: its own where a recipe has several."""
    seed: int = model["seed"] if "seed" in model else config["seed"]
    return seed


def load_data(config: Table, data_root: str | Path | None, device: torch.device) -> dict[str, Data]:
    """The test split, and the train split where a model is trained, on the device."""
    splits = ["test"] + ["train"] * any(model["training"] for model in config["models"])
    return {split: load_split(config["data"], split, data_root, device) for split in splits}


def load_unlabelled(config: Table, data_root: str | Path | None, device: torch.device) -> Tensor | None:
    """The images of [data.unlabelled], where a model has a teacher."""
    if not any(teacher_of(model) for model in config["models"]):
        return None
    return load_images(**config["data"]["unlabelled"], size=config["data"]["size"], data_root=data_root).to(device)


def load_split(section: Table, split: str, data_root: str | Path | None, device: torch.device) -> Data:
    """The images that [data] names, on the device."""
    settings = {"limit": section[f"{split}_limit"], "seed": section["seed"], "size": section["size"]}
    data = load(section["name"], split=split, data_root=data_root, **settings)
    return data._replace(x=data.x.to(device), y=data.y.to(device))


def fingerprint(recipe: Recipe, data: dict[str, Data], unlabelled: Tensor | None = None) -> Table:
    """What results depend on besides the recipe: images and labels, networks as built before training, the version.

    So a data set or a network of the same name but other content is another run.
    """
    config = recipe.config
    networks = [new_model(spec, seed_of(spec, config), data["test"]).tensors().values() for spec in config["models"]]
    return {
        "data": {split: hash_tensors([part.x, part.y]) for split, part in data.items()},
        "networks": [hash_tensors(tensors) for tensors in networks],
        "unshaken": unshaken.__version__,
        **({} if unlabelled is None else {"unlabelled": hash_tensors([unlabelled])}),
        **({"sets": {path: checksum(Path(path)) for path in sets}} if (sets := config["transfer"]["sets"]) else {}),
    }


def new_model(config: Table, seed: int, data: Data) -> StochasticClassifier:
    """An untrained model for the images of `data`; its initial weights follow from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, "network"))
        shape = tuple(data.x.shape[1:])
        net = build(NETWORKS, config["network"])(shape, data.classes).to(data.x.device)
        return of_shape(build(MODELS, config["model"]), shape)(net)


def train_unit(
    unit: Unit,
    data: dict[str, Data],
    checkpoint: Path,
    progress: Progress | None,
    unlabelled: Tensor | None = None,
    teacher: StochasticClassifier | None = None,
) -> tuple[StochasticClassifier, list[Table]]:
    """(model, one record per epoch); goes on from the checkpoint if there is one."""
    model = new_model(unit.config, unit.config["seed"], data["test"])
    if unit.config["training"] is None:
        return model, []
    settings = bound(unit.config["training"]) | {"seed": unit.config["seed"], "checkpoint": checkpoint}
    if settings.pop("teacher") is not None:
        settings |= {"unlabelled": unlabelled, "teacher": teacher}
    history = train(model, data["train"].x, data["train"].y, **settings, progress=progress)
    return model, [asdict(epoch) for epoch in history]


def inference_draws(unit: Unit, model: StochasticClassifier) -> Draws:
    """The inference draws of a repeat: the same for every attack on a model, so that attacks compare in pairs."""
    seed = derive(unit.config["seed"], "repeat", unit.config["repeat"])
    return inference_sets(model, unit.config["evaluation"]["draws"], seed, 1)[0].keep()


class Attacked(NamedTuple):
    """What an attack unit gives: rows of all inputs at every size, example images, seconds of the attack alone; and, if
    it is a source, its perturbations."""

    rows: DataFrame
    examples: dict[str, Tensor]
    seconds: float
    made: TransferSet | None


def attack_unit(
    unit: Unit, model: StochasticClassifier, data: Data, inference: Draws, *, keep: bool = False
) -> Attacked:
    """Perturb, then predict with draws the attack never saw, some inputs at a time: memory is bounded in their number.

    With `keep` the perturbations are given back too, at the sizes of the recipe.
    """
    attack = unit.config["attack"]
    settings = full(attack, ATTACKS) if attack["kind"] != "none" else {}
    sizes, roles = _sizes(attack, settings, unit.config["repeat"], data)
    seconds, kept, examples = 0.0, list[Tensor](), dict[str, Tensor]()

    def attacked(x: Tensor, y: Tensor, places: range) -> tuple[Tensor, Tensor]:
        nonlocal seconds
        started = time.perf_counter()
        x_adv, zero_gradient = perturb(unit, model, x, y, sizes, places)
        seconds += time.perf_counter() - started
        examples.update({} if examples else {"x": x[:EXAMPLES], "x_adv": x_adv[: len(attack["eps"]), :EXAMPLES]})
        if keep:
            kept.append(x_adv[: len(attack["eps"])])
        return x_adv, zero_gradient

    norm = settings.get("norm", "")
    told = {
        "attack": attack.get("name", attack["kind"]),
        "norm": norm,
        "loss": settings.get("loss", ""),
        "attack_draws": str(settings.get("draws", "")),
        "steps": settings.get("steps", 0),
        "restarts": settings.get("restarts", 1) if attack["kind"] != "none" else 0,
    }
    rows = _scored(unit, model, data, inference, attacked, sizes, roles, norm).assign(**told, source="")
    if not keep:
        return Attacked(rows, examples, seconds, None)
    source = {word: str(value) for word, value in told.items()} | {"source": unit.model, "data": data.name}
    x_adv = remember(torch.cat(kept, 1), provenance_of(kept[0]))
    return Attacked(rows, examples, seconds, of_perturbed(data.x, x_adv, attack["eps"], source))


def transfer_unit(
    unit: Unit, model: StochasticClassifier, data: Data, inference: Draws, made: TransferSet
) -> DataFrame:
    """The rows of a model under perturbations that were made against another one."""
    words = {"attack": "transfer", "norm": "", "loss": "", "attack_draws": "", "steps": "0", "restarts": "1"}
    told: Table = words | {"source": "?"} | {word: made.told[word] for word in (*words, "source") if word in made.told}
    told |= {word: int(told[word]) for word in ("steps", "restarts")}

    def given(x: Tensor, y: Tensor, places: range) -> tuple[Tensor, Tensor]:
        return transfer(model, x, y, eps=made.eps, made=made), torch.full((len(y),), float("nan"))

    roles = ["transfer"] * len(made.eps)
    return _scored(unit, model, data, inference, given, made.eps, roles, told["norm"]).assign(**told)


def _scored(
    unit: Unit,
    model: StochasticClassifier,
    data: Data,
    inference: Draws,
    perturbed: Callable[[Tensor, Tensor, range], tuple[Tensor, Tensor]],
    sizes: list[float],
    roles: list[str],
    norm: str,
) -> DataFrame:
    """Rows of all inputs at every size, some inputs at a time, with what `perturbed` makes of (x, y, places)."""
    import pandas as pd

    at_once = max(1, SLICE // (len(sizes) * data.x[0].numel()))
    parts: list[DataFrame] = []
    for first in range(0, len(data.y), at_once):
        x, y = data.x[first : first + at_once], data.y[first : first + at_once]
        x_adv, zero_gradient = perturbed(x, y, range(first, first + len(y)))
        rows = _rows(unit, model, x, y, x_adv, inference, norm)
        place = rows["index"].to_numpy()
        parts.append(
            rows.assign(
                eps=pd.Series(sizes)[place // len(y)].to_numpy(),
                role=pd.Series(roles)[place // len(y)].to_numpy(),
                index=first + place % len(y),
                zero_gradient=zero_gradient.repeat(len(sizes)).cpu().numpy(),
            )
        )
    return pd.concat(parts, ignore_index=True).assign(model=unit.model, repeat=unit.config["repeat"])


def analysis_unit(unit: Unit, model: StochasticClassifier, data: Data) -> DataFrame:
    """The rows of an analysis of one model."""
    analysis = unit.config["analysis"]
    settings = {word: value for word, value in analysis.items() if word != "label"}
    given: Table = {"seed": derive(unit.config["seed"], "analysis")}
    if "attacks" in unit.config:
        given["attacks"] = {attack["label"]: _attack(attack) for attack in unit.config["attacks"]}
    rows: DataFrame = build(ANALYSES, settings)(model, data.x, data.y, **given)
    return rows.assign(model=unit.model, analysis=analysis["label"])


def _attack(attack: Table) -> Callable[..., Tensor]:
    """The function of an attack of a recipe, for any sizes."""
    return build(ATTACKS, {word: value for word, value in attack.items() if word not in ("label", "name", "eps")})


def _rows(
    unit: Unit, model: StochasticClassifier, x: Tensor, y: Tensor, x_adv: Tensor, inference: Draws, norm: str
) -> DataFrame:
    """Rows of x_adv (E, n, ...), one size after the other, with the size of each perturbation where a norm is known."""
    made_with = provenance_of(x_adv)
    flat = remember(x_adv.flatten(0, 1), made_with)
    how = {word: unit.config["evaluation"][word] for word in ("rule", "batch_size")}
    rows = evaluate(model, flat, y.repeat(len(x_adv)), draws=inference, **how)
    moved = flat - x.repeat(len(x_adv), *[1] * (x.dim() - 1))
    known = made_with or unit.kind == "transfer" or is_clean(unit) or inference.seed is None
    return rows.assign(
        size=NORMS[norm].size(moved).cpu().numpy() if norm in NORMS else 0.0,
        shared_draws=rows.shared_draws.astype(float) if known else float("nan"),
    )


def _sizes(attack: Table, settings: Table, repeat: int, data: Data) -> tuple[list[float], list[str]]:
    """(sizes, roles): those of the attack, and in the first repeat the two for the checks, zero and the whole box."""
    sizes = [float(size) for size in attack["eps"]]
    roles = ["sweep"] * len(sizes)
    if repeat > 0 or settings.get("norm") not in NORMS:
        return sizes, roles
    box = float(NORMS[settings["norm"]].size(torch.ones_like(data.x[:1])))
    return [*sizes, 0.0, box], [*roles, "check", "check"]


def perturb(
    unit: Unit, model: StochasticClassifier, x: Tensor, y: Tensor, sizes: list[float], places: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """(x_adv (E, n, ...), whether each gradient was exactly zero at the first step (n,): 1, 0, NaN: unknown)."""
    attack = unit.config["attack"]
    zero = torch.full((len(y),), float("nan"))
    if attack["kind"] == "none":
        return x[None], zero

    def look(step: int, gradient: Tensor) -> None:
        if step == 0:
            zero.copy_((gradient == 0).flatten(1).all(1)[: len(zero)])

    function = _attack(attack)
    more = accepted(function, places=places, watch=look)
    seed = derive(unit.config["seed"], "repeat", unit.config["repeat"])
    return function(model, x, y, eps=sizes, seed=seed, **more), zero
