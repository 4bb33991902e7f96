"""What logs are read into, whatever their format and whatever is wrong with them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.estimate import files
from router.estimate.files import Files
from router.estimate.jsonl import read_line
from router.estimate.logged import Bad, EstimateError, Logged, seconds
from router.tokens import usage_of
from telemetry.prices import Usage

SYSTEM = {"role": "system", "content": "Answer with the department."}
USER = {"role": "user", "content": "My parcel never came."}

# What UTF-8 can hold.
TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def line(**fields: Any) -> bytes:
    return json.dumps({"messages": [SYSTEM, USER], **fields}).encode()


def rows(path: Path) -> list[Logged | Bad]:
    with Files([path]).rows() as read:
        return list(read)


def usable(path: Path) -> list[Logged]:
    return [row for row in rows(path) if isinstance(row, Logged)]


def choice(finish_reason: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {
        "index": 0,
        "message": {"role": "assistant", **message},
        "finish_reason": finish_reason,
    }


# JSON lines


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"answer": "shipping"}, "shipping"),
        ({"answer": ""}, ""),
        ({"choices": [choice(content="shipping")]}, "shipping"),
        ({"choices": [choice(content=[{"type": "text", "text": "shipping"}])]}, "shipping"),
        ({"choices": [choice(None, content="shipping")]}, "shipping"),
        ({"messages": [SYSTEM, USER, {"role": "assistant", "content": "shipping"}]}, "shipping"),
        # No text, or not all of it.
        ({"choices": [choice("length", content="shipp")]}, None),
        ({"choices": [choice("content_filter", content="")]}, None),
        ({"choices": [choice(content=None, tool_calls=[{"id": "1"}])]}, None),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [{"id": "1"}]}]}, None),
    ],
)
def test_an_answer_may_be_in_three_places(fields: dict[str, Any], answer: str | None) -> None:
    read = read_line(line(**fields))
    assert read.answer == answer
    assert read.body["messages"][-1] == USER
    assert not {"answer", "choices"} & set(read.body)


def test_a_request_keeps_its_parameters_and_loses_what_is_none() -> None:
    read = read_line(line(answer="a", model="m", max_tokens=3, id="x", object="y", created=5))
    assert read.body == {"messages": [SYSTEM, USER], "model": "m", "max_tokens": 3}
    assert read.created == 5
    assert read.usage is None


def test_several_choices_are_several() -> None:
    read = read_line(line(choices=[choice(content="a"), choice(content="b")]))
    assert read.body["n"] == 2


def test_tasks_are_found_as_in_serving() -> None:
    found = read_line(line(answer="a")).prompt
    assert found.task.startswith("answer-with-the-department-")
    assert found.text == USER["content"]
    assert read_line(line(answer="a", task="triage")).prompt.task == "triage"
    named = read_line(line(answer="a", task="other", metadata={"task": "triage"}))
    assert named.prompt.task == "triage"


def test_usage_is_read_with_its_details() -> None:
    details = {"cached_tokens": 3}
    said = {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": details}
    reasoning = {"completion_tokens_details": {"reasoning_tokens": 1}}
    assert read_line(line(answer="a", usage={**said, **reasoning})).usage == Usage(10, 2, 3, 1)
    assert read_line(line(answer="a", usage=None)).usage is None
    # Thinking that is in the total alone.
    thought = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 45, **reasoning}
    assert read_line(line(answer="a", usage=thought)).usage == Usage(10, 35, 0, 33)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        (b"{}", "no answer"),
        (line(), "no answer"),
        (line(answer=1), "`answer` must be a string"),
        (line(choices=[]), "`choices` must be a list"),
        (line(choices=[{}]), "`choices` must each have a `message`"),
        (line(answer="a", task=1), "`task` must be a string"),
        (line(answer="a", usage=[]), "`usage` must be an object"),
        (line(answer="a", usage={"prompt_tokens": -1}), "usage.prompt_tokens: expected a number"),
        (line(answer="a", usage={"prompt_tokens": True}), "usage.prompt_tokens: expected a number"),
        (line(answer="a", usage={"total_tokens": 0.5}), "usage.total_tokens: expected a number"),
        (line(answer="a", timestamp="soon"), "neither Unix seconds nor ISO 8601"),
        (line(answer="a", timestamp=1e300), "neither Unix seconds nor ISO 8601"),
        (line(answer="a", messages=[]), "'messages'"),
        (line(answer="a", messages="hi"), "'messages'"),
        (line(answer="a", messages=[{"content": "hi"}]), "messages[0].role"),
        (line(answer="a", messages=[{"role": "user", "content": 5}]), "messages[0].content"),
        (line(answer="a", n=0), "'n'"),
        (line(messages=[{"role": "assistant", "content": "a"}]), "'messages'"),
        (b'{"messages": [{"role": "user", "content": "\xff"}], "answer": "a"}', "not valid JSON"),
    ],
)
def test_a_bad_line_says_what_is_wrong(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError) as said:  # noqa: PT011
        read_line(content)
    assert reason in str(said.value)
    assert "\n" not in str(said.value)


MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant"]), "content": JSON},
    optional={"name": JSON, "tool_calls": JSON},
)


@given(
    st.fixed_dictionaries(
        {"messages": st.lists(MESSAGE, max_size=3) | JSON},
        optional={
            **dict.fromkeys(("answer", "task"), TEXT | JSON),
            **dict.fromkeys(("choices", "usage", "timestamp", "metadata", "n", "model", "x"), JSON),
        },
    )
)
def test_any_object_is_read_or_refused(fields: dict[str, Any]) -> None:
    try:
        read = read_line(orjson.dumps(fields))
    except ValueError:
        return
    assert read.answer is None or isinstance(read.answer, str)
    assert read.prompt.task
    assert usage_of(read.body["messages"], read.answer or "").prompt_tokens > 0
    orjson.dumps(read.body)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_line(content)


@given(TEXT, TEXT, st.lists(TEXT, max_size=3))
def test_texts_come_through_unchanged(text: str, answer: str, before: list[str]) -> None:
    turns = [{"role": "user", "content": said} for said in before]
    messages = [*turns, {"role": "user", "content": text}]
    reply = {"role": "assistant", "content": answer}
    for fields in (
        {"messages": messages, "answer": answer},
        {"messages": messages, "choices": [choice(content=answer)]},
        {"messages": [*messages, reply]},
    ):
        read = read_line(orjson.dumps(fields))
        assert (read.body["messages"], read.answer) == (messages, answer)


# Files


def test_bad_lines_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "logs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + line(answer="a") + b"\r\n\r\n{\n" + line(answer="b"))
    first, bad, last = rows(path)
    assert isinstance(first, Logged)
    assert isinstance(last, Logged)
    assert isinstance(bad, Bad)
    assert bad.where == f"{path}:3"
    assert [first.answer, last.answer] == ["a", "b"]


def test_a_line_that_is_too_long_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LONGEST_LINE", 200)
    path = tmp_path / "logs.jsonl"
    path.write_bytes(line(answer="a") + b"\n" + line(answer="b" * 999) + b"\n" + line(answer="c"))
    first, bad, last = rows(path)
    assert bad == Bad(f"{path}:2", "longer than 200 bytes")
    assert [row.answer for row in (first, last) if isinstance(row, Logged)] == ["a", "c"]


def test_several_files_are_read_one_after_the_other(tmp_path: Path) -> None:
    paths = [tmp_path / "b.jsonl", tmp_path / "a.jsonl.gz", tmp_path / "c.csv.gz"]
    paths[0].write_bytes(line(answer="first"))
    paths[1].write_bytes(gzip.compress(line(answer="second")))
    paths[2].write_bytes(gzip.compress(b"text,label\nhello,third\n"))
    log = Files(paths)
    assert log.size == sum(path.stat().st_size for path in paths)
    with log.rows() as read:
        assert [row.answer for row in read if isinstance(row, Logged)] == [
            "first",
            "second",
            "third",
        ]
    assert log.read == log.size


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("logs.jsonl", b"", "the file is empty"),
        ("logs.csv", b"prompt,answer\n1,2\n", "no column text and no column label"),
        ("logs.csv", b"text,answer\n1,2\n", "no column label"),
        ("logs.csv", b"\n", "no column text"),
        ("logs.csv", b'"a"b,c\n', "not valid CSV"),
        ("logs.jsonl.gz", b"no gzip at all", "gzip"),
        ("logs.jsonl.gz", gzip.compress(line(answer="a" * 5000), mtime=0)[:-20], "ended before"),
        ("logs.jsonl.gz", gzip.compress(b"x", mtime=0)[:10] + b"\xff" * 20, "invalid"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(EstimateError) as error:
        rows(path)
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


# CSV


def test_a_table_is_one_task_unless_it_says_more(tmp_path: Path) -> None:
    path = tmp_path / "headlines.csv"
    path.write_text(
        "label,text,task,timestamp,prompt_tokens,completion_tokens,model,other\n"
        'up,"Gold, ""again""\nup",,2026-01-01T00:00:00Z,7,1,gpt-5.4,x\n'
        "down,Silver falls,silver,,,,,\n",
        encoding="utf-8-sig",
    )
    gold, silver = usable(path)
    assert gold.body == {
        "messages": [{"role": "user", "content": 'Gold, "again"\nup'}],
        "model": "gpt-5.4",
    }
    assert (gold.prompt.task, gold.prompt.text) == ("headlines", 'Gold, "again"\nup')
    assert (gold.usage, gold.created) == (Usage(7, 1), 1767225600.0)
    assert (silver.prompt.task, silver.answer) == ("silver", "down")
    assert (silver.usage, silver.created) == (None, None)


def test_bad_rows_of_a_table_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'text,label\na,x\nb\nc,y,z\nd, \n\xff,x\n"e"e,x\nlast,x\n')
    bad = {row.where: row.reason for row in rows(path) if isinstance(row, Bad)}
    assert bad[f"{path}:3"] == "no value for label"
    assert bad[f"{path}:4"] == "more values than the header has names"
    assert bad[f"{path}:5"] == "no label"
    assert bad[f"{path}:6"] == "not valid UTF-8"
    assert f"{path}:7" in bad
    assert [row.answer for row in usable(path)] == ["x", "x"]


# The csv module writes a bare carriage return unquoted, and cannot read that back.
CELL = st.text(st.characters(codec="utf-8", exclude_characters="\r"))


@given(st.lists(st.tuples(CELL, CELL.filter(str.strip)), max_size=5))
def test_what_is_written_as_csv_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([("text", "label"), *pairs])
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(text.getvalue().encode())
    read = usable(path)
    assert [(row.body["messages"][0]["content"], row.answer) for row in read] == pairs


@given(st.binary(max_size=200))
def test_any_bytes_after_a_header_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_bytes(b"text,label\n" + content)
    for row in rows(path):
        if isinstance(row, Logged):
            orjson.dumps(row.body)


# Times


@pytest.mark.parametrize(
    ("value", "time"),
    [
        (None, None),
        ("", None),
        (0, 0.0),
        ("1767225600.5", 1767225600.5),
        ("2026-01-01", 1767225600.0),
        ("2026-01-01T01:00:00+01:00", 1767225600.0),
    ],
)
def test_times(value: Any, time: float | None) -> None:
    assert seconds(value) == time


@given(JSON)
def test_any_time_is_read_or_refused(value: Any) -> None:
    try:
        time = seconds(value)
    except ValueError:
        return
    assert (time is None) == (value in (None, ""))
