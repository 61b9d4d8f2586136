"""Words of the report: numbers, lists and sizes as people write them."""

import math
from collections.abc import Callable, Iterable, Sequence

from unshaken.evaluation.statistics import Interval

UNKNOWN = Interval(math.nan, math.nan, math.nan)

SMALL_NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

# the loss that rounds: the one that papers compute and that a saturated softmax leaves without a gradient
NAIVE = "naive_cross_entropy"


def listed(texts: Sequence[str]) -> str:
    """ "a, b and c"."""
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def number_word(n: int) -> str:
    """A small number as a word."""
    return SMALL_NUMBERS[n] if n < len(SMALL_NUMBERS) else str(n)


def times_text(ratio: float) -> str:
    """ "4.2 times", with two digits that count."""
    return f"{ratio:.0f} times" if ratio >= 9.95 else f"{ratio:.1f} times" if ratio >= 0.995 else f"{ratio:.2f} times"


def percent(share: float) -> str:
    """ "38 %", with one decimal below 10 %."""
    return f"{share:.0%}".replace("%", " %") if share == 0 or abs(share) >= 0.1 else f"{share:.1%}".replace("%", " %")


def significant_digits(value: float, digits: int = 3) -> str:
    """A positive number with so many digits that count: 1.00, 48.5, 1,234."""
    value = float(f"{value:.{digits}g}")
    decimals = max(0, digits - 1 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:,.{decimals}f}"


def increase_text(share: float) -> str:
    """ "+456 %", as an increase is published."""
    return f"{100 * share:+,.0f} %" if abs(share) >= 0.1 else f"{100 * share:+,.1f} %"


def eps_text(sizes: Iterable[float]) -> dict[float, str]:
    """How to write sizes: as n/255 where all are that and decimals would be long, otherwise as decimals."""
    sizes = list(sizes)
    pixels = all(math.isclose(e * 255, round(e * 255), abs_tol=1e-4) for e in sizes)
    short = all(math.isclose(e * 1000, round(e * 1000), abs_tol=1e-6) for e in sizes)
    if pixels and not short:
        return {e: f"{round(e * 255)}/255" if e else "0" for e in sizes}
    return {e: f"{e:.4g}" for e in sizes}


def one_eps(eps: float) -> str:
    """How to write one size by itself."""
    return eps_text([eps])[eps]


def if_known(value: float, text: Callable[[float], str]) -> str:
    """`text(value)`; "" where the value is NaN."""
    return text(value) if value == value else ""


def draws_text(draws: int | str) -> str:
    """ "10 draws", "one draw", "MEAN"."""
    draws = str(draws)
    return "one draw" if draws == "1" else f"{draws} draws" if draws.isdigit() else draws.upper()


def decimals_for(values: Iterable[float]) -> int:
    """How many decimals the smallest of some numbers needs for two digits that count: from three to eight."""
    sizes = [abs(value) for value in values if value and math.isfinite(value)]
    return min(max(3, 1 - math.floor(math.log10(min(sizes)))), 8) if sizes else 3


def interval_text(interval: Interval, decimals: int = 3) -> str:
    """A number with its interval; the number alone where the interval is not known."""
    value, *limits = (f"{number:.{decimals}f}" for number in interval)
    if math.isnan(interval.low):
        return "" if math.isnan(interval.value) else value
    return f"{value} [{', '.join(limits)}]"


def difference_text(change: Interval, decimals: int = 3) -> str:
    """A difference with its interval."""
    return f"{change.value:+.{decimals}f} [{change.low:+.{decimals}f}, {change.high:+.{decimals}f}]"


def significance_text(change: Interval, decimals: int = 3) -> str:
    """A difference, and whether it is beyond chance."""
    if change == (0, 0, 0):
        return "the two agree on every input"
    if math.isnan(change.low):
        return f"difference {change.value:+.{decimals}f}, of unknown precision"
    gap = f"difference {difference_text(change, decimals)}"
    return gap if change.low > 0 or change.high < 0 else f"no difference beyond chance ({gap})"
