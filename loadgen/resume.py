"""Sessions that a reboot of the load host broke off: `python -m loadgen.resume SESSIONS_DIR`.

Run by a unit at boot. Names the systemd units of each session that was begun here, has no end and
was not stopped, one a line; each session says itself which units it has. What of its plan is over
by now is over, and an engine that finds nothing left to press writes its end and goes.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from loadgen.look import outcomes_of
from loadgen.session import SessionFolder

__all__ = ["main", "units_to_start"]

# Root starts what we name, and the folders are not root's.
_UNIT = re.compile(r"soakbed-load-(master|worker)@[A-Za-z0-9_.:-]+\.service")


def units_to_start(sessions_dir: Path) -> list[str]:
    """Units of unfinished sessions below `sessions_dir`, of the newest session first."""
    folders = [path.parent for path in sessions_dir.glob("*/plan.json")]
    folders.sort(key=lambda folder: (folder / "plan.json").stat().st_mtime, reverse=True)
    return [unit for folder in folders for unit in _units_of(SessionFolder(folder))]


def _units_of(session: SessionFolder) -> tuple[str, ...]:
    try:
        share = session.share()
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(f"{session.path.name}: left as it is: {error}", file=sys.stderr)
        return ()
    begun = any(session.lock(rank).exists() for rank in share.ranks)
    if session.stop_asked.exists() or not begun or all(outcomes_of(session).values()):
        return ()
    return tuple(unit for unit in share.units if _UNIT.fullmatch(unit))


def main(arguments: list[str]) -> int:
    """Print the units; 2 where the command line is wrong."""
    if len(arguments) != 1:
        print("usage: python -m loadgen.resume SESSIONS_DIR", file=sys.stderr)
        return 2
    for unit in units_to_start(Path(arguments[0])):
        print(unit)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
