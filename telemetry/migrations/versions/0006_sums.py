"""Sums of exchanges by the hour and by the day."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

COUNTS = (
    *("requests", "errors", "by_student", "audits", "disagreements", "promised_audits"),
    *("promised_disagreements", "prompt_tokens", "completion_tokens", "cost", "teacher_cost"),
    *("student_teacher_cost", "audit_cost", "pairs", "pair_teacher_cost"),
)
INEXACT = ("predicted_squared", "real_squared", "predicted_times_real", "latency_s")


def upgrade() -> None:
    for name, period in (("hourly_sums", "hour"), ("daily_sums", "day")):
        op.create_table(
            name,
            sa.Column(period, sa.BigInteger, primary_key=True, autoincrement=False),
            *(
                sa.Column(group, sa.String, primary_key=True)
                for group in ("task", "route", "model", "key")
            ),
            *(sa.Column(count, sa.BigInteger, nullable=False) for count in COUNTS),
            *(sa.Column(number, sa.Float, nullable=False) for number in INEXACT),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "rolled_up",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("late", sa.BigInteger, nullable=False),
    )
