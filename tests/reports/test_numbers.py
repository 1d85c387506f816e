"""Numbers show as many digits as they deserve."""

from __future__ import annotations

import math

import pytest

from rlhf.reports import numbers


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.12345, "", "0.123"), (12.345, "", "12.3"), (1234.5, "tokens", "1,234 tokens"), (0.0, "", "0"),
        (-0.5, "", "−0.500"), (0.715, "%", "71.5%"), (1.2e-5, "", "1.2×10⁻⁵"), (None, "", "–"), (math.nan, "", "–"),
        (-math.inf, "", "−∞"),
    ],
)  # fmt: skip
def test_number(value, unit, text):
    assert numbers.number(value, unit) == text


def test_interval_digits_follow_its_width():
    assert numbers.interval(0.41837, 0.3471, 0.4893) == ("0.418", "0.347 to 0.489")
    assert numbers.interval(0.41837, -0.9, 1.7) == ("0.4", "−0.9 to 1.7")
    assert numbers.interval(0.71, 0.645, 0.77, "%") == ("71.0%", "64.5% to 77.0%")
    assert numbers.interval(2.0, None, None)[1] == "no interval from one unit"
    assert numbers.interval(0.001, -0.03, 0.03, signed=True)[0] == "+0.001"


def test_a_rounded_zero_has_no_sign():
    assert numbers.number(-0.0001, decimals=2) == "0.00" and numbers.number(0.0, signed=True) == "0"


def test_pairs_share_their_decimals():
    assert numbers.pair(-0.0975, 0.467) == ("−0.098", "0.467")
    assert numbers.pair(0.51, 0.74, "%") == ("51.0%", "74.0%")


def test_p_values_and_durations():
    assert [numbers.p_value(p) for p in (0.0004, 0.0314, 0.5, None)] == [
        "p < 0.001",
        "p = 0.031",
        "p = 0.50",
        "p not known",
    ]
    texts = [numbers.duration(s) for s in (0.4, 42, 200, 1728, 7500, None)]
    assert texts == ["0.4 s", "42 s", "3 min 20 s", "29 min", "2 h 05 min", "–"]
    assert [numbers.short(v) for v in (0.305, 0.005, 0.0, -1.5, 12.0)] == ["0.30", "0.0050", "0.00", "−1.50", "12.00"]
