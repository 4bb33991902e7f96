"""How a task's answers list what stands in its requests: with which marks around and between the
items, and by which endings these are of several sorts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from distill.students.base import LEAST_SUPPORT
from distill.students.extraction.marking import marks
from distill.students.extraction.shape import Series, strings_of
from distill.students.extraction.tokens import Tokens

_STYLES = (
    ("", ", ", ""),
    ("[", ", ", "]"),
    ("", "\n", ""),
    ("- ", "\n- ", ""),
    ("* ", "\n* ", ""),
    ("", "; ", ""),
    ("", ",", ""),
)
"""What stands before, between and after the items of lists that are no JSON."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_READ = 500
"""Newest values that tell the style."""
_LONGEST_ENDING = 4
"""Tokens of an ending, at most."""
_LONGEST_ITEM = 200
"""Characters of an item, at most: texts are not gone through for what no list has."""
_MOST_SORTS = 12
_LEAST_SORT = 0.01
"""Share of the items that go on like that, at least."""
_MANY = 0.05
"""Share of the values that list several items; where it is less, they are no lists."""


def find(values: Sequence[str], tokens: Sequence[Tokens]) -> Series | None:
    """The series that most ``values`` [n] of requests with these ``tokens`` [n] are, but for what
    says that there is nothing; None where they are no lists."""
    newest, read = values[-_READ:], tokens[-_READ:]
    found = _quoted(newest)
    if found is None:
        found = _best_plain(newest, read)
    return None if found is None else replace(found, again=_again(found, newest, read))


def _quoted(values: Sequence[str]) -> Series | None:
    """How JSON lists of strings are written; None unless most of ``values`` are such."""
    lists = [value for value in values if strings_of(value) is not None]
    if 2 * len(lists) <= len(values):
        return None
    apart = [parts for value in lists if len(parts := _STRING.split(value)) > 1]
    several = Counter((parts[0], parts[1], parts[-1]) for parts in apart if len(parts) > 2)
    one = Counter((parts[0], ", ", parts[-1]) for parts in apart)
    for style in (several, one):
        if style:
            (opening, separator, closing), _ = style.most_common(1)[0]
            return Series(opening, separator, closing, True, ("",), True, None)
    return None


def _best_plain(values: Sequence[str], tokens: Sequence[Tokens]) -> Series | None:
    best, most = None, 0
    for style in _STYLES:
        series = _plain(*style, values, tokens)
        if series is None:
            continue
        pairs = zip(values, tokens, strict=True)
        had = [value for value, row in pairs if marks(series, value, row)]
        several = sum(len(series.read(value) or ()) > 1 for value in had)
        if len(had) > most and several >= _MANY * len(values):
            best, most = series, len(had)
    return best


def _plain(
    opening: str, separator: str, closing: str, values: Sequence[str], tokens: Sequence[Tokens]
) -> Series | None:
    """Lists of that style, with the endings that their items have."""
    style = Series(opening, separator, closing, False, ("",), True, None)
    endings: Counter[str] = Counter()
    for value, row in zip(values, tokens, strict=True):
        for written, _ in style.read(value) or ():
            ending = _ending(written, row)
            if ending is not None:
                endings[ending] += 1
    least = max(LEAST_SUPPORT, _LEAST_SORT * endings.total())
    frequent = [ending for ending, times in endings.most_common(_MOST_SORTS) if times >= least]
    return replace(style, endings=tuple(frequent)) if frequent else None


def _ending(written: str, tokens: Tokens) -> str | None:
    """What comes after the longest beginning of an item that stands in a request; None where none
    does."""
    if len(written) > _LONGEST_ITEM:
        return None
    for end in Tokens.of(written).ends[: -_LONGEST_ENDING - 2 : -1]:
        if tokens.spans(written[:end]):
            return written[end:]
    return None


def _again(series: Series, values: Sequence[str], tokens: Sequence[Tokens]) -> bool:
    """Whether lists rather have the same item twice than leave out that it stands there twice."""
    twice = once = 0
    for value, row in zip(values, tokens, strict=True):
        items = series.read(value) or []
        if len(set(items)) < len(items):
            twice += 1
        elif any(len(row.spans(surface)) > 1 for surface, _ in items):
            once += 1
    return twice > once
