"""Accuracy by number of inference draws: table, lines from the clean accuracy on, and the sentence."""

from __future__ import annotations

import pandas as pd
import pytest
from synthetic import conditions, conditions_run, source

from unshaken.evaluation.statistics import accuracy, mean
from unshaken.report.sections.inference import draw_sweeps, inference_figure, inference_section

COUNTS = (1, 5, 100)


def rows(model: str = "m", **settings) -> pd.DataFrame:
    return conditions(model, **{"attacks": ("FGM-1", "MEAN"), "inference": COUNTS, **settings})


def chosen(swept: pd.DataFrame, draws: int, eps: float = 1.0, attack: str = "FGM-1") -> pd.DataFrame:
    return swept[(swept.attack == attack) & (swept.eps == eps) & (swept.inference_draws == draws)]


def test_the_table_has_accuracy_without_an_attack_and_under_each():
    swept = rows()
    (table,) = inference_section(conditions_run(swept), []).tables
    assert table.head == ["inference draws", "no attack", "FGM-1, eps 1", "MEAN, eps 1"]
    fgm, at_mean = chosen(swept, 5), chosen(swept, 5, attack="MEAN")
    assert table.body[1] == [
        "5",
        str(accuracy(fgm)),
        str(accuracy(fgm.assign(correct=fgm.survived))),
        str(accuracy(at_mean.assign(correct=at_mean.survived))),
    ]
    assert [row[0] for row in table.body] == ["1", "5", "100"]
    line = table.data[(table.data.inference_draws == 100) & (table.data.attack == "FGM-1") & (table.data.eps == 0.5)]
    assert line.accuracy.item() == pytest.approx(chosen(swept, 100, 0.5).survived.mean())


def test_the_sentence_sets_the_fewest_and_the_next_beside_the_most():
    swept = rows()
    (sentence,) = inference_section(conditions_run(swept), []).sentences

    def gap(column: str, draws: int) -> str:
        tables = [
            chosen(swept, k).pivot(index="index", columns="repeat", values=column).to_numpy() * 1.0
            for k in (draws, 100)
        ]
        change = mean(tables[0] - tables[1], level=1 - 0.05 / 2)
        significant = change.low > 0 or change.high < 0
        text = f"difference {change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
        return text if significant else f"no difference beyond chance ({text})"

    parts = []
    for column in ("correct", "survived"):
        one, five, most = (chosen(swept, k)[column].mean() for k in COUNTS)
        parts.append(
            f"{one:.3f} with one inference draw where 100 give {most:.3f}: {gap(column, 1)}; {five:.3f} with 5: "
            f"{gap(column, 5)}."
        )
    assert sentence == f"Without an attack, accuracy is {parts[0]} Under FGM-1 at eps 1 it is {parts[1]}"


def test_no_difference_beyond_chance_is_called_so():
    swept = rows(inference=(5, 100))
    swept.loc[swept.inference_draws == 5, "survived"] = swept[swept.inference_draws == 100].survived.to_numpy()
    (sentence,) = inference_section(conditions_run(swept), []).sentences
    assert sentence.endswith("the two agree on every input.")
    swept.loc[swept.inference_draws == 5, "survived"] ^= swept["index"] == 3
    (sentence,) = inference_section(conditions_run(swept), []).sentences
    assert "no difference beyond chance" in sentence.partition("Under")[2]


def test_only_models_with_several_numbers_have_a_place():
    (sweep,) = draw_sweeps(conditions_run(conditions("one"), rows("several")))
    assert sweep.model == "several"
    assert inference_section(conditions_run(conditions("one")), []) is None
    assert inference_section(source(), []) is None


def test_one_size_has_a_table_and_no_figure():
    section = inference_section(conditions_run(rows(eps=(0.5,))), [])
    assert section.drawings == []
    assert section.tables[0].head[2] == "FGM-1, eps 0.5"


@pytest.mark.parametrize("narrow", [True, False])
def test_each_model_has_axes_with_a_line_for_each_number_from_the_clean_accuracy_on(narrow):
    swept = [rows("a"), rows("bb")]
    figure = inference_figure(draw_sweeps(conditions_run(*swept)), narrow=narrow)
    assert [axis.get_title("left") for axis in figure.axes] == ["a", "bb"]
    (line, *others) = figure.axes[1].get_lines()
    assert len(others) == 2
    assert list(line.get_xdata()) == [0, 0.5, 1]
    under = [chosen(swept[1], 1, eps).survived.mean() for eps in (0.5, 1.0)]
    assert list(line.get_ydata()) == pytest.approx([chosen(swept[1], 1).correct.mean(), *under])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one draw", "5 draws", "100 draws"]
    assert sum(line.get_color()) > sum(others[1].get_color())
