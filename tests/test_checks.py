"""Each check passes where a number can be believed and fails where it cannot: both are shown for every one."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from unshaken.checks import CHECKS, attack_name, check

N, REPEATS = 200, 3


def attacked(
    accuracy: float, *, eps: float, draws: str = "10", attack: str = "fgsm", role: str = "sweep", **columns: object
) -> pd.DataFrame:
    """Rows in which the first `accuracy` of all inputs are right, in every repeat."""
    index, repeat = np.meshgrid(np.arange(N), np.arange(1 if role == "check" else REPEATS), indexing="ij")
    told = {
        "model": "m",
        "attack": attack,
        "norm": "linf",
        "loss": "cw",
        "attack_draws": draws,
        "steps": 1,
        "restarts": 1,
        "source": "",
        "inference_draws": 50,
        "eps": eps,
        "role": role,
        "shared_draws": 0,
        "zero_gradient": False,
    }
    rows = pd.DataFrame({"index": index.ravel(), "repeat": repeat.ravel()})
    return rows.assign(label=rows["index"] % 10, correct=rows["index"] < accuracy * N, **{**told, **columns})


def clean() -> pd.DataFrame:
    return attacked(0.9, eps=0.0, attack="none", draws="", norm="", loss="", steps=0, restarts=0)


def run(**changes: pd.DataFrame) -> pd.DataFrame:
    """The rows of an honest run, with some parts changed."""
    parts = {
        "clean": clean(),
        "few_small": attacked(0.8, eps=0.1, draws="1"),
        "few_large": attacked(0.6, eps=0.2, draws="1"),
        "many_small": attacked(0.7, eps=0.1),
        "many_large": attacked(0.5, eps=0.2),
        "zero": attacked(0.9, eps=0.0, role="check"),
        "huge": attacked(0.0, eps=1.0, role="check"),
    }
    return pd.concat({**parts, **changes}.values(), ignore_index=True)


DOUBTS: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    "zero size": (
        lambda: run(zero=attacked(0.7, eps=0.0, role="check")),
        r"zero-size attack differs from clean accuracy: the largest change is -0.200 \(FGSM-10\)",
    ),
    "larger eps": (
        lambda: run(many_large=attacked(0.75, eps=0.2)),
        r"rises with eps, beyond the interval: by 0.050 \(FGSM-10 from eps 0.1 to 0.2\)",
    ),
    "more draws": (
        lambda: run(many_small=attacked(0.9, eps=0.1)),
        r"rises with attack draws, beyond the interval: by 0.100 \(FGSM from 1 to 10 draws at eps 0.1\)",
    ),
    "huge eps": (lambda: run(huge=attacked(0.4, eps=1.0, role="check")), r"above chance \(0.100\).*0.400 \["),
    "zero gradient": (
        lambda: run(many_small=attacked(0.7, eps=0.1, zero_gradient=np.arange(N).repeat(REPEATS) < 50)),
        r"27.8% of the inputs that are classified rightly had an exactly zero gradient",
    ),
    "disjoint draws": (lambda: run().assign(shared_draws=3), "share draws: 3 of 50"),
}


def test_every_check_has_its_doubt_here() -> None:
    assert DOUBTS.keys() == CHECKS.keys()


@pytest.mark.parametrize("name", CHECKS)
def test_an_honest_run_passes(name: str) -> None:
    finding = CHECKS[name](run())
    assert finding.passed, finding.sentence
    assert finding.check == name


@pytest.mark.parametrize("name", CHECKS)
def test_a_doubtful_run_is_told_in_a_sentence_with_its_number(name: str) -> None:
    rows, sentence = DOUBTS[name][0](), DOUBTS[name][1]
    finding = CHECKS[name](rows)
    assert finding.passed is False
    assert pd.Series([finding.sentence]).str.contains(sentence).all(), finding.sentence
    assert check(rows)[0].check == name, "doubts come first"


@pytest.mark.parametrize("name", [name for name in CHECKS if name != "disjoint draws"])
def test_rows_without_attacks_cannot_tell(name: str) -> None:
    assert CHECKS[name](clean()).passed is None


def test_inputs_that_are_wrong_anyway_need_no_gradient() -> None:
    flags = (np.arange(N) >= 0.9 * N).repeat(REPEATS)  # those that are wrong without an attack
    finding = CHECKS["zero gradient"](run(many_small=attacked(0.7, eps=0.1, zero_gradient=flags)))
    assert finding.passed
    assert finding.value == 0


def test_sizes_of_the_recipe_may_include_zero() -> None:
    rows = pd.concat([run(), attacked(0.9, eps=0.0), attacked(0.9, eps=0.0, draws="1")], ignore_index=True)
    assert CHECKS["zero size"](rows).passed


def test_a_rise_within_the_interval_is_no_doubt() -> None:
    rows = run(many_large=attacked(0.705, eps=0.2))
    finding = CHECKS["larger eps"](rows)
    assert finding.passed
    assert "the largest rise is 0.005" in finding.sentence


def test_names_people_use() -> None:
    assert attack_name("fgsm", "10") == "FGSM-10"
    assert attack_name("mean", "mean") == "MEAN"
    assert attack_name("pgd", "mean") == "PGD-MEAN"
    assert attack_name("pgd (start uniform)", "5") == "PGD-5 (start uniform)"
    assert attack_name("mine.attacks:noise", "") == "noise"


def test_a_doubt_names_the_model_and_the_loss_where_there_are_several() -> None:
    worse = attacked(0.9, eps=0.1)  # ten draws leave more than one
    told = {finding.check: finding.sentence for finding in check(run(many_small=worse))}
    assert "(FGSM from 1 to 10 draws at eps 0.1)" in told["more draws"]
    other = [run().assign(model="n"), attacked(0.5, eps=0.1, draws="2", loss="margin").assign(model="m")]
    told = {finding.check: finding.sentence for finding in check(pd.concat([run(many_small=worse), *other]))}
    assert "(m, FGSM (cw) from 1 to 10 draws at eps 0.1)" in told["more draws"]
