"""One training run: from a dataset to a ladder that passed the gate, or to the reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from config.settings import PolicySettings
from distill import gate
from distill.answers import copied, learnable, named
from distill.card import HostedTest, Latency, Report, Verdict
from distill.data import soft
from distill.data.dataset import Dataset, Example
from distill.data.suspects import sieve
from distill.evaluation.latency import measure
from distill.evaluation.report import report
from distill.evaluation.slices import cut
from distill.evaluation.strata import Floors, Strata
from distill.evaluation.temporal import newest
from distill.gate import Parts, Rival
from distill.students import label, usage
from distill.students.base import EXTRACTION, Rung
from distill.students.encoder import SentenceEncoder
from distill.students.extraction import training as copying
from distill.students.extraction.answers import Found
from distill.students.extraction.rung import ExtractionRung
from distill.students.fitting import frequent_labels
from distill.students.forms import Form
from distill.students.label import LabelRung, Trained
from distill.students.ladder import Ladder
from policies.agreement import agree
from policies.calibration import Outcomes, attempt_delta
from policies.promise import Promise
from telemetry.exchange import TaskState

NEW_EVIDENCE = 1.2
"""Factor by which teacher answers must have grown before a task is tested again."""

_ENOUGH = 0.97
"""Share of requests from which a dearer rung could hardly add any."""

MOST = 0.8
"""Share of requests for which it is not worth waiting for a dearer rung."""

_COMPARED = 500
"""Newest answers that the champion is asked about too."""

_OPEN = "the answers are not from a small closed set"

_HOPELESS = 4.0
"""Where the cheap rung errs this many times ``alpha`` on the third of requests that it is surest
of, a dearer one is not tried."""


StudentRung = LabelRung | ExtractionRung


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


@dataclass(frozen=True, slots=True)
class _Candidate:
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


def retrain(
    task: str,
    version: str,
    data: Dataset,
    champion: Ladder | None,
    state: TaskState,
    policy: PolicySettings,
    encoder: SentenceEncoder | None,
    *,
    tuned: SentenceEncoder | None = None,
    encoder_comes: bool = False,
    renewed: bool = False,
    sift: bool = False,
) -> Run:
    """Train the cheapest ladder that can serve the most, and put it to the gate.

    It may read the general ``encoder``, or one that was ``tuned`` to the task. A test that has
    little more evidence than the task's last one is not made, and spends nothing of the error
    budget, unless what students may read is ``renewed``. While the encoder is still being made
    ready (``encoder_comes``) the cheap rung is promoted only if it leaves little to gain. With
    ``sift``, answers that are likely wrong are not taught where that makes a better student.
    """
    if not data.evidence:
        return _untested(task, version, data, policy.alpha, encoder)
    if data.evidence < NEW_EVIDENCE * state.tested_on and not renewed:
        reason = "too little evidence since the last test"
        return Run(Verdict(False, reason, evidence=data.evidence))
    learnt = learnable(data.taught)
    found = copied(data, learnt)
    if not learnt and found is None:
        return Run(Verdict(False, _OPEN))
    delta = attempt_delta(policy.delta, state.attempts + 1)
    divided = divide(policy, data.texts)
    examined = _Examined(data, policy, delta, divided, find_rival(champion, data.head, data.tested))
    encoders = [each for each in (encoder, tuned) if each is not None]
    best = _best_candidate(examined, learnt, found, encoders, sift)
    best, verdict = _judged(examined, best, to_beat(champion, policy))
    if verdict.promoted and encoder_comes and not best.copies and verdict.share < MOST:
        reason = "the encoder is not ready, and n-grams alone would answer few requests"
        verdict = replace(verdict, promoted=False, reason=reason)
    labels = () if best.copies else named(learnt, data.taught)
    return _made(task, version, examined, best, verdict, labels)


def _judged(examined: _Examined, best: _Candidate, served: float) -> tuple[_Candidate, Verdict]:
    """The gate's verdict on a candidate, where ``served`` is what it must save more than. One that
    passes is judged by the newest answers as well, which it takes another training to ask about."""
    data, alpha, delta = examined.data, examined.policy.alpha, examined.delta
    verdict = gate.judge(best.outcomes, served, alpha, delta, best.parts)
    if verdict.threshold is None:
        return best, verdict
    late = newest(data, best.rungs, best.parts.labels, best.parts.strata)
    best = replace(best, parts=replace(best.parts, newest=late))
    return best, gate.judge(best.outcomes, served, alpha, delta, best.parts)


def _made(
    task: str,
    version: str,
    examined: _Examined,
    best: _Candidate,
    verdict: Verdict,
    labels: tuple[str, ...],
) -> Run:
    """What there is of a candidate after its ``verdict``: a student, where it can be told what to
    answer, and figures in any case."""
    data, policy, parts = examined.data, examined.policy, best.parts
    threshold = verdict.threshold
    if threshold is None:
        threshold = gate.observed(best.outcomes, policy.alpha)
    evidence, used = best.outcomes.smoothed(), replace(verdict, threshold=threshold)
    given = parts.given(evidence, used)
    figures = report(
        evidence,
        given,
        threshold or 0.0,
        parts.slices,
        np.array([example.contradicted for example in data.tested]),
        policy.alpha,
        None if parts.newest is None else parts.newest.given(used, parts.places(used.barred)),
    )
    run = Run(
        verdict,
        labels,
        best.names,
        report=figures,
        suspects=best.suspects,
        hope=1 - _wrong_of_surest(best.outcomes),
    )
    if threshold is None:
        return run
    ladder = ladder_of(task, version, data, best.rungs, used, examined.divided, policy)
    tested = [example.id for example in data.tested]
    sure = dict(zip(tested, given.answered.tolist(), strict=True))
    return replace(run, ladder=ladder, latency=measure(ladder, data.texts), sure=sure)


def _untested(
    task: str, version: str, data: Dataset, alpha: float, encoder: SentenceEncoder | None
) -> Run:
    """A student of answers that were all imported, or put right by people. No test can be made of
    it, so that it serves only if a person insists."""
    learnt = learnable(data.taught)
    if not learnt:
        return Run(Verdict(False, _OPEN))
    labels = named(learnt, data.taught)
    verdict = Verdict(False, "no evidence: the teacher has answered no request of the task")
    trained = label.train(data.texts, data.answers, learnt, encoder=encoder, groups=data.groups)
    names = (trained.rung.name,)
    threshold = gate.observed(_outcomes([trained], np.ones(len(data))), alpha)
    if threshold is None:
        return Run(verdict, labels, names)
    kept = replace(verdict, threshold=threshold)
    ladder = ladder_of(task, version, data, (trained.rung,), kept)
    return Run(verdict, labels, names, ladder)


@dataclass(frozen=True, slots=True)
class Division:
    """How a task's requests are divided, where each slice must keep the promise on its own."""

    strata: Strata | None = None
    names: npt.NDArray[np.str_] | None = None
    """[n]: the slice that each example is in."""

    def part(self, rows: npt.NDArray[Any]) -> list[str] | None:
        """The slices of some examples."""
        return None if self.names is None else self.names[rows].tolist()

    def floors(self, verdict: Verdict) -> Floors | None:
        """The thresholds that ``verdict`` gives the slices; None where they do not matter."""
        if self.strata is None or not verdict.floors:
            return None
        return Floors(self.strata, verdict.floors)


def divide(policy: PolicySettings, texts: Sequence[str]) -> Division:
    """The division of examples with these ``texts`` [n] that ``policy`` asks for."""
    if policy.by_slice is None or not texts:
        return Division()
    strata, names = Strata.fit(policy.by_slice, texts)
    return Division(strata, np.array(names))


def to_beat(champion: Ladder | None, policy: PolicySettings) -> float:
    """What a challenger must save more than: nothing where the champion was tested for less than
    the promise that the challenger must keep, or its slices need not keep it each on its own."""
    if champion is None:
        return 0.0
    if champion.promise is not None and not champion.promise.covers(Promise.of(policy)):
        return 0.0
    kind = None if champion.floors is None else champion.floors.strata.kind
    return champion.worth if policy.by_slice in {None, kind} else 0.0


def ladder_of(
    task: str,
    version: str,
    data: Dataset,
    rungs: tuple[Rung, ...],
    verdict: Verdict,
    divided: Division = Division(),
    policy: PolicySettings | None = None,
) -> Ladder:
    """The ``rungs`` as the student that was tested on ``data`` for the promise of ``policy``, and
    that ``verdict`` gives a threshold."""
    assert verdict.threshold is not None, "a student without a threshold cannot answer"
    return Ladder(
        version,
        task,
        verdict.threshold,
        verdict.share,
        data.head,
        rungs,
        usage.fit(data.examples),
        data.masked,
        verdict.barred,
        max(example.created for example in data.examples),
        floors=divided.floors(verdict),
        promise=None if policy is None else Promise.of(policy),
    )


@dataclass(frozen=True, slots=True)
class _Examined:
    """What candidates of one run are compared and tested on."""

    data: Dataset
    policy: PolicySettings
    delta: float
    divided: Division
    rival: Rival | None

    def trial(self, labels: Sequence[str], surprise: npt.NDArray[np.float64]) -> _Trial:
        """On the examples that count, of all that are as surprising [n] as that, by the ``labels``
        of their answers."""
        counts = self.data.weights > 0
        tested = self.data.tested
        texts = [example.text for example in tested]
        slices = cut(texts, [example.answer for example in tested], labels, surprise[counts])
        nothing = np.zeros((0, 0), dtype=np.int64)
        parts = Parts(slices, labels, nothing, self.rival, strata=self.divided.part(counts))
        return _Trial(self, parts)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A test of whatever is trained on the same answers."""

    examined: _Examined
    parts: Parts
    """All but what a candidate says."""

    def candidate(self, *trained: Trained[StudentRung]) -> _Candidate:
        """The rungs that were ``trained``, cheapest first."""
        data, alpha, delta = self.examined.data, self.examined.policy.alpha, self.examined.delta
        weights = data.weights
        outcomes = _outcomes(trained, weights, even=data.even)
        said = gate.numbered([one.said for one in trained], self.parts.labels)[weights > 0]
        parts = replace(self.parts, said=said)
        expected = gate.expected_share(outcomes, alpha, delta, parts.strata)
        return _Candidate(trained, outcomes, parts, expected, trained[0].suspects)


def _best_candidate(
    examined: _Examined,
    learnt: tuple[str, ...] | Form,
    found: Found | None,
    encoders: Sequence[SentenceEncoder],
    sift: bool,
) -> _Candidate:
    """The rungs that expect to serve the most; of those that expect as much, the cheapest.

    They are compared by what their own confidences foretell, so that only one test is made.
    """
    candidates = []
    if found is not None:
        data = examined.data
        copies = copying.train(data.texts, data.answers, found, data.groups)
        trial = examined.trial(frequent_labels(data.answers), copies.surprise)
        candidates.append(trial.candidate(copies))
    # What stands in a request may be easier to tell by what else does.
    if learnt and not any(one.expected >= _ENOUGH for one in candidates):
        candidates += _label_candidates(examined, learnt, encoders, sift)
    return max(candidates, key=lambda one: one.expected)


def _label_candidates(
    examined: _Examined,
    learnt: tuple[str, ...] | Form,
    encoders: Sequence[SentenceEncoder],
    sift: bool,
) -> list[_Candidate]:
    """Those that give the answers, or the values of the form, that are ``learnt``."""
    data, alpha = examined.data, examined.policy.alpha
    texts, answers, groups = data.texts, data.answers, data.groups
    labels = frequent_labels(answers) if isinstance(learnt, Form) else learnt
    # A form's answers are too many for it to tell which are wrong.
    doubt = sieve(data, learnt) if sift and not isinstance(learnt, Form) else None
    told = None if isinstance(learnt, Form) else soft.shares(data, learnt)
    cheap = label.train(texts, answers, learnt, groups=groups, taught=doubt, shares=told)
    trial = examined.trial(labels, cheap.surprise)
    candidates = [trial.candidate(cheap)]
    if candidates[0].expected >= _ENOUGH or is_hopeless(cheap, alpha):
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


def find_rival(champion: Ladder | None, head: str, tested: Sequence[Example]) -> Rival | None:
    """What the champion, if there is one, makes of the newest of the ``tested`` examples, texts
    without ``head``."""
    if champion is None:
        return None
    fair = np.array([example.created > champion.trained for example in tested])
    fair &= champion.quick
    compared = np.flatnonzero(fair)[-_COMPARED:]
    answered, wrong = np.zeros((2, len(tested)), dtype=bool)
    texts = [champion.varying(head + tested[row].text) for row in compared]
    for row, prediction in zip(compared, champion.predict(texts), strict=True):
        answered[row] = prediction.confidence >= champion.threshold
        wrong[row] = answered[row] and not agree(prediction.answer, tested[row].answer)
    return Rival(answered, wrong)


def is_hopeless(cheap: Trained[Rung], alpha: float) -> bool:
    """Whether dearer rungs need not be tried, by the ``cheap`` one of the task."""
    return _wrong(cheap.confidences, cheap.agreed) > _HOPELESS * alpha


def _wrong_of_surest(outcomes: Outcomes) -> float:
    """Share of what the surest rung says that disagrees, of the third that it is surest of."""
    surest = outcomes.confidences.argmax(axis=1)
    return _wrong(outcomes.surest, outcomes.agreed[np.arange(len(outcomes)), surest])


def _wrong(confidences: npt.NDArray[np.float64], agreed: npt.NDArray[np.bool_]) -> float:
    third = np.argsort(-confidences)[: max(1, len(confidences) // 3)]
    return float(1 - agreed[third].mean())


def _outcomes(
    trained: Sequence[Trained[Rung]], weights: npt.NDArray[np.float64], *, even: bool = False
) -> Outcomes:
    """What rungs make of the examples that count, each trained without it."""
    counts = weights > 0
    return Outcomes(
        np.stack([one.confidences for one in trained], axis=1)[counts],
        np.stack([one.agreed for one in trained], axis=1)[counts],
        weights[counts],
        even,
    )
