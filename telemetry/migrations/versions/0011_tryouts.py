"""Tryouts of hosted models, and what they cost."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "tryouts",
        sa.Column("exchange", sa.String, primary_key=True),
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("task", sa.String, nullable=False),
        sa.Column("agreed", sa.Boolean, nullable=False),
        sa.Column("chance", sa.Float, nullable=False),
        sa.Column("cost", sa.BigInteger, nullable=False),
        sa.Column("extra", sa.Boolean, nullable=False),
        sa.Column("latency_s", sa.Float, nullable=False),
    )
    op.create_index("tryouts_task", "tryouts", ["task", "model", "created"])
    extra = sa.column("extra", sa.Boolean).is_(sa.true())
    op.create_index(
        "tryouts_spent", "tryouts", ["created", "cost"], sqlite_where=extra, postgresql_where=extra
    )
    for table in ("exchanges", "hourly_sums", "daily_sums"):
        op.add_column(
            table, sa.Column("tryout_cost", sa.BigInteger, nullable=False, server_default="0")
        )
    op.drop_index("exchanges_key", "exchanges")
    op.create_index(
        "exchanges_key", "exchanges", ["key", "created", "cost", "audit_cost", "tryout_cost"]
    )
