"""Numbers as a reader sees them."""

from __future__ import annotations

import doctest

import pytest

from soakbed.report import formats


def test_examples_in_the_text_are_true():
    assert doctest.testmod(formats).failed == 0


@pytest.mark.parametrize(
    ("us", "shown"),
    [(0, "0.000"), (999, "0.999"), (1000, "1.00"), (9994, "9.99"), (9999, "10.0"), (99_999, "100")],
)
def test_three_digits_matter_at_every_edge(us, shown):
    assert formats.ms(us) == shown
