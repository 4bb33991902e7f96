"""Which policy is in force for a request: the one that it names, else its key's, else its task's,
else the default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from config.settings import ChoiceSettings, KeyChoiceSettings, Settings
from policies.deadline import Deadline
from policies.fixed import Random, Student, Teacher
from policies.policy import Policy
from policies.threshold import Bound, Cascade
from policies.utility import Utility
from router.errors import ForbiddenError, InvalidRequestError
from router.spending.budgets import Account, Budgets
from telemetry.spending import Payer

HEADER = "x-protege-policy"


@dataclass(frozen=True, slots=True)
class InForce:
    """The policy for a request."""

    policy: Policy
    account: Account | None = None
    """The budget that it spends, where it is a budget's policy."""


class Precedence:
    """The policies of the settings."""

    def __init__(self, settings: Settings, budgets: Budgets) -> None:
        def scope(choice: ChoiceSettings, payer: Payer) -> _Scope:
            return _Scope(choice, budgets.open(choice.budget, payer) if choice.budget else None)

        further = settings.policies
        self._default = scope(settings.policy, Payer())
        self._tasks = {task: scope(one, Payer(task=task)) for task, one in further.tasks.items()}
        self._keys = {key: scope(one, Payer(key=key)) for key, one in further.keys.items()}

    def find(self, key: str | None, task: str, named: str | None) -> InForce:
        """The policy for a request of the ``key`` and the ``task`` that names one, or none.

        Raises ForbiddenError if the key may name none, and InvalidRequestError if it names a budget
        where there is none.
        """
        scope = self._keys.get(key) if key is not None else None
        if scope is None:
            scope = self._tasks.get(task, self._default)
        if named is None:
            return scope.chosen
        if not scope.override:
            raise ForbiddenError("The key may not choose the policy.", HEADER)
        found = scope.named.get(named) or self._default.named.get(named)
        if found is None:
            raise InvalidRequestError("There is no budget that the request could spend.", HEADER)
        return found


class _Scope:
    """The policies of one section of the settings."""

    def __init__(self, settings: ChoiceSettings, account: Account | None) -> None:
        utility = settings.utility
        policies: tuple[Policy, ...] = (
            Bound(),
            Utility(utility.quality, utility.usd, utility.second),
            Deadline(settings.deadline.seconds),
            Cascade(settings.cascade.threshold),
            Teacher(),
            Student(),
            Random(settings.random.share),
        )
        self.named: Mapping[str, InForce] = {policy.name: InForce(policy) for policy in policies}
        if account is not None:
            self.named = {**self.named, account.policy.name: InForce(account.policy, account)}
        self.chosen = self.named[settings.name]
        self.override = not isinstance(settings, KeyChoiceSettings) or settings.override
