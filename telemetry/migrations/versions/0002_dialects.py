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
    sa.Column("key", sa.String),
    sa.Column("score", sa.Float),
    sa.Column("right_answer", sa.Text),
    sa.Column("comment", sa.Text),
)

USABLE = """
request IS NOT NULL AND (
    right_answer IS NOT NULL
    OR teacher_answer IS NOT NULL AND finish_reason = 'stop' AND (
        score IS NULL
        OR score >= 0.5 AND agreed IS NOT false
        OR score < 0.5 AND agreed IS false
    )
)
"""


def upgrade() -> None:
    for column in ADDED:
        op.add_column("exchanges", column)
    keep_all_choices()
    op.create_index("exchanges_created", "exchanges", ["created"])
    op.drop_index("exchanges_task_created", "exchanges")
    op.create_index("exchanges_task_created", "exchanges", ["task", "created", "route", "agreed"])
    op.create_index("exchanges_completion", "exchanges", ["completion_id"])
    op.create_index("exchanges_key", "exchanges", ["key", "created"])
    op.drop_index("exchanges_usable", "exchanges")
    usable = sa.text(USABLE)
    op.create_index(
        "exchanges_usable",
        "exchanges",
        ["task", "created"],
        sqlite_where=usable,
        postgresql_where=usable,
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
