"""The PromQL that panels share. ``$…`` is filled in by Grafana.

What replicas count is summed up. What they read from their store is the same in all of them, such
as agreement and training runs: of that the largest is taken. A counter of that kind is given with
the labels that tell its series apart but for the replica, as ``of``.
"""

from __future__ import annotations

TASK = 'task=~"$task"'
ROUTE = 'route=~"$route"'
MODEL = 'model=~"$model"'
KEY = 'name=~"$name"'


def series(metric: str, *matchers: str) -> str:
    """A selector."""
    return f"{metric}{{{', '.join(matchers)}}}" if matchers else metric


def gained(metric: str, *matchers: str, by: str = "", of: str = "") -> str:
    """What a counter has gained in the dashboard's time range.

    ``increase`` alone misses a series' first value, which for a rare event is all of it, and
    extrapolates. A series that is younger than the range counts in full, and exactly, unless it
    began anew in it. A moment without a scrape makes no series younger.
    """
    counter = series(metric, *matchers)
    within = f"{counter}[$__range]"
    old = f"(present_over_time({within} offset $__range) or resets({within}) > 0)"
    return _sum(f"({counter} unless {old}) or increase({within})", by, of)


def rate(metric: str, *matchers: str, by: str = "", of: str = "") -> str:
    """What a counter gains a second."""
    return _sum(f"rate({series(metric, *matchers)}[$__rate_interval])", by, of)


def per_hour(metric: str, *matchers: str, by: str = "", of: str = "") -> str:
    """What a counter gains an hour, at the rate of the moment."""
    return f"3600 * {rate(metric, *matchers, by=by, of=of)}"


def latest(metric: str, *matchers: str, by: str = "task") -> str:
    """A gauge that replicas read from their store."""
    return f"max by ({by}) ({series(metric, *matchers)})"


def quantile(share: float, buckets: str) -> str:
    """The value that so large a share stays below of what a histogram has seen; ``buckets`` is a
    query of its buckets, by ``le`` at least."""
    return f"histogram_quantile({share}, {buckets})"


def or_zero(query: str) -> str:
    """A single value, zero where there is none yet."""
    return f"({query} or vector(0))"


def _sum(query: str, by: str, of: str) -> str:
    if of:
        query = f"max by ({of}) ({query})"
    return f"sum by ({by}) ({query})" if by else f"sum({query})"
