"""A language model that is made once."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Llama in Hugging Face layout that knows ``language_model.pairs``."""
    # Only here: it takes seconds to import, and few tests need it.
    from tests.distill import language_model

    return language_model.make(tmp_path_factory.mktemp("language") / "tiny")
