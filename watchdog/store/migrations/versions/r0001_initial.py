"""The first schema: services, deployments, incidents, rollbacks, checks, outbox, audit, requests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: In the order of its characters, on PostgreSQL, too.
_KEY = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def upgrade() -> None:
    """Make every table and index."""
    _records()
    _checks()
    _outbox()
    _audit()
    _requests()


def _records() -> None:
    op.create_table(
        "services",
        sa.Column("name", _KEY, nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_services"),
    )
    own = {"deployments": [], "incidents": ["kind"], "rollbacks": ["key"]}
    for name, columns in own.items():
        op.create_table(
            name,
            sa.Column("id", _KEY, nullable=False),
            *(sa.Column(column, _KEY, nullable=False) for column in columns),
            sa.Column("service", _KEY, nullable=False),
            sa.Column("state", _KEY, nullable=False),
            sa.Column("at", _KEY, nullable=False),
            sa.Column("doc", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint("id", name=f"pk_{name}"),
            *([sa.UniqueConstraint("key", name="uq_rollbacks_key")] if name == "rollbacks" else []),
        )
        op.create_index(f"ix_{name}_at_id", name, ["at", "id"])
        op.create_index(f"ix_{name}_service_at_id", name, ["service", "at", "id"])
        op.create_index(f"ix_{name}_state", name, ["state"])


def _checks() -> None:
    op.create_table(
        "checks",
        sa.Column("service", _KEY, nullable=False),
        sa.Column("rule", _KEY, nullable=False),
        sa.Column("version", _KEY, nullable=False),
        sa.Column("variant", _KEY, nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("service", "rule", "version", "variant", name="pk_checks"),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("key", _KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("channel", _KEY, nullable=False),
        sa.Column("state", _KEY, nullable=False),
        sa.Column("due_at", _KEY, nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_outbox"),
    )
    op.create_index("ix_outbox_number", "outbox", ["number"])
    op.create_index("ix_outbox_state_due_at_number", "outbox", ["state", "due_at", "number"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", _KEY, nullable=False),
        sa.Column("kind", _KEY, nullable=False),
        sa.Column("subject", _KEY, nullable=False),
        sa.Column("previous", _KEY, nullable=False),
        sa.Column("hash", _KEY, nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_audit"),
        sa.UniqueConstraint("previous", name="uq_audit_previous"),
    )
    op.create_index("ix_audit_subject_seq", "audit", ["subject", "seq"])


def _requests() -> None:
    op.create_table(
        "requests",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", _KEY, nullable=False),
        sa.Column("at", _KEY, nullable=False),
        sa.Column("doc", sa.Text(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_requests"),
    )
    op.create_index("ix_requests_number", "requests", ["number"])
    op.create_index("ix_requests_state", "requests", ["state"])
