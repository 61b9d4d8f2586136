"""What survives all attacks of a run: an input is right under every one of them, in the same repeat."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from synthetic import REPEATS, N, attacked, clean, curves, source

from unshaken.evaluation.statistics import accuracy, crossed
from unshaken.report.groups import correct_by_network, network_point
from unshaken.report.sections.survival import measure_survival, ratio, survival_section

ALL = slice(0, N)


def right(rows: pd.DataFrame, inputs: slice, repeats: tuple[int, ...] = (0, 1, 2)) -> pd.DataFrame:
    """The same attack, under which just these inputs are right, in these repeats."""
    inside = rows["index"].isin(range(N)[inputs]) & rows["repeat"].isin(repeats)
    return rows.assign(correct=inside)


def attack(inputs: slice, label: str = "PGD-1", model: str = "m", eps: float = 0.3, repeats=(0, 1, 2), **columns):
    settings = {"steps": 20, "loss": "cross_entropy"} | columns
    return right(attacked(model, label, {eps: 0}, **settings), inputs, repeats)


def parts(model: str = "m") -> list[pd.DataFrame]:
    """One attack of each kind; each takes ten inputs that no other takes, but for the one with more steps."""
    return [
        clean(model, 100),
        attack(slice(0, 90), model=model),
        attack(slice(0, 85), model=model, steps=100),
        attack(slice(10, 100), model=model, restarts=10),
        attack(slice(0, 70), model=model, loss="margin"),
        attack(slice(20, 100), "FGSM-1", model=model, steps=1),
        attack(slice(30, 100), model=model, role="transfer", source="other"),
        attack(slice(0, 60), "SPSA-1", model=model),
        attack(slice(0, 55), "PGD-MEAN", model=model),
    ]


def one(*rows: pd.DataFrame, **content):
    stored = source(*(rows or parts()), **content)
    (survival,) = measure_survival(stored, curves(stored))
    return survival


def test_every_kind_has_what_it_leaves_alone_and_what_survives_it_and_all_before_it():
    survival = one()
    numbers = [
        (s.kind, round(s.alone.value, 3), round(s.survives.value, 3), round(s.share.value, 3)) for s in survival.stages
    ]
    assert numbers == [
        ("", 0.9, 0.9, 1.0),
        ("more steps", 0.85, 0.85, round(85 / 90, 3)),
        ("restarts", 0.9, 0.75, round(75 / 90, 3)),
        ("other losses", 0.7, 0.6, round(60 / 90, 3)),
        ("one step", 0.8, 0.5, round(50 / 90, 3)),
        ("transfer", 0.7, 0.4, round(40 / 90, 3)),
        ("no gradient", 0.6, 0.3, round(30 / 90, 3)),
        ("other attacks", 0.55, 0.25, round(25 / 90, 3)),
    ]
    assert (survival.clean, survival.n, survival.eps, survival.title) == (1.0, N, 0.3, "")


def test_an_input_must_be_right_under_all_attacks_in_the_same_repeat():
    """One attack is won in the first repeat, the other in the second: nothing survives, though each leaves a third."""
    survival = one(attack(ALL, repeats=(0,)), attack(ALL, loss="cw", repeats=(1,)))
    assert [stage.alone.value for stage in survival.stages] == pytest.approx([1 / 3, 1 / 3])
    assert survival.stages[-1].survives.value == 0


def test_several_attacks_of_a_kind_count_together():
    survival = one(attack(ALL), attack(slice(0, 70), loss="cw"), attack(slice(50, 100), loss="margin"))
    assert [stage.kind for stage in survival.stages] == ["", "other losses"]
    assert survival.stages[1].attacks == ["PGD-1 (cw)", "PGD-1 (margin)"]
    assert survival.stages[1].alone.value == pytest.approx(0.2)


def test_every_source_counts_and_a_transferred_first_attack_is_not_the_first():
    transferred = [attack(slice(k, 100), role="transfer", source=f"n{k}", steps=k) for k in (10, 30)]
    survival = one(*transferred, attack(slice(0, 90)))
    assert [(stage.kind, stage.survives.value) for stage in survival.stages] == [("", 0.9), ("transfer", 0.6)]


def test_the_first_attack_is_the_first_pgd_with_a_cross_entropy():
    first = attack(ALL, loss="log_error", steps=7)
    rows = [attack(ALL, loss="cw"), attack(ALL, "FGSM-1", steps=1), first, attack(ALL)]
    assert one(*rows).stages[0].attacks == ["PGD-1 (log_error, 7 steps)"]
    named = attack(ALL).assign(attack="pgd (start uniform)")
    assert one(named, attack(ALL, loss="cw")).stages[0].attacks == ["PGD-1 (start uniform)"]


def test_one_kind_alone_has_no_section():
    plain = [attack(ALL), attack(ALL, "FGSM-1", steps=1), attack(ALL, "PGD-MEAN"), attack(ALL, eps=0.1, loss="cw")]
    still = [attack(ALL, eps=0.0), attack(ALL, eps=0.0, loss="cw")]
    for rows in ([attack(ALL)], [attack(ALL, loss="cw"), attack(ALL, "FGSM-1", steps=1)], [], plain, still):
        stored = source(clean("m"), *rows)
        assert survival_section(stored, curves(stored)) is None


def test_an_attack_on_fewer_repeats_is_compared_on_these():
    blind = attack(slice(0, 50), "SPSA-1")
    first = attack(ALL, repeats=(0, 1))
    survival = one(first, blind[blind["repeat"] == 0])
    assert survival.stages[0].alone.value == 1, "of the first repeat"
    assert survival.stages[1].survives.value == 0.5


def test_networks_of_a_group_are_repeats():
    members = [{"label": f"g, seed {s}", "group": "g", "seed": s} for s in range(3)]
    rows = [
        attack(slice(0, 80 - 10 * s + extra), model=f"g, seed {s}", loss=loss)
        for s in range(3)
        for extra, loss in ((10, "cross_entropy"), (0, "margin"))
    ]
    survival = one(*rows, recipe={"models": members})
    assert survival.model == "g"
    survives = survival.stages[1].survives
    assert (survives.value, survives.spread) == pytest.approx((0.7, 0.1))
    single = pd.concat(rows[1::2]).groupby(["model", "index"]).correct.mean().reset_index()
    assert survives[:3] == pytest.approx(accuracy(single.rename(columns={"model": "repeat"})))


def test_the_share_has_the_interval_of_a_ratio_of_means():
    """Against the bootstrap over inputs, which has one source of variance."""
    noise = np.random.default_rng(0)
    whole = noise.random(400) < 0.7
    left = whole & (noise.random(400) < 0.4)
    rows = [pd.DataFrame({"index": range(400), "repeat": 0, "correct": values}) for values in (left, whole)]
    share = ratio(*rows)
    assert share.value == pytest.approx(left.sum() / whole.sum())
    picked = noise.integers(0, 400, (4000, 400))
    low, high = np.quantile(left[picked].sum(1) / whole[picked].sum(1), [0.025, 0.975])
    assert (share.low, share.high) == pytest.approx((low, high), abs=0.01)


def test_the_share_of_networks_that_differ_is_less_sure():
    alike = [correct_by_network(attack(slice(0, n)).assign(model="m")) for n in (40, 80)]
    right = {"a": (20, 80), "b": (40, 80), "c": (60, 80)}
    apart = [
        correct_by_network(pd.concat([attack(slice(0, counts[i]), model=model) for model, counts in right.items()]))
        for i in range(2)
    ]
    assert ratio(*alike).value == ratio(*apart).value == 0.5
    widths = [share.high - share.low for share in (ratio(*alike), ratio(*apart))]
    assert widths[1] > 2 * widths[0]


@pytest.mark.parametrize(("left", "low", "high"), [(0, 0.0, 1 - 0.025 ** (1 / 50)), (50, 0.025 ** (1 / 50), 1.0)])
def test_all_and_nothing_are_not_certain(left, low, high):
    right, whole = (correct_by_network(attack(slice(0, n))) for n in (left, 50))
    assert ratio(right, whole) == pytest.approx((left / 50, low, high))


def test_of_nothing_nothing_can_survive():
    nothing = correct_by_network(attack(slice(0, 0)))
    assert np.isnan(ratio(nothing, nothing)).all()
    stored = source(attack(slice(0, 0)), attack(slice(0, 0), loss="cw"))
    section = survival_section(stored, curves(stored))
    assert section.sentences == []
    assert [line[-1] for line in section.tables[0].body] == ["", ""]


def sentences_of(*rows: pd.DataFrame, **content) -> list[str]:
    stored = source(*rows, **content)
    return survival_section(stored, curves(stored)).sentences


def test_the_sentence_says_what_is_left():
    share = ratio(*(correct_by_network(attack(slice(30, 60))), correct_by_network(attack(slice(30, 90)))))
    assert share.value == 0.5
    (sentence,) = sentences_of(*parts()[:-1])
    assert sentence.startswith(
        "PGD-1 (cross_entropy, 20 steps, 1 restart) at eps 0.3 leaves an accuracy of 0.900; 0.300 of it survives all "
        "attacks together (33 % ["
    )
    (sentence,) = sentences_of(attack(ALL), attack(ALL, loss="cw"))
    assert sentence == (
        "PGD-1 (cross_entropy) at eps 0.3 leaves an accuracy of 1.000; all of it survives the other attacks."
    )
    (sentence,) = sentences_of(attack(ALL), attack(slice(0, 0), loss="cw"))
    assert "; none of it survives all attacks together (0 % [0 %, " in sentence


def test_the_kind_with_the_largest_drop_is_named():
    """Alone, an attack without a gradient leaves least; most of what is left falls before it, to restarts."""
    rows = [attack(ALL), attack(slice(30, 100), restarts=10), attack(slice(40, 90), "SPSA-1")]
    (sentence,) = sentences_of(*rows)
    assert sentence.endswith("]); the largest drop, by 0.300, comes with restarts.")
    (sentence,) = sentences_of(
        attack(slice(0, 90)), attack(slice(0, 90), steps=100), attack(slice(0, 80), role="transfer")
    )
    assert sentence.endswith("]); the largest drop, by 0.100, comes with perturbations made against other models.")
    (sentence,) = sentences_of(attack(ALL), attack(slice(0, 70), steps=100), attack(slice(0, 40), loss="cw"))
    assert sentence.endswith("%])."), "two drops of 0.3"


def test_of_a_model_that_knows_nothing_no_sentence_is_told():
    """Chance is 0.1: to be right on 12 of 100 inputs is no more than that."""
    guessing = [clean("a", 12), *(attack(slice(0, 12), model="a", loss=loss) for loss in ("cross_entropy", "cw"))]
    knowing = [clean("b", 60), *(attack(slice(0, 50), model="b", loss=loss) for loss in ("cross_entropy", "cw"))]
    assert [sentence[:5] for sentence in sentences_of(*guessing, *knowing)] == ["On b,"]
    rows = [clean("m", 12), *parts()[1:]]
    section = survival_section(source(*rows), curves(source(*rows)))
    assert section.sentences == []
    assert len(section.tables[0].body) == 8
    assert section.position == "figures", "a section without a sentence must not stand for the models"


def test_a_kind_that_not_all_networks_have_is_left_out_and_all_networks_count():
    """Perturbations of the first network are given to the two others."""
    members = [{"label": f"g, seed {s}", "group": "g", "seed": s} for s in range(3)]
    rows = [
        attack(slice(0, right), model=f"g, seed {s}", loss=loss)
        for s in range(3)
        for right, loss in ((90, "cross_entropy"), (90 - 30 * (s == 0), "cw"))
    ]
    rows += [attack(slice(0, 10), model=f"g, seed {s}", role="transfer", source=members[0]["label"]) for s in (1, 2)]
    content = {"recipe": {"models": members}}
    survival = one(*rows, **content)
    assert [(stage.kind, round(stage.survives.value, 3)) for stage in survival.stages] == [
        ("", 0.9),
        ("other losses", 0.8),
    ]
    section = survival_section(source(*rows, **content), curves(source(*rows, **content)))
    assert section.tables[0].note.endswith(
        " Left out, because not every network of g has it for every input: perturbations made against other models."
    )
    assert "Left out" not in survival_section(source(*parts()), curves(source(*parts()))).tables[0].note


def test_of_many_models_those_with_the_least_and_the_most_are_told():
    rows = [attack(slice(0, 90), model=f"m{i}") for i in range(6)]
    rows += [attack(slice(0, 10 + 10 * i), model=f"m{i}", loss="cw") for i in range(6)]
    assert [sentence[:12] for sentence in sentences_of(*rows)] == ["On m0, PGD-1", "On m5, PGD-1"]


def test_several_falsifiers_come_first_on_the_page():
    stored = source(*parts())
    assert survival_section(stored, curves(stored)).position == "first"
    few = [attack for attack in parts() if attack.attack.iloc[0] != "spsa" and (attack.role != "transfer").all()]
    stored = source(*few)
    assert survival_section(stored, curves(stored)).position == "figures"


def test_the_table_and_its_file_have_every_eps():
    rows = [attack(slice(0, n), eps=eps, loss=loss) for n, eps, loss in ((90, 0.1, "cross_entropy"), (80, 0.1, "cw"))]
    rows += parts()
    (table,) = survival_section(source(*rows), curves(source(*rows))).tables
    assert table.head == ["attacks", "eps", "right under these alone", "right under all so far", "share of the first"]
    assert [line[1] for line in table.body] == ["0.1"] * 2 + ["0.3"] * 8
    assert table.body[1][0] == "other losses: PGD-1 (cw, 20 steps, 1 restart)"
    alone = attack(slice(0, 80), loss="cw")
    assert table.body[1][2] == network_point(correct_by_network(alone)).in_full()
    assert table.body[0][-1] == "100 %"
    assert table.body[1][-1].startswith("89 % [")
    assert table.data.columns[-3:].tolist() == ["share", "share_low", "share_high"]
    assert table.data.kind.tolist()[:3] == ["first", "other losses", "first"]
    assert crossed(alone).shape == (N, REPEATS)


@pytest.mark.parametrize("narrow", [False, True])
def test_the_figure_is_of_the_eps_where_half_is_lost_on_average(narrow):
    def two(model: str, eps: float, left: int):
        return [attack(slice(0, 90), model=model, eps=eps), attack(slice(0, left), model=model, eps=eps, loss="cw")]

    rows = [clean("a", 100), clean("b", 100)]
    for eps, left in ((0.1, (70, 80)), (0.2, (10, 80)), (0.3, (0, 40))):
        rows += [*two("a", eps, left[0]), *two("b", eps, left[1])]
    stored = source(*rows)
    figure = survival_section(stored, curves(stored)).drawings[0].make(narrow)
    assert [axis.get_title("left") for axis in figure.axes] == ["a, eps 0.2", "b, eps 0.2"]
    assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx([0.9, 0.9, 0.1, 0.1])
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.900", "0.900", "0.100", "0.100"]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()][1] == "other losses"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["no attack", "under these attacks alone", "under all so far"]
