"""Facts are found by their keys, wherever they lie."""

from __future__ import annotations

import doctest

from soakbed.records import facts


def test_examples_in_the_text_are_true():
    assert doctest.testmod(facts).failed == 0


def test_what_nobody_says_is_absent():
    assert facts.found({}, "cores") is None
    assert facts.found({"cores": "two"}, "cores") is None
    assert facts.found({"host": {"cores": 0}}, "cores") == 0.0
