"""Dialects, metadata, feedback, all choices of a completion, and virtual keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ADDED = (
    sa.Column("dialect", sa.String, nullable=False, server_default="chat"),
    sa.Column("original", sa.Text),
    sa.Column("metadata", sa.Text),
    sa.Column("completion_id", sa.String),
    sa.Column("error", sa.String),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="1"),
    sa.Column("cached_tokens", sa.Integer, nullable=False, server_default="0"),
    sa.Column("reasoning_tokens", sa.Integer, nullable=False, server_default="0"),
    sa.Column("student_answer", sa.Text),
    sa.Column("propensity", sa.Float),
    sa.Column("decision", sa.Text),
    sa.Column("audit_latency_s", sa.Float),
    sa.Column("key", sa.String),
    sa.Column("score", sa.Float),
    sa.Column("right_answer", sa.Text),
    sa.Column("comment", sa.Text),
)


def upgrade() -> None:
    for column in ADDED:
        op.add_column("exchanges", column)
    op.execute("UPDATE exchanges SET attempts = 0 WHERE route = 'student'")
    keep_all_choices()
    op.create_index("exchanges_created", "exchanges", ["created"])
    op.drop_index("exchanges_task_created", "exchanges")
    op.create_index("exchanges_task_created", "exchanges", ["task", "created", "route", "agreed"])
    op.create_index("exchanges_completion", "exchanges", ["completion_id"])
    op.create_index("exchanges_key", "exchanges", ["key", "created", "cost", "audit_cost"])
    op.drop_index("exchanges_usable", "exchanges")
    op.create_index(
        "exchanges_usable",
        "exchanges",
        ["task", "created"],
        sqlite_where=usable(),
        postgresql_where=usable(),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("hint", sa.String, nullable=False),
        sa.Column("hash", sa.String, nullable=False, unique=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float),
        sa.Column("revoked", sa.Float),
        sa.Column("old_hash", sa.String),
        sa.Column("old_expires", sa.Float),
        sa.Column("admin", sa.Boolean, nullable=False),
        sa.Column("budget", sa.BigInteger),
        sa.Column("period", sa.String, nullable=False),
        sa.Column("requests_per_minute", sa.BigInteger),
        sa.Column("tokens_per_minute", sa.BigInteger),
        sa.Column("models", sa.JSON),
        sa.Column("tasks", sa.JSON),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )


def keep_all_choices() -> None:
    """``response`` was the first choice's message; ``choices`` are the completion's, whole."""
    op.alter_column("exchanges", "response", new_column_name="choices")
    choices, finish_reason = sa.column("choices", sa.Text), sa.column("finish_reason", sa.Text)
    sqlite = op.get_bind().dialect.name == "sqlite"
    quoted = sa.func.json_quote(finish_reason) if sqlite else sa.func.to_json(finish_reason)
    choice = (
        sa.literal('{"index":0,"message":')
        + choices
        + ',"logprobs":null,"finish_reason":'
        + sa.func.coalesce(sa.cast(quoted, sa.Text), "null")
        + "}"
    )
    exchanges = sa.table("exchanges", choices)
    op.execute(sa.update(exchanges).where(choices.is_not(None)).values(choices="[" + choice + "]"))


def usable() -> sa.ColumnElement[bool]:
    """In the words that queries use: only then is the index used for them."""
    score, agreed = sa.column("score", sa.Float), sa.column("agreed", sa.Boolean)
    half = sa.literal_column("0.5", sa.Float)
    approved = sa.or_(
        score.is_(None),
        sa.and_(score >= half, agreed.is_not(sa.false())),
        sa.and_(score < half, agreed.is_(sa.false())),
    )
    answered = sa.and_(
        sa.column("teacher_answer").is_not(None),
        sa.column("finish_reason") == sa.literal_column("'stop'"),
        approved,
    )
    return sa.and_(
        sa.column("request").is_not(None),
        sa.or_(sa.column("right_answer").is_not(None), answered),
    )
