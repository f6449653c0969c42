"""One fuzz target under atheris: its name, then libFuzzer's own words. See `tests.fuzz`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["loadgen.engine", "loadgen.keyspace"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until time is up or something breaks."""
    name = sys.argv[1]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[name])
    atheris.Fuzz()


main()
