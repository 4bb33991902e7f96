"""The test that a challenger must pass to replace the champion."""

from __future__ import annotations

from dataclasses import dataclass, field

from policies.calibration import Outcomes, Plan, Tally, Tested, walk


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate decided, and on what figures."""

    promoted: bool
    reason: str
    threshold: float | None = None
    held_out: int = 0
    """Requests that the test was made on."""
    tally: Tally = field(default_factory=lambda: Tally(0, 0))
    """What the challenger would answer of them at its threshold."""
    upper: float | None = None
    """Upper confidence bound on the share of its answers that disagree."""
    delta: float | None = None
    """The part of the error budget that the test spent; None where none was made."""

    @property
    def share(self) -> float:
        """Share of the held-out requests that the challenger would answer."""
        return self.tally.answered / self.held_out if self.held_out else 0.0


def judge(
    planned: Plan,
    held_out: Outcomes,
    champion_share: float,
    alpha: float,
) -> Verdict:
    """Promote the challenger iff it meets the bound and answers more than the champion.

    ``held_out`` holds the challenger's outcomes on requests that neither was trained on, and
    ``champion_share`` is the share of them that the champion answers.
    """
    delta = sum(planned.levels)
    passed = [tested for tested in walk(planned, held_out, alpha) if tested.passed]
    if not passed:
        reason = "no threshold meets the bound on held-out requests"
        return Verdict(False, reason, held_out=len(held_out), delta=delta)
    best = passed[-1]
    share = best.answered / len(held_out)
    if share <= champion_share:
        reason = f"answers {share:.0%} of held-out requests, the champion {champion_share:.0%}"
        return _verdict(False, reason, best, len(held_out), delta)
    reason = f"answers {share:.0%} of held-out requests within the bound"
    return _verdict(True, reason, best, len(held_out), delta)


def _verdict(promoted: bool, reason: str, tested: Tested, held_out: int, delta: float) -> Verdict:
    tally = Tally(tested.answered, tested.wrong)
    return Verdict(promoted, reason, tested.threshold, held_out, tally, tested.upper, delta)
