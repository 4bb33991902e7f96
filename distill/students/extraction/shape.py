"""How answers are made of what stands in requests.

An answer is one value, or an object of several fields. A value is one of a few, or it is copied
from the request, whole tokens of it: a *slot* has one such span, a *series* lists all of its kind.
Either may say that there is nothing to copy. An exported student that copies carries this file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from typing import Any, Literal

Kind = Literal["plain", "string", "number"]
"""How a value is written: as it stands in the request, as a JSON string, or as a JSON number."""

Item = tuple[str, int]
"""What is copied, and by which of a series' endings it goes on."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A value that is copied from the request."""

    kind: Kind
    none: str | None
    """How it is written that there is nothing to copy; None where there always is."""
    longest: int
    """Tokens that it has at most."""

    @property
    def sorts(self) -> int:
        """How many sorts of spans there are."""
        return 1

    def surface(self, value: str) -> str:
        """What of the request a ``value`` says; empty where it is not of this kind."""
        if self.kind == "plain":
            return value
        try:
            read = json.loads(value)
        except ValueError:
            return ""
        if self.kind == "number":
            return value if _is_number(read) else ""
        return read if isinstance(read, str) else ""

    def fits(self, surface: str) -> bool:
        """Whether what stands in a request can be such a value."""
        return self.kind != "number" or self.surface(surface) == surface

    def write(self, surface: str | None) -> str:
        """The value of what was found; None if nothing was."""
        if surface is None:
            return self.none or ""
        return _as_string(surface) if self.kind == "string" else surface


@dataclass(frozen=True, slots=True)
class Series:
    """A value that lists what is copied from the request, in the order in which it stands there."""

    opening: str
    separator: str
    closing: str
    quoted: bool
    """Whether it is a JSON list of strings."""
    endings: tuple[str, ...]
    """How an item goes on after what is copied, which says of what sort that is."""
    again: bool
    """Whether what stands in several places is listed as often, and not once."""
    none: str | None
    """How it is written that there is nothing to copy; None where there always is."""

    @property
    def sorts(self) -> int:
        """How many sorts of spans there are."""
        return len(self.endings)

    def read(self, value: str) -> list[Item] | None:
        """The items of a ``value``; None where it is no such list."""
        if self.quoted:
            strings = strings_of(value)
            return None if strings is None else [(one, 0) for one in strings]
        around = len(self.opening) + len(self.closing)
        if len(value) <= around or not value.startswith(self.opening):
            return None
        if not value.endswith(self.closing):
            return None
        within = value[len(self.opening) : len(value) - len(self.closing)]
        items = [self._item(item) for item in within.split(self.separator)]
        found = [item for item in items if item is not None]
        return found if len(found) == len(items) else None

    def write(self, items: Sequence[Item]) -> str:
        """The value that lists these ``items``; without any, that there are none."""
        if not items:
            return self.none or ""
        if self.quoted:
            written = [_as_string(surface) for surface, _ in items]
        else:
            written = [surface + self.endings[sort] for surface, sort in items]
        return self.opening + self.separator.join(written) + self.closing

    def listed(self, found: Sequence[Item]) -> list[Item]:
        """What is listed of what was ``found``, in the order in which it stands."""
        return list(found) if self.again else list(dict.fromkeys(found))

    def _item(self, written: str) -> Item | None:
        fits = [end for end in self.endings if written.endswith(end) and len(end) < len(written)]
        if not fits:
            return None
        ending = max(fits, key=len)
        return written[: len(written) - len(ending)], self.endings.index(ending)


@dataclass(frozen=True, slots=True)
class Extraction:
    """How answers are made of what stands in requests."""

    pieces: tuple[str, ...]
    """[fields + 1]: what stands before, between and after the values."""
    fields: tuple[Slot | Series | tuple[str, ...], ...]
    """For each value the slot or series that it is, or the few that it is one of."""

    @property
    def copied(self) -> list[Slot | Series]:
        """The fields that are copied."""
        return [field for field in self.fields if not isinstance(field, tuple)]

    @property
    def tags(self) -> list[int]:
        """[copied + 1]: the tag of the first token of each one's first sort; the next is that of
        the tokens that follow it. The last is how many tags there are."""
        found = [1]
        for field in self.copied:
            found.append(found[-1] + 2 * field.sorts)
        return found

    def in_order(self, copied: Sequence[str], chosen: Sequence[str]) -> list[str]:
        """All values of an answer, of those that are ``copied`` and those that are ``chosen``."""
        spans, labels = iter(copied), iter(chosen)
        return [next(labels if isinstance(field, tuple) else spans) for field in self.fields]

    def write(self, values: Sequence[str]) -> str:
        """The answer with these ``values`` [fields]."""
        return "".join(chain.from_iterable(zip_longest(self.pieces, values, fillvalue="")))

    def as_json(self) -> dict[str, Any]:
        fields = [one if isinstance(one, tuple) else asdict(one) for one in self.fields]
        return {"pieces": self.pieces, "fields": fields}

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> Extraction:
        """The inverse of ``as_json``."""
        return cls(tuple(read["pieces"]), tuple(map(_field, read["fields"])))


def strings_of(value: str) -> list[str] | None:
    """The strings in a JSON list; None where ``value`` is none."""
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        return None
    strings = isinstance(read, list) and all(isinstance(one, str) for one in read)
    return read if strings else None


def _field(read: Any) -> Slot | Series | tuple[str, ...]:
    if not isinstance(read, dict):
        return tuple(read)
    if "endings" in read:
        return Series(**{**read, "endings": tuple(read["endings"])})
    return Slot(**read)


def _as_string(surface: str) -> str:
    return json.dumps(surface, ensure_ascii=False)


def _is_number(read: object) -> bool:
    return isinstance(read, int | float) and not isinstance(read, bool)
