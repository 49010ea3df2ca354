from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.daemon import Daemon, accept
from tests.cli.conftest import Run, Served, invoke
from watchdog.core.request import Reply, Request, RequestKind


def test_rollback_needs_a_reason_and_says_what_is_done(watchdog: Run, daemon: Daemon) -> None:
    daemon.answer = lambda request: Reply(request=request.id, status=202, body={"id": "r1"})
    result = watchdog("rollback", "trips", "--to", "v1", "--reason", "checkout is broken")
    assert result.exit_code == 0
    assert result.stdout == "rollback r1 applied: trips v2 (green) → v1 (blue)\n"
    assert [(r.kind, r.target, r.body) for r in daemon.asked] == [
        (RequestKind.ROLLBACK, "trips", {"to": "v1", "reason": "checkout is broken"})
    ]
    again = watchdog("rollback", "trips", "--reason", "x", "--json")
    assert json.loads(again.stdout)["to"] == {"variant": "blue", "version": "v1"}


def test_a_refused_rollback_exits_1_with_the_guards_words(watchdog: Run, daemon: Daemon) -> None:
    daemon.answer = lambda request: Reply(request=request.id, status=409, detail="target_ready: blue is down")
    result = watchdog("rollback", "trips", "--reason", "x")
    assert (result.exit_code, result.stderr) == (1, "Error: target_ready: blue is down\n")


@pytest.mark.parametrize(
    ("command", "kind", "told"),
    [
        (["ack", "i1"], RequestKind.ACKNOWLEDGE, "i1 acknowledged\n"),
        (["unack", "i1"], RequestKind.UNACKNOWLEDGE, "i1 not acknowledged any more\n"),
        (["approve", "i1"], RequestKind.APPROVE, "i1 approved\n"),
        (["reject", "i1"], RequestKind.REJECT, "i1 rejected\n"),
        (["incidents", "close", "i1"], RequestKind.CLOSE, "i1 closed\n"),
    ],
)
def test_incidents_are_asked_about_by_id(
    watchdog: Run, daemon: Daemon, command: list[str], kind: RequestKind, told: str
) -> None:
    result = watchdog(*command, "--reason", "mine")
    assert (result.exit_code, result.stdout) == (0, told)
    assert [(r.kind, r.target, r.body, r.by) for r in daemon.asked] == [
        (kind, "i1", {"reason": "mine"}, "ci")
    ]


def test_an_acknowledgement_says_for_how_long(watchdog: Run, daemon: Daemon) -> None:
    result = watchdog("ack", "i1", "--for", "4h")
    assert (result.exit_code, result.stdout) == (0, "i1 acknowledged\n")
    assert [(r.kind, r.body) for r in daemon.asked] == [(RequestKind.ACKNOWLEDGE, {"for_seconds": 14400.0})]
    wrong = watchdog("ack", "i1", "--for", "soon")
    assert wrong.exit_code == 2
    assert "--for" in wrong.stderr


@pytest.mark.parametrize("command", ["taint", "untaint", "mark-good"])
def test_a_word_on_a_version_is_handed_over_and_its_standing_told(
    watchdog: Run, daemon: Daemon, command: str
) -> None:
    def answer(request: Request) -> Reply:
        taint = {"version": "v1", "at": "", "by": request.by, "reason": request.body["reason"]}
        body = {
            "service": "trips",
            "version": "v1",
            "taint": taint if command == "taint" else None,
            "states": {"blue": "stable"},
        }
        return Reply(request=request.id, status=200, body=body)

    daemon.answer = answer
    result = watchdog(command, "trips", "v1", "--reason", "leaks memory")
    assert result.exit_code == 0
    told = "tainted by ci: leaks memory" if command == "taint" else "not tainted"
    assert result.stdout == f"trips v1: {told}, stable on blue\n"
    assert [(r.kind.value, r.target, r.body) for r in daemon.asked] == [
        (command.replace("-", "_"), "trips", {"version": "v1", "reason": "leaks memory"})
    ]
    in_json = json.loads(watchdog(command, "trips", "v1", "--reason", "leaks memory", "--json").stdout)
    assert in_json["states"] == {"blue": "stable"}
    assert watchdog(command, "trips", "v1").exit_code == 2, "a reason is needed"


@pytest.mark.parametrize(("command", "told"), [("pause", "paused"), ("resume", "resumed")])
def test_one_service_or_all_are_paused_and_resumed(
    watchdog: Run, daemon: Daemon, command: str, told: str
) -> None:
    assert watchdog(command, "trips").stdout == f"trips {told}\n"
    assert watchdog(command, "--all", "--reason", "migration").stdout == f"hotels {told}\ntrips {told}\n"
    assert [(r.target, r.body.get("reason")) for r in daemon.asked] == [
        ("trips", None),
        ("hotels", "migration"),
        ("trips", "migration"),
    ]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["ack", "i1"], {"id": "i1", "severity": "critical"}),
        (["approve", "i1"], {"id": "r1", "incident": "i1"}),
        (["reject", "i1"], {"id": "r1", "incident": "i1"}),
        (["incidents", "close", "i1"], {"id": "i1", "severity": "critical"}),
        (["incidents", "--json", "close", "i1"], {"id": "i1", "severity": "critical"}),
        (["pause", "trips"], {"service": "trips"}),
        (["resume", "trips"], {"service": "trips", "paused": None}),
    ],
    ids=" ".join,
)
def test_every_request_in_json_prints_what_the_daemon_answered(
    watchdog: Run, command: list[str], told: dict[str, Any]
) -> None:
    result = watchdog(*command, *([] if "--json" in command else ["--json"]))
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert {name: answer[name] for name in told} == told


def test_pausing_all_in_json_is_a_list_of_answers(watchdog: Run) -> None:
    answers = json.loads(watchdog("pause", "--all", "--json").stdout)
    assert [one["service"] for one in answers] == ["hotels", "trips"]


def test_a_rollback_that_cannot_be_shown_just_now_is_told_by_its_id(watchdog: Run, daemon: Daemon) -> None:
    daemon.answer = lambda request: Reply(request=request.id, status=202, body={"id": "r9"})
    result = watchdog("rollback", "trips", "--reason", "x")
    assert (result.exit_code, result.stdout) == (
        0,
        "rollback r9 of trips is under way; see `watchdog explain r9`\n",
    )


@pytest.mark.parametrize("args", [["pause"], ["resume"], ["pause", "trips", "--all"]], ids=" ".join)
def test_pause_wants_one_service_or_all(watchdog: Run, daemon: Daemon, args: list[str]) -> None:
    result = watchdog(*args)
    assert result.exit_code == 2
    assert "name one service, or --all" in result.stderr
    assert daemon.asked == []


def test_pausing_all_goes_on_after_a_refusal_and_fails_at_the_end(watchdog: Run, daemon: Daemon) -> None:
    def answer(request: Request) -> Reply | None:
        refused = request.target == "hotels"
        return Reply(request=request.id, status=409, detail="not now") if refused else accept(request)

    daemon.answer = answer
    result = watchdog("pause", "--all")
    assert result.exit_code == 1
    assert result.stdout == "trips paused\n"
    assert result.stderr == "hotels: not now\nError: 1 of 2 services not paused\n"


def test_a_mistyped_service_gets_the_nearest_name(watchdog: Run) -> None:
    result = watchdog("pause", "trisp")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: there is no service 'trisp'; did you mean 'trips'?\n",
    )


PAUSED = {"service": "trips", "paused": None}


class Late(Daemon):
    """Answers a request only when it is sent for the third time."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.sent: list[str] = []

    async def submit(self, request: Request) -> None:
        self.sent.append(request.id)
        await super().submit(request)
        if len(self.sent) == 3:
            self._replies[request.id] = Reply(request=request.id, status=200, body=PAUSED)


def test_a_request_that_is_not_answered_at_once_is_asked_for_again_and_made_once() -> None:
    daemon = Late()
    with Served(daemon, patience=0.05) as served:
        result = invoke("pause", "trips", "--url", served.url, "--token", "operator-token")
    assert (result.exit_code, result.stdout) == (0, "trips paused\n")
    assert len(daemon.sent) == 3
    assert len(daemon.asked) == 1


def test_a_name_with_odd_letters_is_asked_for_as_it_is(watchdog: Run) -> None:
    for name in ("a/b", "a b", "ä", "..", "a?b=c#d", "a%2Fb"):
        result = watchdog("incidents", "show", name)
        assert result.exit_code == 1
        assert "Error: there is no" in result.stderr, name
