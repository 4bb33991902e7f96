"""Policies by what an operator calls them: ``random:0.3``."""

from __future__ import annotations

import math
from collections.abc import Callable

from config.settings import PolicySettings
from policies.deadline import Deadline
from policies.fixed import Random, Student, Teacher
from policies.policy import Policy
from policies.threshold import Bound, Cascade
from policies.utility import Utility


class UnknownPolicyError(Exception):
    """No policy is called so. In one line."""


def named(text: str, settings: PolicySettings) -> Policy:
    """The policy ``NAME`` with the parameters of the settings, or ``NAME:PARAMETERS``.

    Raises UnknownPolicyError.
    """
    name, separator, said = text.partition(":")
    if name not in _NAMED:
        known = ", ".join(_NAMED)
        raise UnknownPolicyError(f"expected one of {known}, maybe with parameters (got {text!r})")
    form, usual, made = _NAMED[name]
    wanted = len(form.split(",")) if form else 0
    parameters = _numbers(said) if separator else usual(settings)
    most = 1.0 if name in _SHARES else math.inf
    if parameters is None or len(parameters) != wanted or not _within(parameters, most):
        expected = f"{name}:{form}" if form else name
        numbers = "a number from 0 to 1" if name in _SHARES else "numbers of 0 or more"
        raise UnknownPolicyError(f"expected {expected}, in {numbers} (got {text!r})")
    return made(*parameters)


def _within(parameters: tuple[float, ...], most: float) -> bool:
    return all(math.isfinite(number) and 0 <= number <= most for number in parameters)


def _numbers(text: str) -> tuple[float, ...] | None:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return None


_SHARES = {"random", "cascade"}
"""Policies whose parameter is one of all requests, or a probability."""

_Usual = Callable[[PolicySettings], tuple[float, ...]]

_NAMED: dict[str, tuple[str, _Usual, Callable[..., Policy]]] = {
    "bound": ("", lambda _: (), Bound),
    "teacher": ("", lambda _: (), Teacher),
    "student": ("", lambda _: (), Student),
    "random": ("SHARE", lambda settings: (settings.random.share,), Random),
    "cascade": ("THRESHOLD", lambda settings: (settings.cascade.threshold,), Cascade),
    "deadline": ("SECONDS", lambda settings: (settings.deadline.seconds,), Deadline),
    "utility": (
        "QUALITY,USD,SECOND",
        lambda settings: (
            settings.utility.quality,
            settings.utility.usd,
            settings.utility.second,
        ),
        Utility,
    ),
}
"""By name: the parameters, what they are in the settings, and the class. Left out is ``budget``:
what it chooses depends on what it has spent, and so on each choice before."""
