import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import tasks
from policies.tasks import read_prompt

RULES = (
    "Your task is to decide if two product descriptions refer to the same product.\n\n"
    "The following rules need to be observed:\n1. The brand must be the same\n"
)


def chat(*messages, **rest):
    return {"messages": [{"role": role, "content": content} for role, content in messages], **rest}


def task(*messages, **rest):
    return read_prompt(chat(*messages, **rest)).task


def test_the_caller_may_name_the_task():
    assert task(("user", "hi"), metadata={"task": "triage"}) == "triage"


@given(st.text(), st.text())
def test_the_same_instruction_is_one_task_whatever_the_user_writes(one, other):
    assert task(("system", "Label it."), ("user", one)) == task(
        ("system", "Label it."), ("user", other)
    )


words = st.text(st.characters(categories=["L", "P", "Zs"]), min_size=1)


@given(words, words)
def test_two_instructions_are_two_tasks(one, other):
    first = task(("system", f"A {one}"), ("user", "x"))
    second = task(("system", f"A {other}"), ("user", "x"))
    assert (first == second) == (one == other)


def test_prompts_that_differ_by_a_small_number_are_two_tasks():
    assert task(("system", "Prompt 1"), ("user", "x")) != task(
        ("system", "Prompt 2"), ("user", "x")
    )


def test_what_an_application_fills_in_does_not_split_a_task():
    one = task(("system", "Today is 2026-11-24, 10:32. Session 123456. Label."), ("user", "x"))
    other = task(("system", "Today is 2026-11-25, 09:01. Session 654321. Label."), ("user", "x"))
    assert one == other


def test_an_instruction_at_the_head_of_the_user_message():
    one = task(("user", RULES + "Product 1: lamp\nProduct 2: desk lamp"))
    other = task(("user", RULES + "Product 1: SSD 1TB\nProduct 2: SSD 2TB"))
    assert one == other
    assert one != task(("user", "Translate the following sentence into good French: hello"))


def test_an_instruction_at_the_head_of_a_lone_system_message():
    one = task(("system", "You are playing Connect 4 on a board of seven columns. Board: 1"))
    other = task(("system", "You are playing Connect 4 on a board of seven columns. Board: 2"))
    assert one == other


def test_examples_that_vary_do_not_split_a_task():
    def request(example):
        return {
            "messages": [
                {"role": "system", "content": "Name the poker hand."},
                {"role": "system", "name": "example_user", "content": example},
                {"role": "user", "content": "Q: 6d, Js"},
            ]
        }

    assert read_prompt(request("a")).task == read_prompt(request("b")).task
    assert read_prompt(request("a")).text == "a\nQ: 6d, Js"


def test_the_required_format_is_part_of_the_task():
    assert task(("system", "s"), ("user", "x")) != task(
        ("system", "s"), ("user", "x"), response_format={"type": "json_object"}
    )


def test_content_parts_are_read_as_text():
    parts = [{"type": "text", "text": "one"}, {"type": "image_url", "image_url": {"url": "x"}}]
    body = {"messages": [{"role": "user", "content": parts}]}
    assert read_prompt(body).text == "one"


@pytest.mark.parametrize(
    "day",
    [
        "Monday, November 30, 2026",
        "Tuesday, December 1, 2026",
        "1 December 2026",
        "the 2nd of Dec. 2026",
        "Sept 3rd, 2026",
        "12/01/2026",
        "1.12.2026",
        "2026/12/01",
    ],
)
def test_a_date_does_not_split_a_task_whatever_way_it_is_written(day):
    def masked(day):
        return re.sub("#(, #)?", "#", tasks._masked(f"Today is {day.removeprefix('the ')}."))

    assert masked(day) == masked("2026-11-30")


def test_what_only_looks_like_a_date_stays():
    for text in ("You may answer 2026 times.", "v1.2.3", "3/4 of 12", "march on, 2 of 5"):
        assert tasks._masked(text) == text


def test_a_named_task_has_its_instructions_too():
    def name(*messages):
        return read_prompt(chat(*messages, metadata={"task": "triage"})).instruction

    one = name(("system", "Label it. Today is 2026-11-24."), ("user", "a"))
    assert one.startswith("label-it-today-is-")
    assert one == name(("developer", "Label it. Today is 2026-11-25."), ("user", "b"))
    assert one != name(("system", "Label it well. Today is 2026-11-24."), ("user", "a"))
    assert name(("user", "a")) == name(("user", "b")) == name(("system", "a"))


def test_the_longest_instructions_are_not_remembered():
    tasks._remembered.cache_clear()
    task(("system", "Label it. " * 10_000), ("user", "x"))
    assert tasks._remembered.cache_info().currsize == 0
    for _ in range(2):
        task(("system", "Label it."), ("user", "x"))
    assert tasks._remembered.cache_info()[:2] == (1, 1)
