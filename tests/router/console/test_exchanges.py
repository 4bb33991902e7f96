"""What the console shows of an exchange."""

import html
import json
import re
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from router.console.exchanges import question
from tests.distill.synthetic import exchange
from tests.router.console.conftest import Site, open_site
from tests.router.upstream import StubUpstream


@pytest.mark.parametrize("text", [5, {"a": 1}, ["x"], None, ""])
def test_what_is_no_text_is_shown_as_such(text: object) -> None:
    parts = [{"type": "text", "text": text}, {"type": "text", "text": "Which one?"}]
    request = json.dumps({"messages": [{"role": "user", "content": parts}]})
    shown = question(exchange(0, "", "a", request=request))
    assert shown.splitlines()[-1] == "Which one?"


@pytest.mark.parametrize("task", [" apart", "apart ", "  "])
def test_a_name_that_begins_or_ends_in_a_space_is_another_tasks(site: Site, task: str) -> None:
    site.server.client(api_key=site.plain).chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "cat"}], metadata={"task": task}
    )
    with site.signed_in() as visitor:
        shown = visitor.get("/console/task", params={"name": task}).text
        assert f'<h1 class="name">{task}</h1>' in shown
        assert "0 of 1 requests" in shown
        found = visitor.get("/console/exchanges", params={"task": task}).text
        assert len(re.findall("/console/exchange.id=", found)) == 1


def test_a_text_that_json_escapes_is_found(site: Site) -> None:
    said = 'He said "no" to\nMünchen C:\\temp'
    site.server.client(api_key=site.plain).chat.completions.create(
        model="auto", messages=[{"role": "user", "content": said}]
    )
    with site.signed_in() as visitor:
        for text in (said, 'said "no"', "to München", "C:\\temp"):
            found = visitor.get("/console/exchanges", params={"text": text}).text
            assert len(re.findall("/console/exchange.id=", found)) == 1, text


def test_failures_that_are_counted_are_found(upstream: StubUpstream, tmp_path: Path) -> None:
    upstream.error_after = 1
    with open_site(upstream, tmp_path) as server:
        asked: Any = {"model": "auto", "messages": [{"role": "user", "content": "cat"}]}
        for _ in range(6):
            stream = server.client().chat.completions.create(**asked, stream=True)
            with pytest.raises(openai.APIError):
                list(stream)
        root = server.url.removesuffix("/v1")
        overview = httpx.get(f"{root}/console?period=24h").text
        link = re.search(r'<a href="([^"]+)">6 of 6 requests failed', overview)
        assert link, overview
        found = httpx.get(root + html.unescape(link[1])).text
        assert len(re.findall("/console/exchange.id=", found)) == 6
        assert found.count("broke off") == 6
        assert 'value="24h" selected' in found
