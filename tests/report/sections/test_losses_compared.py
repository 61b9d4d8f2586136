"""The same attack with several losses: shares of zero gradients and of saturated predictions, and what they cost."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic import attacked, clean, curves, run_record, source

from unshaken.evaluation.statistics import difference
from unshaken.report.figures import accuracy_figure
from unshaken.report.sections.losses import compare_losses, losses_figure, losses_section

NAIVE = "naive_cross_entropy"


def run(model: str = "m"):
    """19 of 50 draws are saturated on every clean input; the naive loss cannot move 60 of 100 inputs."""
    naive = attacked(model, "MEAN", {0.05: 80, 0.1: 61}, loss=NAIVE)
    return source(
        clean(model, saturated=19),
        naive.assign(zero_gradient=(naive["index"] < 60).astype(float)),
        attacked(model, "MEAN", {0.05: 60, 0.1: 12}, loss="log_error"),
        attacked(model, "FGSM-10", {0.05: 82, 0.1: 70}, loss=NAIVE, zero_gradient=float("nan")),
        attacked(model, "FGSM-10", {0.05: 62, 0.1: 14}, loss="log_error"),
        attacked(model, "PGD-5", {0.05: 62, 0.1: 14}, loss="log_error"),
    )


def test_shares_are_of_inputs_and_of_single_draws():
    source = run()
    (panel,) = curves(source)
    comparison = compare_losses(panel, source.rows)
    assert comparison.saturated == pytest.approx(0.38)
    assert [family.name for family in comparison.families] == ["MEAN", "FGSM-10"]
    assert comparison.families[0].zero == {NAIVE: pytest.approx(0.6), "log_error": 0}
    assert comparison.families[1].zero[NAIVE] != comparison.families[1].zero[NAIVE]
    assert comparison.names() == ["log_error", NAIVE]


def test_the_sentence_has_saturation_and_both_accuracies():
    source = run()
    (sentence,) = losses_section(source, curves(source)).sentences
    rows = source.rows[(source.rows.attack == "mean") & (source.rows.eps == 0.1)]
    change = difference(rows[rows.loss == NAIVE], rows[rows.loss == "log_error"])
    assert sentence == (
        "38 % of the clean predictions of single draws are saturated; under MEAN at eps 0.1, naive_cross_entropy "
        f"leaves 0.610 where log_error leaves 0.120: difference +0.490 [{change.low:+.3f}, {change.high:+.3f}]."
    )


def test_equal_losses_are_called_equal_and_without_a_naive_one_the_weakest_is_compared():
    parts = [attacked("m", "MEAN", {0.1: n}, loss=loss) for loss, n in (("cw", 20), ("log_error", 20))]
    same = source(clean("m"), *parts)
    assert losses_section(same, curves(same)).sentences[0].endswith("the two agree on every input.")
    apart = source(clean("m"), parts[0], attacked("m", "MEAN", {0.1: 50}, loss="log_error"))
    assert "log_error leaves 0.500 where cw leaves 0.200" in losses_section(apart, curves(apart)).sentences[0]


def test_the_table_has_a_line_for_each_attack_and_loss():
    source = run()
    (table,) = losses_section(source, curves(source)).tables
    assert [row[:4] for row in table.body] == [
        ["MEAN", NAIVE, "60 %", "0.1"],
        ["MEAN", "log_error", "0 %", "0.1"],
        ["FGSM-10", NAIVE, "", "0.1"],
        ["FGSM-10", "log_error", "0 %", "0.1"],
    ]
    assert [row[4][:5] for row in table.body] == ["0.610", "0.120", "0.700", "0.140"]
    assert set(table.data.saturated.round(3)) == {0.38}


@pytest.mark.parametrize("narrow", [True, False])
def test_the_figure_has_curves_and_bars_for_each_model(narrow):
    comparisons = [compare_losses(panel, one.rows) for one in (run("a"), run("b")) for panel in curves(one)]
    figure = losses_figure(comparisons, narrow=narrow)
    assert len(figure.axes) == 4
    lines = [list(line.get_ydata()) for line in figure.axes[0].get_lines()]
    assert lines == [pytest.approx(y) for y in ([0.8, 0.61], [0.6, 0.12], [0.82, 0.7], [0.62, 0.14])]
    widths = [bar.get_width() for bar in figure.axes[1].patches]
    assert widths == pytest.approx([0.6, 0, 0, 0, 0.38])
    assert [text.get_text() for text in figure.axes[1].texts] == ["60 %", "0 %", "unknown", "0 %", "38 %"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["log_error", NAIVE, "FGSM-10", "MEAN"]


def test_the_curves_of_a_run_show_each_attack_with_its_strongest_loss():
    figure = accuracy_figure(curves(run()))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["no attack", "FGSM-10 (log_error)", "PGD-5", "MEAN (log_error)"]


def test_attacks_with_one_loss_have_no_section():
    one = source(clean("m"), attacked("m", "MEAN", {0.1: 5}), attacked("m", "FGSM-1", {0.1: 5}, loss="log_error"))
    assert losses_section(one, curves(one)) is None


def test_the_naive_loss_is_last_and_the_others_keep_the_order_of_the_recipe():
    parts = [attacked("m", "MEAN", {0.1: 50}, loss=loss) for loss in ("z_loss", NAIVE, "cw")]
    run = source(clean("m"), *parts)
    assert compare_losses(curves(run)[0], run.rows).names() == ["z_loss", "cw", NAIVE]


def test_one_network_of_each_setting_is_told_of_and_all_are_in_the_table():
    parts = [run(f"m, seed {seed}") for seed in (0, 1)]
    models = [{"label": f"m, seed {seed}", "group": "m", "seed": seed} for seed in (0, 1)]
    both = source(*(one.rows for one in parts))
    both = replace(both, record=run_record(recipe={"models": models}))
    section = losses_section(both, curves(both))
    assert len(section.sentences) == 1
    assert section.sentences[0].startswith("On m, seed 0,")
    assert section.drawings[0].caption.endswith("One network of each setting.")
    assert set(section.tables[0].data.model) == {"m, seed 0", "m, seed 1"}
