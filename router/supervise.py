"""The processes of one server: its workers, and the trainer beside them."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from config.settings import Settings
from distill.trainer.handover import PARENT_VARIABLE, SETTINGS_VARIABLE, TrainerSettings
from router.http.http1 import Http1
from telemetry.logs import configure
from telemetry.store import once_open

TRAINER_NICENESS = 10
KEEP_ALIVE_S = 75
"""Longer than clients keep idle connections, so that none is closed under a request."""
GRACE_S = 30
"""How long requests in flight may take to finish when the server stops."""

STARTUP_S = 60.0
STOP_S = 5.0
"""How long the trainer may take to stop before it is killed."""

_FIRST_RESTART_S = 1.0
_LAST_RESTART_S = 60.0
_PR_SET_PDEATHSIG = 1

_log = logging.getLogger(__name__)


def serve(settings: Settings, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve on ``listener`` until told to stop; ``ready`` is called when requests are taken."""
    configure(settings.log)
    # uvicorn hands a signal on to whoever held it before, once it has stopped serving.
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    with ExitStack() as stack:

        def started() -> None:
            ready()
            # Not before, or the trainer's own start would slow the server's down.
            if settings.loop.enabled:
                stack.enter_context(_trainer(settings))

        if settings.workers == 1:
            _Server(_config(settings, None), started).run([listener])
        else:
            _Workers(_config(settings, os.getpid()), [listener], started).run()


def _exit(_signal: int, _frame: object) -> None:
    sys.exit(0)


def _config(settings: Settings, parent: int | None) -> uvicorn.Config:
    return uvicorn.Config(
        partial(_create, settings, parent),
        factory=True,
        loop="uvloop",
        http=Http1,
        ws="none",
        lifespan="on",
        workers=settings.workers,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )


def _create(settings: Settings, parent: int | None) -> Any:
    """The application; in a worker, a process that ends with its ``parent``."""
    if parent is not None:
        _end_with(parent)
        configure(settings.log)
    from router.app import create

    if parent is None:
        return create(settings)
    # Those that serve already go on while the database is away, and so must who takes the place of
    # one of them: uvicorn heeds no signal before there is an application.
    with _exiting():
        return once_open(partial(create, settings))


@contextmanager
def _exiting() -> Generator[None, None, None]:
    """End at once where told to stop."""
    former = {told: signal.signal(told, _exit) for told in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for told, handler in former.items():
            signal.signal(told, handler)


def _end_with(parent: int) -> None:
    """Be sent SIGTERM when ``parent`` dies, even if it is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


class _Workers(Multiprocess):
    """Says when all workers are ready, and when one is replaced; takes no connection any more once
    they are told to stop."""

    def __init__(
        self, config: uvicorn.Config, sockets: list[socket.socket], ready: Callable[[], None]
    ) -> None:
        super().__init__(config, sockets)
        self._ready = ready
        self._told = False
        """Whether they were ready."""

    def init_processes(self) -> None:
        super().init_processes()
        if all(process.wait_until_ready(STARTUP_S) for process in self.processes):
            self._tell()

    def terminate_all(self) -> None:
        super().terminate_all()
        # As long as anybody has it open, the system takes connections that nobody would answer.
        for listener in self.sockets:
            listener.close()

    def keep_subprocess_alive(self) -> None:
        before = list(self.processes)
        super().keep_subprocess_alive()
        for old, new in zip(before, self.processes, strict=True):
            if new is not old:
                # As Python says it: below 0 is the signal that ended it.
                _log.error("a worker ended with %s; another takes its place", old.exitcode)
        # One that did not survive its start keeps the server from being ready until it is replaced.
        if not self._told and all(process.is_ready() for process in self.processes):
            self._tell()

    def _tell(self) -> None:
        self._told = True
        self._ready()


@contextmanager
def _trainer(settings: Settings) -> Generator[None, None, None]:
    """The learning loop beside the server."""
    trainer = _Trainer(settings)
    trainer.start()
    try:
        yield
    finally:
        trainer.stop()


class _Trainer:
    """A process of low priority, started again whenever it ends."""

    def __init__(self, settings: Settings) -> None:
        handed_over = TrainerSettings.of(settings).model_dump_json()
        ours = {SETTINGS_VARIABLE: handed_over, PARENT_VARIABLE: str(os.getpid())}
        self._environment = {**os.environ, **ours}
        self._stopping = threading.Event()
        self._changing = threading.Lock()
        self._process = self._spawn()
        self._thread = threading.Thread(target=self._watch, name="trainer-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changing:
            self._stopping.set()
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join()

    def _spawn(self) -> subprocess.Popen[bytes]:
        # A group of its own: Ctrl-C is for the server, which then stops the trainer.
        process = subprocess.Popen(
            [sys.executable, "-m", "distill.trainer"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            process_group=0,
        )
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, process.pid, TRAINER_NICENESS)
        return process

    def _watch(self) -> None:
        pause = _FIRST_RESTART_S
        while True:
            started = time.monotonic()
            self._process.wait()
            if time.monotonic() - started > _LAST_RESTART_S:
                pause = _FIRST_RESTART_S
            if not self._stopping.is_set():
                _log.error("the trainer ended; it starts again in %g s", pause)
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, _LAST_RESTART_S)
            with self._changing:
                if self._stopping.is_set():
                    return
                self._process = self._spawn()
