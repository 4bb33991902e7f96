"""Training files through the real server and OpenAI's client."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import InvalidRequestError
from router.imports.training_file import MOST_EXAMPLES, read_pairs
from tests.router.server import Server


def line(question: str = "is it a cat?", answer: str = "cat", **more: Any) -> dict[str, Any]:
    """One example."""
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": messages, **more}


def jsonl(*lines: Any) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


def said(content: bytes) -> str:
    """What is wrong with a file."""
    with pytest.raises(InvalidRequestError) as raised:
        read_pairs(content)
    assert raised.value.param == "file"
    return raised.value.message


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client


def test_the_life_of_a_file(client: openai.OpenAI) -> None:
    content = jsonl(line(), line("is it a dog?", "dog"))
    before = int(time.time())
    made = client.files.create(file=("animals.jsonl", content), purpose="fine-tune")
    assert (made.filename, made.bytes, made.purpose) == ("animals.jsonl", len(content), "fine-tune")
    assert (made.object, made.status) == ("file", "processed")
    assert made.created_at >= before

    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).content == content
    assert client.files.wait_for_processing(made.id) == made
    assert made in list(client.files.list(purpose="fine-tune"))

    gone = client.files.delete(made.id)
    assert (gone.id, gone.deleted) == (made.id, True)
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match=made.id):
            call(made.id)


def test_lists_are_read_page_by_page(client: openai.OpenAI) -> None:
    made = [
        client.files.create(file=(f"{number}.jsonl", jsonl(line())), purpose="fine-tune").id
        for number in range(5)
    ]
    assert [file.id for file in client.files.list(limit=2)][:5] == made[::-1]
    assert [file.id for file in client.files.list(limit=2, order="asc")][-5:] == made
    with pytest.raises(openai.NotFoundError) as raised:
        client.files.list(after="file-none")
    assert raised.value.param == "after"


def test_a_file_larger_than_a_part_of_memory_stays_as_it_is(client: openai.OpenAI) -> None:
    content = jsonl(*(line(f"{number} {'x' * 500}") for number in range(4000)))
    assert len(content) > 2_000_000
    made = client.files.create(file=("large.jsonl", content), purpose="fine-tune")
    assert client.files.content(made.id).content == content


def test_a_mistake_is_told_with_its_line(client: openai.OpenAI) -> None:
    content = jsonl(line(), {"messages": [{"role": "user", "content": "no answer"}]})
    with pytest.raises(openai.BadRequestError) as raised:
        client.files.create(file=("bad.jsonl", content), purpose="fine-tune")
    assert raised.value.param == "file"
    assert "Line 2: expected 'messages'" in raised.value.message


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (jsonl({"prompt": "a", "completion": "b"}), "Unknown parameter: 'prompt'"),
        (jsonl(line(tools=[])), "Unknown parameter: 'tools'"),
        (jsonl({"messages": "hello"}), "an array"),
        (jsonl({"messages": [1, 2]}), "Invalid value for 'messages[0]'"),
        (jsonl({"messages": [{"role": 1}, {"role": "user"}]}), "'messages[0].role'"),
        (jsonl(line(answer=" ")), "expected the last message to be the assistant's"),
        (jsonl({"messages": line()["messages"][::-1]}), "expected the last message"),
        (
            jsonl({"messages": [{"role": "tool", "content": "7"}, line()["messages"][1]]}),
            "no student is asked such a request (tools)",
        ),
        (
            jsonl({"messages": [{**line()["messages"][0], "weight": 0}, line()["messages"][1]]}),
            "'weight' is not supported",
        ),
        ("é".encode("latin-1"), "not valid JSON"),
    ],
)
def test_what_no_student_could_learn_is_refused(wrong: bytes, reason: str) -> None:
    told = said(jsonl(line()) + b"\n" + wrong)
    assert told.startswith("Invalid file format. Line 3: ")
    assert reason in told


def test_a_file_needs_examples_and_has_not_too_many() -> None:
    assert said(b"\n \n") == "The file has no examples."
    example = jsonl(line())
    assert len(read_pairs(example * MOST_EXAMPLES)) == MOST_EXAMPLES
    assert f"Line {MOST_EXAMPLES + 1}: " in said(example * (MOST_EXAMPLES + 1))


def test_null_is_nothing() -> None:
    """Data frames write it for what other lines have."""
    example = line(tools=None, functions=None)
    for message in example["messages"]:
        message |= {"name": None, "weight": None, "tool_calls": None, "audio": None}
    (pair,) = read_pairs(jsonl(example))
    assert (pair.messages[0]["content"], pair.answer) == ("is it a cat?", "cat")


@given(st.lists(st.tuples(st.text(), st.text().filter(str.strip)), min_size=1), st.booleans())
def test_what_was_written_is_read(pairs: list[tuple[str, str]], with_mark: bool) -> None:
    content = jsonl(*(line(question, answer) for question, answer in pairs))
    read = read_pairs((b"\xef\xbb\xbf" if with_mark else b"") + content)
    assert [(pair.messages[0]["content"], pair.answer) for pair in read] == pairs


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"files": {"file": ("a.jsonl", jsonl(line()))}}, "purpose"),
        (
            {"files": {"file": ("a.jsonl", jsonl(line()))}, "data": {"purpose": "batch"}},
            "purpose",
        ),
        ({"data": {"purpose": "fine-tune", "file": "text"}, "files": {"file2": b""}}, "file2"),
        ({"files": {"purpose": (None, "fine-tune")}}, "file"),
        ({"files": {"purpose": (None, "fine-tune"), "file": (None, "text")}}, "file"),
        (
            {
                "files": {"file": ("a.jsonl", jsonl(line()))},
                "data": {"purpose": "fine-tune", "expires_after[seconds]": "3600"},
            },
            "expires_after[seconds]",
        ),
        ({"json": {"purpose": "fine-tune"}}, None),
        ({"content": b"", "headers": {"content-type": "multipart/form-data"}}, None),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, None),
    ],
)
def test_forms_are_checked(server: Server, form: dict[str, Any], param: str | None) -> None:
    answer = httpx.post(f"{server.url}/files", **form)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
