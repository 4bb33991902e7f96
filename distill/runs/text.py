"""One training run of a text student, for a task whose answers are more than a few labels.

It is dear, so it is made only where it can pay: where what serves leaves enough to the teacher,
where even the test would not be too small for a student without a mistake, and not before the
answers have doubled since the last one. It is tested on a part of the answers alone; where that has
not been enough, what the teacher says from then on is evidence as well, since the student has not
seen it, and it is put to the test again as that grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distill import gate
from distill.answers import learnable, named
from distill.card import Card, Verdict, placed_share
from distill.data.dataset import Dataset
from distill.data.reach import Former
from distill.evaluation.slices import by_instruction
from distill.gate import Parts
from distill.runs.challenge import Challenge
from distill.runs.division import Division, divide
from distill.runs.prospects import MOST, NEW_EVIDENCE, can_pass
from distill.runs.run import Run
from distill.students import label
from distill.students.base import TEXT
from distill.students.label import LabelRung
from distill.students.text import student
from distill.students.text.lesson import lesson
from distill.students.text.rung import TextRung
from distill.students.text.student import Start
from policies.calibration import Outcomes
from telemetry.exchange import StudentRecord, TaskState

_GROWTH = 2.0
"""Factor by which a task's answers must have grown before a text student is trained again."""

Made = label.Trained[LabelRung] | student.Trained
Rungs = tuple[LabelRung | TextRung, ...]


def is_due(records: Sequence[StudentRecord], answers: int) -> bool:
    """Whether a task with these students, oldest first, and so many teacher answers should have its
    text student trained now."""
    cards = (Card.parse(record.card) for record in _written(records))
    before = [card.data.answers or 0 for card in cards if card.again is None]
    return not _is_served(records) and answers >= _GROWTH * max(before, default=0)


def waiting(
    records: Sequence[StudentRecord], state: TaskState, answers: int
) -> StudentRecord | None:
    """The text student, of the task's students, oldest first, that has not been promoted and that
    there is more to test with now; None where there is none."""
    *_, last = (None, *_written(records))
    if (
        last is None
        or not last.path
        or last.placed
        or last.earned is not None
        or _is_served(records)
    ):
        return None
    data = Card.parse(last.card).data
    enough = answers >= NEW_EVIDENCE * (data.answers or 0)
    return last if enough and data.since == state.epoch else None


def _written(records: Sequence[StudentRecord]) -> list[StudentRecord]:
    return [record for record in records if TEXT in Card.parse(record.card).rungs]


def _is_served(records: Sequence[StudentRecord]) -> bool:
    """Whether there is little left for a text student to answer."""
    return placed_share(records) >= MOST


def retrain(challenge: Challenge, start: Start) -> Run | None:
    """Train a text student and put it to the gate, alone and behind a rung of n-grams.

    The test is made on answers that it was not trained on. None, and nothing is trained, where
    these are so few that not even a student without a mistake would pass. Raises TrainingError.
    """
    data = challenge.data
    groups = data.groups
    test = _Test.of(challenge, student.held_out(data.texts, groups))
    if not test.can_be_passed():
        return None
    lessons = [
        lesson(one.text, one.answer, one.request if start.teacher else None, one.choices)
        for one in data.examples
    ]
    taught = np.array([example.flaw is None for example in data.examples])
    written, _ = student.train(start, lessons, groups=groups, taught=taught, said=data.said)
    return test.run(written)


def retest(challenge: Challenge, former: Former) -> Run | None:
    """Put a text student that was not promoted to the gate once more, on what the teacher has said
    since as well.

    None, and nothing is tested, where these are still too few answers, or where it was taught to
    read the task's requests otherwise than they are read now.
    """
    ladder, data = former.ladder, challenge.data
    if (ladder.head, ladder.masks) != (data.head, data.masked):
        return None
    test = _Test.of(challenge, unseen(data, former))
    if not test.can_be_passed():
        return None
    (rung,) = (each for each in ladder.rungs if isinstance(each, TextRung))
    written = student.tested(rung.folder, rung.most_tokens, data.texts, data.said, test.tested)
    return replace(test.run(written), again=ladder.version)


def unseen(data: Dataset, former: Former) -> npt.NDArray[np.bool_]:
    """Which examples [n] a text student was not taught, nor near-duplicates of them: those that it
    has been tested on already, and those that are newer."""
    old = np.array([example.created <= former.ladder.trained for example in data.examples])
    held = np.array([example.id in former.sure for example in data.examples])
    pairs = zip(data.examples, old & ~held, strict=True)
    taught = {example.group for example, seen in pairs if seen}
    new = np.array([example.group not in taught for example in data.examples])
    return held | (~old & new)


@dataclass(frozen=True, slots=True)
class _Test:
    """What a text student of a task is tested on."""

    challenge: Challenge
    tested: npt.NDArray[np.bool_]
    """[n]: by which examples."""
    divided: Division

    @classmethod
    def of(cls, challenge: Challenge, held: npt.NDArray[np.bool_]) -> _Test:
        """By those that are ``held`` [n] back from its training, as far as they are evidence."""
        data = challenge.data
        return cls(challenge, held & (data.weights > 0), divide(challenge.policy, data.texts))

    def can_be_passed(self) -> bool:
        """Whether a student without a mistake would be promoted."""
        challenge, weights = self.challenge, self._weights()
        return can_pass(weights, challenge.to_beat, challenge.alpha, challenge.delta, self.strata)

    def run(self, written: student.Trained) -> Run:
        """The gate's verdict on what was ``written``, alone and behind a rung of n-grams."""
        challenge, data = self.challenge, self.challenge.data
        known = data.taught
        learnt = learnable(known)
        # Of those that expect to serve as much, the first is the cheapest.
        candidates: list[tuple[Outcomes, Rungs]] = []
        if learnt:
            cheap = label.train(data.texts, data.answers, learnt, groups=data.groups)
            candidates.append(self._candidate(cheap, written))
        candidates.append(self._candidate(written))
        outcomes, rungs = max(candidates, key=lambda one: self._expected(one[0]))
        verdict = self._judge(outcomes)
        run = Run(verdict, named(learnt, known), tuple(one.name for one in rungs))
        threshold = verdict.threshold
        if threshold is None:
            threshold = gate.observed(outcomes, challenge.alpha)
        if threshold is None:
            return run
        used = replace(verdict, threshold=threshold)
        ladder = challenge.ladder(rungs, used, self.divided)
        # The teacher's texts are no part of a student's files.
        ladder = replace(ladder, usage=replace(ladder.usage, completion={}))
        return replace(run, ladder=ladder, sure=self._sure(outcomes, used))

    def _sure(self, outcomes: Outcomes, verdict: Verdict) -> dict[str, bool]:
        """Whether what has these ``outcomes`` would have answered the requests that it was tested
        on, by their exchanges."""
        given = outcomes.smoothed().given(gate.thresholds(verdict, self.strata))
        examples = self.challenge.data.examples
        ids = [examples[i].id for i in np.flatnonzero(self.tested).tolist()]
        return dict(zip(ids, given.answered.tolist(), strict=True))

    def _weights(self) -> npt.NDArray[np.float64]:
        return self.challenge.data.weights[self.tested]

    @property
    def strata(self) -> list[str] | None:
        return self.divided.part(self.tested)

    def _candidate(self, *made: Made) -> tuple[Outcomes, Rungs]:
        outcomes = Outcomes(
            np.stack([one.confidences for one in made], axis=1)[self.tested],
            np.stack([one.agreed for one in made], axis=1)[self.tested],
            self._weights(),
            self.challenge.data.even,
        )
        return outcomes, tuple(one.rung for one in made)

    def _expected(self, outcomes: Outcomes) -> float:
        challenge = self.challenge
        return gate.expected_share(outcomes, challenge.alpha, challenge.delta, self.strata)

    def _judge(self, outcomes: Outcomes) -> Verdict:
        challenge, data = self.challenge, self.challenge.data
        held = [data.examples[i].instruction for i in np.flatnonzero(self.tested).tolist()]
        slices = by_instruction(None if data.instructions is None else held)
        parts = replace(Parts.plain(outcomes, self.strata), slices=slices)
        return gate.judge(outcomes, challenge.to_beat, challenge.alpha, challenge.delta, parts)
