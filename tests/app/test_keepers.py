"""What the doctor tells of who else writes a service's target."""

from __future__ import annotations

from typing import Any

import pytest

from watchdog.app.finding import Health
from watchdog.app.keepers import keepers
from watchdog.core.service import GitOps, Service
from watchdog.core.traffic import Suspension, TrafficState, VariantState
from watchdog.testing.clock import BASE

OWNER = "Argo CD application argocd/trips"


def told(gitops: GitOps = GitOps.VETO, **fields: Any) -> list[tuple[Health, str]]:
    state = TrafficState(variants={"blue": VariantState(weight=100)}, revision="r1", read_at=BASE, **fields)
    return [(one.health, one.detail) for one in keepers(Service(name="trips", gitops=gitops), state)]


def test_nobody_is_nothing_to_tell() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("gitops", "health", "detail"),
    [
        (GitOps.VETO, Health.WARN, "so nothing is rolled back"),
        (GitOps.PAUSE, Health.OK, "which is suspended before a switch"),
        (GitOps.IGNORE, Health.WARN, "which may revert a switch"),
    ],
)
def test_who_would_undo_a_switch_is_told_with_what_becomes_of_it(
    gitops: GitOps, health: Health, detail: str
) -> None:
    assert told(gitops, managed_by=f"{OWNER} (self-heal)") == [
        (health, f"managed by {OWNER} (self-heal), {detail}")
    ]


def test_what_is_suspended_is_a_warning_and_what_is_noted_is_none() -> None:
    found = told(
        suspended=Suspension(owner=OWNER, rollback="rb-1"), noted=("an autoscaler sets its replicas",)
    )
    assert found == [
        (Health.WARN, f"{OWNER} is suspended for rollback rb-1"),
        (Health.OK, "noted: an autoscaler sets its replicas"),
    ]
