"""What `soakbed COMMAND --help` says, for many commands at one start: each costs over a second."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["help_of"]

PROJECT = Path(__file__).resolve().parents[1]
# The command itself in a process of its own, asked again and again.
ASKING = """
import contextlib, io, json, sys
from soakbed.__main__ import main

def told(words):
    said, code = io.StringIO(), None
    sys.argv = ["soakbed", *words.split(), "--help"]
    with contextlib.redirect_stdout(said):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    return code, said.getvalue()

print(json.dumps({words: told(words) for words in json.loads(sys.argv[1])}))
"""


@functools.cache
def help_of(*commands: str) -> dict[str, tuple[int | None, str]]:
    """Command -> exit code and what went to standard output."""
    done = subprocess.run(
        [sys.executable, "-c", ASKING, json.dumps(commands)],
        cwd=PROJECT,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=True,
    )
    return {command: (code, said) for command, (code, said) in json.loads(done.stdout).items()}
