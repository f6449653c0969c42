"""Whether a measurement was sound, and what limits its meaning: `verdict.json`.

Made by `stages.judge`; the page shows it before any number (design D8).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from soakbed.records.frozen import Frozen

__all__ = ["Caveat", "Finding", "Rule", "Verdict", "VerdictWord"]

VerdictWord = Literal["valid", "invalid", "incomplete"]


class Finding(Frozen):
    """What one rule found. `sentence` carries the numbers; `remedy` is empty when all is well.

    `verdict` "skipped": the rule could not be asked, `sentence` says why.
    """

    rule: str
    verdict: Literal["valid", "invalid", "incomplete", "skipped"]
    sentence: str
    remedy: str = ""
    threshold: str = ""  # the limit and where it comes from


class Rule(Frozen):
    """One question of the judge as data: its limit with the source, and the way out when broken."""

    name: str
    limit: str
    remedy: str
    breaks: Literal["invalid", "incomplete"] = "invalid"

    def kept(self, sentence: str) -> Finding:
        """All is well; `sentence` carries the numbers."""
        return Finding(rule=self.name, verdict="valid", sentence=sentence, threshold=self.limit)

    def broken(self, sentence: str) -> Finding:
        """The rule is broken; `sentence` carries the numbers, the remedy is added."""
        return Finding(
            rule=self.name,
            verdict=self.breaks,
            sentence=sentence,
            remedy=self.remedy,
            threshold=self.limit,
        )

    def skipped(self, why: str) -> Finding:
        """The question could not be asked."""
        return Finding(rule=self.name, verdict="skipped", sentence=why, threshold=self.limit)


class Caveat(Frozen):
    """What limits the meaning of a sound measurement."""

    subject: str
    sentence: str


class Verdict(Frozen):
    """The judgement over one target of one run. `valid` has no finding that says otherwise."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    target: str
    verdict: VerdictWord
    findings: tuple[Finding, ...]
    caveats: tuple[Caveat, ...] = ()
    generator_limited: bool = False  # capacity reads "at least"

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences of the findings that made the verdict; one that says so when all is well."""
        against = tuple(
            f"{finding.sentence}; {finding.remedy}" if finding.remedy else finding.sentence
            for finding in self.findings
            if finding.verdict in ("invalid", "incomplete")
        )
        if against:
            return against
        asked = sum(finding.verdict == "valid" for finding in self.findings)
        skipped = len(self.findings) - asked
        more = f", {skipped} could not be asked" if skipped else ""
        return (f"{asked} rules kept{more}",)
