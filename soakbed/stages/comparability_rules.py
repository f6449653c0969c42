"""What can make figures unlike, as data: where it is read, what follows, and why.

What follows depends on the question. One target in several runs: its version is what is asked, so
another one is `noted`. Several targets in one run: each is itself, and what the run gives to all
of them must be alike. The gravest of a pair's rules decides whether it is compared at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from soakbed.records.comparison import Consequence

__all__ = ["GRAVITY", "RULES", "Question", "Rule", "Touches", "gravest", "rule_of"]

Question = Literal["runs", "targets", "both"]
Touches = Literal["all", "steady"]

GRAVITY: tuple[Consequence, ...] = ("not_comparable", "caveat", "noted", "same")


def gravest(found: Iterable[Consequence]) -> Consequence:
    """The first by gravity; "same" of none."""
    return min(found, key=GRAVITY.index, default="same")


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that may differ. `key` may end with `.*`, for a family of settings.

    `runs` and `targets`: what follows between runs of one target, and between targets (None: not
    asked, each target has its own). `unknown`: what follows where a run does not say. `within`:
    measured values are alike up to this ratio. `follows`: keys that, when they differ as well,
    are taken for the cause, so that this one is only noted. `touches`: which figures it concerns.
    """

    key: str
    label: str
    source: str
    runs: Consequence
    targets: Consequence | None
    why: str
    unknown: Consequence = "caveat"
    unit: str = ""
    within: float = 1.0
    follows: tuple[str, ...] = ()
    touches: Touches = "all"

    def consequence(self, question: Question) -> Consequence | None:
        """What follows from unlike values; None where nobody asks."""
        if question == "runs":
            return self.runs
        if question == "targets" or self.targets is None:
            return self.targets
        return gravest((self.runs, self.targets))

    @property
    def of_run(self) -> bool:
        """Whether the run gives it to all of its targets alike: hosts, engine, controller."""
        return self.key.startswith(("hosts.", "testbed.", "engine.", "soakbed.", "controller."))

    def covers(self, key: str) -> bool:
        """Whether this rule speaks of `key`."""
        if self.key.endswith(".*"):
            return key.startswith(self.key[:-1])
        return key == self.key


def _workload(key: str, label: str, why: str, unit: str = "") -> Rule:
    refused: Consequence = "not_comparable"
    return Rule(f"workload.{key}", label, "spec.json", refused, refused, why, unit=unit)


_WORKLOAD = (
    _workload("keys", "keys", "Another number of keys is another fill of caches and trees."),
    _workload("value_bytes", "value size", "Larger values cost more of everything.", "bytes"),
    _workload("read_share", "share of reads", "Reads and writes cost differently."),
    _workload("popularity", "popularity of keys", "Hot keys meet caches and locks."),
    _workload("connections", "connections", "Capacity and waiting depend on them."),
    _workload("pipeline", "pipeline", "Deeper pipelines trade latency for throughput."),
    Rule(
        "workload.batch",
        "operations per call at most",
        "spec.json",
        "not_comparable",
        "caveat",
        "Fewer calls carry the same operations.",
    ),
    Rule(
        "workload.batched_stream",
        "calls as one stream",
        "spec.json",
        "not_comparable",
        "caveat",
        "A stream saves the cost of calls.",
    ),
    Rule(
        "workload.arrivals",
        "arrivals",
        "spec.json",
        "not_comparable",
        "not_comparable",
        "Bursts make queues that even arrivals do not.",
        touches="steady",
    ),
    Rule(
        "workload.steady",
        "steady rate",
        "spec.json",
        "not_comparable",
        "not_comparable",
        "Latency at another share of capacity, or of the knee, is another figure.",
        touches="steady",
    ),
    Rule(
        "steady.offered_per_s",
        "offered rate",
        "numbers.json",
        "caveat",
        "caveat",
        "Each was pressed at the same share of its own capacity, not at one rate.",
        unit="/s",
        within=1.05,
        touches="steady",
    ),
    Rule(
        "workload.timeout_ms",
        "time limit of an operation",
        "spec.json",
        "caveat",
        "caveat",
        "It decides which late replies count as unknown and leave the latencies.",
        unit="ms",
    ),
    Rule(
        "phases.capacity_s",
        "length of the capacity phase",
        "spec.json",
        "caveat",
        "caveat",
        "A longer phase meets what comes rarely.",
        unit="s",
    ),
    Rule(
        "phases.steady_s",
        "length of the steady phase",
        "spec.json",
        "caveat",
        "caveat",
        "A longer phase meets what comes rarely: compaction, snapshots, rewrites of a log.",
        unit="s",
        touches="steady",
    ),
    *(
        Rule(f"phases.{key}", label, "spec.json", "noted", "noted", why, unit="s")
        for key, label, why in (
            ("warmup_s", "warm-up", "It is not measured."),
            ("settle_s", "settling", "It is not measured."),
        )
    ),
    *(
        Rule(f"workload.{key}", label, "spec.json", "noted", "noted", why)
        for key, label, why in (
            ("knee", "how the knee is looked for", "The steady rate is compared itself."),
            ("window_s", "length of a window", "Windows add up to the same figures."),
            ("history_share", "share of keys recorded", "It costs the engine, not the target."),
            ("seed", "seed", "Other keys in the same proportions."),
            ("name", "name of the workload", "Its values are compared one by one."),
        )
    ),
)

_DEPLOYED = (
    Rule("version", "version", "ready.json", "noted", None, "This is what is asked."),
    Rule(
        "profile",
        "profile",
        "spec.json",
        "caveat",
        "not_comparable",
        "The tuning differs, and with it what may explain a difference.",
    ),
    Rule(
        "durability.*",
        "guarantee of an acknowledged",
        "ready.json",
        "caveat",
        "caveat",
        "The guarantees are unlike: a faster answer may promise less. The figures stand side by "
        "side and are no ranking.",
    ),
    Rule(
        "substituted",
        "stands in for the pinned version",
        "ready.json",
        "noted",
        None,
        "The versions themselves are compared.",
    ),
    Rule(
        "artifact.*",
        "artifact",
        "ready.json",
        "caveat",
        None,
        "One version, but not the same file.",
        follows=("version",),
    ),
    Rule(
        "binary.*",
        "program on the hosts",
        "ready.json",
        "caveat",
        None,
        "One version, but another build.",
        follows=("version",),
    ),
    Rule(
        "effective.*",
        "setting of the running members",
        "ready.json",
        "caveat",
        None,
        "The configuration read back differs although version and profile do not.",
        follows=("version", "profile", "durability.write"),
    ),
    Rule(
        "not_applied",
        "tuning that hosts did not take",
        "ready.json",
        "caveat",
        "caveat",
        "The profile is the same by name only.",
        follows=("profile",),
    ),
)

_TLS = (
    Rule(
        "tls",
        "TLS",
        "load/*/plan.json",
        "not_comparable",
        "not_comparable",
        "The cost of TLS would be compared.",
    ),
    *(
        Rule(
            f"tls.{key}",
            label,
            "numbers.json (the engines' own account)",
            "caveat",
            "caveat",
            "Another cipher costs other CPU time.",
        )
        for key, label in (("version", "version of TLS"), ("cipher", "cipher of TLS"))
    ),
)


def _host(key: str, label: str, consequence: Consequence, why: str, unit: str = "") -> list[Rule]:
    """A rule over data hosts, and the same over load hosts."""
    where = "preflight.json" if key.startswith(("data_", "clock")) else "hosts/*/facts-before.json"
    return [
        Rule(
            f"hosts.{duty}.{key}",
            f"{label} of the {duty} hosts",
            where,
            *2 * (consequence,),
            why,
            unit=unit,
        )
        for duty in ("data", "load")
    ]


_TESTBED = (
    Rule(
        "testbed.provider",
        "kind of testbed",
        "testbed.json",
        "not_comparable",
        "not_comparable",
        "Containers on one machine are not machines.",
    ),
    Rule(
        "testbed.shares_machine",
        "all hosts on one machine",
        "testbed.json",
        "not_comparable",
        "not_comparable",
        "Members and load then share CPU, memory, disk and have no network.",
    ),
    *_host("count", "number", "not_comparable", "Another cluster."),
    *_host("bound_cpus", "CPUs", "not_comparable", "Other CPU time to work with."),
    *_host("cpu_model", "CPU model", "not_comparable", "Other hosts."),
    *_host("cores", "cores", "not_comparable", "Other hosts."),
    *_host("machine", "architecture", "not_comparable", "Other hosts."),
    *_host("container", "kind of container", "caveat", "Other overhead."),
    *_host("memory_bytes", "memory", "caveat", "Other room for caches.", "bytes"),
    *_host("kernel", "kernel", "caveat", "Network and disk are the kernel's."),
    *_host("system", "system", "caveat", "Libraries and defaults differ."),
    *_host("data_file_system", "file system", "not_comparable", "Syncs cost differently."),
    *_host("data_mount_options", "mount options", "caveat", "Syncs may cost differently."),
    *_host("clock_source", "clock source", "caveat", "Reading time may cost a system call."),
    Rule(
        "hosts.data.fsync_p50_us",
        "4 KiB sync, median of the data hosts",
        "preflight.json",
        "caveat",
        "caveat",
        "The disks were not equally fast before any load.",
        unit="µs",
        within=1.5,
    ),
    Rule(
        "hosts.data.round_trip_us",
        "round trip, median of the data hosts",
        "preflight.json",
        "caveat",
        "caveat",
        "The network was not equally fast before any load.",
        unit="µs",
        within=2.0,
    ),
    Rule(
        "settings.*",
        "setting of the hosts",
        "hosts/*/facts-before.json",
        "caveat",
        "caveat",
        "The hosts were not set alike before the load.",
        follows=("profile",),
    ),
    Rule(
        "testbed.image",
        "recipe of the hosts' image",
        "testbed.json",
        "caveat",
        "caveat",
        "Other packages on the hosts.",
        unknown="noted",
    ),
    Rule("testbed.name", "testbed", "testbed.json", "noted", "noted", "Its hosts are compared."),
)

_GENERATOR = (
    Rule(
        "engine.build",
        "build of the load engine",
        "manifest.json",
        "caveat",
        "caveat",
        "A difference may be the engine's.",
    ),
    Rule(
        "engine.packages",
        "Python packages of the load hosts",
        "manifest.json",
        "caveat",
        "caveat",
        "A difference may be the engine's.",
    ),
    Rule(
        "engine.workers",
        "workers",
        "numbers.json",
        "caveat",
        "caveat",
        "More engines delay less by themselves.",
    ),
    *(
        Rule(key, label, "manifest.json", "noted", "noted", why, unknown="noted")
        for key, label, why in (
            ("engine.machine", "load hosts in their own words", "Hosts are compared above."),
            ("soakbed.version", "soakbed", "What reaches hosts and engines is compared itself."),
            ("soakbed.commit", "commit", "What reaches hosts and engines is compared itself."),
            ("soakbed.dirty", "files beside the commit", "What reaches hosts is compared itself."),
            ("controller.python", "Python of the controller", "It measures nothing."),
            ("controller.kernel", "kernel of the controller", "It measures nothing."),
        )
    ),
)

RULES: tuple[Rule, ...] = (*_DEPLOYED, *_WORKLOAD, *_TLS, *_TESTBED, *_GENERATOR)


def rule_of(key: str) -> Rule:
    """The rule that speaks of a key of `comparability_readings`. Raises KeyError for none."""
    for rule in RULES:
        if rule.covers(key):
            return rule
    raise KeyError(key)
