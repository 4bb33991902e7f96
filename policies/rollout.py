"""A student that has passed its test comes into service step by step: in the shadow it is asked in
the background, as a canary it answers a part of its task's requests, then all that it is sure of.

The test says how often it is right. The steps find out what a test cannot: whether it works at all
where it serves, how fast, and whether today's requests are like those that it was tested on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from config.settings import PolicySettings, RolloutSettings
from policies.promise import broken
from telemetry.audits import AuditTally
from telemetry.exchange import Stage
from telemetry.trials import TrialTally

_LEAST = 2
_PART = 0.05
"""A student is turned back once so many of its trials fail, or are slow, and more than this part
of them."""

_OF_AUDITS = 0.5
"""Part of the audits to be expected of a canary that must have come back: some never do."""

_QUARTERS = 4


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of a student after a stage."""

    to: Literal["canary", "full", "out", "demoted"]
    """``out``: off its way. ``demoted``: off its way, and what it learnt from counts no more."""
    why: str


def first(rollout: RolloutSettings) -> Stage | None:
    """The first stage of a student that has passed its test; None where it serves at once."""
    if rollout.shadow:
        return "shadow"
    return "canary" if rollout.canary else None


def share(rollout: RolloutSettings, answered: int) -> float:
    """The part of its task's requests that a canary is asked for after so many answers. It doubles
    with every quarter of those that the stage takes."""
    quarters = _QUARTERS * answered // max(rollout.canary, 1)
    return min(1.0, rollout.share * 2.0 ** min(quarters, _QUARTERS))


def step(
    stage: Stage, seen: TrialTally, rollout: RolloutSettings, policy: PolicySettings
) -> Step | None:
    """What follows from what was ``seen`` of a student in ``stage``; None while that is open."""
    if _too_many(seen.failed, seen.asked):
        return Step("out", f"{seen.failed} of {seen.asked} requests failed")
    if _too_many(seen.slow, seen.asked):
        slow = f"took longer than {rollout.latency_s:g} s"
        return Step("out", f"{seen.slow} of {seen.asked} requests {slow}")
    disagree = f"{seen.disagreements} of {seen.compared} compared answers disagree"
    if stage == "shadow":
        # What is said in earnest is audited like all that students say, and judged by that.
        compared = AuditTally(seen.compared, seen.disagreements)
        if broken([compared], policy.alpha, policy.delta):
            return Step("demoted", disagree)
        if seen.compared < rollout.shadow:
            return None
        return Step("canary" if rollout.canary else "full", disagree)
    audits = _OF_AUDITS * rollout.audit_rate * rollout.canary
    if seen.answered < rollout.canary or seen.compared < audits:
        return None
    return Step("full", f"{seen.answered} answers, {disagree}")


def _too_many(bad: int, asked: int) -> bool:
    return bad >= _LEAST and bad > _PART * asked
