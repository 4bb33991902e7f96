"""Whether a student's answer is as good as the teacher's."""

from __future__ import annotations

import json
import re

_NUMBER = re.compile(r"-?\d*\.?\d+(e[-+]?\d+)?", re.ASCII)
_SHOWN = 16
"""Significant digits from which on a decimal fraction is not what somebody meant, but what binary
makes of it: IEEE 754 keeps any 15, and programs print up to 17 of what is not exactly that."""

_KEPT = 12
"""Significant digits of such a one that somebody may have meant: sums and products lose a few."""


def agree(student: str, teacher: str) -> bool:
    """Exact label: the same text, white space around it aside; or the same JSON object, however it
    is written. What floating point has added to a number makes no difference.

    >>> agree("Yes", " Yes\\n")
    True
    >>> agree('{"a": 1, "b": true}', '{"b":true,"a":1}')
    True
    >>> agree("6.6", "6.600000000000001"), agree("6.6", "6.60")
    (True, False)
    """
    one, other = student.strip(), teacher.strip()
    if one == other or _is_same_number(one, other):
        return True
    return _is_object(one) and _is_object(other) and _canonical(one) == _canonical(other)


def _is_same_number(one: str, other: str) -> bool:
    if not (_NUMBER.fullmatch(one) and _NUMBER.fullmatch(other)):
        return False
    if not (_shows_rounding(one) or _shows_rounding(other)):
        return False
    return abs(float(one) - float(other)) <= 10.0**-_KEPT * abs(float(other))


def _shows_rounding(number: str) -> bool:
    mantissa = number.partition("e")[0]
    return "." in mantissa and len(mantissa.replace(".", "").lstrip("-0")) >= _SHOWN


def _is_object(text: str) -> bool:
    return text.startswith("{") and text.endswith("}")


def _canonical(text: str) -> str:
    """The text's JSON as it is written if nothing else matters; the text where it is none."""
    try:
        return json.dumps(json.loads(text, parse_float=_meant), sort_keys=True)
    except (ValueError, RecursionError):
        return text


def _meant(number: str) -> float:
    """The number of a JSON text without what floating point has added."""
    return float(f"{float(number):.{_KEPT}g}") if _shows_rounding(number) else float(number)
