"""Stores of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from telemetry.store import Store
from tests.postgres import Cluster


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> SecretStr | None:
    """A store's ``database``: an empty one."""
    if request.param == "sqlite":
        return None
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    return cluster.empty()


@pytest.fixture
def store(tmp_path: Path, database: SecretStr | None) -> Iterator[Store]:
    store = Store(tmp_path, database)
    yield store
    store.close()
