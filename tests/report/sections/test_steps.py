"""Accuracy against the steps of an attack: which attacks belong together, from where on more steps no longer help."""

from __future__ import annotations

import pytest
from synthetic import attacked, clean, curves, run_record, source

from unshaken.evaluation.statistics import accuracy
from unshaken.report.sections.steps import step_families, steps_figure, steps_section
from unshaken.report.sweep import swept_setting

LEFT = {"plain": {1: 60, 10: 20, 100: 0}, "hard": {1: 70, 10: 50, 100: 50}}
"""Inputs of 100 that survive at eps 0.1."""


def rows(left: dict[str, dict[int, int]], label: str = "PGD-all", **columns):
    return [
        attacked(model, label, {0.1: right}, steps=steps, **columns)
        for model, by_steps in left.items()
        for steps, right in by_steps.items()
    ]


def weaker(left: dict[str, dict[int, int]]):
    """The same attack at eps 0.05, and at 0.1 with ten inputs fewer."""
    steps = [(model, n, right) for model, by_steps in left.items() for n, right in by_steps.items()]
    return [attacked(model, "PGD-all", {0.05: right, 0.1: right - 10}, steps=n) for model, n, right in steps]


def run(left: dict[str, dict[int, int]] = LEFT, *parts, **content):
    return source(*rows(left), *parts, **content)


def seeded(luck: tuple[int, ...] = (0, 4)):
    models = [{"label": f"{group}, seed {s}", "group": group, "seed": s} for group in LEFT for s in range(len(luck))]
    left = {
        f"{group}, seed {s}": {n: right + more for n, right in by_steps.items()}
        for group, by_steps in LEFT.items()
        for s, more in enumerate(luck)
    }
    return run(left, recipe={"models": models})


def section(stored):
    return steps_section(stored, curves(stored))


def sentence(left: dict[str, dict[int, int]]) -> str:
    (text,) = section(run(left)).sentences
    return text


def test_attacks_that_differ_in_steps_alone_are_a_family():
    others = [
        *rows(LEFT, loss="cross_entropy"),
        *rows({"hard": {1: 70, 10: 50}}, restarts=5),
        *rows({"hard": {1: 70, 10: 50}}, "IFGSM-all"),
        *rows({"hard": {5: 70, 50: 60, 500: 40}}, "IFGSM-10"),
    ]
    stored = run(LEFT, *others)
    families = step_families(stored, curves(stored))
    assert [family.label for family in families] == ["PGD (cw)", "PGD (cross_entropy)", "IFGSM-10"]
    assert [list(family.curves) for family in families] == [["plain", "hard"], ["plain", "hard"], ["hard"]]
    assert [family.steps for family in families] == [[1, 10, 100], [1, 10, 100], [5, 50, 500]]
    assert len(section(stored).sentences) == 3


def test_there_is_no_such_section_where_two_numbers_of_steps_are_all():
    two = run({"plain": {1: 60, 100: 0}})
    assert section(two) is None
    assert section(run({"a": {1: 60, 10: 40}, "b": {10: 40, 100: 30}})) is None
    assert section(source()) is None


def test_the_eps_is_the_smallest_at_which_the_most_steps_halve_the_mean_accuracy():
    for last, eps in ((20, 0.05), (60, 0.1)):  # (20 + 70) / 2 and (60 + 70) / 2 of 95
        stored = source(
            clean("m", 95), clean("n", 95), *weaker({"m": {1: 80, 5: 75, 10: last}, "n": dict.fromkeys((1, 5, 10), 70)})
        )
        assert step_families(stored, curves(stored))[0].eps == eps


def test_the_table_has_a_column_for_each_number_of_steps_and_the_csv_every_eps():
    stored = source(*weaker({"m": {1: 70, 10: 50, 100: 50}, "late": {10: 40, 100: 30, 500: 20}}))
    (table,) = section(stored).tables
    assert table.head == ["model", "eps", "1 step", "10 steps", "100 steps", "500 steps", "no further fall from"]
    interval = accuracy(stored.rows[(stored.rows.model == "m") & (stored.rows.steps == 10) & (stored.rows.eps == 0.1)])
    assert table.body[0][:2] == ["m", "0.1"]
    assert table.body[0][3] == f"0.400 ± 0.000 [{interval.low:.3f}, {interval.high:.3f}]"
    assert (table.body[0][5], table.body[1][2]) == ("", "")
    data = table.data.set_index(["model", "steps", "eps"]).accuracy
    assert len(data) == 2 * 3 * 2
    assert data["m", 10, 0.05] == pytest.approx(0.5)


def test_the_last_column_has_the_steps_from_which_on_nothing_is_surely_lost():
    (table,) = section(run(LEFT | {"same": dict.fromkeys((1, 10, 100), 50), "up": {1: 50, 10: 90, 100: 50}})).tables
    assert {row[0]: row[-1] for row in table.body} == {"plain": "", "hard": "10", "same": "1", "up": ""}


def test_the_sentence_groups_models_by_where_they_settle():
    assert sentence({"a": {1: 60, 10: 21, 100: 20}, "b": {1: 70, 10: 30, 100: 30}}) == (  # one of 100 is chance
        "Under PGD at eps 0.1 accuracy falls beyond chance from 1 to 100 steps on both models; it falls no further "
        "beyond chance from 10 steps on."
    )
    assert sentence(LEFT) == (
        "Under PGD at eps 0.1 accuracy falls beyond chance from 1 to 100 steps on both models; it still falls from 10 "
        "to 100 on plain; it falls no further beyond chance from 10 steps on for the others; "
        "surely less than 0.05 is left of plain (0.000)."
    )
    late = {
        "a": {1: 60, 5: 30, 10: 20, 100: 20},
        "b": {1: 60, 5: 20, 10: 20, 100: 20},
        "c": {1: 30, 5: 30, 10: 30, 100: 30},
    }
    assert sentence(late) == (
        "Under PGD at eps 0.1 accuracy falls beyond chance from 1 to 100 steps on a and b; it falls no further beyond "
        "chance from 5 steps on for b and from 10 for a."
    )
    many = {f"m{n}": late["a" if n % 2 else "b"] for n in range(5)}
    assert sentence(many).endswith(
        " on all 5 models; it falls no further beyond chance from 5 to 10 steps on, depending on the model."
    )
    assert sentence({"c": late["c"], "d": late["c"]}) == (
        "Under PGD at eps 0.1 accuracy shows no fall beyond chance from 1 to 100 steps on any model."
    )


def test_models_of_which_surely_nothing_is_left_are_named():
    text = sentence({"plain": {1: 60, 10: 0, 100: 0}, "thin": {1: 60, 10: 2, 100: 2}})
    assert text.endswith("; surely less than 0.05 is left of plain (0.000).")  # two of 100 may be more


def test_models_that_did_not_meet_every_number_of_steps_are_in_no_sentence():
    short = {"plain": {1: 60, 5: 40, 10: 20, 100: 0}, "short": {1: 90, 5: 50, 10: 20}}
    assert sentence(short).endswith(
        " steps on plain; it still falls from 10 to 100 on plain; surely less than 0.05 is left of plain (0.000)."
    )
    assert section(run({"early": {1: 90, 5: 50, 10: 20}, "late": {5: 50, 10: 20, 100: 0}})).sentences == []


def test_repeats_that_were_not_run_with_every_number_of_steps_are_not_compared():
    parts = [attack[attack.repeat == repeat] for repeat, attack in enumerate(rows({"m": LEFT["plain"]}))]
    assert section(source(*parts)).sentences == []


def test_networks_that_differ_by_their_seed_are_one_model_with_a_mark_for_each():
    stored = seeded()
    (family,) = step_families(stored, curves(stored))
    assert list(family.curves) == ["plain", "hard"]
    assert family.networks("hard")[10].tolist() == pytest.approx([0.5, 0.54])
    steps = section(stored)
    assert steps.tables[0].body[1][3].startswith("0.520 ± 0.028 [")
    assert set(steps.tables[0].data.networks) == {2}
    assert "thin marks the single networks" in steps.drawings[0].caption
    marks = [line for line in steps_figure([family]).axes[0].get_lines() if line.get_marker() == "_"]
    hard = zip(*marks[-1].get_data(), strict=True)
    assert [accuracy for steps, accuracy in hard if steps == 100] == pytest.approx([0.5, 0.54])


@pytest.mark.parametrize("narrow", [True, False])
def test_the_figure_has_a_line_for_each_model_on_a_log_axis_of_steps(narrow):
    stored = run(LEFT, *rows({"hard": {5: 70, 50: 60, 500: 40}}, "IFGSM-all"))
    figure = steps_figure(step_families(stored, curves(stored)), narrow=narrow)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["under PGD, eps 0.1", "under IFGSM, eps 0.1"]
    assert [axis.get_xscale() for axis in figure.axes] == ["log", "log"]
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["5", "50", "500"]
    lines = {tuple(line.get_xdata()): list(line.get_ydata()) for line in figure.axes[1].get_lines()}
    assert lines[5, 50, 500] == pytest.approx([0.7, 0.6, 0.4])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["plain", "hard"]


def test_nine_models_are_told_apart():
    one = rows({"m": LEFT["plain"]})
    stored = source(*(attack.assign(model=f"m{n}") for n in range(9) for attack in one))
    handles = steps_figure(step_families(stored, curves(stored))).legends[0].legend_handles
    assert len({(str(line.get_color()), line.get_marker()) for line in handles}) == 9


def test_steps_that_would_touch_share_a_tick():
    stored = run({"m": {1: 60, 99: 42, 100: 41, 101: 40}})
    (axis,) = steps_figure(step_families(stored, curves(stored))).axes
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1", "99"]


def test_the_number_of_a_member_is_a_name_and_orders_no_models():
    members = [{"label": f"Model {n}", "model": {"kind": "member", "of": ["E"], "number": n}} for n in (1, 2, 3)]
    assert swept_setting(run_record(recipe={"models": members})) is None
    sized = [{"label": f"m {n}", "model": {"kind": "other", "number": n}} for n in (1, 2, 3)]
    assert swept_setting(run_record(recipe={"models": sized})).path == "model.number"
