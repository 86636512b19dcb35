"""The tolerance with which a chapter's output is compared."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "book"))
from rounding import agree


@pytest.mark.parametrize(
    ("found", "committed"),
    [
        ("0.25  0.21", "0.25  0.22"),
        ("-0.00 | 1", " 0.00 | 1"),
        ("ratio 1.00", "ratio 0.99"),
        ("C2: 187 spots", "C2:  187 spots"),
    ],
)
def test_a_unit_in_the_last_place_is_rounding(found, committed):
    assert agree(found, committed)


@pytest.mark.parametrize(
    ("found", "committed"),
    [
        ("0.23", "0.21"),
        ("0.210", "0.21"),
        ("-0.02", "0.02"),
        ("187 spots", "186 spots"),
        ("0.21 True", "0.21 False"),
        ("0.21", "0.21 0.22"),
        ("", "0.21"),
    ],
)
def test_more_is_a_difference(found, committed):
    assert not agree(found, committed)
