"""The circuit breaker, against a clock that the test turns."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.upstreams.breaker import Breaker

MOST, PAUSE_S = 3, 10.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(MOST, PAUSE_S, clock)
    for _ in range(MOST):
        assert breaker.allows()
        breaker.failed()
    return breaker


def test_opens_after_failures_in_a_row_alone() -> None:
    breaker = Breaker(MOST, PAUSE_S, Clock())
    for _ in range(2 * MOST):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.allows()
    assert not opened(Clock()).allows()


def test_lets_one_call_through_after_each_pause() -> None:
    clock = Clock()
    breaker = opened(clock)
    for _ in range(3):
        assert breaker.wait_s() == PAUSE_S
        clock.now += PAUSE_S
        # Nobody says what became of it.
        assert breaker.allows()
        assert not breaker.allows()


def test_closes_when_that_call_succeeds() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE_S
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    assert breaker.wait_s() == 0


@given(st.lists(st.sampled_from(["ask", "succeed", "fail", "wait"]), max_size=60))
def test_is_never_shut_for_longer_than_its_pause(steps: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(MOST, PAUSE_S, clock)
    for step in steps:
        if step == "ask":
            assert breaker.allows() == (breaker.wait_s() == 0) or breaker.wait_s() == PAUSE_S
        elif step == "succeed":
            breaker.succeeded()
        elif step == "fail":
            breaker.failed()
        else:
            clock.now += 1.0
        assert 0 <= breaker.wait_s() <= PAUSE_S
    clock.now += PAUSE_S
    assert breaker.allows()
