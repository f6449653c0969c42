"""Every input that fuzzing found of interest is played again: it ends as it must."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).resolve().parents[3] / "fuzz" / "corpus"


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_of_a_target_finds_nothing(target):
    inputs = sorted((CORPUS / target).iterdir())
    assert inputs
    for path in inputs:
        try:
            TARGETS[target](path.read_bytes())
        except Exception as error:
            error.add_note(f"python -m tests.fuzz {target} --play {path}")
            raise


@pytest.mark.parametrize("target", TARGETS)
def test_an_empty_input_is_no_finding(target):
    TARGETS[target](b"")
