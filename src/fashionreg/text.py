"""Numbers and seeds as text, the same wherever a person reads them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

#: What stands where there is no number.
NOTHING = "\N{EN DASH}"

#: Full names of the metrics.
METRIC_NAMES = {"acc": "accuracy", "loss": "loss", "ece": "calibration error", "gap": "generalization gap"}

#: The significance level; a p value is never rounded to the other side of it.
THRESHOLD = 0.05


@dataclass(frozen=True)
class Unit:
    """How values of one kind are printed.

    Attributes:
        name: What follows the number, with the space before it.
        factor: What a value is multiplied by: 100 for a share in percent.
        decimals: Digits after the decimal point; None for four significant digits, where any size is possible.
    """

    name: str
    factor: float = 1
    decimals: int | None = 2

    def number(self, value: float, *, signed: bool = False) -> str:
        """Return a value without its unit: `81.25`; `signed`, also with `+`. Zero has no sign; NaN is a dash."""
        if math.isnan(value):
            return NOTHING
        form = ".4g" if self.decimals is None else f".{self.decimals}f"
        text = f"{self.factor * value:{'+' if signed else ''}{form}}"
        if not any(digit in text for digit in "123456789") and math.isfinite(value):
            text = text.lstrip("+-")
        return text.replace("-", "\N{MINUS SIGN}")

    def text(self, value: float, *, signed: bool = False) -> str:
        """Return a value with its unit: `81.25%`, `+0.31 points`."""
        number = self.number(value, signed=signed)
        return number if number == NOTHING else number + self.name

    def interval(self, low: float, high: float, *, signed: bool = False) -> str:
        """Return an interval: `81.17 to 81.87%`; a dash where it was not computed."""
        if math.isnan(low):
            return NOTHING
        unit = self.alike(low, high)
        return f"{unit.number(low, signed=signed)} to {unit.text(high, signed=signed)}"

    def ends(self, low: float, high: float, *, signed: bool = False) -> str:
        """Return the interval of a difference without its unit: `+0.12 to +0.40`, `above 0 to 0.24`.

        An end that is rounded to 0 in an interval that excludes it is `above 0` or `below 0`. A dash without interval.
        """
        if math.isnan(low):
            return NOTHING
        unit = self.alike(low, high)
        first, last, zero = unit.number(low, signed=signed), unit.number(high, signed=signed), unit.number(0)
        return f"{'above 0' if low > 0 and first == zero else first} to " + (
            "below 0" if high < 0 and last == zero else last
        )

    def with_interval(self, mean: float, low: float, high: float) -> str:
        """Return a difference with its interval, without its unit: `+0.26 (+0.12 to +0.40)`."""
        unit = self.alike(mean, low, high)
        interval = "" if math.isnan(low) else f" ({unit.ends(low, high, signed=True)})"
        return unit.number(mean, signed=True) + interval

    def with_spread(self, mean: float, std: float) -> str:
        """Return a mean with the standard deviation: `81.52 ± 0.49%`; the mean alone where that is NaN."""
        if math.isnan(mean) or math.isnan(std):
            return self.text(mean)
        unit = self.alike(mean, std)
        return f"{unit.number(mean)} ± {unit.text(std)}"

    def short(self, value: float, *, signed: bool = False) -> str:
        """Return a value with its unit for a sentence, with two significant digits or one decimal: `+21.6 points`."""
        if self.decimals is None:
            return self.text(value, signed=signed)
        size = abs(self.factor * value)
        digits = 1 - math.floor(math.log10(size)) if 0 < size < math.inf else 1
        return replace(self, decimals=min(max(digits, 1), 6)).text(value, signed=signed)

    def rounded_for(self, *values: float) -> "Unit":
        """Return the unit with one decimal less if a value has two digits before the point: 21.6, but 1.46."""
        if self.decimals is None:
            return self.alike(*values)
        large = max((abs(self.factor * value) for value in values if math.isfinite(value)), default=0) >= 10
        return replace(self, decimals=max(self.decimals - 1, 0)) if large else self

    def alike(self, *values: float) -> "Unit":
        """Return the unit with the same decimals for numbers that stand together, four digits of the largest.

        It is this unit where its decimals are given, or the largest number is far from 1 and has an exponent.
        """
        size = max((abs(self.factor * value) for value in values if math.isfinite(value)), default=0)
        if self.decimals is not None or not 1e-3 <= size < 1e6:
            return self
        return replace(self, decimals=max(3 - math.floor(math.log10(size)), 0))

    def after(self, what: str) -> str:
        """Return the head of a column or axis: `accuracy (%)`; without a unit what it shows alone."""
        return f"{what} ({self.name.strip()})" if self.name else what


PERCENT = Unit("%", 100)
POINTS = Unit(" points", 100)
NATS = Unit(" nats", 1, 4)

#: Of a measure that only its user knows.
PLAIN = Unit("", 1, None)


def unit_of(metric: str) -> Unit:
    """Return the unit of a metric: percent, nats for a loss, points for the generalization gap; none for others."""
    return {"acc": PERCENT, "ece": PERCENT, "loss": NATS, "gap": POINTS}.get(metric, PLAIN)


def unit_of_difference(metric: str) -> Unit:
    """Return the unit of a difference of two values of a metric: points, nats for a loss; none for others."""
    return {"acc": POINTS, "ece": POINTS, "loss": NATS, "gap": POINTS}.get(metric, PLAIN)


def p_value(value: float) -> str:
    """Return a p value with three significant digits: `p = 0.0304`, `p < 0.001`; or that there is none.

    One that would be rounded to the other side of 0.05 has as many digits as tell it apart.
    """
    if math.isnan(value):
        return "not tested"
    if value < 0.001:
        return "p < 0.001"
    texts = (f"{value:#.{digits}g}" for digits in range(3, 18))
    return "p = " + next(text for text in texts if (float(text) < THRESHOLD) == (value < THRESHOLD))


def p_cell(value: float) -> str:
    """Return a p value for a table whose head says what it is: `0.0304`, `< 0.001`."""
    return p_value(value).removeprefix("p ").removeprefix("= ")


def epochs_or_never(epochs: float) -> str:
    """Return a number of epochs, `21.4`; `never` for infinity."""
    return "never" if math.isinf(epochs) else f"{epochs:.1f}"


def in_percent(shares: Iterable[float], unit: Unit = PERCENT) -> str:
    """Return shares, 0 to 1, one for each seed, as text: `81.25%`, or mean and sample deviation, `81.25 ± 0.31%`."""
    values = [float(share) for share in shares]
    mean, std = fmean(values), math.nan
    if len(values) > 1:
        # not statistics.stdev, which fails where a diverged network gave no number
        std = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
    return unit.with_spread(mean, std)


def named_seeds(seeds: Sequence[int]) -> str:
    """Return the names of seeds: `0 to 9`, `3, 7`."""
    in_a_row = len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]} to {seeds[-1]}" if in_a_row else ", ".join(map(str, seeds))


def counted(count: int, what: str) -> str:
    """Return a count with its noun: `1 seed`, `10 seeds`."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def by_seed(seeds: Sequence[int], shares: Iterable[float], per_line: int = 10) -> str:
    """Return shares, 0 to 1, each with its seed, in percent: `seed  0: 81.25   1: 80.97   ...`."""
    cells = [f"{seed}: {PERCENT.number(float(share))}" for seed, share in zip(seeds, shares, strict=True)]
    lines = ["   ".join(cells[start : start + per_line]) for start in range(0, len(cells), per_line)]
    return "\n".join(f"  seed  {line}" for line in lines)
