"""What the ``base_url`` of an upstream may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.router.conftest import TEACHER
from tests.router.server import Server, run_cli
from tests.router.upstream import StubUpstream

QUERY = "api-version=2025-01-01&region=eu"


@pytest.mark.parametrize("end", ["", "/"])
def test_its_query_goes_with_each_request(tmp_path: Path, upstream: StubUpstream, end: str) -> None:
    flags = ("--teacher", TEACHER, "--teacher-base-url", f"{upstream.url}{end}?{QUERY}")
    with Server(tmp_path, *flags, PROTEGE_LOOP__ENABLED="false") as server:
        client = server.client()
        chat = client.chat.completions
        said = chat.create(model=TEACHER, messages=[{"role": "user", "content": "a cat?"}])
        assert said.choices[0].message.content == "cat"
        with chat.stream(model=TEACHER, messages=[{"role": "user", "content": "a cat?"}]) as stream:
            assert stream.get_final_completion().choices[0].message.content == "cat"
        assert client.embeddings.create(model="text-embedding-3-small", input="a cat").data
    assert [received.query for received in upstream.requests] == [QUERY] * 3


def test_one_that_litellm_would_lose_is_told_at_the_start(tmp_path: Path) -> None:
    flags = ("--teacher", "azure/gpt-5.4", "--teacher-base-url", f"https://x.example/?{QUERY}")
    process = run_cli("serve", "--port", "0", "--data", str(tmp_path), *flags)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (2, "")
    said = "its query can be kept only for OpenAI-compatible servers"
    assert errors == f"protege: teacher.base_url: {said}\n"
