"""`make fuzz`: coverage-guided fuzzing of the wire code with atheris, one target after another.

    python -m tests.fuzz --seconds 60                 every target
    python -m tests.fuzz http2 --seconds 600          one of them, longer

Each target runs in a process of its own. New inputs go to a scratch folder; the corpus in
`tests/fuzz/corpus` is read, and `--keep` adds the inputs that run a line of the engine which no
smaller one runs. An input that breaks the engine is written to `.soakbed/fuzz/<target>/` and
named; the exit code is then 1. Play it again: `python -m tests.fuzz <target> --play FILE`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
CORPUS = PROJECT / "tests" / "fuzz" / "corpus"
FINDINGS = PROJECT / ".soakbed" / "fuzz"
NAMES = ("resp", "hpack", "protobuf", "http2", "tikv", "connection", "batch", "stream")
MAX_BYTES = 2048
INPUT_SECONDS = 20  # one input that takes this long is a hang


def main() -> int:
    """Run what was asked for; 0 when nothing was found, 1 when something was, 2 without atheris."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--seed", type=int, default=0, help="0: another one each time")
    parser.add_argument("--keep", action="store_true", help="add to the corpus")
    parser.add_argument("--play", type=Path, help="run one input, without atheris")
    asked = parser.parse_args()
    unknown = [name for name in asked.targets if name not in NAMES]
    if unknown:
        parser.error(f"unknown target {unknown[0]!r}; use {', '.join(NAMES)}")
    if asked.play:
        return play(asked.targets, asked.play)
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed here: .venv/bin/pip install 'atheris>=3,<4'")
        return 2
    found = [fuzz(name, asked) for name in asked.targets or NAMES]
    return int(any(found))


def play(targets: list[str], path: Path) -> int:
    """Run one input through one target; its exception is the answer."""
    from tests.fuzz.targets import TARGETS

    for name in targets:
        TARGETS[name](path.read_bytes())
    return 0


def fuzz(name: str, asked: argparse.Namespace) -> bool:
    """Fuzz one target in its own process and say what came of it. True: something was found."""
    folder = FINDINGS / name
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.iterdir())
    with tempfile.TemporaryDirectory() as scratch:
        words = [scratch, str(CORPUS / name), f"-max_total_time={asked.seconds}",
                 f"-max_len={MAX_BYTES}", f"-timeout={INPUT_SECONDS}", "-rss_limit_mb=1024",
                 f"-artifact_prefix={folder}/", f"-seed={asked.seed}",
                 "-print_final_stats=1"]  # fmt: skip
        done = run(name, words)
        if asked.keep:
            keep(name, Path(scratch))
    new = sorted(path for path in folder.iterdir() if path not in before)
    print(f"{name}: {figures(done)}; {len(new)} findings")
    if done.returncode and not new:
        print(done.stdout[-3000:] + done.stderr[-3000:])
    for path in new:
        print(f"  {path}")
        print("  " + "\n  ".join(reason(done.stderr + done.stdout)))
    return bool(done.returncode)


def keep(name: str, scratch: Path) -> None:
    """Add to the corpus what runs lines of the engine that the corpus does not."""
    from tests.fuzz.cover import smallest_cover
    from tests.fuzz.targets import TARGETS

    folder = CORPUS / name
    old = {path.read_bytes() for path in folder.iterdir()}
    found = [path.read_bytes() for path in scratch.iterdir()]
    for data in smallest_cover(TARGETS[name], [*old, *found]):
        if data not in old:
            (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)


def run(name: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    """One process of the fuzzer."""
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", name, *words],
        cwd=PROJECT, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip


def figures(done: subprocess.CompletedProcess[str]) -> str:
    """Executions, speed and coverage, as libFuzzer printed them last."""
    said = done.stderr + done.stdout
    executed = re.findall(r"stat::number_of_executed_units:\s+(\d+)", said) or re.findall(
        r"#(\d+)\s", said
    )
    covered = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", said)
    points, features, inputs = covered[-1] if covered else ("0", "0", "0")
    return (
        f"{int(executed[-1] if executed else 0):,} executions, {points} points covered "
        f"({features} features), {inputs} inputs of interest"
    )


def reason(said: str) -> list[str]:
    """The end of the traceback."""
    lines = said.splitlines()
    at = [number for number, line in enumerate(lines) if "Uncaught Python exception" in line]
    return lines[at[-1] : at[-1] + 30] if at else lines[-8:]


if __name__ == "__main__":
    sys.exit(main())
