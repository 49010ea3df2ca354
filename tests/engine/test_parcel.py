"""What was gathered leaves as one message, but not through a channel that keeps one thing for each conversation."""

from __future__ import annotations

from types import SimpleNamespace

from tests.channels.messages import message
from watchdog.channels.pagerduty import PagerDutyChannel
from watchdog.core.message import MessageKind, Outgoing
from watchdog.engine.parcel import parcels
from watchdog.testing.channels import FakeChannel


class Single(FakeChannel):
    SINGLY = True


def rows(channel: str) -> list[Outgoing]:
    kinds = (MessageKind.INCIDENT_OPENED, MessageKind.INCIDENT_CLOSED)
    messages = [
        message(key=f"{kind}:i-{number}", incident=f"i-{number}", kind=kind)
        for number, kind in enumerate(kinds)
    ]
    return [
        Outgoing(key=one.key, channel=channel, message=one, due_at=one.created_at, group="g")
        for one in messages
    ]


def test_an_end_is_never_lost_in_a_group() -> None:
    ways = {"chat": SimpleNamespace(channel=FakeChannel()), "oncall": SimpleNamespace(channel=Single())}
    (together,) = parcels(rows("chat"), ways)
    assert together.message.kind is MessageKind.GROUPED
    alone = parcels(rows("oncall"), ways)
    assert [one.message.kind for one in alone] == [MessageKind.INCIDENT_OPENED, MessageKind.INCIDENT_CLOSED]
    assert [one.key for one in alone] == [one.first.key for one in alone]


def test_pagerduty_keeps_one_alert_for_each_conversation() -> None:
    assert PagerDutyChannel.SINGLY
