"""From the command to the first answer, and the memory of a server that has no student yet."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import time
from dataclasses import dataclass
from statistics import median

from bench.load import Target
from bench.machine import Cores, on_core, resident_mb
from bench.subjects import ROOT, WORK, Subject, load, serve_command, serving
from bench.tickets import OTHER_TASK, bodies
from router.demo.errors import DemoError
from router.demo.processes import free_port

STARTS = 5
REQUESTS = 1000
"""Teacher answers after which memory is read."""

_MOST_S = 60.0
_PAUSE_S = 0.005


@dataclass(frozen=True, slots=True)
class Figures:
    start_s: float
    """Median, from ``protege serve`` on an empty data folder to the first 200 of a chat."""
    slowest_s: float
    resident_mb: float
    """Of the server process after so many teacher answers, in megabytes (1e6 bytes)."""


def run(stub: Subject, cores: Cores) -> Figures:
    """Start servers with the default settings one after the other, on any core."""
    starts = [_start(stub) for _ in range(STARTS)]
    return Figures(median(starts), max(starts), _memory(stub, cores))


def _start(stub: Subject) -> float:
    data = WORK / "start"
    shutil.rmtree(data, ignore_errors=True)
    port = free_port()
    command = serve_command(Target(f"http://127.0.0.1:{port}/v1"), stub, data)
    started = time.perf_counter()
    with (WORK / "start.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
    try:
        while not _answers(port):
            if process.poll() is not None or time.perf_counter() - started > _MOST_S:
                raise DemoError(f"a server did not start; its output is in {log.name}")
            time.sleep(_PAUSE_S)
        return time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    (body,) = bodies("auto", OTHER_TASK, 1, seed=3)
    try:
        connection.request("POST", "/v1/chat/completions", body)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _memory(stub: Subject, cores: Cores) -> float:
    with on_core(cores.subjects), serving("memory", stub, WORK / "memory") as server:
        answered = 0
        while answered < REQUESTS:
            answered += load(server, 32, 0.2)[0].requests
        return resident_mb(server.pid)


def sentence(figures: Figures) -> str:
    return (
        f"From `protege serve` to the first answer: {figures.start_s:.2f} s (median of {STARTS}; "
        f"{figures.slowest_s:.2f} s the slowest). {figures.resident_mb:.0f} MB resident after "
        f"{REQUESTS:,} teacher answers."
    )
