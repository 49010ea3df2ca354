"""The tables: key columns that are looked up, and the whole record as JSON in `doc`.

Times are text in UTC with six digits of a second, so that the order of the text is the order of time. Only types that
SQLite and PostgreSQL share are used. No table refers to another: an intent must be stored even if some record about
the past is missing.

This module must never hold a statement or a connection. A change here needs a migration; a test compares both.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: One row: who may write. Its epoch is the fence that every write looks at in its own transaction.
writer = Table(
    "writer",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
)

services = Table(
    "services",
    metadata,
    Column("name", String, primary_key=True),
    Column("doc", Text, nullable=False),
)

deployments = Table(
    "deployments",
    metadata,
    Column("id", String, primary_key=True),
    Column("service", String, nullable=False),
    Column("state", String, nullable=False),
    Column("at", String, nullable=False),  # recorded_at, which never changes
    Column("doc", Text, nullable=False),
    Index(None, "at", "id"),
    Index(None, "service", "at", "id"),
    Index(None, "state"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("state", String, nullable=False),
    Column("service", String, nullable=False),  # empty for an incident of a source
    Column("at", String, nullable=False),  # opened_at
    Column("doc", Text, nullable=False),
    Index(None, "at", "id"),
    Index(None, "service", "at", "id"),
    Index(None, "state"),
)

silences = Table(
    "silences",
    metadata,
    Column("id", String, primary_key=True),
    Column("state", String, nullable=False),  # active | ended
    Column("at", String, nullable=False),  # created_at
    Column("doc", Text, nullable=False),
    Index(None, "at", "id"),
    Index(None, "state"),
)

rollbacks = Table(
    "rollbacks",
    metadata,
    Column("id", String, primary_key=True),
    Column("key", String, nullable=False),
    Column("service", String, nullable=False),
    Column("state", String, nullable=False),
    Column("at", String, nullable=False),  # decided_at
    Column("doc", Text, nullable=False),
    UniqueConstraint("key"),
    Index(None, "at", "id"),
    Index(None, "service", "at", "id"),
    Index(None, "state"),
)

checks = Table(
    "checks",
    metadata,
    Column("service", String, primary_key=True),
    Column("rule", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("variant", String, primary_key=True),
    Column("doc", Text, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("key", String, primary_key=True),
    Column("number", Integer, nullable=False),  # the order in which messages were stored
    Column("channel", String, nullable=False),
    Column("state", String, nullable=False),
    Column("due_at", String, nullable=False),
    Column("doc", Text, nullable=False),
    Index(None, "number"),
    Index(None, "state", "due_at", "number"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("previous", String, nullable=False),
    Column("hash", String, nullable=False),
    Column("doc", Text, nullable=False),
    UniqueConstraint("previous"),
    Index(None, "subject", "seq"),
)

requests = Table(
    "requests",
    metadata,
    Column("id", String, primary_key=True),
    Column("number", Integer, nullable=False),  # the order in which requests were stored
    Column("state", String, nullable=False),  # open | answered
    Column("at", String, nullable=False),
    Column("doc", Text, nullable=False),
    Column("reply", Text, nullable=True),
    Index(None, "number"),
    Index(None, "state"),
)
