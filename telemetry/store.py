"""The exchange store: every exchange, and what is known of it.

SQLite in WAL mode, or PostgreSQL. All methods block; the event loop goes through
``telemetry.writer`` for writes and through a thread for reads.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    case,
    false,
    func,
    not_,
    or_,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.exc import DBAPIError

from telemetry import migrations, sqlite, tryouts
from telemetry.audits import NO_AUDITS, AuditBlocks, blocks_by_version
from telemetry.exchange import Exchange
from telemetry.measures import REQUESTS
from telemetry.pairs import has_pair
from telemetry.rollup import corrected, late
from telemetry.roster import Roster
from telemetry.schema import ANSWERED, LEFT_OUT, STORED, USABLE, exchanges, tasks
from telemetry.tryouts import Tryout
from telemetry.upsert import upsert

_FILE = "protege.db"
"""Of SQLite, in the data folder."""


RETRY_S = 1.0
"""Time between two attempts to open a store that is waited for."""

_Opened = TypeVar("_Opened")
_log = logging.getLogger(__name__)


class StoreError(Exception):
    """The store cannot be opened. In one line, without the password."""


@dataclass(frozen=True, slots=True)
class Audit:
    """The teacher's answer to a request that a student had answered."""

    id: str
    teacher_answer: str | None
    """None with ``store: false``."""
    agreed: bool | None
    """None where the teacher's own answer was cut off, filtered or no text: it says nothing."""
    audit_cost: int
    """Picodollars."""
    audit_latency_s: float | None = None
    """Seconds until the teacher had answered."""
    audited: float | None = None
    """Unix time at which it was recorded: audits count in this order."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """What the teacher said when it was asked again for an answer of its own."""

    id: str
    repeats: str | None
    """A JSON array of texts; None where it said nothing to compare."""
    audit_cost: int
    """Picodollars."""


Place = tuple[float, str]
"""An exchange's ``created`` and ``id``: where it stands among others."""


@dataclass(frozen=True, slots=True)
class StoredPage:
    """Which stored completions are asked for."""

    limit: int
    newest_first: bool = False
    after: Place | None = None
    model: str | None = None
    """The one that answered."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Pairs that a completion's metadata must have."""


@dataclass(frozen=True, slots=True)
class TaskUse:
    """What became of a task's requests."""

    task: str
    requests: int
    by_student: int
    audits: int
    agreements: int
    """Audits in which the teacher gave the student's answer."""


_TEXTS = (
    "student_answer",
    "request",
    "original",
    "metadata",
    "answer",
    "teacher_answer",
    "choices",
    "repeats",
    "right_answer",
    "comment",
)
"""Columns that hold what callers and models have said."""

_FORGOTTEN: dict[str, None] = dict.fromkeys(_TEXTS)

_IN_REACH = 5_000
"""Newest answers of a task among which those of its teacher's models are looked for."""

_BATCH = 500
"""Exchanges that are forgotten in one transaction."""


class Store:
    """What is kept in the PostgreSQL ``database``, or else in a SQLite file in the folder ``data``.

    Safe to use from several threads and processes at once. A database of an older version becomes
    one of this version. Raises StoreError, ConfigError for a URL that is none, or OSError.
    """

    def __init__(self, data: Path, database: SecretStr | None = None) -> None:
        # What callers have said is nobody else's on this machine, whatever the umask says.
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.data = data
        """The folder, which has the students' files too."""
        self.engine = sqlite.connect(data / _FILE) if database is None else _postgres(database)
        try:
            migrations.upgrade(self.engine)
        except (DBAPIError, migrations.NewerSchemaError) as error:
            where = f"store in {data}" if database is None else "database"
            reason = error.orig if isinstance(error, DBAPIError) else error
            raise StoreError(f"cannot open the {where}: {' '.join(str(reason).split())}") from error
        self.roster = Roster(self.engine)
        """The students, and what the learning loop remembers of tasks."""
        self._addition = _Addition.to(self.engine)
        self._hasty = sqlite.connect_hasty(data / _FILE) if database is None else None

    @staticmethod
    def exists(data: Path, database: SecretStr | None = None) -> bool:
        """Whether there is a store already. A database is taken to be one."""
        return database is not None or (data / _FILE).is_file()

    def close(self) -> None:
        self.engine.dispose()
        if self._hasty is not None:
            self._hasty.dispose()

    # Exchanges

    def write(
        self,
        new: Sequence[Exchange],
        audits: Sequence[Audit | Repeat] = (),
        tried: Sequence[Tryout] = (),
    ) -> None:
        """Add exchanges, and audits, repeats and tryouts of exchanges, in one transaction.

        Those that are there already stay as they are, so that whoever does not know what became
        of a transaction can repeat it.
        """
        changed = [audit.id for audit in audits] + [tryout.exchange for tryout in tried]
        with self.engine.begin() as connection:
            summed = late(connection, new, changed, time.time())
            with corrected(connection, summed):
                self._add(connection, new)
                _complete(connection, audits)
                for tryout in tried:
                    tryouts.add(connection, tryout)

    def write_at_once(self, exchange: Exchange) -> bool:
        """Add an exchange if that takes no waiting, and return whether it did.

        It is over in a fraction of a millisecond, so that an event loop may do it. A database over
        the network, or one that somebody else is writing to, is left alone.
        """
        if self._hasty is None:
            return False
        try:
            with self._hasty.begin() as connection:
                summed = late(connection, [exchange], [], time.time())
                with corrected(connection, summed):
                    self._add(connection, [exchange])
        except DBAPIError:
            return False
        return True

    def exchange(self, identifier: str) -> Exchange | None:
        rows = self._exchanges(exchanges.c.id == identifier)
        return rows[0] if rows else None

    def teacher_answers(
        self, task: str, since: float = 0.0, most: int | None = None
    ) -> list[Exchange]:
        """Exchanges of ``task`` from Unix time ``since`` on whose teacher answer is complete and
        stored, oldest first and those of one moment by their ids; the newest ``most`` of them,
        where imported pairs have no more than half of the places."""
        ours = (exchanges.c.task == task, exchanges.c.created >= since)
        query = select(exchanges).where(*USABLE, *ours).order_by(*_order(newest_first=True))
        asked = query.where(REQUESTS).limit(most)
        imported = query.where(not_(REQUESTS)).limit(None if most is None else most // 2)
        with self.engine.connect() as connection:
            newest = [*connection.execute(asked), *connection.execute(imported)]
        newest.sort(key=attrgetter("created", "id"), reverse=True)
        return [Exchange(**row._mapping) for row in newest[:most]][::-1]

    def newest_models(self, task: str, since: float, most: int) -> list[str]:
        """The models of the newest ``most`` usable answers that the teacher gave to callers of
        ``task``, made from Unix time ``since`` on; the newest first. Those that lie behind
        thousands of audits or imported pairs are not looked for."""
        of = exchanges.c
        query = (
            select(of.created, of.route, of.model)
            .where(*USABLE, of.task == task, of.created >= since)
            .order_by(of.created.desc())
            .limit(_IN_REACH)
            .subquery()
        )
        theirs = select(query.c.model).where(query.c.route == "teacher")
        with self.engine.connect() as connection:
            newest = theirs.order_by(query.c.created.desc()).limit(most)
            return list(connection.scalars(newest))

    def newest_requests(self, task: str, since: float, most: int) -> list[str]:
        """The newest ``most`` requests of ``task`` that have a usable teacher answer, made from
        Unix time ``since`` on; the newest first."""
        of = exchanges.c
        ours = (*USABLE, REQUESTS, of.task == task, of.created >= since)
        query = select(of.request).where(*ours).order_by(of.created.desc()).limit(most)
        with self.engine.connect() as connection:
            return list(connection.scalars(query))

    def left_out(self, task: str, since: float = 0.0) -> dict[str, int]:
        """Answers to ``task`` from Unix time ``since`` on that are not among the teacher's that can
        be learnt from, counted by reason. What the teacher was not asked is none of them."""
        asked = or_(
            exchanges.c.route == "teacher",
            and_(exchanges.c.route == "student", ANSWERED),
        )
        ours = (exchanges.c.task == task, exchanges.c.created >= since)
        # It is neither true nor false where the answer never finished.
        usable = func.coalesce(and_(*USABLE), false())
        query = (
            select(LEFT_OUT.label("why"), func.count().label("answers"))
            .where(*ours, asked, not_(usable))
            .group_by("why")
        )
        with self.engine.connect() as connection:
            return {row.why: row.answers for row in connection.execute(query)}

    def teacher_answer_counts(self) -> dict[str, int]:
        """Usable teacher answers by task, each counted from the task's epoch on."""
        epoch = func.coalesce(tasks.c.epoch, 0.0)
        query = (
            select(exchanges.c.task, func.count().label("answers"))
            .outerjoin_from(exchanges, tasks, exchanges.c.task == tasks.c.task)
            .where(*USABLE, exchanges.c.created >= epoch)
            .group_by(exchanges.c.task)
        )
        with self.engine.connect() as connection:
            return {row.task: row.answers for row in connection.execute(query)}

    def import_pairs(self, pairs: Sequence[Exchange], since: float) -> int:
        """Add imported pairs, made from Unix time ``since`` on, in one transaction; how many.

        One that is there already stays as it is, unless its text is forgotten or it was made before
        ``since``: it is added anew. What people thought of it stays in any case.
        """
        if not pairs:
            return 0
        of, new = exchanges.c, upsert(self.engine, exchanges)
        statement = new.on_conflict_do_update(
            index_elements=[of.id],
            set_={name: new.excluded[name] for name in ("created", "request", "teacher_answer")},
            where=or_(of.request.is_(None), of.created < since),
        )
        with self.engine.begin() as connection:
            counting = connection.execution_options(preserve_rowcount=True)
            return counting.execute(statement, [_row(pair) for pair in pairs]).rowcount

    def audit_blocks(self, version: str) -> AuditBlocks:
        """The audits of a student, in order. Those of what it answered because it was sure: what
        it said because it was forced, or because the teacher was down, was never promised to be
        right."""
        return blocks_by_version(self.engine, [version]).get(version, NO_AUDITS)

    # Stored completions. ``owner`` is the id of the key whose exchanges alone are looked at; None
    # looks at all.

    def stored(self, completion_id: str, owner: str | None = None) -> Exchange | None:
        """The newest stored chat completion that its caller saw under this id."""
        query = _called(completion_id, owner).where(*STORED).order_by(*_order(newest_first=True))
        return self._first(query)

    def stored_page(self, page: StoredPage, owner: str | None = None) -> list[Exchange]:
        """Stored chat completions in the order of (created, id)."""
        query = select(exchanges).where(*STORED, *_owned(owner))
        if page.model is not None:
            query = query.where(exchanges.c.model == page.model)
        for key, value in page.metadata.items():
            query = query.where(has_pair(exchanges.c.metadata, key, value))
        if page.after is not None:
            place, after = tuple_(exchanges.c.created, exchanges.c.id), tuple_(*page.after)
            query = query.where(place < after if page.newest_first else place > after)
        query = query.order_by(*_order(page.newest_first)).limit(page.limit)
        with self.engine.connect() as connection:
            return [Exchange(**row._mapping) for row in connection.execute(query)]

    def place(
        self, completion_id: str, *, newest_first: bool, owner: str | None = None
    ) -> Place | None:
        """Where a page may go on after a completion, forgotten or not.

        Some upstreams give an id more than once: it is the last of them in the page's order, so
        that whoever goes from page to page comes to an end.
        """
        last = self._first(_called(completion_id, owner).order_by(*_order(not newest_first)))
        return (last.created, last.id) if last else None

    def annotate(self, identifier: str, metadata: str) -> None:
        """Replace an exchange's metadata, JSON of an object of strings."""
        self._change(identifier, metadata=metadata)

    def forget(self, identifier: str) -> None:
        """Keep no text of an exchange; what it cost stays."""
        self._change(identifier, **_FORGOTTEN)

    def forget_before(self, horizon: float, since: float = 0.0) -> int:
        """Keep no text of the exchanges that were made from Unix time ``since`` on and before
        ``horizon``; how many there were. In batches, so that others can write meanwhile. No file of
        SQLite's has their words any more, unless somebody is reading or writing right then."""
        of = exchanges.c
        some = or_(*(of[name].is_not(None) for name in _TEXTS))
        forgotten = 0
        while True:
            # Each goes on where the last ended: what is forgotten is not gone through again.
            old = select(of.id, of.created).where(of.created >= since, of.created < horizon, some)
            with self.engine.connect() as connection:
                batch = connection.execute(old.order_by(of.created).limit(_BATCH)).all()
            if not batch:
                break
            since = batch[-1].created
            which = of.id.in_([row.id for row in batch])
            with self.engine.begin() as connection:
                connection.execute(update(exchanges).where(which).values(_FORGOTTEN))
            forgotten += len(batch)
        if forgotten and self._hasty is not None:
            sqlite.empty_log(self._hasty)
        return forgotten

    # Feedback

    def named(self, identifier: str, owner: str | None = None) -> Exchange | None:
        """The exchange of this id, or else the newest whose completion has it."""
        own = select(exchanges).where(exchanges.c.id == identifier, *_owned(owner))
        newest = _called(identifier, owner).order_by(*_order(newest_first=True))
        return self._first(own) or self._first(newest)

    def judge(self, identifier: str, opinion: Mapping[str, float | str]) -> None:
        """Keep what a person thought of an exchange: some of ``score``, ``right_answer`` and
        ``comment``. A score, a right answer or both take the place of what there was of the two:
        the last verdict counts. A comment that is not given stays as it was."""
        former = {} if opinion.keys() <= {"comment"} else dict.fromkeys(("score", "right_answer"))
        self._change(identifier, **{**former, **opinion})

    # Use

    def task_use(self, task: str, since: float, owner: str | None = None) -> TaskUse | None:
        """What has become of a task's requests since a Unix time; None where there are none."""
        uses = self._use(exchanges.c.task == task, since, owner, most=1)
        return uses[0] if uses else None

    def tasks_in_use(
        self, since: float, after: str, most: int, owner: str | None = None
    ) -> list[TaskUse]:
        """The use of the first ``most`` tasks whose names come after another."""
        return self._use(exchanges.c.task > after, since, owner, most)

    def _add(self, connection: Connection, new: Sequence[Exchange]) -> None:
        if new:
            parameters = [self._addition.parameters(exchange) for exchange in new]
            connection.exec_driver_sql(self._addition.sql, parameters)

    def _exchanges(self, *conditions: Any) -> list[Exchange]:
        query = select(exchanges).where(*conditions).order_by(exchanges.c.created)
        with self.engine.connect() as connection:
            return [Exchange(**row._mapping) for row in connection.execute(query)]

    def _first(self, query: Select[Any]) -> Exchange | None:
        with self.engine.connect() as connection:
            row = connection.execute(query.limit(1)).first()
            return None if row is None else Exchange(**row._mapping)

    def _use(
        self, which: ColumnElement[bool], since: float, owner: str | None, most: int
    ) -> list[TaskUse]:
        agreed = exchanges.c.agreed
        query = (
            select(
                exchanges.c.task,
                func.count().label("requests"),
                func.count(case((exchanges.c.route == "student", 1))).label("by_student"),
                func.count(agreed).label("audits"),
                func.count(case((agreed.is_(true()), 1))).label("agreements"),
            )
            .where(which, exchanges.c.created >= since, *_owned(owner))
            .where(exchanges.c.route.in_(("teacher", "student")))
            .group_by(exchanges.c.task)
            .order_by(exchanges.c.task)
            .limit(most)
        )
        with self.engine.connect() as connection:
            return [TaskUse(**row._mapping) for row in connection.execute(query)]

    def _change(self, identifier: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(exchanges).where(exchanges.c.id == identifier).values(values))


def once_open(
    make: Callable[[], _Opened], still_wanted: Callable[[], None] = lambda: None
) -> _Opened:
    """What ``make`` gives, which opens a store: where it raises StoreError it is called again every
    second, which is logged once. Meanwhile ``still_wanted`` may raise."""
    told = False
    while True:
        try:
            return make()
        except StoreError as error:
            if not told:
                _log.error("the store is waited for: %s", error)
            told = True
        time.sleep(RETRY_S)
        still_wanted()


def _owned(owner: str | None) -> tuple[ColumnElement[bool], ...]:
    return () if owner is None else (exchanges.c.key == owner,)


def _called(completion_id: str, owner: str | None) -> Select[Any]:
    return select(exchanges).where(exchanges.c.completion_id == completion_id, *_owned(owner))


def _order(newest_first: bool) -> list[ColumnElement[Any]]:
    place = (exchanges.c.created, exchanges.c.id)
    return [each.desc() if newest_first else each.asc() for each in place]


@dataclass(frozen=True, slots=True)
class _Addition:
    """Adds exchanges that are not there yet. It is compiled once: SQLAlchemy's way through every
    value of every exchange takes as long as the database does."""

    sql: str
    parameters: Callable[[Exchange], Any]

    @classmethod
    def to(cls, engine: Engine) -> _Addition:
        """For the database of ``engine``, in the style of its driver."""
        statement = upsert(engine, exchanges).on_conflict_do_nothing()
        compiled = statement.compile(engine, column_keys=list(Exchange.__slots__))
        names = compiled.positiontup
        return cls(str(compiled), _row if names is None else attrgetter(*names))


def _row(exchange: Exchange) -> dict[str, Any]:
    return {name: getattr(exchange, name) for name in Exchange.__slots__}


def _complete(connection: Connection, audits: Sequence[Audit | Repeat]) -> None:
    """Write down what was asked beside exchanges."""
    for audit in audits:
        values = dataclasses.asdict(audit)
        del values["id"]
        connection.execute(update(exchanges).where(exchanges.c.id == audit.id).values(values))


def _postgres(database: SecretStr) -> Engine:
    from telemetry import postgres

    return postgres.connect(database)
