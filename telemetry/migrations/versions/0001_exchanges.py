"""Exchanges, students and tasks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "exchanges",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("task", sa.String, nullable=False),
        sa.Column("route", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("sampled", sa.Boolean, nullable=False),
        sa.Column("confidence", sa.Float),
        sa.Column("student", sa.String),
        sa.Column("request", sa.Text),
        sa.Column("answer", sa.Text),
        sa.Column("teacher_answer", sa.Text),
        sa.Column("response", sa.Text),
        sa.Column("agreed", sa.Boolean),
        sa.Column("finish_reason", sa.String),
        sa.Column("prompt_tokens", sa.Integer, nullable=False),
        sa.Column("completion_tokens", sa.Integer, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("teacher_cost", sa.BigInteger, nullable=False),
        sa.Column("audit_cost", sa.BigInteger, nullable=False),
        sa.Column("latency_s", sa.Float, nullable=False),
        sa.Column("first_token_s", sa.Float),
    )
    op.create_index("exchanges_task_created", "exchanges", ["task", "created"])
    audited = sa.text("agreed IS NOT NULL")
    op.create_index(
        "exchanges_audits",
        "exchanges",
        ["student"],
        sqlite_where=audited,
        postgresql_where=audited,
    )
    usable = sa.text(
        "teacher_answer IS NOT NULL AND request IS NOT NULL AND finish_reason = 'stop'"
    )
    op.create_index(
        "exchanges_usable",
        "exchanges",
        ["task", "created"],
        sqlite_where=usable,
        postgresql_where=usable,
    )
    op.create_table(
        "students",
        sa.Column("version", sa.String, primary_key=True),
        sa.Column("task", sa.String, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("path", sa.String, nullable=False),
        sa.Column("serving", sa.Boolean, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("card", sa.Text, nullable=False),
    )
    op.create_index("students_task", "students", ["task", "created"])
    op.create_table(
        "tasks",
        sa.Column("task", sa.String, primary_key=True),
        sa.Column("epoch", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("tested_on", sa.Integer, nullable=False),
        sa.Column("trained_on", sa.Integer, nullable=False),
        sa.Column("trained_at", sa.Float, nullable=False),
    )
