"""The challenge of one training run: what the challenger learns from, whom it must beat, and what
it must promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from config.settings import PolicySettings
from distill.card import Verdict
from distill.data.dataset import Dataset, Example
from distill.gate import Rival
from distill.runs.division import Division
from distill.runs.prospects import NEW_EVIDENCE
from distill.students import usage
from distill.students.base import Rung
from distill.students.ladder import Ladder
from policies.agreement import agree
from policies.calibration import attempt_delta
from policies.promise import Promise
from telemetry.exchange import TaskState

_COMPARED = 500
"""Newest answers that the champion is asked about too."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a challenger for a task is made of, and what it is put to."""

    version: str
    """The challenger's."""
    data: Dataset
    """The answers that it learns from and is tested on."""
    state: TaskState
    """The task's, as the run finds it."""
    policy: PolicySettings
    """The promise that it must keep."""
    champion: Ladder | None = None
    """The student that it must beat; None where none serves."""

    @property
    def task(self) -> str:
        return self.state.task

    @property
    def alpha(self) -> float:
        """The most of its answers that may disagree with the teacher."""
        return self.policy.alpha

    @property
    def delta(self) -> float:
        """The part of the task's error budget that its test may spend."""
        return attempt_delta(self.policy.delta, self.state.attempts + 1)

    @property
    def to_beat(self) -> float:
        """What it must save more than: nothing where the champion was tested for less than the
        promise that the challenger must keep, or its slices need not keep it each on its own."""
        champion, policy = self.champion, self.policy
        if champion is None:
            return 0.0
        if champion.promise is not None and not champion.promise.covers(Promise.of(policy)):
            return 0.0
        kind = None if champion.floors is None else champion.floors.strata.kind
        return self._known * champion.worth if policy.by_slice in {None, kind} else 0.0

    @property
    def _known(self) -> float:
        """The share of the requests that the champion may be asked about by their instructions: it
        was foretold what it is worth on those alone."""
        champion, data = self.champion, self.data
        assert champion is not None, "there is somebody to beat"
        if champion.instructions is None or not data.evidence:
            return 1.0
        known = [champion.knows(example.instruction) for example in data.examples]
        return float(np.average(known, weights=data.weights))

    @property
    def has_news(self) -> bool:
        """Whether there is enough more evidence than at the task's last test for another: all in
        all, or under instructions that the champion does not know."""
        tested, champion = self.data.tested, self.champion
        if self._has_grown(tested):
            return True
        new = [one for one in tested if champion and not champion.knows(one.instruction)]
        return bool(new) and self._has_grown(new)

    def _has_grown(self, evidence: Sequence[Example]) -> bool:
        state = self.state
        before = sum(example.created <= state.trained_at for example in evidence)
        return len(evidence) >= NEW_EVIDENCE * min(state.tested_on, before)

    def rival(self, tested: Sequence[Example]) -> Rival | None:
        """What the champion, if there is one, makes of the newest of the ``tested`` examples of the
        dataset."""
        champion = self.champion
        if champion is None:
            return None
        asked = [champion.knows(example.instruction) for example in tested]
        fair = np.array([example.created > champion.trained for example in tested])
        fair &= np.array(asked, dtype=bool) & champion.quick
        compared = np.flatnonzero(fair)[-_COMPARED:]
        answered, wrong = np.zeros((2, len(tested)), dtype=bool)
        texts = [champion.varying(self.data.head + tested[row].text) for row in compared]
        for row, prediction in zip(compared, champion.predict(texts), strict=True):
            answered[row] = prediction.confidence >= champion.threshold
            wrong[row] = answered[row] and not agree(prediction.answer, tested[row].said)
        return Rival(answered, wrong)

    def ladder(self, rungs: tuple[Rung, ...], verdict: Verdict, divided: Division | None) -> Ladder:
        """The ``rungs`` as a student that ``verdict`` gives a threshold, tested on requests that
        are ``divided`` so; None where it was not tested, and so promises nothing."""
        assert verdict.threshold is not None, "a student without a threshold cannot answer"
        data = self.data
        return Ladder(
            self.version,
            self.task,
            verdict.threshold,
            verdict.share,
            data.head,
            rungs,
            usage.fit(data.examples),
            data.masked,
            verdict.barred,
            max(example.created for example in data.examples),
            floors=None if divided is None else divided.floors(verdict),
            promise=None if divided is None else Promise.of(self.policy),
            instructions=data.instructions,
        )
