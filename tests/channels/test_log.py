from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.channels.messages import USUAL, message
from watchdog.channels.interface import Channel, Delivered
from watchdog.channels.log import LogChannel
from watchdog.channels.rendering import Rendering
from watchdog.channels.specimens import specimens
from watchdog.core.message import MessageKind
from watchdog.core.rule import Severity


@pytest.fixture
def channel() -> Channel:
    return LogChannel(LogChannel.Settings(), name="journal")


async def test_a_message_is_one_event_with_all_that_matters(channel: Channel) -> None:
    with capture_logs() as told:
        assert await channel.send(USUAL, key="key-1") == Delivered()
    assert told == [
        {
            "event": "notification",
            "log_level": "critical",
            "channel": "journal",
            "key": "key-1",
            "kind": "incident_opened",
            "severity": "critical",
            "headline": USUAL.headline,
            "service": "trips",
            "environment": "production",
            "version": "v1.4.2",
            "incident": "i-1",
            "rollback": "r-1",
            "facts": ["error-rate: 21%, held for 2 samples", "guards: all allow"],
            "next_step": USUAL.next_step,
            "needs_human": False,
            "runbook": USUAL.runbook,
            "audit_head": USUAL.audit_head,
        }
    ]


async def test_numbers_and_commands_stand_beside_it_and_the_headline_is_the_template_s() -> None:
    channel = LogChannel(
        LogChannel.Settings(), name="journal", rendering=Rendering({"headline": "{{ service | upper }}!"})
    )
    with capture_logs() as told:
        await channel.send(specimens()[MessageKind.ROLLBACK_SWITCHED], key="k")
    assert {
        name: told[0][name] for name in ("headline", "check", "value", "limit", "since", "undo", "explain")
    } == {
        "headline": "TRIPS!",
        "check": "trips/error-rate@v1.4.2",
        "value": "8.25%",
        "limit": "1.5%",
        "since": "2026-01-31T12:29:31+00:00",
        "undo": "watchdog mark-good trips v1.4.2 --reason TEXT && watchdog rollback trips --to v1.4.2 --reason TEXT",
        "explain": "watchdog explain rb-6bfdfe6da5",
    }


@pytest.mark.parametrize(
    ("severity", "level"),
    [("low", "info"), ("medium", "warning"), ("high", "error"), ("critical", "critical")],
)
async def test_the_level_follows_the_severity(channel: Channel, severity: str, level: str) -> None:
    with capture_logs() as told:
        await channel.send(message(severity=Severity(severity)), key="k")
    assert told[0]["log_level"] == level


async def test_newlines_and_escape_sequences_are_shown_not_obeyed(channel: Channel) -> None:
    forged = "fine\nlevel=info event=nothing_happened\x1b[2J"
    with capture_logs() as told:
        await channel.send(
            message(headline=forged, facts=((forged, forged),), version=forged, next_step=forged), key=forged
        )
    for value in [*told[0].values(), *told[0]["facts"]]:
        assert "\n" not in str(value)
        assert "\x1b" not in str(value)
    assert told[0]["headline"].startswith("fine level=info")
