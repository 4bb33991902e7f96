"""Which route a request takes: what the student says is asked before anybody decides."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass

from config.settings import PolicySettings
from policies.decision import Decision, breaks_limits, decide, needs_teacher
from policies.scores import RouteScore, Scores
from router.chain import first_asked
from router.errors import ProtegeError, StudentNotFoundError, StudentUnableError, TooDearError
from router.models import Model, Models, Target
from router.request import ChatRequest
from router.serving import Student, Students
from router.turn import Arrival, Opinion, Turn, usd

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Routing:
    """Chooses between the teacher and the student of a request's task."""

    models: Models
    policy: PolicySettings
    students: Students
    scores: Scores
    compute_price: float
    """Picodollars per second of a student's computing."""

    async def choose(self, arrival: Arrival, request: ChatRequest, target: Target) -> Turn:
        """Raises StudentNotFoundError, StudentUnableError or TooDearError."""
        if isinstance(target, Model):
            return Turn(arrival, request, "model", "forced", sampled=False)
        student = self.students.of(request.prompt.task)
        # Drawn before the route and whatever it will be, or the sample would depend on the policy.
        sampled = student is None or random.random() < self.policy.audit_rate
        if target == "teacher":
            return Turn(arrival, request, "teacher", "forced", sampled)
        rule = self._rule(request)
        opinion = None
        if student is not None and rule is None:
            opinion = await self._opinion(student, request)
            rule = _broken_limit(request, opinion) if opinion else "student_error"
        if target == "student":
            if opinion is None or rule is not None:
                raise _unable(request, student, rule)
            return Turn(arrival, request, "student", "forced", sampled, opinion)
        decision = decide(
            rule,
            student.threshold if student else 1.0,
            self._score_teacher(request),
            self._score_student(opinion) if opinion else None,
            self.policy.audit_rate,
        )
        fallback = opinion is not None and rule is None
        turn = Turn(arrival, request, decision.route, decision.reason, sampled, opinion, fallback)
        turn.decision = decision
        return self._within_budget(turn, decision)

    def _rule(self, request: ChatRequest) -> str | None:
        """Why the student is not even asked."""
        bound = request.terms.bound
        # Its threshold was found for alpha, and says nothing of a stricter bound.
        if bound is not None and bound < self.policy.alpha:
            return "bound"
        return needs_teacher(request.body)

    async def _opinion(self, student: Student, request: ChatRequest) -> Opinion | None:
        """What the student would answer; None if it fails, which must not fail the request."""
        text = request.prompt.text
        try:
            asked = await student.predict(text)
            usage = student.usage(text, asked.prediction.answer)
            cost = round(asked.compute_s * self.compute_price)
            return Opinion(student, asked.prediction, usage, cost, asked.waiting)
        except Exception:
            _log.exception("student %s failed", student.version)
            return None

    def _score_teacher(self, request: ChatRequest) -> RouteScore:
        model = first_asked(self.models.chain)
        return self.scores.teacher(
            request.ask, model.upstream.model, model.price, model.breaker.wait_s()
        )

    def _score_student(self, opinion: Opinion) -> RouteScore:
        return self.scores.student(
            opinion.student.version, opinion.prediction.confidence, opinion.cost, opinion.waiting
        )

    def _within_budget(self, turn: Turn, decision: Decision) -> Turn:
        """The turn, or the student's if the teacher costs more than the caller wants to pay."""
        budget = turn.request.terms.budget
        if budget is None or turn.route == "student" or decision.teacher.cost <= budget:
            return turn
        if not turn.may_fall_back:
            raise TooDearError(
                f"The teacher is expected to cost {usd(decision.teacher.cost)} USD, more than the "
                "request's budget, and there is no student to answer instead.",
                "x-protege-budget",
            )
        turn.route, turn.reason = "student", "budget"
        return turn


def _broken_limit(request: ChatRequest, opinion: Opinion) -> str | None:
    tokens = opinion.usage.completion_tokens
    return breaks_limits(request.body, opinion.prediction.answer, tokens)


def _unable(request: ChatRequest, student: Student | None, rule: str | None) -> ProtegeError:
    """Why a forced student does not answer."""
    if student is None:
        return StudentNotFoundError(f"The task '{request.prompt.task}' has no student.", "model")
    return StudentUnableError(f"The student cannot answer this request: {rule}.", "model")
