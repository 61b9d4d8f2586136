"""Models side by side: accuracy, training times, and which are surely better than the one trained against MEAN."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_hex
from synthetic import attacked, clean, curves, source, trained

from unshaken.evaluation.statistics import accuracy, difference
from unshaken.report.accuracy import shared_attacks
from unshaken.report.drawing import MEAN_COLOUR, MOMENTS_COLOUR
from unshaken.report.page import page
from unshaken.report.sections.models import Models, models_figure, models_section, select_attacks
from unshaken.report.verdict import results

LEFT = {"none": (10, 5), "MEAN": (50, 40), "FGSM-2": (52, 41), "FGSM-10": (49, 39), "PGD-5": (70, 60)}
PAPER = {"source": "A (2020), table 3", "training": {"digits": {"PGD-5": 3.4179}}}


def run(left: dict[str, tuple[int, int]] = LEFT, **content):
    parts = []
    for model, (five, fifteen) in left.items():
        parts.append(clean(model, 90, saturated=5 if model == "none" else 0))
        parts.append(attacked(model, "PGD-5", {0.05: [five + 12, five + 10, five + 8], 0.1: five}))
        parts.append(attacked(model, "PGD-15", {0.05: fifteen + 10, 0.1: fifteen}))
    seconds = dict(zip(left, (100.0, 134.0, 144.0, 208.0, 592.0), strict=False))
    settings = {"units": trained(**seconds), "data": {"name": "digits", "classes": 10}, "paper": PAPER}
    return source(*parts, **(settings | content))


def test_attacks_in_common_keep_the_order_of_the_models():
    attacks = shared_attacks(curves(run()))
    assert [attack.label for attack in attacks] == ["PGD-5", "PGD-15"]
    assert all(list(attack.curves) == list(LEFT) for attack in attacks)
    assert attacks[0].informative() == 0.1  # the mean over models falls from .562 to .462, of .9 without an attack
    assert models_section(source(clean("m"), attacked("m", "MEAN", {0.1: 5})), []) is None


def test_the_table_has_accuracy_training_time_and_saturation():
    source = run()
    section = models_section(source, curves(source))
    (table,) = section.tables
    assert table.head == [
        "model",
        "no attack",
        "PGD-5, eps 0.1",
        "PGD-15, eps 0.1",
        "better / worse than MEAN",
        "saturated",
        "training, s",
        "training time over MEAN",
        "published",
    ]
    five = source.rows[(source.rows.model == "PGD-5") & (source.rows.eps == 0.1) & (source.rows.attack_draws == "5")]
    interval = accuracy(five)
    assert table.body[4] == [
        "PGD-5",
        str(accuracy(source.rows[(source.rows.model == "PGD-5") & (source.rows.attack == "none")])),
        f"0.700 ± 0.000 [{interval.low:.3f}, {interval.high:.3f}]",
        table.body[4][3],
        "4 / 0 of 4",
        "0 %",
        "592",
        "+342 %",
        "+342 %",
    ]
    assert [row[0] for row in table.body] == list(LEFT)
    assert table.body[0][4:] == ["0 / 4 of 4", "10 %", "100", "-25 %", ""]
    assert table.body[1][4:] == ["", "0 %", "134", "", ""]
    data = table.data.set_index("model")
    assert data.training_to_mean["PGD-5"] == pytest.approx(592 / 134)
    assert data["PGD-5, eps 0.05"].to_dict() == pytest.approx({m: (five + 10) / 100 for m, (five, _) in LEFT.items()})
    assert data.saturated.to_dict() == {"none": 0.1, "MEAN": 0, "FGSM-2": 0, "FGSM-10": 0, "PGD-5": 0}


def test_scores_are_paired_differences_at_a_shared_level():
    source = run()
    models = Models(source, shared_attacks(curves(source)))
    for model in LEFT:
        if model == "MEAN":
            assert model not in models.scores
            continue
        changes = []
        for draws in ("5", "15"):
            for eps in (0.05, 0.1):
                rows = source.rows[(source.rows.attack_draws == draws) & (source.rows.eps == eps)]
                ours, base = rows[rows.model == model], rows[rows.model == "MEAN"]
                changes.append(difference(ours, base, level=1 - 0.05 / 4))
        score = models.scores[model]
        assert score.better == sum(change.low > 0 for change in changes)
        assert score.worse == sum(change.high < 0 for change in changes)
        assert score.of == 4


def test_the_sentence_names_who_is_better_everywhere_and_its_cost():
    source = run()
    ranges, beside = models_section(source, curves(source)).sentences
    assert ranges == (
        "The accuracy of the 5 models goes from 0.900 (none) to 0.900 (none) without an attack, from 0.100 (none) to "
        "0.700 (PGD-5) under PGD-5 at eps 0.1 and from 0.050 (none) to 0.600 (PGD-5) under PGD-15 at eps 0.1."
    )
    assert beside == (
        "Beyond chance at every eps under PGD-5 and PGD-15, PGD-5 (4.4 times its training time) is more robust than "
        "MEAN; none is less robust everywhere."
    )


def test_nobody_better_everywhere_is_said_with_who_comes_nearest():
    source = run({"MEAN": (50, 40), "MOMENTS": (70, 40), "FGSM-1": (49, 40)})
    (beside,) = models_section(source, curves(source)).sentences
    assert beside.startswith(
        "No model is more robust than MEAN beyond chance at every eps under PGD-5 and PGD-15; MOME"
    )
    assert beside.endswith("MOMENTS (1.3 times its training time) is at 2 of 4 pairs of attack and eps.")


def test_nobody_better_anywhere_is_said_so():
    source = run({"MEAN": (50, 40), "FGSM-1": (20, 40)})
    (beside,) = models_section(source, curves(source)).sentences
    assert beside == "No model is more robust than MEAN beyond chance at any eps under PGD-5 and PGD-15."


def test_models_without_one_named_mean_have_no_such_column():
    source = run({"dense": (50, 40), "cnn": (60, 50)}, paper={})
    section = models_section(source, curves(source))
    assert section.sentences == []
    assert section.position == "figures"
    assert section.tables[0].head == ["model", "no attack", "PGD-5, eps 0.1", "PGD-15, eps 0.1", "training, s"]


@pytest.mark.parametrize("narrow", [True, False])
def test_the_figure_has_a_line_for_each_model_from_the_clean_accuracy_on(narrow):
    source = run({**LEFT, "MOMENTS": (55, 45)})
    figure = models_figure(shared_attacks(curves(source)), narrow=narrow)
    assert [axis.get_title("left") for axis in figure.axes] == ["under PGD-5", "under PGD-15"]
    lines = {to_hex(line.get_color()): line for line in figure.axes[0].get_lines()}
    assert list(lines[MEAN_COLOUR].get_xdata()) == [0, 0.05, 0.1]
    assert list(lines[MEAN_COLOUR].get_ydata()) == pytest.approx([0.9, 0.6, 0.5])
    assert list(lines[MOMENTS_COLOUR].get_ydata()) == pytest.approx([0.9, 0.65, 0.55])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["none", "FGSM-2", "FGSM-10", "PGD-5", "MEAN", "MOMENTS"]


def test_of_many_attacks_the_strongest_mean_and_moments_are_shown():
    left = {"MEAN": 50, "MOMENTS": 40, "FGSM-1": 60, "FGSM-10": 45, "PGD-5": 30, "PGD-15": 20}
    parts = [attacked(model, label, {0.1: n}) for model in ("a", "b") for label, n in left.items()]
    naive = [attacked(model, "MEAN", {0.1: 70}, loss="naive_cross_entropy") for model in ("a", "b")]
    panels = curves(source(*naive, *parts))
    assert [attack.label for attack in select_attacks(shared_attacks(panels), panels)] == [
        "MEAN (cw)",
        "MOMENTS",
        "PGD-15",
    ]


def test_many_models_come_first_and_fold_the_others_away():
    source = run()
    panels = curves(source)
    section = models_section(source, panels)
    assert section.position == "first"
    assert results(source, panels, [section]) == [("", sentence) for sentence in section.sentences]
    text = page(source, panels, {}, [section])
    assert text.index('id="models"') < text.index('id="single"') < text.index('id="accuracy"')
    assert text.count("<details>") == text.count("</details>") == 2
    few = run({"MEAN": (50, 40), "PGD-5": (60, 50)})
    assert "<details>" not in page(few, curves(few), {}, [models_section(few, curves(few))])


def test_a_model_that_was_not_trained_has_no_training_time():
    models = [{"label": label, "training": {} if label == "MEAN" else None} for label in LEFT]
    source = run(recipe={"models": models})
    compared = Models(source, shared_attacks(curves(source)))
    assert compared.seconds == {"MEAN": 134.0}
    assert np.isclose(compared.relative["MEAN"], 1)
