"""What a check says, and how it names the attacks that it says it of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame, Series

# the columns that name one attack on one model
ATTACK = ["model", "attack", "norm", "loss", "attack_draws", "steps", "restarts"]
# attacks whose step is as long as the gradient: neither eps nor the number of draws says how strong they are
OWN_STEP = ("one_step_cw",)
# attacks that go no further than it takes, so that on new draws one that goes as far as it may can win more
NEAREST = ("carlini_wagner",)
# losses that do not ask for the label: accuracy under them is no measure of what they do
UNAIMED = ("latent_shift",)


@dataclass(frozen=True)
class Finding:
    """The outcome of a check. `passed` is None where the rows cannot tell."""

    check: str
    passed: bool | None
    sentence: str
    value: float | None = None


def is_one_of(rows: DataFrame, attacks: tuple[str, ...]) -> Series:
    """Which rows are of these attacks, whatever else their name tells: "pgd (start uniform)" is of pgd."""
    return rows.attack.str.split(" (", regex=False).str[0].isin(attacks)


def aimed(rows: DataFrame) -> DataFrame:
    """Rows without those of attacks that do not aim at the label."""
    return rows[~rows.loss.isin(UNAIMED)]


def sized(rows: DataFrame) -> DataFrame:
    """Rows without those of attacks that do not aim at the label, or whose step is one of their own."""
    return aimed(rows[~is_one_of(rows, OWN_STEP)])


def far(rows: DataFrame) -> DataFrame:
    """Rows of attacks that aim at the label and go as far as eps allows."""
    return sized(rows[~is_one_of(rows, NEAREST)])


def attack_name(attack: str, draws: str) -> str:
    """FGSM-10, PGD-5, MEAN; PGD with all draws: the name people use. "pgd (start uniform)" is PGD-5 (start uniform)."""
    kind, _, rest = attack.partition(" (")
    if kind == "none":
        return "clean"
    name = kind.partition(":")[2] or kind.upper().replace("_", "-")  # one from outside the package keeps its own name
    if draws and draws not in (kind, "all"):
        name += f"-{draws.upper()}"
    return f"{name} ({rest}" if rest else name


def kinds(rows: DataFrame) -> DataFrame:
    """Every attack on every model once, by the columns of ATTACK."""
    return rows[ATTACK].drop_duplicates()


def attacks(rows: DataFrame, all_rows: DataFrame | None = None) -> Iterator[tuple[str, DataFrame, DataFrame]]:
    """(name, rows of one attack on one model, all rows of that model); an attack on another model is none on this."""
    of_model = dict(iter((rows if all_rows is None else all_rows).groupby("model", sort=False)))
    direct, every_kind = rows[(rows.attack != "none") & (rows.role != "transfer")], kinds(rows)
    for key, attacked in direct.groupby(ATTACK, sort=False):
        first = attacked.iloc[0]
        yield name_of(first, every_kind, first.attack_draws), attacked, of_model[key[0]]


def name_of(row: Series, every_kind: DataFrame, draws: str) -> str:
    """The attack of a row, with its model and its loss where there are several among `kinds`."""
    name = attack_name(row.attack, draws)
    loss = f" ({row.loss})" if every_kind[every_kind.attack == row.attack].loss.nunique() > 1 else ""
    return f"{row.model}, {name}{loss}" if every_kind.model.nunique() > 1 else f"{name}{loss}"


def named(name: str, *extra: str) -> str:
    """The name of an attack with what tells it from others: "PGD-1 (start uniform, 5 restarts)"."""
    kind, _, rest = name.partition(" (")
    details = [*([rest.removesuffix(")")] if rest else []), *extra]
    return f"{kind} ({', '.join(details)})" if details else name


def counted(noun: str, count: int) -> str:
    """ "20 steps", "1 restart"."""
    return f"{count} {noun.removesuffix('s') if count == 1 else noun}"


def full_name(row: Series, every_kind: DataFrame, varied: str = "") -> str:
    """The attack of a row, with its loss, steps and restarts (but not what is varied) where several have its name."""
    name = attack_name(row.attack, row.attack_draws)
    alike = every_kind[[other == name for other in map(attack_name, every_kind.attack, every_kind.attack_draws)]]
    several = [column for column in ("loss", "steps", "restarts") if column != varied and alike[column].nunique() > 1]
    return named(name, *(row.loss if column == "loss" else counted(column, row[column]) for column in several))
