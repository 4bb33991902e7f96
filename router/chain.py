"""Asks one model after the other until one answers: retries, circuit breakers, the next model.

All of it happens before the caller has had any part of an answer.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from router.errors import (
    CircuitOpenError,
    UpstreamBrokenError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from router.models import Model
from router.turn import Arrival

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 8.0
"""Longest wait for one retry. A provider that asks for more is not waited for."""

_log = logging.getLogger(__name__)

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Answered(Generic[_T]):
    """What a call gave, and which model it was made to."""

    model: Model
    value: _T


def first_asked(models: Sequence[Model]) -> Model:
    """The one that ``ask`` begins with: the first whose circuit is closed, or will be soonest."""
    return min(models, key=lambda model: model.breaker.wait_s())


async def ask(models: Sequence[Model], call: Callable[[Model], Awaitable[_T]]) -> Answered[_T]:
    """The first answer that ``call`` gets from ``models``.

    A model that is down is asked again after a pause, as often as its settings allow, then the
    next one is. Raises the last UpstreamError, or at once one that is the request's own fault.
    """
    failure: UpstreamError | None = None
    for model in models:
        try:
            return Answered(model, await _ask_again(model, call))
        except UpstreamError as error:
            if not is_down(error):
                raise
            # That a circuit is open says less than why a call before failed.
            if failure is None or not isinstance(error, CircuitOpenError):
                failure = error
    assert failure is not None, "a chain has at least one model"
    raise failure


async def ask_in_time(
    models: Sequence[Model],
    call: Callable[[Model], Awaitable[_T]],
    arrival: Arrival,
    deadline_s: float | None,
) -> Answered[_T]:
    """As `ask`, for no longer than until ``deadline_s`` after the request's arrival, if there is
    such a time. UpstreamTimeoutError names the header that sets it."""
    if deadline_s is None:
        return await ask(models, call)
    try:
        async with asyncio.timeout(deadline_s - arrival.elapsed_s()):
            return await ask(models, call)
    except TimeoutError as error:
        raise UpstreamTimeoutError(
            f"The upstream did not answer within the request's {deadline_s:g} s.",
            "x-protege-deadline",
        ) from error


async def _ask_again(model: Model, call: Callable[[Model], Awaitable[_T]]) -> _T:
    """One model's answer, after as many retries as it takes and its settings allow."""
    for retry in range(model.retries + 1):
        if not model.breaker.allows():
            raise CircuitOpenError(
                f"The upstream of {model.upstream.model} has failed too often and rests.",
                retry_after_s=model.breaker.wait_s(),
            )
        try:
            value = await call(model)
        except UpstreamError as error:
            _tell(model, error)
            pause = _pause_s(error, retry)
            if retry == model.retries or pause is None:
                raise
            _log.info(
                "%s failed and is asked again in %.2f s: %s", model.upstream.model, pause, error
            )
        else:
            model.breaker.succeeded()
            return value
        await asyncio.sleep(pause)
    raise AssertionError("the last call returns or raises")


def is_down(error: UpstreamError) -> bool:
    """Whether the upstream is to blame, not the request."""
    if isinstance(error, UpstreamRefusedError):
        return error.status in (408, 429) or error.status >= 500
    return True


def _tell(model: Model, error: UpstreamError) -> None:
    """Let the breaker know. An upstream that limits its callers is alive."""
    if not is_down(error) or (isinstance(error, UpstreamRefusedError) and error.status == 429):
        model.breaker.succeeded()
    else:
        model.breaker.failed()


def _pause_s(error: UpstreamError, retry: int) -> float | None:
    """Seconds to wait before the next call; None where another would not help.

    Exponential back-off with full jitter: Brooker, "Exponential Backoff And Jitter" (AWS
    Architecture Blog, 2015).
    """
    # It has taken its time already, another call would double the wait; or its key stays wrong.
    if isinstance(error, UpstreamTimeoutError | UpstreamKeyError) or not is_down(error):
        return None
    backoff = random.uniform(0.5, 1.0) * FIRST_PAUSE_S * 2.0**retry
    if isinstance(error, UpstreamUnreachableError | UpstreamBrokenError):
        return min(backoff, LONGEST_PAUSE_S)
    assert isinstance(error, UpstreamRefusedError)
    if error.retry.get("x-should-retry") == "false":
        return None
    asked = error.wait_s()
    if asked is None:
        return min(backoff, LONGEST_PAUSE_S)
    # A little later than told, and not all callers at once.
    return asked + backoff if asked <= LONGEST_PAUSE_S else None
