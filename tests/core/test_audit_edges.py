"""The hash of a record is over everything in it, and computed as anybody else would compute it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from watchdog.core.audit import AuditDraft, AuditRecord, ChainHead, digest, link, verify
from watchdog.store.codec import decode, encode

AT = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
BODY = {"b": [1, 2.5, None], "a": {"z": "ü", "y": True}}


def chain(length: int) -> list[AuditRecord]:
    head, made = ChainHead(), []
    for number in range(length):
        draft = AuditDraft(
            kind="noted", at=AT + timedelta(seconds=number), subject="trips", body={"n": number}
        )
        made.append(link(head, draft))
        head = ChainHead(seq=made[-1].seq, hash=made[-1].hash)
    return made


def test_the_hash_is_that_of_the_previous_one_and_the_sorted_content() -> None:
    content = {"at": "2026-03-02T10:00:00Z", "body": BODY, "kind": "noted", "seq": 7, "subject": "trips"}
    written = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    expected = hashlib.sha256(b"abc\n" + written.encode()).hexdigest()

    assert digest(seq=7, at=AT, kind="noted", subject="trips", body=BODY, previous="abc") == expected


@pytest.mark.parametrize(
    "change",
    [
        {"at": AT + timedelta(microseconds=1)},
        {"kind": "denied"},
        {"subject": "hotels"},
        {"body": {"n": 2, "more": None}},
        {"hash": "0" * 64},
        {"previous": "0" * 64},
        {"seq": 9},
    ],
    ids=lambda it: next(iter(it)),
)
def test_a_change_of_anything_in_a_record_is_found_at_that_record(change: dict[str, Any]) -> None:
    records = chain(4)
    records[2] = replace(records[2], **change)
    head, fault = verify(records)

    assert head == ChainHead(seq=2, hash=records[1].hash)
    assert fault is not None
    assert fault.seq == records[2].seq
    words = {"previous": "does not follow the record before it", "seq": "record 3 is missing"}
    assert fault.why == words.get(next(iter(change)), "its content was changed")


def test_a_record_that_was_taken_out_is_missed_by_its_number() -> None:
    records = chain(4)
    _, fault = verify([*records[:1], *records[2:]])

    assert fault is not None
    assert (fault.seq, fault.why) == (3, "record 2 is missing")


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(codec="utf-8"))
    | st.datetimes(timezones=st.just(UTC))
)
KEYS = st.text(st.characters(codec="utf-8"), max_size=5)
NESTED = st.recursive(
    LEAVES, lambda of: st.lists(of) | st.tuples(of) | st.dictionaries(KEYS, of), max_leaves=20
)


@given(st.dictionaries(KEYS, NESTED))
def test_what_was_linked_verifies_whatever_its_body_held_and_after_a_way_through_the_store(
    body: dict[str, Any],
) -> None:
    linked = link(ChainHead(), AuditDraft(kind="noted", at=AT, subject="trips", body=body))
    stored = decode(encode(linked), AuditRecord)

    for record in (linked, stored):
        assert verify([record]) == (ChainHead(seq=1, hash=linked.hash), None)


def test_an_unbroken_chain_can_be_walked_in_parts() -> None:
    records = chain(5)
    head, fault = verify(records[:2])
    assert fault is None
    assert verify(records[2:], start=head) == (ChainHead(seq=5, hash=records[4].hash), None)
