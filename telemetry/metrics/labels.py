"""Label values are bounded: whoever sends requests must not decide how many series there are."""

from __future__ import annotations

from collections import Counter as Tally

OTHER = "other"


class Labels:
    """Gives the first ``most`` names a label value of their own; all others are ``other``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._named: set[str] = set()

    def admit(self, name: str) -> str:
        """The label value of ``name``."""
        if name in self._named:
            return name
        if len(self._named) >= self._most:
            return OTHER
        self._named.add(name)
        return name


class TaskLabels:
    """Gives a task a label value of its own once it is seen to matter.

    That is after ``least`` requests, or when a student takes it over; at most ``most`` tasks do,
    and all others are ``other``.
    """

    def __init__(self, least: int = 20, most: int = 200, remembered: int = 10_000) -> None:
        self._least = least
        self._most = most
        self._remembered = remembered
        self._seen: Tally[str] = Tally()
        self._named: set[str] = set()

    def label(self, task: str) -> str:
        """The label for one more request of ``task``."""
        if task in self._named:
            return task
        if len(self._named) < self._most:
            if len(self._seen) >= self._remembered:
                self._seen.clear()
            self._seen[task] += 1
            if self._seen[task] >= self._least:
                return self.admit(task)
        return OTHER

    def admit(self, task: str) -> str:
        """The label of a task that a student has or had."""
        if task in self._named:
            return task
        if len(self._named) >= self._most:
            return OTHER
        self._named.add(task)
        self._seen.pop(task, None)
        return task
