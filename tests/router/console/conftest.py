"""A real server with a month behind it and keys, started once."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from telemetry.exchange import Exchange
from telemetry.keys import Keys, new_secret
from telemetry.store import Store
from tests.router.conftest import teacher_flags
from tests.router.console.traffic import fill
from tests.router.server import Server
from tests.router.upstream import StubUpstream

CANARY = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
"""What becomes of it in a page that escapes nothing is seen in the page's title."""
HOSTILE = f"task {CANARY} & ../?#%"


@dataclass(frozen=True)
class Site:
    """The server, and the secrets of two keys of it."""

    server: Server
    admin: str
    plain: str

    @property
    def root(self) -> str:
        return self.server.url.removesuffix("/v1")

    @property
    def url(self) -> str:
        return f"{self.root}/console"

    def visitor(self) -> httpx.Client:
        """A browser as far as cookies and the names of its origin go."""
        return httpx.Client(base_url=self.root, headers={"origin": self.root})

    @contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        with self.visitor() as visitor:
            answer = post(visitor, "/console/sign-in", key=self.admin)
            assert answer.status_code == 303
            yield visitor


def post(
    visitor: httpx.Client, path: str, page: str | None = None, **fields: str
) -> httpx.Response:
    """Send a form of the console's with the token of the ``page`` that it is on."""
    shown = visitor.get(page or path, follow_redirects=True).text
    token = re.search(r'name="form_token" value="(\w+)"', shown)
    assert token, shown
    return visitor.post(path, data={"form_token": token[1], **fields})


@pytest.fixture(scope="package")
def site(shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("console")
    data = folder / "data"
    store = Store(data)
    fill(store, data, time.time())
    store.write([_hostile(time.time()), _replayed(time.time())])
    secrets = [_key(store, "boss", admin=True), _key(store, f"plain {CANARY}", admin=False)]
    store.close()
    config = folder / "protege.yaml"
    config.write_text("loop: {enabled: false}\n")
    with Server(data, *teacher_flags(shared_upstream), "--config", str(config)) as server:
        yield Site(server, *secrets)
        assert server.complaints() == []


def open_site(upstream: StubUpstream, folder: Path) -> Server:
    """A server without any key, on loopback."""
    config = folder / "protege.yaml"
    config.write_text("loop: {enabled: false}\n")
    return Server(folder / "data", *teacher_flags(upstream), "--config", str(config))


def _key(store: Store, name: str, *, admin: bool) -> str:
    secret = new_secret()
    Keys(store).create(secret, time.time(), name=name, admin=admin)
    return secret.text


def _replayed(now: float) -> Exchange:
    """What the demo leaves behind."""
    return Exchange(
        id="req_replayed",
        created=now,
        task="replayed",
        route="teacher",
        model="replay-of-gpt-5.4",
        reason="no_student",
        status=200,
        stream=False,
        sampled=True,
        answer="a recorded answer",
        finish_reason="stop",
        cost=10**9,
        teacher_cost=10**9,
    )


def _hostile(now: float) -> Exchange:
    """All that a caller, a student or a model can say is markup."""
    body = {"messages": [{"role": CANARY, "content": CANARY}]}
    return Exchange(
        id="req_hostile",
        created=now,
        task=HOSTILE,
        route="student",
        model=CANARY,
        reason=CANARY,
        status=200,
        stream=False,
        sampled=False,
        student=CANARY,
        student_answer=CANARY,
        request=json.dumps(body),
        answer=CANARY,
        teacher_answer=CANARY,
        agreed=False,
        finish_reason=CANARY,
        error=CANARY,
        comment=CANARY,
        right_answer=CANARY,
    )
