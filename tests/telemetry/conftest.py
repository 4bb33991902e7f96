"""Stores of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from telemetry.store import Store


@pytest.fixture
def store(tmp_path: Path, database: SecretStr | None) -> Iterator[Store]:
    store = Store(tmp_path, database)
    yield store
    store.close()
