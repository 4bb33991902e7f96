"""A real server, started once and shared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.router.server import Server
from tests.router.upstream import StubUpstream

TEACHER = "gpt-5.4"


def teacher_flags(upstream: StubUpstream) -> tuple[str, ...]:
    return ("--teacher", TEACHER, "--teacher-base-url", upstream.url)


def with_another_model(upstream: StubUpstream, folder: Path) -> Server:
    """A server that does not learn, with the model ``other`` beside its teacher."""
    config = folder / "protege.yaml"
    config.write_text(
        f"""
        models: {{other: {{model: gpt-5.4-mini, base_url: "{upstream.url}"}}}}
        loop: {{enabled: false}}
        """
    )
    return Server(folder / "data", *teacher_flags(upstream), "--config", str(config))


@pytest.fixture(scope="session")
def shared_server(
    shared_upstream: StubUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    config = folder / "protege.yaml"
    # A fault is seen at once, and by the next test as well.
    bare = "retries: 0, breaker_failures: 1000000"
    config.write_text(
        f"""
        teacher: {{{bare}}}
        models:
          impatient: {{model: gpt-5.4, base_url: "{shared_upstream.url}", timeout_s: 1, {bare}}}
          other:
            {{model: gpt-5.4-mini, base_url: "{shared_upstream.url}", api_key: other-key, {bare}}}
          gone: {{model: gpt-5.4, base_url: "http://127.0.0.1:9/v1", {bare}}}
        policy: {{audit_rate: 0.000001}}
        loop: {{enabled: false}}
        """
    )
    flags = (*teacher_flags(shared_upstream), "--config", str(config))
    with Server(folder / "data", *flags) as server:
        yield server


@pytest.fixture
def server(shared_server: Server, upstream: StubUpstream) -> Server:
    """A server whose teacher is ``upstream``, with hardly any audits."""
    return shared_server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"
