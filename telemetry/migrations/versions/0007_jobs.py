"""Training jobs, what happened to them, and the files that they learn from."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_index("files_created", "files", ["created", "id"])
    op.create_table(
        "jobs",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("task", sa.String, nullable=False),
        sa.Column("origin", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("file", sa.String),
        sa.Column("suffix", sa.String),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("claim", sa.String),
        sa.Column("claimed_until", sa.Float),
        sa.Column("finished", sa.Float),
        sa.Column("student", sa.String),
        sa.Column("error", sa.String),
    )
    op.create_index("jobs_created", "jobs", ["created", "id"])
    unfinished = sa.column("finished").is_(None)
    op.create_index(
        "jobs_open", "jobs", ["created"], sqlite_where=unfinished, postgresql_where=unfinished
    )
    op.create_table(
        "job_events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job", sa.String, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("level", sa.String, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("data", sa.Text),
    )
    op.create_index("job_events_job", "job_events", ["job", "id"])
