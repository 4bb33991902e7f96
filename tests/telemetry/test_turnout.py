"""How often students were asked first, and the teacher after them, as the store has it."""

from __future__ import annotations

from typing import Any

from policies.rules import NEVER_ASKED
from telemetry.exchange import Exchange
from telemetry.store import Store
from telemetry.turnout import Turnout, asked_first, turnouts, without_student


def exchange(identifier: str, **rest: Any) -> Exchange:
    usual: dict[str, Any] = {
        "id": identifier,
        "created": 10.0,
        "task": "support",
        "route": "teacher",
        "model": "teacher",
        "reason": "no_student",
        "status": 200,
        "stream": False,
        "sampled": True,
        "propensity": 1.0,
    }
    return Exchange(**(usual | rest))


def opinion(identifier: str, version: str, confidence: float, propensity: float) -> Exchange:
    return exchange(identifier, student=version, confidence=confidence, propensity=propensity)


def test_turnout_by_student_and_what_it_was_sure_of(store: Store) -> None:
    store.write(
        [
            exchange("before"),
            exchange("too early", created=1.0),
            exchange("elsewhere", task="other"),
            exchange("failed", status=502),
            exchange("imported", route="imported", propensity=None),
            exchange("picture", reason="modality"),
            exchange("call", reason="tools"),
            exchange("several", reason="n"),
            exchange("biased", reason="logit_bias"),
            exchange("long", reason="length"),
            opinion("a1", "a", 0.9, 0.05),
            opinion("a2", "a", 0.8, 0.25),
            opinion("a3", "a", 0.79, 1.0),
            opinion("b1", "b", 0.79, 0.1),
            opinion("b2", "b", 0.1, 1.0),
            exchange("forced", student="c", confidence=0.5, propensity=None),
        ]
    )
    assert asked_first(store.engine, "support", 5.0) == ["a", "b"]
    assert without_student(store.engine, "support", 5.0, NEVER_ASKED) == 1
    found = turnouts(store.engine, "support", 5.0, {"a": 0.8, "b": 0.5, "unknown": 0.5})
    assert found == {
        "a": Turnout(2, 0.3, 1, 1.0),
        "b": Turnout(1, 0.1, 1, 1.0),
        "unknown": Turnout(),
    }
    assert turnouts(store.engine, "support", 5.0, {}) == {}


def test_who_would_have_been_asked() -> None:
    turnout = Turnout(sure=80, sure_asked=4.0, unsure=20, unsure_asked=20.0)
    assert turnout.asked(sure=True) == 5.0
    assert turnout.asked(sure=False) == 100.0
    # Where there is no such request nothing was left out.
    assert Turnout(unsure=20, unsure_asked=20.0).asked(sure=True) == 20.0
