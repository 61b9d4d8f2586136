"""Learning-rate schedules: their values by hand, and what they cannot be."""

from functools import partial

import pytest

from oracles import raises_sentence
from unshaken.training.schedules import SCHEDULES, cosine, steps

SETTINGS = {"steps": {"at": [1, 2]}}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_starts_at_the_optimizers_own_rate_and_never_rises(name):
    schedule = partial(SCHEDULES[name], **SETTINGS.get(name, {}))
    shares = [schedule(epoch, 5) for epoch in range(5)]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] > 0


def test_steps_are_those_of_wide_resnets():
    rates = [0.1 * steps(epoch, 200, at=[60, 120, 160]) for epoch in (0, 59, 60, 119, 120, 159, 160, 199)]
    assert rates == pytest.approx([0.1, 0.1, 0.02, 0.02, 0.004, 0.004, 0.0008, 0.0008])


def test_cosine_is_half_way_in_the_middle():
    assert cosine(5, 10) == pytest.approx(0.5)
    assert cosine(10, 10) == pytest.approx(0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"at": [0, 3]}, "every epoch of at must be a whole number, 1 or more; got 0"),
        ({"at": [3], "factor": 0.0}, "factor must be a number above 0; got 0.0"),
    ],
)
def test_steps_that_make_no_sense_are_refused(settings, message):
    with raises_sentence(message):
        steps(0, 10, **settings)
