"""Checks of numbers that callers pass."""

import math

import numpy as np
import pytest

from torchprotect._inputs import require_int, require_number
from torchprotect.errors import InputRangeError


@pytest.mark.parametrize("value", [True, 1.0, "1", None, np.int64(1), math.nan])
def test_only_an_int_is_an_integer(value):
    with pytest.raises(InputRangeError, match=r"^steps must be an integer, got "):
        require_int("steps", value)


@pytest.mark.parametrize("value", [True, "1", None, 1j, math.nan, math.inf, -math.inf])
def test_a_number_is_a_finite_int_or_float(value):
    with pytest.raises(InputRangeError, match=r"^noise must be a finite number, got "):
        require_number("noise", value)


@pytest.mark.parametrize("value", [-(10**400), -1, 0, 10**400])
def test_integers_of_any_size_pass_without_bounds(value):
    require_int("count", value)
    require_number("count", value)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        ({"at_least": 1}, 1, 0, "of at least 1"),
        ({"at_most": 1}, 1, 2, "of at most 1"),
        ({"at_least": 1, "at_most": 3}, 3, 4, "from 1 to 3"),
    ],
)
def test_bounds_of_integers(bounds, inside, outside, words):
    require_int("steps", inside, **bounds)
    with pytest.raises(InputRangeError, match=f"^steps must be an integer {words}, got {outside}$"):
        require_int("steps", outside, **bounds)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        ({"above": 0}, 0.5, 0, "above 0"),
        ({"below": 1}, 0.5, 1, "below 1"),
        ({"above": 0, "below": 1}, 0.5, 1, "above 0 and below 1"),
        ({"at_least": 0, "below": 1}, 0, 1, "of at least 0 and below 1"),
        ({"at_least": 0, "at_most": 1}, 1, 2, "from 0 to 1"),
    ],
)
def test_bounds_of_numbers(bounds, inside, outside, words):
    require_number("decay", inside, **bounds)
    with pytest.raises(InputRangeError, match=f"^decay must be a finite number {words}, got {outside}$"):
        require_number("decay", outside, **bounds)
