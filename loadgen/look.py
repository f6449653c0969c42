"""What became of a session on this host, in one line of JSON: `python -m loadgen.look FOLDER`.

`soakbed` asks before it starts a session, so that one that runs or has finished is adopted and
never started twice. Reads the last frame of each spool only.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

from loadgen.contract.parts import parts_of, read_part
from loadgen.contract.sealed import SEALED
from loadgen.contract.spool import SpoolDamaged, read_spool_from
from loadgen.session import SessionFolder

__all__ = ["look", "outcome_of", "outcomes_of"]

_HEAD = struct.Struct("<II")  # as in contract.spool: payload bytes, CRC


def outcome_of(spool: Path) -> str:
    """How the engine of this spool said it ended; "" when it has not, or there is no spool."""
    if spool.suffix == SEALED:
        return _sealed_outcome(spool)
    if not spool.exists():
        return ""
    last, offset, size = 0, 0, spool.stat().st_size
    with spool.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            last, offset = offset, offset + _HEAD.size + _HEAD.unpack(head)[0]
            if offset > size:
                return ""
            file.seek(offset)
    try:
        record = next((record for record, _ in read_spool_from(spool, last)), {})
    except SpoolDamaged:
        return ""
    return str(record["outcome"]) if record.get("kind") == "end" else ""


def _sealed_outcome(path: Path) -> str:
    try:
        records = [record for record in read_part(path) if record["kind"] == "end"]
    except SpoolDamaged:
        return ""
    return str(records[-1]["outcome"]) if records else ""


def look(folder: Path) -> dict[str, object]:
    """The plan and each rank's outcome; empty when there is no whole session here."""
    session = SessionFolder(folder)
    if not session.plan_file.exists():
        return {}
    return {"plan": json.loads(session.plan_file.read_text()), "outcomes": outcomes_of(session)}


def outcomes_of(session: SessionFolder) -> dict[str, str]:
    """Rank (as text) -> how its session ended, "" while it has not; of this host's ranks."""
    found: dict[str, str] = {}
    for rank in session.share().ranks:
        # The end is the last record of all, and stands in the newest file.
        parts = parts_of(session.path, rank)
        found[str(rank)] = outcome_of(parts[-1]) if parts else ""
    return found


if __name__ == "__main__":
    print(json.dumps(look(Path(sys.argv[1]))))
