"""``protege student export`` and ``protege student run``: a student alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from typer.testing import CliRunner

from distill.evaluation.strata import Floors, Strata
from distill.students.extraction.answers import find
from distill.students.extraction.training import train
from distill.students.ladder import Ladder
from router.commands.student import student_app
from telemetry.store import Store
from tests.distill.students.test_extraction_lists import plain
from tests.router.server import run_cli
from tests.router.taught import SENTENCES, TASK, promote

VERSION = "animals-1"
STRANGE = "Où est la bibliothèque, s'il vous plaît ?"
MARGIN = 40


def run(*arguments: str) -> tuple[int, str, list[str]]:
    """Exit code, output and lines on standard error of ``protege student``, in this process."""
    result = CliRunner().invoke(student_app, list(arguments), catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr.splitlines()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    store = Store(data)
    promote(store, data, VERSION, longest=len(max(SENTENCES, key=len)) + MARGIN)
    store.close()
    return data


@pytest.fixture(scope="module")
def folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "animals"
    asked = ("export", TASK, "--format", "onnx", "--to", str(folder), "--data", str(data))
    code, out, said = run(*asked)
    assert (code, said) == (0, [])
    assert out == f"{VERSION} is in {folder}: protege student run {folder}\n"
    return folder


@contextmanager
def alone(
    folder: Path, *flags: str, version: str = VERSION, task: str = TASK
) -> Iterator[openai.OpenAI]:
    """A client of the student in ``folder``, which runs with no store and nothing configured."""
    process = run_cli("student", "run", str(folder), "--port", "0", *flags)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        announced = re.search(r"http://127\.0\.0\.1:\d+/v1", said)
        assert announced, process.communicate()
        assert said.startswith(f"{version} serves the task {task} on ")
        with openai.OpenAI(base_url=announced.group(), api_key="none", max_retries=0) as client:
            yield client
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert errors == ""


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[openai.OpenAI]:
    with alone(folder) as client:
        yield client


def ask(client: openai.OpenAI, text: str, model: str = "auto", /, **more: Any) -> Any:
    messages = [
        {"role": "system", "content": "Which animal? Answer cat or dog."},
        {"role": "user", "content": text},
    ]
    create: Any = client.chat.completions.with_raw_response.create
    return create(**{"model": model, "messages": messages, **more})


def test_it_answers_what_the_served_student_does(client: openai.OpenAI, data: Path) -> None:
    expected = Ladder.load(data / "students" / VERSION).predict(SENTENCES)
    for text, prediction in zip(SENTENCES, expected, strict=True):
        response = ask(client, text)
        completion = response.parse()
        assert completion.choices[0].message.content == prediction.answer
        assert completion.model == VERSION
        assert completion.usage.total_tokens > 0
        assert response.headers["x-protege-reason"] == "student_confident"
        assert response.headers["x-protege-task"] == TASK
        confidence = float(response.headers["x-protege-confidence"])
        assert confidence == pytest.approx(prediction.confidence, abs=1e-5)


def test_it_streams(client: openai.OpenAI) -> None:
    whole = ask(client, SENTENCES[0]).parse()
    chunks = client.chat.completions.create(
        model=VERSION,
        messages=[{"role": "user", "content": SENTENCES[0]}],
        stream=True,
        stream_options={"include_usage": True},
    )
    *said, last = list(chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in said)
    assert text == whole.choices[0].message.content
    assert last.usage is not None
    assert last.usage.total_tokens == whole.usage.total_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_what_it_is_not_sure_of_it_leaves_to_others(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        ask(client, STRANGE, stream=stream)
    assert caught.value.code == "student_unsure"
    assert float(caught.value.response.headers["x-protege-confidence"]) == 0.0
    response = ask(client, STRANGE, "student")
    assert response.parse().choices[0].message.content in ("cat", "dog")
    assert response.headers["x-protege-reason"] == "forced"


def test_it_is_not_sure_of_texts_longer_than_it_was_tested_on(client: openai.OpenAI) -> None:
    assert ask(client, SENTENCES[0]).headers["x-protege-reason"] == "student_confident"
    with pytest.raises(openai.UnprocessableEntityError, match="longer than all"):
        ask(client, SENTENCES[0] + " " * 2 * MARGIN)


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"model": "gpt-5.4"}, 404, "model_not_found"),
        ({"metadata": {"task": "another"}}, 404, "student_not_found"),
        ({"extra_headers": {"x-protege-task": "another"}}, 404, "student_not_found"),
        ({"n": 2}, 400, "student_unable"),
        ({"stop": ["a", "o"]}, 400, "student_unable"),
        ({"max_tokens": "many"}, 400, None),
    ],
)
def test_what_it_cannot_do_is_told_in_openais_words(
    client: openai.OpenAI, more: dict[str, Any], status: int, code: str | None
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, SENTENCES[0], **more)
    assert (caught.value.status_code, caught.value.code) == (status, code)


def test_each_slice_has_its_own_threshold(tmp_path: Path) -> None:
    short, middle, long = "up to 24 characters", "25 to 27 characters", "over 27 characters"
    strata = Strata("length", (short, middle, long), (24, 27))
    floors = Floors(strata, {short: 0.6, middle: 0.999999})
    store = Store(tmp_path)
    promote(store, tmp_path, VERSION, floors=floors)
    store.close()
    folder = tmp_path / "exported"
    asked = ("export", TASK, "--format", "onnx", "--to", str(folder), "--data", str(tmp_path))
    assert run(*asked)[0] == 0
    by_length = {strata.of([text])[0]: text for text in SENTENCES}
    with alone(folder) as client:
        assert ask(client, by_length[short]).headers["x-protege-reason"] == "student_confident"
        with pytest.raises(openai.UnprocessableEntityError, match=r"where 0\.999999 is needed"):
            ask(client, by_length[middle])
        with pytest.raises(openai.UnprocessableEntityError, match=re.escape(long)):
            ask(client, by_length[long])
        for text in by_length.values():
            assert ask(client, text, "student").parse().choices[0].message.content


def test_what_stands_in_the_request_is_listed(tmp_path: Path) -> None:
    texts, answers = zip(*plain(300), strict=True)
    found = find(texts, answers)
    assert found is not None
    rung = train(texts, answers, found, range(len(texts))).rung
    store = Store(tmp_path)
    promote(store, tmp_path, VERSION, rungs=(rung,))
    store.close()
    folder = tmp_path / "exported"
    asked = ("export", TASK, "--format", "onnx", "--to", str(folder), "--data", str(tmp_path))
    assert run(*asked)[0] == 0
    served, answered = Ladder.load(tmp_path / "students" / VERSION), 0
    with alone(folder) as client:
        for text, _ in [*plain(20, seed=9), (STRANGE, "")]:
            (expected,) = served.predict([text])
            if expected.confidence >= served.threshold:
                response = ask(client, text)
                assert response.headers["x-protege-reason"] == "student_confident"
                assert response.parse().choices[0].message.content == expected.answer
                answered += expected.answer not in answers
                continue
            with pytest.raises(openai.UnprocessableEntityError) as caught:
                ask(client, text)
            assert caught.value.code == "student_unsure"
            confidence = float(caught.value.response.headers["x-protege-confidence"])
            assert confidence == pytest.approx(expected.confidence, abs=1e-5)
    assert served.predict([STRANGE])[0].confidence < served.threshold
    assert answered > 3


def test_its_own_task_may_be_named(client: openai.OpenAI) -> None:
    assert ask(client, SENTENCES[0], metadata={"task": TASK}).parse().model == VERSION


def test_models_and_health(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["auto", "student", VERSION]
    assert client.models.retrieve(VERSION).owned_by == "protege"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-5.4")
    assert client.get("/../healthz", cast_to=object) == {"status": "ok"}
    with pytest.raises(openai.NotFoundError) as caught:
        client.embeddings.create(model="auto", input="a")
    assert caught.value.code == "unknown_url"
    with pytest.raises(openai.APIStatusError) as refused:
        client.post("/models", cast_to=object)
    assert refused.value.code == "method_not_allowed"


def test_a_changed_folder_is_not_served(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest | {"threshold": 0.0}))
    code, out, said = run("run", str(tmp_path), "--port", "0")
    assert (code, out) == (1, "")
    (line,) = said
    assert "manifest.json is not what was exported" in line


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("nobody", "--format", "onnx"), "no student nobody, and no student serves a task nobody"),
        ((TASK, "--format", "gguf"), "animals-1 is a label student: it can be exported as onnx"),
        ((VERSION, "--format", "hf"), "animals-1 is a label student: it can be exported as onnx"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line(
    data: Path, tmp_path: Path, asked: tuple[str, ...], why: str
) -> None:
    target = tmp_path / "target"
    code, out, said = run("export", *asked, "--to", str(target), "--data", str(data))
    assert (code, out, len(said)) == (1, "", 1)
    assert why in said[0]
    assert not list(tmp_path.iterdir())


def test_no_folder_is_written_over(data: Path, folder: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    asked = ("export", TASK, "--format", "onnx", "--to", str(folder), "--data", str(data))
    code, _, (line,) = run(*asked)
    assert code == 1
    assert "is not an empty folder" in line
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_what_is_no_student_is_told_in_one_line(tmp_path: Path) -> None:
    code, _, (line,) = run("run", str(tmp_path / "nothing"))
    assert code == 1
    assert "no exported student" in line
