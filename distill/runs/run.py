"""What a training run came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from distill.card import HostedTest, Latency, Report, Verdict
from distill.students.ladder import Ladder
from telemetry.exchange import TaskState


@dataclass(frozen=True, slots=True)
class Run:
    """What a training run came to."""

    verdict: Verdict
    labels: tuple[str, ...] = ()
    rungs: tuple[str, ...] = ()
    ladder: Ladder | None = None
    """The student, promoted or not; None where nobody would have any use for it."""
    report: Report | None = None
    latency: Latency | None = None
    suspects: int = 0
    """Answers that were not taught, since they are likely wrong."""
    hosted: HostedTest | None = None
    """What there is to say of a hosted model that is part of it."""
    sure: Mapping[str, bool] = field(default_factory=dict)
    """Whether it would have answered the requests that it was tested on, by their exchanges."""
    hope: float | None = None
    """How often the surest third of its answers agreed; None where that was not looked at."""
    again: str | None = None
    """The version of the student that this is, where it was not trained but only tested again."""

    def advance(self, state: TaskState, answers: int, now: float) -> TaskState:
        """The task's ``state`` after this run, made at Unix time ``now`` on so many answers."""
        after = replace(state, trained_on=answers, trained_at=now)
        if self.verdict.delta is None:
            return after
        # A text student is tested on a part of the answers alone, which says nothing of the others.
        tested_on = max(state.tested_on, self.verdict.evidence)
        return replace(after, attempts=state.attempts + 1, tested_on=tested_on)
