"""The exchanges of Protege's own store.

Only those that are a uniform sample of their task's traffic count, for which the teacher's answer
was to be had whatever the policy decided. Before a task's first student that is all of them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager

import orjson
from sqlalchemy import and_, func, or_, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from config.settings import Settings
from router.estimate.logged import Bad, EstimateError, Logged, logged
from telemetry.exchange import Exchange
from telemetry.prices import Usage
from telemetry.schema import ANSWERED, exchanges
from telemetry.store import Store, StoreError

_AT_ONCE = 500

_USED = and_(
    exchanges.c.sampled,
    exchanges.c.status == 200,
    exchanges.c.dialect != "embeddings",
    exchanges.c.request.is_not(None),
    or_(
        exchanges.c.route == "teacher",
        and_(exchanges.c.route == "student", ANSWERED),
    ),
)


class Stored:
    """The store of the settings."""

    def __init__(self, settings: Settings) -> None:
        """Raises EstimateError where there is none, or it cannot be read."""
        if not Store.exists(settings.data, settings.database):
            raise EstimateError(f"{settings.data}: no store in it")
        try:
            self._store = Store(settings.data, settings.database)
            with self._store.engine.connect() as connection:
                self.size = int(connection.scalar(select(func.count()).where(_USED)) or 0)
        except OSError as error:
            raise EstimateError(f"{settings.data}: {error.strerror}") from error
        except (SQLAlchemyError, StoreError) as error:
            raise _failed(error) from error
        self.title = "the store" if settings.database else f"the store in {settings.data}"
        self.read = 0

    @contextmanager
    def rows(self) -> Generator[Iterator[Logged | Bad], None, None]:
        try:
            yield self._rows()
        finally:
            self._store.close()

    def _rows(self) -> Iterator[Logged | Bad]:
        query = select(exchanges).where(_USED).order_by(exchanges.c.created, exchanges.c.id)
        try:
            with self._store.engine.connect().execution_options(yield_per=_AT_ONCE) as connection:
                for row in connection.execute(query):
                    self.read += 1
                    yield _read(Exchange(**row._mapping))
        except SQLAlchemyError as error:
            raise _failed(error) from error


def _read(exchange: Exchange) -> Logged | Bad:
    usage = Usage(
        exchange.prompt_tokens,
        exchange.completion_tokens,
        exchange.cached_tokens,
        exchange.reasoning_tokens,
    )
    try:
        body = orjson.loads(exchange.request or "")
        if not isinstance(body, dict):
            raise ValueError("its request is no JSON object")
        # The task that it was served as, whichever way that was found.
        body["metadata"] = {"task": exchange.task}
        return logged(
            body,
            _answer(exchange),
            usage=usage,
            cost=exchange.teacher_cost,
            created=exchange.created,
            right_answer=exchange.right_answer,
        )
    except ValueError as error:
        return Bad(exchange.id, str(error))


def _answer(exchange: Exchange) -> str | None:
    """The teacher's whole answer, unless a person has called it wrong without putting it right."""
    # A score is for what the caller got: a good one speaks against a teacher that said otherwise.
    liked = exchange.score is None or (exchange.score >= 0.5) == (exchange.agreed is not False)
    counts = liked or exchange.right_answer is not None
    return exchange.teacher_answer if exchange.finish_reason == "stop" and counts else None


def _failed(error: Exception) -> EstimateError:
    if isinstance(error, StoreError):
        return EstimateError(str(error))
    reason = error.orig if isinstance(error, DBAPIError) else error
    return EstimateError(f"the store cannot be read: {' '.join(str(reason).split())}")
