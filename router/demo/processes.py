"""Child processes of the demo: started, waited for, and gone when it is over."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from router.demo.errors import DemoError

_READY_S = 90.0
_GRACE_S = 60.0


@contextmanager
def running(
    command: Sequence[str], log: Path, ready: str, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """``command`` runs while the block does, its output in ``log``; entered once the URL ``ready``
    answers 200. Gives the id of its process.

    Raises DemoError, naming the log, if that does not happen.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            # Not in the terminal's process group: Ctrl-C reaches the demo, which stops its
            # children in order.
            start_new_session=True,
        )
    try:
        _wait_ready(process, ready, log)
        yield process.pid
    finally:
        _stop(process)


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    # Proxies of the environment are not for a server on this machine.
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DemoError(f"a server stopped before it was ready; its output is in {log}")
            with suppress(httpx.HTTPError):
                if client.get(url).status_code == 200:
                    return
            time.sleep(0.1)
    raise DemoError(f"a server was not ready after {_READY_S:.0f} s; its output is in {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to finish its work, then end whatever is left of it and its own children."""
    process.terminate()
    try:
        process.wait(_GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
