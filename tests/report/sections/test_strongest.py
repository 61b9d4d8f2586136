"""The strongest attack of each size."""

from __future__ import annotations

from synthetic import attacked, clean, curves, source

from unshaken.evaluation.statistics import accuracy
from unshaken.report.sections.strongest import strongest_section


def test_each_eps_has_its_strongest_attack_with_its_loss():
    run = source(
        clean("m"),
        attacked("m", "MEAN", {0.1: 50, 0.2: 0}),
        attacked("m", "MOMENTS", {0.1: 40, 0.2: 3}, loss="log_error"),
        attacked("m", "FGSM-10", {0.1: 45, 0.2: 0}),
    )
    (table,) = strongest_section(run, curves(run)).tables
    rows = run.rows[(run.rows.attack == "moments") & (run.rows.eps == 0.1)]
    assert table.head == ["eps", "attack", "loss", "accuracy"]
    assert table.body[0] == ["0.1", "MOMENTS", "log_error", str(accuracy(rows))]
    assert table.body[1][:3] == ["0.2", "MEAN and 1 other", "cw"]
    assert table.data.others_equal.tolist() == [0, 1]


def test_models_are_named_where_there_are_several_and_one_attack_has_no_table():
    parts = [attacked(model, label, {0.1: n}) for model, label, n in (("b", "MEAN", 9), ("b", "FGSM-1", 8))]
    run = source(*parts, *(attack.assign(model="a") for attack in parts))
    (table,) = strongest_section(run, curves(run)).tables
    assert [row[:3] for row in table.body] == [["b", "0.1", "FGSM-1"], ["a", "0.1", "FGSM-1"]]
    alone = source(parts[0])
    assert strongest_section(alone, curves(alone)) is None
