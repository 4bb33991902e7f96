"""How answers are made of what stands in requests.

An answer is one value, or an object of several fields. A value is one of a few, or a *slot*: it is
copied from the request, whole tokens of it, or says that there is nothing to copy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from distill.students import forms

Kind = Literal["plain", "string", "number"]
"""How a value is written: as it stands in the request, as a JSON string, or as a JSON number."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A value that is copied from the request."""

    kind: Kind
    none: str | None
    """How it is written that there is nothing to copy; None where there always is."""
    longest: int
    """Tokens that it has at most."""

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
        return json.dumps(surface, ensure_ascii=False) if self.kind == "string" else surface


@dataclass(frozen=True, slots=True)
class Extraction:
    """How answers are made of what stands in requests."""

    pieces: tuple[str, ...]
    """[fields + 1]: what stands before, between and after the values."""
    fields: tuple[Slot | tuple[str, ...], ...]
    """For each value the slot that it is, or the few that it is one of."""

    @property
    def slots(self) -> list[Slot]:
        return [field for field in self.fields if isinstance(field, Slot)]

    def write(self, values: Sequence[str]) -> str:
        """The answer with these ``values`` [fields]."""
        return forms.write(self.pieces, values)

    def as_json(self) -> dict[str, Any]:
        fields = [asdict(one) if isinstance(one, Slot) else one for one in self.fields]
        return {"pieces": self.pieces, "fields": fields}

    @classmethod
    def from_json(cls, read: dict[str, Any]) -> Extraction:
        """The inverse of ``as_json``."""
        fields = (Slot(**one) if isinstance(one, dict) else tuple(one) for one in read["fields"])
        return cls(tuple(read["pieces"]), tuple(fields))


def _is_number(read: object) -> bool:
    return isinstance(read, int | float) and not isinstance(read, bool)
