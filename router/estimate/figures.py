"""What the forecast came to, task by task."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from distill.forecast import Step

POINTS = 100
"""Points of a learning curve, at equal numbers of requests."""


@dataclass(slots=True)
class Tally:
    """Sums over requests. Money is in picodollars."""

    requests: int = 0
    student_answers: int = 0
    disagreements: int = 0
    """Student answers that are not the teacher's."""
    audits: int = 0
    audit_cost: int = 0
    cost: int = 0
    """Of answers and audits."""
    teacher_cost: int = 0
    """Of all answers from the teacher."""
    saved_by_route: int = 0
    """Teacher's costs of what students answered, audits aside."""
    opinions: int = 0
    """Requests that a student could have answered, sure of it or not, and be compared."""
    wrong_opinions: int = 0
    """Those where it would not have said what the teacher said."""
    opinions_cost: int = 0
    """What the teacher charges for them."""
    compared: int = 0
    """Student answers to what the teacher gave a whole answer to."""

    def add(self, step: Step, teacher_cost: int) -> None:
        served = step.route == "student"
        self.requests += 1
        self.student_answers += served
        self.compared += served and step.agreed is not None
        self.disagreements += step.wrong
        self.audits += step.audited
        self.audit_cost += teacher_cost * step.audited
        self.cost += teacher_cost * (not served or step.audited)
        self.teacher_cost += teacher_cost
        self.saved_by_route += teacher_cost * served
        self.opinions += step.agreed is not None
        self.wrong_opinions += step.agreed is False
        self.opinions_cost += teacher_cost * (step.agreed is not None)

    @property
    def student_share(self) -> float:
        return self.student_answers / self.requests if self.requests else 0.0

    @property
    def control(self) -> Control:
        """The random control that costs as much."""
        if not self.opinions:
            return Control(0.0, 0.0)
        if self.opinions_cost:
            share = self.saved_by_route / self.opinions_cost
        else:
            share = self.student_answers / self.opinions
        return Control(share * self.opinions, share * self.wrong_opinions)


@dataclass(frozen=True, slots=True)
class Control:
    """What the same students had come to, had a coin chosen what they answer, at the same cost:
    what to expect, exactly."""

    answers: float
    disagreements: float

    @property
    def disagreement(self) -> float | None:
        """Share of its students' answers; None where there are none."""
        return self.disagreements / self.answers if self.answers else None


def total(tallies: Iterable[Tally]) -> Tally:
    tallies = list(tallies)
    return Tally(
        **{each.name: sum(getattr(tally, each.name) for tally in tallies) for each in fields(Tally)}
    )


@dataclass(slots=True)
class TaskFigures:
    """One task's sums, by part of the logs."""

    task: str
    parts: dict[int, Tally] = field(default_factory=dict)
    """By number of the part, of ``POINTS`` parts that are as many requests of all tasks each."""
    promotions: int = 0
    demotions: int = 0
    verdict: str = ""
    """What the last training run came to; empty where there was none."""

    @property
    def sums(self) -> Tally:
        return total(self.parts.values())


@dataclass(frozen=True, slots=True)
class Figures:
    """All tasks', the largest first."""

    tasks: list[TaskFigures]

    @property
    def sums(self) -> Tally:
        return total(task.sums for task in self.tasks)

    @property
    def control(self) -> Control:
        """A coin for each task."""
        controls = [task.sums.control for task in self.tasks]
        return Control(
            sum(control.answers for control in controls),
            sum(control.disagreements for control in controls),
        )

    def parts(self, task: TaskFigures | None = None) -> list[Tally]:
        """The parts of the logs in order, of one task or of all."""
        tasks = self.tasks if task is None else [task]
        return [total(of.parts[i] for of in tasks if i in of.parts) for i in range(POINTS)]
