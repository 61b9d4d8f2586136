"""Networks of dense layers."""

from __future__ import annotations

from unshaken.networks import mlp


def test_widths_are_those_asked_for():
    shapes = [tuple(tensor.shape) for tensor in mlp((1, 2, 3), 4, widths=(5, 7)).parameters()]
    assert shapes == [(5, 6), (5,), (7, 5), (7,), (4, 7), (4,)]
