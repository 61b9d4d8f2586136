"""Tables: their numbers against a plain recomputation, and how curves are told apart."""

from __future__ import annotations

import pandas as pd
import pytest

from unshaken.evaluation.statistics import accuracy
from unshaken.report.accuracy import SERIES, accuracy_table, grid, panels, point_at
from unshaken.report.stored_run import load_run
from unshaken.report.tables import cost_summary, cost_table
from unshaken.report.wording import eps_text
from unshaken.runs.record import UnitRecord


@pytest.fixture
def rows(finished):
    return load_run(finished).rows


def test_accuracy_csv_has_the_columns_and_the_plain_means(reported, rows):
    table = pd.read_csv(reported / "tables/accuracy.csv", keep_default_na=False)
    assert (
        ",".join(table) == "model,attack,norm,loss,attack_draws,steps,restarts,inference_draws,eps,n,accuracy,low,high"
    )
    swept = rows[rows.role == "sweep"]
    assert len(table) == len(swept.groupby(["attack", "attack_draws", "eps"])) == 21
    for line in table.itertuples():
        chosen = swept[(swept.attack == line.attack) & (swept.attack_draws == line.attack_draws)]
        chosen = chosen[chosen.eps == line.eps]
        assert line.accuracy == pytest.approx((chosen.predicted == chosen.label).mean())
        assert (line.low, line.high) == pytest.approx(accuracy(chosen)[1:])
        assert line.n == 200
    assert table[table.attack == "none"].eps.tolist() == [0]


def test_one_repeat_has_no_standard_deviation(rows):
    table = accuracy_table(rows[rows.repeat == 0])
    assert table.spread.isna().all()
    assert point_at(table[table.attack == "pgd"], 0.1).in_full() == str(point_at(table[table.attack == "pgd"], 0.1))


def test_repeats_csv_has_every_repeat_by_itself(reported, rows):
    table = pd.read_csv(reported / "tables/repeats.csv", keep_default_na=False)
    assert ",".join(table) == ",".join([*SERIES, "eps", "repeat", "n", "accuracy"])
    swept = rows[rows.role == "sweep"]
    assert len(table) == 21 * 3
    for line in table.itertuples():
        chosen = swept[(swept.attack == line.attack) & (swept.attack_draws == line.attack_draws)]
        chosen = chosen[(chosen.eps == line.eps) & (chosen.repeat == line.repeat)]
        assert (line.n, line.accuracy) == (200, pytest.approx(chosen.correct.mean()))


def test_check_rows_are_left_out(rows):
    assert rows.eps.max() == 1
    assert accuracy_table(rows).eps.max() == 0.2


def test_text_tables_say_the_same_as_the_csv(reported, rows):
    table = pd.read_csv(reported / "tables/accuracy.csv", keep_default_na=False)
    markdown = (reported / "tables/accuracy.md").read_text()
    latex = (reported / "tables/accuracy.tex").read_text()
    for line in table.itertuples():
        chosen = rows[(rows.attack == line.attack) & (rows.attack_draws == line.attack_draws) & (rows.eps == line.eps)]
        spread = chosen[chosen.role == "sweep"].groupby("repeat").correct.mean().std(ddof=1)
        interval = f"[{line.low:.3f}, {line.high:.3f}]"
        assert f"{line.accuracy:.3f} ± {spread:.3f} {interval}" in markdown
        assert f"{line.accuracy:.3f} {{\\footnotesize $\\pm$ {spread:.3f} {interval}}}" in latex
    widths = {row.count("|") for row in markdown.strip().splitlines()}
    assert len(widths) == 1
    assert {row.count("&") for row in latex.splitlines() if "&" in row} == {6}
    assert "\\toprule" in latex


def test_the_strongest_attack_is_the_lowest_on_average(rows):
    (panel,) = panels(accuracy_table(rows))
    means = {label: curve.accuracy.mean() for label, curve in panel.curves.items()}
    assert panel.strongest() == min(means, key=means.__getitem__) == "PGD-10"
    assert list(panel.curves) == ["FGSM-1", "FGSM-10", "PGD-10", "MEAN"]
    assert panel.title == ""


def test_an_attack_run_at_small_sizes_only_is_not_the_weakest_for_it(rows):
    small = rows[(rows.attack != "pgd") | (rows.eps < 0.06)]
    (panel,) = panels(accuracy_table(small))
    assert panel.strongest() == "PGD-10"
    points = grid(panel)["PGD-10"]
    assert len(points) > 2
    assert all((point is None) == (eps not in (0.02, 0.05)) for eps, point in points.items())


def test_curves_of_one_name_are_told_apart_by_loss_and_steps(rows):
    more = rows[rows.attack == "pgd"].assign(steps=40)
    (panel,) = panels(accuracy_table(pd.concat([rows, more])))
    assert {"PGD-10 (5 steps)", "PGD-10 (40 steps)", "FGSM-10"} < set(panel.curves)
    other = rows[rows.attack == "fgsm"].assign(loss="cw")
    (panel,) = panels(accuracy_table(pd.concat([rows, other])))
    assert {"FGSM-10 (cw)", "FGSM-10 (log_error)", "PGD-10"} < set(panel.curves)
    again = rows[rows.attack == "pgd"].assign(attack="pgd (start uniform)")
    (panel,) = panels(accuracy_table(pd.concat([rows, again, again.assign(restarts=5)])))
    assert {"PGD-10", "PGD-10 (start uniform, 1 restart)", "PGD-10 (start uniform, 5 restarts)"} < set(panel.curves)


def test_perturbations_of_other_models_are_no_curves(rows):
    transferred = rows[rows.attack == "pgd"].assign(role="transfer", source="other", correct=False)
    assert accuracy_table(pd.concat([rows, transferred])).equals(accuracy_table(rows))


def test_models_norms_and_inference_draws_are_panels_of_their_own(rows):
    l2 = rows[rows.attack == "mean"].assign(norm="l2")
    assert [p.title for p in panels(accuracy_table(pd.concat([rows, l2])))] == ["L∞ norm", "L2 norm"]
    wide = rows.assign(model="wide")
    titles = [p.title for p in panels(accuracy_table(pd.concat([rows, wide])))]
    assert titles == ["mean_field", "wide"]
    many = rows.assign(inference_draws=100)
    titles = [p.title for p in panels(accuracy_table(pd.concat([rows, many])))]
    assert titles == ["20 inference draws", "100 inference draws"]


@pytest.mark.parametrize(
    ("sizes", "texts"),
    [
        ([0, 0.05, 0.1], ["0", "0.05", "0.1"]),
        ([0, 2 / 255, 8 / 255], ["0", "2/255", "8/255"]),
        ([0.031372550874948502], ["8/255"]),  # stored in float32
        ([0.2, 1.0], ["0.2", "1"]),
    ],
)
def test_sizes_are_written_as_people_write_them(sizes, texts):
    assert list(eps_text(sizes).values()) == texts


def test_cost_is_relative_to_mean_on_the_same_model():
    names = ("name", "kind", "label", "model", "status", "seconds", "forwards", "gradients")
    units = [
        ("a", "train", "small", "small", "done", 9.0, 50, 0),
        ("b", "attack", "small clean r0", "small", "done", 1.0, 10, 0),
        ("c", "attack", "small MEAN r0", "small", "done", 2.0, 10, 1),
        ("d", "attack", "small MEAN r1", "small", "done", 4.0, 10, 1),
        ("e", "attack", "small FGSM-10 r0", "small", "done", 6.0, 20, 10),
        ("f", "attack", "small FGSM-10 r1", "small", "failed", None, None, None),
        ("g", "attack", "FGSM-10", "alone", "done", 6.0, 20, 10),
    ]
    cost = cost_table([UnitRecord(**dict(zip(names, unit, strict=True))) for unit in units])
    ratios = cost.set_index("unit").seconds_to_mean
    assert ratios[["c", "d", "e"]].round(3).tolist() == [0.667, 1.333, 2.0]
    assert ratios[["a", "b", "f", "g"]].isna().all()
    summary = cost_summary(cost).set_index(["label", "model"])
    assert summary.loc[("MEAN", "small"), ["seconds", "forwards", "count", "done"]].tolist() == [6, 20, 2, 2]
    assert summary.loc[("FGSM-10", "small"), ["seconds", "gradients_to_mean", "count", "done"]].tolist() == [
        6,
        10,
        2,
        1,
    ]


def test_cost_files_hold_every_unit_and_every_part(reported):
    assert len(pd.read_csv(reported / "tables/cost.csv")) == 6
    assert (reported / "tables/cost.md").read_text().count("\n") == 8
