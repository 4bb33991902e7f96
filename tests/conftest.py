"""Servers beside the tests, started once and shared; and no test that depends on absolute speed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from pydantic import SecretStr

from tests import postgres
from tests.router.upstream import StubUpstream

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.Cluster]:
    yield from postgres.cluster()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> SecretStr | None:
    """A store's ``database``: an empty one."""
    if request.param == "sqlite":
        return None
    cluster: postgres.Cluster = request.getfixturevalue("postgres_cluster")
    return cluster.empty()


@pytest.fixture(scope="session")
def shared_upstream() -> Iterator[StubUpstream]:
    with StubUpstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(shared_upstream: StubUpstream) -> Iterator[StubUpstream]:
    """The stub of a provider, on its best behaviour until a test has it behave otherwise."""
    shared_upstream.reset()
    yield shared_upstream
    # For what has a server that was started for many tests ask it.
    shared_upstream.reset()


@pytest.fixture(scope="session")
def another_upstream() -> Iterator[StubUpstream]:
    """A second provider, left as the last test that had it has left it."""
    with StubUpstream() as upstream:
        yield upstream
