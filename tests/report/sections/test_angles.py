"""Angles under attacks with more and more draws: numbers, boxes and what is written of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from synthetic import conditions, conditions_run, source

from unshaken.evaluation.statistics import Interval, mean
from unshaken.report.condition_rows import attacked_rows, reported_eps
from unshaken.report.drawing import COLOURS, MEAN_COLOUR
from unshaken.report.sections.angles import angles_by_model, angles_figure, angles_section

MIXED = ("FGM-1", "FGM-10", "PGD-1", "PGD-10", "MEAN", "FGM-10 (loss cw)")


def table_of(rows: pd.DataFrame, attack: str) -> pd.DataFrame:
    """The cosine at eps 1, inputs x repeats."""
    chosen = rows[(rows.attack == attack) & (rows.eps == 1)]
    return chosen.pivot(index="index", columns="repeat", values="cosine")


def interval(table: pd.DataFrame, **settings) -> Interval:
    """Over the inputs that were moved in all repeats."""
    return mean(table.dropna().to_numpy(), **settings)


def test_the_table_has_the_numbers_at_the_largest_size_without_inputs_that_were_not_moved():
    rows = conditions("m")
    fewer = conditions("m", inference=(5,))
    (table,) = angles_section(conditions_run(fewer, rows), []).tables
    assert set(table.data.inference_draws) == {100}
    assert table.head == ["attack", "mean cosine", "median", "quartiles", "n"]
    assert table.data.attack.tolist() == ["FGM-1", "FGM-10", "FGM-100"]
    assert set(table.data.eps) == {1.0}
    for line in table.data.itertuples():
        moved = rows[(rows.attack == line.attack) & (rows.eps == 1)].dropna(subset="cosine")
        assert (line.cosine, line.low, line.high) == pytest.approx(interval(table_of(rows, line.attack)))
        assert line.median == pytest.approx(moved.cosine.median())
        assert line.n == moved["index"].nunique()
    assert table.note.startswith("At eps 1.")


def test_the_sentence_sets_the_most_draws_beside_the_fewest_paired_by_input():
    rows = conditions("m")
    (sentence,) = angles_section(conditions_run(rows), []).sentences
    most, fewest = (rows[(rows.attack == f"FGM-{k}") & (rows.eps == 1)] for k in (100, 1))
    gap = interval(table_of(rows, "FGM-100") - table_of(rows, "FGM-1"))
    assert sentence == (
        f"At eps 1 the mean cosine between attack and margin gradient is {most.cosine.mean():.3f} under FGM-100 and "
        f"{fewest.cosine.mean():.3f} under FGM-1: difference {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]."
    )


def test_models_are_set_beside_the_first_under_the_attack_with_the_most_draws():
    a, b, c = conditions("a"), conditions("bb", shift=0.2), conditions("a").assign(model="c")
    sentence = angles_section(conditions_run(a, b, c), []).sentences[-1]
    gap = interval(table_of(b, "FGM-100") - table_of(a, "FGM-100"), level=1 - 0.05 / 2)
    first = a[(a.attack == "FGM-100") & (a.eps == 1)].cosine.mean()
    assert sentence.startswith(f"Under FGM-100 at eps 1 the mean cosine is {first:.3f} on a and ")
    assert f"on bb: difference {gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]; " in sentence
    assert sentence.endswith(f"{first:.3f} on c: the two agree on every input.")


def test_no_difference_beyond_chance_is_called_so():
    rows = conditions("m", attacks=("FGM-1", "FGM-10"))
    swapped = rows[rows.attack == "FGM-1"].cosine.to_numpy()
    rows.loc[rows.attack == "FGM-10", "cosine"] = np.roll(swapped, 30)
    (sentence,) = angles_section(conditions_run(rows), []).sentences
    assert ": no difference beyond chance (difference " in sentence


def test_the_published_size_is_taken_where_it_was_run():
    rows = conditions("m", eps=(0.5, 1.0, 2.0))
    assert reported_eps(rows, conditions_run(rows, paper={"eps": 1.0})) == 1.0
    assert reported_eps(rows, conditions_run(rows, paper={"eps": 1.5})) == 2.0
    assert reported_eps(rows, conditions_run(rows)) == 2.0
    (table,) = angles_section(conditions_run(rows, paper={"eps": 0.5}), []).tables
    assert set(table.data.eps) == {0.5}


def test_an_attack_of_two_analyses_is_taken_once_from_the_first():
    rows = conditions("m")
    again = rows.assign(analysis="again", cosine=0.9)
    more = conditions("m", attacks=("FGM-1000",), analysis="again")
    attacked = attacked_rows(conditions_run(rows, pd.concat([again, more])))
    assert len(attacked) == len(rows) + len(more)
    assert attacked.cosine.max() < 0.9


def test_one_attack_or_no_rows_have_no_section():
    assert angles_section(conditions_run(conditions("m", attacks=("FGM-1",))), []) is None
    assert angles_section(source(), []) is None


@pytest.mark.parametrize("narrow", [True, False])
def test_each_model_has_axes_with_a_box_for_each_attack(narrow):
    rows = [conditions(model, attacks=MIXED, eps=(1.0,)) for model in ("a", "b")]
    figure = angles_figure(angles_by_model(attacked_rows(conditions_run(*rows))), narrow=narrow)
    assert [axis.get_title("left") for axis in figure.axes] == ["a", "b"]
    ticks = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert ticks == ["FGM\n1", "FGM\n10", "PGD\n1", "PGD\n10", "MEAN", "FGM\n10\nloss\ncw"]
    drawn = figure.axes[0].get_lines()
    means = [line.get_ydata()[0] for line in drawn if line.get_marker() == "o"]
    assert means == pytest.approx([rows[0][rows[0].attack == attack].cosine.mean() for attack in MIXED])
    hues = [to_hex(line.get_color()) for line in drawn if line.get_linewidth() == 2.6]
    assert hues[1] == COLOURS["fgm"]
    assert hues[3] == COLOURS["pgd"]
    assert hues[4] == MEAN_COLOUR
    assert hues[0] not in hues[1:]


def test_attacks_of_one_kind_are_named_by_their_draws_alone():
    (axis,) = angles_figure(angles_by_model(conditions("m", eps=(1.0,)))).axes
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1", "10", "100"]
    assert axis.get_xlabel() == "draws of the attack (FGM)"
    assert axis.get_title("left") == ""
