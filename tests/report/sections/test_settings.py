"""Accuracy against the number that models differ in: which one it is, the table, the lines, and from where it grows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import attacked, clean, curves, run_record, source

from unshaken.evaluation.statistics import difference
from unshaken.report.sections.settings import settings_section
from unshaken.report.sweep import swept_setting

SURVIVE = {1: 16, 5: 31, 10: 46}
SEEDS = (0, 3, -2, 1)


def entry(label: str, seed: int | None = None, **inputs: Any) -> dict:
    """A model of a resolved recipe, whose training inputs have these settings."""
    training = {"epochs": 5, "inputs": {"kind": "constant_noise", "size": 0.1, "clean": True, **inputs}}
    model = {"label": label, "network": {"kind": "mlp", "widths": [8]}, "model": {"kind": "m"}, "training": training}
    return model if seed is None else {**model, "label": f"{label}, seed {seed}", "group": label, "seed": seed}


def model_rows(model: str, right: int) -> list[pd.DataFrame]:
    """At eps 0.2 twenty fewer survive than at 0.1; PGD of 100 steps leaves three fewer than of 20, FGSM ten more."""
    labels = {"FGSM-1": (10, 1), "PGD-1": (0, 20), "pgd-1": (-3, 100)}
    return [
        clean(model, 90 + right // 10),
        *(
            attacked(model, label, {0.1: right + more + 20, 0.2: right + more}, steps=steps)
            for label, (more, steps) in labels.items()
        ),
    ]


def run(survive: dict[int, int] = SURVIVE, *, more: tuple[dict, ...] = (), **content: Any):
    models = [entry(f"copies {k}", copies=k) for k in survive]
    parts = [rows for k, right in survive.items() for rows in model_rows(f"copies {k}", right)]
    parts += [rows for one in more for rows in model_rows(one["label"], 40)]
    return source(*parts, recipe={"models": [*models, *more]}, **content)


def seeded(survive: dict[int, int] = SURVIVE, luck: tuple[int, ...] = SEEDS):
    models = [entry(f"copies {k}", seed, copies=k) for k in survive for seed in range(len(luck))]
    parts = [
        rows
        for k, right in survive.items()
        for seed, more in enumerate(luck)
        for rows in model_rows(f"copies {k}, seed {seed}", right + more * (1 + k // 5))
    ]
    return source(*parts, recipe={"models": models})


def section(stored):
    return settings_section(stored, curves(stored))


def test_the_setting_is_the_one_number_that_models_differ_in():
    others = (entry("sharp", copies=1, kind="clean"), entry("other", copies=1, epochs=3, noise="gaussian"))
    setting = swept_setting(run(more=others).record)
    assert setting.path == "training.inputs.copies"
    assert [(family.name, family.models) for family in setting.families] == [("", {k: f"copies {k}" for k in SURVIVE})]


def test_models_that_share_the_rest_are_families():
    models = [entry(f"m, {n}, size {s}", noise=n, size=s) for n in ("uniform", "gaussian") for s in (0.2, 0.1, 0.3)]
    setting = swept_setting(run_record(recipe={"models": models}))
    assert setting.path == "training.inputs.size"
    assert [family.name for family in setting.families] == ["uniform", "gaussian"]
    assert list(setting.families[0].models) == [0.1, 0.2, 0.3]


def test_of_two_numbers_the_one_with_more_values_is_the_axis():
    models = [entry(f"size {s}, copies {k}", size=s, copies=k) for s in (0.1, 0.2) for k in (1, 5, 10)]
    setting = swept_setting(run_record(recipe={"models": models}))
    assert setting.path == "training.inputs.copies"
    assert [family.name for family in setting.families] == ["size 0.1", "size 0.2"]


def test_families_are_named_for_how_their_labels_begin_where_these_have_no_part_in_common():
    models = [
        entry(f"{kind.upper()}-{k}", attack={"kind": kind, "draws": k}) for kind in ("fgsm", "pgd") for k in (1, 2, 10)
    ]
    assert [family.name for family in swept_setting(run_record(recipe={"models": models})).families] == ["FGSM", "PGD"]


@pytest.mark.parametrize(
    "models",
    [
        [],
        [entry("a", copies=1)],
        [entry("a", copies=1), entry("b", copies=5)],
        [entry("a", copies=1), entry("b", copies=5, size=0.3), entry("c", copies=9, size=0.4)],
        [entry("a", clean=True), entry("b", clean=False)],
        [entry("a", noise="uniform"), entry("b", noise="gaussian")],
        [{"label": "a"}, {"label": "b"}],
        [entry("a", 0, copies=1), entry("a", 1, copies=1)],
    ],
)
def test_models_that_have_fewer_than_three_values_of_one_number_have_no_setting(models):
    assert swept_setting(run_record(recipe={"models": models})) is None
    assert section(source(recipe={"models": models})) is None


def test_the_table_has_a_column_for_each_value_and_the_published_accuracies():
    published = [
        ("copies 1", "no attack", 0, 0.9943),
        ("copies 1", "PGD-1 (100 steps)", 0.2, 0.5059),
        ("copies 10", "PGD-1 (100 steps)", 0.2, 0.9949),
        ("copies 10", "FGSM-1", 0.4, 0.9),  # of another size
        ("copies 100", "FGSM-1", 0.2, 0.9),  # of another model
    ]
    entries = [dict(zip(("model", "attack", "eps", "value"), one, strict=True)) for one in published]
    entries.append({"attack": "FGSM-1", "eps": 0.2, "value": 0.9})  # of no model
    paper = {"accuracy": entries, "source": "A"}
    (table,) = section(run(paper=paper)).tables
    assert table.head == ["attack", "eps", "copies 1", "copies 5", "copies 10"]
    lines = {row[0]: row[1:] for row in table.body}
    assert list(lines) == [
        *("no attack", "no attack, published", "FGSM-1", "PGD-1 (20 steps)"),
        *("PGD-1 (100 steps)", "PGD-1 (100 steps), published"),
    ]
    assert lines["no attack, published"] == ["", "0.9943", "", ""]
    assert lines["PGD-1 (100 steps), published"] == ["0.2", "0.5059", "", "0.9949"]
    assert [cell[:5] for cell in lines["FGSM-1"]] == ["0.2", "0.260", "0.410", "0.560"]
    assert table.note.endswith(" Published in A.")
    data = table.data.set_index(["attack", "value", "eps"])
    assert data.loc[("PGD-1 (20 steps)", 5, 0.1)].accuracy == pytest.approx(0.51)
    assert len(data) == 3 * (1 + 3 * 2)
    assert data.best.isna().all()


def test_networks_have_a_mean_a_spread_and_the_best():
    (table,) = section(seeded()).tables
    line = next(row for row in table.body if row[0] == "PGD-1 (20 steps)")
    right = 0.46 + 0.01 * 3 * np.array(SEEDS)
    assert line[4].startswith(f"{right.mean():.3f} ± {right.std(ddof=1):.3f} [")
    assert line[4].endswith(f"], best {right.max():.3f}")
    data = table.data.set_index(["attack", "value", "eps"])
    assert data.loc[("PGD-1 (20 steps)", 10, 0.2)].best == pytest.approx(right.max())
    assert (data.networks == 4).all()


def test_steps_are_paired_by_inputs_at_a_shared_level():
    stored = run(SURVIVE | {20: 46, 50: 44, 100: 20})
    (sentence,) = section(stored).sentences
    rows = stored.rows[(stored.rows.steps == 100) & (stored.rows.eps == 0.2)]
    by = {k: rows[rows.model == f"copies {k}"] for k in (1, 5, 50, 100)}
    up, down = (difference(by[b], by[a], level=1 - 0.05 / 5) for a, b in ((1, 5), (50, 100)))
    assert sentence.startswith(
        "Under PGD-1 (100 steps) at eps 0.2 accuracy grows from 1 to 5 copies by +0.150 "
        f"[{up.low:+.3f}, {up.high:+.3f}], grows from 5 to 10 copies by +0.150 ["
    )
    assert (
        "], is the same on every input from 10 to 20 copies, shows no difference beyond chance (difference " in sentence
    )
    assert sentence.endswith(
        f" from 20 to 50 copies and falls from 50 to 100 copies by -0.240 [{down.low:+.3f}, {down.high:+.3f}]. "
        "Without an attack it is 0.910, 0.930, 0.940, 0.940, 0.940 and 0.920."
    )


def test_steps_are_paired_by_seed_where_there_are_several():
    (sentence,) = section(seeded()).sentences
    gap = 0.15 + 0.01 * np.array(SEEDS)  # 1 + k // 5 is 1, 2, 3
    half = stats.t.ppf(1 - 0.05 / 4, 3) * stats.sem(gap)
    step = f"+{gap.mean():.3f} [{gap.mean() - half:+.3f}, {gap.mean() + half:+.3f}]"
    assert sentence.startswith(
        f"Under PGD-1 (100 steps) at eps 0.2 accuracy grows from 1 to 5 copies by {step} and grows from 5 to 10 copies "
        f"by {step}, paired by 4 seeds. Without an attack it is "
    )


def test_a_size_is_no_count():
    models = [entry(f"size {s}", size=s / 255) for s in (8, 16, 24)]
    parts = [rows for s in (8, 16, 24) for rows in model_rows(f"size {s}", 20 + s)]
    sizes = section(source(*parts, recipe={"models": models}))
    assert " from size 8/255 to 16/255" in sizes.sentences[0]
    assert sizes.tables[0].head[2:] == ["size 8/255", "size 16/255", "size 24/255"]


def test_families_have_a_sentence_and_lines_of_their_own():
    kinds = {"fixed": ("constant_noise", SURVIVE), "fresh": ("variable_noise", {1: 40, 5: 30, 20: 10})}
    named = {f"{name}, copies {k}": (kind, k, n) for name, (kind, survive) in kinds.items() for k, n in survive.items()}
    models = [entry(label, copies=k, kind=kind) for label, (kind, k, _) in named.items()]
    parts = [rows for label, (_, _, right) in named.items() for rows in model_rows(label, right)]
    families = section(source(*parts, recipe={"models": models}))
    assert [sentence.split(" from 1")[0] for sentence in families.sentences] == [
        "On fixed, under PGD-1 (100 steps) at eps 0.1 accuracy grows",
        "On fresh, under PGD-1 (100 steps) at eps 0.1 accuracy falls",
    ]
    assert families.tables[0].head[0] == "models"
    assert families.tables[0].head[-1] == "copies 20"
    assert [row[-1] for row in families.tables[0].body][:4] == [""] * 4  # no model of 20 copies there
    assert [axis.get_title("left") for axis in families.drawings[0].make(False).axes] == ["fixed", "fresh"]


def test_models_that_were_not_attacked_are_left_out():
    stored = run(SURVIVE | {20: 60})
    rows = stored.rows[(stored.rows.model != "copies 10") | (stored.rows.attack == "none")]
    (table,) = section(replace(stored, rows=rows)).tables
    assert table.head[2:] == ["copies 1", "copies 5", "copies 20"]
    few = rows[(rows.model != "copies 20") | (rows.attack == "none")]
    assert section(replace(stored, rows=few)) is None


def test_an_attack_that_was_not_run_at_the_usual_eps_is_told_of_at_its_own():
    stored = run()
    rows = stored.rows[(stored.rows.attack != "fgsm") | (stored.rows.eps != 0.2)]
    settings = section(replace(stored, rows=rows))
    assert {row[0]: row[1] for row in settings.tables[0].body}["FGSM-1"] == "0.1"
    assert "under attacks at eps 0.1 (L∞ norm) and 0.2 (L∞ norm)." in settings.drawings[0].caption


def test_a_weak_attack_is_told_of_at_the_eps_of_the_strongest():
    stored = run()
    weak = [attacked(f"copies {k}", "MEAN", {0.1: 80, 0.2: 70, 0.3: 20}) for k in SURVIVE]
    settings = section(replace(stored, rows=pd.concat([stored.rows, *weak], ignore_index=True)))
    assert {row[0]: row[1] for row in settings.tables[0].body}["MEAN"] == "0.2"
    assert "under attacks at eps 0.2." in settings.drawings[0].caption


@pytest.mark.parametrize("narrow", [True, False])
@pytest.mark.parametrize("several", [True, False])
def test_there_is_a_line_for_each_attack_that_looks_like_no_other(narrow, several):
    figure = section(seeded() if several else run()).drawings[0].make(narrow)
    (axis,) = figure.axes
    assert axis.get_xlabel() == "training.inputs.copies"
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1", "5", "10"]
    names = ["no attack", "FGSM-1", "PGD-1 (20 steps)", "PGD-1 (100 steps)"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names
    lines = [line for line in axis.get_lines() if list(line.get_xdata()) == [1, 5, 10] and len(line.get_xdata()) == 3]
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}) == 4
    assert axis.get_xscale() == "linear"
    if several:
        marks = [line for line in axis.get_lines() if line.get_marker() == "_"][2]
        accuracies = [y for x, y in zip(*marks.get_data(), strict=True) if x == 10]
        assert accuracies == pytest.approx([0.46 + 0.03 * more for more in SEEDS])
    else:
        assert list(lines[2].get_ydata()) == pytest.approx([0.16, 0.31, 0.46])


def test_values_that_span_much_have_a_log_axis():
    (axis,) = section(run({1: 20, 10: 30, 100: 40})).drawings[0].make(False).axes
    assert axis.get_xscale() == "log"
    assert math.isclose(axis.get_xlim()[0] * axis.get_xlim()[1], 100)
    (axis,) = section(run({0: 20, 10: 30, 100: 40})).drawings[0].make(False).axes
    assert axis.get_xscale() == "linear"
