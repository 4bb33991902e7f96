"""The shape of a prompt: how long, how varied, how numeric it is, whatever it is about.

N-grams know a subject; shape carries over to subjects that were never seen.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_MOST_CHARACTERS = 8000
"""Characters that are looked at of a prompt: its first."""

_WORD = re.compile(r"[^\W\d_]+")
_NUMBER = re.compile(r"\d+")
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_LONG_WORD = 8
_SYMBOLS = frozenset("+-*/=^<>()[]{}|\\_$%")
_STOPS = frozenset(".,;:!?")
_NEGATIONS = frozenset(("not", "no", "never", "except", "false", "incorrect"))
_FUNCTION_WORD = re.compile(
    "a|an|and|are|as|at|be|but|by|for|from|had|has|have|he|her|his|how|i|if|in|into|is|it|its|no|"
    "not|of|on|or|she|than|that|the|their|then|they|this|to|was|we|were|what|when|where|which|who|"
    "whom|why|with|you"
)


def shapes(prompts: Sequence[str]) -> Array:
    """Features [n, 25] of ``prompts``, each on a scale on which it is not too skewed."""
    rows = [_shape(prompt[:_MOST_CHARACTERS]) for prompt in prompts]
    return np.array(rows, dtype=np.float64).reshape(len(rows), -1)


def _shape(text: str) -> list[float]:
    words = _WORD.findall(text) or [""]
    lines = [line for line in text.split("\n") if line.strip()] or [""]
    return [
        *_sizes(text, words, lines),
        *_vocabulary(words),
        *_characters(text),
        *_numbers(text),
        float("?" in text),
        np.log1p(text.count('"') + text.count("'")),
        _compressed(text),
    ]


def _sizes(text: str, words: list[str], lines: list[str]) -> list[float]:
    lengths = np.array([len(line) for line in lines])
    counts = [len(text), len(words), len(lines), len(_SENTENCE_END.findall(text))]
    some = [lengths[0], lengths.max(), np.median(lengths)]
    return [*np.log1p([*counts, *some]), lengths.std() / (lengths.mean() + 1)]


def _vocabulary(words: list[str]) -> list[float]:
    lengths = np.array([len(word) for word in words])
    lower = [word.lower() for word in words]
    return [
        lengths.mean(),
        lengths.std(),
        len(set(lower)) / len(words),
        (lengths >= _LONG_WORD).mean(),
        sum(word[:1].isupper() for word in words) / len(words),
        sum(_FUNCTION_WORD.fullmatch(word) is not None for word in lower) / len(words),
        float(not _NEGATIONS.isdisjoint(lower)),
    ]


def _characters(text: str) -> list[float]:
    kinds: list[Callable[[str], bool]] = [
        str.isdigit,
        str.isupper,
        _SYMBOLS.__contains__,
        _STOPS.__contains__,
        lambda character: character > "\x7f",
    ]
    return [(sum(map(kind, text)) / max(len(text), 1)) ** 0.5 for kind in kinds]


def _numbers(text: str) -> list[float]:
    digits = [len(number) for number in _NUMBER.findall(text)]
    return [np.log1p(len(digits)), np.log1p(np.mean(digits)) if digits else 0.0]


def _compressed(text: str) -> float:
    raw = text.encode("utf-8", "surrogatepass")
    return len(zlib.compress(raw)) / max(len(raw), 1)
