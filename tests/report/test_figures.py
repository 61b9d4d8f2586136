"""Figures: what is drawn, in which colour, and that nothing is left open behind."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb
from synthetic import attacked, run_record

from unshaken.report.accuracy import accuracy_table, panels
from unshaken.report.drawing import (
    COLOURS,
    HOLLOW_STYLE,
    MEAN_COLOUR,
    MOMENTS_COLOUR,
    STYLE,
    attack_colours,
    empty_figure,
    eps_axis,
    facets,
    inference_styles,
    legend_columns,
    line_styles,
    log_axis,
    named_styles,
    split_label,
)
from unshaken.report.figures import (
    Pictures,
    accuracy_figure,
    choose_pictures,
    mean_networks,
    picture_figure,
    training_figure,
)
from unshaken.report.stored_run import load_run
from unshaken.training import Epoch


@pytest.fixture
def source(finished):
    return load_run(finished)


@pytest.fixture
def curves(source):
    return panels(accuracy_table(source.rows))


def test_accuracy_has_a_line_for_each_attack_and_a_dashed_one_for_none(curves):
    figure = accuracy_figure(curves)
    (axis,) = figure.axes
    lines = {line.get_color(): list(line.get_ydata()) for line in axis.get_lines()}
    assert lines[MEAN_COLOUR] == curves[0].curves["MEAN"].accuracy.tolist()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["no attack", *curves[0].curves]
    (clean,) = (line for line in axis.get_lines() if line.get_linestyle() == "--")
    assert set(clean.get_ydata()) == {curves[0].clean.value}
    assert axis.get_ylim() == (-0.02, 1.02)


def test_a_mean_network_by_itself_is_a_line_in_the_axes_of_its_model():
    models = [
        {"label": "on", "model": {"kind": "dropout"}},
        {"label": "off", "model": {"kind": "mean_network", "base": {"kind": "dropout"}}},
        {"label": "other", "network": {"kind": "small_cnn"}, "model": {"kind": "dropout"}},
    ]
    assert mean_networks(run_record(recipe={"models": models})) == {"on": "off"}
    right = {0.1: 80, 0.2: 40}
    rows = [
        attacked(model, label, right) for model in ("on", "off", "other") for label in ("FGSM-1", "FGSM-10", "PGD-5")
    ]
    figure = accuracy_figure(panels(accuracy_table(pd.concat(rows))), {"on": "off"})
    drawn = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title("left") for axis in drawn] == ["on", "other"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["FGSM-1", "FGSM-10", "PGD-5", "PGD, mean network alone", "FGSM, mean network alone"]


def test_colours_are_of_the_attack_and_shades_of_the_draws(curves):
    styles = line_styles(curves)
    assert styles["MEAN"]["lw"] == max(style["lw"] for style in styles.values())
    assert len({to_hex(style["color"]) for style in styles.values()}) == 4
    assert sum(to_rgb(styles["FGSM-1"]["color"])) > sum(to_rgb(styles["FGSM-10"]["color"]))


def test_moments_stands_beside_mean_and_their_pgd_is_told_from_draws(source):
    pgd = source.rows[source.rows.attack == "pgd"]
    more = [pgd.assign(attack_draws=scheme) for scheme in ("mean", "moments")]
    moments = source.rows[source.rows.attack == "mean"].assign(attack="moments", attack_draws="moments")
    curves = panels(accuracy_table(pd.concat([moments, *more, source.rows])))
    styles = line_styles(curves)
    assert to_hex(styles["MOMENTS"]["color"]) == to_hex(styles["PGD-MOMENTS"]["color"]) == MOMENTS_COLOUR
    assert to_hex(styles["MEAN"]["color"]) == to_hex(styles["PGD-MEAN"]["color"]) == MEAN_COLOUR
    assert len({styles[label]["marker"] for label in ("MEAN", "MOMENTS", "PGD-MEAN")}) == 3
    assert styles["PGD-MEAN"]["marker"] == styles["PGD-10"]["marker"]
    assert [styles[label].get("mfc") for label in ("PGD-MEAN", "PGD-10")] == [HOLLOW_STYLE["mfc"], None]
    assert min(styles[label]["lw"] for label in ("MEAN", "MOMENTS")) > styles["PGD-MOMENTS"]["lw"]
    labels = [text.get_text() for text in accuracy_figure(curves).legends[0].get_texts()]
    assert labels == ["no attack", "FGSM-1", "FGSM-10", "PGD-10", "PGD-MEAN", "PGD-MOMENTS", "MOMENTS", "MEAN"]


def test_models_named_for_an_attack_are_drawn_like_it_and_others_apart():
    styles = named_styles(["none", "MEAN", "MOMENTS", "FGSM-2", "FGSM-10", "PGD-5"])
    assert (styles["MEAN"]["color"], styles["MOMENTS"]["color"]) == (MEAN_COLOUR, MOMENTS_COLOUR)
    assert sum(to_rgb(styles["FGSM-2"]["color"])) > sum(to_rgb(styles["FGSM-10"]["color"]))
    assert len({to_hex(style["color"]) for style in styles.values()}) == 6
    plain = named_styles([f"model {i}" for i in range(8)])
    assert len({(to_hex(style["color"]), style["ls"]) for style in plain.values()}) == 8
    assert MEAN_COLOUR not in {to_hex(style["color"]) for style in plain.values()}


def test_ticks_do_not_touch_and_log_axes_are_labelled():
    axis = empty_figure(4, 3).subplots()
    eps_axis(axis, [0.05, 0.06, 0.07, 0.15])
    assert list(axis.get_xticks()) == [0.05, 0.06, 0.07, 0.15]
    eps_axis(axis, [0.0, 0.01, 0.05, 0.055, 0.2])
    assert list(axis.get_xticks()) == [0.0, 0.05, 0.2]
    log_axis(axis, [1, 7.5, float("nan")])
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1", "2", "5"]
    log_axis(axis, [1, 900])
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1", "10", "100", "1000"]


def test_a_legend_has_as_many_columns_as_fit():
    assert legend_columns(7.6, ["FGSM-1"] * 6) == 6
    assert legend_columns(3.7, ["FGSM-1"] * 6) == 3
    assert legend_columns(3.7, ["MEAN (naive_cross_entropy)"] * 6) == 1
    assert legend_columns(3.7, ["no attack"]) == 1


def test_an_unknown_attack_and_another_loss_have_a_style(source):
    new = source.rows[source.rows.attack == "pgd"].assign(attack="deepfool", loss="cw")
    styles = line_styles(panels(accuracy_table(pd.concat([source.rows, new]))))
    assert to_hex(styles["DEEPFOOL-10"]["color"]) not in {to_hex(styles[k]["color"]) for k in ("MEAN", "PGD-10")}
    assert styles["DEEPFOOL-10"]["ls"] != styles["PGD-10"]["ls"]


@pytest.mark.parametrize("narrow", [True, False])
def test_each_panel_has_axes(source, narrow):
    three = pd.concat([source.rows, *(source.rows.assign(model=name) for name in ("b", "c"))])
    figure = accuracy_figure(panels(accuracy_table(three)), narrow=narrow)
    assert [axis.get_title("left") for axis in figure.axes if axis.get_visible()] == ["mean_field", "b", "c"]


def test_training_has_a_line_for_each_model(source):
    figure = training_figure(source.histories | {"other": [Epoch(1.0, 0.5, 1.0)]})
    assert [len(axis.get_lines()) for axis in figure.axes] == [2, 2]
    assert figure.axes[0].get_legend() is not None


def test_networks_of_a_group_are_drawn_alike_in_training():
    epochs = [Epoch(1.0, 0.5, 1.0), Epoch(0.5, 0.7, 1.0)]
    histories = {f"{group}, seed {seed}": epochs for group in ("A", "B") for seed in range(4)}
    axis = training_figure(histories, {model: model[0] for model in histories}).axes[0]
    assert len(axis.get_lines()) == 8
    assert len({line.get_color() for line in axis.get_lines()}) == 2
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["A", "B"]


def test_pictures_are_of_the_strongest_attack_where_it_halves_accuracy(source, curves):
    pictures = choose_pictures(source, curves)
    assert (pictures.attack, pictures.eps) == ("PGD-10", 0.15)
    attacked = source.rows[(source.rows.attack == "pgd") & (source.rows.eps == 0.15) & (source.rows.repeat == 0)]
    assert pictures.after == attacked.predicted.tolist()[:8]
    clean = source.rows[(source.rows.attack == "none") & (source.rows.repeat == 0)]
    assert pictures.before == clean.predicted.tolist()[:8]
    assert pictures.gain() == pytest.approx(0.5 / 0.15, rel=1e-4)
    figure = picture_figure(pictures, [])
    bold = [axis.xaxis.label.get_fontweight() == "bold" for axis in figure.axes[16:]]
    assert bold == pictures.fooled()
    assert 0 < sum(bold) < 8


def test_a_label_falls_where_right_became_wrong():
    none = np.zeros((4, 2, 2, 1))
    pictures = Pictures("PGD-10", "m", 0.1, none, none, labels=[1, 1, 1, 1], before=[1, 1, 2, 2], after=[1, 3, 2, 1])
    assert pictures.fooled() == [False, True, False, False]
    assert pictures.gain() == 1
    labels = [axis.get_xlabel() for axis in picture_figure(pictures, ["zero", "one and a half", "two"]).axes]
    assert labels[:4] == ["one and a…", "one and a…", "two\n(is one and a…)", "two\n(is one and a…)"]
    assert labels[8:] == ["one and a…", "3", "two", "one and a…"]


def test_pictures_need_clean_predictions_and_examples(source, curves):
    assert choose_pictures(source, []) is None
    source.examples.clear()
    assert choose_pictures(source, curves) is None


def test_every_format_is_written(reported):
    heads = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    written = sorted(path.name for path in (reported / "figures").iterdir())
    assert written == sorted(f"{name}.{kind}" for name in ("accuracy", "pictures", "training") for kind in heads)
    for path in (reported / "figures").iterdir():
        content = path.read_bytes()
        assert content.startswith(heads[path.suffix[1:]])
        assert len(content) > 2000


def test_ids_on_the_page_are_unique_and_every_reference_has_one(reported):
    text = (reported / "report.html").read_text()
    ids = re.findall(r'\sid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text)) <= {(i, "") for i in ids} | {("", i) for i in ids}


def test_no_global_state_of_matplotlib_is_touched(source, curves):
    import matplotlib
    from matplotlib import pyplot

    before = {key: matplotlib.rcParams[key] for key in STYLE}
    training_figure(source.histories)
    accuracy_figure(curves).draw_without_rendering()
    assert {key: matplotlib.rcParams[key] for key in STYLE} == before
    assert pyplot.get_fignums() == []


def test_the_name_of_the_report_is_imported_without_heavy_packages():
    code = "import sys, unshaken.report; assert not {'pandas', 'matplotlib', 'jinja2', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_attacks_have_their_colour_by_label():
    assert split_label("FGM-10 (loss cw)") == ("fgm", "10", "loss cw")
    assert split_label("MEAN") == ("mean", "", "")
    colours = attack_colours(["FGM-1", "FGM-10 (loss cw)", "PGD-MEAN", "MOMENTS"])
    assert to_hex(colours["FGM-10 (loss cw)"]) == COLOURS["fgm"]
    assert sum(to_rgb(colours["FGM-1"])) > sum(to_rgb(COLOURS["fgm"]))
    assert colours["PGD-MEAN"] == MEAN_COLOUR
    assert colours["MOMENTS"] == MOMENTS_COLOUR


def test_more_inference_draws_are_darker():
    styles = inference_styles([100, 1, 5])
    assert list(styles) == [1, 5, 100]
    shades = [sum(style["color"]) for style in styles.values()]
    assert shades == sorted(shades, reverse=True)
    assert len({style["marker"] for style in styles.values()}) == 3


def test_a_log_axis_has_no_more_ticks_than_there_is_room_for():
    axis = empty_figure(4, 3).subplots()
    log_axis(axis, [1e-9, 0.1], most=4)
    assert axis.get_xticks() == pytest.approx([1e-9, 1e-6, 1e-3])
    log_axis(axis, [1e-9, 0.1])
    assert len(axis.get_xticks()) == 9


@pytest.mark.parametrize(("narrow", "size"), [(False, (7.6, 4.5)), (True, (3.7, 6.5))])
def test_facets_stand_side_by_side_or_below_each_other(narrow, size):
    figure, axes = facets(3, narrow=narrow, height=2, more=0.5, sharey=True)
    assert tuple(figure.get_size_inches()) == pytest.approx(size)
    assert len(axes) == 3
    assert sum(axis.get_visible() for axis in figure.axes) == 3
