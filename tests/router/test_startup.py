"""What a server has loaded: the libraries that students need, only once a student needs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.router.conftest import teacher_flags
from tests.router.server import Server, eventually
from tests.router.taught import TASK, promote
from tests.router.upstream import StubUpstream

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

HEAVY = {
    "litellm",
    "matplotlib",
    "numpy",
    "onnxruntime",
    "pandas",
    "scipy",
    "sklearn",
    "torch",
    # What transformers brings, which is of Python alone itself.
    "tokenizers",
}


def loaded(pid: int) -> set[str]:
    """The packages of which a process has mapped compiled modules."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return set(re.findall(r"/site-packages/(\w+)/\S+\.so", maps))


def ask(server: Server, route: str) -> None:
    with server.client() as client:
        raw = client.chat.completions.with_raw_response.create(
            model="auto",
            messages=[{"role": "user", "content": "the cat sleeps at home"}],
            metadata={"task": TASK},
        )
    assert raw.headers["x-protege-route"] == route


def test_libraries_are_loaded_when_a_student_needs_them(
    data: Path, upstream: StubUpstream, tmp_path: Path
) -> None:
    config = tmp_path / "protege.yaml"
    config.write_text("policy: {audit_rate: 0.000001}\nloop: {enabled: false}\n")
    with Server(data, *teacher_flags(upstream), "--config", str(config)) as server:
        pid = server.process.pid
        ask(server, "teacher")
        assert "orjson" in loaded(pid), "nothing would be found"
        assert loaded(pid) & HEAVY == set()
        # One that reads n-grams alone.
        store = server.store()
        promote(store, data, "animals-1")
        store.close()
        assert eventually(lambda: "numpy" in loaded(pid))
        assert eventually(lambda: _serves(server))
        assert loaded(pid) & HEAVY <= {"numpy", "scipy"}


def _serves(server: Server) -> bool:
    try:
        ask(server, "student")
    except AssertionError:
        return False
    return True


def test_http_clients_and_terminals_are_not_imported_by_a_server_that_needs_none() -> None:
    listed = "import sys, router.supervise, router.app; print(*sys.modules)"
    modules = set(subprocess.check_output([sys.executable, "-c", listed], text=True).split())
    assert "router.chain" in modules, "nothing would be found"
    assert modules & {"aiohttp", "httpx", "openai", "rich"} == set()
