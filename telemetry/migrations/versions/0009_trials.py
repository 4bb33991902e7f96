"""Students that come into service step by step, and what each step showed of them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("students", sa.Column("stage", sa.String))
    op.create_table(
        "trials",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("student", sa.String, nullable=False),
        sa.Column("stage", sa.String, nullable=False),
        sa.Column("exchange", sa.String, nullable=False),
        sa.Column("failed", sa.Boolean, nullable=False),
        sa.Column("took_s", sa.Float, nullable=False),
        sa.Column("answered", sa.Boolean, nullable=False),
        sa.Column("agreed", sa.Boolean),
    )
    op.create_index("trials_student", "trials", ["student", "stage"])
