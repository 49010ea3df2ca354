from __future__ import annotations

import json

from tests.api.daemon import REFUSED, Daemon
from tests.cli.conftest import Run
from watchdog.core.request import RequestKind


def test_messages_are_listed_with_what_became_of_them(watchdog: Run) -> None:
    result = watchdog("outbox")
    assert result.exit_code == 0, result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert [row[0] for row in rows] == ["STATE", "pending", "dead", "sent"]
    text = result.stdout
    assert "next 2026-03-14T15:09:30Z: answered 503" in text
    assert "answered 401" in text
    assert "sent 2026-03-14T15:08:26Z" in text
    assert REFUSED.key in text


def test_dead_letters_of_a_channel_say_why(watchdog: Run) -> None:
    result = watchdog("outbox", "--state", "dead", "--channel", "chat")
    assert "answered 401" in result.stdout
    assert "answered 503" not in result.stdout
    assert watchdog("outbox", "--state", "dead", "--channel", "mail").stdout == "no messages\n"
    listed = json.loads(watchdog("outbox", "--state", "dead", "--json").stdout)
    assert [one["id"] for one in listed["items"]] == [REFUSED.key]
    wrong = watchdog("outbox", "--state", "lost")
    assert wrong.exit_code == 2
    assert "'lost' is not one of 'pending', 'sent', 'dead'" in wrong.stderr


def test_a_dead_letter_is_tried_again(watchdog: Run, daemon: Daemon) -> None:
    result = watchdog("outbox", "retry", REFUSED.key, "--reason", "new token")
    assert (result.exit_code, result.stdout) == (0, f"{REFUSED.key} is tried again\n")
    (request,) = daemon.asked
    assert (request.kind, request.target) == (RequestKind.RESEND, REFUSED.key)
    unknown = watchdog("outbox", "retry", "nobody@ops")
    assert (unknown.exit_code, unknown.stderr) == (1, "Error: there is no message 'nobody@ops'\n")
