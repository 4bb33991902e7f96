"""The learning loop offline: what would become of one task's requests, in the order they came.

It is made of what serves: dataset, training runs, gate, thresholds, audits and demotion. The
answers on record are the teacher's. What is left out is what takes time: network, processes, the
wait for a training run, and runs that fall due by the clock; and those that fall due since an
instruction or the teacher has changed.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import orjson

from config.settings import Settings
from distill import schedule
from distill.card import Verdict
from distill.data.dataset import Dataset, build
from distill.data.on_record import MOST_ANSWERS
from distill.data.reach import Former, weighted
from distill.runs import own_encoder
from distill.runs.challenge import Challenge
from distill.runs.label import retrain
from distill.runs.own_encoder import Own
from distill.runs.run import Run
from distill.students.apart import TrainingError
from distill.students.base import Prediction
from distill.students.encoder import SentenceEncoder
from distill.students.ladder import Ladder
from policies.agreement import agree
from policies.promise import breach
from policies.rules import NEVER_ASKED, breaks_limits, needs_teacher
from policies.tasks import read_prompt
from telemetry import audits
from telemetry.audits import AuditBlocks, AuditTally
from telemetry.exchange import Exchange, Route, TaskState
from telemetry.prices import Usage
from telemetry.turnout import Turnout

_TASK = "task"
"""A play knows one task alone; its name does not matter."""

_AT_ONCE = 64
"""Requests that a student is asked about at once: one call costs little more for many."""

_MOST_TURNS = 2**17
"""Turns of conversations whose route is remembered."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """A request of the task, and what the teacher said to it."""

    body: Mapping[str, Any]
    """A valid chat completion request."""
    text: str
    """What of it varies, as in ``policies.tasks.Prompt``."""
    answer: str | None
    """The teacher's whole answer; None where it was no text or was cut off."""
    usage: Usage
    follows: int | None = None
    """Fingerprint of the turn of its conversation that it follows; None where it begins one."""
    turn: int | None = None
    """Its own fingerprint; None where there is no telling."""
    right_answer: str | None = None
    """What a person has put in the answer's place: it is learnt, and no evidence."""

    @property
    def teaches(self) -> bool:
        """Whether there is an answer to learn from."""
        return self.answer is not None or self.right_answer is not None


@dataclass(frozen=True, slots=True)
class Step:
    """What became of one request."""

    route: Route
    reason: str
    agreed: bool | None
    """Whether what a student says is the teacher's answer, be it given or not; None where no
    student can answer, or the teacher's answer is none to compare with."""
    audited: bool
    """Whether the teacher was asked too, after the student had answered."""

    @property
    def wrong(self) -> bool:
        """Whether a student gave an answer that is not the teacher's."""
        return self.route == "student" and self.agreed is False


@dataclass(frozen=True, slots=True)
class _Opinion:
    """What the champion says to a request, if it is asked, and the rule, if any, that keeps it from
    answering."""

    prediction: Prediction | None
    rule: str | None


class Play:
    """One task's stream and what the learning loop makes of it."""

    def __init__(
        self,
        settings: Settings,
        encoder: SentenceEncoder | None,
        rng: Random,
        tuned: Path | None = None,
    ) -> None:
        """``tuned`` is the folder of encoders that are tuned to the task, which takes minutes each;
        None goes without."""
        self._policy, self._loop = settings.policy, settings.loop
        self._private = settings.dataset.private
        self._sifts = settings.dataset.suspects == "drop"
        self._encoder = encoder
        self._tuned = tuned
        self._own: Own | None = None
        self._tuned_on = 0
        self._rng = rng
        self._position = 0
        self._champion: Ladder | None = None
        self._audits: list[AuditTally] = []
        self._by_stratum: dict[str, list[AuditTally]] = {}
        self._answers = 0
        self._evidence: deque[Exchange] = deque(maxlen=MOST_ANSWERS)
        self._state = TaskState(_TASK)
        self._turns: dict[int, Route] = {}
        self._alone = 0
        """Requests since the last demotion that a student could have been asked about, while none
        was."""
        self._formers: list[Former] = []
        """Students since then. The last is the champion."""
        self.verdict = ""
        """What the last training run came to, in words; empty where there was none."""
        self.promotions = 0
        self.demotions = 0

    def run(self, requests: Sequence[Request]) -> list[Step]:
        """What becomes of the next requests, in order."""
        blocks = range(0, len(requests), _AT_ONCE)
        return [
            step for start in blocks for step in self._block(requests[start : start + _AT_ONCE])
        ]

    def foresee(self, requests: Sequence[Request]) -> list[Step]:
        """What would become of each request today. None is audited, and nothing is learnt."""
        return [
            self._step(request, opinion, sampled=False)
            for request, opinion in zip(requests, self._opinions(requests), strict=True)
        ]

    def _block(self, requests: Sequence[Request]) -> list[Step]:
        steps: list[Step] = []
        asked, opinions = self._champion, self._opinions(requests)
        for place, request in enumerate(requests):
            if self._champion is not asked:
                asked = self._champion
                opinions = [*opinions[:place], *self._opinions(requests[place:])]
            steps.append(self._answer(request, opinions[place]))
        return steps

    def _opinions(self, requests: Sequence[Request]) -> Sequence[_Opinion | None]:
        """What the champion says to each, where there is one."""
        champion = self._champion
        if champion is None:
            return [None] * len(requests)
        rules = [_rule(champion, request) for request in requests]
        able = [request for request, rule in zip(requests, rules, strict=True) if rule is None]
        said = iter(champion.predict([champion.varying(request.text) for request in able]))
        return [
            _Opinion(None, rule) if rule else _checked(champion, request, next(said))
            for request, rule in zip(requests, rules, strict=True)
        ]

    def _answer(self, request: Request, opinion: _Opinion | None) -> Step:
        sampled = self._champion is None or self._rng.random() < self._policy.audit_rate
        step = self._step(request, opinion, sampled)
        self._remember(request, step.route)
        self._count(request, opinion, step)
        if request.teaches and (step.route == "teacher" or sampled):
            self._answers += 1
            self._evidence.append(self._exchange(request, opinion, step, sampled))
        if step.audited and step.agreed is not None:
            self._audit(request, step.agreed)
        self._position += 1
        self._learn()
        return step

    def _step(self, request: Request, opinion: _Opinion | None, sampled: bool) -> Step:
        if self._champion is None or opinion is None:
            return Step("teacher", "no_student", None, audited=False)
        if opinion.prediction is None or opinion.rule is not None:
            return Step("teacher", opinion.rule or "no_student", None, audited=False)
        # A conversation stays with the teacher.
        if request.follows is not None and self._turns.get(request.follows) == "teacher":
            return Step("teacher", "pinned", None, audited=False)
        prediction = opinion.prediction
        agreed = None if request.answer is None else agree(prediction.answer, request.answer)
        if prediction.confidence < self._champion.threshold:
            return Step("teacher", "student_unsure", agreed, audited=False)
        return Step("student", "student_confident", agreed, audited=sampled)

    def _count(self, request: Request, opinion: _Opinion | None, step: Step) -> None:
        """Take the request to those that the champion was asked about, or to those that came when
        it was not asked though a student could be; what none can be asked about is neither."""
        if opinion is None or self._champion is None:
            self._alone += needs_teacher(request.body) is None
            return
        if opinion.prediction is None:
            self._alone += opinion.rule not in NEVER_ASKED
            return
        asked = self._propensity(step.route)
        sure = opinion.prediction.confidence >= self._champion.threshold
        self._formers[-1].turnout += (
            Turnout(1, asked, 0, 0.0) if sure else Turnout(0, 0.0, 1, asked)
        )

    def _propensity(self, route: Route) -> float:
        return self._policy.audit_rate if route == "student" else 1.0

    def _remember(self, request: Request, route: Route) -> None:
        if request.turn is None:
            return
        self._turns[request.turn] = route
        if len(self._turns) > _MOST_TURNS:
            # The oldest.
            del self._turns[next(iter(self._turns))]

    def _exchange(
        self, request: Request, opinion: _Opinion | None, step: Step, sampled: bool
    ) -> Exchange:
        served = step.route == "student"
        exchange = Exchange(
            id=str(self._position),
            created=float(self._position),
            task=_TASK,
            route=step.route,
            model="recorded",
            reason=step.reason,
            status=200,
            stream=False,
            sampled=sampled,
            propensity=self._propensity(step.route),
            request=orjson.dumps(request.body).decode(),
            answer=request.answer,
            teacher_answer=request.answer,
            finish_reason="stop",
            right_answer=request.right_answer,
            prompt_tokens=request.usage.prompt_tokens,
            completion_tokens=request.usage.completion_tokens,
        )
        if opinion is None or opinion.prediction is None or self._champion is None:
            return exchange
        prediction, version = opinion.prediction, self._champion.version
        return replace(
            exchange,
            model=version if served else exchange.model,
            student=version,
            student_answer=prediction.answer,
            confidence=prediction.confidence,
            answer=prediction.answer if served else exchange.answer,
            agreed=step.agreed if served else None,
        )

    def _audit(self, request: Request, agreed: bool) -> None:
        assert self._champion is not None, "only a student's answers are audited"
        audits.add(self._audits, agreed)
        stratum = self._champion.place(self._champion.varying(request.text)).stratum
        if stratum is not None:
            audits.add(self._by_stratum.setdefault(stratum, []), agreed)
        seen, strata = AuditBlocks(self._audits, self._by_stratum), self._champion.strata
        if breach(seen, strata, self._policy.alpha, self._policy.delta) is not None:
            self.demotions += 1
            self._champion = None
            self._answers, self._tuned_on = 0, 0
            self._evidence.clear()
            self._alone, self._formers = 0, []
            self._state = TaskState(_TASK, attempts=self._state.attempts)

    def _learn(self) -> None:
        """Retrain if that is due."""
        answers = {_TASK: self._answers}
        states = {_TASK: self._state}
        if not schedule.due(answers, states, self._state.trained_at, self._loop, {}, changed={}):
            return
        self._train()
        if self._tune():
            self._train(renewed=True)

    def _tune(self) -> bool:
        """Tune an encoder to the task if that is due; whether there is one."""
        share = 0.0 if self._champion is None else self._champion.share
        if self._encoder is None or self._tuned is None or not self._loop.tuning_minutes:
            return False
        if not own_encoder.is_due(self._answers, share, self._tuned_on):
            return False
        self._tuned_on = self._answers
        try:
            own = own_encoder.tune(
                self._state,
                self._answers,
                build(list(self._evidence), self._private),
                self._policy.alpha,
                self._encoder,
                self._tuned,
                cpu_s=60 * self._loop.tuning_minutes,
                sift=self._sifts,
            )
        except TrainingError as error:
            _log.warning("no encoder was tuned: %s", error)
            return False
        if own is None:
            return False
        self._own = own
        return True

    def _read(self, data: Dataset) -> SentenceEncoder | None:
        """The encoder that was tuned to the task, where it is one for these ``data``."""
        if self._own is None or self._tuned is None or not self._own.fits(data):
            return None
        return SentenceEncoder.open(self._own.name, self._tuned, remember=True)

    def _train(self, renewed: bool = False) -> None:
        """Train a student; ``renewed`` if there is a new encoder to read with."""
        evidence = list(self._evidence)
        data = build(evidence, self._private)
        for former in self._formers:
            former.recall(evidence)
        data = weighted(data, self._formers, self._alone)
        try:
            run = retrain(
                Challenge(data.version, data, self._state, self._policy, self._champion),
                self._encoder,
                tuned=self._read(data),
                renewed=renewed,
                sift=self._sifts,
            )
        except Exception as error:
            # As in the trainer: the task waits for its next turn.
            _log.exception("training failed")
            run = Run(Verdict(False, f"training failed: {error}"))
        self._state = run.advance(self._state, self._answers, float(self._position))
        self.verdict = run.verdict.reason
        if run.verdict.promoted:
            self.promotions += 1
            self._champion, self._audits, self._by_stratum = run.ladder, [], {}
            if run.ladder is not None:
                self._formers.append(Former(run.ladder, dict(run.sure)))


def _rule(champion: Ladder, request: Request) -> str | None:
    """Why the champion is not even asked."""
    return needs_teacher(request.body) or champion.unfamiliar(read_prompt(request.body))


def _checked(champion: Ladder, request: Request, prediction: Prediction) -> _Opinion:
    """The prediction in the words of the request, and whether that allows it."""
    restored = champion.masked(request.text).restore(prediction.answer)
    prediction = replace(prediction, answer=restored)
    usage = champion.usage.estimate(champion.varying(request.text), prediction.answer)
    rule = breaks_limits(request.body, prediction.answer, usage.completion_tokens)
    return _Opinion(prediction, rule)
