"""Teacher answers that nobody should learn, and requests that no student is asked.

A flawed answer is not dropped from the evidence: the teacher gave it, so a student that answers
such a request otherwise disagrees with the teacher. A student may learn *that* such a request is
not one for it, but never the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from policies.formats import fits

Flaw = Literal["empty", "refusal", "malformed", "private"]
"""``malformed``: not of the format that the request asks for. ``private``: with private data that
its request does not have."""

# What several parts could match is gone through once: models write rows of dashes or spaces.
_REFUSAL = re.compile(
    r"""^\W*+
    (?:(?:i\s+am|i'm)\s+(?:\w+\s+)?sorry|sorry|apologies|i\s+apologi[sz]e|unfortunately
       |i\s+regret|i\s+appreciate[^.]{0,80}|thank\s+you[^.]{0,80})?
    [\s,.!:;—–-]*+(?:but|however|that)?[\s,]*+
    (?:(?:as|being)\s+an?\s+(?:ai|artificial|large|language)\b[^.]{0,60}[\s,]+)?
    (?:i|we)\s*
    (?:can't|can\s?not|could\s+not|won't|will\s+not
       |(?:'m|\s+am|'re|\s+are)\s+(?:not\s+able|unable|not\s+allowed|not\s+permitted)\s+to
       |must\s+(?:decline|refuse)(?:\s+to)?|have\s+to\s+decline|do\s+not\s+feel\s+comfortable)
    [\s,]+(?:\w+\s+)?
    (?:assist|help|comply|fulfil?l|provide|answer|respond|do\s+(?:that|this|so)|complete|support
       |process|engage|discuss|generate|create|write|share|give|offer|participate|continue)\b""",
    re.IGNORECASE | re.VERBOSE,
)


def flaw(body: Mapping[str, Any], answer: str) -> Flaw | None:
    """What is wrong with the teacher's ``answer`` to the chat completion request ``body``, without
    a look at any other."""
    if not answer.strip():
        return "empty"
    if is_refusal(answer) and not _asked_for(body, answer):
        return "refusal"
    return None if fits(answer, body.get("response_format")) else "malformed"


def is_refusal(answer: str) -> bool:
    """Whether it is one of the phrases in which models decline to answer.

    >>> is_refusal("I'm sorry, but I can't assist with that request.")
    True
    >>> is_refusal("Cannot be answered")
    False
    """
    return _REFUSAL.match(answer.replace("’", "'")) is not None


def _asked_for(body: Mapping[str, Any], answer: str) -> bool:
    """Whether the request itself has the words, as where the task is to tell refusals."""
    words = answer.strip().rstrip(".!").casefold()
    return words in str([message.get("content") for message in body["messages"]]).casefold()
