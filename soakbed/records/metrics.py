"""Every number that soakbed shows, as data: key, unit, direction, meaning and smallest sample.

Tables, plots, tooltips, the terminal summary and the list in `results/README.md` all come from
here, so that a number can never appear without its unit and definition (style rule 8), and a
percentile never from a sample that does not carry it.
"""

from __future__ import annotations

from soakbed.records.metric import Better, Metric

__all__ = ["METRICS", "Better", "Metric", "metric"]

_RESPONSE = (
    "time from the moment a request was due to its reply, so waiting in our own queue counts; "
    "ok operations of the steady (open-loop) phase, failed and unknown ones counted apart"
)
_SERVICE = "time from the moment a request was sent to its reply, ok operations only"
_LAG = (
    "time from the moment a request was due to the moment it was sent: the wait for a free "
    "connection, and the generator's own delay"
)
_P99_BASIS = "The value that 99 % do not exceed"


def _latency(kind: str, stem: str, meaning: str) -> tuple[Metric, ...]:
    """The ladder of percentiles of one kind of time."""
    ladder = (
        ("p50", "P50", 20, "The median"),
        ("p90", "P90", 100, "The value that 90 % do not exceed"),
        ("p95", "P95", 200, "The value that 95 % do not exceed"),
        ("p99", "P99", 1_000, _P99_BASIS),
        ("p99_9", "P99.9", 10_000, "The value that 99.9 % do not exceed"),
        ("p99_99", "P99.99", 100_000, "The value that 99.99 % do not exceed"),
    )
    steps = [
        (key, label, least, f"{words} of the {kind.lower()}: {meaning}.")
        for key, label, least, words in ladder
    ]
    steps.append(("max", "maximum", 1, f"The longest single {kind.lower()}, exact: {meaning}."))
    steps.append(("mean", "mean", 1, f"Sum over count; read the percentiles instead: {meaning}."))
    return tuple(
        Metric(
            key=f"{stem}_{key}_us",
            label=f"{kind} {label}",
            unit="µs",
            better="lower",
            meaning=words,
            smallest_sample=least,
        )
        for key, label, least, words in steps
    )


def _count(key: str, label: str, better: Better, meaning: str) -> Metric:
    return Metric(key=key, label=label, unit="operations", better=better, meaning=meaning)


def _rate(key: str, label: str, better: Better, meaning: str) -> Metric:
    return Metric(key=key, label=label, unit="ops/s", better=better, meaning=meaning)


def _used(key: str, label: str, unit: str, meaning: str) -> Metric:
    return Metric(key=key, label=label, unit=unit, better="lower", meaning=meaning)


METRICS: tuple[Metric, ...] = (
    _rate(
        "capacity_per_s",
        "Capacity",
        "higher",
        "Closed loop: ok operations per second while every connection was kept busy. Reads "
        "“at least” where the load generator, not the target, was the limit.",
    ),
    _rate(
        "knee_per_s",
        "Knee",
        "higher",
        "Open loop: the highest rate tried at which the objective (P99, operations not ok, "
        "achieved of offered) held. Reads “at least” where no higher rate broke by the target's "
        "fault.",
    ),
    _rate(
        "knee_below_per_s",
        "Knee lies below",
        "higher",
        "Open loop: the lowest rate tried at which the objective did not hold, twice.",
    ),
    _rate(
        "offered_per_s",
        "Offered",
        "neither",
        "Open loop: operations per second that the schedule of the steady phase asked for.",
    ),
    _rate(
        "sent_per_s",
        "Sent",
        "neither",
        "Open loop: operations per second that left the generator in the steady phase.",
    ),
    _rate(
        "throughput_per_s",
        "Throughput",
        "higher",
        "Open loop: ok operations per second in the steady phase; at most what was offered.",
    ),
    _count(
        "count",
        "Operations",
        "neither",
        "Operations that ended. For read and write: those of the steady phase, ok or not. For a "
        "target: all that ended in its measured phases, capacity and steady.",
    ),
    _count(
        "total_operations",
        "Operations in all",
        "neither",
        "Operations that ended in any phase of any session, fill and warm-up included.",
    ),
    _count("ok", "Ok", "higher", "Operations whose reply said they were done."),
    _count(
        "failed",
        "Failed",
        "zero",
        "Operations that ended with an error and surely were not applied.",
    ),
    _count(
        "unknown",
        "Unknown",
        "zero",
        "Operations that may or may not have been applied: no reply in time, a broken "
        "connection, etcd NOSPACE, or an error of a TiKV region that may have taken the write.",
    ),
    _count(
        "dropped",
        "Dropped",
        "zero",
        "Operations that were due but never sent, because the generator was too far behind.",
    ),
    *_latency("Response time", "response", _RESPONSE),
    *_latency("Service time", "service", _SERVICE),
    *_latency("Lag", "lag", _LAG),
    Metric(
        key="response_p99_interval_us",
        label="Response time P99, interval",
        unit="µs",
        better="lower",
        meaning="99 % interval of the response P99 within this run, by a circular block bootstrap "
        "over time; it says nothing about how the next run would differ.",
        smallest_sample=1_000,
    ),
    Metric(
        key="cpu_share",
        label="Generator CPU",
        unit="share of one core",
        better="lower",
        meaning="CPU time of a load engine over wall time, mean of a phase, the busiest worker; "
        "above 0.8 the figures are those of the generator.",
    ),
    Metric(
        key="late_p50_us",
        label="Own delay P50",
        unit="µs",
        better="lower",
        meaning="The median of the generator's own delay in open loop: from the moment a request "
        "could first be sent (it was due, and a connection was free) to the moment it was sent.",
        smallest_sample=20,
    ),
    Metric(
        key="late_p99_us",
        label="Own delay P99",
        unit="µs",
        better="lower",
        meaning="The value that 99 % of the generator's own delays do not exceed.",
        smallest_sample=1_000,
    ),
    Metric(
        key="loop_lag_max_us",
        label="Longest pass of the event loop",
        unit="µs",
        better="lower",
        meaning="Longest stretch during which a load engine could neither send nor receive.",
    ),
    Metric(
        key="bound_s",
        label="Seconds at the generator's limit",
        unit="s",
        better="zero",
        meaning="Seconds in which a load engine broke a limit of its own: CPU, waiting for its "
        "core, own delay, a long pass, or its network link. In the steady phase more than 0.1 % of "
        "them, and at least three, make a run invalid.",
    ),
    Metric(
        key="dropping_s",
        label="Seconds with drops",
        unit="s",
        better="zero",
        meaning="Seconds in which requests that were due were dropped instead of sent, because "
        "the overdue queue was full or the time limit had passed; of target or generator.",
    ),
    Metric(
        key="wait_share_max",
        label="Wait for the core, worst second",
        unit="share of the second",
        better="lower",
        meaning="Part of a second in which a load engine was ready to run and something else had "
        "its core, as the kernel counts it (schedstat); above 0.1 the second is at the "
        "generator's limit. A target that stalls does not raise it.",
    ),
    Metric(
        key="nic_share_max",
        label="Network link, worst second",
        unit="share of the link",
        better="lower",
        meaning="Bytes of the busier direction over what the link to the target carries; above "
        "0.7 the second is at the generator's limit. Not known where a link has no honest speed: "
        "loopback, veth pairs of local hosts, most virtual cards.",
    ),
    Metric(
        key="offered_share_of_ceiling",
        label="Offered, of the generator's ceiling",
        unit="share",
        better="lower",
        meaning="Offered rate over what the load hosts reach in a closed loop against a server "
        "that answers at once from memory (make calibrate); above 0.7 a caveat says so.",
    ),
    Metric(
        key="redirects",
        label="Redirects followed",
        unit="replies",
        better="zero",
        meaning="Operations that were sent on because a reply said so: MOVED and ASK of Redis "
        "Cluster, region errors of TiKV (NotLeader, EpochNotMatch and the like). Their time is "
        "part of the operation's.",
    ),
    Metric(
        key="reconnects",
        label="Reconnects",
        unit="connections",
        better="zero",
        meaning="Connections that a load engine had to open again.",
    ),
    Metric(
        key="achieved_share",
        label="Achieved, of offered",
        unit="share",
        better="higher",
        meaning="Open loop: ok operations over what the schedule asked for, in the steady phase; "
        "Poisson arrivals make single seconds scatter around 1.",
    ),
    Metric(
        key="not_ok_share",
        label="Not ok",
        unit="share",
        better="zero",
        meaning="Open loop, one step of the ladder: operations that failed, ended unknown or were "
        "dropped, of all that ended or were dropped.",
    ),
    _used(
        "cpu_cores",
        "CPU busy",
        "cores",
        "Cores that were busy on a host, mean of the phase; waiting for a disk is not busy.",
    ),
    _used("cpu_cores_max", "CPU busy, busiest sample", "cores", "The same in its busiest sample."),
    _used(
        "memory_max_bytes",
        "Memory in use, greatest",
        "bytes",
        "Total less available, of a container resident memory; page cache is not in it.",
    ),
    _used(
        "disk_busy_share",
        "Disk busy",
        "share of the time",
        "Part of the phase in which the disk of the data folder had any request.",
    ),
    _used(
        "cpu_steal_share",
        "CPU stolen",
        "share",
        "Part of a host's CPU time that its hypervisor gave to others, mean of the phase.",
    ),
    _used(
        "disk_read_await_us",
        "Read of the disk, mean",
        "µs",
        "How long a read of the data folder's disk took from being queued to its end, mean of all "
        "of the phase; of a container the disk of its machine.",
    ),
    _used(
        "disk_write_await_us",
        "Write to the disk, mean",
        "µs",
        "The same of writes, which the page cache gives to the disk; a flush is not in it.",
    ),
    Metric(
        key="allowance_exceeded",
        label="Packets held back",
        unit="packets",
        better="zero",
        meaning="Packets that a cloud's network card queued or dropped in the phase, because the "
        "instance had used up its bandwidth, packets per second or tracked connections. Counted "
        "by cards of AWS (ENA) alone.",
    ),
    _used(
        "cpu_s_per_million",
        "CPU of the target per million operations",
        "s",
        "CPU seconds of all its members on all data hosts over ok operations of the phase.",
    ),
    _used(
        "load_cpu_s_per_million",
        "CPU of the generator per million operations",
        "s",
        "CPU seconds of the load generator's own units over ok operations of the phase.",
    ),
    _used(
        "disk_written_bytes_per_operation",
        "Disk written per operation",
        "bytes",
        "Bytes that all members gave to disks over all ok operations, reads too: logs, replicas "
        "and compaction included.",
    ),
    _used(
        "disk_written_bytes_per_write",
        "Disk written per write",
        "bytes",
        "The same bytes over ok writes alone.",
    ),
    _used(
        "write_amplification",
        "Write amplification",
        "times",
        "Bytes that all members gave to disks over bytes of the values that were written.",
    ),
    _used(
        "disk_read_bytes_per_operation",
        "Disk read per operation",
        "bytes",
        "Bytes that all members read from disks over all ok operations.",
    ),
    _used(
        "client_network_bytes_per_operation",
        "Network of the clients per operation",
        "bytes",
        "Bytes that the load hosts sent and received over ok operations.",
    ),
    _used(
        "data_network_bytes_per_operation",
        "Network of the data hosts per operation",
        "bytes",
        "Bytes that all data hosts sent and received over ok operations; what members say to each "
        "other counts at both ends.",
    ),
    Metric(
        key="violations",
        label="Consistency",
        unit="contradictions",
        better="zero",
        meaning="Whether the target kept its word while it was pressed, from every operation on a "
        "sample of keys, in the order that clients saw. ok: nothing contradicts linearizable "
        "registers, and nothing is missing. violation: operations that no target which keeps its "
        "word can have answered so; such a target is never called better. not promised: the same, "
        "where the target promises no more (Redis Cluster across a failover). unknown: nothing was "
        "recorded, or too little to rule a violation out.",
    ),
    Metric(
        key="cost_per_billion",
        label="Cost of a billion operations",
        unit="currency",
        better="lower",
        meaning="What all hosts of the testbed cost in the time of a billion ok operations, at the "
        "steady phase's rate: by the price that the testbed names (hour_price), else by the list "
        "prices of its cloud, which stand on the page with date and source.",
    ),
)

_BY_KEY = {one.key: one for one in METRICS}


def metric(key: str) -> Metric:
    """The metric named `key`.

    >>> metric("response_p99_us").better
    'lower'
    """
    return _BY_KEY[key]
