"""Figures: what is drawn, in which colour, and that nothing is left open behind."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex, to_rgb

from unshaken.report.figures import MEAN_COLOUR, STYLE, accuracy_figure, line_styles, picture_figure, training_figure
from unshaken.report.pictures import Pictures, choose
from unshaken.report.source import load_run
from unshaken.report.tables import accuracy_table, panels


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


def test_colours_are_of_the_attack_and_shades_of_the_draws(curves):
    styles = line_styles(curves)
    assert styles["MEAN"]["lw"] == max(style["lw"] for style in styles.values())
    assert len({to_hex(style["color"]) for style in styles.values()}) == 4
    assert sum(to_rgb(styles["FGSM-1"]["color"])) > sum(to_rgb(styles["FGSM-10"]["color"]))


def test_an_unknown_attack_and_another_loss_have_a_style(source):
    new = source.rows[source.rows.attack == "pgd"].assign(attack="deepfool", loss="cw")
    styles = line_styles(panels(accuracy_table(pd.concat([source.rows, new]))))
    assert to_hex(styles["DEEPFOOL-10"]["color"]) not in {to_hex(styles[k]["color"]) for k in ("MEAN", "PGD-10")}
    assert styles["DEEPFOOL-10"]["ls"] != styles["PGD-10"]["ls"]


@pytest.mark.parametrize("narrow", [True, False])
def test_each_panel_has_axes(source, narrow):
    three = pd.concat([source.rows, *(source.rows.assign(model=name) for name in ("b", "c"))])
    figure = accuracy_figure(panels(accuracy_table(three)), narrow=narrow)
    assert [axis.get_title("left") for axis in figure.axes if axis.get_visible()] == ["b", "c", "mean_field"]


def test_training_has_a_line_for_each_model(source):
    figure = training_figure(source.histories | {"other": [{"loss": 1.0, "accuracy": 0.5}]})
    assert [len(axis.get_lines()) for axis in figure.axes] == [2, 2]
    assert figure.axes[0].get_legend() is not None


def test_pictures_are_of_the_strongest_attack_where_it_halves_accuracy(source, curves):
    pictures = choose(source, curves)
    assert (pictures.attack, pictures.eps) == ("PGD-10", 0.15)
    attacked = source.rows[(source.rows.attack == "pgd") & (source.rows.eps == 0.15) & (source.rows.repeat == 0)]
    assert pictures.after == attacked.predicted.tolist()[:8]
    clean = source.rows[(source.rows.attack == "none") & (source.rows.repeat == 0)]
    assert pictures.before == clean.predicted.tolist()[:8]
    assert pictures.gain() == pytest.approx(0.5 / 0.15, rel=1e-4)
    figure = picture_figure(pictures, [])
    bold = [axis.xaxis.label.get_fontweight() == "bold" for axis in figure.axes[16:]]
    assert bold == pictures.fell()
    assert 0 < sum(bold) < 8


def test_a_label_falls_where_right_became_wrong():
    none = np.zeros((4, 2, 2, 1))
    pictures = Pictures("PGD-10", "m", 0.1, none, none, labels=[1, 1, 1, 1], before=[1, 1, 2, 2], after=[1, 3, 2, 1])
    assert pictures.fell() == [False, True, False, False]
    assert pictures.gain() == 1
    labels = [axis.get_xlabel() for axis in picture_figure(pictures, ["zero", "one and a half", "two"]).axes]
    assert labels[:4] == ["one and a…", "one and a…", "two\n(is one and a…)", "two\n(is one and a…)"]
    assert labels[8:] == ["one and a…", "3", "two", "one and a…"]


def test_pictures_need_clean_predictions_and_examples(source, curves):
    assert choose(source, []) is None
    source.examples.clear()
    assert choose(source, curves) is None


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
