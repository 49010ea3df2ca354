"""`watchdog gitops resume`: what it asks, what it says, what it warns of; and what status shows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.daemon import Daemon
from tests.cli.conftest import Run
from watchdog.cli.looking import _remarks
from watchdog.core.request import Reply, RequestKind

OWNER = "Argo CD application argocd/trips"
WARNING = "its source decides from here on: if that still holds v2, traffic goes there again"
DONE = {"service": "trips", "resumed": OWNER, "warning": WARNING}


def test_what_goes_on_is_said_and_what_to_expect_is_a_warning(watchdog: Run, daemon: Daemon) -> None:
    daemon.answer = lambda request: Reply(request=request.id, status=200, body=DONE)
    result = watchdog("gitops", "resume", "trips", "--reason", "reverted in Git")
    assert (result.exit_code, result.stdout) == (0, f"{OWNER} goes on\n")
    assert WARNING in result.stderr
    assert [(one.kind, one.target, one.body) for one in daemon.asked] == [
        (RequestKind.GITOPS_RESUME, "trips", {"reason": "reverted in Git"})
    ]
    assert json.loads(watchdog("gitops", "resume", "trips", "--json").stdout) == DONE


def test_why_not_is_said_and_is_a_failure(watchdog: Run, daemon: Daemon) -> None:
    why = "nothing is suspended for trips, as far as its switch was seen"
    daemon.answer = lambda request: Reply(request=request.id, status=409, detail=why)
    result = watchdog("gitops", "resume", "trips")
    assert result.exit_code == 1
    assert why in result.stderr


def test_it_wants_a_service(watchdog: Run) -> None:
    assert watchdog("gitops", "resume").exit_code == 2


@pytest.mark.parametrize(("suspended", "remark"), [(OWNER, f"suspended by us: {OWNER}"), ("", "")])
def test_status_says_what_is_suspended(suspended: str, remark: str) -> None:
    service: dict[str, Any] = {
        "paused": None,
        "traffic": {"paused": "", "suspended": suspended},
        "rollback": None,
        "traffic_error": "",
        "not_ready": [],
    }
    assert _remarks(service) == remark
