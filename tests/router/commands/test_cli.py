"""What is typed wrongly is told in one line."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from telemetry.store import Store
from tests.router.server import PROTEGE, ROOT, run_cli


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("nothing", "protege: no such command 'nothing' (see protege --help)"),
        ("report --format zip", "protege report: invalid value for '--format': "),
        ("student export", "protege student export: missing argument "),
        ("serve --port abc", "protege serve: invalid value for '--port': "),
        ("keys create --lifetime", "protege keys create: no such option: --lifetime"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: str, said: str) -> None:
    process = run_cli(*arguments.split())
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert output == ""
    assert errors.startswith(said)
    assert errors.count("\n") == 1


def test_it_says_its_version() -> None:
    output, errors = run_cli("--version").communicate(timeout=60)
    assert (output, errors) == (f"protege {version('protege-router')}\n", "")


def test_sentences_of_the_help_are_not_broken_where_the_code_breaks_them() -> None:
    output, _ = run_cli("policy", "--help", COLUMNS="200").communicate(timeout=60)
    assert "how often it would have disagreed with the teacher, on the requests" in output


def test_who_stops_reading_is_told_nothing(tmp_path: Path) -> None:
    process = run_cli("keys", "create", "--json", "--data", str(tmp_path))
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(60) == 1
    assert process.stderr.read() == ""


def test_who_is_interrupted_while_it_loads_is_told_nothing() -> None:
    interrupted = """
import os, signal, sys
from router.cli import main

class Interrupted:
    def find_spec(self, name, *_):
        if name == "router.commands.policy":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupted())
main()
"""
    process = run_cli("policy", "replay", program=interrupted)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, "", "")


@pytest.mark.parametrize(
    "arguments", ["--version", "--help", "report", "report --format csv", "student list --json"]
)
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, arguments: str) -> None:
    Store(tmp_path).close()
    command = [sys.executable, "-c", PROTEGE, *arguments.split()]
    environment = {**os.environ, "PROTEGE_DATA": str(tmp_path)}
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "protege: cannot print: No space left on device\n")


def test_without_a_command_all_are_shown() -> None:
    process = run_cli()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "serve" in output + errors
    assert "student" in output + errors
