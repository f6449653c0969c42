"""The recorded run as it is when one of its targets answered a read with an older value."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from soakbed.archive.run_folder import RunFolder
from soakbed.records.numbers import Numbers
from soakbed.stages.consistency import consistency_of
from soakbed.stages.summarise import assemble_summary
from tests.golden.made_histories import record, sound, with_stale_read
from tests.golden.recorded import RECORDED


def with_broken_word(folder: Path, target: str = "redis_cluster") -> Path:
    """A judged copy of the recorded run: `target` broke its word, the other one kept it."""
    copy = Path(shutil.copytree(RECORDED, folder / "run"))
    run = RunFolder(copy)
    kept = sound(workers=1, connections=5, each=40)
    broken, _ = with_stale_read(kept)
    for name in ("etcd", "redis_cluster"):
        ops = broken if name == target else kept
        record(copy / name, [replace(one, worker=0) for one in ops])
        numbers = run.read(f"{name}/numbers", Numbers)
        run.write(f"{name}/consistency", consistency_of(run, name, numbers))
    run.write("summary", assemble_summary(copy))
    return copy
