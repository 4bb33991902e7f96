"""Which students came into service and went out of it, and on whose word."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "service_changes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("task", sa.String, nullable=False),
        sa.Column("changed", sa.Float, nullable=False),
        sa.Column("change", sa.String, nullable=False),
        sa.Column("cause", sa.String, nullable=False),
    )
    # Until now training runs alone told who had been promoted.
    op.execute(
        "INSERT INTO service_changes (task, changed, change, cause) "
        "SELECT task, ended, 'promoted', 'loop' FROM training_runs WHERE outcome = 'promoted'"
    )
