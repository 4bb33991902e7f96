"""Private data in texts: found by form and check digits, and put behind placeholders.

Found are e-mail addresses, telephone numbers (international, and national ones of the USA), numbers
of payment cards (Luhn, ISO/IEC 7812-1), bank accounts (IBAN, ISO 13616) and US social security,
IP addresses, and the keys of well-known services. Names and postal addresses are not: they have no
form to be told by.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import ip_address
from typing import NamedTuple

from config.loading import ConfigError

_REGION = "US"
"""Where a telephone number without a country code is from."""

_NEEDED = ("phonenumbers", "stdnum")

_PLACEHOLDER = re.compile(r"\[(?:EMAIL|SECRET|IBAN|CARD|SSN|PHONE|IP)_\d+\]")

# From the sign on: to look for what may come before it at every place of a text takes the square of
# its length where that has no spaces.
_HOST = re.compile(r"@(?:[\w-]+\.)+[^\W\d_]{2,}")
_MAILBOX_BACKWARDS = re.compile(r"[\w.+%-]*")
_SECRET = re.compile(
    r"\b(?:sk-[\w-]{20,}|(?:AKIA|ASIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{36,}"
    r"|xox[abprs]-[\w-]{10,}|AIza[\w-]{35}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+)"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"\b[3-6]\d{3}(?:[ -]?\d){8,14}\d\b")
_SSN = re.compile(r"\b\d{3}-\d{2}-\d{4}\b")
_IP = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]*+:[0-9A-Fa-f:]++)(?![\w.:])")
_DIGITS = re.compile(r"\d(?:[\s().\-/]{0,2}\d){8,}")
"""What a text with a telephone number has: to look for one takes long."""


@dataclass(frozen=True, slots=True)
class Masked:
    """A text whose private data are behind placeholders."""

    text: str
    values: Mapping[str, str] = field(default_factory=dict)
    """What each placeholder stands for."""

    def hide(self, other: str) -> str:
        """``other`` with the same placeholders for what the text has of it."""
        for placeholder, value in sorted(self.values.items(), key=lambda one: -len(one[1])):
            other = other.replace(value, placeholder)
        return other

    def restore(self, answer: str) -> str:
        """``answer`` with what its placeholders stand for."""
        if not self.values:
            return answer
        return _PLACEHOLDER.sub(lambda found: self.values.get(found[0], found[0]), answer)


class Span(NamedTuple):
    """Where a private datum is in a text, and of what kind it is."""

    start: int
    end: int
    kind: str


def check_installed() -> None:
    """Raises ConfigError where what finds private data is not installed."""
    if any(find_spec(name) is None for name in _NEEDED):
        raise ConfigError(["dataset.private: needs `pip install protege-router[private]`"])


def mask(text: str) -> Masked:
    """``text`` with a placeholder such as ``[EMAIL_1]`` for each private datum, the same for the
    same.

    >>> mask("Write to ann@example.com, not to bob@example.com.").text
    'Write to [EMAIL_1], not to [EMAIL_2].'
    """
    spans = find(text)
    if not spans:
        return Masked(text)
    present = set(_PLACEHOLDER.findall(text))
    numbers: Counter[str] = Counter()
    known: dict[tuple[str, str], str] = {}

    def named(kind: str, value: str) -> str:
        while (kind, value) not in known:
            numbers[kind] += 1
            placeholder = f"[{kind}_{numbers[kind]}]"
            if placeholder not in present:
                known[kind, value] = placeholder
        return known[kind, value]

    masked = _renamed(text, spans, named)
    return Masked(masked, {placeholder: value for (_, value), placeholder in known.items()})


def mask_all(texts: Sequence[str]) -> tuple[list[str], Masked]:
    """Texts that belong together, with the same placeholders for the same; and them as one."""
    one = mask("\0".join(text.replace("\0", " ") for text in texts))
    return one.text.split("\0"), one


def mask_strange(texts: Sequence[str], numbers: Iterator[int]) -> list[str]:
    """``texts`` with a placeholder for each private datum, the same for the same, that ``mask``
    never gives and nobody could put back. Where ``numbers`` go on from call to call, none is given
    twice.

    >>> mask_strange(["Ask eve@example.com", "or bob@example.com"], iter([1, 2]))
    ['Ask [EMAIL_01]', 'or [EMAIL_02]']
    """
    known: dict[str, str] = {}

    def named(kind: str, value: str) -> str:
        if value not in known:
            known[value] = f"[{kind}_0{next(numbers)}]"
        return known[value]

    return [_renamed(text, find(text), named) for text in texts]


def _renamed(text: str, spans: Sequence[Span], named: Callable[[str, str], str]) -> str:
    """``text`` with what each datum in its ``spans`` is ``named``, by its kind and value."""
    parts, end = [], 0
    for start, stop, kind in spans:
        parts += [text[end:start], named(kind, text[start:stop])]
        end = stop
    return "".join([*parts, text[end:]])


def find(text: str) -> list[Span]:
    """Where private data are in ``text``, in order; they do not overlap."""
    found: list[Span] = []
    taken = bytearray(len(text))
    for kind, spans in _FINDERS.items():
        for start, end in spans(text):
            # Of two that overlap the kind that comes first is surer.
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                found.append(Span(start, end, kind))
    return sorted(found)


_Spans = Callable[[str], Iterator[tuple[int, int]]]


def _matches(pattern: re.Pattern[str], valid: Callable[[str], bool] = bool) -> _Spans:
    def spans(text: str) -> Iterator[tuple[int, int]]:
        return (found.span() for found in pattern.finditer(text) if valid(found[0]))

    return spans


def _emails(text: str) -> Iterator[tuple[int, int]]:
    backwards, before = text[::-1], 0
    for host in _HOST.finditer(text):
        sign = len(text) - host.start()
        mailbox = _MAILBOX_BACKWARDS.match(backwards, sign, len(text) - before)
        assert mailbox is not None, "it matches nothing too"
        if mailbox[0]:
            before = host.end()
            yield host.start() - len(mailbox[0]), before


def _phones(text: str) -> Iterator[tuple[int, int]]:
    if not _DIGITS.search(text):
        return
    from phonenumbers import PhoneNumberMatcher

    for found in PhoneNumberMatcher(text, _REGION):
        yield found.start, found.end


def _is_iban(text: str) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(text))


def _is_card(text: str) -> bool:
    from stdnum import luhn

    return bool(luhn.is_valid(re.sub(r"\D", "", text)))


def _is_ssn(text: str) -> bool:
    from stdnum.us import ssn

    return bool(ssn.is_valid(text))


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "." in text or text.count(":") > 1


_FINDERS: Mapping[str, _Spans] = {
    "EMAIL": _emails,
    "SECRET": _matches(_SECRET),
    "IBAN": _matches(_IBAN, _is_iban),
    "CARD": _matches(_CARD, _is_card),
    "SSN": _matches(_SSN, _is_ssn),
    "IP": _matches(_IP, _is_ip),
    "PHONE": _phones,
}
"""By kind, the surest first."""
