"""A thousand decisions of generated stories, reached again from their records alone, also out of the store (E12)."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.core.test_step import JUMPS, MODES, VALUES, Story
from watchdog.core.audit import AuditRecord, ChainHead, link, verify
from watchdog.core.events import OutcomeKind
from watchdog.core.replay import Replayed, replay
from watchdog.core.request import RequestKind
from watchdog.core.turn import Turn
from watchdog.store.sqlite import SqliteStore

DECISIONS = 1000
#: What happens in a story, and how often beside the rest. It begins with a bad deployment: chance seldom gets so far.
OFTEN = {
    "observe": 6,
    "bad": 4,
    "swap": 2,
    "read": 1,
    "move": 1,
    "post": 1,
    "ask": 2,
    "outcome": 2,
    "tick": 2,
    "healthy": 1,
    "configure": 1,
    "ready": 1,
}
BEGINNING: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("1s", ("move", {"blue": 1, "green": 0, "red": 0})),
    ("1s", ("healthy",)),
    ("1s", ("swap",)),
    ("5s", ("bad", 0)),
)
LENGTH = 60


def happening(rng: random.Random) -> tuple[Any, ...]:
    """One thing that happens, with its words."""
    (name,) = rng.choices(list(OFTEN), list(OFTEN.values()))
    variants = ("blue", "green", "red")
    words: dict[str, tuple[Any, ...]] = {
        "observe": (rng.choice(VALUES), rng.randint(0, 5)),
        "bad": (rng.randint(0, 5),),
        "move": ({variant: rng.randint(0, 2) for variant in variants},),
        "post": (rng.choice(variants), rng.choice(("v1", "v2", "v3"))),
        "ask": (rng.choice(list(RequestKind)), True),
        "outcome": (rng.choice((OutcomeKind.APPLIED, *OutcomeKind)),),
        "tick": (rng.random() < 0.2, rng.random() < 0.9),
        "configure": (rng.choice(MODES),),
        "ready": (rng.choice(variants[:2]), rng.choice((0, 1, 10, None))),
    }
    return (name, *words.get(name, ()))


def stories() -> Iterator[Story]:
    seed = 0
    while True:
        rng = random.Random(seed)
        story = Story(rng.choice(MODES))
        story.scenario.looks_every = 1000
        for jump, words in BEGINNING:
            story.play(jump, words)
        for _ in range(LENGTH):
            story.play(rng.choice(JUMPS), happening(rng))
        yield story
        seed += 1


def chained() -> tuple[AuditRecord, ...]:
    """The records of as many stories as make a thousand decisions, as one chain."""
    head, chain, decisions = ChainHead(), list[AuditRecord](), 0
    for story in stories():
        for draft in story.scenario.audit:
            record = link(head, draft)
            head = ChainHead(seq=record.seq, hash=record.hash)
            chain.append(record)
            decisions += replay(record) is not None
        if decisions >= DECISIONS:
            return tuple(chain)
    raise AssertionError


def exactly_the_same(again: Replayed) -> bool:
    """Verdict and vetoes, byte for byte."""
    first = msgspec.json.encode((again.verdict, again.vetoes), order="sorted")
    return again.faithful and first == msgspec.json.encode((again.again, again.vetoes_again), order="sorted")


@pytest.mark.timeout(120)
async def test_a_thousand_decisions_are_reached_again_from_their_records_alone(tmp_path: Path) -> None:
    written = chained()
    store = SqliteStore(f"sqlite:///{tmp_path}/watchdog.db")
    await store.open()
    await store.claim(now=datetime.now(UTC))
    try:
        for place in range(0, len(written), 100):
            await store.commit(Turn(audit=written[place : place + 100]))
    finally:
        await store.aclose()
    later = SqliteStore(f"sqlite:///{tmp_path}/watchdog.db")
    await later.open()
    try:
        kept = [record async for record in later.chain()]
    finally:
        await later.aclose()
    assert verify(kept)[1] is None
    assert [record.hash for record in kept] == [record.hash for record in written]
    counted = Counter[str]()
    for chain in (written, kept):
        found = [again for record in chain if (again := replay(record)) is not None]
        assert len(found) >= DECISIONS
        wrong = [again.record.kind for again in found if not exactly_the_same(again)]
        assert wrong == []
        counted.update(again.record.kind for again in found)
    kinds = {
        "incident_opened",
        "incident_worsened",
        "rollback_blocked",
        "rollback_intended",
        "approval_asked",
    }
    assert kinds <= counted.keys(), "the stories are not about everything any more"
