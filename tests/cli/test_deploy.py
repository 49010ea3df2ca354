from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.api.daemon import BAD, BROKEN, TRIPS, Daemon, view
from tests.cli.conftest import Run, Served, invoke
from watchdog.core.deployment import Deployment, DeploymentState
from watchdog.core.errors import StoreError
from watchdog.core.request import Reply, RequestKind
from watchdog.core.service import RollbackPolicy
from watchdog.core.view import View

S = DeploymentState
DEPLOY = ["deploy", "trips", "--version", "v2", "--variant", "green"]
QUICK = ["--wait", "--every", "20ms"]


class Deploying(Daemon):
    """Records `d2`, which takes one state after the other, one a look; the last one stays."""

    def __init__(self, *states: DeploymentState | StoreError | None) -> None:
        super().__init__(lambda request: Reply(request=request.id, status=201, body={"id": "d2"}))
        self._states = list(states)

    async def deployment(self, identity: str) -> Deployment | None:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if state is None:
            return None
        if isinstance(state, StoreError):
            raise state
        return replace(
            BAD, state=state, reason="error-rate beyond rollback" if state is S.ROLLED_BACK else ""
        )


@pytest.fixture
def daemon() -> Daemon:
    return Deploying(S.PENDING, S.PENDING, S.WATCHING, S.STABLE)


def test_a_deployment_is_recorded(watchdog: Run, daemon: Daemon) -> None:
    result = watchdog(
        *DEPLOY,
        *(
            "--started-at",
            "2026-03-14T15:00:00Z",
            "--source",
            "pipeline 7",
            "--url-link",
            "https://ci.example.com/7",
        ),
        *("--rollback", "forbidden", "--label", "team=booking", "--label", "risk=a=b"),
    )
    assert (result.exit_code, result.stdout) == (0, "d2: trips v2 on green is pending\n")
    (request,) = daemon.asked
    assert request.kind is RequestKind.DEPLOYMENT
    assert request.body == {
        "service": "trips",
        "version": "v2",
        "variant": "green",
        "started_at": "2026-03-14T15:00:00Z",
        "source": "pipeline 7",
        "url": "https://ci.example.com/7",
        "rollback": "forbidden",
        "labels": {"team": "booking", "risk": "a=b"},
    }


def test_a_recorded_deployment_in_json_is_the_record(watchdog: Run) -> None:
    assert json.loads(watchdog(*DEPLOY, "--json").stdout)["id"] == "d2"


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--started-at", "yesterday"], "started_at: is not a time with a zone"),
        (["--rollback", "never"], "rollback: "),
        (["--url-link", "javascript:x"], "url: "),
        (["--label", "a b=c"], "labels/a b: "),
    ],
    ids=str,
)
def test_the_daemons_objections_are_shown_with_their_place(
    watchdog: Run, option: list[str], told: str
) -> None:
    result = watchdog(*DEPLOY, *option)
    assert result.exit_code == 1
    assert told in result.stderr


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--label", "team"], "--label 'team' is not NAME=VALUE"),
        (["--wait", "--timeout", "soon"], "--timeout: 'soon' is not a duration"),
        (["--wait", "--every", "5"], "--every: '5' is not a duration"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_before_anything_is_recorded(
    watchdog: Run, daemon: Daemon, option: list[str], told: str
) -> None:
    result = watchdog(*DEPLOY, *option)
    assert result.exit_code == 2
    assert told in result.stderr
    assert daemon.asked == []


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ((S.PENDING, S.WATCHING, S.STABLE), 0),
        ((S.STABLE,), 0),
        ((S.WATCHING, S.ROLLED_BACK), 3),
        ((S.WATCHING, S.SUPERSEDED), 4),
        ((S.PENDING, S.FAILED), 4),
    ],
    ids=str,
)
def test_the_gates_exit_code_is_how_the_deployment_ended(states: tuple[S, ...], code: int) -> None:
    with Served(Deploying(*states)) as served:
        result = invoke(*DEPLOY, *QUICK, "--url", served.url, "--token", "operator-token")
    assert result.exit_code == code, result.output
    assert result.stdout.startswith(f"d2 {states[-1]}")
    assert f"trips v2 on green is {states[0]}" in result.stderr


def test_the_gate_tells_every_change_on_standard_error(watchdog: Run) -> None:
    result = watchdog(*DEPLOY, *QUICK)
    assert result.stderr.splitlines() == [
        "d2: trips v2 on green is pending",
        "trips v2: pending → watching",
        "trips v2: watching → stable",
    ]
    assert result.stdout == "d2 stable\n"


def test_the_gate_in_json_prints_the_record_at_its_end(watchdog: Run) -> None:
    assert json.loads(watchdog(*DEPLOY, *QUICK, "--json").stdout)["state"] == "stable"


def test_a_rolled_back_deployment_says_why() -> None:
    with Served(Deploying(S.WATCHING, S.ROLLED_BACK)) as served:
        result = invoke(*DEPLOY, *QUICK, "--url", served.url, "--token", "operator-token")
    assert result.stdout == "d2 rolled_back: error-rate beyond rollback\n"


def test_a_gate_whose_time_is_over_is_undecided() -> None:
    with Served(Deploying(S.WATCHING)) as served:
        result = invoke(
            *DEPLOY, *QUICK, "--timeout", "200ms", "--url", served.url, "--token", "operator-token"
        )
    assert result.exit_code == 4
    assert "undecided after 200ms" in result.stderr
    assert result.stdout == "d2 watching\n"


def test_the_gate_waits_for_the_soak_and_ten_minutes_by_default() -> None:
    daemon = Deploying(S.WATCHING)
    short = replace(TRIPS, policy=RollbackPolicy(soak=timedelta(minutes=-10, milliseconds=200)))
    daemon.shown = replace(view(), services={"trips": short})
    with Served(daemon) as served:
        result = invoke(*DEPLOY, *QUICK, "--url", served.url, "--token", "operator-token")
    assert result.exit_code == 4
    assert "undecided after 200ms" in result.stderr


def test_the_gate_waits_through_a_failing_store() -> None:
    with Served(Deploying(S.WATCHING, BROKEN, BROKEN, S.WATCHING, S.STABLE)) as served:
        result = invoke(*DEPLOY, *QUICK, "--url", served.url, "--token", "operator-token")
    assert result.exit_code == 0
    assert result.stderr.count("still waiting") == 1
    assert "the daemon answers again" in result.stderr


def test_the_gate_waits_for_a_daemon_that_fails_right_after_the_post() -> None:
    class Starting(Deploying):
        """Answers 503 to the first looks at its services after the request."""

        def view(self) -> View | None:
            if not self.asked:
                return super().view()
            self.looks += 1
            return None if self.looks <= 2 else super().view()

        looks = 0

    with Served(Starting(S.WATCHING, S.STABLE)) as served:
        result = invoke(*DEPLOY, *QUICK, "--url", served.url, "--token", "operator-token")
    assert result.exit_code == 0, result.output
    assert "the daemon is starting" in result.stderr
    assert "the daemon answers again" in result.stderr


def test_a_timeout_of_nothing_is_no_default() -> None:
    with Served(Deploying(S.WATCHING)) as served:
        result = invoke(*DEPLOY, *QUICK, "--timeout", "0s", "--url", served.url, "--token", "operator-token")
    assert result.exit_code == 4
    assert "undecided after 0s" in result.stderr


def test_a_deployment_that_is_gone_ends_the_gate_with_a_message() -> None:
    with Served(Deploying(S.WATCHING, None)) as served:
        result = invoke(*DEPLOY, *QUICK, "--timeout", "5s", "--url", served.url, "--token", "operator-token")
    assert result.exit_code == 1
    assert "Error: there is no deployment 'd2'" in result.stderr
    assert "still waiting" not in result.stderr


def test_a_deployment_that_cannot_be_shown_just_after_the_post_is_asked_for() -> None:
    with Served(Deploying(BROKEN, S.WATCHING)) as served:
        result = invoke(*DEPLOY, "--url", served.url, "--token", "operator-token")
    assert (result.exit_code, result.stdout) == (0, "d2: trips v2 on green is watching\n")


def test_ctrl_c_ends_the_gate_with_130_and_no_traceback() -> None:
    with Served(Deploying(S.WATCHING)) as served:
        environ = {**os.environ, "WATCHDOG_URL": served.url, "WATCHDOG_TOKEN": "operator-token"}
        process = subprocess.Popen(
            [sys.executable, "-m", "watchdog", *DEPLOY, "--wait"],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "is watching" in first
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in out + err
