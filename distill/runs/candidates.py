"""The ladders that one run of a label student chooses from, and the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distill import gate
from distill.data import soft
from distill.data.suspects import sieve
from distill.evaluation.slices import cut
from distill.gate import Parts, Rival
from distill.runs.challenge import Challenge
from distill.runs.division import Division, divide
from distill.runs.prospects import ENOUGH, is_hopeless
from distill.students import label
from distill.students.base import EXTRACTION, Rung
from distill.students.encoder import SentenceEncoder
from distill.students.extraction import training as copying
from distill.students.extraction.answers import Found
from distill.students.extraction.rung import ExtractionRung
from distill.students.fitting import frequent_labels
from distill.students.forms import Form
from distill.students.label import LabelRung, Trained
from policies.calibration import Outcomes

StudentRung = LabelRung | ExtractionRung


@dataclass(frozen=True, slots=True)
class Candidate:
    """Rungs that were tested together."""

    trained: tuple[Trained[StudentRung], ...]
    outcomes: Outcomes
    parts: Parts
    expected: float
    """Share of the requests that a test is expected to let them answer."""
    suspects: int
    """Answers that they were not taught, since they are likely wrong."""

    @property
    def rungs(self) -> tuple[StudentRung, ...]:
        return tuple(each.rung for each in self.trained)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(rung.name for rung in self.rungs)

    @property
    def copies(self) -> bool:
        """Whether its answers are copied from their requests."""
        return EXTRACTION in self.names


@dataclass(frozen=True, slots=True)
class Examined:
    """What candidates of one run are compared and tested on."""

    challenge: Challenge
    divided: Division
    rival: Rival | None

    @classmethod
    def of(cls, challenge: Challenge) -> Examined:
        data = challenge.data
        divided = divide(challenge.policy, data.texts)
        return cls(challenge, divided, challenge.rival(data.tested))

    def best(
        self,
        learnt: tuple[str, ...] | Form,
        found: Found | None,
        encoders: Sequence[SentenceEncoder],
        sift: bool,
    ) -> Candidate:
        """The rungs that expect to serve the most; of those that expect as much, the cheapest.

        Those of labels give the answers, or the values of the form, that are ``learnt``, and may
        read one of ``encoders``; with ``sift``, answers that are likely wrong are not taught. They
        are compared by what their own confidences foretell, so that only one test is made.
        """
        candidates = [] if found is None else [self._copied(found)]
        # What stands in a request may be easier to tell by what else does.
        if learnt and not any(one.expected >= ENOUGH for one in candidates):
            candidates += self._labelled(learnt, encoders, sift)
        return max(candidates, key=lambda one: one.expected)

    def _copied(self, found: Found) -> Candidate:
        data = self.challenge.data
        copies = copying.train(data.texts, data.answers, found, data.groups)
        return self._trial(frequent_labels(data.answers), copies.surprise).candidate(copies)

    def _labelled(
        self,
        learnt: tuple[str, ...] | Form,
        encoders: Sequence[SentenceEncoder],
        sift: bool,
    ) -> list[Candidate]:
        data, alpha = self.challenge.data, self.challenge.alpha
        texts, answers, groups = data.texts, data.answers, data.groups
        labels = frequent_labels(answers) if isinstance(learnt, Form) else learnt
        # A form's answers are too many for it to tell which are wrong.
        doubt = sieve(data, learnt) if sift and not isinstance(learnt, Form) else None
        told = None if isinstance(learnt, Form) else soft.shares(data, learnt)
        cheap = label.train(texts, answers, learnt, groups=groups, taught=doubt, shares=told)
        trial = self._trial(labels, cheap.surprise)
        candidates = [trial.candidate(cheap)]
        if candidates[0].expected >= ENOUGH or is_hopeless(cheap, alpha):
            return candidates
        for encoder in encoders:
            rich = label.train(
                texts,
                answers,
                learnt,
                encoder=encoder,
                groups=groups,
                taught=cheap.taught,
                shares=told,
            )
            candidates += (trial.candidate(cheap, rich), trial.candidate(rich))
        return candidates

    def _trial(self, labels: Sequence[str], surprise: npt.NDArray[np.float64]) -> _Trial:
        """On the examples that count, of all that are as surprising [n] as that, by the ``labels``
        of their answers."""
        data = self.challenge.data
        counts = data.weights > 0
        texts = [example.text for example in data.tested]
        answers = [example.answer for example in data.tested]
        slices = cut(texts, answers, labels, surprise[counts], data.told_apart)
        nothing = np.zeros((0, 0), dtype=np.int64)
        parts = Parts(slices, labels, nothing, self.rival, strata=self.divided.part(counts))
        return _Trial(self.challenge, parts)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A test of whatever is trained on the same answers."""

    challenge: Challenge
    parts: Parts
    """All but what a candidate says."""

    def candidate(self, *trained: Trained[StudentRung]) -> Candidate:
        """The rungs that were ``trained``, cheapest first."""
        challenge, data = self.challenge, self.challenge.data
        weights = data.weights
        trained = tuple(replace(one, agreed=data.agreed(one.agreed, one.said)) for one in trained)
        outcomes = outcomes_of(trained, weights, even=data.even)
        said = gate.numbered([one.said for one in trained], self.parts.labels)[weights > 0]
        parts = replace(self.parts, said=said)
        expected = gate.expected_share(outcomes, challenge.alpha, challenge.delta, parts.strata)
        return Candidate(trained, outcomes, parts, expected, trained[0].suspects)


def outcomes_of(
    trained: Sequence[Trained[Rung]], weights: npt.NDArray[np.float64], *, even: bool = False
) -> Outcomes:
    """What rungs make of the examples that count by their ``weights`` [n], each trained without
    it."""
    counts = weights > 0
    return Outcomes(
        np.stack([one.confidences for one in trained], axis=1)[counts],
        np.stack([one.agreed for one in trained], axis=1)[counts],
        weights[counts],
        even,
    )
