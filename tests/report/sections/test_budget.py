"""Accuracy beside parameters and operations: in every table of models, and as a section of its own."""

from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.colors import to_hex
from synthetic import attacked, clean, curves, run_record, source

from unshaken.evaluation.statistics import accuracy
from unshaken.report.accuracy import accuracy_table
from unshaken.report.page import page
from unshaken.report.section import Table
from unshaken.report.sections import sections
from unshaken.report.sections.budget import budget_figure, budget_section, model_budget
from unshaken.report.tables import ModelSize, add_sizes, model_sizes, si_number, write_tables

LEFT = {"double": 40, "single": 30, "ensemble": 60}  # of 100 inputs under PGD-5 at eps 0.1
SIZES = {
    "single": {"parameters": 350_123, "flops": 52_000_000},
    "double": {"parameters": 820_000, "flops": 119_400_000},
    "ensemble": {"parameters": 700_246, "flops": 104_000_000},
}


def run(left: dict[str, int] = LEFT, sizes: dict | None = None, **content):
    parts = []
    for model, right in left.items():
        parts.append(clean(model, 90 if model == "single" else 92))
        parts.append(attacked(model, "MEAN", {0.05: right + 25, 0.1: right + 20}))
        parts.append(attacked(model, "PGD-5", {0.05: right + 20, 0.1: right}))
    return source(*parts, sizes=SIZES if sizes is None else sizes, **content)


def networks(**groups: list[int]):
    """Groups of networks, and their sizes, by the accuracy that each network keeps."""
    models = [(group, seed, left) for group, values in groups.items() for seed, left in enumerate(values)]
    recipe = {"models": [{"label": f"{g}, seed {s}", "group": g, "seed": s} for g, s, _ in models]}
    sizes = {f"{g}, seed {s}": SIZES[g] for g, s, _ in models}
    return run({f"{g}, seed {s}": left for g, s, left in models}, sizes, recipe=recipe)


def tables(stored):
    """The tables of every section, by their names."""
    return {table.name: table for section in sections(stored, curves(stored)) for table in section.tables}


def test_the_table_has_sizes_and_accuracies_with_their_intervals_the_smallest_first():
    stored = run()
    table = tables(stored)["budget"]
    assert table.head == ["model", "parameters", "FLOP", "no attack", "PGD-5, eps 0.1"]
    rows = stored.rows[(stored.rows.model == "ensemble") & (stored.rows.attack == "pgd") & (stored.rows.eps == 0.1)]
    assert [row[:3] for row in table.body] == [
        ["single", "350 k", "52.0 M"],
        ["ensemble", "700 k", "104 M"],
        ["double", "820 k", "119 M"],
    ]
    interval = accuracy(rows)
    assert table.body[1][4] == f"0.600 ± 0.000 [{interval.low:.3f}, {interval.high:.3f}]"
    line = table.data.set_index("model").loc["ensemble"]
    assert (line.parameters, line.flops, line.clean, line.accuracy) == (700_246, 104_000_000, 0.92, 0.6)
    assert (line.low, line.high) == pytest.approx((interval.low, interval.high))


def test_the_sentence_names_who_is_not_beaten_by_a_model_that_is_no_larger():
    stored = run()
    assert budget_section(stored, curves(stored)).sentences == [
        "Under PGD-5 at eps 0.1 no model with as many parameters or fewer is beyond chance more robust than single "
        "(350 k parameters, 0.300) and ensemble (700 k parameters, 0.600); double (820 k parameters, 0.400) is less "
        "robust than ensemble."
    ]
    more = {"old": 5, **LEFT}
    stored = run(more, SIZES | {"old": {"parameters": 800_000, "flops": 1}})
    assert (
        budget_section(stored, curves(stored))
        .sentences[0]
        .endswith("; old (800 k parameters, 0.050) and double (820 k parameters, 0.400) are less robust than ensemble.")
    )
    twin = run({"twin": 5, **LEFT}, SIZES | {"twin": SIZES["single"]})
    assert (
        "; twin (350 k parameters, 0.050) is less robust than single; "
        in budget_section(twin, curves(twin)).sentences[0]
    )
    rising = run({"single": 30, "ensemble": 40, "double": 60})
    assert budget_section(rising, curves(rising)).sentences == [
        "Under PGD-5 at eps 0.1 no model is beyond chance more robust than one that has as many parameters or more."
    ]
    near = run({"single": 30, "ensemble": 41, "double": 40})
    assert "no model is beyond chance" in budget_section(near, curves(near)).sentences[0]


def test_networks_that_differ_by_their_seed_are_one_model():
    stored = networks(double=[40, 41, 39], single=[30, 29, 31], ensemble=[60, 58, 61])
    budget = model_budget(stored, curves(stored))
    assert list(budget.sizes) == ["single", "ensemble", "double"]
    assert budget.sizes["ensemble"] == ModelSize(**SIZES["ensemble"])
    table = tables(stored)["budget"]
    assert table.body[1][4].startswith(f"{(60 + 58 + 61) / 300:.3f} ± 0.015 [")
    assert (
        "double (820 k parameters, 0.400) is less robust than ensemble."
        in budget_section(stored, curves(stored)).sentences[0]
    )


def test_there_is_no_such_section_without_two_sizes():
    assert budget_section(run(sizes={}), curves(run(sizes={}))) is None
    same = run(sizes=dict.fromkeys(LEFT, SIZES["single"]))
    assert budget_section(same, curves(same)) is None
    alone = run({"single": 30})
    assert budget_section(alone, curves(alone)) is None
    seeds = networks(single=[30, 29])
    assert budget_section(seeds, curves(seeds)) is None
    nothing = source(sizes=SIZES)
    assert budget_section(nothing, []) is None


def test_a_model_that_met_fewer_attacks_gives_way_to_the_attack_that_all_met():
    stored = run()
    lost = (stored.rows.model == "double") & (stored.rows.attack == "pgd")
    fewer = source(stored.rows[~lost], sizes=SIZES)
    assert model_budget(fewer, curves(fewer)).attack.label == "MEAN"


@pytest.mark.parametrize("narrow", [True, False])
def test_the_figure_has_a_mark_for_each_model_with_and_without_the_attack(narrow):
    stored = run()
    figure = budget_figure(model_budget(stored, curves(stored)), narrow=narrow)
    assert [axis.get_xlabel() for axis in figure.axes] == ["parameters", "FLOP for the prediction of one image"]
    assert [axis.get_xscale() for axis in figure.axes] == ["log", "log"]
    for axis, measure in zip(figure.axes, ("parameters", "flops"), strict=True):
        marks = [line for line in axis.get_lines() if line.get_marker() == "o"]
        drawn = {(*line.get_xdata(), round(line.get_ydata()[0], 3), line.get_mfc() == "none") for line in marks}
        attack = {(SIZES[model][measure], left / 100, False) for model, left in LEFT.items()}
        assert drawn == attack | {(SIZES[m][measure], 0.9 if m == "single" else 0.92, True) for m in LEFT}
        colours = {to_hex(line.get_color()) for line in marks}
        assert len(colours) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["single", "ensemble", "double"]


def test_more_models_than_hues_have_marks_of_another_shape():
    left = {f"m{i}": 50 for i in range(8)}
    stored = run(left, {model: {"parameters": 10 + i, "flops": 10} for i, model in enumerate(left)})
    handles = budget_figure(model_budget(stored, curves(stored))).legends[0].legend_handles
    assert len({(to_hex(mark.get_color()), mark.get_marker()) for mark in handles}) == 8


def test_operations_that_are_not_known_are_left_out():
    stored = run(sizes={model: size | {"flops": None} for model, size in SIZES.items()})
    figure = budget_figure(model_budget(stored, curves(stored)), narrow=False)
    assert [axis.get_xlabel() for axis in figure.axes] == ["parameters"]
    table = tables(stored)["budget"]
    assert [row[2] for row in table.body] == ["", "", ""]
    assert "350 k parameters</p>" in page(stored, curves(stored), {})


def test_every_table_of_models_has_their_sizes(tmp_path):
    stored = run()
    table = tables(stored)["models"]
    assert table.head[:4] == ["model", "parameters", "FLOP", "no attack"]
    assert table.body[0][:3] == ["double", "820 k", "119 M"]
    assert table.data.parameters.tolist() == [820_000, 350_123, 700_246]
    assert '<p class="note">350 k parameters, 52.0 MFLOP for the prediction of one image</p>' in page(
        stored, curves(stored), {}
    )
    write_tables(stored.__class__(tmp_path, stored.record, stored.rows, {}, {}, {}), accuracy_table(stored.rows))
    written = (
        pd.read_csv(tmp_path / "tables/accuracy.csv").groupby("model")[["parameters", "flops"]].agg(["min", "max"])
    )
    assert written.loc["double"].tolist() == [820_000, 820_000, 119_400_000, 119_400_000]
    for name in ("repeats", "cost"):
        assert {"parameters", "flops"} <= {*pd.read_csv(tmp_path / f"tables/{name}.csv").columns}
    size = "350 k parameters, 52.0 MFLOP for the prediction of one image"
    assert f"**single**\n\n{size}\n\n| attack |" in (tmp_path / "tables/accuracy.md").read_text()
    assert f"% single: {size}\n" in (tmp_path / "tables/accuracy.tex").read_text()


def test_a_table_with_several_lines_for_a_model_has_its_size_in_each():
    table = tables(run())["strongest"]
    assert table.head == ["model", "parameters", "FLOP", "eps", "attack", "loss", "accuracy"]
    assert [line[:3] for line in table.body[:2]] == [["double", "820 k", "119 M"]] * 2
    assert table.data.groupby("model").flops.unique().map(list)["single"] == [52_000_000]


def test_models_of_one_size_have_it_in_the_csv_alone():
    table = tables(run(sizes=dict.fromkeys(LEFT, SIZES["single"])))["models"]
    assert table.head[:2] == ["model", "no attack"]
    assert table.data.parameters.tolist() == [350_123] * 3


def test_a_table_of_one_model_says_its_size_below():
    sizes = {model: ModelSize(**size) for model, size in SIZES.items()}
    data = pd.DataFrame({"model": ["x", "x"], "target": ["single", "single"]})
    table = add_sizes(Table("transfer_single", data, ["attack"], [["PGD"], ["FGSM"]], note="Accuracy."), sizes)
    assert table.note == "Accuracy. single: 350 k parameters, 52.0 MFLOP for the prediction of one image."
    assert (table.head, table.data.parameters.tolist()) == (["attack"], [350_123] * 2)
    two = add_sizes(table._replace(data=data.assign(target=["single", "double"]), note="Accuracy."), sizes)
    assert two.note == "Accuracy."


def test_a_cell_that_says_more_than_the_model_still_has_its_size():
    sizes = {"net": ModelSize(10, 20), "net, small": ModelSize(1, 2)}
    data = pd.DataFrame({"title": ["net, L2", "net, small, L2", "other"], "model": ["net", "net, small", "other"]})
    table = add_sizes(Table("t", data, ["noise", "model"], [["a", title] for title in data.title]), sizes)
    assert table.head == ["noise", "model", "parameters", "FLOP"]
    assert [line[2:] for line in table.body] == [["10", "20"], ["1", "2"], ["", ""]]


def test_the_table_of_groups_has_the_size_of_one_network():
    stored = networks(double=[40, 41], single=[30, 29])
    table = tables(stored)["seeds"]
    assert table.head == ["networks of", "parameters", "FLOP", "attack", "eps", "networks", "accuracy", "best"]
    assert table.body[0][:4] == ["double", "820 k", "119 M", "no attack"]
    assert table.data.groupby("group").parameters.unique().map(list).to_dict() == {
        "double": [820_000],
        "single": [350_123],
    }


def test_a_run_from_before_sizes_were_counted_has_tables_without_them(tmp_path):
    stored = run(sizes={})
    assert tables(stored)["models"].head[:2] == ["model", "no attack"]
    write_tables(stored.__class__(tmp_path, stored.record, stored.rows, {}, {}, {}), accuracy_table(stored.rows))
    assert (tmp_path / "tables/accuracy.csv").read_text().splitlines()[0].endswith(",accuracy,low,high")
    assert "parameters" not in page(stored, curves(stored), {})


def test_the_size_of_a_group_is_the_mean_of_its_networks():
    recipe = {"models": [{"label": f"a {seed}", "group": "a", "seed": seed} for seed in range(3)]}
    sizes = {"a 0": {"parameters": 10, "flops": 4}, "a 1": {"parameters": 20, "flops": None}}
    assert model_sizes(run_record(recipe=recipe, sizes=sizes)) == {
        "a 0": ModelSize(10, 4),
        "a 1": ModelSize(20, None),
        "a": ModelSize(15, 4),
    }
    assert model_sizes(run_record(recipe=recipe)) == {}


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((7, "7"), (999, "999"), (1000, "1.00 k"), (350_123, "350 k"), (999_950, "1.00 M"), (36_479_194, "36.5 M")),
        *((5.2e9, "5.20 G"), (1.04e13, "10.4 T")),
    ],
)
def test_large_numbers_are_short(number, text):
    assert si_number(number) == text
    assert si_number(52_000_000, "FLOP") == "52.0 MFLOP"
    assert si_number(12, "FLOP") == "12 FLOP"
