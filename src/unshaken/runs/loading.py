"""What units are computed from: images, models before training, and the checksums of both."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unshaken.data import Data, load, load_images
from unshaken.models import MADE_OF, MODELS, StochasticClassifier, derive
from unshaken.models.wrapper import base_model
from unshaken.networks import NETWORKS
from unshaken.runs.parts import build
from unshaken.runs.plan import source_of, uses_unlabelled
from unshaken.runs.settings import DataConfig, RecipeConfig
from unshaken.runs.units import Fingerprint, ModelSource
from unshaken.store import checksum, hash_tensors


def load_data(config: RecipeConfig, data_root: str | Path | None, device: torch.device) -> dict[str, Data]:
    """The test split, the train split where a model is trained, and the split of [curves]; on the device."""
    splits = ["test"] + ["train"] * any(model.training for model in config.models)
    splits += [config.curves.split] if config.curves else []
    data = {split: load_split(config.data, split, data_root, device) for split in dict.fromkeys(splits)}
    if (curves := config.curves) and (curves.limit or 0) > (count := len(data[curves.split].y)):
        raise ValueError(f"[curves]: limit is {curves.limit}, but there are {count} images of {curves.split}.")
    return data


def load_split(config: DataConfig, split: str, data_root: str | Path | None, device: torch.device) -> Data:
    """The images that [data] names, on the device."""
    limit = config.test_limit if split == "test" else config.train_limit
    settings = {name: getattr(config, name) for name in ("seed", "size", "grey", "held_out", "validation")}
    data = load(config.name, split=split, limit=limit, **settings, data_root=data_root)
    return data._replace(x=data.x.to(device), y=data.y.to(device))


def load_unlabelled(config: RecipeConfig, data_root: str | Path | None, device: torch.device) -> Tensor | None:
    """The images of [data.unlabelled], where a model is trained on them."""
    data, unlabelled = config.data, config.data.unlabelled
    if unlabelled is None or not any(uses_unlabelled(model, config) for model in config.models):
        return None
    # of the same set, "train" would otherwise hold the images that models are tested on
    held_out = data.held_out if unlabelled.name == data.name else None
    settings: dict[str, Any] = vars(unlabelled) | {"size": data.size, "grey": data.grey, "held_out": held_out}
    return load_images(**settings, data_root=data_root).to(device)


def fingerprint(config: RecipeConfig, data: dict[str, Data], unlabelled: Tensor | None = None) -> Fingerprint:
    """What results depend on besides the recipe: images and labels, networks as built before training, the version.

    So a data set or a network of the same name but other content is another run.
    """
    models = [new_model(source_of(config, model), data["test"]) for model in config.models]
    return Fingerprint(
        images={split: hash_tensors([images.x, images.y]) for split, images in data.items()},
        networks=[hash_tensors(model.tensors().values()) for model in models],
        version=version("unshaken"),
        unlabelled=None if unlabelled is None else hash_tensors([unlabelled]),
        sets={path: _checksum(path) for path in config.transfer.sets},
    )


def _checksum(path: str) -> str:
    if not Path(path).is_file():
        raise ValueError(f"[transfer]: sets: {path!r} is not a file, expected one of a run's perturbations.")
    return checksum(Path(path))


def new_model(source: ModelSource, data: Data) -> StochasticClassifier:
    """An untrained model for the images of `data`, or one made of such; its initial weights follow from its seed."""
    if source.components:
        return build(MADE_OF, source.model)([new_model(component, data) for component in source.components])
    innermost, shape = source.model.innermost, tuple(data.x.shape[1:])
    is_ensemble = innermost.kind == "ensemble"
    members = (innermost.get("members") or 2) if is_ensemble else 1
    parts = source.network if isinstance(source.network, list) else [source.network] * members
    with torch.random.fork_rng():
        torch.manual_seed(derive(source.seed, "network"))
        nets = [build(NETWORKS, part)(shape, data.classes).to(data.x.device) for part in parts]
        return base_model(build(MODELS, source.model), nn.ModuleList(nets) if is_ensemble else nets[0], shape)
