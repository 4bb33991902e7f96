"""One training run: from a dataset to a ladder that passed the gate, or to the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from config.settings import PolicySettings
from distill import gate
from distill.dataset import Dataset, Example
from distill.gate import Verdict
from distill.students import label, usage
from distill.students.encoder import SentenceEncoder
from distill.students.fitting import frequent_labels
from distill.students.label import LabelRung, Trained
from distill.students.ladder import Ladder
from policies.agreement import agree
from policies.calibration import Outcomes, Plan, attempt_delta, plan
from telemetry.exchange import TaskState

_LEAST_COVER = 0.2
"""Share of the answers that frequent labels must make up for the set to count as closed."""

NEW_EVIDENCE = 1.25
"""Factor by which held-out requests must have grown before a task is tested again."""

_ENOUGH = 0.97
"""Share of requests from which a dearer rung could hardly add any."""

_MOST = 0.8
"""Share of requests for which it is not worth waiting for a dearer rung."""

_HOPELESS = 4.0
"""Where the cheap rung errs this many times ``alpha`` on the third of requests that it is surest
of, a dearer one is not tried."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a training run came to; ``ladder`` is there iff the verdict promotes it."""

    verdict: Verdict
    labels: tuple[str, ...] = ()
    rungs: tuple[str, ...] = ()
    ladder: Ladder | None = None

    def advance(self, state: TaskState, answers: int, now: float) -> TaskState:
        """The task's ``state`` after this run, made at Unix time ``now`` on so many answers."""
        after = replace(state, trained_on=answers, trained_at=now)
        if self.verdict.delta is None:
            return after
        return replace(after, attempts=state.attempts + 1, tested_on=self.verdict.held_out)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Rungs to be tested together, and what training data say of them."""

    rungs: tuple[LabelRung, ...]
    plan: Plan | None

    @property
    def share(self) -> float:
        """Share of requests that it is foretold to answer within the bound."""
        return self.plan.share if self.plan else 0.0


def retrain(
    task: str,
    version: str,
    data: Dataset,
    champion: Ladder | None,
    state: TaskState,
    policy: PolicySettings,
    encoder: SentenceEncoder | None,
    *,
    encoder_comes: bool = False,
) -> Run:
    """Train the cheapest ladder that is expected to serve the most, and put it to the gate.

    A test that is foretold to fail, or that has little more evidence than the task's last one, is
    not made, and spends nothing of the error budget. Nor is one while the encoder is still being
    made ready (``encoder_comes``), unless the cheap rung leaves little to gain.
    """
    if len(data.held_out) < NEW_EVIDENCE * state.tested_on:
        reason = "too little evidence since the last test"
        return Run(Verdict(False, reason, held_out=len(data.held_out)))
    delta = attempt_delta(policy.delta, state.attempts + 1)
    labels = closed_set([example.answer for example in data.train])
    if not labels:
        return Run(Verdict(False, "the answers are not from a small closed set"))
    candidate = _best_candidate(data, labels, policy.alpha, delta, encoder)
    names = tuple(rung.name for rung in candidate.rungs)
    if candidate.plan is None:
        reason = "cross-validation foretells that no threshold meets the bound"
        return Run(Verdict(False, reason, held_out=len(data.held_out)), labels, names)
    if encoder_comes and candidate.share < _MOST:
        reason = "the encoder is not ready, and n-grams alone would answer few requests"
        return Run(Verdict(False, reason, held_out=len(data.held_out)), labels, names)
    served = champion_share(champion, data)
    if candidate.share <= served:
        reason = f"cross-validation foretells no more than the champion's {served:.0%}"
        return Run(Verdict(False, reason, held_out=len(data.held_out)), labels, names)
    tested = outcomes(candidate.rungs, data.held_out)
    verdict = gate.judge(candidate.plan, tested, served, policy.alpha)
    if not verdict.promoted or verdict.threshold is None:
        return Run(verdict, labels, names)
    tokens = usage.fit([*data.train, *data.held_out])
    ladder = Ladder(version, task, verdict.threshold, data.head, candidate.rungs, tokens)
    return Run(verdict, labels, names, ladder)


def closed_set(answers: Sequence[str]) -> tuple[str, ...]:
    """The answers that can be learnt; none where the set that ``answers`` come from is open."""
    labels = frequent_labels(answers)
    known = set(labels)
    covered = sum(answer in known for answer in answers)
    return labels if covered >= _LEAST_COVER * len(answers) else ()


def champion_share(champion: Ladder | None, data: Dataset) -> float:
    """Share of the held-out requests that the serving ladder answers."""
    if champion is None or not data.held_out:
        return 0.0
    texts = [champion.varying(data.head + example.text) for example in data.held_out]
    confident = np.zeros(len(texts), dtype=bool)
    for rung in champion.rungs:
        predictions = rung.predict(texts)
        confident |= np.array([p.confidence >= champion.threshold for p in predictions])
    return float(confident.mean())


def _best_candidate(
    data: Dataset,
    labels: Sequence[str],
    alpha: float,
    delta: float,
    encoder: SentenceEncoder | None,
) -> _Candidate:
    """The rungs that are foretold to serve the most; of those that serve as much, the cheapest."""
    texts = [example.text for example in data.train]
    answers = [example.answer for example in data.train]
    cheap = label.train(texts, answers, labels)
    alone = _candidate([cheap], len(data.held_out), alpha, delta)
    if encoder is None or alone.share >= _ENOUGH or _surest_error(cheap) > _HOPELESS * alpha:
        return alone
    plain = label.train(texts, answers, labels, ngrams=False, encoder=encoder)
    rich = label.train(texts, answers, labels, encoder=encoder)
    ladders = ([cheap, plain], [cheap, rich], [plain], [rich])
    candidates = [_candidate(ladder, len(data.held_out), alpha, delta) for ladder in ladders]
    return max(alone, *candidates, key=lambda candidate: candidate.share)


def _surest_error(trained: Trained) -> float:
    """Share of wrong answers among the third of the training data that the rung is surest of."""
    surest = np.argsort(-trained.confidences)[: max(1, len(trained.confidences) // 3)]
    return float(1 - trained.agreed[surest].mean())


def _candidate(trained: Sequence[Trained], held_out: int, alpha: float, delta: float) -> _Candidate:
    training = Outcomes(
        np.stack([one.confidences for one in trained], axis=1),
        np.stack([one.agreed for one in trained], axis=1),
    )
    planned = plan(training, held_out, alpha, delta)
    return _Candidate(tuple(one.rung for one in trained), planned)


def outcomes(rungs: Sequence[LabelRung], examples: Sequence[Example]) -> Outcomes:
    """What ``rungs`` make of ``examples``, whose texts are without the head."""
    texts = [example.text for example in examples]
    predictions = [rung.predict(texts) for rung in rungs]
    shape = (len(rungs), len(examples))
    confidences = np.array([[p.confidence for p in row] for row in predictions]).reshape(shape)
    agreed = np.array(
        [
            [agree(p.answer, example.answer) for p, example in zip(row, examples, strict=True)]
            for row in predictions
        ],
        dtype=bool,
    ).reshape(shape)
    return Outcomes(confidences.T, agreed.T)
