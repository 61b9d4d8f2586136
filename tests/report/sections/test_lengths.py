"""Lengths of attacks beside the allowed one, the published one, and inputs that were not moved."""

from __future__ import annotations

import pandas as pd
import pytest
from synthetic import conditions, conditions_run, source

from unshaken.evaluation.statistics import accuracy, mean
from unshaken.report.sections.lengths import lengths_section
from unshaken.report.wording import percent


def test_the_table_has_the_mean_length_and_the_share_that_was_not_moved():
    rows = conditions("m", inference=(5, 100))
    section = lengths_section(conditions_run(rows), [])
    (table,) = section.tables
    assert section.position == "tables"
    assert table.head == ["attack", "allowed", "mean length", "not moved"]
    attacked = rows[(rows.attack == "FGM-10") & (rows.eps == 1) & (rows.inference_draws == 5)]
    length = mean(attacked.pivot(index="index", columns="repeat", values="length").to_numpy())
    assert table.body[1] == ["FGM-10", "1", str(length), str(accuracy(attacked.assign(correct=attacked.length == 0)))]
    assert table.data.groupby("attack", sort=False).eps.apply(list).tolist() == [[0.5, 1.0]] * 3
    assert 0 < table.data.zero.max() < 0.2


def test_published_lengths_stand_beside_those_of_their_size():
    paper = {"eps": 0.5, "length": {"im": {"lengths": {"FGM-1": 0.4567}}}, "source": "D (2022), table 1"}
    (table,) = lengths_section(conditions_run(conditions("im"), conditions("vmg"), paper=paper), []).tables
    assert table.head == ["model", "attack", "allowed", "mean length", "not moved", "published"]
    assert [row[-1] for row in table.body] == ["0.457", "", "", "", "", ""]
    assert {row[2] for row in table.body} == {"0.5"}
    assert table.data.published.notna().sum() == 1
    assert table.note.endswith("Published in D (2022), table 1.")


def test_the_sentence_sets_the_fewest_draws_beside_the_most():
    rows = conditions("m")
    (sentence,) = lengths_section(conditions_run(rows), []).sentences
    few, most = (rows[(rows.attack == f"FGM-{k}") & (rows.eps == 1)] for k in (1, 100))
    tables = [attacked.pivot(index="index", columns="repeat", values="length").to_numpy() for attacked in (few, most)]
    gap = mean(tables[0] - tables[1])
    assert sentence.startswith(
        f"FGM-1 moves inputs by {few.length.mean():.3f} on average where eps 1 is allowed and FGM-100 by "
        f"{most.length.mean():.3f}: difference {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]; they do not move "
    )
    shares = [percent((attacked.length == 0).mean()) for attacked in (few, most)]
    assert sentence.endswith(f"they do not move {shares[0]} and {shares[1]} of the inputs at all.")


def test_an_attack_seen_by_several_numbers_of_inference_draws_does_not_hide_the_others():
    rows = pd.concat([conditions("m", attacks=("FGM-1",), inference=(1, 5)), conditions("m")], ignore_index=True)
    (sentence,) = lengths_section(conditions_run(rows), []).sentences
    assert "FGM-100 by" in sentence


def test_inputs_that_were_all_moved_are_not_spoken_of():
    rows = conditions("m").assign(length=0.9)
    (sentence,) = lengths_section(conditions_run(rows), []).sentences
    assert sentence.endswith("FGM-100 by 0.900: the two agree on every input.")


@pytest.mark.parametrize("attacks", [("FGM-10",), ("FGM-10", "MEAN")])
def test_without_two_numbers_of_draws_there_is_a_table_alone(attacks):
    section = lengths_section(conditions_run(conditions("m", attacks=attacks)), [])
    assert section.sentences == []
    assert [row[0] for row in section.tables[0].body] == list(attacks)


def test_a_run_without_the_analysis_has_no_section():
    assert lengths_section(source(), []) is None
