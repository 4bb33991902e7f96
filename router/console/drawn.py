"""What the overview and a task's page have in common: charts, and how sure the saving is."""

from __future__ import annotations

from typing import Any

from config.settings import PolicySettings
from router.console import charts, words
from router.console.period import Course


def drawn(course: Course, promised: PolicySettings, audited: str) -> dict[str, Any]:
    """By the names that the templates know them by; ``audited`` is the title of the agreement's."""
    labels = course.period.labels
    spending, alone = course.spending()
    confidence = 1 - promised.delta
    return {
        "likely": course.likely_saved(confidence),
        "spending": charts.stacked("Spent, by who answered", labels, spending, words.usd, alone),
        "requests": charts.stacked(
            "Requests, by who answered", labels, course.requests(), words.count
        ),
        "quality": charts.agreement(
            audited,
            labels,
            course.audited(promised.delta),
            1 - promised.alpha,
            confidence,
        ),
    }
