"""``answer.protege``, ``client.feedback`` and ``client.tasks``, against the real server."""

from __future__ import annotations

import inspect
import json
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStream
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionUserMessageParam
from openai.types.responses import Response

import protege
from protege import options
from telemetry.store import Store
from tests.router.conftest import TEACHER, teacher_flags
from tests.router.server import Server
from tests.router.taught import SENTENCES, TASK, promote
from tests.router.upstream import StubUpstream

QUESTION: dict[str, Any] = {
    "model": "auto",
    "messages": [{"role": "user", "content": "is it a cat?"}],
}


def test_answers_say_how_they_were_made(server: Server) -> None:
    answer = protege.OpenAI().task("über").chat.completions.create(**QUESTION)
    made = protege.routing(answer)
    assert answer.protege is made
    exchange = server.store().exchange(made.exchange or "")
    assert exchange is not None
    assert made == protege.Routing(
        route="teacher",
        exchange=exchange.id,
        task="über",
        model=TEACHER,
        reason=exchange.reason,
        cost=Decimal(exchange.cost) / 10**12,
        saved=Decimal(0),
    )


def test_it_is_no_part_of_the_answers_json() -> None:
    answer = protege.OpenAI().chat.completions.create(**QUESTION)
    assert "protege" not in answer.model_dump()
    assert "protege" not in json.loads(answer.to_json())


def test_streams_say_it_before_their_first_chunk(upstream: StubUpstream) -> None:
    client = protege.OpenAI()
    with client.chat.completions.create(**QUESTION, stream=True) as stream:
        assert protege.routing(stream).route == "teacher"
    with client.chat.completions.stream(**QUESTION) as helper:
        assert protege.routing(helper).route == "teacher"
    with client.beta.chat.completions.stream(**QUESTION) as helper:
        assert protege.routing(helper).route == "teacher"


def test_what_helps_with_streams_says_it_and_so_does_its_answer(server: Server) -> None:
    client = protege.OpenAI()
    with client.chat.completions.stream(**QUESTION, bound=0.1) as chat:
        made: Any = chat
        assert made.protege.route == "teacher"
        completion: Any = chat.get_final_completion()
    assert completion.protege is made.protege
    assert "protege" not in completion.to_dict()
    with client.responses.stream(model="auto", input="is it a cat?") as responses:
        made = responses
        assert made.protege.route == "teacher"
        response: Any = responses.get_final_response()
    assert response.protege is made.protege
    for answer in (chat, completion, responses, response):
        client.feedback(answer, score=0.25)
        exchange = server.store().exchange(protege.routing(answer).exchange or "")
        assert exchange is not None
        assert exchange.score == 0.25


async def test_async_helpers_and_their_answers_say_it() -> None:
    async with protege.AsyncOpenAI() as client:
        async with client.chat.completions.stream(**QUESTION) as chat:
            made: Any = chat
            assert made.protege.route == "teacher"
            completion = await chat.get_final_completion()
        async with client.responses.stream(model="auto", input="is it a cat?") as responses:
            made = responses
            assert made.protege.route == "teacher"
            response = await responses.get_final_response()
        for answer in (chat, completion, responses, response):
            assert (await client.feedback(answer, thumb="up")).score == 1


def test_helpers_with_servers_that_say_nothing(upstream: StubUpstream) -> None:
    client = protege.OpenAI(base_url=upstream.url)
    with client.chat.completions.stream(**{**QUESTION, "model": TEACHER}) as helper:
        assert helper.get_final_completion().choices[0].message.content == "cat"
        assert not hasattr(helper, "protege")


def test_several_prompts_say_how_all_of_them_were_made(
    upstream: StubUpstream, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    store = Store(data)
    promote(store, data, "v1")
    store.close()
    quiet = {"PROTEGE_LOOP__ENABLED": "false"}
    with Server(data, *teacher_flags(upstream), **quiet) as server:
        client = protege.OpenAI(base_url=server.url).task(TASK)
        several = client.completions.create(model="auto", prompt=[SENTENCES[0], "zzz qqq wwww"])
        made = protege.routing(several)
        assert made.route == "mixed"
        assert made.exchange == made.exchanges[0]
        routes = [server.exchange_soon(exchange).route for exchange in made.exchanges]
        assert routes == ["student", "teacher"]
        assert client.feedback(several, thumb="up").exchange == made.exchange
        one = client.completions.create(model="auto", prompt=SENTENCES[0])
        assert protege.routing(one).exchanges == ()


def test_raw_and_parsed_answers_say_it(upstream: StubUpstream) -> None:
    completions = protege.OpenAI().chat.completions
    assert protege.routing(completions.with_raw_response.create(**QUESTION).parse())
    with completions.with_streaming_response.create(**QUESTION) as response:
        assert protege.routing(response.parse())
    assert protege.routing(completions.parse(**QUESTION)).task


async def test_async_answers_say_it() -> None:
    async with protege.AsyncOpenAI() as client:
        answer = await client.chat.completions.create(**QUESTION)
        assert protege.routing(answer).route == "teacher"
        stream = await client.chat.completions.create(**QUESTION, stream=True)
        assert protege.routing(stream).route == "teacher"
        await stream.close()


def test_what_no_model_has_answered_was_not_routed() -> None:
    with pytest.raises(TypeError, match="SyncPage"):
        protege.routing(protege.OpenAI().models.list())


@pytest.mark.parametrize("limit", ["bound", "deadline", "budget"])
def test_limits_reach_the_server(limit: str) -> None:
    client = protege.OpenAI()
    wrong: dict[str, Any] = {limit: -1}
    for call in (
        lambda: client.chat.completions.create(**QUESTION, **wrong),
        lambda: client.chat.completions.create(**QUESTION, **wrong, stream=True),
        lambda: client.chat.completions.parse(**QUESTION, **wrong),
        lambda: client.chat.completions.stream(**QUESTION, **wrong).__enter__(),
        lambda: client.chat.completions.with_raw_response.create(**QUESTION, **wrong),
        lambda: client.task("triage", **wrong).chat.completions.create(**QUESTION),
        lambda: client.responses.create(model="auto", input="is it a cat?", **wrong),
        lambda: client.responses.parse(model="auto", input="is it a cat?", **wrong),
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            call()
        assert refused.value.param == f"x-protege-{limit}"


def test_limits_that_can_be_kept_are() -> None:
    limits: dict[str, Any] = {"bound": 0.1, "deadline": 30, "budget": Decimal("0.5")}
    answer = protege.OpenAI().chat.completions.create(**QUESTION, **limits)
    assert answer.choices[0].message.content == "cat"


def test_a_call_has_openais_types() -> None:
    client = protege.OpenAI()
    message: ChatCompletionUserMessageParam = {"role": "user", "content": "is it a cat?"}
    answer = client.chat.completions.create(
        model="auto", messages=[message], temperature=0, bound=0.1
    )
    assert_type(answer, ChatCompletion)
    stream = client.chat.completions.create(
        model="auto", messages=[message], stream=True, deadline=30
    )
    assert_type(stream, openai.Stream[ChatCompletionChunk])
    stream.close()
    with client.chat.completions.stream(model="auto", messages=[message]) as events:
        assert_type(events, ChatCompletionStream[None])
    response = client.responses.create(model="auto", input="is it a cat?", budget=0.5)
    assert_type(response, Response)
    assert_type(client.task("triage", bound=0.1), protege.OpenAI)


async def test_limits_of_async_calls_reach_the_server() -> None:
    async with protege.AsyncOpenAI() as client:
        with pytest.raises(openai.BadRequestError, match="deadline"):
            await client.chat.completions.create(**QUESTION, deadline=-1)
        with pytest.raises(openai.BadRequestError, match="deadline"):
            await client.responses.create(model="auto", input="is it a cat?", deadline=-1)


def test_feedback_is_kept_with_the_exchange(server: Server) -> None:
    client = protege.OpenAI()
    answer = client.chat.completions.create(**QUESTION)
    client.feedback(answer, score=0.25, answer="dog", comment="it barks")
    exchange = server.store().exchange(protege.routing(answer).exchange or "")
    assert exchange is not None
    assert exchange.score == 0.25
    assert exchange.right_answer == "dog"
    said = client.feedback(exchange.id, thumb="up")
    assert (said.exchange, said.score) == (exchange.id, 1)
    assert (said.answer, said.comment) == (None, "it barks")


async def test_async_feedback(server: Server) -> None:
    async with protege.AsyncOpenAI() as client:
        answer = await client.chat.completions.create(**QUESTION)
        assert (await client.feedback(answer, thumb="down")).score == 0


def test_feedback_on_nothing_known_is_an_error() -> None:
    client = protege.OpenAI()
    with pytest.raises(openai.NotFoundError):
        client.feedback(f"req_{'0' * 32}", thumb="up")


def test_tasks_are_listed() -> None:
    client = protege.OpenAI()
    client.task("listed").chat.completions.create(**QUESTION)
    (task,) = [task for task in client.tasks.list() if task.id == "listed"]
    assert (task.requests, task.student, task.student_share) == (1, None, 0)


async def test_tasks_are_listed_to_the_async_client() -> None:
    async with protege.AsyncOpenAI() as client:
        await client.task("listed too").chat.completions.create(**QUESTION)
        assert "listed too" in [task.id async for task in client.tasks.list()]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (options.ClientOptions, openai.OpenAI),
        (options.AsyncClientOptions, openai.AsyncOpenAI),
    ],
)
def test_the_typed_constructor_is_openais(ours: type, theirs: type) -> None:
    named = {name for name in ours.__annotations__ if not name.startswith("fallback_")}
    signature = inspect.signature(theirs.__init__)  # type: ignore[misc]
    public = {name for name in signature.parameters if not name.startswith("_")} - {"self"}
    assert named == public
