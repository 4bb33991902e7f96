"""What the teacher said when it was asked again."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("exchanges", sa.Column("repeats", sa.Text))
