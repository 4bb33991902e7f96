"""Every official client before the real server, whose teacher is a stub."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

import protege
from telemetry.store import Store
from tests.conformance.clients import (
    NODE,
    AsyncDriver,
    Client,
    Driver,
    NodeDriver,
    SyncDriver,
)
from tests.conformance.samples import JSON_TASK, STUDENT
from tests.router.conftest import teacher_flags
from tests.router.server import Server, run_cli
from tests.router.taught import as_json, promote
from tests.router.upstream import StubUpstream

OPENAI_CLIENTS = ("openai", "openai-async", "openai-node", "protege", "protege-async")
AZURE_CLIENTS = ("azure", "azure-async", "azure-node")
ANTHROPIC_CLIENTS = ("anthropic", "anthropic-async")


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conformance")


@pytest.fixture(scope="package")
def key(folder: Path) -> str:
    """A key of the server's, without which it answers nobody."""
    data = str(folder / "data")
    created = run_cli("keys", "create", "--admin", "--json", "--data", data)
    return json.loads(created.communicate(timeout=60)[0])["secret"]


@pytest.fixture(scope="package")
def server(shared_upstream: StubUpstream, folder: Path, key: str) -> Iterator[Server]:
    config = folder / "protege.yaml"
    # The clients' own retries are what is seen here.
    config.write_text(
        f"""
        teacher: {{timeout_s: 5, retries: 0, breaker_failures: 1000000}}
        models:
          vectors: {{model: text-embedding-3-small, base_url: "{shared_upstream.url}"}}
        policy: {{audit_rate: 0.000001}}
        loop: {{enabled: false}}
        limits: {{body_mb: 1}}
        """
    )
    data = folder / "data"
    store = Store(data)
    promote(store, data, STUDENT)
    promote(store, data, f"{STUDENT}-json", task=JSON_TASK, teacher=as_json)
    store.close()
    flags = (*teacher_flags(shared_upstream), "--config", str(config))
    with Server(data, *flags) as server:
        yield server


@pytest.fixture(scope="package")
def drivers(server: Server) -> Iterator[dict[str, Driver]]:
    """The drivers that have been started, by the name of their client."""
    started: dict[str, Driver] = {}
    yield started
    for driver in started.values():
        driver.close()


@pytest.fixture
def started(
    drivers: dict[str, Driver], server: Server, key: str, upstream: StubUpstream
) -> Callable[[str], Client]:
    """Starts the client of a name, if it has not been."""

    def start(name: str) -> Client:
        if name not in drivers:
            drivers[name] = _driver(name, server.url, key)
        return Client(name, drivers[name])

    return start


@pytest.fixture(params=OPENAI_CLIENTS)
def client(request: pytest.FixtureRequest, started: Callable[[str], Client]) -> Client:
    """Each client that speaks OpenAI's API, in turn."""
    return started(request.param)


@pytest.fixture(params=[name for name in OPENAI_CLIENTS if name != "openai-node"])
def python_client(request: pytest.FixtureRequest, started: Callable[[str], Client]) -> Client:
    """Each of them that is for Python."""
    return started(request.param)


@pytest.fixture(params=AZURE_CLIENTS)
def azure(request: pytest.FixtureRequest, started: Callable[[str], Client]) -> Client:
    """Each client of OpenAI's that is for Azure, in turn."""
    return started(request.param)


@pytest.fixture(params=ANTHROPIC_CLIENTS)
def claude(request: pytest.FixtureRequest, started: Callable[[str], Client]) -> Client:
    """Each client that speaks Anthropic's API, in turn."""
    return started(request.param)


def _driver(name: str, url: str, key: str) -> Driver:
    root = url.removesuffix("/v1")
    azures: Any = {
        "azure_endpoint": root,
        "api_version": "2024-10-21",
        "api_key": key,
        "max_retries": 0,
    }
    match name:
        case "openai":
            return SyncDriver(openai.OpenAI(base_url=url, api_key=key, max_retries=0))
        case "openai-async":
            return AsyncDriver(openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0))
        case "protege":
            return SyncDriver(protege.OpenAI(base_url=url, api_key=key, max_retries=0))
        case "protege-async":
            return AsyncDriver(protege.AsyncOpenAI(base_url=url, api_key=key, max_retries=0))
        case "anthropic":
            return SyncDriver(anthropic.Anthropic(base_url=root, api_key=key, max_retries=0))
        case "anthropic-async":
            return AsyncDriver(anthropic.AsyncAnthropic(base_url=root, api_key=key, max_retries=0))
        case "azure":
            return SyncDriver(openai.AzureOpenAI(**azures))
        case "azure-async":
            return AsyncDriver(openai.AsyncAzureOpenAI(**azures))
    _install_node_client()
    if name == "azure-node":
        return NodeDriver("AzureOpenAI", root, key, dict(os.environ))
    return NodeDriver("OpenAI", url, key, dict(os.environ))


def _install_node_client() -> None:
    """Install OpenAI's client for Node in the version that is locked; skip where that is not to be
    had."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("OpenAI's client for Node needs node and npm")
    lock = NODE / "package-lock.json"
    with lock.open() as held:
        # Tests run in several processes, and npm first deletes what another has just installed.
        fcntl.flock(held, fcntl.LOCK_EX)
        # npm writes this file when it has installed everything.
        installed = NODE / "node_modules" / ".package-lock.json"
        if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
            return
        npm = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"], cwd=NODE, capture_output=True, text=True
        )
    if npm.returncode:
        pytest.skip(f"npm cannot install OpenAI's client for Node: {npm.stderr.strip()[-300:]}")
