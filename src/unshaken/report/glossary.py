"""Words of the page that are explained only where they occur."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unshaken.evaluation.checks.finding import UNAIMED
from unshaken.runs.record import RunRecord

if TYPE_CHECKING:
    from pandas import DataFrame

GLOSSARY: dict[str, tuple[str, str]] = {
    "carlini_wagner": (
        "CARLINI-WAGNER-k",
        "A search for the smallest change, in the L2 norm, that makes the prediction of k draws wrong, and safely so. "
        "It goes no further than that, however large eps is; where the change is larger than eps it is shortened.",
    ),
    "one_step_cw": (
        "ONE-STEP-CW-k",
        "One step along the gradient averaged over k draws, as far as that is long. Nobody prescribes how far, and it "
        "goes further on one model than on another; eps is only a bound, mostly as large as the whole image.",
    ),
    "spatial": (
        "SPATIAL-k",
        "Pixels keep their values and move along a smooth flow, in several steps with k new draws each.",
    ),
    "flow": (
        "flow norm",
        "How far a pixel may move along each side, as a share of it: with eps 0.05 that is 1.4 pixels of 28. It is no "
        "size of a change of values, so its eps has nothing to do with that of another norm.",
    ),
    "latent": (
        "aimed at the latent",
        "An attack that moves the code of an image in an auto-encoder as far as it can. It does not look at the label, "
        "so what it does to accuracy is a side effect.",
    ),
    "chain": (
        "chains",
        "Copies of one network that are trained side by side from the same start, with noise of their own in every "
        "step. A draw is the state of one of them, where it ended or where it was on the way, so there are only so "
        "many different draws, and the attacker knows them all.",
    ),
}
"""(word, meaning) by the attack, the norm or the kind of model that it belongs to."""


def glossary_entries(record: RunRecord, rows: DataFrame) -> list[tuple[str, str]]:
    """(word, meaning) of what occurs in a run, in the order of GLOSSARY."""
    met = {*rows.attack.str.split(" (", regex=False).str[0], *rows.norm}
    met |= {"latent"} if rows.loss.isin(UNAIMED).any() else set()
    for config in record.recipe.models:
        met |= {config.model.kind, config.innermost.kind}  # one may be around another
    return [entry for name, entry in GLOSSARY.items() if name in met]
