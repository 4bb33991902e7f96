"""What people and programs thought of answers."""

from __future__ import annotations

from typing import Any, Literal

import openai

from protege.provenance import routing

Thumb = Literal["up", "down"]


class Feedback(openai.BaseModel):
    """What is now known of an exchange's answer."""

    exchange: str
    score: float | None = None
    answer: str | None = None
    comment: str | None = None


def opinion(
    about: object,
    score: float | None,
    thumb: Thumb | None,
    answer: str | None,
    comment: str | None,
) -> dict[str, Any]:
    """The request. Raises ValueError if ``about`` is an answer that Protege never saw."""
    exchange = about if isinstance(about, str) else routing(about).exchange
    if exchange is None:
        raise ValueError("Protege has not seen this answer: it came straight from the provider.")
    said = {"score": score, "thumb": thumb, "answer": answer, "comment": comment}
    return {
        "exchange": exchange,
        **{key: value for key, value in said.items() if value is not None},
    }
