"""Attacks that are not compared with others of their norm: a step of their own, an aim that is not the label."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import attacked, clean, curves, source

from unshaken.report.accuracy import shared_attacks
from unshaken.report.drawing import Inline
from unshaken.report.figures import accuracy_figure, choose_pictures, drawable_panels
from unshaken.report.page import page
from unshaken.report.sections.lengths import lengths_section
from unshaken.report.sections.losses import losses_section
from unshaken.report.sections.models import models_section, select_attacks
from unshaken.report.sections.seeds import seeds_section
from unshaken.report.sections.survival import survival_section
from unshaken.report.sections.transfer import transfer_matrices, transfer_section
from unshaken.report.stored_run import Examples
from unshaken.report.sweep import Family, Setting, measure_sweep
from unshaken.report.verdict import panel_results, verdict

L2 = {"norm": "l2", "zero_gradient": 0.0}


def own_step(model: str, right: int, moved: float = 2.0, **columns: Any) -> pd.DataFrame:
    return attacked(
        model, "FGM-5", {28.0: right}, **L2 | {"attack": "one_step_cw", "loss": "logit_sum", "size": moved} | columns
    )


def nearest(model: str, **columns: Any) -> pd.DataFrame:
    right = {0.5: 80, 1.0: 40, 3.0: 10}
    return attacked(model, "PGD-5", right, **L2 | {"attack": "carlini_wagner", "steps": 100, "size": 0.9} | columns)


def latent(model: str, right: dict[float, Any], **columns: Any) -> pd.DataFrame:
    return attacked(model, "PGD-3", right, **{"loss": "latent_shift"} | columns)


def test_a_step_of_its_own_squeezes_no_curve_and_wins_over_none() -> None:
    run = source(clean("m"), own_step("m", 0), nearest("m"))
    panels = curves(run)
    assert {panel.title: [*panel.curves] for panel in panels} == {
        "a step of its own": ["ONE-STEP-CW-5"],
        "": ["CARLINI-WAGNER-5"],
    }
    assert [panel.title for panel in drawable_panels(panels)] == [""]
    assert panels[1].strongest() == "CARLINI-WAGNER-5"
    (_, single), (_, swept) = panel_results(run, panels)
    assert "Under ONE-STEP-CW-5, the only attack, it is 0.000" in single
    assert "Under CARLINI-WAGNER-5, the only attack, it is 0.800" in swept
    assert "a single eps is in the tables alone" in page(run, panels, {"accuracy": Inline("", "")})


def test_attacks_at_one_size_are_drawn_where_nothing_sets_them_apart() -> None:
    both = [attacked("m", "FGSM-1", {0.1: 50, 0.2: 40}), attacked("m", "FGM-1", {1.0: 50}, norm="l2")]
    assert len(drawable_panels(curves(source(clean("m"), *both)))) == 2
    assert drawable_panels(curves(source(clean("m"), both[1]))) == []


def test_an_attack_on_the_latent_is_not_called_the_stronger_one() -> None:
    parts = clean("m"), attacked("m", "PGD-3", {0.1: 60, 0.2: 30}), latent("m", {0.1: 10, 0.2: 5})
    run = source(*parts)
    assert [panel.title for panel in curves(run)] == ["", "aimed at the latent"]
    sentences = verdict(run, curves(run), [])
    assert any("Under PGD-3, the only attack, it is 0.600" in line for line in sentences)
    assert survival_section(run, curves(run)) is None, "it falsifies nothing"
    assert losses_section(run, curves(run)) is None, "nor are the aims two losses of one attack"
    other = parts[2].assign(loss="margin")
    run = source(parts[0], parts[1].assign(loss="log_error"), other)
    assert survival_section(run, curves(run)) is not None
    assert losses_section(run, curves(run)) is not None


def test_how_far_a_step_of_its_own_goes_is_told_beside_the_accuracies() -> None:
    parts = [
        rows for m, right, moved in (("a", 0, 4.0), ("b", 30, 1.5)) for rows in (own_step(m, right, moved), clean(m))
    ]
    run = source(*parts, *(nearest(m) for m in "ab"), *(latent(m, {0.1: 10}) for m in "ab"))
    section = models_section(run, curves(run))
    assert section is not None
    assert section.sentences == [
        "Models are not attacked alike by ONE-STEP-CW-5, L2 norm: the mean length of its step, which follows that of "
        "the gradient, goes from 1.500 (b) to 4.000 (a)."
    ]
    assert section.drawings[0].caption.endswith("An attack with a step of its own is in the table alone.")
    titles = [axis.get_title("left") for axis in section.drawings[0].make(False).axes if axis.get_visible()]
    assert titles == ["under CARLINI-WAGNER-5, L2 norm", "under PGD-3, L∞ norm, aimed at the latent"]
    assert "ONE-STEP-CW-5, L2 norm, eps 28" in section.tables[0].head


def test_every_length_is_told_at_a_size_that_its_attack_had() -> None:
    run = source(clean("m"), own_step("m", 0), nearest("m"))
    section = lengths_section(run, curves(run))
    assert section is not None
    assert [row[:3] for row in section.tables[0].body] == [
        ["ONE-STEP-CW-5", "28", "2.000 [2.000, 2.000]"],
        ["CARLINI-WAGNER-5", "3", "0.900 [0.900, 0.900]"],
    ]


@pytest.mark.parametrize(
    "make", [lambda m, **columns: own_step(m, 60, **columns), nearest], ids=["own step", "nearest"]
)
def test_perturbations_that_go_further_elsewhere_are_no_sign_of_masked_gradients(make: Any) -> None:
    transferred = make("a", role="transfer", source="b").assign(correct=False)
    run = source(clean("a"), make("a"), transferred)
    for matrix in transfer_matrices(run.rows, {"a": "a", "b": "b"}, curves(run)):
        assert all(cell.change is None for cell in matrix.cells.values())
    section = transfer_section(run, curves(run))
    assert section is not None
    assert "on those made against itself." in section.sentences[0]
    changed = [rows.assign(attack=rows.attack.where(rows.attack == "none", "pgd"), loss="cw") for rows in (run.rows,)]
    section = transfer_section(source(*changed), curves(source(*changed)))
    assert section is not None
    assert "a sign of masked gradients" in section.sentences[0], "of any other attack"


def test_a_sweep_is_told_at_the_size_of_attacks_of_the_same_aim() -> None:
    models = {1.0: "a", 2.0: "b", 3.0: "c"}
    fgm = [attacked(m, "FGM-5", {0.5: 80, 1.0: 30}, **L2) for m in models.values()]
    step = [own_step(m, 0).assign(eps=0.5) for m in models.values()]
    run = source(*(clean(m) for m in models.values()), *fgm, *step)
    sweep = measure_sweep(Setting("model.sigma", [Family("", models)]), run, curves(run))
    assert sweep is not None
    assert sweep.eps["FGM-5"] == 1.0, "where FGM halves, not where the other does"


def test_a_model_that_guesses_is_told_once_not_for_every_norm() -> None:
    run = source(clean("m", right=8), own_step("m", 0), nearest("m"), attacked("m", "FGSM-5", {0.1: 5}))
    ((title, text),) = panel_results(run, curves(run))
    assert title == ""
    assert "not surely better than chance" in text
    other = source(run.rows, clean("n"), nearest("n"))
    assert [title for title, _ in panel_results(other, curves(other))] == ["m", "n, L2 norm"]


def test_words_are_explained_where_they_occur() -> None:
    terms = ["CARLINI-WAGNER-k", "ONE-STEP-CW-k", "SPATIAL-k", "flow norm", "aimed at the latent", "chains"]
    plain = source(clean("m"), attacked("m", "FGSM-5", {0.1: 5}))
    assert not [term for term in terms if f"<dt>{term}</dt>" in page(plain, curves(plain), {})]
    flow = attacked("m", "PGD-5", {0.01: 50}, attack="spatial (flow_weight 0.1)", norm="flow")
    chain = {"kind": "smoothing", "base": {"kind": "chain"}}
    recipe = {"models": [{"label": "m", "model": chain}]}
    every = source(clean("m"), own_step("m", 0), nearest("m"), latent("m", {0.1: 9}), flow, recipe=recipe)
    text = page(every, curves(every), {})
    assert [term for term in terms if f"<dt>{term}</dt><dd>" in text] == terms


def test_pictures_are_of_an_attack_on_the_label_where_there_is_one() -> None:
    parts = clean("m"), latent("m", {0.1: 10}), attacked("m", "FGSM-1", {0.1: 60})
    image = np.zeros((2, 1, 4, 4), np.float32)
    examples = {str(i): Examples(image, image[None], [0.1], rows) for i, rows in enumerate(parts[1:])}
    run = dataclasses.replace(source(*parts), examples=examples)
    panels = curves(run)
    assert panels[0].apart
    chosen = choose_pictures(run, panels)
    assert chosen is not None
    assert chosen.attack == "FGSM-1"


def test_networks_of_seeds_are_told_of_under_an_attack_that_nothing_sets_apart() -> None:
    models = [{"label": f"{g}{s}", "group": g, "seed": s} for g in "ab" for s in (0, 1)]
    parts = [rows for m in models for rows in (clean(m["label"]), own_step(m["label"], 0), nearest(m["label"]))]
    run = source(*parts, recipe={"models": models})
    section = seeds_section(run, curves(run))
    assert section is not None
    assert section.sentences[0].startswith("Under CARLINI-WAGNER-5")


def test_of_many_attacks_the_one_that_is_shown_is_strongest_on_the_label() -> None:
    kinds = [attacked("a", f"PGD-{k}", {0.1: 90 - k, 0.2: 80 - k}) for k in (1, 2, 4, 8)]
    apart = [latent("a", {0.1: 5, 0.2: 2})]
    run = source(*(rows.assign(model=m) for m in "ab" for rows in (clean("a"), *apart, *kinds)))
    panels = curves(run)
    assert [attack.label for attack in select_attacks(shared_attacks(panels), panels)] == ["PGD-8"]


def test_the_mean_network_alone_joins_attacks_of_the_same_aim() -> None:
    run = source(*(rows.assign(model=m) for m in "mn" for rows in (clean("m"), own_step("m", 0), nearest("m"))))
    figure = accuracy_figure(curves(run), {"m": "n"})
    drawn = [len(axis.lines) for axis in figure.axes if axis.get_visible()]
    assert drawn == [3, 3], "no attack, the attack, and the same on the mean network"
