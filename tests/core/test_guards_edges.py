"""What the guards say to people, word for word, and their limits to the last unit."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.scenario import MINUTE, T0
from watchdog.core.guards import GUARDS, GuardFacts, ask
from watchdog.core.rule import Level
from watchdog.core.service import Mode, RollbackPolicy

FREE = GuardFacts(
    now=T0,
    automatic=True,
    policy=RollbackPolicy(),
    mode=Mode.ENFORCE,
    leader=True,
    from_version="v2",
    from_variant="green",
    from_live=True,
    live=("v2",),
    armed=True,
    started_at=T0 - MINUTE,
    target_version="v1",
    target_variant="blue",
    target_ready=10,
    live_capacity=10,
    rule="errors",
    known_before=Level.OK,
    max_rollbacks=3,
    max_rollbacks_per=10 * MINUTE,
    services=10,
    max_share=0.3,
    max_share_at_least=5,
)
DAY = timedelta(hours=24)


def said(guard: str, **facts: Any) -> str:
    """What one guard says to people; empty when it allows."""
    found = ask(replace(FREE, **facts), (guard,))
    return found[0].detail if found else ""


@pytest.mark.parametrize(
    ("guard", "facts", "words"),
    [
        ("mode", {"mode": Mode.OBSERVE}, "the service is in mode observe: the watchdog only tells"),
        ("mode", {"mode": Mode.APPROVE}, "the service is in mode approve and nobody approved yet"),
        ("paused", {"paused": "the pause file is there"}, "the pause file is there"),
        ("leader", {"leader": False}, "this process is not the leader"),
        (
            "armed",
            {"armed": False},
            "nothing was deployed that could be taken back: the version was adopted or traffic returned to it",
        ),
        ("armed", {"started_at": T0 - DAY}, "the deployment is older than armed_for (1h)"),
        (
            "known_good_target",
            {"forbidden": True},
            "the deployment was recorded with rollback: forbidden; move traffic by hand if that is safe",
        ),
        (
            "known_good_target",
            {"target_problem": "tainted", "target_detail": "version v1 on blue is tainted: no"},
            "no known good version to go to: version v1 on blue is tainted: no",
        ),
        ("known_good_target", {"target_variant": ""}, "no known good version to go to: none"),
        ("target_ready", {"target_variant": ""}, "there is no target"),
        ("target_ready", {"target_ready": None}, "readiness of blue is unknown: the switch cannot tell"),
        (
            "target_ready",
            {"target_ready": None, "target_note": "srv_blue: no check"},
            "readiness of blue is unknown: srv_blue: no check",
        ),
        (
            "target_ready",
            {"target_ready": 0, "target_note": "it is scaled to 0"},
            "blue has 0 ready, 8 needed (it is scaled to 0)",
        ),
        ("target_ready", {"target_ready": 7}, "blue has 7 ready, 8 needed"),
        ("still_live", {"from_live": False}, "v2 takes no traffic any more"),
        (
            "still_live",
            {"from_live": False, "from_version": ""},
            "the version that breached takes no traffic any more",
        ),
        (
            "still_live",
            {"attributable": False, "live": ("v1", "v2")},
            "v1 and v2 are live and the rule does not say which one is bad: let it name $version or $variant",
        ),
        (
            "not_already_bad",
            {"known_before": None},
            "nothing is known of errors in the 24 h before the deployment",
        ),
        ("not_already_bad", {"known_before": Level.CRITICAL}, "errors was critical before the deployment"),
        ("not_already_bad", {"previous_bad": "v1"}, "v1 still serves and is equally bad"),
        (
            "cooldown",
            {"switched_at": T0 - 5 * MINUTE},
            "the last rollback was just now; 10m of cooldown left",
        ),
        ("max_per_day", {"rollbacks_today": 3}, "3 automatic rollbacks in 24 h, at most 2 allowed"),
        ("breaker", {"recent_rollbacks": 4}, "4 automatic rollbacks in 10m, at most 3 allowed"),
        ("breaker", {"breaching": 6}, "6 of 10 services are breaching: suspect what they share"),
        (
            "confirmed",
            {"policy": RollbackPolicy(confirm=("slow", "busy")), "confirming": {"slow": Level.OK}},
            "no confirming rule warns: slow is ok, busy is unknown",
        ),
        (
            "backtested",
            {"unproven": "never_backtested", "unproven_detail": "errors was never back-tested"},
            "errors was never back-tested",
        ),
        (
            "unmanaged",
            {"managed_by": "Argo CD"},
            "Argo CD manages the target and would revert it; set gitops: pause or ignore",
        ),
    ],
)
def test_a_veto_says_this_to_people(guard: str, facts: dict[str, Any], words: str) -> None:
    assert said(guard, **facts) == words


def test_every_guard_has_words_here_and_allows_what_is_free() -> None:
    assert [name for name in GUARDS if said(name)] == []


def test_exactly_the_share_that_is_allowed_may_be_red() -> None:
    assert said("breaker", breaching=6, services=20, max_share=0.3) == ""
    assert said("breaker", breaching=7, services=20, max_share=0.3) != ""


def test_exactly_so_many_red_ones_open_the_breaker() -> None:
    assert said("breaker", breaching=4, services=5, max_share=0.3, max_share_at_least=5) == ""
    assert said("breaker", breaching=5, services=5, max_share=0.3, max_share_at_least=5) != ""


def test_where_nothing_is_configured_nothing_is_red() -> None:
    assert said("breaker", breaching=0, services=0, max_share=0.3, max_share_at_least=0) == ""


def test_the_last_moment_of_armed_for_is_still_armed() -> None:
    policy = RollbackPolicy(armed_for=30 * MINUTE)

    assert said("armed", policy=policy, started_at=T0 - 30 * MINUTE) == ""
    assert said("armed", policy=policy, started_at=T0 - 30 * MINUTE - timedelta(microseconds=1)) != ""


def test_the_cooldown_is_over_when_it_is_over() -> None:
    policy = RollbackPolicy(cooldown=15 * MINUTE)

    assert said("cooldown", policy=policy, switched_at=T0 - 15 * MINUTE) == ""
    assert said("cooldown", policy=policy, switched_at=T0 - 15 * MINUTE + timedelta(microseconds=1)) != ""
