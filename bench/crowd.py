"""Five hundred slow streams at once in one process: does its memory stay flat?"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass

from bench.load import Measurement
from bench.machine import Cores, on_core, resident_mb
from bench.subjects import ROOT, Subject, generator

STREAMS = 500
GAP_MS = 100
"""Between the chunks of a stream: each takes two seconds."""

_RAMP_S = 3.0
"""After which every stream is under way."""
_SAMPLE_S = 0.25


@dataclass(frozen=True, slots=True)
class Figures:
    """Memory in megabytes (1e6 bytes)."""

    before_mb: float
    first_mb: float
    """Once all streams are under way."""
    last_mb: float
    """While the last of them are."""
    most_mb: float
    streams: int
    """Completed."""
    failures: int


def run(subject: Subject, cores: Cores, seconds: float) -> Figures:
    """Keep so many streams under way for ``seconds``, at least 4."""
    before = resident_mb(subject.pid)
    more = ("--stream", "--gap", str(GAP_MS))
    command = generator(subject, STREAMS, max(seconds, _RAMP_S + 1), *more)
    with on_core(cores.load):
        generating = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    samples = []
    started = time.monotonic()
    while generating.poll() is None:
        if time.monotonic() - started > _RAMP_S:
            samples.append(resident_mb(subject.pid))
        time.sleep(_SAMPLE_S)
    output, _ = generating.communicate()
    if generating.returncode:
        raise subprocess.CalledProcessError(generating.returncode, command)
    whole = Measurement(**json.loads(output)["whole"])
    return Figures(before, samples[0], samples[-1], max(samples), whole.requests, whole.failures)


def sentence(figures: Figures) -> str:
    return (
        f"{STREAMS} streams at once: {figures.first_mb:.0f} MB once all are under way, "
        f"{figures.last_mb:.0f} MB at the end, {figures.most_mb:.0f} MB at most "
        f"({figures.before_mb:.0f} MB before); {figures.streams:,} completed, "
        f"{figures.failures} failed."
    )
