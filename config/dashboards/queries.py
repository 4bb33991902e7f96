"""The PromQL that panels share. ``$…`` is filled in by Grafana.

Every sum is over the replicas and processes that Prometheus scrapes; what all replicas read from
the same store (agreement, budgets) is taken from the one that shows most.
"""

from __future__ import annotations

TASK = 'task=~"$task"'
ROUTE = 'route=~"$route"'
MODEL = 'model=~"$model"'
KEY = 'key=~"$key"'


def series(metric: str, *matchers: str) -> str:
    """A selector."""
    return f"{metric}{{{', '.join(matchers)}}}" if matchers else metric


def gained(metric: str, *matchers: str, by: str = "") -> str:
    """What a counter has gained in the dashboard's time range.

    ``increase`` alone misses a series' first value, which for a rare event is all of it, and
    extrapolates. A series that is younger than the range counts in full, and exactly.
    """
    counter = series(metric, *matchers)
    young = f"({counter} unless {counter} offset $__range)"
    return _sum(f"{young} or increase({counter}[$__range])", by)


def rate(metric: str, *matchers: str, by: str = "") -> str:
    """What a counter gains a second."""
    return _sum(f"rate({series(metric, *matchers)}[$__rate_interval])", by)


def per_hour(metric: str, *matchers: str, by: str = "") -> str:
    """What a counter gains an hour, at the rate of the moment."""
    return f"3600 * {rate(metric, *matchers, by=by)}"


def latest(metric: str, *matchers: str, by: str = "task") -> str:
    """A gauge that all replicas agree on."""
    return f"max by ({by}) ({series(metric, *matchers)})"


def quantile(share: float, histogram: str, *matchers: str, by: str = "") -> str:
    """The value that so large a share of what a histogram has seen stays below."""
    within = "le" if not by else f"le, {by}"
    return f"histogram_quantile({share}, {rate(f'{histogram}_bucket', *matchers, by=within)})"


def or_zero(query: str) -> str:
    """A single value, zero where there is none yet."""
    return f"({query} or vector(0))"


def _sum(query: str, by: str) -> str:
    return f"sum by ({by}) ({query})" if by else f"sum({query})"
