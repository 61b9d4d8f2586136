"""Draws: realisations of the random part of a classifier, as an object that can be named, kept and compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import torch
from torch import Tensor

from unshaken.store import read_tensors, write_tensors
from unshaken.types import State

Provenance = tuple[str, int | None, tuple[int, ...]]  # what the draws are draws of, their seed, their numbers
KEPT_BYTES = 256 * 2**20  # draws above this size are realised anew at each use: same values, bounded memory


def derive(seed: int, *path: object) -> int:
    """A seed of its own for every path: `derive(1, "attack", 3)` never meets `derive(1, "inference", 3)`."""
    digest = hashlib.blake2b(repr((int(seed), *path)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(seed: int, index: int, device: torch.device | str = "cpu") -> torch.Generator:
    """The random numbers of draw `index`: a function of (seed, index) and the device type alone."""
    return torch.Generator(device).manual_seed(derive(seed, index))


def state_index(seed: int, index: int, count: int) -> int:
    """Which of `count` states draw `index` is: each of them once, in an order of the seed's, and so on in turns."""
    turn, position = divmod(index, count)
    return int(torch.randperm(count, generator=generator(seed, turn))[position])


class DrawsKind(StrEnum):
    """What draws stand for; the values are written to files."""

    RANDOM = "random"  # draws of a distribution, from a seed
    ONE_NETWORK = "one network"  # the mean network or a plain one: nothing is random, all draws are the same
    ALL_MEMBERS = "all members"  # each network that the model has, once: they differ, but nothing is random
    MOMENTS = "moments"  # one state for the whole distribution, see `StochasticClassifier.expected`


@dataclass(frozen=True)
class Draws:
    """A set of draws of one distribution, realised when they are used.

    Draw s depends on (seed, s) alone, so 5 draws are the first 5 of 9, in any chunks. `realise(s)` gives the
    random tensors of draw s by name. `seed` is None where nothing is random. A Draws object is a snapshot of what is
    random: training the model further does not change it (what is not random, such as the weights of a deterministic
    network or BatchNorm statistics, stays the model's own).
    """

    realise: Callable[[int], State]
    ids: tuple[int, ...]
    seed: int | None
    source: str
    states: tuple[State, ...] | None = None
    kind: DrawsKind = DrawsKind.RANDOM

    @classmethod
    def single(cls, state: State, source: str, kind: DrawsKind = DrawsKind.ONE_NETWORK) -> Draws:
        """One state of a model of kind `source`, in which nothing is random."""
        return cls(lambda s: state, (0,), None, source, (state,), kind)

    @classmethod
    def all_members(cls, states: Sequence[State], source: str) -> Draws:
        """Every state that a model of kind `source` has, each once."""
        return cls(states.__getitem__, tuple(range(len(states))), None, source, tuple(states), DrawsKind.ALL_MEMBERS)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def distinct(self) -> Draws:
        """One of the draws where all are the same, else all of them."""
        return self[:1] if self.kind in (DrawsKind.ONE_NETWORK, DrawsKind.MOMENTS) else self

    def of_one_network(self) -> Draws:
        """The same draws, of a model of which nothing is random."""
        return replace(self, seed=None, kind=DrawsKind.ONE_NETWORK)

    def __iter__(self) -> Iterator[State]:
        return iter(self.states) if self.states is not None else (self.realise(s) for s in self.ids)

    def __getitem__(self, rows: slice) -> Draws:
        if not isinstance(rows, slice) or not self.ids[rows]:
            raise ValueError(f"draws are taken by a slice that holds one at least, such as draws[2:3]; got {rows}.")
        states = None if self.states is None else self.states[rows]
        return replace(self, ids=self.ids[rows], states=states)

    def chunks(self, size: int) -> Iterator[Draws]:
        """The same draws, `size` at a time."""
        return (self[i : i + size] for i in range(0, len(self), size))

    def keep(self, limit: int = KEPT_BYTES) -> Draws:
        """The same draws with their tensors held in memory, unless that takes more than `limit` bytes."""
        if self.states is not None:
            return self
        first = self.realise(self.ids[0])
        if len(self) * sum(tensor.nbytes for tensor in first.values()) > limit:
            return self
        return replace(self, states=(first, *(self.realise(s) for s in self.ids[1:])))

    def stack(self) -> State:
        """All draws in one state with a leading axis S."""
        states = list(self)
        return {name: torch.stack([state[name] for state in states]) for name in states[0]}

    @property
    def provenance(self) -> Provenance:
        """Where these draws came from: what they are draws of, the seed, the numbers."""
        return self.source, self.seed, self.ids

    def save(self, path: str | Path) -> None:
        """Write the realised tensors and their provenance as safetensors."""
        metadata = {"source": self.source, "seed": json.dumps(self.seed), "ids": json.dumps(self.ids)}
        write_tensors(Path(path), self.stack(), metadata | {"draws": self.kind})


def load_draws(path: str | Path) -> Draws:
    """Draws written by `Draws.save`, with the provenance they had."""
    metadata, stacked = read_tensors(path)
    if "ids" not in metadata:
        raise ValueError(f"{path} holds no draws: it was not written by Draws.save.")
    if "draws" not in metadata:
        raise ValueError(f"{path} holds draws of an earlier version of Unshaken: draw and save them again.")
    ids, seed = tuple(json.loads(metadata["ids"])), json.loads(metadata["seed"])
    states = tuple({name: tensor[i] for name, tensor in stacked.items()} for i in range(len(ids)))
    by_id = dict(zip(ids, states, strict=True))
    return Draws(by_id.__getitem__, ids, seed, metadata["source"], states, DrawsKind(metadata["draws"]))


def remember(x_adv: Tensor, used: list[Provenance]) -> Tensor:
    """Note on a perturbed batch where the draws that made it came from, for `shared_draws` to find."""
    for tensor in (x_adv, x_adv._base):  # views of a view know the root alone
        if tensor is not None:
            tensor.made_with = used  # type: ignore[attr-defined]
    return x_adv


def provenance_of(x_adv: Tensor) -> list[Provenance]:
    """What `remember` noted on this tensor or on the one it is a view of; nothing where it noted nothing."""
    noted: list[Provenance] = getattr(x_adv, "made_with", None) or getattr(x_adv._base, "made_with", [])
    return noted


def shared_draws(x_adv: Tensor, draws: Draws) -> int:
    """How many of `draws` also made `x_adv`, or the batch that it is a view of; 0 where nothing is random or known.

    Slices of a perturbed batch are views and keep its note; copies (`clone`, `cat`, a selection by a mask) lose it.
    """
    source, seed, ids = draws.provenance
    used = {i for other, s, numbers in provenance_of(x_adv) if (other, s) == (source, seed) for i in numbers}
    return len(used.intersection(ids)) if seed is not None else 0
