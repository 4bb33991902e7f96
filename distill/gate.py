"""The test that a challenger must pass to replace the champion."""

from __future__ import annotations

from dataclasses import dataclass

from policies.calibration import Outcomes, walk


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided, and on what figures."""

    promoted: bool
    reason: str
    threshold: float | None = None
    evidence: int = 0
    """Teacher answers that the test was made on."""
    answered: int = 0
    """How many of them the challenger would have answered at its threshold,"""
    wrong: int = 0
    """and how many of these disagree."""
    share: float = 0.0
    """Share of the task's requests that the challenger would answer."""
    upper: float | None = None
    """Upper confidence bound on the share of its answers that disagree."""
    delta: float | None = None
    """The part of the error budget that the test spent; None where none was made."""


def judge(outcomes: Outcomes, champion_share: float, alpha: float, delta: float) -> Verdict:
    """Promote the challenger iff it meets the bound and answers more than the champion.

    ``outcomes`` are the challenger's on teacher answers that it was not trained on, and
    ``champion_share`` is the share of the task's requests that the champion answers.
    """
    tested = walk(outcomes, alpha, delta)
    if not tested:
        reason = "too little evidence for any test"
        return Verdict(False, reason, evidence=len(outcomes))
    passed = [one for one in tested if one.passed]
    if not passed:
        reason = "no threshold meets the bound"
        return Verdict(False, reason, evidence=len(outcomes), delta=delta)
    best = passed[-1]
    promoted = best.share > champion_share
    reason = f"answers {best.share:.0%} of requests" + (
        " within the bound" if promoted else f", the champion {champion_share:.0%}"
    )
    return Verdict(
        promoted,
        reason,
        best.threshold,
        len(outcomes),
        best.tally.answered,
        best.tally.wrong,
        best.share,
        best.upper,
        delta,
    )
