"""One training run of a label student, or of one that copies what stands in the request: to a
ladder that passed the gate, or to the reason why not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from distill import gate
from distill.answers import copied, learnable, named
from distill.card import Report, Verdict
from distill.evaluation.latency import measure
from distill.evaluation.report import report
from distill.evaluation.temporal import newest
from distill.runs import prospects
from distill.runs.candidates import Candidate, Examined, StudentRung, outcomes_of
from distill.runs.challenge import Challenge
from distill.runs.prospects import MOST
from distill.runs.run import Run
from distill.students import label
from distill.students.base import EXTRACTION
from distill.students.encoder import SentenceEncoder
from distill.students.extraction import training as copying
from distill.students.extraction.answers import Found
from distill.students.forms import Form
from distill.students.label import Trained
from policies.calibration import Given, Outcomes

_OPEN = "the answers are not from a small closed set"
_FEW = "n-grams alone would answer few requests, and students with the encoder are still to come"


def retrain(
    challenge: Challenge,
    encoder: SentenceEncoder | None = None,
    *,
    tuned: SentenceEncoder | None = None,
    encoder_comes: bool = False,
    renewed: bool = False,
    sift: bool = False,
) -> Run:
    """Train the cheapest ladder that can serve the most, and put it to the gate.

    It may read the general ``encoder``, or one that was ``tuned`` to the task. A test that has
    little more evidence than the task's last one is not made, and spends nothing of the error
    budget, unless what students may read is ``renewed``. While the encoder is still to come
    (``encoder_comes``) the cheap rung is tested only if it would leave little to gain. With
    ``sift``, answers that are likely wrong are not taught where that makes a better student.
    """
    data = challenge.data
    if data.evidence and not (challenge.has_news or renewed):
        reason = "too little evidence since the last test"
        return Run(Verdict(False, reason, evidence=data.evidence))
    learnt = learnable(data.taught)
    found = copied(data, learnt)
    if not learnt and found is None:
        return Run(Verdict(False, _OPEN))
    if not data.evidence:
        return _untested(challenge, learnt, found, encoder)
    examined = Examined.of(challenge)
    encoders = [each for each in (encoder, tuned) if each is not None]
    best = examined.best(learnt, found, encoders, sift)
    if encoder_comes and not best.copies and best.expected < MOST:
        # What a test spends of the error budget would be missed when there is the encoder.
        verdict = Verdict(False, _FEW, evidence=data.evidence)
    else:
        best, verdict = _judged(challenge, best)
    labels = () if best.copies else named(learnt, data.taught)
    return _made(examined, best, verdict, labels)


def _judged(challenge: Challenge, best: Candidate) -> tuple[Candidate, Verdict]:
    """The gate's verdict on a candidate. One that passes is judged by the newest answers as well,
    which it takes another training to ask about."""
    served, alpha, delta = challenge.to_beat, challenge.alpha, challenge.delta
    verdict = gate.judge(best.outcomes, served, alpha, delta, best.parts)
    if verdict.threshold is None:
        return best, verdict
    late = newest(challenge.data, best.rungs, best.parts.labels, best.parts.strata)
    best = replace(best, parts=replace(best.parts, newest=late))
    return best, gate.judge(best.outcomes, served, alpha, delta, best.parts)


def _made(examined: Examined, best: Candidate, verdict: Verdict, labels: tuple[str, ...]) -> Run:
    """What there is of a candidate after its ``verdict``: a student, where it can be told what to
    answer, and figures in any case."""
    challenge = examined.challenge
    threshold = verdict.threshold
    if threshold is None:
        threshold = gate.observed(best.outcomes, challenge.alpha)
    evidence, used = best.outcomes.smoothed(), replace(verdict, threshold=threshold)
    given = best.parts.given(evidence, used)
    run = Run(
        verdict,
        labels,
        best.names,
        report=_figures(challenge, best, evidence, given, used),
        suspects=best.suspects,
        hope=prospects.hope(best.outcomes),
    )
    if threshold is None:
        return run
    ladder = challenge.ladder(best.rungs, used, examined.divided)
    tested = [example.id for example in challenge.data.tested]
    sure = dict(zip(tested, given.answered.tolist(), strict=True))
    return replace(run, ladder=ladder, latency=measure(ladder, challenge.data.texts), sure=sure)


def _figures(
    challenge: Challenge, best: Candidate, evidence: Outcomes, given: Given, used: Verdict
) -> Report:
    """What becomes of the ``evidence`` at the threshold that is ``used``."""
    parts = best.parts
    return report(
        evidence,
        given,
        used.threshold or 0.0,
        parts.slices,
        np.array([example.contradicted for example in challenge.data.tested]),
        challenge.alpha,
        None if parts.newest is None else parts.newest.given(used, parts.places(used.barred)),
    )


def _untested(
    challenge: Challenge,
    learnt: tuple[str, ...] | Form,
    found: Found | None,
    encoder: SentenceEncoder | None,
) -> Run:
    """A student of answers that were all imported, or put right by people. No test can be made of
    it, so that it serves only if a person insists."""
    data = challenge.data
    trained: list[Trained[StudentRung]] = []
    if found is not None:
        trained.append(copying.train(data.texts, data.answers, found, data.groups))
    if learnt:
        trained.append(
            label.train(data.texts, data.answers, learnt, encoder=encoder, groups=data.groups)
        )
    best = max(trained, key=lambda one: float(one.agreed.mean()))
    names = (best.rung.name,)
    labels = () if EXTRACTION in names else named(learnt, data.taught)
    verdict = Verdict(False, "no evidence: the teacher has answered no request of the task")
    threshold = gate.observed(outcomes_of([best], np.ones(len(data))), challenge.alpha)
    if threshold is None:
        return Run(verdict, labels, names)
    kept = replace(verdict, threshold=threshold)
    return Run(verdict, labels, names, challenge.ladder((best.rung,), kept, None))
