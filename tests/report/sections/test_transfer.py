"""Perturbations made against other models: groups against groups, each beside a network's own attack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_hex
from synthetic import attacked, clean, curves, source

from unshaken.evaluation.statistics import accuracy
from unshaken.report.drawing import MEAN_COLOUR
from unshaken.report.groups import correct_by_network
from unshaken.report.sections.survival import measure_survival
from unshaken.report.sections.transfer import select_matrices, transfer_figure, transfer_matrices, transfer_section

SEEDS = {"a": (0, 1, 2), "b": (0, 1)}
OWN = {("a", 0): 40, ("a", 1): 42, ("a", 2): 47, ("b", 0): 20, ("b", 1): 24, ("erm", 0): 5}
RECIPE = {
    "models": [{"label": f"{g}, seed {s}", "group": g, "seed": s} for g, seeds in SEEDS.items() for s in seeds]
    + [{"label": "erm"}]
}


def name(group: str, seed: int) -> str:
    return "erm" if group == "erm" else f"{group}, seed {seed}"


def survive(source: tuple[str, int], target: tuple[str, int]) -> int:
    """How many of 100 inputs of the target survive what was made against the source."""
    apart = {("a", "a"): 60, ("b", "a"): 70, ("erm", "a"): 80, ("a", "b"): 50, ("b", "b"): 55, ("erm", "b"): 10}
    return apart.get((source[0], target[0]), 65) + 4 * source[1] + target[1]


def run(groups: tuple[str, ...] = ("a", "b", "erm"), eps: tuple[float, ...] = (0.3,), **content):
    """Every network attacks itself and every other with PGD-1; at other sizes than 0.3 all survive."""
    parts, members = [], [member for member in OWN if member[0] in groups]
    for target in members:
        model = name(*target)
        parts += [clean(model), attacked(model, "PGD-1", {e: OWN[target] if e == 0.3 else 100 for e in eps})]
        for attacker in members:
            if attacker != target:
                right = {e: survive(attacker, target) if e == 0.3 else 100 for e in eps}
                parts.append(attacked(model, "PGD-1", right, role="transfer", source=name(*attacker)))
    models = [entry for entry in RECIPE["models"] if entry["label"].partition(",")[0] in groups]
    return source(*parts, recipe={"models": models}, **content)


def cells(run):
    (matrix,) = transfer_matrices(run.rows, {name(*m): m[0] for m in OWN}, curves(run))
    return matrix.cells


def test_cells_are_means_over_other_networks_of_the_source_and_over_networks_of_the_target():
    by_pair = cells(run())
    assert {key for key in by_pair if key[0] != "itself"} == {
        *((s, t) for s in ("a", "b", "erm") for t in ("a", "b")),
        ("a", "erm"),
        ("b", "erm"),
    }
    of_seed = [np.mean([survive(("a", s), ("a", t)) for s in range(3) if s != t]) / 100 for t in range(3)]
    assert by_pair["a", "a"].point.value == pytest.approx(np.mean(of_seed))
    assert by_pair["a", "a"].point.spread == pytest.approx(np.std(of_seed, ddof=1))
    assert by_pair["a", "a"].best == pytest.approx(max(of_seed))
    of_seed = [np.mean([survive(("b", s), ("a", t)) for s in range(2)]) / 100 for t in range(3)]
    assert by_pair["b", "a"].point.value == pytest.approx(np.mean(of_seed))
    assert by_pair["erm", "a"].networks == 3
    assert by_pair["itself", "a"].point.value == pytest.approx(0.43)
    assert by_pair["itself", "a"].best == 0.47
    assert by_pair["a", "erm"].networks == 1


def test_intervals_are_those_of_a_mean_over_networks():
    stored = run()
    chosen = stored.rows[(stored.rows.role == "transfer") & stored.rows.source.str.startswith("b")]
    chosen = chosen[chosen.model.str.startswith("a")].groupby(["model", "index"]).correct.mean().reset_index()
    interval = accuracy(chosen.rename(columns={"model": "repeat"}))
    assert cells(stored)["b", "a"].point[:3] == pytest.approx(interval)


def test_a_table_for_each_group_has_white_box_and_every_source_with_the_best():
    tables = {table.name: table for table in transfer_section(run(), curves(run())).tables}
    assert list(tables) == ["transfer_a", "transfer_b", "transfer_erm"]
    table, by_pair = tables["transfer_b"], cells(run())
    assert table.head == [
        *("attack", "eps", "made against itself", "best", "made against a", "best"),
        *("made against others of b", "best", "made against erm", "best"),
    ]
    (line,) = table.body
    assert line[:4] == ["PGD-1", "0.3", by_pair["itself", "b"].point.in_full(), "0.240"]
    assert line[4] == by_pair["a", "b"].point.in_full()
    assert tables["transfer_erm"].head == ["attack", "eps", *(f"made against {s}" for s in ("itself", "a", "b"))]
    assert "repeats of the draws" in tables["transfer_erm"].note
    data = table.data.set_index("source")
    assert data.loc["erm"].difference == pytest.approx(by_pair["erm", "b"].point.value - 0.22)
    assert data.loc["itself"].isna().sum() == 3


def test_published_accuracies_stand_beside_the_white_box():
    entry = {"attack": "PGD-1", "eps": 0.3, "value": 0.4641, "model": "a"}
    others = [entry | {"eps": 0.2, "value": 0.9}, entry | {"attack": "PGD-2"}, entry | {"norm": "l2", "value": 0.8}]
    stored = run(paper={"source": "Ours (2000)", "accuracy": [*others, entry]})
    first, second, _ = transfer_section(stored, curves(stored)).tables
    assert first.head[:5] == ["attack", "eps", "made against itself", "best", "published"]
    assert first.body[0][4] == "0.464"
    assert first.note.endswith("Published in Ours (2000).")
    assert "published" not in second.head


def test_the_strongest_source_of_each_target_is_told_beside_its_own_attack():
    sentences = transfer_section(run(), curves(run())).sentences
    by_pair = cells(run())
    assert len(sentences) == 3
    black, white = by_pair["a", "a"].point.in_full(), by_pair["itself", "a"].point.in_full()
    assert sentences[0].startswith(
        f"Accuracy of a under PGD-1 at eps 0.3 is {black} on perturbations made against other networks of a, and "
        f"{white} on those made against itself: difference +0.2"
    )
    assert "masked" not in sentences[0]
    assert "made against erm, and" in sentences[1]
    assert sentences[1].endswith(", a sign of masked gradients.")


def test_what_is_stronger_by_chance_is_no_sign():
    rows = [attacked("m", "FGSM-1", {0.1: 50}), attacked("m", "FGSM-1", {0.1: 48}, role="transfer", source="n")]
    section = transfer_section(source(*rows), curves(source(*rows)))
    assert section.sentences[0].endswith("no difference beyond chance (difference -0.020 [-0.048, +0.008]).")
    figure = section.drawings[0].make(False)
    assert [box.get_linewidth() for box in figure.axes[0].patches] == [0, 0]


def test_the_level_is_shared_out_over_all_cells():
    """Six of 100 inputs are beyond a 95 % interval, but not beyond the one of forty comparisons."""

    def pair(source: str, right: int, eps: float = 0.1):
        white_box = attacked("m", "FGSM-1", {eps: 60})
        return [white_box] * (source == "n0") + [attacked("m", "FGSM-1", {eps: right}, role="transfer", source=source)]

    def framed(rows) -> tuple[int, str]:
        section = transfer_section(source(*rows), curves(source(*rows)))
        figure = section.drawings[0].make(False)
        frames = sum(box.get_linewidth() > 0 for axis in figure.axes for box in axis.patches)
        return frames, section.sentences[0]

    frames, sentence = framed(pair("n0", 54))
    assert (frames, sentence.endswith("a sign of masked gradients.")) == (1, True)
    alike = [attack for k in range(1, 20) for attack in pair(f"n{k}", 60)]
    more = [attack for k in range(20) for attack in pair(f"n{k}", 60, 0.2)]
    frames, sentence = framed([*pair("n0", 54), *alike, *more])
    assert frames == 0
    assert "no difference beyond chance (difference -0.060" in sentence


def test_the_eps_nearest_to_half_of_the_accuracy_is_told_with_the_strongest_attack_there():
    right = {"FGSM-1": {0.1: 55, 0.2: 45, 0.3: 5}, "PGD-1": {0.1: 50, 0.2: 31, 0.3: 0}}
    parts = [attacked("m", label, values) for label, values in right.items()]
    parts += [rows.assign(role="transfer", source="n") for rows in parts]
    for right_before, eps in ((60, 0.2), (100, 0.1)):
        stored = source(clean("m", right_before), *parts)
        (sentence,) = transfer_section(stored, curves(stored)).sentences
        assert sentence.startswith(f"Accuracy of m under PGD-1 at eps {eps:g} ")
    stored = source(clean("m", 92), *parts)
    (sentence,) = transfer_section(stored, curves(stored)).sentences
    assert sentence.startswith("Accuracy of m under PGD-1 at eps 0.2 "), "FGSM-1 is nearest to 0.46 there"


def test_of_many_targets_the_worst_is_told():
    models = [f"m{i}" for i in range(5)]
    parts = [attacked(m, "FGSM-1", {0.1: 50}) for m in models]
    parts += [attacked(m, "FGSM-1", {0.1: 60 - 5 * i}, role="transfer", source="o") for i, m in enumerate(models)]
    stored = source(*parts)
    (sentence,) = transfer_section(stored, curves(stored)).sentences
    assert sentence.startswith("Accuracy of m4 under FGSM-1 at eps 0.1 is 0.400 ")


def test_networks_of_one_group_are_drawn_by_themselves():
    stored = run(("a",))
    section = transfer_section(stored, curves(stored))
    assert [table.name for table in section.tables] == ["transfer", "transfer_matrix"]
    assert section.tables[0].head[2:] == ["made against itself", "best", "made against others of a", "best"]
    matrix = section.tables[1]
    assert matrix.head[3:] == ["given to seed 0", "given to seed 1", "given to seed 2"]
    assert matrix.body[:2] == [
        ["itself", "PGD-1", "0.3", "0.400", "0.420", "0.470"],
        ["seed 0", "PGD-1", "0.3", "", "0.610", "0.620"],
    ]
    figure = section.drawings[0].make(False)
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["seed 0", "seed 1", "seed 2"]


@pytest.mark.parametrize("narrow", [False, True])
def test_the_heat_map_has_every_number_and_frames_what_beats_the_own_attack(narrow):
    stored = run()
    figure = transfer_section(stored, curves(stored)).drawings[0].make(narrow)
    (axis,) = figure.axes
    boxes = {tuple(np.round(box.get_xy(), 2)): box for box in axis.patches}
    assert len(boxes) == 11 == len(axis.texts)
    pairs = list(zip(axis.patches, axis.texts, strict=True))
    framed = [text.get_text() for box, text in pairs if box.get_linewidth() > 0]
    assert framed == [f"{cells(stored)['erm', 'b'].point.value:.3f}".removeprefix("0")] == [".105"]
    assert {to_hex(box.get_edgecolor()) for box in axis.patches if box.get_linewidth()} == {MEAN_COLOUR}
    assert [text.get_text() for text in axis.get_yticklabels()] == ["itself (white box)", "a", "b", "erm"]
    stored = [text.get_text() for text in axis.texts]
    colours = [sum(box.get_facecolor()[:3]) for box in axis.patches]
    by_value = sorted(zip(stored, colours, strict=True))
    assert [colour for _, colour in by_value] == sorted(colours, reverse=True), "darker is more accurate"


def test_many_targets_of_one_source_stand_below_each_other():
    members = [f"model {letter}" for letter in "abcdef"]
    rows = [attack for m in members for attack in (clean(m), attacked(m, "PGD-1", {0.3: 20}))]
    rows += [attacked(m, "PGD-1", {0.3: 30 + i}, role="transfer", source="erm") for i, m in enumerate(members)]
    stored = source(*rows)
    (axis,) = transfer_section(stored, curves(stored)).drawings[0].make(False).axes
    assert [text.get_text() for text in axis.get_yticklabels()] == members
    assert [text.get_text() for text in axis.get_xticklabels()] == ["itself (white box)", "erm"]
    places = {text.get_text(): text.get_position() for text in axis.texts}
    assert places[".350"] == (1.25, 5)
    assert axis.get_ylim() == (5.5, -0.5)


def test_of_many_matrices_each_attack_is_drawn_where_it_halves_accuracy():
    sizes = (0.1, 0.2, 0.3, 0.4, 0.5)
    stored = run(("b", "erm"), sizes)
    matrices = transfer_matrices(stored.rows, {name(*m): m[0] for m in OWN}, curves(stored))
    assert [matrix.eps for matrix in matrices] == list(sizes)
    assert [matrix.eps for matrix in select_matrices(matrices)] == [0.3]
    assert len(transfer_figure(matrices).axes) == 6


def test_a_target_without_an_attack_of_its_own_has_no_white_box():
    rows = [attacked("m", "PGD-1", {0.3: 50}, role="transfer", source="n"), clean("m"), clean("n")]
    section = transfer_section(source(*rows), [])
    assert section.tables[0].head == ["attack", "eps", "made against n"]
    interval = str(accuracy(correct_by_network(rows[0])))[6:]
    assert section.sentences == [
        f"Accuracy of m under PGD-1 at eps 0.3 is 0.500 ± 0.000 {interval} on perturbations made against n."
    ]
    section.drawings[0].make(False)


def test_runs_without_transfer_have_no_section():
    stored = run()
    alone = source(stored.rows[stored.rows.role == "sweep"], recipe=RECIPE)
    assert transfer_section(alone, curves(alone)) is None


def test_sources_that_kept_some_perturbations_are_compared_on_the_inputs_that_all_have():
    whole = run()
    dropped = (whole.rows.role == "transfer") & whole.rows.source.str.endswith("seed 1") & (whole.rows["index"] >= 70)
    other = (whole.rows.role == "transfer") & whole.rows.source.str.endswith("seed 0") & (whole.rows["index"] < 10)
    kept = whole.rows[~dropped & ~other]
    (matrix,) = transfer_matrices(kept, {name(*m): m[0] for m in OWN}, curves(whole))
    assert (matrix.inputs, matrix.of) == (60, 100)
    within = whole.rows[whole.rows["index"].between(10, 69)]
    white = within[(within.role == "sweep") & (within.attack != "none") & within.model.str.startswith("a,")]
    assert matrix.cells["itself", "a"].point.value == pytest.approx(white.correct.mean())
    section = transfer_section(replace(whole, rows=kept), curves(whole))
    assert "60 of 100" in section.tables[0].body[0]
    assert "on the 60 of 100 inputs whose perturbations were kept," in section.sentences[0]


def test_a_page_is_made_of_several_networks_that_kept_different_perturbations():
    whole = run()
    dropped = (whole.rows.role == "transfer") & whole.rows.source.str.endswith("seed 1") & (whole.rows["index"] >= 70)
    kept = replace(whole, rows=whole.rows[~dropped])
    for survival in measure_survival(kept, curves(whole)):
        assert (survival.n, [stage.kind for stage in survival.stages if stage.kind == "transfer"]) == (100, [])
    assert transfer_section(kept, curves(whole)) is not None
