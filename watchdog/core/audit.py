"""The audit chain: one record per transition, each bound to the one before by its hash.

`hash = SHA-256(previous hash, newline, canonical JSON of the record without its hash)`. Changing, removing or
reordering a record breaks every hash after it. This module must never read or write the chain's storage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

#: The hash before the first record.
GENESIS = "0" * 64


class AuditDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A record before it has a place in the chain."""

    at: datetime
    kind: str
    subject: str
    body: dict[str, Any]


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One link. `seq` starts at 1 and has no holes."""

    seq: int
    at: datetime
    kind: str
    subject: str
    body: dict[str, Any]
    previous: str
    hash: str


class ChainHead(msgspec.Struct, frozen=True, kw_only=True):
    """Where the chain ends now."""

    seq: int = 0
    hash: str = GENESIS


class ChainFault(msgspec.Struct, frozen=True, kw_only=True):
    """The first place where a chain is broken, and how."""

    seq: int
    why: str


def digest(
    *, seq: int, at: datetime, kind: str, subject: str, body: dict[str, Any] | msgspec.Raw, previous: str
) -> str:
    """The hash of one record (hex)."""
    content = {"seq": seq, "at": at, "kind": kind, "subject": subject, "body": body}
    canonical = msgspec.json.encode(content, order="sorted")
    return hashlib.sha256(previous.encode() + b"\n" + canonical).hexdigest()


def link(head: ChainHead, draft: AuditDraft) -> AuditRecord:
    """The record that follows `head`. The body is passed through JSON first, so that what is hashed is what is read."""
    body = msgspec.json.encode(draft.body, order="sorted")
    seq = head.seq + 1
    mark = digest(
        seq=seq,
        at=draft.at,
        kind=draft.kind,
        subject=draft.subject,
        body=msgspec.Raw(body),  # the same text as its content has
        previous=head.hash,
    )
    return AuditRecord(
        seq=seq,
        at=draft.at,
        kind=draft.kind,
        subject=draft.subject,
        body=msgspec.json.decode(body),
        previous=head.hash,
        hash=mark,
    )


def verify(
    records: Iterable[AuditRecord], *, start: ChainHead | None = None
) -> tuple[ChainHead, ChainFault | None]:
    """Walk a chain; answers its head and the first fault, or `None` when every link holds."""
    head = start or ChainHead()
    for record in records:
        if record.seq != head.seq + 1:
            return head, ChainFault(seq=record.seq, why=f"record {head.seq + 1} is missing")
        if record.previous != head.hash:
            return head, ChainFault(seq=record.seq, why="does not follow the record before it")
        if record.hash != digest(
            seq=record.seq,
            at=record.at,
            kind=record.kind,
            subject=record.subject,
            body=record.body,
            previous=record.previous,
        ):
            return head, ChainFault(seq=record.seq, why="its content was changed")
        head = ChainHead(seq=record.seq, hash=record.hash)
    return head, None
