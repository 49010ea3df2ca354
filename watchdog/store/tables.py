"""The tables: key columns that are looked up, and the whole record as JSON in `doc`.

Times are text in UTC with six digits of a second, so that the order of the text is the order of time. Only types that
SQLite and PostgreSQL share are used. No table refers to another: an intent must be stored even if some record about
the past is missing.

This module must never hold a statement or a connection. A change here needs a migration; a test compares both.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

from watchdog.store.keys import Key

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: Text that is looked up and sorted. On PostgreSQL in the order of its characters, which no locale or release changes.
KEY = String().with_variant(Key(), "postgresql")

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
    Column("name", KEY, primary_key=True),
    Column("doc", Text, nullable=False),
)

deployments = Table(
    "deployments",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("service", KEY, nullable=False),
    Column("state", KEY, nullable=False),
    Column("at", KEY, nullable=False),  # recorded_at, which never changes
    Column("doc", Text, nullable=False),
    Index(None, "at", "id"),
    Index(None, "service", "at", "id"),
    Index(None, "state"),
)

incidents = Table(
    "incidents",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("kind", KEY, nullable=False),
    Column("state", KEY, nullable=False),
    Column("service", KEY, nullable=False),  # empty for an incident of a source
    Column("at", KEY, nullable=False),  # opened_at
    Column("doc", Text, nullable=False),
    Index(None, "at", "id"),
    Index(None, "service", "at", "id"),
    Index(None, "state"),
)

silences = Table(
    "silences",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("state", KEY, nullable=False),  # active | ended
    Column("at", KEY, nullable=False),  # created_at
    Column("doc", Text, nullable=False),
    Index(None, "at", "id"),
    Index(None, "state"),
)

rollbacks = Table(
    "rollbacks",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("key", KEY, nullable=False),
    Column("service", KEY, nullable=False),
    Column("state", KEY, nullable=False),
    Column("at", KEY, nullable=False),  # decided_at
    Column("doc", Text, nullable=False),
    UniqueConstraint("key"),
    Index(None, "at", "id"),
    Index(None, "service", "at", "id"),
    Index(None, "state"),
)

checks = Table(
    "checks",
    metadata,
    Column("service", KEY, primary_key=True),
    Column("rule", KEY, primary_key=True),
    Column("version", KEY, primary_key=True),
    Column("variant", KEY, primary_key=True),
    Column("doc", Text, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("key", KEY, primary_key=True),
    Column("number", Integer, nullable=False),  # the order in which messages were stored
    Column("channel", KEY, nullable=False),
    Column("state", KEY, nullable=False),
    Column("due_at", KEY, nullable=False),
    Column("rank", Integer, nullable=False, server_default="1"),  # 0 goes before 1
    Column("conversation", KEY, nullable=False, server_default=""),  # empty for one that stands alone
    Column("gathering", KEY, nullable=False, server_default=""),  # empty for one that leaves alone
    Column("reference", KEY, nullable=False, server_default=""),  # what the provider called it
    Column("holder", BigInteger, nullable=False, server_default="0"),  # the epoch of who has it in hand ...
    Column("held_until", BigInteger, nullable=False, server_default="0"),  # ... until then, in milliseconds
    Column("doc", Text, nullable=False),
    Index(None, "number"),
    # The channel stands in it so that rows of a channel that takes nothing are passed over without being read.
    Index(None, "state", "rank", "due_at", "number", "channel"),
    Index(None, "channel", "conversation", "number"),
    Index(None, "channel", "gathering", "state"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", KEY, nullable=False),
    Column("kind", KEY, nullable=False),
    Column("subject", KEY, nullable=False),
    Column("previous", KEY, nullable=False),
    Column("hash", KEY, nullable=False),
    Column("doc", Text, nullable=False),
    UniqueConstraint("previous"),
    Index(None, "subject", "seq"),
)

requests = Table(
    "requests",
    metadata,
    Column("id", KEY, primary_key=True),
    Column("number", Integer, nullable=False),  # the order in which requests were stored
    Column("state", KEY, nullable=False),  # open | answered
    Column("at", KEY, nullable=False),
    Column("doc", Text, nullable=False),
    Column("reply", Text, nullable=True),
    Index(None, "number"),
    Index(None, "state"),
)
