"""Silences."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: In the order of its characters, on PostgreSQL, too.
_KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the table of silences."""
    op.create_table(
        "silences",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("state", _KEY, nullable=False),
        sa.Column("at", _KEY, nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_silences"),
    )
    op.create_index("ix_silences_at_id", "silences", ["at", "id"])
    op.create_index("ix_silences_state", "silences", ["state"])
