from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from watchdog.channels.interface import Heard
from watchdog.channels.wishes import KINDS, answer_of, request_of
from watchdog.core.request import Reply, RequestKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def heard(**changes: Any) -> Heard:
    given: dict[str, Any] = {
        "id": "slack:U1:1.1:acknowledge",
        "kind": RequestKind.ACKNOWLEDGE,
        "target": "i-1",
        "by": "slack:U1 (ana)",
    }
    return Heard(**(given | changes))


def test_the_same_delivery_is_the_same_request() -> None:
    first = request_of(heard(), channel="ops", now=NOW)
    assert first is not None
    assert first == request_of(heard(back="https://hooks.slack.com/x"), channel="ops", now=NOW)
    others = [
        request_of(heard(id="slack:U1:1.2:acknowledge"), channel="ops", now=NOW),
        request_of(heard(kind=RequestKind.APPROVE), channel="ops", now=NOW),
        request_of(heard(target="i-2"), channel="ops", now=NOW),
        request_of(heard(), channel="other", now=NOW),
    ]
    assert len({first.id, *(one.id for one in others if one is not None)}) == 5


@pytest.mark.parametrize("kind", RequestKind)
def test_a_channel_asks_for_what_people_press_and_nothing_else(kind: RequestKind) -> None:
    asked = request_of(heard(kind=kind), channel="ops", now=NOW)
    assert (asked is not None) is (kind in KINDS)
    if asked is not None:
        done = answer_of(asked, Reply(request=asked.id, status=200))
        assert done.done
        assert "{" not in done.text


def test_one_who_may_not_asks_for_nothing() -> None:
    assert request_of(heard(allowed=False), channel="ops", now=NOW) is None


def test_a_rollback_says_what_the_person_saw_and_why() -> None:
    asked = request_of(
        heard(kind=RequestKind.ROLLBACK, target="trips", version="v2", reason="asked in Slack by ana"),
        channel="ops",
        now=NOW,
    )
    assert asked is not None
    assert asked.body == {"from": "v2", "reason": "asked in Slack by ana"}
    assert (asked.target, asked.by, asked.at) == ("trips", "slack:U1 (ana)", NOW)


def test_what_comes_from_outside_stays_on_its_line() -> None:
    asked = request_of(
        heard(by="ana\nroot\u202e" + "x" * 1000, target="i\n1", reason="a\r\nb\ud800", id="\ud800"),
        channel="ops",
        now=NOW,
    )
    assert asked is not None
    assert asked.by.startswith("ana root\\u202ex")
    assert len(asked.by) == 200
    assert (asked.target, asked.body["reason"]) == ("i 1", "a  b\\ud800")


def test_a_refusal_says_why() -> None:
    asked = request_of(heard(), channel="ops", now=NOW)
    assert asked is not None
    answer = answer_of(asked, Reply(request=asked.id, status=409, detail="cooldown: too soon"))
    assert (answer.done, answer.text) == (False, "Not done: cooldown: too soon")
