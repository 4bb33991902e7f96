"""A look at a server's metrics, in Prometheus' text format."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 5.0

Labels = frozenset[tuple[str, str]]


class UnreachableError(Exception):
    """There are no metrics of Protege at this address. In one line."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """All values of one moment by metric and labels."""

    at: float
    """Seconds on a clock that only goes forward."""
    values: Mapping[str, Mapping[Labels, float]]

    def total(self, name: str) -> float:
        return sum(self.values.get(name, {}).values())

    def by(self, name: str, label: str) -> dict[str, float]:
        """Values by one label, summed up over the others."""
        sums: dict[str, float] = {}
        for labels, value in self.values.get(name, {}).items():
            group = dict(labels).get(label, "")
            sums[group] = sums.get(group, 0.0) + value
        return sums

    def only(self, name: str, label: str, value: str) -> Scrape:
        """The part of one metric that has this label, alone."""
        kept = {
            labels: number
            for labels, number in self.values.get(name, {}).items()
            if (label, value) in labels
        }
        return Scrape(self.at, {name: kept})


def scrape(root: str) -> Scrape:
    """What the server at ``root``, such as ``http://127.0.0.1:8080``, says now.

    Raises UnreachableError.
    """
    try:
        answer = httpx.get(f"{root}/metrics", timeout=_TIMEOUT_S)
        answer.raise_for_status()
        found = parse(answer.text, time.monotonic())
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise UnreachableError(f"no metrics at {root}/metrics: {words}") from error
    if not any(name.startswith("protege_") for name in found.values):
        raise UnreachableError(f"{root} is no server of Protege")
    return found


def parse(text: str, at: float) -> Scrape:
    """Raises ValueError where ``text`` is none."""
    values: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            values.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return Scrape(at, values)
