"""``protege student``, and a server that follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distill.card import Card, Regressions, Report, SliceFigures
from router.commands.student import student_app
from telemetry.exchange import StudentRecord, TaskState
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually, run_cli
from tests.router.taught import SENTENCES, TASK, promote
from tests.router.upstream import StubUpstream

WITHIN_S = 2.0
"""A second is promised; another is for a machine that is busy with tests."""


def run(data: Path, *arguments: str) -> tuple[int, str, list[str]]:
    """Exit code, output and lines on standard error of ``protege student``, in this process."""
    asked = [*arguments, "--data", str(data)]
    result = CliRunner().invoke(student_app, asked, catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr.splitlines()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two students of a task, of which the second serves, and the figures of one that failed."""
    store = Store(tmp_path)
    promote(store, tmp_path, "animals-1", threshold=0.5)
    promote(store, tmp_path, "animals-2", threshold=0.6)
    failed = {"gate": {"threshold": None, "reason": "no threshold meets the bound"}}
    state = store.roster.task_state(TASK)
    why = "no threshold meets the bound"
    record = StudentRecord("animals-3", TASK, 3e9, "", False, why, json.dumps(failed))
    assert store.roster.close_run(state, record)
    store.close()
    return tmp_path


@pytest.fixture
def server(data: Path, upstream: StubUpstream) -> Iterator[Server]:
    off = {"PROTEGE_LOOP__ENABLED": "false"}
    with Server(data, *teacher_flags(upstream), **off) as server:
        yield server


def answers(server: Server) -> str:
    """Which model answers."""
    message = {"role": "user", "content": SENTENCES[0]}
    completion = server.client().chat.completions.create(
        model="auto",
        messages=[message],  # type: ignore[list-item]
        metadata={"task": TASK},
    )
    return completion.model


def test_a_server_follows_within_a_second(server: Server) -> None:
    assert answers(server) == "animals-2"
    code, out, said = run(server.data, "rollback", TASK, "--reason", "it is rude")
    assert (code, out, said) == (0, f"animals-1 serves the task {TASK} again.\n", [])
    assert eventually(lambda: answers(server) == "animals-1", WITHIN_S)
    code, out, _ = run(server.data, "promote", "animals-2", "--reason", "it was not")
    assert code == 0
    assert out == f"animals-2 serves the task {TASK}: promoted by hand: it was not\n"
    assert eventually(lambda: answers(server) == "animals-2", WITHIN_S)
    for _ in range(2):
        code, out, _ = run(server.data, "rollback", TASK)
    assert out == f"No student that has its files served {TASK} before: its teacher answers.\n"
    assert eventually(lambda: answers(server) not in ("animals-1", "animals-2"), WITHIN_S)


def test_show_has_the_slices(data: Path) -> None:
    store = Store(data)
    part = SliceFigures("rarity", "long tail", 45, 0.1, 40, 2, 0.95, 0.83, 0.994, "open")
    card = Card(evaluation=Report(0.8, (part,), 0.02, 0.03, Regressions(1, 2, 3)))
    record = StudentRecord("sliced", "other", 1.0, "", False, "kept", card.text)
    assert store.roster.close_run(TaskState("other"), record)
    store.close()
    _, out, _ = run(data, "show", "sliced")
    assert "rarity long tail 10.0% 40 2 95.0% 83.0% to 99.4% open" in " ".join(out.split())
    told = json.loads(run(data, "show", "sliced", "--json")[1])
    assert (told["regressions"], told["regressions_wrong"]) == (6, 3)


def test_list(data: Path) -> None:
    _, out, _ = run(data, "list")
    states = [line.split()[4] for line in out.splitlines()[1:]]
    assert states == ["replaced", "serving", "figures"]
    _, out, _ = run(data, "list", "--task", TASK, "--json")
    assert [told["version"] for told in json.loads(out)] == ["animals-1", "animals-2", "animals-3"]
    assert json.loads(run(data, "list", "--task", "none", "--json")[1]) == []


def test_a_version_can_be_copied_from_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    promote(store, tmp_path, version := "answer-with-the-department-3d22ef98-0a1b2c3d")
    store.close()
    for name, value in {"TTY_COMPATIBLE": "1", "TERM": "dumb", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    _, out, _ = run(tmp_path, "list")
    assert out.split()[:3] == ["version", "state", "why"]
    assert f"{version}  serving" in out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "No room for: task, trained, answers, serves, wrong at most." in out
    monkeypatch.delenv("TTY_COMPATIBLE")
    _, out, _ = run(tmp_path, "list")
    assert len(out.splitlines()) == 2  # Elsewhere a student is a line, with all of its figures.
    assert TASK in out


def test_names_are_shown_as_callers_gave_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    task = "[/b] [red]\x1b[2J"
    record = StudentRecord("v1", task, 1.0, "", False, "[/] kept", "{}")
    assert store.roster.close_run(TaskState(task), record)
    store.close()
    for asked in (("list",), ("show", "v1"), ("compare", "v1", "v1")):
        _, out, _ = run(tmp_path, *asked)
        assert "[/b] [red] [2J" in out
        assert "[/] kept" in out


def test_show_and_compare(data: Path) -> None:
    _, out, _ = run(data, "show", "animals-2")
    assert "passed its test" in out
    _, out, _ = run(data, "show", "animals-2", "--json")
    assert json.loads(out)["card"]["gate"]["threshold"] == 0.6
    _, out, _ = run(data, "compare", "animals-1", "animals-2")
    (threshold,) = (line.split() for line in out.splitlines() if line.startswith("threshold"))
    assert threshold == ["threshold", "0.5", "0.6"]
    _, out, _ = run(data, "compare", "animals-1", "animals-2", "--json")
    assert [told["threshold"] for told in json.loads(out)] == [0.5, 0.6]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("show", "nobody"), "there is no student nobody"),
        (("compare", "animals-1", "nobody"), "there is no student nobody"),
        (("promote", "animals-2"), "animals-2 serves already"),
        (("promote", "animals-3", "--force"), "animals-3 has no files: no threshold meets"),
        (("rollback", "nothing"), "no student serves the task 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(
    data: Path, asked: tuple[str, ...], why: str
) -> None:
    code, out, said = run(data, *asked)
    assert (code, out, len(said)) == (1, "", 1)
    assert why in said[0]


def test_an_untested_student_needs_force(data: Path) -> None:
    store = Store(data)
    assert store.roster.demote(TASK, "animals-2", "audits broke the bound", now=3e9)
    store.close()
    card = {"gate": {"threshold": 0.5}, "data": {"since": 0.0}}
    store = Store(data)
    state = store.roster.task_states()[TASK]
    record = StudentRecord("old", TASK, 1.0, "students/animals-1", False, "kept", json.dumps(card))
    assert store.roster.close_run(state, record)
    store.close()
    code, _, (line,) = run(data, "promote", "old")
    assert code == 1
    assert "before the task's last demotion" in line
    assert "--force" in line
    code, out, _ = run(data, "promote", "old", "--force")
    assert code == 0
    assert "untested" in out


def test_a_student_that_was_tested_for_less_needs_force(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(data)
    gate = {"threshold": 0.5, "reason": "passed its test"}
    card = json.dumps({"gate": gate, "promise": {"alpha": 0.05, "delta": 0.05}})
    record = StudentRecord("old", TASK, 1.0, "students/animals-1", False, "kept", card)
    assert store.roster.close_run(store.roster.task_states()[TASK], record)
    store.close()
    monkeypatch.setenv("PROTEGE_POLICY__ALPHA", "0.01")
    code, _, (line,) = run(data, "promote", "old")
    assert code == 1
    assert "tested for less (alpha 0.05 and delta 0.05) than is promised now (alpha 0.01" in line
    assert "--force" in line
    monkeypatch.delenv("PROTEGE_POLICY__ALPHA")
    assert run(data, "promote", "old")[0] == 0


def test_it_is_a_command_of_the_program(data: Path) -> None:
    process = run_cli("student", "list", "--json", "--data", str(data))
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(json.loads(out)) == 3
