"""The sentences of an explanation: what happened, by how much, and what would have to change."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from unshaken.analysis.explanation import POINTS, REACH, Explanation
from unshaken.analysis.robustness import Robustness
from unshaken.report.explain_page import Case, case_figure, case_sentences, outcome_text

NAMES = ("cat", "dog", "fox")


def explanation(
    margin: float = 0.4,
    slope: float = -0.2,
    after: float = 0.2,
    *,
    length: float = 2.0,
    norm: float = 0.5,
    other: float = 1.0,
) -> Explanation:
    """A cat whose margin over dogs is `margin`, by the tangent margin + slope and really `after`, at the attack."""
    inf, nan = math.inf, math.nan
    distance = inf if slope >= 0 else -margin * length / slope
    robustness = Robustness(
        margin=torch.tensor([inf, margin, 0.9]).double(),
        slope=torch.tensor([0.0, slope, 0.1]).double(),
        gradient_norm=torch.tensor([0.0, norm, other]).double(),
        cosine=torch.tensor([nan, slope / (norm * length) if length else nan, 0.05]).double(),
        linear_distance=torch.tensor([inf, max(distance, 0.0), inf]).double(),
        smooth_distance=None,
        length=torch.tensor(length).double(),
        correct=torch.tensor(margin > 0),
        survived=torch.tensor(after > 0),
        linear=torch.tensor(margin > 0 and margin + slope > 0),
        smooth=None,
        linear_class=torch.tensor(1),
        smooth_class=None,
    )
    scales = torch.linspace(0, REACH, POINTS)
    margins = torch.stack([0 * scales, margin + (after - margin) * scales, 0.9 + 0 * scales], 1).double()
    before, moved = (torch.tensor([0.5 + m / 2, 0.5 - m / 2, 0.0]).double() for m in (margin, after))
    return Explanation(0, before, moved, robustness, None, scales, margins)


def test_a_label_that_stood_says_what_would_make_it_fall():
    sentences = case_sentences(explanation(), NAMES)
    assert outcome_text(explanation()) == "stood"
    assert sentences[0] == "It is cat, with probability 0.700 before the attack and 0.600 after it."
    assert sentences[1] == (
        "Its margin over dog is 0.400; to first order the perturbation takes 0.200 of it away (gradient norm 0.500 × "
        "length 2.00 × cosine -0.20), so by the linear condition the label stands, as it does."
    )
    assert sentences[2] == (
        "For the label to fall, the perturbation would have to be 2.00 times as long by the linear condition, 2.00 "
        "times in fact; to first order its cosine at this length would have to be below -0.40, and is -0.20."
    )


def test_a_label_that_fell_says_what_would_make_it_stand():
    sentences = case_sentences(explanation(slope=-0.8, after=-0.4), NAMES)
    assert outcome_text(explanation(after=-0.4)) == "fell"
    assert sentences[0].endswith("and 0.300 after it, when dog has 0.700.")
    assert "takes 0.800 of it away" in sentences[1]
    assert sentences[1].endswith("by the linear condition the label falls, as it does.")
    assert sentences[2].startswith(
        "For the label to stand, the perturbation would have to be shorter than 0.50 times its length by the linear "
        "condition, 0.50 times in fact; to first order its cosine at this length would have to be above -0.40"
    )


def test_where_the_condition_is_wrong_it_says_so():
    assert case_sentences(explanation(slope=-0.2, after=-0.1), NAMES)[1].endswith(
        "the label stands, which it does not."
    )


def test_a_perturbation_that_moves_away_has_no_distance():
    sentences = case_sentences(explanation(slope=0.2, after=0.5), NAMES)
    assert "adds 0.200 to it" in sentences[1]
    assert sentences[2] == (
        "To first order it falls nowhere in this direction; in fact at more than 3 times the length of the "
        "perturbation."
    )


def test_a_label_that_falls_against_the_linear_condition_says_so():
    sentences = case_sentences(explanation(slope=0.2, after=-0.4), NAMES)
    assert sentences[2] == (
        "To first order it falls nowhere in this direction; in fact at 0.50 times the length of the perturbation."
    )


def test_where_no_direction_is_enough_it_says_what_length_is():
    assert case_sentences(explanation(norm=0.1, other=0.1), NAMES)[2].endswith(
        "no direction of this length is enough, the best one needs 4.00."
    )


def test_a_wrong_input_and_one_that_was_not_moved_have_nothing_to_explain():
    wrong, still = explanation(margin=-0.2, after=-0.3), explanation(length=0.0, slope=0.0, after=0.4)
    assert outcome_text(wrong) == "wrong before the attack"
    assert case_sentences(wrong, NAMES)[-1] == "It was taken for dog before the attack, so there is no label to defend."
    assert len(case_sentences(still, NAMES)) == 2
    assert case_sentences(still, NAMES)[1] == "The attack did not move it."


@pytest.mark.parametrize("narrow", [False, True])
def test_a_figure_shows_the_images_and_the_margins_with_a_tangent(narrow):
    clean = np.zeros((1, 4, 4), dtype=np.float32)
    figure = case_figure(Case(3, clean, clean + 0.25, explanation()), NAMES, narrow=narrow)
    (curves,) = (axis for axis in figure.axes if axis.get_legend() is not None)
    images = [axis for axis in figure.axes if axis is not curves]
    assert [axis.get_xlabel() for axis in images] == ["clean", "change × 2", "attacked"]
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["over dog", "over fox", "its tangent"]
    tangent = next(line for line in curves.lines if line.get_label() == "its tangent")
    assert tangent.get_ydata()[[0, -1]] == pytest.approx([0.4, 0.4 - 3 * 0.2])
