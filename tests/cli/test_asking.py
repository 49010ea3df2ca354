from __future__ import annotations

import json

import pytest

from tests.api.daemon import Daemon
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


@pytest.mark.parametrize("args", [["pause"], ["resume"], ["pause", "trips", "--all"]], ids=" ".join)
def test_pause_wants_one_service_or_all(watchdog: Run, daemon: Daemon, args: list[str]) -> None:
    result = watchdog(*args)
    assert result.exit_code == 2
    assert "name one service, or --all" in result.stderr
    assert daemon.asked == []


def test_pausing_all_goes_on_after_a_refusal_and_fails_at_the_end(watchdog: Run, daemon: Daemon) -> None:
    def answer(request: Request) -> Reply:
        refused = request.target == "hotels"
        return Reply(request=request.id, status=409 if refused else 200, detail="not now" if refused else "")

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


class Late(Daemon):
    """Answers a request only when it is sent for the third time."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.sent: list[str] = []

    async def submit(self, request: Request) -> None:
        self.sent.append(request.id)
        await super().submit(request)
        if len(self.sent) == 3:
            self._replies[request.id] = Reply(request=request.id, status=200)


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
