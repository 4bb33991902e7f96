"""Spends a budget evenly over what is asked of it: a shadow price on the teacher's answers.

Requests come one by one and each is an item of an online knapsack: its weight is what the teacher
costs, its worth how likely the student is to be wrong. At any time the share of the demand still
to come that the rest of the budget can pay is known, about; the shadow price is the worth per cost
above which that share of recent demand lies. It is found anew as time goes by, so that what was
forecast wrongly is made up for (re-solving: Jasin and Kumar 2012; pacing: Balseiro and Gur 2019).
"""

from __future__ import annotations

from math import inf, log2
from statistics import median

SLOT_S = 900
"""Seconds of demand that are counted together."""

_DAY = 86400 // SLOT_S
_DAYS_SEEN = 7
"""Days whose same time of day foretells demand."""
_AROUND = 4
"""Slots before and after that are as good as the same."""
_BURST = 2.0
"""Demand beyond so many times the usual is a burst."""
_HASTE = 1.2
"""The budget is spent a little ahead of demand: a forecast that is too high would leave some."""

_BINS = 160
_PER_OCTAVE = 3
_LOWEST = 2.0**-20
"""Worth in chances of a wrong answer for each USD; 160 thirds of an octave reach up to 2^33."""
_MEMORY = 1000.0
"""Requests after which one counts for a third."""


class Prices:
    """What recent requests were worth to the teacher for what they cost."""

    def __init__(self) -> None:
        self._demand = [0.0] * _BINS
        self._total = 0.0
        self._unit = 1.0

    def saw(self, worth: float, cost: float) -> None:
        """A request came; ``worth`` is per USD, and infinite where only the teacher can answer."""
        # The newest count more instead of all others less.
        self._unit *= 1.0 + 1.0 / _MEMORY
        weight = cost * self._unit
        self._demand[_bin(worth)] += weight
        self._total += weight
        if self._total > 1e200:
            self._demand = [demand / self._total for demand in self._demand]
            self._unit /= self._total
            self._total = 1.0

    def chance(self, worth: float, share: float) -> float:
        """Probability with which a request is for the teacher, so that of all demand the
        worthiest ``share`` is."""
        if share >= 1.0:
            return 1.0
        if share <= 0.0:
            return 0.0
        own = _bin(worth)
        wanted = share * self._total
        dearer = sum(self._demand[own + 1 :])
        if dearer >= wanted:
            # Nothing was seen yet: no worth is known to be above another.
            return share if self._total == 0.0 else 0.0
        same = self._demand[own]
        return 1.0 if same == 0.0 else min(1.0, (wanted - dearer) / same)


def _bin(worth: float) -> int:
    if worth <= _LOWEST:
        return 0
    if worth == inf:
        return _BINS - 1
    return min(int(_PER_OCTAVE * log2(worth / _LOWEST)), _BINS - 1)


_UNASKED = (-1, None)


class Demand:
    """What the teacher would have cost for all requests, by the time at which they came."""

    def __init__(self) -> None:
        self._slots: dict[int, float] = {}
        self._usual: tuple[int, list[float] | None] = _UNASKED
        """The first slot of a day, and the demand that is usual for each of the day's."""

    def set(self, slot: int, amount: float) -> None:
        """The demand of a slot: ``SLOT_S`` seconds, numbered from Unix time 0."""
        self._slots[slot] = amount
        if slot < self._usual[0]:
            # What is usual was asked for before this was known.
            self._usual = _UNASKED

    def add(self, time: float, amount: float) -> None:
        slot = int(time // SLOT_S)
        self._slots[slot] = self._slots.get(slot, 0.0) + amount

    def affordable(self, left: float, start: float, end: float, now: float) -> float:
        """The share of what is demanded from ``now`` until the period's ``end`` that ``left`` can
        pay. ``start`` is where the period began."""
        if left <= 0.0:
            return 0.0
        coming = self.forecast(start, end, now)
        return 1.0 if coming <= 0.0 else min(1.0, _HASTE * left / coming)

    def forecast(self, start: float, end: float, now: float) -> float:
        """Demand to be expected from ``now`` to ``end``: as on the days before today, or, without
        any, as it was so far."""
        begin, current, last = (int(time // SLOT_S) for time in (start, now, end - 1))
        today = current - current % _DAY
        usual = self._usual_before(today)
        slots = self._slots
        if usual is None:
            began = max(start, min(slots, default=current) * SLOT_S)
            seen = sum(slots.get(slot, 0.0) for slot in range(begin, current + 1))
            return seen * (end - now) / max(now - began, SLOT_S / 4)
        day = sum(usual)
        # How busy today is beside the usual day, drawn to "as busy" while little was seen. A burst
        # says nothing of what comes after it.
        passed = range(today, current)
        expected = sum(usual[slot % _DAY] for slot in passed)
        seen = sum(min(slots.get(slot, 0.0), _BURST * usual[slot % _DAY]) for slot in passed)
        level = (seen + day / 4) / (expected + day / 4)
        rest = sum(usual[current % _DAY + 1 :])
        rest += usual[current % _DAY] * (current + 1 - now / SLOT_S)
        return level * rest + (last // _DAY - current // _DAY) * day

    def _usual_before(self, slot: int) -> list[float] | None:
        if self._usual[0] != slot:
            self._usual = (slot, self._find_usual(slot))
        return self._usual[1]

    def _find_usual(self, end: int) -> list[float] | None:
        """Demand to expect of each slot of the day, from the days before slot ``end``; None if
        there was little more than none.

        It is the median over days and about an hour around each: bursts are not expected to come
        again.
        """
        slots = self._slots
        days = min(round((end - min(slots, default=end)) / _DAY), _DAYS_SEEN)
        if days < 1 or not any(slots.get(slot) for slot in range(end - days * _DAY, end)):
            return None
        return [
            median(
                slots.get(slot - back * _DAY + near, 0.0)
                for back in range(1, days + 1)
                for near in range(-_AROUND, _AROUND + 1)
            )
            for slot in range(end, end + _DAY)
        ]
