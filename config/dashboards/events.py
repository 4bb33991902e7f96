"""Events that are marked on all charts of a dashboard: students that came and went, new prices.

Each is a gauge whose value is the time of the last such event, so that Grafana marks that time and
not the one at which Prometheus first saw it.
"""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.models.dashboard import AnnotationQuery

from config.dashboards.panels import PROMETHEUS
from config.dashboards.queries import TASK, latest


@dataclass(frozen=True)
class Event:
    """What happened, when by PromQL in Unix seconds, and the label that says to whom."""

    name: str
    times: str
    label: str
    color: str


class _Marks(AnnotationQuery):
    """With what Grafana's Prometheus data source reads beside what every data source does."""

    def __init__(self, event: Event) -> None:
        super().__init__(
            name=event.name,
            datasource=PROMETHEUS,
            icon_color=event.color,
            expr=f"1000 * {event.times}",
        )
        self._event = event

    def to_json(self) -> dict[str, object]:
        label = f"{{{{{self._event.label}}}}}"
        return {
            **super().to_json(),
            "titleFormat": f"{self._event.name}: {label}",
            "textFormat": "",
            "tagKeys": "",
            # In milliseconds.
            "useValueForTime": True,
        }


def marks(event: Event) -> AnnotationQuery:
    return _Marks(event)


def _change(name: str, change: str, color: str) -> Event:
    of = ("protege_student_changed_timestamp_seconds", TASK, f'change="{change}"')
    return Event(name, latest(*of), "task", color)


STUDENTS = (
    _change("Student promoted", "promoted", "green"),
    _change("Student demoted", "demoted", "red"),
    _change("Student rolled back", "rolled_back", "orange"),
)
PRICES = Event(
    "Price changed", latest("protege_price_changed_timestamp_seconds", by="model"), "model", "blue"
)
