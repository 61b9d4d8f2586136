"""Transfer: perturbations made against one model, kept with what they were made for, and given to other models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
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


class TransferSet(NamedTuple):
    """Perturbations of N inputs at E sizes, and where they come from.

    `ids` are names of the inputs by their content; `told` says in words whose they are (`source`; `weights` is a hash
    of its tensors), how they were made, and which of them are here (`kept`) where not all are; `made_with` are the
    draws that made them.
    """

    x_adv: Tensor  # (E, N, ...)
    ids: list[str]
    eps: list[float]
    told: dict[str, str]
    made_with: list[Provenance]

    def save(self, path: str | Path) -> None:
        """Write the set as one safetensors file, which `load_transfer_set` reads."""
        told = {"ids": self.ids, "eps": self.eps, "told": self.told, "made_with": self.made_with}
        write_tensors(Path(path), {"x_adv": self.x_adv}, {name: json.dumps(value) for name, value in told.items()})


def transfer_set(
    model: StochasticClassifier,
    x: Inputs,
    y: Labels,
    *,
    eps: list[float],
    attack: Callable[..., Inputs] = pgd,
    seed: int = 0,
    told: Mapping[str, str] | None = None,
) -> TransferSet:
    """What `attack` makes of x (N, ...) against `model`, at each of the sizes `eps`."""
    if not isinstance(eps, list | tuple):
        raise ValueError(f"eps must be a list of perturbation sizes; got {eps!r}.")
    own = {"weights": hash_tensors(model.tensors().values())}
    return of_perturbed(x, attack(model, x, y, eps=eps, seed=seed), list(eps), own | dict(told or {}))


def of_perturbed(x: Inputs, x_adv: Inputs, eps: list[float], told: Mapping[str, str]) -> TransferSet:
    """Perturbations x_adv (E, N, ...) of x that are made already, with the draws that `x_adv` remembers."""
    if x_adv.shape != (len(eps), *x.shape):
        raise ValueError(f"x_adv must be {(len(eps), *x.shape)}, a batch for each size; got {(*x_adv.shape,)}.")
    return TransferSet(x_adv, input_ids(x), [float(size) for size in eps], dict(told), provenance_of(x_adv))


def only_fooling(
    made: TransferSet, model: StochasticClassifier, x: Inputs, y: Labels, *, batch_size: int = 256
) -> TransferSet:
    """The perturbations that mislead every member of the ensemble `model` (or the network) at their largest size.

    Inputs x (N, ...) that every member gets wrong without an attack are left out.
    Source: the black-box examples of Grefenstette et al., "Strength in numbers" (2018), section 4.3.
    """
    members = [Deterministic(net) for net in networks_of(model)]
    largest = made.x_adv[made.eps.index(max(made.eps))]
    before, after = (
        torch.stack([predict(one, part, one.all(), batch_size=batch_size).argmax(-1) != y for one in members]).all(0)
        for part in (x, largest)
    )
    fooled = after & ~before
    kept = f"{int(fooled.sum())} of {len(y)}: those that mislead every member at eps {max(made.eps):g}, "
    kept += "and not all before"
    ids = [name for name, keep in zip(made.ids, fooled.tolist(), strict=True) if keep]
    return made._replace(x_adv=made.x_adv[:, fooled], ids=ids, told=made.told | {"kept": kept})


def covered(made: TransferSet, x: Inputs) -> list[int]:
    """Places of the inputs x that a set has perturbations of: all, or some of them where it kept some."""
    known = {*made.ids}
    return [place for place, name in enumerate(input_ids(x)) if name in known]


def load_transfer_set(path: str | Path) -> TransferSet:
    """A set written by `TransferSet.save`; `ValueError` where the file is cut or holds something else."""
    told, tensors = read_tensors(path)
    if not {"ids", "eps", "told", "made_with"} <= told.keys() or "x_adv" not in tensors:
        raise ValueError(f"{path} holds no perturbations: it was not written by TransferSet.save.")
    made_with = [(source, seed, tuple(ids)) for source, seed, ids in json.loads(told["made_with"])]
    ids, eps, words = (json.loads(told[name]) for name in ("ids", "eps", "told"))
    return TransferSet(tensors["x_adv"], ids, eps, words, made_with)


def transfer(model: StochasticClassifier, x: Inputs, y: Labels, *, eps: Eps, made: str | Path | TransferSet) -> Inputs:
    """Perturbations of x that were made against another model: black-box transfer.

    `made` is a set or its file. Inputs are found by their content: x may be any part of those of the set, in any order.
    eps, a number or a list, must be among its sizes. Returns x_adv (B, ...), or (E, B, ...) for a list; of a set that
    kept some of its perturbations, those of x[covered(made, x)]. Nothing is random, and the model is not looked at.
    Source: Papernot et al., "Practical black-box attacks against machine learning" (2017).
    """
    check_inputs(x, y)
    found = made if isinstance(made, TransferSet) else load_transfer_set(made)
    sizes = [_place(size, found.eps) for size in (eps if isinstance(eps, list | tuple) else [eps])]
    x_adv = found.x_adv[sizes][:, check_made_for(found, x)].to(x)
    return remember(x_adv if isinstance(eps, list | tuple) else x_adv[0], found.made_with)


def check_made_for(made: TransferSet, x: Inputs) -> list[int]:
    """Where each input of x is in a set (of those that it kept, where it kept some); `ValueError` where one is not."""
    known = {name: place for place, name in enumerate(made.ids)}
    wanted = input_ids(x)
    missing = sum(name not in known for name in wanted)
    if "kept" in made.told and missing < len(wanted):
        missing, wanted = 0, [name for name in wanted if name in known]
    if missing or made.x_adv.shape[2:] != x.shape[1:]:
        raise ValueError(
            f"these perturbations were made for other data{_of(made)}: {missing} of the {len(x)} inputs are not among "
            f"its {len(known)}."
        )
    return [known[name] for name in wanted]


def input_ids(x: Inputs) -> list[str]:
    """A name for the content of each input, in float32."""
    rows = x.detach().float().cpu().contiguous().flatten(1).numpy()
    return [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in rows]


def _place(size: object, sizes: list[float]) -> int:
    """Where a size is among those of a set; the decimals of a fraction may differ by rounding."""
    near = [i for i, known in enumerate(sizes) if isinstance(size, int | float) and abs(known - size) <= 1e-6 * known]
    if not near:
        raise ValueError(f"the perturbations were made for eps {', '.join(f'{e:g}' for e in sizes)}; got {size}.")
    return near[0]


def _of(found: TransferSet) -> str:
    """ " (mnist, against standard)", as far as it is known."""
    words = {"data": "", "source": "against "}
    told = [before + found.told[word] for word, before in words.items() if found.told.get(word)]
    return f" ({', '.join(told)})" if told else ""
