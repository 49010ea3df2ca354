"""What is suspended for a rollback is shown, and resumed over the API."""

from __future__ import annotations

import aiohttp
import pytest

from tests.api.conftest import Serve
from tests.api.daemon import NOW, Daemon
from watchdog.api.presenters import present_traffic
from watchdog.core.request import Reply, RequestKind
from watchdog.core.traffic import Suspension, TrafficState, VariantState

OWNER = "Argo CD application argocd/trips"
DONE = {"service": "trips", "resumed": OWNER, "warning": "its source decides from here on"}


async def test_a_resume_is_a_request_with_a_reason(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    daemon.answer = lambda request: Reply(request=request.id, status=200, body=DONE)
    url = await serve() + "/api/v1/services/trips/gitops/resume"
    async with operator.post(url, json={"reason": "reverted in Git"}) as answer:
        assert (answer.status, await answer.json()) == (200, DONE)
    [asked] = daemon.asked
    assert (asked.kind, asked.target, asked.by) == (RequestKind.GITOPS_RESUME, "trips", "ci")
    assert asked.body == {"reason": "reverted in Git"}


async def test_a_refused_resume_is_a_problem_with_the_reason(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    why = "rollback rb-1 of trips is under way (applied)"
    daemon.answer = lambda request: Reply(request=request.id, status=409, detail=why)
    async with operator.post(await serve() + "/api/v1/services/trips/gitops/resume") as answer:
        assert answer.status == 409
        assert answer.content_type == "application/problem+json"
        assert (await answer.json())["detail"] == why


async def test_looking_is_not_enough_to_resume(serve: Serve, anybody: aiohttp.ClientSession) -> None:
    url, headers = await serve(), {"Authorization": "Bearer viewer-token"}
    async with anybody.post(url + "/api/v1/services/trips/gitops/resume", headers=headers) as answer:
        assert answer.status == 403


async def test_an_unknown_service_is_named(serve: Serve, operator: aiohttp.ClientSession) -> None:
    async with operator.post(await serve() + "/api/v1/services/trip/gitops/resume") as answer:
        assert answer.status == 404
        assert "trips" in (await answer.json())["detail"]


@pytest.mark.parametrize("suspended", [None, Suspension(owner=OWNER, rollback="rb-1")])
def test_what_is_suspended_is_part_of_the_traffic(suspended: Suspension | None) -> None:
    state = TrafficState(
        variants={"blue": VariantState(weight=100)},
        revision="r1",
        read_at=NOW,
        suspended=suspended,
        noted=("Helm release prod/trips writes it at the next upgrade",),
    )
    shown = present_traffic(state)
    expected = (OWNER, "rb-1") if suspended else ("", "")
    assert (shown.suspended, shown.suspended_for) == expected
    assert shown.noted == state.noted
