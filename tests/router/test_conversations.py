"""Turns of a conversation are recognised, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from router.conversations import Conversations, turns

texts = st.text(max_size=10)
contents = texts | st.none() | st.lists(st.fixed_dictionaries({"type": st.just("text")}))
openings = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant"]), "content": contents}
    ),
    min_size=1,
    max_size=6,
)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@given(openings, texts, texts, st.none() | texts, texts)
def test_the_next_turn_follows_its_own_conversation_alone(
    opening: list[dict[str, Any]], answer: str, more: str, caller: str | None, task: str
) -> None:
    _, first = turns({"messages": opening}, caller, task)
    following = [*opening, {"role": "assistant", "content": answer}, user(more)]
    before, second = turns({"messages": following}, caller, task)
    assert before == first
    assert second != first
    edited = [user("something else"), *following]
    assert turns({"messages": edited}, caller, task)[0] != first
    assert turns({"messages": following}, f"{caller}!", task)[0] != first
    assert turns({"messages": following}, caller, f"{task}!")[0] != first


@given(openings, openings)
def test_a_name_is_all_that_counts(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    metadata = {"conversation": "c"}
    first = turns({"messages": one, "metadata": metadata}, None, "t")
    assert first == turns({"messages": other, "metadata": metadata}, None, "t")
    assert first[0] == first[1]
    assert first != turns({"messages": one, "metadata": {"conversation": "d"}}, None, "t")


def test_a_request_without_an_answer_follows_nothing() -> None:
    assert turns({"messages": [user("a"), user("b")]}, None, "t")[0] is None


def test_routes_are_shared_and_outlive_the_process(tmp_path: Path) -> None:
    one, other = Conversations(tmp_path), Conversations(tmp_path)
    assert one.route(None) is None
    assert one.route(12345) is None
    one.keep(12345, "student")
    one.keep(2**64 - 1, "teacher")
    assert other.route(12345) == "student"
    other.keep(12345, "teacher")
    assert one.route(12345) == "teacher"
    one.close()
    other.close()
    again = Conversations(tmp_path)
    assert again.route(12345) == "teacher"
    assert again.route(2**64 - 1) == "teacher"
    again.close()
