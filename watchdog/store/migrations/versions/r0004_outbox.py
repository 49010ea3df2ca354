"""What waits in the outbox: what goes first, what belongs together, and who has it in hand."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

#: In the order of its characters, on PostgreSQL, too.
_KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")
_OUTBOX = sa.table(
    "outbox",
    *(sa.column(name) for name in ("key", "state", "rank", "conversation", "doc")),
)
#: So many rows are in memory at once.
_BATCH = 500


def upgrade() -> None:
    """Add what messages are looked up by, and fill it in for those that wait; the others are only kept."""
    for name in ("conversation", "gathering", "reference"):
        op.add_column("outbox", sa.Column(name, _KEY, nullable=False, server_default=""))
    op.add_column("outbox", sa.Column("rank", sa.Integer(), nullable=False, server_default="1"))
    for name in ("holder", "held_until"):
        op.add_column("outbox", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.drop_index("ix_outbox_state_due_at_number", table_name="outbox")
    for columns in (
        ["state", "rank", "due_at", "number", "channel"],
        ["channel", "conversation", "number"],
        ["channel", "gathering", "state"],
    ):
        op.create_index(f"ix_outbox_{'_'.join(columns)}", "outbox", columns)
    if not context.is_offline_mode():
        _fill_in()


def _fill_in() -> None:
    connection, last = op.get_bind(), ""
    while True:
        query = (
            sa.select(_OUTBOX.c.key, _OUTBOX.c.doc)
            .where(_OUTBOX.c.state == "pending", _OUTBOX.c.key > last)
            .order_by(_OUTBOX.c.key)
            .limit(_BATCH)
        )
        rows = connection.execute(query).all()
        for key, doc in rows:
            change = sa.update(_OUTBOX).where(_OUTBOX.c.key == key)
            connection.execute(change.values(**_of(json.loads(doc)["message"])))
        if len(rows) < _BATCH:
            return
        last = rows[-1].key


def _of(message: dict[str, Any]) -> dict[str, Any]:
    urgent = message.get("needs_human", False) or message.get("severity") == "critical"
    return {"rank": 0 if urgent else 1, "conversation": message.get("incident") or ""}
