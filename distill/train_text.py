"""One training run of a text student, for a task whose answers are more than a few labels.

It is dear, so it is made only where it can pay: where what serves leaves enough to the teacher,
where even the test would not be too small for a student without a mistake, and not before the
answers have doubled since the last one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from config.settings import PolicySettings
from distill import gate
from distill.answers import learnable, named
from distill.data.dataset import Dataset
from distill.gate import Parts
from distill.students import label, usage
from distill.students.base import TEXT
from distill.students.label import LabelRung
from distill.students.ladder import Ladder
from distill.students.text import student
from distill.students.text.lesson import lesson
from distill.students.text.rung import TextRung
from distill.students.text.student import Start
from distill.train import MOST, Run, divide, to_beat
from policies.calibration import Outcomes, attempt_delta
from telemetry.exchange import StudentRecord, TaskState

_GROWTH = 2.0
"""Factor by which a task's answers must have grown before a text student is trained again."""


Rungs = tuple[LabelRung | TextRung, ...]


def is_due(records: Sequence[StudentRecord], answers: int) -> bool:
    """Whether a task with these students, oldest first, and so many teacher answers should have its
    text student trained now."""
    cards = [(record.placed, json.loads(record.card)) for record in records]
    if any(placed and card["gate"].get("share", 0.0) >= MOST for placed, card in cards):
        return False
    written = [card for _, card in cards if TEXT in card.get("rungs", ())]
    before = [card["data"]["answers"] for card in written]
    return answers >= _GROWTH * max(before, default=0)


def retrain(
    task: str,
    version: str,
    data: Dataset,
    champion: Ladder | None,
    state: TaskState,
    policy: PolicySettings,
    start: Start,
) -> Run | None:
    """Train a text student and put it to the gate, alone and behind a rung of n-grams.

    The test is made on answers that it was not trained on. None, and nothing is trained, where
    these are so few that not even a student without a mistake would pass. Raises TrainingError.
    """
    served = to_beat(champion, policy)
    delta = attempt_delta(policy.delta, state.attempts + 1)
    texts = [example.text for example in data.examples]
    answers = [example.answer for example in data.examples]
    lessons = [
        lesson(one.text, one.answer, one.request if start.teacher else None, one.choices)
        for one in data.examples
    ]
    groups = [example.group for example in data.examples]
    taught = np.array([example.flaw is None for example in data.examples])
    weights = np.array([example.weight for example in data.examples])
    tested = student.held_out(texts, groups) & (weights > 0)
    divided = divide(policy, texts)
    strata = divided.part(tested)
    perfect = without_mistake(weights[tested])
    flawless = Parts.plain(perfect, strata)
    if not gate.judge(perfect, served, policy.alpha, delta, flawless).promoted:
        return None
    written = student.train(
        start,
        lessons,
        groups=groups,
        taught=taught,
    )
    known = [answers[i] for i in np.flatnonzero(taught).tolist()]
    learnt = learnable(known)
    labels = named(learnt, known)
    cheap = label.train(texts, answers, learnt, groups=groups) if learnt else None

    def candidate(*made: label.Trained | student.Trained) -> tuple[Outcomes, Rungs]:
        outcomes = Outcomes(
            np.stack([one.confidences for one in made], axis=1)[tested],
            np.stack([one.agreed for one in made], axis=1)[tested],
            weights[tested],
            data.even,
        )
        return outcomes, tuple(one.rung for one in made)

    # Of those that expect to serve as much, the first is the cheapest.
    candidates = [candidate(cheap, written)] if cheap is not None else []
    candidates.append(candidate(written))
    outcomes, rungs = max(
        candidates, key=lambda one: gate.expected_share(one[0], policy.alpha, delta, strata)
    )
    parts = Parts.plain(outcomes, strata)
    verdict = gate.judge(outcomes, served, policy.alpha, delta, parts)
    names = tuple(one.name for one in rungs)
    if not verdict.promoted or verdict.threshold is None:
        return Run(verdict, labels, names)
    # The teacher's texts are no part of a student's files.
    tokens = replace(usage.fit(data.examples), completion={})
    ladder = Ladder(
        version,
        task,
        verdict.threshold,
        verdict.share,
        data.head,
        rungs,
        tokens,
        data.masked,
        floors=divided.floors(verdict),
    )
    return Run(verdict, labels, names, ladder)


def without_mistake(weights: npt.NDArray[np.float64]) -> Outcomes:
    """Of a student that makes no mistake and knows it, on answers of these weights [n]."""
    count = len(weights)
    # Of equal confidences one threshold would take all.
    confidences = np.linspace(1.0, 0.999999, count)[:, np.newaxis]
    return Outcomes(confidences, np.ones((count, 1), dtype=bool), weights)
