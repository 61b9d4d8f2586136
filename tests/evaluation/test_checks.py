"""Each check passes where a number can be believed and fails where it cannot: both are shown for every one."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from unshaken.attacks import ATTACKS, LOSSES
from unshaken.attacks.losses import LATENT
from unshaken.evaluation.checks import CHECKS, attack_name, check
from unshaken.evaluation.checks.finding import NEAREST, OWN_STEP, UNAIMED

N, REPEATS = 200, 3


def attacked(
    accuracy: float, *, eps: float, draws: str = "10", attack: str = "fgsm", role: str = "sweep", **columns: object
) -> pd.DataFrame:
    """Rows in which the first `accuracy` of all inputs are right, in every repeat."""
    index, repeat = np.meshgrid(np.arange(N), np.arange(1 if role == "check" else REPEATS), indexing="ij")
    defaults = {
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
    return rows.assign(label=rows["index"] % 10, correct=rows["index"] < accuracy * N, **{**defaults, **columns})


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
        "steps": attacked(0.5, eps=0.1, attack="pgd", steps=20),
        "steps_many": attacked(0.495, eps=0.1, attack="pgd", steps=100),
        "transferred": attacked(0.6, eps=0.1, attack="pgd", steps=20, role="transfer", source="n"),
        "guessed": attacked(0.65, eps=0.1, attack="spsa", steps=20),
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
    "huge eps": (
        lambda: run(huge=attacked(0.4, eps=1.0, role="check")),
        r"leaves 0.400 \[.*\], above chance \(0.100\)",
    ),
    "zero gradient": (
        lambda: run(many_small=attacked(0.7, eps=0.1, zero_gradient=np.arange(N).repeat(REPEATS) < 50)),
        r"27.8% of the inputs that are classified rightly had an exactly zero gradient",
    ),
    "disjoint draws": (lambda: run().assign(shared_draws=3), "share draws: 3 of 50"),
    "black box": (
        lambda: run(transferred=attacked(0.4, eps=0.1, attack="pgd", steps=20, role="transfer", source="n")),
        r"model are stronger than.*: PGD-10 \(20 steps\) made against n leaves 0.400, made against the model "
        r"itself 0.500 \(m, eps 0.1\)",
    ),
    "gradient free": (
        lambda: run(guessed=attacked(0.45, eps=0.1, attack="spsa", steps=20)),
        r"without a gradient is stronger .*: SPSA-10 leaves 0.450, PGD-10 \(100 steps\) 0.495 \(m, eps 0.1\)",
    ),
    "one step": (
        lambda: run(many_small=attacked(0.45, eps=0.1), many_large=attacked(0.4, eps=0.2)),
        r"single step is stronger .*: FGSM-10 leaves 0.450, PGD-10 \(100 steps\) 0.495 \(m, eps 0.1\)",
    ),
    "more steps": (
        lambda: run(steps_many=attacked(0.45, eps=0.1, attack="pgd", steps=100)),
        r"under PGD-10 is still falling by 0.050 from 20 to 100 steps \(m, eps 0.1\): the attack has not converged",
    ),
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
    none = pd.concat([clean().assign(correct=False), attacked(0.0, eps=0.1)])
    assert "No input that is classified rightly" in CHECKS["zero gradient"](none).sentence


def test_sizes_of_the_recipe_may_include_zero() -> None:
    rows = pd.concat([run(), attacked(0.9, eps=0.0), attacked(0.9, eps=0.0, draws="1")], ignore_index=True)
    assert CHECKS["zero size"](rows).passed


def test_a_rise_within_the_interval_is_no_doubt() -> None:
    rows = run(many_large=attacked(0.705, eps=0.2))
    finding = CHECKS["larger eps"](rows)
    assert finding.passed
    assert "the largest rise is 0.005" in finding.sentence


def test_the_worst_source_is_told_and_each_target_has_its_own_attack() -> None:
    """Two models attack each other: only on n the other's perturbations win."""
    settings = {"eps": 0.1, "attack": "pgd", "steps": 20}
    parts = {
        "own": attacked(0.5, **settings),
        "on_n": attacked(0.7, **settings, model="n"),
        "to_m": attacked(0.575, **settings, role="transfer", source="n"),
        "to_n": attacked(0.6, **settings, role="transfer", source="m", model="n"),
        "to_n_too": attacked(0.65, **settings, role="transfer", source="o", model="n"),
    }
    finding = CHECKS["black box"](pd.concat(parts.values()))
    assert finding.passed is False
    assert finding.value == pytest.approx(0.1)
    assert "PGD-10 made against m leaves 0.600, made against the model itself 0.700 (n, eps 0.1)" in finding.sentence
    finding = CHECKS["black box"](pd.concat([parts["own"], parts["to_m"]]))
    assert finding.passed
    assert "are not stronger" in finding.sentence
    assert "PGD-10 made against n leaves 0.575, made against the model itself 0.500 (m, eps 0.1)" in finding.sentence


@pytest.mark.parametrize(
    "change", [{"norm": "l2"}, {"loss": "margin"}, {"steps": 7}, {"restarts": 5}, {"draws": "1"}, {"eps": 0.2}]
)
def test_another_attack_is_no_white_box_to_a_transferred_one(change: dict[str, object]) -> None:
    settings: dict[str, object] = {"eps": 0.1, "attack": "pgd", "steps": 20}
    other = attacked(0.9, **{**settings, **change})  # type: ignore[arg-type]
    transferred = attacked(0.1, **settings, role="transfer", source="n")  # type: ignore[arg-type]
    finding = CHECKS["black box"](pd.concat([other, transferred]))
    assert finding.passed is None
    assert "beside the same attack" in finding.sentence, "some was given"


def test_transferred_rows_are_no_attack_to_the_other_checks() -> None:
    rows = run(transferred=attacked(0.05, eps=0.1, role="transfer", source="n", zero_gradient=True))
    findings = {finding.check: finding for finding in check(rows)}
    assert all(findings[name].passed for name in CHECKS if name != "black box")


def test_more_restarts_must_not_find_more() -> None:
    few, many = (attacked(a, eps=0.1, attack="pgd", steps=20, restarts=n) for a, n in ((0.5, 1), (0.47, 10)))
    finding = CHECKS["more steps"](pd.concat([clean(), few, many]))
    assert finding.passed is False
    assert "under PGD-10 is still falling by 0.030 from 1 to 10 restarts (m, eps 0.1)" in finding.sentence


def test_what_happens_at_few_steps_is_no_matter_of_convergence() -> None:
    parts = [attacked(a, eps=0.1, attack="pgd", steps=n) for a, n in ((0.8, 5), (0.5, 20), (0.495, 100))]
    finding = CHECKS["more steps"](pd.concat(parts))
    assert finding.passed
    assert finding.value == pytest.approx(0.005)
    assert re.search(r"the largest fall is 0.005 \[-0.\d+, 0.\d+\], PGD-10 from 20 to 100 steps", finding.sentence)


def test_a_fall_that_may_be_chance_is_told_with_its_interval_and_what_was_compared() -> None:
    """24 inputs of which three fall: nobody knows whether the attack has converged."""
    steps, restarts = (
        [attacked(0.5, eps=0.1, attack="pgd", **{"steps": 20, what: n}) for n in (1, 100)]
        for what in ("steps", "restarts")
    )
    few = [group[group["index"] < 24] for group in steps]
    few[1] = few[1].assign(correct=few[1].correct & (few[1]["index"] > 2))
    sentence = CHECKS["more steps"](pd.concat(few)).sentence
    assert sentence.startswith("Accuracy does not surely fall with steps: the largest fall is 0.125 [-0.018, 0.268], ")
    assert "surely fall with restarts: it falls nowhere" in CHECKS["more steps"](pd.concat(restarts)).sentence
    both = CHECKS["more steps"](pd.concat([*steps, *restarts])).sentence
    assert "surely fall with steps and restarts: " in both


def test_huge_eps_claims_no_more_than_the_intervals() -> None:
    """Of 12 inputs a quarter are right, which may be chance; of 200 inputs 0.19 are, which is not."""
    few = attacked(0.0, eps=1.0, role="check")
    few = few[few["index"] < 12].assign(correct=few["index"] < 3)
    finding = CHECKS["huge eps"](run(huge=few))
    assert finding.passed
    assert finding.sentence.startswith(
        "No attack with the whole input box leaves accuracy surely above chance (0.167); the highest is 0.250 ["
    )
    other = attacked(0.19, eps=1.0, role="check", attack="pgd", steps=20)
    finding = CHECKS["huge eps"](run(huge=pd.concat([few, other])))
    assert finding.passed is False
    assert finding.sentence.startswith("With the whole input box an attack leaves 0.190 [")
    assert finding.sentence.endswith("], above chance (0.100): it is not strong enough (PGD-10).")


@pytest.mark.parametrize(
    ("name", "what"), [("larger eps", "at two eps"), ("more draws", "two numbers of attack draws")]
)
def test_what_was_not_compared_is_named(name: str, what: str) -> None:
    assert what in CHECKS[name](attacked(0.5, eps=0.1)).sentence


def test_a_fall_of_less_than_a_hundredth_is_none_even_beyond_the_interval() -> None:
    parts = [attacked(0.5, eps=0.1, attack="pgd", steps=n) for n in (20, 100)]
    parts[1] = parts[1].assign(correct=parts[1].correct & (parts[1]["index"] != 0))
    assert CHECKS["more steps"](pd.concat(parts)).passed
    many = [group.assign(index=group["index"] + N * i) for i in range(30) for group in parts]
    finding = CHECKS["more steps"](pd.concat(many))
    assert finding.passed, "0.005, known well"
    assert "does not surely fall by more than 0.01 with steps" in finding.sentence
    parts = [attacked(a, eps=0.1, attack="pgd", steps=n) for a, n in ((0.5, 20), (0.485, 100))]
    assert CHECKS["more steps"](pd.concat(parts)).passed, "0.015, but of 200 inputs"


def test_the_level_is_shared_out_over_all_comparisons() -> None:
    """Six of 200 inputs are beyond a 95 % interval, but not beyond the one of ten comparisons."""
    right = {"white": 0.6, "black": 0.57}
    roles = {"white": {"role": "sweep"}, "black": {"role": "transfer", "source": "other"}}

    def pair(model: str, **right: float) -> list[pd.DataFrame]:
        return [attacked(right[kind], eps=0.1, model=model, **roles[kind]) for kind in roles]

    assert CHECKS["black box"](pd.concat(pair("a", **right))).passed is False
    others = [rows for i in range(9) for rows in pair(f"b{i}", white=0.6, black=0.6)]
    assert CHECKS["black box"](pd.concat([*pair("a", **right), *others])).passed


def test_steps_with_another_loss_are_not_the_same_attack() -> None:
    rows = pd.concat([attacked(0.4, eps=0.1), attacked(0.6, eps=0.1, attack="pgd", steps=20, loss="margin")])
    assert CHECKS["one step"](rows).passed is None
    rows = pd.concat([attacked(0.4, eps=0.1), attacked(0.6, eps=0.1, attack="spsa", steps=20)])
    assert CHECKS["one step"](rows).passed is None, "the steps of SPSA have no gradient"


def test_the_names_of_attacks_apart_are_those_of_the_attacks() -> None:
    fixed = {name: getattr(function, "keywords", {}) for name, function in ATTACKS.items()}
    assert set(OWN_STEP) == {name for name, words in fixed.items() if words.get("update") == "gradient"}
    assert set(UNAIMED) == {name for name, loss in LOSSES.items() if loss in LATENT}
    assert NEAREST[0] in ATTACKS


APART: dict[str, dict[str, object]] = {
    "own step": {"attack": "one_step_cw", "loss": "logit_sum"},
    "own step, of several": {"attack": "one_step_cw (redraw False)", "loss": "logit_sum"},
    "latent": {"attack": "pgd (start near)", "loss": "latent_shift", "steps": 20},
}


@pytest.mark.parametrize("apart", APART)
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("huge eps", [attacked(0.9, eps=28.0, role="check")]),
        ("more draws", [attacked(0.5, eps=28.0, draws="1"), attacked(0.8, eps=28.0)]),
        ("black box", [attacked(0.5, eps=28.0), attacked(0.2, eps=28.0, role="transfer", source="n")]),
    ],
)
def test_an_attack_with_a_step_or_an_aim_of_its_own_raises_no_doubt(
    name: str, rows: list[pd.DataFrame], apart: str
) -> None:
    assert CHECKS[name](pd.concat([clean(), *rows])).passed is False, "of any other attack"
    finding = CHECKS[name](pd.concat([clean(), *(group.assign(**APART[apart]) for group in rows)]))
    assert finding.passed is None, finding.sentence


def test_an_attack_on_the_latent_need_not_converge_in_accuracy_nor_fall_with_eps() -> None:
    latent = {"attack": "pgd", "loss": "latent_shift"}
    steps = [attacked(a, eps=0.1, steps=n, **latent) for a, n in ((0.5, 20), (0.3, 100))]  # type: ignore[arg-type]
    assert CHECKS["more steps"](pd.concat(steps)).passed is None
    sizes = [attacked(a, eps=e, steps=20, **latent) for a, e in ((0.5, 0.1), (0.8, 0.2))]  # type: ignore[arg-type]
    assert CHECKS["larger eps"](pd.concat(sizes)).passed is None
    guessed = attacked(0.3, eps=0.1, attack="spsa", steps=20)
    assert CHECKS["gradient free"](pd.concat([steps[0], guessed])).passed is None, "beside no attack on the label"


def test_an_attack_that_goes_no_further_than_it_takes_is_no_measure_of_others() -> None:
    near = {"attack": "carlini_wagner", "norm": "l2", "steps": 100}
    nearest = attacked(0.5, eps=1.0, **near)  # type: ignore[arg-type]
    single = attacked(0.3, eps=1.0, attack="fgm", norm="l2")
    assert CHECKS["one step"](pd.concat([single, nearest])).passed is None
    assert CHECKS["one step"](pd.concat([single, nearest.assign(attack="pgd")])).passed is False
    transferred = attacked(0.2, eps=1.0, role="transfer", source="n", **near)  # type: ignore[arg-type]
    assert CHECKS["black box"](pd.concat([nearest, transferred])).passed is None
    few = nearest.assign(steps=10, correct=True)
    assert CHECKS["more steps"](pd.concat([few, nearest])).passed is False, "its own convergence is one"
    guessed = attacked(0.55, eps=1.0, attack="spsa", norm="l2", steps=20)
    assert CHECKS["gradient free"](pd.concat([nearest, guessed])).passed, "what it finds is found with a gradient"


def test_norms_are_not_compared() -> None:
    """A single step in one norm beside many in another; the flow of pixels is a norm too."""
    single, many = attacked(0.2, eps=0.1), attacked(0.5, eps=0.1, attack="spatial", norm="flow", steps=20)
    guessed = attacked(0.2, eps=0.1, attack="spsa", steps=20)
    rows = pd.concat([single, many])
    assert CHECKS["one step"](rows).passed is None
    assert CHECKS["gradient free"](pd.concat([many, guessed])).passed is None


def test_names_people_use() -> None:
    assert attack_name("fgsm", "10") == "FGSM-10"
    assert attack_name("mean", "mean") == "MEAN"
    assert attack_name("pgd", "mean") == "PGD-MEAN"
    assert attack_name("pgd (start uniform)", "5") == "PGD-5 (start uniform)"
    assert attack_name("mine.attacks:noise", "") == "noise"


def test_a_doubt_names_the_model_and_the_loss_where_there_are_several() -> None:
    worse = attacked(0.9, eps=0.1)  # ten draws leave more than one
    sentences = {finding.check: finding.sentence for finding in check(run(many_small=worse))}
    assert "(FGSM from 1 to 10 draws at eps 0.1)" in sentences["more draws"]
    other = [run().assign(model="n"), attacked(0.5, eps=0.1, draws="2", loss="margin").assign(model="m")]
    sentences = {finding.check: finding.sentence for finding in check(pd.concat([run(many_small=worse), *other]))}
    assert "(m, FGSM (cw) from 1 to 10 draws at eps 0.1)" in sentences["more draws"]


def test_draws_of_which_there_are_a_few_cannot_be_disjoint() -> None:
    few = run().assign(shared_draws=-1.0, model="chains")
    for rows in (few, pd.concat([few, run().assign(shared_draws=0.0)])):  # a plain network beside them proves nothing
        finding = next(finding for finding in check(rows) if finding.check == "disjoint draws")
        assert finding.passed is None
        assert "The draws of chains are a few networks, all of which an attack may know" in finding.sentence
    shared = check(pd.concat([few, run().assign(shared_draws=3.0)]))
    assert next(finding for finding in shared if finding.check == "disjoint draws").passed is False
