"""What a comparison says: `comparison.json`, the source of the page's verdicts, of CSV and of JSON.

The numbers come from `soakbed.stats`, the identities and the manifest diff from `stages.compare`.
A ratio is always the contender's value over the baseline's, so 1.10 reads "10 % above the
baseline"; whether that is good says the metric's direction, and the word has it already applied.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen
from soakbed.records.verdict import VerdictWord

__all__ = [
    "ChangePoint",
    "Comparison",
    "Consequence",
    "Contender",
    "Difference",
    "DifferenceWord",
    "Drift",
    "DriftWord",
    "IntervalUs",
    "ManifestDifference",
    "Ratio",
    "RepeatedValue",
    "Steadiness",
    "Trend",
    "TrendPoint",
]

DifferenceWord = Literal["better", "worse", "same", "cannot_tell", "not_comparable"]
DriftWord = Literal["rising", "falling", "none", "cannot_tell"]
# "noted": unlike, but this is what is asked, or follows from it, or does not touch the figures.
Consequence = Literal["not_comparable", "caveat", "noted", "same"]


class IntervalUs(Frozen):
    """Where a percentile of one contender lies with `confidence` (0-1), in whole microseconds.

    `blocks` equal stretches of time were drawn in runs of `block_length`, which the data's own
    autocorrelation set; `block_length` 1 says that neighbouring stretches were not alike.
    """

    low_us: int
    high_us: int
    confidence: float
    blocks: int
    block_length: int
    method: str


class Ratio(Frozen):
    """Contender over baseline, with its interval at `confidence` (0-1).

    `log_error` is the standard error of ln(ratio), `freedom` the degrees of freedom behind it:
    enough to make the interval at any other confidence (`stats.verdicts` does). `unit` says what
    was drawn: stretches of time inside one run each, or whole runs; the first says nothing about
    how the next run would differ. `units` counts them: (contender, baseline).
    """

    ratio: float
    low: float
    high: float
    confidence: float
    log_error: float
    freedom: float
    unit: Literal["time", "run"]
    units: tuple[int, int]
    method: str


class Difference(Frozen):
    """One metric of two contenders, judged.

    `word` is said of the contender: "better" than the baseline, "worse", the "same" within the
    margin, "cannot_tell" (this data is too thin or too noisy), or "not_comparable" (`reason`
    says why). `least_difference` is the smallest true change, as a share (0.08 = 8 %), that data
    like this calls better or worse in 95 of 100 cases; None where nothing can be said.
    `ratio` is None where no interval could be made. `probability` is that of seeing so large a
    ratio although the true one lies within the margin (0-1), before correction. `word_was` holds
    the word before the correction for many comparisons, when that changed it.
    """

    word: DifferenceWord
    reason: str
    metric: str = ""  # key in records.metrics
    phase: str = ""
    operation: str = ""
    baseline: str = ""  # label of a contender
    contender: str = ""
    baseline_value: float | None = None  # in the metric's unit
    contender_value: float | None = None
    ratio: Ratio | None = None
    margin: float = 0.05
    least_difference: float | None = None
    probability: float | None = None
    word_was: DifferenceWord | None = None


class ManifestDifference(Frozen):
    """One thing that is not alike between contenders, or that was asked and is ("same").

    `values` by contender label, "not recorded" where a run does not say (then never "same");
    `sentence` says what follows for the comparison. `consequence` is the gravest over all pairs.
    """

    key: str  # "profile", "hosts.kernel", "tls", "durability.write", ...
    values: dict[str, str]
    consequence: Consequence
    sentence: str


class Contender(Frozen):
    """One target of one or several equal runs, with its identity; `label` names it on the page.

    `run_ids` holds more than one run where repeats were combined. `guarantees`: what an
    acknowledged operation means, "read" and "write" -> sentence.
    """

    label: str
    run_ids: tuple[str, ...]
    target: str
    version: str
    profile: str
    workload: str
    testbed: str
    hosts: int
    provider: str
    started_s: float
    verdict: VerdictWord
    reasons: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    substituted: bool = False
    shares_machine: bool = False
    tls: bool = True
    guarantees: dict[str, str] = {}


class ChangePoint(Frozen):
    """Where a series moved to another level. `change` is after over before, minus 1.

    `at` is the index of the first value of the new level; `at_s` its time where the series is
    one over time (seconds since the phase began), `label` where it is one over runs or versions.
    """

    at: int
    before: float
    after: float
    change: float
    at_s: float | None = None
    label: str = ""


class Steadiness(Frozen):
    """Whether and from when a phase was steady; found in the data, not assumed.

    `steady_from_s` (seconds since the phase began) is None where `steady` is False: then no
    single number describes the phase, and the page says "no steady state" in its place.
    `variation` is the coefficient of variation of the levels after `steady_from_s` (0-1).
    `cross_check_s` is the warm-up by a second method, None where it found none or could not say.
    """

    metric: str = ""
    phase: str = ""
    operation: str = ""
    contender: str = ""
    steady: bool
    steady_from_s: float | None
    variation: float | None
    cross_check_s: float | None
    change_points: tuple[ChangePoint, ...]
    sentence: str
    method: str


class Drift(Frozen):
    """A slope inside one long phase, in the metric's unit per hour, with its interval.

    `share_per_day` is the slope over the median, per day (0.02 = 2 % a day). `independent` is
    about how many independent values the series is worth.
    """

    metric: str = ""
    phase: str = ""
    operation: str = ""
    contender: str = ""
    word: DriftWord
    slope_per_hour: float | None
    low_per_hour: float | None
    high_per_hour: float | None
    share_per_day: float | None
    probability: float | None
    points: int
    independent: float | None
    confidence: float
    sentence: str
    method: str


class RepeatedValue(Frozen):
    """One metric of one contender over its repeats: the run is the unit, never the second.

    `value` is the geometric mean of the runs' values; low and high are None with fewer than
    three runs, because two say nothing about how runs differ. `variation` is the standard
    deviation over the mean (0-1).
    """

    metric: str = ""
    phase: str = ""
    operation: str = ""
    contender: str = ""
    runs: int
    values: tuple[float, ...]
    value: float
    low: float | None
    high: float | None
    variation: float | None
    confidence: float
    sentence: str


class TrendPoint(Frozen):
    """One run of a target in the order of time.

    `left_out` says why its value is shown and yet not counted: it was judged invalid, or is not
    comparable with the newest run. `caveat` is what limits it, "" for nothing.
    """

    run_id: str
    started_s: float
    version: str
    value: float | None  # None: the run does not carry the metric
    verdict: VerdictWord
    left_out: str = ""
    caveat: str = ""


class Trend(Frozen):
    """One metric of one target over many runs, and where it moved."""

    target: str
    metric: str
    phase: str
    operation: str
    points: tuple[TrendPoint, ...]
    change_points: tuple[ChangePoint, ...]
    sentence: str
    method: str


class Comparison(Frozen):
    """Everything that is said about contenders side by side.

    `alpha` is the chance, over all `differences` of one pair together, of calling any of them
    better or worse although the truth lies within the margin. `question` says what the contenders
    have unlike: what is being compared. Every difference names its own baseline: with several
    targets in several runs, a target is compared with itself across runs, and with the others
    inside a run.
    """

    schema_: Literal[1] = Field(default=1, alias="schema")
    baseline: str  # label
    question: str = ""
    contenders: tuple[Contender, ...]
    manifest: tuple[ManifestDifference, ...] = ()
    differences: tuple[Difference, ...] = ()
    steadiness: tuple[Steadiness, ...] = ()
    drifts: tuple[Drift, ...] = ()
    repeats: tuple[RepeatedValue, ...] = ()
    alpha: float = 0.01
    correction: str = "Holm 1979, over the metrics of a pair"
    caveats: tuple[str, ...] = ()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(baseline, contender) of every pair that was compared, in order."""
        return tuple(dict.fromkeys((one.baseline, one.contender) for one in self.differences))

    def of_pair(self, contender: str, baseline: str = "") -> tuple[Difference, ...]:
        """The differences of one contender, by label, against `baseline` ("" for the first)."""
        against = baseline or self.baseline
        return tuple(
            one
            for one in self.differences
            if one.contender == contender and one.baseline == against
        )

    def contender(self, label: str) -> Contender:
        """The contender with this label. Raises KeyError when there is none."""
        for one in self.contenders:
            if one.label == label:
                return one
        raise KeyError(label)
