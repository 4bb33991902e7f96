"""One server for the SDK's tests; its teacher is a stub."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.router.conftest import teacher_flags
from tests.router.server import Server
from tests.router.upstream import StubUpstream


@pytest.fixture(scope="package")
def server(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    flags = teacher_flags(shared_upstream)
    data = tmp_path_factory.mktemp("sdk") / "data"
    with Server(data, *flags, PROTEGE_LOOP__ENABLED="false") as server:
        yield server


@pytest.fixture(autouse=True)
def environment(server: Server, upstream: StubUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's address and some key, as a user would export them."""
    monkeypatch.setenv("PROTEGE_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "caller-key")
