"""What training runs took of a processor and cost, and what they could have saved."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column(
        "training_runs", sa.Column("model", sa.String, nullable=False, server_default="auto")
    )
    for name, kind in (("cpu_s", sa.Float), ("cost", sa.BigInteger), ("saving", sa.BigInteger)):
        op.add_column("training_runs", sa.Column(name, kind))
