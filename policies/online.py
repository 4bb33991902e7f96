"""Learning from a stream: every value is seen once, and the newest ones count most."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import NamedTuple

_WEIGHT = 0.02
"""Share of the newest value in a mean, once there are enough of them."""

_LEAST_SPREAD = 0.01
_FIRST_SPREAD = 0.5
_NORMAL_P95 = 2.06
"""The 95% quantile of a normal distribution, in mean absolute deviations."""

_STEP = 0.1
_FARTHEST = 20.0
"""Spreads beyond which a residual says no more."""

_LEAST = 1e-9
_HIGHEST = log(1e12)


class RunningMean:
    """A mean that follows what it measures: plain at first, then exponentially decaying."""

    __slots__ = ("_count", "value")

    def __init__(self, initial: float, count: int = 0) -> None:
        """``initial`` counts for so many values."""
        self.value = initial
        self._count = count

    def add(self, value: float) -> None:
        self._count += 1
        self.value += max(1.0 / self._count, _WEIGHT) * (value - self.value)


class Line:
    """Least squares with one feature, plain at first, then exponentially decaying (West 1979).

    The slope is drawn towards ``slope`` with the strength of one value at distance 1 from the
    mean, so that a feature that does not vary does no harm. Before the first value the line goes
    through ``initial`` at 0.
    """

    __slots__ = ("_count", "_covariance", "_prior", "_slope", "_variance", "_x", "_y")

    def __init__(self, initial: float, slope: float) -> None:
        self._prior = self._slope = slope
        self._count = 0
        self._x, self._y = 0.0, initial
        self._variance = self._covariance = 0.0

    def __call__(self, x: float) -> float:
        return self._y + self._slope * (x - self._x)

    def add(self, x: float, y: float) -> None:
        self._count += 1
        weight = max(1.0 / self._count, _WEIGHT)
        dx, dy = x - self._x, y - self._y
        self._x += weight * dx
        self._y += weight * dy
        self._variance = (1 - weight) * (self._variance + weight * dx * dx)
        self._covariance = (1 - weight) * (self._covariance + weight * dx * dy)
        self._slope = (self._covariance + weight * self._prior) / (self._variance + weight)


class Quantile:
    """Follows the value that a share ``level`` of a stream stays at or below.

    It goes up after every value above it and down after every other, so that over a long stream
    ``level`` is met whatever the stream does, for values that are bounded: with steps of at least
    s and at most S and values in [-b, b], the share below it after n of them is off by at most
    (2b + S) / (s n) once the steps do not shrink any more (Gibbs and Candes 2021; Angelopoulos,
    Candes and Tibshirani 2023).
    """

    __slots__ = ("_count", "_level", "value")

    def __init__(self, level: float, initial: float) -> None:
        self.value = initial
        self._level = level
        self._count = 0

    def add(self, value: float) -> None:
        self._count += 1
        step = max(1.0 / self._count**0.5, _STEP)
        self.value += step * (self._level - (value <= self.value))


class Expected(NamedTuple):
    """What a quantity is expected to be."""

    mean: float
    p50: float
    p95: float


class Quantity:
    """A positive quantity that goes, by and large, as powers of what is known beforehand.

    Its logarithm is the sum of one line for each feature, each fitted to what those before it
    leave. Its mean is what the residuals' exponentials make of it (Duan's smearing, 1983); its
    quantiles are those of what it had foretold wrongly, in units of the residuals' mean absolute
    value. Residuals of the first values, which the lines have yet to find, are far less than that,
    so that two values that differ a thousandfold are no reason to expect a million.
    """

    __slots__ = ("_high", "_lines", "_median", "_smear", "_spread", "seen")

    def __init__(self, initial: float, *slopes: float) -> None:
        """``initial`` is expected where all features are 1; ``slopes``, one a feature, are the
        powers to begin with."""
        self.seen = 0
        """Values that it has learnt from."""
        first, *others = slopes
        self._lines = [Line(log(initial), first), *(Line(0.0, slope) for slope in others)]
        self._spread = RunningMean(_FIRST_SPREAD, 1)
        self._median = Quantile(0.5, 0.0)
        self._high = Quantile(0.95, _NORMAL_P95)
        self._smear = RunningMean(1.0, 1)

    def expect(self, *features: float) -> Expected:
        """The value to expect for positive ``features``, as many as there are slopes."""
        centre = self._centre(features)
        spread = max(self._spread.value, _LEAST_SPREAD)
        low, high = sorted((self._median.value, self._high.value))
        return Expected(
            self._smear.value * _exp(centre),
            _exp(centre + spread * low),
            _exp(centre + spread * high),
        )

    def add(self, value: float, *features: float) -> None:
        """Learn from a ``value``; one that is not positive counts as very small."""
        rest = _log(value)
        error = rest - self._centre(features)
        for line, feature in zip(self._lines, features, strict=True):
            x = _log(feature)
            line.add(x, rest)
            rest -= line(x)
        # Of the first value all is new, and nothing of it an error.
        if self.seen:
            spread = max(self._spread.value, _LEAST_SPREAD)
            scaled = min(max(error / spread, -_FARTHEST), _FARTHEST)
            self._median.add(scaled)
            self._high.add(scaled)
            residual = min(max(rest, -_FARTHEST * spread), _FARTHEST * spread)
            self._spread.add(abs(residual))
            self._smear.add(_exp(residual))
        self.seen += 1

    def _centre(self, features: Sequence[float]) -> float:
        return sum(line(_log(x)) for line, x in zip(self._lines, features, strict=True))


def _log(value: float) -> float:
    return log(max(value, _LEAST))


def _exp(value: float) -> float:
    return exp(min(value, _HIGHEST))
