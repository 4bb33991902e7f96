"""The real ``protege serve``, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import openai
from pydantic import SecretStr

from telemetry.exchange import Exchange
from telemetry.store import Store

ROOT = Path(__file__).parents[2]
PROTEGE = "from router.cli import main; main()"
START_S = 60
_EXPECTED = re.compile(r"protege: no keys:|\S+ \w+ (request|rejected) request=req_")


class Server:
    """A running server; use as a context manager."""

    def __init__(self, data: Path, *flags: str, program: str = PROTEGE, **environment: str) -> None:
        self.data = data
        database = environment.get("PROTEGE_DATABASE")
        self._database = SecretStr(database) if database else None
        flags = ("--port", "0", "--data", str(data), *flags)
        self.process = run_cli("serve", *flags, program=program, **environment)
        assert self.process.stdout is not None
        watchdog = threading.Timer(START_S, self.process.kill)
        watchdog.start()
        announced = re.search(r"http://\S+/v1", self.process.stdout.readline())
        watchdog.cancel()
        assert announced, self.process.communicate()
        self.url = announced.group()
        self._drain = threading.Thread(target=self._read_errors, daemon=True)
        self.errors: list[str] = []
        self._drain.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Ask it to stop, as an operator would; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(40)
        self._drain.join(10)
        return code

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def workers(self) -> list[Child]:
        """Its worker processes, where it has several."""
        return [child for child in children(self.process.pid) if "spawn_main" in child.command]

    def complaints(self) -> list[str]:
        """What it has said on standard error, but for the notice that it has no keys and for
        lines about single requests."""
        return [line for line in self.errors if not _EXPECTED.match(line)]

    def client(self, **options: object) -> openai.OpenAI:
        return openai.OpenAI(**self._options(options))  # type: ignore[arg-type]

    def async_client(self, **options: object) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(**self._options(options))  # type: ignore[arg-type]

    def store(self) -> Store:
        return Store(self.data, self._database)

    def exchange(self, identifier: str) -> Exchange:
        """An exchange that is stored: a teacher's is before its caller has the answer."""
        store = self.store()
        exchange = store.exchange(identifier)
        store.close()
        assert exchange is not None
        return exchange

    def exchange_soon(self, identifier: str) -> Exchange:
        """An exchange that will be stored: a student's is soon after its caller has the answer."""
        store = self.store()
        assert eventually(lambda: store.exchange(identifier) is not None)
        store.close()
        return self.exchange(identifier)

    def _options(self, options: dict[str, object]) -> dict[str, object]:
        return {"base_url": self.url, "api_key": "caller-key", "max_retries": 0, **options}

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)


@dataclass(frozen=True)
class Child:
    """A process that another has started."""

    pid: int
    command: str

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def children(parent: int) -> list[Child]:
    """The living children of a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, ppid = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if int(ppid) == parent and state != "Z":
            found.append(Child(int(folder.name), command))
    return found


def run_cli(*arguments: str, program: str = PROTEGE, **environment: str) -> subprocess.Popen[str]:
    """``protege`` with these arguments and nothing of the tester's own configuration."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PROTEGE_", "OPENAI_"))
    }
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env={**inherited, "NO_COLOR": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether ``condition`` comes to hold within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
