"""Whether a training run can pay for itself: what it could save at most against what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine

from config.settings import LoopSettings
from telemetry import jobs, runs
from telemetry.exchange import PICO
from telemetry.jobs import Job
from telemetry.runs import Left

DAYS = 30
"""A student must earn its training within so many days."""

_DAY_S = 86400.0
_RECENT_S = 7 * _DAY_S
"""The traffic that tells what a run could save."""
_MOST = 2**63 - 1
"""What a database can keep."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What is expected of a training run, in picodollars."""

    saving: int
    """The most that it could save within ``DAYS`` days: all that the teacher is paid now."""
    cost: int
    """Of its processor time."""
    requests_per_day: float
    """That the teacher answers now."""

    @property
    def pays(self) -> bool:
        return self.saving >= self.cost

    def in_words(self) -> str:
        return (
            f"it could save at most {_usd(self.saving)} USD in {DAYS} days "
            f"({self.requests_per_day:.3g} requests a day that the teacher answers), "
            f"and its training costs about {_usd(self.cost)} USD"
        )


def expected(
    engine: Engine, job: Job, loop: LoopSettings, price: float, now: float
) -> Worth | None:
    """What the run of a ``job`` is worth at Unix time ``now``, with a processor at ``price``
    picodollars a second; None where it is not known what it costs, or that is nothing."""
    cpu_s = _cpu_s(engine, job, loop) if price else None
    if cpu_s is None:
        return None
    left = runs.left_for_students(engine, job.task, now - _RECENT_S)
    return worth(left, now - (left.first or now), cpu_s, price)


def worth(left: Left, over_s: float, cpu_s: float, price: float) -> Worth:
    """What a run is worth that takes ``cpu_s`` seconds of a processor, ``price`` picodollars each.

    ``left`` is what the teacher has answered in ``over_s`` seconds; less than a day counts as one,
    so that a first burst is not taken for every hour's traffic.
    """
    days = max(over_s / _DAY_S, 1.0)
    saving = min(round(left.cost / days * DAYS), _MOST)
    return Worth(saving, round(cpu_s * price), left.requests / days)


def _cpu_s(engine: Engine, job: Job, loop: LoopSettings) -> float | None:
    """Seconds of a processor that the run of a job takes, if that is known. A label student's first
    run tells; what takes minutes may take as long as it is allowed to."""
    measured = runs.measured_cpu_s(engine, job.task, job.model)
    if measured is not None or job.model not in jobs.ASIDE:
        return measured
    return 60 * (loop.text_minutes if job.model == "text" else loop.tuning_minutes)


def _usd(picodollars: int) -> str:
    return f"{picodollars / PICO:.2g}"
