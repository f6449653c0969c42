"""`python -m tests.benchmarks.engine_bench`: the engine beside other clients, in one run.

Is it as fast as the native client, and as truthful?

Server on one core, client on the other, contenders in turn and the turn reversed each time, so
that whatever else the machine does hits all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.bench_page import page
from tests.benchmarks.bench_table import case_table, one_line, target_table
from tests.benchmarks.cases import CASES, Case, Effort, run_case
from tests.benchmarks.compare import CaseResult, Figures, exit_code, from_json, judge, to_json
from tests.benchmarks.measure import MeasureFailed

__all__ = ["main"]

BUSY_LOAD = 0.7
DEFAULT = Effort()
QUICK_REPEATS = 2
CANNOT_RUN, STOPPED = 2, 130
OUT = Path(".soakbed/engine-bench/engine-bench.json")

EXAMPLES = f"""\
examples:
  python -m tests.benchmarks.engine_bench                   every case, seven minutes or more
  python -m tests.benchmarks.engine_bench --quick           {QUICK_REPEATS} repeats, about three
  python -m tests.benchmarks.engine_bench --only etcd       one case; the others keep their figures
  python -m tests.benchmarks.engine_bench --only truth      all cases whose names begin so
  python -m tests.benchmarks.engine_bench --show            run nothing: the table of what is saved

cases: {", ".join(case.name for case in CASES)}

exit: 0 every target of the cases run is reached, 7 one is not, 2 it cannot run, 130 stopped
"""


def main(arguments: list[str] | None = None) -> int:
    """Run, print, save; see EXAMPLES for the exit codes."""
    asked = _parser().parse_args(arguments)
    cases = [] if asked.show else _chosen(asked.only)
    problems = _missing() if cases else []
    if cases is None:
        problems = [
            f"no case is called {asked.only}; there are: {', '.join(c.name for c in CASES)}"
        ]
    try:
        results = _saved(asked.out)
    except (ValueError, KeyError, TypeError) as failure:
        problems.append(
            f"{asked.out} cannot be read ({failure}); move it away, or use another --out"
        )
        results = {}
    if problems or cases is None:
        print("\n".join(problems), file=sys.stderr)
        return CANNOT_RUN
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    effort = Effort(QUICK_REPEATS if asked.quick else asked.repeats, asked.seconds)
    try:
        for case in cases:
            results[case.name] = _run(case, effort)
            _save(asked.out, results)
    except KeyboardInterrupt:
        print("stopped; servers ended, temporary files removed", file=sys.stderr)
        return STOPPED
    except (MeasureFailed, TimeoutError) as failure:
        print(f"engine-bench: {failure}", file=sys.stderr)
        return CANNOT_RUN
    return _conclude(asked.out, results, cases)


def _run(case: Case, effort: Effort) -> CaseResult:
    busy = os.getloadavg()[0]
    if busy > BUSY_LOAD:
        print(f"load average {busy:.1f}: others are at work here, and the ratios will scatter")
    began = time.monotonic()

    def told(figures: Figures, number: int) -> None:
        where = f"{case.name} {number + 1}/{effort.repeats}"
        print(f"{where:<20}{one_line(figures)}", flush=True)

    with tempfile.TemporaryDirectory(prefix="engine-bench-") as folder:
        result = run_case(case, effort, Path(folder), told)
    print(f"{case.name} took {time.monotonic() - began:.0f} s\n", flush=True)
    return result


def _conclude(out: Path, results: dict[str, CaseResult], cases: list[Case]) -> int:
    judged = judge(results.values())
    for result in results.values():
        print("\n".join([*case_table(result), ""]))
    print("\n".join(target_table(judged)))
    if results:
        _save(out, results)
        print(f"\nsaved: {out} and {out.with_suffix('.html')}")
    return exit_code(judged, [case.name for case in cases])


def _saved(out: Path) -> dict[str, CaseResult]:
    """The figures of earlier runs, which other cases keep."""
    return from_json(json.loads(out.read_text())) if out.exists() else {}


def _save(out: Path, results: dict[str, CaseResult]) -> None:
    """In the order of the cases; the page beside the figures."""
    order = [case.name for case in CASES]
    ordered = {name: results[name] for name in sorted(results, key=order.index)}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(to_json(ordered), indent=1) + "\n")
    out.with_suffix(".html").write_text(page(ordered))


def _chosen(only: list[str]) -> list[Case] | None:
    """The cases whose names begin with one of the words; None when a word names none."""
    if not only:
        return list(CASES)
    if any(not any(case.name.startswith(word) for case in CASES) for word in only):
        return None
    exact = {case.name for case in CASES}
    return [
        case
        for case in CASES
        if any(
            case.name == word or (word not in exact and case.name.startswith(word)) for word in only
        )
    ]


def _missing() -> list[str]:
    """What this machine lacks, each with the way out."""
    lacks = [
        f"{name} is not installed; install it with: apt-get install {package}"
        for name, package in (
            ("redis-benchmark", "redis-tools"),
            ("redis-cli", "redis-tools"),
            ("openssl", "openssl"),
            ("taskset", "util-linux"),
        )
        if shutil.which(name) is None
    ]
    if len(os.sched_getaffinity(0)) < 2:
        lacks.append("one core only: client and server need one each; use a machine with two")
    return lacks


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.engine_bench",
        description="The engine beside redis-benchmark, grpcio and plain Locust users, against "
        "throwaway servers on this machine.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", action="append", default=[], metavar="CASE",
                        help="this case, or all whose names begin so; may be repeated")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_REPEATS} repeats")
    parser.add_argument("--repeats", type=int, default=DEFAULT.repeats,
                        help=f"per case ({DEFAULT.repeats})")  # fmt: skip
    parser.add_argument("--seconds", type=int, default=DEFAULT.seconds,
                        help=f"per contender and repeat ({DEFAULT.seconds})")  # fmt: skip
    parser.add_argument("--show", action="store_true", help="run nothing, show what is saved")
    parser.add_argument("--out", type=Path, default=OUT,
                        help=f"the figures ({OUT}); the page goes beside them")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
