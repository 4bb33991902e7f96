"""How a text student's questions and answers become tokens: the same in training and in service.

A question is the request's varying text between the model's own marks of beginning and end; the
answer follows, and ends with the mark of the end. No chat template: its words would be the same
for every request, so the student is better off without them (context distillation, Snell, Klein
and Zhong 2022).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER_FILE = "tokenizer.json"
MARKS_FILE = "marks.json"

_BYTE = re.compile("<0x[0-9A-F]{2}>")
"""What tokenizers without an alphabet of bytes call them."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer and the marks of a student's language model."""

    tokenizer: Tokenizer
    begin: int | None
    """Id of the token that a text begins with, where the model has one."""
    end: int
    """Id of the token that questions and answers end with."""

    @classmethod
    def of(cls, tokenizer: Path, begin: int | None, end: int) -> Vocabulary:
        """With the tokenizer in a file in the format of the ``tokenizers`` library.

        Raises OSError or ValueError where it cannot be read.
        """
        # Only here: a server without a text student does without it.
        from tokenizers import Tokenizer

        read = Tokenizer.from_str(tokenizer.read_text(encoding="utf-8"))
        read.no_truncation()
        read.no_padding()
        # Or callers could write marks into their texts.
        read.encode_special_tokens = True
        return cls(read, begin, end)

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """What ``save`` wrote. Raises OSError, KeyError or ValueError on damaged files."""
        marks = json.loads((folder / MARKS_FILE).read_text(encoding="utf-8"))
        return cls.of(folder / TOKENIZER_FILE, marks["begin"], marks["end"])

    def save(self, folder: Path) -> None:
        (folder / TOKENIZER_FILE).write_text(self.tokenizer.to_str(), encoding="utf-8")
        marks = json.dumps({"begin": self.begin, "end": self.end})
        (folder / MARKS_FILE).write_text(marks, encoding="utf-8")

    def question(self, text: str) -> list[int]:
        begin = [] if self.begin is None else [self.begin]
        return [*begin, *self._encode(text), self.end]

    def answer(self, text: str) -> list[int]:
        return [*self._encode(text), self.end]

    def text(self, ids: Sequence[int]) -> str:
        """The text of an answer's tokens, without marks."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """The names of tokens, as engines want them."""
        return [str(self.tokenizer.id_to_token(id_)) for id_ in ids]

    def id_of(self, token: str) -> int:
        """The id of the token of that name. Raises KeyError where there is none."""
        id_ = self.tokenizer.token_to_id(token)
        if id_ is None:
            raise KeyError(token)
        return id_

    def characters(self) -> list[int]:
        """Ids of the tokens that are a single character, or a byte of one."""
        names = self.tokenizer.get_vocab(with_added_tokens=False)
        return [id_ for name, id_ in names.items() if len(name) == 1 or _BYTE.fullmatch(name)]

    def _encode(self, text: str) -> list[int]:
        # Half a surrogate pair has no UTF-8.
        clean = text.encode("utf-8", "replace").decode("utf-8")
        return list(self.tokenizer.encode(clean, add_special_tokens=False).ids)
