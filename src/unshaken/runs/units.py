"""What units compute. Each is a pure function of its configuration, the data and the model it names."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from unshaken.analysis import ANALYSES
from unshaken.attacks import ATTACKS, LOSSES, NORMS
from unshaken.attacks.losses import LATENT
from unshaken.attacks.pgd import accepted
from unshaken.attacks.transfer import TransferSet, covered, of_perturbed, transfer
from unshaken.data import Data, load, load_images
from unshaken.evaluation.evaluate import evaluate, inference_sets
from unshaken.models import MADE_OF, MODELS, Draws, StochasticClassifier, derive
from unshaken.models.draws import provenance_of, remember
from unshaken.models.wrapper import of_shape
from unshaken.networks import NETWORKS
from unshaken.runs.parts import Table, bound, build, full
from unshaken.runs.plan import Unit, is_clean, source_of, unlabelled_too
from unshaken.runs.recipe import Recipe
from unshaken.runs.resolve import NEEDS, innermost, parts_of
from unshaken.store import checksum, hash_tensors
from unshaken.training import Monitor, train
from unshaken.training.loop import Progress

if TYPE_CHECKING:
    from pandas import DataFrame

EXAMPLES = 8  # inputs whose images are kept for the report
LEAST = 25  # inputs, at least, that are attacked at the two extreme sizes for the checks
FEW = -1.0  # shared draws of a model whose draws are some networks that anybody may know
SLICE = 2**24  # numbers in one perturbed slice of the inputs: 64 MiB, and a few copies of it while it is made


def load_data(config: Table, data_root: str | Path | None, device: torch.device) -> dict[str, Data]:
    """The test split, the train split where a model is trained, and what of it [curves] are on; on the device."""
    curves = config.get("curves") or {"split": "test", "limit": None}
    splits = ["test"] + ["train"] * any(model["training"] for model in config["models"])
    found = {s: load_split(config["data"], s, data_root, device) for s in dict.fromkeys([*splits, curves["split"]])}
    if (curves["limit"] or 0) > (count := len(found[curves["split"]].y)):
        raise ValueError(f"[curves]: limit is {curves['limit']}, but there are {count} images of {curves['split']}.")
    return found


def load_unlabelled(config: Table, data_root: str | Path | None, device: torch.device) -> Tensor | None:
    """The images of [data.unlabelled], where a model is trained on them."""
    if not any(unlabelled_too(model, config) for model in config["models"]):
        return None
    data, unlabelled = config["data"], config["data"]["unlabelled"]
    kind = {"size": data["size"], "grey": data["grey"]}
    if unlabelled["name"] == data["name"]:  # else "train" would hold the images that models are tested on
        kind["held_out"] = data["held_out"]
    return load_images(**unlabelled, **kind, data_root=data_root).to(device)


def load_split(section: Table, split: str, data_root: str | Path | None, device: torch.device) -> Data:
    """The images that [data] names, on the device."""
    settings = {"limit": section["test_limit" if split == "test" else "train_limit"]}
    words = ("seed", "size", "grey", "held_out", "validation")
    settings |= {word: section[word] for word in words if word in section}
    data = load(section["name"], split=split, data_root=data_root, **settings)
    return data._replace(x=data.x.to(device), y=data.y.to(device))


def fingerprint(recipe: Recipe, data: dict[str, Data], unlabelled: Tensor | None = None) -> Table:
    """What results depend on besides the recipe: images and labels, networks as built before training, the version.

    So a data set or a network of the same name but other content is another run.
    """
    config = recipe.config
    sources = [source_of(config, place) for place in range(len(config["models"]))]
    networks = [new_model(source, data["test"]).tensors().values() for source in sources]
    return {
        "data": {split: hash_tensors([part.x, part.y]) for split, part in data.items()},
        "networks": [hash_tensors(tensors) for tensors in networks],
        "unshaken": version("unshaken"),
        **({} if unlabelled is None else {"unlabelled": hash_tensors([unlabelled])}),
        **({"sets": {path: _content(path) for path in sets}} if (sets := config["transfer"]["sets"]) else {}),
    }


def _content(path: str) -> str:
    """The checksum of a stored transfer set."""
    if not Path(path).is_file():
        raise ValueError(f"[transfer]: sets: {path!r} is not a file, expected one of a run's perturbations.")
    return checksum(Path(path))


def new_model(source: Table, data: Data) -> StochasticClassifier:
    """An untrained model for the images of `data`, or one made of such; its initial weights follow from its seed."""
    if parts := parts_of(source):
        return build(MADE_OF, source["model"])([new_model(source[word], data) for word in parts])
    with torch.random.fork_rng():
        torch.manual_seed(derive(source["seed"], "network"))
        shape = tuple(data.x.shape[1:])
        nets = [build(NETWORKS, part)(shape, data.classes).to(data.x.device) for part in _networks(source)]
        several = innermost(source["model"])["kind"] == "ensemble"
        return of_shape(build(MODELS, source["model"]), shape)(nn.ModuleList(nets) if several else nets[0])


def _networks(source: Table) -> list[Table]:
    """The networks that a model starts from: those listed, or as many of one kind as an ensemble has members."""
    if isinstance(source["network"], list):
        return source["network"]
    model = innermost(source["model"])
    return [source["network"]] * ((model["members"] or 2) if model["kind"] == "ensemble" else 1)


def train_unit(
    unit: Unit,
    data: dict[str, Data],
    checkpoint: Path,
    progress: Progress | None,
    unlabelled: Tensor | None = None,
    needed: dict[str, StochasticClassifier] | None = None,
) -> tuple[StochasticClassifier, list[Table]]:
    """(model, one record per epoch); goes on from the checkpoint if there is one.

    `needed` are the other models that it needs, by the word of `needs_of`.
    """
    if parts := parts_of(unit.config):
        return build(MADE_OF, unit.config["model"])([(needed or {})[word] for word in parts]), []
    model = new_model(unit.config, data["test"])
    if unit.config["training"] is None:
        return model, []
    settings = bound(unit.config["training"]) | {"seed": unit.config["seed"], "checkpoint": checkpoint}
    settings |= {word: (needed or {}).get(word) for word in NEEDS}
    if "unlabelled" in unit.config:
        settings["unlabelled"] = unlabelled
    if "curves" in unit.config:
        settings["monitor"] = monitor(unit, data)
    history = train(model, data["train"].x, data["train"].y, **settings, progress=progress)
    return model, [asdict(epoch) for epoch in history]


def monitor(unit: Unit, data: dict[str, Data]) -> Monitor:
    """What is evaluated while the model of a unit is trained."""
    curves, (x, y, *_) = unit.config["curves"], data[unit.config["curves"]["split"]]
    attacks = {one["label"]: partial(_attack(one), eps=one["eps"][0]) for one in curves["attacks"]}
    settings = {word: curves[word] for word in ("every", "draws", "rule")}
    select = None if curves["select"] == "none" else curves["select"]
    limit, seed = curves["limit"], derive(unit.config["seed"], "curves")
    return Monitor(x[:limit], y[:limit], attacks=attacks, select=select, seed=seed, **settings)


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

    The first repeat has rows for the checks too: some inputs at size zero and, where that means something, with the
    whole box to move in. With `keep` the perturbations are given back, at the sizes of the recipe.
    """
    import pandas as pd

    attack = unit.config["attack"]
    settings = full(attack, ATTACKS) if attack["kind"] != "none" else {}
    norm, sizes = settings.get("norm", ""), [float(size) for size in attack["eps"]]
    kept, seconds = list[Tensor](), 0.0

    def attacked(x: Tensor, y: Tensor, places: range) -> tuple[Tensor, Tensor]:
        nonlocal seconds
        started = time.perf_counter()
        x_adv, zero_gradient = perturb(unit, model, x, y, sizes, places)
        seconds += time.perf_counter() - started
        if keep or not kept:
            kept.append(x_adv if keep else x_adv[:, :EXAMPLES].clone())
        return x_adv, zero_gradient

    def checked(x: Tensor, y: Tensor, places: range) -> tuple[Tensor, Tensor]:
        return perturb(unit, model, x, y, extremes, places)

    told = {
        "attack": attack.get("name", attack["kind"]),
        "norm": norm,
        "loss": settings.get("loss", ""),
        "attack_draws": str(settings.get("draws", "")),
        "steps": settings.get("steps", 0),
        "restarts": settings.get("restarts", 1) if attack["kind"] != "none" else 0,
    }
    rows = _scored(unit, model, data, inference, attacked, sizes, "sweep", norm)
    if norm in NORMS and unit.config["repeat"] == 0:
        extremes = [0.0]
        if fills_the_box(settings):
            extremes.append(float(NORMS[norm].size(torch.ones_like(data.x[:1]))))
        count = max(LEAST, len(data.y) * len(sizes) // 4)  # they cost half of what the sizes of the recipe cost
        few = data._replace(x=data.x[:count], y=data.y[:count])
        rows = pd.concat(
            [rows, _scored(unit, model, few, inference, checked, extremes, "check", norm)], ignore_index=True
        )
    rows = rows.assign(**told, source="")
    examples = {"x": data.x[:EXAMPLES], "x_adv": kept[0][:, :EXAMPLES]}
    if not keep:
        return Attacked(rows, examples, seconds, None)
    source = {word: str(value) for word, value in told.items()} | {"source": unit.model, "data": data.name}
    source["weights"] = hash_tensors(model.tensors().values())
    x_adv = remember(torch.cat(kept, 1), provenance_of(kept[0]))
    return Attacked(rows, examples, seconds, of_perturbed(data.x, x_adv, sizes, source))


def fills_the_box(attack: Table) -> bool:
    """Whether an attack with the whole box to move in should leave no accuracy.

    Not one whose steps are as long as the gradient, whatever eps is, nor one that does not aim at the label.
    """
    return attack.get("update") != "gradient" and LOSSES.get(attack.get("loss", "")) not in LATENT


def transfer_unit(
    unit: Unit, model: StochasticClassifier, data: Data, inference: Draws, made: TransferSet
) -> DataFrame:
    """The rows of a model under perturbations that were made against another one.

    Where the stored set turns out to be made against this very network, their role is "own": no transfer.
    """
    words = {"attack": "transfer", "norm": "", "loss": "", "attack_draws": "", "steps": "0", "restarts": "1"}
    told: Table = words | {"source": "?"} | {word: made.told[word] for word in (*words, "source") if word in made.told}
    told |= {word: int(told[word]) for word in ("steps", "restarts")}
    own = False
    if "set" in unit.config:  # two of them may have sources of the same name, and one may be this very network
        told["source"] = f"{told['source']} ({Path(unit.config['set']).stem})"
        own = made.told.get("weights") == hash_tensors(model.tensors().values())

    def given(x: Tensor, y: Tensor, places: range) -> tuple[Tensor, Tensor]:
        return transfer(model, x, y, eps=made.eps, made=made), torch.full((len(y),), float("nan"))

    role, places = "own" if own else "transfer", covered(made, data.x)
    if not places:
        raise ValueError(f"none of the perturbations made against {told['source']} misled all of its members.")
    few = data._replace(x=data.x[places], y=data.y[places])
    rows = _scored(unit, model, few, inference, given, made.eps, role, told["norm"])
    return rows.assign(index=[places[i] for i in rows["index"]], **told)


def _scored(
    unit: Unit,
    model: StochasticClassifier,
    data: Data,
    inference: Draws,
    perturbed: Callable[[Tensor, Tensor, range], tuple[Tensor, Tensor]],
    sizes: list[float],
    role: str,
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
                index=first + place % len(y),
                zero_gradient=zero_gradient.repeat(len(sizes)).cpu().numpy(),
            )
        )
    return pd.concat(parts, ignore_index=True).assign(model=unit.model, repeat=unit.config["repeat"], role=role)


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
        shared_draws=rows.shared_draws.astype(float) if known and not model.few else FEW if known else float("nan"),
    )


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
