"""What the scorers read of the store."""

from __future__ import annotations

from pathlib import Path

from telemetry.prices import Usage
from telemetry.store import Store
from telemetry.tolls import Toll, newest
from tests.telemetry.test_store import exchange


def test_the_newest_complete_answers_oldest_first(tmp_path: Path) -> None:
    store = Store(tmp_path)
    teacher = exchange(
        "e1",
        created=1.0,
        request="{äöü}",
        prompt_tokens=9,
        completion_tokens=8,
        cached_tokens=7,
        reasoning_tokens=6,
        latency_s=0.5,
        first_token_s=0.25,
        decision='{"route":"teacher","teacher":{"load":3},"student":null}',
    )
    student = exchange(
        "e2",
        created=2.0,
        route="student",
        model="v1",
        latency_s=0.001,
        decision='{"route":"student","teacher":{"load":3},"student":{"load":1}}',
    )
    # By a version that kept no load, and where the caller chose the route.
    older = exchange("e3", created=3.0, decision='{"route":"teacher","teacher":{"cost":3}}')
    forced = exchange("e4", created=4.0)
    nothing_to_learn = [
        exchange("failed", created=5.0, status=502, finish_reason=None, error="upstream_error"),
        exchange("broken", created=5.0, finish_reason=None, error="upstream_broken"),
        exchange("secret", created=5.0, request=None),
        exchange("vectors", created=5.0, dialect="embeddings"),
    ]
    shown = exchange("shown", created=0.5, request='{"url":"data:image/png;base64,AAAA"}')
    several = exchange("several", created=0.5, choices='[{"index":0},{"index":1}]')
    store.write([shown, several, teacher, student, older, forced, *nothing_to_learn])
    tolls = newest(store.engine, 10)
    assert tolls == [
        Toll("t", "teacher", "m", 5, Usage(9, 8, 7, 6), 0.5, 0.25, 3),
        Toll("t", "student", "v1", 2, Usage(), 0.001, None, 1),
        Toll("t", "teacher", "m", 2, Usage(), 0.0, None, None),
        Toll("t", "teacher", "m", 2, Usage(), 0.0, None, None),
    ]
    assert newest(store.engine, 2) == tolls[-2:]
    store.close()
