"""When a student took over its task, so that it can be rolled back to."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("students", sa.Column("earned", sa.Float))
    op.execute("UPDATE students SET earned = created WHERE serving OR verdict LIKE 'replaced by %'")
