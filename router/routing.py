"""Which route a request takes: what the student says is asked before anybody decides."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from config.settings import PolicySettings
from policies.deadline import Deadline
from policies.decision import Decision, decide, to_teacher
from policies.fixed import Teacher
from policies.policy import Options, Policy
from policies.rules import breaks_limits, needs_teacher
from policies.scores import RouteScore, Scores
from policies.threshold import Bound
from router.chain import first_asked
from router.conversations import Conversations, turns
from router.errors import (
    ProtegeError,
    StudentNotFoundError,
    StudentUnableError,
    TooDearError,
)
from router.models import Model, Models, Target
from router.precedence import InForce, Precedence
from router.request import ChatRequest
from router.spending.paying import Paying
from router.students.rollout import Rollouts
from router.students.serving import Student, Students
from router.turn import Arrival, Opinion, Turn, usd
from telemetry.exchange import Route

_log = logging.getLogger(__name__)


_BOUND = Bound()
_STAYS = Teacher("pinned")


@dataclass(frozen=True, slots=True)
class Routing:
    """Chooses between the teacher and the student of a request's task."""

    models: Models
    policy: PolicySettings
    precedence: Precedence
    barred: Callable[[str], bool]
    """Whether students may not answer a task."""
    conversations: Conversations
    paying: Paying
    students: Students
    rollouts: Rollouts
    scores: Scores
    compute_price: float
    """Picodollars per second of a student's computing."""

    async def choose(
        self, arrival: Arrival, request: ChatRequest, target: Target | Student
    ) -> Turn:
        """Raises StudentNotFoundError, StudentUnableError, ForbiddenError, InvalidRequestError,
        TooDearError or BudgetSpentError."""
        if isinstance(target, Model):
            self._check_budget(request, target)
            return Turn(arrival, request, "model", "forced", sampled=False)
        task = request.prompt.task
        canary = None if target is not None else self.rollouts.drawn(task)
        student = self.students.of(task) if canary is None else canary.student
        if isinstance(target, Student):
            student = target
        elif target == "student" and student is None:
            student = self.rollouts.canary(task)
        audit_rate = self.policy.audit_rate if canary is None else self.rollouts.audit_rate
        # Drawn before the route and whatever it will be, or the sample would depend on the policy.
        sampled = student is None or random.random() < audit_rate
        if target == "teacher":
            self._check_budget(request, first_asked(self.models.chain))
            return Turn(arrival, request, "teacher", "forced", sampled)
        in_force = self.precedence.find(arrival.key_id, task, request.terms.policy)
        # First what no student can answer: such a request is no evidence, whatever else it is.
        named = target == "student" or isinstance(target, Student)
        rule = needs_teacher(request.body) or self._rule(student, request, named)
        opinion = None
        if student is not None and rule is None:
            opinion = await self._opinion(student, request)
            rule = _broken_limit(request, opinion) if opinion else "student_error"
            if canary is not None and opinion is None:
                self.rollouts.failed(canary, arrival.id)
        if named:
            if opinion is None or rule is not None:
                raise _unable(request, student, rule)
            if opinion.hosted is not None:
                self._check_budget(request, opinion.hosted)
            return Turn(arrival, request, "student", "forced", sampled, opinion)
        before, this = turns(request.body, arrival.key_id, task)
        options = self._options(request, opinion) if opinion and rule is None else None
        await self.paying.pace(in_force.account)
        if options is None:
            decision = self._to_teacher(rule or "no_student", in_force, request, opinion)
        else:
            policy = _in_force(in_force.policy, options, request, self.conversations.route(before))
            decision = decide(policy, options, audit_rate, random.random())
            if not _is_wanted(request, options):
                # Nor may the student stand in for the teacher.
                options = None
        able = options is not None
        turn = Turn(arrival, request, decision.route, decision.reason, sampled, opinion, able)
        turn.decision, turn.account = decision, in_force.account
        if able and isinstance(in_force.policy, Deadline):
            # Only where somebody else can answer: the caller has not asked for an error.
            turn.patience_s = in_force.policy.seconds
        try:
            await self.paying.afford(turn, decision, audit_rate, in_force.account, options)
            if canary is not None and opinion is not None:
                self.rollouts.tried(canary, turn, opinion)
            self.conversations.keep(this, turn.route)
        except BaseException:
            await self.paying.give_back(turn)
            raise
        return turn

    def _rule(self, student: Student | None, request: ChatRequest, named: bool) -> str | None:
        """Why the student, or one that the caller has ``named``, is not even asked."""
        if self.barred(request.prompt.task):
            return "barred"
        bound = request.terms.bound
        if bound is not None and bound < self._least_bound(student):
            return "bound"
        unfamiliar = None if student is None else student.unfamiliar(request.prompt)
        # Who names a student need not repeat the instruction, which it never reads.
        return None if named and unfamiliar == "instruction" else unfamiliar

    def _least_bound(self, student: Student | None) -> float:
        """The strictest bound that a student's answers keep: its threshold was found for the one
        that it was tested for, and audits watch over ``policy.alpha``."""
        tested = None if student is None else student.promise
        return max(self.policy.alpha, 0.0 if tested is None else tested.alpha)

    def _options(self, request: ChatRequest, opinion: Opinion) -> Options:
        return Options(
            self._score_teacher(request),
            self._score_student(request, opinion),
            opinion.student.threshold,
            request.terms.deadline_s,
        )

    def _to_teacher(
        self, rule: str, in_force: InForce, request: ChatRequest, opinion: Opinion | None
    ) -> Decision:
        return to_teacher(
            rule,
            in_force.policy.name,
            self._score_teacher(request),
            self._score_student(request, opinion) if opinion else None,
            opinion.student.threshold if opinion else 1.0,
        )

    async def _opinion(self, student: Student, request: ChatRequest) -> Opinion | None:
        """What the student would answer; None if it fails, which must not fail the request."""
        text = request.prompt.text
        try:
            started = time.perf_counter()
            asked = await student.predict(text)
            took_s = time.perf_counter() - started
            cost = round(asked.compute_s * self.compute_price)
            said = asked.prediction
            if said.asks is not None:
                hosted = self.models.hosted[said.asks]
                usage = self.scores.usage(request.ask, hosted.upstream.model)
                return Opinion(
                    student, said, usage, cost, asked.waiting, took_s, asked.stratum, hosted
                )
            usage = student.usage(text, said.answer)
            return Opinion(student, said, usage, cost, asked.waiting, took_s, asked.stratum)
        except Exception:
            _log.exception("student %s failed", student.version)
            return None

    def _score_teacher(self, request: ChatRequest) -> RouteScore:
        return self._score_model(request, first_asked(self.models.chain))

    def _score_model(self, request: ChatRequest, model: Model) -> RouteScore:
        return self.scores.teacher(
            request.ask, model.upstream.model, model.price, model.breaker.wait_s()
        )

    def _check_budget(self, request: ChatRequest, model: Model) -> None:
        """Raises TooDearError where a model that has been asked for by name is expected to cost
        more than the caller allows."""
        budget = request.terms.budget
        if budget is None:
            return
        cost = self._score_model(request, model).cost
        if cost > budget:
            raise TooDearError(
                f"{model.upstream.model} is expected to cost {usd(cost)} USD, more than the "
                "request's budget.",
                "x-protege-budget",
            )

    def _score_student(self, request: ChatRequest, opinion: Opinion) -> RouteScore:
        if opinion.hosted is not None:
            score = self._score_model(request, opinion.hosted)
            score.agreement = opinion.prediction.confidence
            return score
        return self.scores.student(
            opinion.student.version, opinion.prediction.confidence, opinion.cost, opinion.waiting
        )


def _in_force(
    policy: Policy, options: Options, request: ChatRequest, before: Route | None
) -> Policy:
    """The policy, but for conversations under way and callers who want the promise kept.

    A conversation stays with the teacher; with the student it stays as far as the promise goes.
    """
    if before == "teacher":
        return _STAYS
    return _BOUND if before == "student" or not _is_wanted(request, options) else policy


def _is_wanted(request: ChatRequest, options: Options) -> bool:
    """Whether the caller takes the student's answer: who sets a bound wants the promise kept."""
    return request.terms.bound is None or options.promised


def _broken_limit(request: ChatRequest, opinion: Opinion) -> str | None:
    if opinion.hosted is not None:
        # It is told the limits. Whether its answer has the format is seen when there is one, and of
        # a stream the caller has the beginning by then.
        wants = (request.body.get("response_format") or {}).get("type", "text")
        return "response_format" if request.stream and wants != "text" else None
    tokens = opinion.usage.completion_tokens
    return breaks_limits(request.body, opinion.prediction.answer, tokens)


def _unable(request: ChatRequest, student: Student | None, rule: str | None) -> ProtegeError:
    """Why a forced student does not answer."""
    if student is None:
        return StudentNotFoundError(f"The task '{request.prompt.task}' has no student.", "model")
    return StudentUnableError(f"The student cannot answer this request: {rule}.", "model")
