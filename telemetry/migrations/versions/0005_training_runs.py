"""Training runs, and an index from which alone audits are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "training_runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("task", sa.String, nullable=False),
        sa.Column("ended", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("examples", sa.Integer, nullable=False),
    )
    op.create_index("training_runs_task", "training_runs", ["task", "id"])
    audited = sa.column("agreed").is_not(None)
    op.drop_index("exchanges_audits", "exchanges")
    op.create_index(
        "exchanges_audits",
        "exchanges",
        ["student", "reason", "agreed"],
        sqlite_where=audited,
        postgresql_where=audited,
    )
