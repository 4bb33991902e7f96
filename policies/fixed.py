"""Policies that look at no score: both ends of the scale, and the control between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from policies.policy import Choice, Options


@dataclass(frozen=True, slots=True)
class Teacher:
    """The teacher answers."""

    reason: str = "policy"
    name: ClassVar[str] = "teacher"

    def choose(self, _options: Options) -> Choice:
        return Choice(0.0, self.reason)


@dataclass(frozen=True, slots=True)
class Student:
    """The student answers whatever it can, sure or not."""

    name: ClassVar[str] = "student"

    def choose(self, _options: Options) -> Choice:
        return Choice(1.0, "policy")


@dataclass(frozen=True, slots=True)
class Random:
    """The student answers a random share of what it can: what any saving has to be compared
    with."""

    share: float
    name: ClassVar[str] = "random"

    def choose(self, _options: Options) -> Choice:
        return Choice(self.share, "policy")
