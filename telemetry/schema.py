"""The tables of the store."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    and_,
    case,
    false,
    literal_column,
    or_,
    true,
)

metadata = MetaData()


def _only(condition: ColumnElement[bool]) -> dict[str, Any]:
    """An index of the rows that meet ``condition`` alone."""
    return {"sqlite_where": condition, "postgresql_where": condition}


exchanges = Table(
    "exchanges",
    metadata,
    Column("id", String, primary_key=True),
    Column("created", Float, nullable=False),
    Column("task", String, nullable=False),
    Column("route", String, nullable=False),
    Column("model", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("sampled", Boolean, nullable=False),
    Column("confidence", Float),
    Column("student", String),
    Column("student_answer", Text),
    Column("stratum", String),
    Column("propensity", Float),
    Column("decision", Text),
    Column("request", Text),
    Column("dialect", String, nullable=False, server_default="chat"),
    Column("original", Text),
    Column("metadata", Text),
    Column("answer", Text),
    Column("teacher_answer", Text),
    Column("choices", Text),
    Column("repeats", Text),
    Column("completion_id", String),
    Column("agreed", Boolean),
    Column("audited", Float),
    Column("finish_reason", String),
    Column("error", String),
    Column("attempts", Integer, nullable=False, server_default="1"),
    Column("key", String),
    Column("score", Float),
    Column("right_answer", Text),
    Column("comment", Text),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("cached_tokens", Integer, nullable=False, server_default="0"),
    Column("reasoning_tokens", Integer, nullable=False, server_default="0"),
    Column("cost", BigInteger, nullable=False),
    Column("teacher_cost", BigInteger, nullable=False),
    Column("audit_cost", BigInteger, nullable=False),
    Column("audit_latency_s", Float),
    Column("tryout_cost", BigInteger, nullable=False, server_default="0"),
    Column("latency_s", Float, nullable=False),
    Column("first_token_s", Float),
    Index("exchanges_created", "created"),
    # The columns after the second are there so that a task's use is counted in the index alone.
    Index("exchanges_task_created", "task", "created", "route", "agreed"),
    Index("exchanges_completion", "completion_id"),
    Index("exchanges_key", "key", "created", "cost", "audit_cost", "tryout_cost"),
    # All that is counted of audits is in the index, in their order.
    Index(
        "exchanges_audits",
        *("student", "reason", "audited", "created", "id", "agreed", "stratum"),
        **_only(Column("agreed").is_not(None)),
    ),
)

tryouts = Table(
    "tryouts",
    metadata,
    Column("exchange", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("created", Float, nullable=False),
    Column("task", String, nullable=False),
    Column("agreed", Boolean, nullable=False),
    Column("chance", Float, nullable=False),
    Column("cost", BigInteger, nullable=False),
    Column("extra", Boolean, nullable=False),
    Column("latency_s", Float, nullable=False),
    Index("tryouts_task", "task", "model", "created"),
    Index("tryouts_spent", "created", "cost", **_only(Column("extra", Boolean).is_(true()))),
)

students = Table(
    "students",
    metadata,
    Column("version", String, primary_key=True),
    Column("task", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("path", String, nullable=False),
    Column("serving", Boolean, nullable=False),
    Column("verdict", String, nullable=False),
    Column("card", Text, nullable=False),
    Column("earned", Float),
    Column("stage", String),
    Index("students_task", "task", "created"),
)

trials = Table(
    "trials",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("student", String, nullable=False),
    Column("stage", String, nullable=False),
    Column("exchange", String, nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("took_s", Float, nullable=False),
    Column("answered", Boolean, nullable=False),
    Column("agreed", Boolean),
    Index("trials_student", "student", "stage"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("task", String, primary_key=True),
    Column("epoch", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("tested_on", Integer, nullable=False),
    Column("trained_on", Integer, nullable=False),
    Column("trained_at", Float, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("hint", String, nullable=False),
    Column("hash", String, nullable=False, unique=True),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("revoked", Float),
    Column("old_hash", String),
    Column("old_expires", Float),
    Column("admin", Boolean, nullable=False),
    Column("budget", BigInteger),
    Column("period", String, nullable=False),
    Column("requests_per_minute", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("models", JSON(none_as_null=True)),
    Column("tasks", JSON(none_as_null=True)),
    Column("revision", BigInteger, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("hash", String, primary_key=True),
    Column("key", String, nullable=False),
    Column("expires", Float, nullable=False),
)

training_runs = Table(
    "training_runs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task", String, nullable=False),
    Column("ended", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("outcome", String, nullable=False),
    Column("examples", Integer, nullable=False),
    Column("model", String, nullable=False, server_default="auto"),
    Column("cpu_s", Float),
    Column("cost", BigInteger),
    Column("saving", BigInteger),
    Index("training_runs_task", "task", "id"),
)

service_changes = Table(
    "service_changes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("task", String, nullable=False),
    Column("changed", Float, nullable=False),
    Column("change", String, nullable=False),
    Column("cause", String, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("id", String, primary_key=True),
    Column("created", Float, nullable=False),
    Column("name", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Index("files_created", "created", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String, primary_key=True),
    Column("created", Float, nullable=False),
    Column("task", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("model", String, nullable=False),
    Column("file", String),
    Column("suffix", String),
    Column("seed", BigInteger, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("status", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Whose it is to run, and until when: who has died does not renew it.
    Column("claim", String),
    Column("claimed_until", Float),
    Column("finished", Float),
    Column("student", String),
    Column("error", String),
    Index("jobs_created", "created", "id"),
    # Looked at several times a second.
    Index("jobs_open", "created", **_only(Column("finished").is_(None))),
)

job_events = Table(
    "job_events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("level", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("data", Text),
    Index("job_events_job", "job", "id"),
)


def _sums(name: str, period: str) -> Table:
    """Sums of exchanges by all of their dimensions, a row for each group in each ``period``."""
    counts = (
        *("requests", "errors", "by_student", "audits", "disagreements", "promised_audits"),
        *("promised_disagreements", "prompt_tokens", "completion_tokens", "cost", "teacher_cost"),
        *("student_teacher_cost", "audit_cost", "pairs", "pair_teacher_cost"),
    )
    inexact = ("predicted_squared", "real_squared", "predicted_times_real", "latency_s")
    return Table(
        name,
        metadata,
        # Its number, counted from Unix time 0.
        Column(period, BigInteger, primary_key=True, autoincrement=False),
        *(Column(name, String, primary_key=True) for name in ("task", "route", "model", "key")),
        *(Column(name, BigInteger, nullable=False) for name in counts),
        Column("tryout_cost", BigInteger, nullable=False, server_default="0"),
        Column("pair_audit_cost", BigInteger, nullable=False, server_default="0"),
        *(Column(name, Float, nullable=False) for name in inexact),
        sqlite_with_rowid=False,
    )


hourly_sums = _sums("hourly_sums", "hour")
daily_sums = _sums("daily_sums", "day")

# One row: how far the sums above go.
rolled_up = Table(
    "rolled_up",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    # The first hour that is not in them.
    Column("until", BigInteger, nullable=False),
    # Transactions so far that changed what may be in them already.
    Column("late", BigInteger, nullable=False),
)

# Chat completions that can be shown again.
STORED = (
    exchanges.c.dialect == "chat",
    exchanges.c.status == 200,
    exchanges.c.finish_reason.is_not(None),
    exchanges.c.request.is_not(None),
    exchanges.c.completion_id.is_not(None),
)

# A score is for the answer that the caller got. Where an audit found that the teacher says
# something else, it tells the opposite of the teacher's answer.
_APPROVED = or_(
    exchanges.c.score.is_(None),
    and_(exchanges.c.score >= literal_column("0.5"), exchanges.c.agreed.is_not(false())),
    and_(exchanges.c.score < literal_column("0.5"), exchanges.c.agreed.is_(false())),
)

# A truncated, filtered or broken answer is never training data, and neither is one that a person
# has called wrong without saying what is right. Literal words are part of the SQL text, not
# parameters, so that the database knows the index below for the one to use.
USABLE = (
    exchanges.c.request.is_not(None),
    or_(
        exchanges.c.right_answer.is_not(None),
        and_(
            exchanges.c.teacher_answer.is_not(None),
            exchanges.c.finish_reason == literal_column("'stop'"),
            _APPROVED,
        ),
    ),
)

# Of a student's answer: its audit is back, be the teacher's answer one to compare with or not. The
# time of an audit was not always written down.
ANSWERED = or_(exchanges.c.agreed.is_not(None), exchanges.c.audited.is_not(None))

# Why an exchange is not USABLE; of several reasons the first. Opting out and forgetting leave the
# same behind.
LEFT_OUT = case(
    (exchanges.c.request.is_(None), "not_stored"),
    (exchanges.c.finish_reason.is_(None), "failed"),
    (exchanges.c.finish_reason == "length", "truncated"),
    (exchanges.c.finish_reason == "content_filter", "filtered"),
    (exchanges.c.teacher_answer.is_(None), "no_text"),
    (exchanges.c.finish_reason == "stop", "called_wrong"),
    else_="unfinished",
)

Index("exchanges_usable", exchanges.c.task, exchanges.c.created, **_only(and_(*USABLE)))
