"""When audits were recorded and of which slice, and an index that has them in that order."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("exchanges", sa.Column("audited", sa.Float))
    op.add_column("exchanges", sa.Column("stratum", sa.String))
    audited = sa.column("agreed").is_not(None)
    op.drop_index("exchanges_audits", "exchanges")
    op.create_index(
        "exchanges_audits",
        "exchanges",
        ["student", "reason", "audited", "created", "id", "agreed", "stratum"],
        sqlite_where=audited,
        postgresql_where=audited,
    )
