"""Accuracy by number of inference draws: table, lines from the clean accuracy on, and the sentence."""

from __future__ import annotations

import pandas as pd
import pytest
from synthetic import conditions, source

from unshaken.evaluation.statistics import accuracy, mean
from unshaken.report.sections.inference import inference_figure, inference_section, measured

COUNTS = (1, 5, 100)


def run(*parts: pd.DataFrame, **about):
    return source(analyses={"conditions": pd.concat(parts, ignore_index=True)}, **about)


def rows(model: str = "m", **settings) -> pd.DataFrame:
    return conditions(model, **{"attacks": ("FGM-1", "MEAN"), "inference": COUNTS, **settings})


def chosen(told: pd.DataFrame, draws: int, eps: float = 1.0, attack: str = "FGM-1") -> pd.DataFrame:
    return told[(told.attack == attack) & (told.eps == eps) & (told.inference_draws == draws)]


def test_the_table_has_accuracy_without_an_attack_and_under_each():
    told = rows()
    (table,) = inference_section(run(told), []).tables
    assert table.head == ["inference draws", "no attack", "FGM-1, eps 1", "MEAN, eps 1"]
    part, other = chosen(told, 5), chosen(told, 5, attack="MEAN")
    assert table.body[1] == [
        "5",
        str(accuracy(part)),
        str(accuracy(part.assign(correct=part.survived))),
        str(accuracy(other.assign(correct=other.survived))),
    ]
    assert [row[0] for row in table.body] == ["1", "5", "100"]
    line = table.data[(table.data.inference_draws == 100) & (table.data.attack == "FGM-1") & (table.data.eps == 0.5)]
    assert line.accuracy.item() == pytest.approx(chosen(told, 100, 0.5).survived.mean())


def test_the_sentence_sets_the_fewest_and_the_next_beside_the_most():
    told = rows()
    (sentence,) = inference_section(run(told), []).sentences

    def gap(column: str, draws: int) -> str:
        tables = [
            chosen(told, k).pivot(index="index", columns="repeat", values=column).to_numpy() * 1.0 for k in (draws, 100)
        ]
        change = mean(tables[0] - tables[1], level=1 - 0.05 / 2)
        known = change.low > 0 or change.high < 0
        text = f"difference {change.value:+.3f} [{change.low:+.3f}, {change.high:+.3f}]"
        return text if known else f"no difference beyond chance ({text})"

    parts = []
    for column in ("correct", "survived"):
        one, five, most = (chosen(told, k)[column].mean() for k in COUNTS)
        parts.append(
            f"{one:.3f} with one inference draw where 100 give {most:.3f}: {gap(column, 1)}; {five:.3f} with 5: "
            f"{gap(column, 5)}."
        )
    assert sentence == f"Without an attack, accuracy is {parts[0]} Under FGM-1 at eps 1 it is {parts[1]}"


def test_no_difference_beyond_chance_is_called_so():
    told = rows(inference=(5, 100))
    told.loc[told.inference_draws == 5, "survived"] = told[told.inference_draws == 100].survived.to_numpy()
    (sentence,) = inference_section(run(told), []).sentences
    assert sentence.endswith("the two agree on every input.")
    told.loc[told.inference_draws == 5, "survived"] ^= told["index"] == 3
    (sentence,) = inference_section(run(told), []).sentences
    assert "no difference beyond chance" in sentence.partition("Under")[2]


def test_only_models_with_several_numbers_have_a_place():
    (part,) = measured(run(conditions("one"), rows("several")))
    assert part.model == "several"
    assert inference_section(run(conditions("one")), []) is None
    assert inference_section(source(), []) is None


def test_one_size_has_a_table_and_no_figure():
    section = inference_section(run(rows(eps=(0.5,))), [])
    assert section.drawings == []
    assert section.tables[0].head[2] == "FGM-1, eps 0.5"


@pytest.mark.parametrize("narrow", [True, False])
def test_each_model_has_axes_with_a_line_for_each_number_from_the_clean_accuracy_on(narrow):
    told = [rows("a"), rows("bb")]
    figure = inference_figure(measured(run(*told)), narrow=narrow)
    assert [axis.get_title("left") for axis in figure.axes] == ["a", "bb"]
    (line, *others) = figure.axes[1].get_lines()
    assert len(others) == 2
    assert list(line.get_xdata()) == [0, 0.5, 1]
    under = [chosen(told[1], 1, eps).survived.mean() for eps in (0.5, 1.0)]
    assert list(line.get_ydata()) == pytest.approx([chosen(told[1], 1).correct.mean(), *under])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one draw", "5 draws", "100 draws"]
    assert sum(line.get_color()) > sum(others[1].get_color())
