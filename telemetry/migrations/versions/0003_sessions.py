"""Sessions of the console."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("hash", sa.String, primary_key=True),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("expires", sa.Float, nullable=False),
    )
