"""What people read, kind by kind, is what the golden files show; `python -m tests.channels.words` writes them anew."""

from __future__ import annotations

import pytest

from tests.channels.words import FOLDER, written
from tests.core.commands import commands
from watchdog.channels.specimens import specimens
from watchdog.core.message import Message, MessageKind


@pytest.mark.parametrize("name", ["text.txt", "short.txt", "mail.txt", "mail.html"])
def test_every_kind_of_message_reads_as_the_golden_files_show(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == written()[name]


def test_there_is_a_specimen_of_every_kind() -> None:
    told = specimens()
    assert list(told) == sorted(told, key=list(told).index)
    assert told.keys() == set(MessageKind)
    assert all(one.kind is kind for kind, one in told.items())


@pytest.mark.parametrize("kind", MessageKind)
def test_every_command_in_a_message_exists(kind: MessageKind) -> None:
    one = specimens()[kind]
    for text in (one.next_step, one.undo, one.explain):
        commands(text)


def _told(kind: MessageKind) -> Message:
    return specimens()[kind]


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        (MessageKind.BREAKER_OPEN, MessageKind.BREAKER_CLOSED),
        (MessageKind.CUT_OFF, MessageKind.REACHABLE_AGAIN),
        (MessageKind.CONFIG_BROKEN, MessageKind.CONFIG_REPAIRED),
        (MessageKind.PAUSED, MessageKind.RESUMED),
        (MessageKind.INCIDENT_OPENED, MessageKind.INCIDENT_CLOSED),
        (MessageKind.ROLLBACK_SWITCHED, MessageKind.ROLLBACK_COMPLETED),
        (MessageKind.ROLLBACK_BLOCKED, MessageKind.INCIDENT_CLOSED),
        (MessageKind.APPROVAL_WANTED, MessageKind.INCIDENT_CLOSED),
    ],
)
def test_what_begins_something_and_what_ends_it_are_one_conversation(
    begins: MessageKind, ends: MessageKind
) -> None:
    assert _told(begins).conversation == _told(ends).conversation


def test_another_pause_is_another_conversation() -> None:
    first = _told(MessageKind.PAUSED)
    assert first.about.startswith("paused:trips:2026-01-31T12:23:05")
