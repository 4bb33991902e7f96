"""Prometheus metrics: what was counted from exchanges, and how tasks, keys and students stand."""

from telemetry.metrics.traffic import Metrics

__all__ = ["Metrics"]
