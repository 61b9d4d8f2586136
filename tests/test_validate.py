"""Checks of what a user passes in: what is accepted, and the sentence for what is not."""

from __future__ import annotations

import math

import pytest
import torch

from oracles import raises_sentence
from unshaken.errors import lookup
from unshaken.types import Count, Positive
from unshaken.validate import check_eps, check_inputs, check_labels, check_range

Y = torch.tensor([0, 1, 2])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 5), (3, 1, 4, 4), (3, 2, 3, 4, 5)])
def test_floating_point_inputs_of_any_rank_are_accepted_with_both_ends_of_the_box(dtype, shape):
    x = torch.rand(shape).to(dtype)
    x[0], x[1] = 0, 1
    check_inputs(x, Y)


@pytest.mark.parametrize(
    "eps",
    [
        0,
        0.1,
        1,
        torch.tensor(0.1),
        torch.tensor([0.0, 0.1, 0.2]),
        torch.tensor([0, 1, 2]),
        [0.1],
        (0.1, 0),
        [0.1, torch.rand(3)],
    ],
)
def test_sizes_are_numbers_tensors_and_lists_of_them(eps):
    check_eps(eps, 3)


@pytest.mark.parametrize(
    ("eps", "message"),
    [
        (-1e-9, "eps must be finite and 0 or more; got -1e-09"),
        (math.nan, "eps must be finite and 0 or more; got nan"),
        (torch.tensor([0.1, -0.1, 0.1]), "eps must be finite and 0 or more; got "),
        (torch.tensor(math.inf), "eps must be finite and 0 or more; got inf"),
        ([], "eps is an empty list"),
        ((), "eps is an empty list"),
        ([0.1, torch.rand(2)], r"one size per input, shape \(3,\); got \(2,\)"),
        (torch.rand(3, 1), r"one size per input, shape \(3,\); got \(3, 1\)"),
        ("8/255", "eps must be a number, a tensor or a list of these; got '8/255'"),
        (None, "eps must be a number, a tensor or a list of these; got None"),
        ([[0.1]], r"eps must be a number, a tensor or a list of these; got \[0.1\]"),
    ],
)
def test_other_sizes_are_not(eps, message):
    with raises_sentence(message):
        check_eps(eps, 3)


def test_labels_are_below_the_number_of_classes_of_which_there_are_two():
    check_labels(Y, 3)
    with raises_sentence("labels must be below 2, the number of logits; got 2"):
        check_labels(Y, 2)
    with raises_sentence("a classifier needs 2 logits at least; this network gives 1"):
        check_labels(0 * Y, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_probabilities_instead_of_labels_are_accepted_where_they_are_allowed(dtype):
    x, y = torch.rand(50, 4), torch.rand(50, 10).to(dtype).softmax(1)
    check_inputs(x, y, soft=True)
    check_labels(y, 10, soft=True)
    with raises_sentence(
        r"y must be int64 class indices \(B,\); got probabilities \(50, 10\), which only the loss 'kl'"
    ):
        check_inputs(x, y)
    with raises_sentence("which only the loss 'kl' takes"):
        check_labels(y, 10)
    check_inputs(x[:3], Y, soft=True)
    check_labels(Y, 3, soft=True)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.full((2, 4), 0.25), r"same length; got 3 inputs and probabilities \(2, 4\)"),
        (torch.full((3, 4), 0.5), "probabilities must be 0 or more, and 1 in sum; got 0.5 and a sum 1 away from 1"),
        (torch.tensor([[1.5, -0.5]] * 3), "probabilities must be 0 or more, and 1 in sum; got -0.5"),
        (torch.tensor([[math.nan, 1.0]] * 3), "probabilities must be 0 or more, and 1 in sum; got nan"),
        (torch.rand(3), r"y must be int64 class indices; got torch.float32: use y.long\(\)"),
        (torch.rand(3, 2, 2), r"y must be int64 class indices; got torch.float32: use y.long\(\)"),
        (torch.eye(3).long(), r"same length; got 3 inputs and labels \(3, 3\)"),
    ],
)
def test_what_cannot_be_probabilities_is_answered_in_one_sentence(y, message):
    with raises_sentence(message):
        check_inputs(torch.rand(3, 4), y, soft=True)


def test_there_are_as_many_probabilities_as_logits():
    with raises_sentence("y must have 3 probabilities, as many as there are logits; got 4"):
        check_labels(torch.full((3, 4), 0.25), 3, soft=True)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None])
def test_a_count_is_a_whole_number_above_zero(value):
    check_range("draws", 1, Count)
    with raises_sentence(f"draws must be a whole number, 1 or more; got {value!r}"):
        check_range("draws", value, Count)


@pytest.mark.parametrize("value", [0, -0.1, math.nan, math.inf, "3", None])
def test_a_scale_is_a_finite_number_above_zero(value):
    check_range("step_size", 1e-9, Positive)
    with raises_sentence(f"step_size must be a number above 0; got {value!r}"):
        check_range("step_size", value, Positive)


def test_a_key_names_an_entry_or_a_function_elsewhere_and_an_entry_is_itself():
    table = {"floor": math.floor, "ceil": math.ceil}
    assert lookup("rounding", "ceil", table) is math.ceil
    assert lookup("rounding", "math:trunc", table) is math.trunc
    assert lookup("rounding", round, table) is round


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("flor", "unknown rounding 'flor': did you mean 'floor'"),
        ("xyz", "unknown rounding 'xyz': choose one of: ceil, floor"),
        ("math:truncate", "cannot import rounding 'math:truncate': .*no attribute 'truncate'"),
        ("no_such_module:f", "cannot import rounding 'no_such_module:f': No module named 'no_such_module'"),
    ],
)
def test_a_key_that_names_nothing_is_answered_with_the_nearest(key, message):
    with raises_sentence(message):
        lookup("rounding", key, {"floor": math.floor, "ceil": math.ceil})
