"""Transfer: perturbations made against one model, kept with what they were made for, and given to other models."""

import hashlib
import json
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from unshaken.attacks.pgd import pgd
from unshaken.evaluation.predict import predict
from unshaken.models import Deterministic, StochasticClassifier
from unshaken.models.draws import Provenance, provenance_of, remember
from unshaken.models.ensemble import networks_of
from unshaken.store import hash_tensors, read_tensors, write_tensors
from unshaken.types import Eps, Inputs, Labels
from unshaken.validate import check_inputs

STORED = ("ids", "eps", "told", "made_with")  # names in files of the fields beside x_adv


class TransferSet(NamedTuple):
    """Perturbations of N inputs at E sizes, and where they come from.

    `ids` are hashes of the clean inputs; `metadata` says which model they were made against (`source`; `weights` is a
    hash of its tensors), how, and which of them are here (`kept`) where not all are; `provenance` is that of the draws
    that made them.
    """

    x_adv: Tensor  # (E, N, ...)
    ids: list[str]
    eps: list[float]
    metadata: dict[str, str]
    provenance: list[Provenance]

    def save(self, path: str | Path) -> None:
        """Write the set as one safetensors file, which `load_transfer_set` reads."""
        fields = dict(zip(STORED, self[1:], strict=True))
        write_tensors(Path(path), {"x_adv": self.x_adv}, {name: json.dumps(value) for name, value in fields.items()})


def transfer_set(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    *,
    eps: list[float],
    attack: Callable[..., Inputs] = pgd,
    seed: int = 0,
    metadata: Mapping[str, str] | None = None,
) -> TransferSet:
    """What `attack` makes of x (N, ...) against `model`, at each of the sizes `eps`."""
    if not isinstance(eps, list | tuple):
        raise ValueError(f"eps must be a list of perturbation sizes; got {eps!r}.")
    weights = {"weights": hash_tensors(model.tensors().values())}
    return of_perturbed(x, attack(model, x, y, eps=eps, seed=seed), list(eps), weights | dict(metadata or {}))


def of_perturbed(x: Inputs, x_adv: Inputs, eps: list[float], metadata: Mapping[str, str]) -> TransferSet:
    """Perturbations x_adv (E, N, ...) of x that are made already, with the draws that `x_adv` remembers."""
    if x_adv.shape != (len(eps), *x.shape):
        raise ValueError(f"x_adv must be {(len(eps), *x.shape)}, a batch for each size; got {(*x_adv.shape,)}.")
    return TransferSet(x_adv, input_ids(x), [float(size) for size in eps], dict(metadata), provenance_of(x_adv))


def only_fooling(perturbations: TransferSet, model: StochasticClassifier, x: Inputs, y: Labels) -> TransferSet:
    """The perturbations that mislead every member of the ensemble `model` (or the network) at their largest size.

    Inputs x (N, ...) that every member gets wrong without an attack are left out.
    Source: the black-box examples of Grefenstette et al., "Strength in numbers" (2018), section 4.3.
    """
    members = [Deterministic(net) for net in networks_of(model)]
    largest = max(perturbations.eps)

    def all_wrong(inputs: Inputs) -> Tensor:
        return torch.stack([predict(one, inputs, one.all()).argmax(-1) != y for one in members]).all(0)

    fooled = all_wrong(perturbations.x_adv[perturbations.eps.index(largest)]) & ~all_wrong(x)
    kept = f"{int(fooled.sum())} of {len(y)}: those that mislead every member at eps {largest:g}, and not all before"
    return perturbations._replace(
        x_adv=perturbations.x_adv[:, fooled],
        ids=[name for name, keep in zip(perturbations.ids, fooled.tolist(), strict=True) if keep],
        metadata=perturbations.metadata | {"kept": kept},
    )


def covered(perturbations: TransferSet, x: Inputs) -> list[int]:
    """Indices of the inputs x that a set has perturbations of: all, or some of them where it kept some."""
    ids = {*perturbations.ids}
    return [index for index, name in enumerate(input_ids(x)) if name in ids]


def load_transfer_set(path: str | Path) -> TransferSet:
    """A set written by `TransferSet.save`; `ValueError` where the file is cut or holds something else."""
    stored, tensors = read_tensors(path)
    if not stored.keys() >= {*STORED} or "x_adv" not in tensors:
        raise ValueError(f"{path} holds no perturbations: it was not written by TransferSet.save.")
    ids, eps, metadata, draws = (json.loads(stored[name]) for name in STORED)
    provenance = [(source, seed, tuple(numbers)) for source, seed, numbers in draws]
    return TransferSet(tensors["x_adv"], ids, eps, metadata, provenance)


def transfer(
    model: StochasticClassifier, x: Inputs, y: Labels, *, eps: Eps, perturbations: str | Path | TransferSet
) -> Inputs:
    """Perturbations of x that were made against another model: a transfer attack.

    `perturbations` is a set or its file. Inputs are matched by their content: x may be any part of those of the set, in
    any order. eps, a number or a list, must be among its sizes. Returns x_adv (B, ...), or (E, B, ...) for a list; of a
    set that kept some of its perturbations, those of x[covered(perturbations, x)]. Nothing is random, and the model is
    not looked at.
    Source: Papernot et al., "Practical black-box attacks against machine learning" (2017).
    """
    check_inputs(x, y)
    stored = perturbations if isinstance(perturbations, TransferSet) else load_transfer_set(perturbations)
    rows = [_eps_index(size, stored.eps) for size in (eps if isinstance(eps, list | tuple) else [eps])]
    x_adv = stored.x_adv[rows][:, match_inputs(stored, x)].to(x)
    return remember(x_adv if isinstance(eps, list | tuple) else x_adv[0], stored.provenance)


def match_inputs(perturbations: TransferSet, x: Inputs) -> list[int]:
    """The index in a set of each input of x (of those that it kept, where it kept some); `ValueError` without one."""
    indices = {name: index for index, name in enumerate(perturbations.ids)}
    names = input_ids(x)
    missing = sum(name not in indices for name in names)
    if "kept" in perturbations.metadata and missing < len(names):
        missing, names = 0, [name for name in names if name in indices]
    if missing or perturbations.x_adv.shape[2:] != x.shape[1:]:
        prefixes, metadata = {"data": "", "source": "against "}, perturbations.metadata
        origin = ", ".join(prefix + metadata[key] for key, prefix in prefixes.items() if metadata.get(key))
        title = f"these perturbations were made for other data{f' ({origin})' if origin else ''}"
        raise ValueError(f"{title}: {missing} of the {len(x)} inputs are not among its {len(indices)}.")
    return [indices[name] for name in names]


def input_ids(x: Inputs) -> list[str]:
    """A name for the content of each input, in float32."""
    rows = x.detach().float().cpu().contiguous().flatten(1).numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in rows]


def _eps_index(eps: object, sizes: list[float]) -> int:
    """The index of a size among those of a set; the decimals of a fraction may differ by rounding."""
    near = [i for i, size in enumerate(sizes) if isinstance(eps, Real) and abs(size - float(eps)) <= 1e-6 * size]
    if not near:
        raise ValueError(f"the perturbations were made for eps {', '.join(f'{e:g}' for e in sizes)}; got {eps}.")
    return near[0]
