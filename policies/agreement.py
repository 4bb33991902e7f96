"""Whether a student's answer is as good as the teacher's."""

from __future__ import annotations

import json


def agree(student: str, teacher: str) -> bool:
    """Exact label: the same text, white space around it aside; or the same JSON object, however it
    is written.

    >>> agree("Yes", " Yes\\n")
    True
    >>> agree('{"a": 1, "b": true}', '{"b":true,"a":1}')
    True
    """
    one, other = student.strip(), teacher.strip()
    if one == other:
        return True
    return _is_object(one) and _is_object(other) and _canonical(one) == _canonical(other)


def _is_object(text: str) -> bool:
    return text.startswith("{") and text.endswith("}")


def _canonical(text: str) -> str:
    """The text's JSON as it is written if nothing else matters; the text where it is none."""
    try:
        return json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return text
