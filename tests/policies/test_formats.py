"""Answers against the format that a request asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.formats import fits

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def schema(content: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": content}}


def doubling(times: int, last: dict[str, Any] | None = None) -> dict[str, Any]:
    """Definitions of which each but the first refers to the one before it twice."""
    twice = {
        str(each): {"allOf": [{"$ref": f"#/$defs/{each - 1}"}] * 2} for each in range(1, times + 1)
    }
    twice[str(times)] |= last or {}
    return {"0": {"type": "object"}, **twice}


def left_over(times: int) -> dict[str, Any]:
    """A schema that looks so often for what no other part has looked at."""
    schema: dict[str, Any] = {"type": "object"}
    for _each in range(times):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    return schema


@given(values)
def test_json_mode_wants_an_object(value: Any) -> None:
    assert fits(json.dumps(value), {"type": "json_object"}) == isinstance(value, dict)
    assert fits(json.dumps(value), None)


@given(values)
def test_a_schema_is_met_by_what_it_describes_alone(value: Any) -> None:
    assert fits(json.dumps(value), schema({"const": value}))
    assert not fits(json.dumps([value]), schema({"const": value}))


def test_a_schema_may_have_integers_of_any_length() -> None:
    assert fits("5", schema({"type": "integer", "maximum": 2**64}))


@given(st.text(max_size=10))
def test_any_text_is_text_and_hardly_any_is_json(text: str) -> None:
    assert fits(text, {"type": "text"})
    assert not fits("{" + text, {"type": "json_object"}) or text.strip().endswith("}")


@pytest.mark.parametrize(
    "none",
    [
        {"type": "grammar"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": "no object"},
        {"type": "json_schema", "json_schema": {"name": "no schema"}},
        {"type": []},
        schema(3),
        schema({"type": "no such type"}),
        schema({"$ref": "#/nowhere"}),
        # Nobody may make the router fetch addresses or read files.
        schema({"$ref": "http://127.0.0.1:9/schema.json"}),
        schema({"$ref": "file:///etc/hostname"}),
        # Checks that would take longer than anybody can wait.
        schema({"$ref": "#/$defs/20", "$defs": doubling(20)}),
        schema({"$dynamicRef": "#/$defs/20", "$defs": doubling(20)}),
        schema({"$ref": "#last", "$defs": doubling(20, {"$anchor": "last"})}),
        schema(
            {"properties": {"a": {"$id": "urn:a", "$defs": doubling(20), "$ref": "#/$defs/20"}}}
        ),
        schema(
            {"$ref": "#/%24defs/a~1b", "$defs": {**doubling(20), "a/b": {"$ref": "#/$defs/20"}}}
        ),
        schema(left_over(12)),
        schema({"description": "a" * 200_000}),
    ],
)
def test_nothing_fits_a_format_that_is_none(none: dict[str, Any]) -> None:
    assert not fits("{}", none)


@pytest.mark.parametrize(
    "some",
    [
        {"$ref": "#/$defs/10", "$defs": doubling(10)},
        left_over(3),
        # What only looks like another name, and what goes around in a circle.
        {"$id": "https://example.com/a.json", "properties": {"$ref": {"type": "string"}}},
        {"examples": [{"id": "a", "next": "b"}], "properties": {"id": {"type": "string"}}},
        {"properties": {"next": {"$ref": "#"}}, "type": "object"},
        {"$ref": "#/allOf/0", "allOf": [{"type": "object"}]},
    ],
)
def test_schemas_with_references_are_checked(some: dict[str, Any]) -> None:
    assert fits("{}", schema(some))
    assert not fits("[]", schema({**some, "type": "object"}))
