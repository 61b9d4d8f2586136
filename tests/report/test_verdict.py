"""The verdict: its numbers, what it says of MEAN, and every reason for doubt."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd
import pytest
from synthetic import run_record

from unshaken.evaluation.checks import Finding
from unshaken.evaluation.statistics import accuracy
from unshaken.report.accuracy import accuracy_table, panels
from unshaken.report.doubts import doubts
from unshaken.report.sections import sections
from unshaken.report.stored_run import StoredRun, load_run
from unshaken.report.verdict import check_summary, verdict


@pytest.fixture
def source(finished):
    return load_run(finished)


def verdict_of(source: StoredRun) -> list[str]:
    """The verdict on a run with everything that its page has."""
    curves = panels(accuracy_table(source.rows))
    return verdict(source, curves, sections(source, curves))


def verdict_on(source: StoredRun, rows: pd.DataFrame, **changes: Any) -> list[str]:
    """The verdict on a run with other rows."""
    return verdict_of(dataclasses.replace(source, rows=rows, **changes))


def test_the_verdict_gives_clean_and_attacked_accuracy(source):
    *rest, first = verdict_of(source)
    rows = source.rows[source.rows.role == "sweep"]
    assert f"accuracy on 200 test inputs of digits is {accuracy(rows[rows.attack == 'none'])}." in first
    assert "Under PGD-10, the strongest of the four attacks" in first
    for eps in (0.02, 0.15, 0.2):
        assert f"{accuracy(rows[(rows.attack == 'pgd') & (rows.eps == eps)])} at eps {eps}" in first
    assert "where FGSM-10 leaves" in first
    assert rest == ["All seven checks that could be made pass; not made: black box, gradient free, more steps."]


@pytest.mark.parametrize(
    ("right", "phrase"), [(True, "MEAN is the weaker attack there"), (False, "MEAN is the stronger attack there")]
)
def test_mean_is_compared_with_the_most_draws(source, right, phrase):
    rows = source.rows.copy()
    rows.loc[(rows.attack == "mean") & (rows["index"] % 3 > 0), "correct"] = right
    assert phrase in verdict_on(source, rows)[-1]


def test_moments_is_compared_too_and_mean_with_the_loss_of_the_draws(source):
    rows = source.rows
    moments = rows[rows.attack == "mean"].assign(attack="moments", attack_draws="moments", correct=False)
    weak = rows[rows.attack == "mean"].assign(loss="cw", correct=True)
    sentence = verdict_on(source, pd.concat([weak, rows, moments]))[-2]
    assert "MEAN (log_error), which attacks one average network, leaves" in sentence
    assert " MOMENTS, which takes one pass of means and variances, leaves 0.000 at eps" in sentence
    assert "MOMENTS is the stronger attack there" in sentence


def test_a_model_that_guesses_has_no_word_on_its_robustness(source):
    rows = source.rows.assign(correct=source.rows["index"] % 10 == 0)
    last = verdict_on(source, rows)[-1]
    assert "not surely better than chance: accuracy under attack says nothing" in last
    assert "Under PGD-10" not in last


def test_the_sections_speak_after_the_models(source):
    rows = pd.DataFrame({"attack": "MEAN", "round": [0, 1], "seconds": [0.02, 0.04], "model": "m", "analysis": "time"})
    sentences = verdict_on(source, source.rows, analyses={"attack_time": rows})
    assert sentences[-1] == "One batch takes MEAN 30.0 ms."
    guessing = source.rows.assign(correct=source.rows["index"] % 10 == 0)
    assert verdict_on(source, guessing, analyses={"attack_time": rows})[-2] == sentences[-1]


def test_equal_attacks_are_called_equal(source):
    rows = source.rows[source.rows.attack.isin(["none", "mean"])]
    copied = rows[rows.attack == "mean"].assign(attack="fgsm", attack_draws="10")
    both = rows.merge(copied, how="outer")
    assert "the two agree on every input" in verdict_on(source, both)[-1]
    assert "MEAN, which attacks" not in verdict_on(source, rows)[-1]
    assert "Under MEAN, the only attack" in verdict_on(source, rows)[-1]


def test_attacks_without_a_common_size_or_repeat_are_not_compared(source):
    rows = source.rows
    apart = rows[(rows.attack != "mean") | (rows.eps != 0.15)]
    assert "MEAN, which attacks" not in verdict_on(source, apart)[-1]
    assert "at eps 0." in verdict_on(source, rows[rows.eps.isin([0.0, 0.02])].assign(role="sweep"))[-1]
    assert "at eps 0." in verdict_on(source, rows[rows.eps == 0].assign(role="sweep"))[-1]


def test_several_models_have_a_paragraph_each(source):
    rows = source.rows.merge(source.rows.assign(model="wide"), how="outer")
    sentences = verdict_on(source, rows)
    assert [line.split(":")[0] for line in sentences[-2:]] == ["mean_field", "wide"]


def test_one_repeat_few_inputs_and_missing_units_are_doubts(source):
    few = source.rows[(source.rows.repeat == 0) & (source.rows["index"] < 60)]
    unit = {"name": "", "kind": "attack", "model": "mean_field", "error": None}
    units = [
        unit | {"label": "mean_field PGD-10 r0", "status": "failed", "error": "RuntimeError: out of memory"},
        unit | {"label": "mean_field PGD-10 r1", "status": "failed", "error": "RuntimeError: out of memory"},
        unit | {"label": "MEAN", "status": "skipped"},
        unit | {"label": "FGSM-1", "status": "waiting"},
        unit | {"kind": "train", "label": "mean_field", "status": "failed", "error": "loss is nan."},
        unit | {"label": "FGSM-5", "status": "done"},
    ]
    assert doubts(dataclasses.replace(source, record=run_record(units=units), rows=few)) == [
        "Each input was predicted with one set of draws only (one repeat), so the intervals cover the choice of inputs "
        "but not the luck of the draws.",
        "Only 60 inputs were attacked, so every interval is wide.",
        "PGD-10 on mean_field failed (2 units): RuntimeError: out of memory.",
        "MEAN on mean_field could not start.",
        "FGSM-1 on mean_field has not been run yet.",
        "The training of mean_field failed: loss is nan.",
    ]
    assert doubts(dataclasses.replace(source, record=run_record(units=units[-1:]))) == []
    waiting = [unit | {"label": f"PGD-{k}", "model": m, "status": "waiting"} for k in (1, 2) for m in ("a", "b")]
    assert doubts(dataclasses.replace(source, record=run_record(units=[units[2], *waiting]))) == [
        "MEAN on mean_field could not start.",
        "4 units have not been run yet, on a and b.",
    ]


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ([True, True], "All two checks pass."),
        ([False, True, None], "1 of 2 checks raises a doubt: check 0."),
        ([False, False, True], "2 of 3 checks raise a doubt: check 0, check 1."),
        ([True, True, None], "All two checks that could be made pass; not made: check 2."),
        ([None, None], "No check could be made: check 0, check 1."),
        ([], "There are no rows to check yet."),
    ],
)
def test_the_checks_in_one_sentence(states, sentence):
    assert check_summary([Finding(f"check {i}", state, "") for i, state in enumerate(states)]) == sentence


def test_a_failed_check_is_said_in_the_terminal_before_any_result(source):
    rows = source.rows.assign(shared_draws=3)
    sentences = verdict_on(source, rows)
    assert sentences[0] == "1 of 7 checks raises a doubt: disjoint draws."
    assert sentences[1].startswith("Attack and inference share draws")


def test_a_run_without_rows_says_so(source):
    sentences = verdict_on(source, source.rows.head(0))
    assert sentences[-1].startswith("No attack has finished yet")


def test_two_repeats_and_a_clean_accuracy_like_chance_are_doubts(source):
    two = source.rows[source.rows.repeat < 2]
    assert any(line.startswith("There are two repeats only") for line in doubts(dataclasses.replace(source, rows=two)))
    guessed = source.rows.assign(correct=source.rows["index"] % 10 == 0)
    assert any(
        "mean_field is not surely better than chance" in line
        for line in doubts(dataclasses.replace(source, rows=guessed))
    )
