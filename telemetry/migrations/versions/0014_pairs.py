"""What audited answers really cost in sums, apart from all that is asked beside answers."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    for table in ("hourly_sums", "daily_sums"):
        op.add_column(
            table, sa.Column("pair_audit_cost", sa.BigInteger, nullable=False, server_default="0")
        )
        # Sums are made of the exchanges again, in the background.
        op.execute(f"DELETE FROM {table}")
    op.execute("UPDATE rolled_up SET until = 0, late = late + 1")
