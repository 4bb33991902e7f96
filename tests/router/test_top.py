"""``protege top``: figures by hand, and frames of a real server."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from router.commands.top import top
from router.top.frame import frame
from router.top.pace import Pace, pace, quantile
from router.top.scrape import UnreachableError, parse, scrape
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import ROOT, Server, eventually, run_cli
from tests.router.taught import SENTENCES, TASK, promote
from tests.router.upstream import StubUpstream

TOP = [sys.executable, "-c", "from router.cli import main; main()", "top"]

BEFORE = """
protege_requests_total{model="m",route="teacher",status="200",task="a"} 100
protege_requests_total{model="m",route="teacher",status="502",task="a"} 7
protege_cost_usd_total{model="m",route="teacher",task="a"} 5
protege_teacher_only_cost_usd_total{task="a"} 5
"""
NOW = """
protege_requests_total{model="m",route="teacher",status="200",task="a"} 106
protege_requests_total{model="m",route="teacher",status="502",task="a"} 2
protege_requests_total{model="student",route="student",status="200",task="b[/]"} 12
protege_broken_answers_total{task="a"} 1
protege_cost_usd_total{model="m",route="teacher",task="a"} 5.5
protege_audit_cost_usd_total{task="b[/]"} 0.1
protege_teacher_only_cost_usd_total{task="a"} 5.5
protege_teacher_only_cost_usd_total{task="b[/]"} 0.4
protege_request_duration_seconds_bucket{le="0.5",route="teacher"} 4
protege_request_duration_seconds_bucket{le="1.0",route="teacher"} 8
protege_request_duration_seconds_bucket{le="+Inf",route="teacher"} 8
protege_in_flight_requests 3
protege_agreement_ratio{task="b[/]"} 0.9
protege_agreement_lower_ratio{task="b[/]"} 0.8
protege_bound_ratio{task="b[/]"} 0.95
protege_student_info{task="b[/]",version="b-1"} 1
protege_student_info{task="c",version="c-1"} 1
protege_breaker_open{upstream="m"} 1
"""


def made() -> Pace:
    return pace(parse(BEFORE, 10.0), parse(NOW, 20.0))


def test_figures_by_hand() -> None:
    found = made()
    # The 502s were counted anew: of the two since then, both are new.
    assert found.requests_per_s == pytest.approx(2.0)
    assert found.failing == pytest.approx(0.15)
    assert found.money.spent == pytest.approx(0.6 * 360)
    assert found.money.saved == pytest.approx(0.3 * 360)
    student, teacher = found.routes
    assert (student.route, student.requests_per_s, student.p50_s) == ("student", 1.2, None)
    assert (teacher.p50_s, teacher.p95_s) == (0.5, pytest.approx(0.95))
    b, a, c = found.tasks
    assert (b.task, b.by_student, b.agreement, b.lower) == ("b[/]", 1.0, 0.9, 0.8)
    assert b.money.saved == pytest.approx(0.3 * 360)
    assert (a.task, a.by_student, a.version) == ("a", 0.0, None)
    assert (c.task, c.requests_per_s, c.version) == ("c", 0.0, "c-1")
    assert (found.in_flight, found.resting, found.promised) == (3, ("m",), 0.95)


def test_a_frame() -> None:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(frame("http://here", made(), 2))
    text = capture.get()
    assert "2.0 requests/s" in text
    assert "15.0% failing" in text
    assert "left alone: m" in text
    assert "b[/]" in text
    assert "and 1 more tasks" in text


def test_a_usual_terminal_has_room_for_every_figure() -> None:
    task = "you-are-a-systems-administrator-edc390a7"
    now = NOW.replace("b[/]", task).replace("b-1", f"{task}-493b8918")
    console = Console(width=80)
    with console.capture() as capture:
        console.print(frame("http://here", pace(parse(BEFORE, 10.0), parse(now, 20.0)), 5))
    lines = capture.get().splitlines()
    heading = next(line for line in lines if line.startswith("task"))
    row = next(line for line in lines if line.startswith("you-are"))
    assert heading.split()[-2:] == ["least", "version"]
    assert row.split()[1:] == ["1.2", "100%", "36.00", "108.00", "90.0%", "80.0%", "493b8918"]


@given(
    counts=st.lists(st.integers(0, 50), min_size=1, max_size=8),
    share=st.floats(0.01, 1),
)
def test_a_quantile_lies_where_its_values_are(counts: list[int], share: float) -> None:
    bounds = [float(number + 1) for number in range(len(counts))]
    buckets = {bound: float(sum(counts[: place + 1])) for place, bound in enumerate(bounds)}
    buckets[inf] = float(sum(counts))
    found = quantile(buckets, share)
    if not sum(counts):
        assert found is None
        return
    values = sorted(
        bound for bound, count in zip(bounds, counts, strict=True) for _ in range(count)
    )
    wanted = values[min(len(values) - 1, max(0, -int(-share * len(values) // 1) - 1))]
    assert found is not None
    assert wanted - 1 - 1e-9 <= found <= wanted + 1e-9


@pytest.fixture(scope="module")
def server(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("top")
    store = Store(data)
    promote(store, data, "animals-1")
    store.close()
    shared_upstream.reset()
    environment = {"PROTEGE_LOOP__ENABLED": "false", "PROTEGE_POLICY__AUDIT_RATE": "1"}
    with Server(data, *teacher_flags(shared_upstream), **environment) as server:
        yield server


@contextmanager
def traffic(server: Server) -> Iterator[None]:
    """Requests to the teacher and to a student, all the while."""
    done = threading.Event()

    def ask() -> None:
        client = server.client()
        while not done.wait(0.02):
            for task in ("other", TASK):
                messages: Any = [{"role": "user", "content": SENTENCES[0]}]
                client.chat.completions.create(
                    model="auto", messages=messages, metadata={"task": task}
                )

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    done.set()
    thread.join()


def test_one_frame(server: Server) -> None:
    with traffic(server):
        process = run_cli("top", "--url", server.url, "--once", "--every", "2")
        text, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    lines = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert " 0.0% failing" in text
    assert float(lines["teacher"].split()[1]) > 0
    assert float(lines["student"].split()[1]) > 0
    assert lines[TASK].split()[-1] == "1"
    assert "100.0%" in lines[TASK]


def test_it_goes_on_until_interrupted(server: Server) -> None:
    leader, follower = pty.openpty()
    command = [*TOP, "--url", server.url, "--every", "0.2"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    seen: list[bytes] = []

    def read() -> None:
        while True:
            try:
                seen.append(os.read(leader, 65536))
            except OSError:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    framed = eventually(lambda: b"".join(seen).count(b"in flight") >= 2, 40)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    os.close(leader)
    assert framed, seen


@pytest.fixture(scope="module")
def commands() -> Typer:
    """A program of this command alone."""
    program = Typer()
    program.callback()(lambda: None)
    program.command()(top)
    return program


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense"])
def test_mistakes_are_told_in_a_line(commands: Typer, url: str) -> None:
    done = CliRunner().invoke(commands, ["top", "--url", url, "--once"])
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"protege: no metrics at {url}/metrics: ")
    assert done.stderr.count("\n") == 1


def test_it_needs_a_terminal(commands: Typer, server: Server) -> None:
    done = CliRunner().invoke(commands, ["top", "--url", server.url])
    assert (done.exit_code, done.stderr) == (2, "protege: not a terminal: use --once\n")


def test_what_is_no_protege(upstream: StubUpstream) -> None:
    with pytest.raises(UnreachableError, match="no metrics at"):
        scrape(upstream.url)
