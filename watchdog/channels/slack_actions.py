"""Buttons on Slack messages: which a message has, and what a press of one asks for.

A button stays where it is while the world moves on: it names what it was about, so that whoever is asked can refuse it
when that is over. This module must never decide who may press.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import msgspec

from watchdog.channels.interface import Heard
from watchdog.channels.slack_text import plain
from watchdog.core.message import Message, MessageKind
from watchdog.core.request import RequestKind

#: As Slack has it: a signed callback counts so long, either way.
TOLERANCE = timedelta(minutes=5)
PREFIX = "rollback_watchdog."
BLOCK = "rollback_watchdog"

#: Slack's limits: a button's value, the texts of a confirmation.
_VALUE, _TITLE, _TEXT, _BUTTON = 2000, 100, 300, 30
_KINDS = frozenset(
    {
        RequestKind.ACKNOWLEDGE,
        RequestKind.UNACKNOWLEDGE,
        RequestKind.APPROVE,
        RequestKind.REJECT,
        RequestKind.PAUSE,
        RequestKind.RESUME,
        RequestKind.ROLLBACK,
    }
)
_ON_SERVICES = frozenset({RequestKind.PAUSE, RequestKind.RESUME, RequestKind.ROLLBACK})
_K = MessageKind
#: Something is wrong with a version that is live, and nothing was done about it.
_UNDONE = frozenset(
    {
        _K.INCIDENT_OPENED,
        _K.INCIDENT_WORSENED,
        _K.INCIDENT_ACKNOWLEDGED,
        _K.INCIDENT_UNACKNOWLEDGED,
        _K.INCIDENT_REPEATED,
        _K.ACKNOWLEDGEMENT_REMINDER,
        _K.ESCALATED,
        _K.ROLLBACK_BLOCKED,
    }
)
#: Nothing is asked of anybody: a button would only be in the way.
_QUIET = frozenset({_K.TEST, _K.WEEKLY_REPORT, _K.DEPLOYMENT_WATCHED, _K.DEPLOYMENT_STABLE, _K.GROUPED})


class _Value(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a button carries: the channel's name, incident or service, and the version that was seen."""

    c: str
    t: str
    v: str = ""


class _User(msgspec.Struct, frozen=True):
    id: str
    username: str = ""
    name: str = ""
    team_id: str = ""


class _Team(msgspec.Struct, frozen=True):
    id: str = ""


class _Action(msgspec.Struct, frozen=True):
    action_id: str = ""
    action_ts: str = ""
    value: str = ""


class _Payload(msgspec.Struct, frozen=True):
    type: str
    user: _User | None = None
    team: _Team | None = None
    actions: tuple[_Action, ...] = ()
    response_url: str = ""


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """One button that one person pressed. `outside`: the person belongs to another workspace."""

    heard: Heard
    channel: str
    user: str
    outside: bool


def actions(
    message: Message, channel: str, *, latest: Message | None = None, taken: bool = False
) -> list[dict[str, Any]]:
    """The block with the buttons of a message; none where there is nothing to ask for.

    `latest` is what came after it in the same conversation, `taken` whether somebody has acknowledged.
    """
    now = latest or message
    if message.kind in _QUIET or now.ends:
        return []
    found = [_button(kind, message, now, channel) for kind in _wanted(message, now, taken=taken)]
    elements = [one for one in found if one is not None]
    return [{"type": "actions", "block_id": BLOCK, "elements": elements}] if elements else []


def _wanted(message: Message, now: Message, *, taken: bool) -> list[RequestKind]:
    kinds: list[RequestKind] = []
    if now.kind is _K.APPROVAL_WANTED and now.incident:
        kinds += [RequestKind.APPROVE, RequestKind.REJECT]
    if message.incident:
        kinds.append(RequestKind.UNACKNOWLEDGE if taken else RequestKind.ACKNOWLEDGE)
    if message.service and now.version and now.kind in _UNDONE and now.incident:
        kinds.append(RequestKind.ROLLBACK)
    if message.service:
        kinds.append(RequestKind.RESUME if now.kind is _K.PAUSED else RequestKind.PAUSE)
    return kinds


def _button(kind: RequestKind, message: Message, now: Message, channel: str) -> dict[str, Any] | None:
    target = message.service if kind in _ON_SERVICES else (now.incident or message.incident or "")
    seen = now.version if kind is RequestKind.ROLLBACK else ""
    try:
        value = msgspec.json.encode(_Value(c=channel, t=target, v=seen)).decode()
    except UnicodeEncodeError:  # half a character in a name: no button rather than no message
        return None
    if len(value) > _VALUE:
        return None
    label, style = _LABELS[kind]
    button: dict[str, Any] = {
        "type": "button",
        "action_id": f"{PREFIX}{kind}",
        "text": {"type": "plain_text", "text": label},
        "value": value,
    }
    if style:
        button["style"] = style
    if kind in (RequestKind.ROLLBACK, RequestKind.APPROVE):
        button["confirm"] = _confirm(kind, message, now)
    return button


_LABELS = {
    RequestKind.ACKNOWLEDGE: ("Acknowledge", "primary"),
    RequestKind.UNACKNOWLEDGE: ("Un-acknowledge", ""),
    RequestKind.APPROVE: ("Approve rollback", "danger"),
    RequestKind.REJECT: ("Reject", ""),
    RequestKind.PAUSE: ("Pause automation", ""),
    RequestKind.RESUME: ("Resume automation", "primary"),
    RequestKind.ROLLBACK: ("Roll back", "danger"),
}


def _confirm(kind: RequestKind, message: Message, now: Message) -> dict[str, Any]:
    where = f"{message.service} in {message.environment}" if message.environment else message.service
    if kind is RequestKind.ROLLBACK:
        title, yes = f"Roll back {message.service}?", "Roll back"
        text = f"Traffic of {where} leaves {now.version} for the last version that is known good. Everybody is told."
    else:
        title, yes = f"Approve the rollback of {message.service}?", "Approve"
        text = f"{now.headline} Traffic of {where} moves at once if nothing has changed since."
    return {
        "title": {"type": "plain_text", "text": plain(title, _TITLE)},
        "text": {"type": "plain_text", "text": plain(text, _TEXT)},
        "confirm": {"type": "plain_text", "text": plain(yes, _BUTTON)},
        "deny": {"type": "plain_text", "text": "Cancel"},
        "style": "danger",
    }


def presses(payload: bytes) -> tuple[Press, ...]:
    """What an interaction asks for; nothing where it is no press of a button of ours. Never raises."""
    try:
        found = msgspec.json.decode(payload, type=_Payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
    if found.type != "block_actions" or found.user is None or not found.user.id:
        return ()
    outside = bool(
        found.user.team_id and found.team and found.team.id and found.user.team_id != found.team.id
    )
    read = [_press(found, found.user, action, outside=outside) for action in found.actions[:25]]
    return tuple(one for one in read if one is not None)


def _press(payload: _Payload, user: _User, action: _Action, *, outside: bool) -> Press | None:
    try:
        kind = RequestKind(action.action_id.removeprefix(PREFIX))
        value = msgspec.json.decode(action.value, type=_Value)
    except (ValueError, UnicodeEncodeError, RecursionError):
        return None
    if kind not in _KINDS or not action.action_id.startswith(PREFIX) or not value.t or not action.action_ts:
        return None
    person = plain(user.username or user.name, 80)
    called = f"slack:{plain(user.id, 40)}" + (f" ({person})" if person else "")
    heard = Heard(
        id=f"slack:{user.id}:{action.action_ts}:{kind}",
        kind=kind,
        target=value.t,
        by=called,
        reason=f"asked in Slack by {person or user.id}" if kind is RequestKind.ROLLBACK else "",
        back=payload.response_url,
        version=value.v,
    )
    return Press(heard=heard, channel=value.c, user=user.id, outside=outside)


def form(body: bytes) -> bytes | None:
    """The payload of a callback, which comes as the one field of a form; `None` where there is none."""
    try:
        found = parse_qs(body.decode("utf-8"), max_num_fields=20).get("payload", [])
        return found[0].encode("utf-8") if len(found) == 1 else None
    except ValueError:  # what cannot be decoded, too
        return None


def signed(secret: bytes, headers: Mapping[str, str], body: bytes, *, now: datetime) -> bool:
    """Whether Slack made this callback, now. Takes the same time whatever is wrong; never raises."""
    found = {name.lower(): value for name, value in headers.items()}
    stamp, given = found.get("x-slack-request-timestamp", ""), found.get("x-slack-signature", "")
    made = hmac.new(secret, b"v0:" + stamp.encode("utf-8", "replace") + b":" + body, hashlib.sha256)
    fits = hmac.compare_digest(f"v0={made.hexdigest()}".encode(), given.encode("utf-8", "replace"))
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) <= 12):
        return False
    return fits and abs(now.timestamp() - int(stamp)) <= TOLERANCE.total_seconds()
