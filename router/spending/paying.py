"""Whether a request's route can be paid: out of what its caller allows, and out of a budget."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from policies.decision import Decision
from policies.policy import Options
from policies.scores import RouteScore
from router.errors import BudgetSpentError, TooDearError
from router.spending.budgets import Account, Budgets
from router.turn import Turn, usd


@dataclass(frozen=True, slots=True)
class Paying:
    """Has the student answer where the teacher cannot be paid."""

    budgets: Budgets

    async def pace(self, account: Account | None) -> None:
        """Let the budget's policy know how far the money goes."""
        if account is not None:
            await self.budgets.pace(account)

    async def afford(
        self,
        turn: Turn,
        decision: Decision,
        audit_rate: float,
        account: Account | None,
        options: Options | None,
    ) -> None:
        """Change the route if it cannot be paid; without ``options`` nobody but the teacher can
        answer. ``audit_rate`` is that at which audits are drawn. Raises TooDearError or
        BudgetSpentError."""
        self._within_terms(turn, decision, audit_rate)
        if account is None:
            return
        account.policy.saw(decision.teacher.cost, options)
        dearest = _dearest(decision.teacher)
        identifier = turn.arrival.id
        if turn.route == "teacher":
            if await self.budgets.hold_answer(account, identifier, dearest):
                return
            if not turn.may_fall_back or (
                _costs(turn) and not await self._hold_hosted(account, turn, decision)
            ):
                raise _spent(account)
            _to_student(turn)
        elif _costs(turn) and not await self._hold_hosted(account, turn, decision):
            raise _spent(account)
        elif not turn.sampled or await self.budgets.hold_audit(account, identifier, dearest):
            return
        # Nobody can pay for the teacher, afterwards no more than at once.
        turn.sampled = False
        turn.decision = replace(turn.decision or decision, propensity=0.0)

    async def fall_back(self, turn: Turn, decision: Decision) -> None:
        """Have the teacher paid for, since a hosted model has failed. Raises TooDearError or
        BudgetSpentError where it cannot be."""
        budget, teacher = turn.request.terms.budget, decision.teacher
        # An answer that could not be given is paid for beside the teacher's.
        if budget is not None and turn.opinion_cost + teacher.cost > budget:
            raise _too_dear(decision)
        account = turn.account
        if account is None:
            return
        # There will be no audit either.
        await self.give_back(turn)
        most = turn.opinion_cost + _dearest(teacher)
        if not await self.budgets.hold_answer(account, turn.arrival.id, most):
            raise _spent(account)

    async def give_back(self, turn: Turn) -> None:
        """Hold nothing any more for a request that is over, or is answered otherwise. An audit that
        has begun keeps what is held for it."""
        await self.budgets.give_back_answer(turn)
        if not turn.audited:
            await self.budgets.give_back_audit(turn)

    async def _hold_hosted(self, account: Account, turn: Turn, decision: Decision) -> bool:
        """Hold what a hosted model's answer may cost."""
        assert decision.student is not None, "a student's route has the student's score"
        return await self.budgets.hold_answer(account, turn.arrival.id, _dearest(decision.student))

    def _within_terms(self, turn: Turn, decision: Decision, audit_rate: float) -> None:
        """Keep to what the caller wants to pay."""
        budget = turn.request.terms.budget
        if budget is None or decision.teacher.cost <= budget:
            return
        if turn.route == "teacher":
            # A hosted model is cheaper, but not always cheap enough.
            if not turn.may_fall_back or (decision.student and decision.student.cost > budget):
                raise _too_dear(decision)
            _to_student(turn)
        # Whatever the policy was to draw, the teacher is not asked but in an audit.
        turn.decision = replace(decision, propensity=audit_rate)


def _dearest(score: RouteScore) -> int:
    """Picodollars that an answer may cost. One in twenty is dearer: the account learns how much."""
    return max(score.cost, score.cost_p95)


def _costs(turn: Turn) -> bool:
    """Whether the student's answer has to be paid for."""
    return turn.opinion is not None and turn.opinion.hosted is not None


def _to_student(turn: Turn) -> None:
    """Have the student stand in for the teacher, which the decision keeps as what was chosen."""
    turn.route, turn.reason = "student", "budget"


def _too_dear(decision: Decision) -> TooDearError:
    return TooDearError(
        f"The teacher is expected to cost {usd(decision.teacher.cost)} USD, more than the "
        "request's budget, and there is no student to answer instead.",
        "x-protege-budget",
    )


def _spent(account: Account) -> BudgetSpentError:
    now = time.time()
    return BudgetSpentError(
        f"The budget of {usd(account.budget)} USD a {account.period} is spent, and no student "
        "can answer instead.",
        retry_after_s=account.end(now) - now,
    )
