"""Numbers are printed the same way everywhere, and say no more than they are."""

import math

import pytest

from fashionreg.studies.statistics import ALPHA
from fashionreg.text import (
    NATS,
    PERCENT,
    POINTS,
    THRESHOLD,
    by_seed,
    counted,
    epochs_or_never,
    in_percent,
    named_seeds,
    p_value,
    unit_of,
    unit_of_difference,
)

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def test_values_have_the_unit_of_their_metric():
    assert unit_of("acc").text(0.8125) == "81.25%"
    assert unit_of("ece").text(0.05) == "5.00%"
    assert unit_of("gap").text(0.05) == "5.00 points"
    assert unit_of("loss").text(0.5) == "0.5000 nats"
    assert unit_of_difference("acc").text(-0.0031, signed=True) == f"{MINUS}0.31 points"
    assert unit_of_difference("loss").text(0.5, signed=True) == "+0.5000 nats"


@pytest.mark.parametrize("value", [0.0, -0.0, -0.00004, 0.00004, -1e-300])
@pytest.mark.parametrize("signed", [True, False])
def test_what_rounds_to_zero_has_no_sign(value, signed):
    assert POINTS.number(value, signed=signed) == "0.00"
    assert NATS.number(value / 100, signed=signed) == "0.0000"


def test_intervals_and_spreads_name_their_unit_once():
    assert PERCENT.interval(0.8117, 0.8187) == "81.17 to 81.87%"
    assert POINTS.interval(-0.0065, 0.007, signed=True) == f"{MINUS}0.65 to +0.70 points"
    assert PERCENT.with_spread(0.8152, 0.0049) == "81.52 ± 0.49%"
    assert NATS.with_spread(0.5, 0.01) == "0.5000 ± 0.0100 nats"


def test_an_end_that_is_rounded_to_0_says_on_which_side_of_0_it_is():
    assert POINTS.ends(5e-324, 0.0024, signed=True) == "above 0 to +0.24"
    assert POINTS.ends(-0.0024, -5e-324, signed=True) == f"{MINUS}0.24 to below 0"
    assert POINTS.ends(-0.00001, 0.0024, signed=True) == "0.00 to +0.24"
    assert POINTS.ends(0.0, 0.0) == "0.00 to 0.00"
    assert POINTS.ends(math.nan, math.nan) == DASH


def test_a_difference_has_its_interval_where_there_is_one():
    assert POINTS.with_interval(0.0026, 0.0012, 0.004) == "+0.26 (+0.12 to +0.40)"
    assert POINTS.with_interval(0.0026, math.nan, math.nan) == "+0.26"


def test_where_there_is_no_number_there_is_a_dash():
    assert PERCENT.text(math.nan) == DASH
    assert PERCENT.interval(math.nan, math.nan) == DASH
    assert PERCENT.with_spread(0.5, math.nan) == "50.00%"
    assert PERCENT.with_spread(math.nan, math.nan) == DASH
    assert in_percent([0.5, math.nan]) == DASH


def test_a_measure_that_only_its_user_knows_has_no_unit_and_four_digits():
    unit = unit_of("rmse")
    assert [unit.text(value) for value in (1234.5678, 0.5, 2e-7, 0.0)] == ["1235", "0.5", f"2e{MINUS}07", "0"]
    assert unit_of_difference("rmse").short(-0.01234567, signed=True) == f"{MINUS}0.01235"
    assert unit.rounded_for(1234.5).text(1234.5) == "1234"
    assert (unit.after("rmse"), unit_of("acc").after("accuracy")) == ("rmse", "accuracy (%)")


def test_numbers_without_a_unit_that_stand_together_have_the_same_decimals():
    unit = unit_of("rmse")
    assert unit.with_interval(-0.004384, -0.06463, 0.05) == f"{MINUS}0.00438 ({MINUS}0.06463 to +0.05000)"
    assert unit.with_spread(3.991, 0.02653) == "3.991 ± 0.027"
    assert unit.interval(3.972, 4.01) == "3.972 to 4.010"
    assert unit.ends(1e-9, 4.01) == "above 0 to 4.010"
    assert unit.interval(2e-7, 0.5e-3) == "2e\N{MINUS SIGN}07 to 0.0005"
    assert unit.rounded_for(0.185, 0.2151).text(0.185) == "0.1850"


def test_large_effects_have_one_decimal_less():
    assert POINTS.rounded_for(0.2161, 0.196).text(0.2161) == "21.6 points"
    assert POINTS.rounded_for(0.0146, math.nan).text(0.0146) == "1.46 points"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "not tested"),
        (0.0, "p < 0.001"),
        (0.000999, "p < 0.001"),
        (0.001, "p = 0.00100"),
        (0.0304, "p = 0.0304"),
        (0.05, "p = 0.0500"),
        (0.050001, "p = 0.0500"),
        (0.04999, "p = 0.04999"),
        (0.0499999, "p = 0.0499999"),
        (0.0499, "p = 0.0499"),
        (0.7, "p = 0.700"),
        (1.0, "p = 1.00"),
    ],
)
def test_p_values_have_three_digits_and_never_change_sides(value, text):
    assert p_value(value) == text


def test_the_largest_p_value_below_the_threshold_is_printed_below_it():
    text = p_value(math.nextafter(THRESHOLD, 0))
    assert float(text.removeprefix("p = ")) < THRESHOLD == ALPHA


def test_seeds_and_counts():
    assert named_seeds([0, 1, 2, 3]) == "0 to 3"
    assert named_seeds([3, 7]) == "3, 7"
    assert named_seeds([5]) == "5"
    assert (counted(1, "seed"), counted(0, "seed"), counted(1200, "epoch")) == ("1 seed", "0 seeds", "1,200 epochs")
    assert (epochs_or_never(21.44), epochs_or_never(math.inf)) == ("21.4", "never")
    assert in_percent([0.81, 0.82]) == "81.50 ± 0.71%"
    assert by_seed([0, 1], [0.8125, 0.8]) == "  seed  0: 81.25   1: 80.00"
