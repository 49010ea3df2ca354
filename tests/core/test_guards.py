"""The guards: each by its name, what it allows and each of its vetoes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.scenario import CRITICAL, MINUTE, OK, ROLLBACK, T0, WARNING, Scenario, of_service, probe, rule
from watchdog.core.deployment import Deployment
from watchdog.core.events import OutcomeKind
from watchdog.core.facts import facts_before_write, gather
from watchdog.core.guards import (
    BEFORE_WRITE,
    GUARDS,
    READINESS,
    SKIPPED_FOR_PEOPLE,
    GuardFacts,
    ask,
)
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState, Veto
from watchdog.core.rule import Level
from watchdog.core.service import GitOps, Limits, Mode, RollbackPolicy

#: Facts with which every guard allows.
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
    unproven_detail="errors has not proved itself",
)


def vetoes(*names: str, **facts: Any) -> list[tuple[str, str]]:
    """The vetoes of the named guards (all of them by default) when these facts are different."""
    found = ask(replace(FREE, **facts), names or tuple(GUARDS))
    assert all(veto.detail for veto in found), "a veto says its reason to people"
    return [(veto.guard, veto.reason) for veto in found]


def policy(**changes: Any) -> RollbackPolicy:
    return RollbackPolicy(**changes)


def test_the_guards_are_those_of_the_design_and_the_one_of_back_tests_in_order() -> None:
    assert list(GUARDS) == [
        "mode",
        "paused",
        "leader",
        "armed",
        "known_good_target",
        "target_ready",
        "still_live",
        "not_already_bad",
        "cooldown",
        "max_per_day",
        "breaker",
        "confirmed",
        "backtested",
        "unmanaged",
    ]


def test_before_every_write_seven_are_asked_again() -> None:
    assert BEFORE_WRITE == (
        "mode",
        "paused",
        "leader",
        "known_good_target",
        "target_ready",
        "still_live",
        "unmanaged",
    )


def test_a_person_skips_what_only_protects_from_automation() -> None:
    assert set(SKIPPED_FOR_PEOPLE) == {
        "mode",
        "armed",
        "cooldown",
        "max_per_day",
        "breaker",
        "confirmed",
        "not_already_bad",
        "backtested",
    }
    assert not SKIPPED_FOR_PEOPLE & {"paused", "leader", "still_live", "target_ready"}


def test_when_nothing_is_in_the_way_nothing_vetoes() -> None:
    assert vetoes() == []


def test_every_guard_that_says_no_is_heard_in_order() -> None:
    worst = {
        "mode": Mode.OBSERVE,
        "paused": "paused by alice",
        "leader": False,
        "armed": False,
        "forbidden": True,
        "target_ready": None,
        "from_live": False,
        "known_before": None,
        "switched_at": T0,
        "rollbacks_today": 2,
        "recent_rollbacks": 3,
        "policy": policy(confirm=("latency",)),
        "unproven": "never_backtested",
        "managed_by": "Argo CD",
    }

    assert [guard for guard, _ in vetoes(**worst)] == list(GUARDS)
    assert [guard for guard, _ in vetoes(**worst, automatic=False)] == [
        guard for guard in GUARDS if guard not in SKIPPED_FOR_PEOPLE
    ]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"mode": Mode.ENFORCE}, []),
        ({"mode": Mode.OBSERVE}, [("mode", "observe")]),
        ({"mode": Mode.OBSERVE, "approved": True}, [("mode", "observe")]),
        ({"mode": Mode.APPROVE}, [("mode", "not_approved")]),
        ({"mode": Mode.APPROVE, "approved": True}, []),
    ],
)
def test_mode_lets_only_enforce_and_approved_ones_through(
    facts: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert vetoes("mode", **facts) == expected


def test_paused_says_who_and_why() -> None:
    (veto,) = ask(replace(FREE, paused="paused by alice: release freeze"), ("paused",))

    assert (veto.guard, veto.reason, veto.detail) == ("paused", "paused", "paused by alice: release freeze")


def test_leader_stops_a_follower() -> None:
    assert vetoes("leader", leader=False) == [("leader", "not_leader")]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"armed": False}, [("armed", "not_armed")]),
        ({"started_at": None}, [("armed", "not_armed")]),
        ({"started_at": T0 - 60 * MINUTE}, []),
        ({"started_at": T0 - 60 * MINUTE - timedelta(seconds=1)}, [("armed", "too_late")]),
        (
            {"started_at": T0 - 11 * MINUTE, "policy": policy(armed_for=10 * MINUTE)},
            [("armed", "too_late")],
        ),
    ],
)
def test_armed_is_a_new_deployment_for_as_long_as_configured(
    facts: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert vetoes("armed", **facts) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"forbidden": True}, "forbidden"),
        ({"target_problem": "tainted", "target_detail": "v1 was rolled back"}, "tainted"),
        ({"target_variant": ""}, "no_variant"),
    ],
)
def test_known_good_target_needs_a_stable_untainted_version_and_permission(
    facts: dict[str, Any], expected: str
) -> None:
    assert vetoes("known_good_target", **facts) == [("known_good_target", expected)]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"target_ready": 8}, []),
        ({"target_ready": 7}, ["not_ready"]),
        ({"target_ready": 0}, ["not_ready"]),
        ({"target_ready": None}, ["unknown"]),
        ({"target_variant": ""}, ["no_target"]),
        ({"target_ready": 8, "live_capacity": 11}, ["not_ready"]),
        ({"target_ready": 9, "live_capacity": 11}, []),
        ({"target_ready": 1, "live_capacity": None}, []),
        ({"target_ready": 0, "live_capacity": None}, ["not_ready"]),
        ({"target_ready": 0, "policy": policy(min_ready=0.0)}, ["not_ready"]),
        ({"target_ready": 10, "policy": policy(min_ready=1.0)}, []),
        ({"target_ready": 9, "policy": policy(min_ready=1.0)}, ["not_ready"]),
    ],
)
def test_target_ready_is_relative_to_what_is_live_and_unknown_is_a_no(
    facts: dict[str, Any], expected: list[str]
) -> None:
    assert vetoes("target_ready", **facts) == [("target_ready", reason) for reason in expected]


def test_target_ready_says_why_readiness_is_unknown() -> None:
    (veto,) = ask(replace(FREE, target_ready=None, target_note="servers have no checks"), ("target_ready",))

    assert veto.detail == "readiness of blue is unknown: servers have no checks"
    (veto,) = ask(replace(FREE, target_ready=None), ("target_ready",))
    assert veto.detail == "readiness of blue is unknown: the switch cannot tell"


def test_still_live_wants_the_version_that_breached_and_no_other() -> None:
    assert vetoes("still_live", from_live=False) == [("still_live", "not_live")]
    assert vetoes("still_live", attributable=False) == [("still_live", "not_attributable")]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"known_before": None}, ["no_baseline"]),
        ({"known_before": Level.OK}, []),
        ({"known_before": Level.WARNING}, []),
        ({"known_before": Level.CRITICAL}, ["already_bad"]),
        ({"known_before": Level.ROLLBACK}, ["already_bad"]),
        ({"previous_bad": "v1"}, ["previous_bad_too"]),
    ],
)
def test_not_already_bad_wants_a_known_good_past(facts: dict[str, Any], expected: list[str]) -> None:
    assert vetoes("not_already_bad", **facts) == [("not_already_bad", reason) for reason in expected]


@pytest.mark.parametrize(("ago", "expected"), [(14, ["too_soon"]), (15, []), (60, [])])
def test_cooldown_counts_from_the_last_switch(ago: int, expected: list[str]) -> None:
    assert vetoes("cooldown", switched_at=T0 - ago * MINUTE) == [("cooldown", reason) for reason in expected]


def test_cooldown_does_not_stop_the_first_one() -> None:
    assert vetoes("cooldown", switched_at=None) == []


@pytest.mark.parametrize(("today", "expected"), [(0, []), (1, []), (2, ["used_up"]), (3, ["used_up"])])
def test_max_per_day_allows_two(today: int, expected: list[str]) -> None:
    assert vetoes("max_per_day", rollbacks_today=today) == [("max_per_day", reason) for reason in expected]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"recent_rollbacks": 2}, []),
        ({"recent_rollbacks": 3}, ["too_many_rollbacks"]),
        ({"breaching": 5, "services": 10}, ["too_much_red"]),
        ({"breaching": 4, "services": 10}, []),  # not enough of them
        ({"breaching": 5, "services": 17}, []),  # not a large enough share
        ({"breaching": 3, "services": 10}, []),
        ({"breaching": 0, "services": 0}, []),
    ],
)
def test_breaker_has_two_limits_and_the_second_needs_share_and_number(
    facts: dict[str, Any], expected: list[str]
) -> None:
    assert vetoes("breaker", **facts) == [("breaker", reason) for reason in expected]


@pytest.mark.parametrize(
    ("confirm", "levels", "expected"),
    [
        ((), {}, []),
        (("latency",), {}, ["not_confirmed"]),
        (("latency",), {"latency": Level.OK}, ["not_confirmed"]),
        (("latency",), {"latency": Level.UNKNOWN}, ["not_confirmed"]),
        (("latency",), {"latency": Level.WARNING}, []),
        (("latency", "healthy"), {"latency": Level.OK, "healthy": Level.CRITICAL}, []),
    ],
)
def test_confirmed_wants_one_of_its_rules_to_warn(
    confirm: tuple[str, ...], levels: dict[str, Level], expected: list[str]
) -> None:
    found = vetoes("confirmed", policy=policy(confirm=confirm), confirming=levels)

    assert found == [("confirmed", reason) for reason in expected]


@pytest.mark.parametrize(
    ("managed_by", "gitops", "expected"),
    [
        (None, GitOps.VETO, []),
        ("Argo CD", GitOps.VETO, ["managed"]),
        ("Argo CD", GitOps.PAUSE, []),
        ("Flux", GitOps.IGNORE, []),
    ],
)
def test_unmanaged_stops_before_a_controller_would_revert_it(
    managed_by: str | None, gitops: GitOps, expected: list[str]
) -> None:
    found = vetoes("unmanaged", managed_by=managed_by, gitops=gitops)

    assert found == [("unmanaged", reason) for reason in expected]


# -- the facts they are asked with


def facts_of(scenario: Scenario, bad: Deployment | None = None, **more: Any) -> GuardFacts:
    settings: dict[str, Any] = {
        "automatic": True,
        "bad": bad or scenario.on("green"),
        "rule": scenario.rules[0],
    }
    return gather(scenario.world, scenario.service, now=scenario.now, **(settings | more))


def canary(scenario: Scenario) -> Scenario:
    """A small green takes a part of the traffic beside blue."""
    scenario.shows("green", ready=1, total=1).stable_blue().after("5s")
    return scenario.traffic(blue=9, green=1).after("35s")


def test_a_bad_deployment_beside_a_stable_one_meets_no_veto() -> None:
    scenario = Scenario().green_deployed()

    assert ask(facts_of(scenario)) == ()


def test_what_was_known_before_the_deployment_is_found() -> None:
    scenario = Scenario().stable_blue().after("10s").observe(value=CRITICAL)
    scenario.after("5s").traffic().traffic(blue=0, green=1)

    facts = facts_of(scenario)

    assert facts.known_before is Level.CRITICAL
    assert [veto.reason for veto in ask(facts, ("not_already_bad",))] == ["already_bad"]


def test_what_was_known_longer_ago_than_a_day_is_no_baseline() -> None:
    scenario = Scenario().stable_blue().after("25h").traffic().traffic(blue=0, green=1)

    assert [veto.reason for veto in ask(facts_of(scenario), ("not_already_bad",))] == ["no_baseline"]


def test_silence_before_a_deployment_is_no_baseline() -> None:
    scenario = Scenario(rule(), rule("latency")).traffic(blue=1, green=0)
    for _ in range(24):
        scenario.after("30s").silence("latency").observe("errors", value=OK)
    scenario.traffic(blue=0, green=1)

    facts = facts_of(scenario, rule=scenario.rules[1])

    assert [veto.reason for veto in ask(facts, ("not_already_bad",))] == ["no_baseline"]


def test_a_version_that_still_serves_and_is_equally_bad_clears_the_new_one() -> None:
    scenario = canary(Scenario())
    scenario.observe(value=ROLLBACK, on="green").observe(value=CRITICAL, on="blue")

    assert [veto.reason for veto in ask(facts_of(scenario))] == ["previous_bad_too"]

    scenario.after("10s").observe(value=WARNING, on="blue")

    assert ask(facts_of(scenario)) == ()


def test_a_rule_that_names_no_version_accuses_nobody_while_two_are_live() -> None:
    scenario = canary(Scenario(rule(), of_service()))

    assert [veto.reason for veto in ask(facts_of(scenario, rule=scenario.rules[1]))] == ["not_attributable"]
    assert ask(facts_of(scenario)) == ()

    scenario.after("5s").traffic(blue=0, green=1)

    assert ask(facts_of(scenario, rule=scenario.rules[1])) == ()


def test_the_target_must_stand_in_for_all_others_that_are_live() -> None:
    scenario = Scenario().shows("green", total=6, ready=1).shows("blue", total=4, ready=4).green_deployed()

    assert facts_of(scenario).live_capacity == 6
    assert [veto.reason for veto in ask(facts_of(scenario))] == ["not_ready"]

    scenario.after("5s").traffic(blue=1, green=1)

    assert facts_of(scenario).live_capacity == 6


def test_a_canary_beside_a_variant_of_the_same_size_can_be_taken_back() -> None:
    scenario = Scenario().stable_blue().after("5s").traffic(blue=4, green=1)

    assert ask(facts_of(scenario)) == ()


def test_a_target_that_lost_its_own_capacity_is_not_ready_for_the_canary_either() -> None:
    scenario = Scenario().shows("blue", total=10, ready=5).shows("green", total=1, ready=1).green_deployed()
    scenario.after("5s").traffic(blue=9, green=1)

    assert facts_of(scenario).live_capacity == 10
    assert [veto.reason for veto in ask(facts_of(scenario))] == ["not_ready"]


def test_capacity_that_the_switch_does_not_count_is_what_is_ready_or_one() -> None:
    scenario = Scenario().shows("green", total=None, ready=3).green_deployed()

    assert facts_of(scenario).live_capacity == 3

    scenario.shows("green", total=None, ready=None).after("5s").traffic()

    assert facts_of(scenario).live_capacity == 1


def test_only_trouble_of_the_bad_version_confirms() -> None:
    scenario = canary(Scenario(rule(), rule("latency"), confirm=("latency",)))

    scenario.observe("latency", value=CRITICAL, on="blue")
    assert [veto.guard for veto in ask(facts_of(scenario))] == ["confirmed"]

    scenario.observe("latency", value=WARNING, on="green")
    assert ask(facts_of(scenario)) == ()

    scenario.after("91s")
    assert [veto.guard for veto in ask(facts_of(scenario))] == ["confirmed"], (
        "an old warning confirms nothing"
    )


def test_a_probe_of_the_whole_service_confirms_too() -> None:
    scenario = Scenario(rule(), probe(), confirm=("healthy",)).green_deployed()

    for _ in range(3):
        scenario.after("5s").probed(alive=False)

    assert ask(facts_of(scenario)) == ()


def test_a_confirming_rule_that_is_gone_confirms_nothing() -> None:
    scenario = Scenario(rule(), rule("latency"), confirm=("latency",)).green_deployed()
    scenario.observe("latency", value=CRITICAL)
    scenario.configure(rules=(rule(),))

    assert facts_of(scenario).confirming == {}


def test_a_rollback_does_not_count_against_itself() -> None:
    scenario = Scenario(max_per_day=1).decided()

    assert scenario.rollback.state is RollbackState.INTENDED
    assert facts_of(scenario, own=scenario.rollback).rollbacks_today == 0
    assert facts_of(scenario).rollbacks_today == 1
    assert facts_of(scenario).recent_rollbacks == 1


def test_all_services_together_are_what_the_breaker_sees() -> None:
    names = tuple(f"other-{number}" for number in range(4))
    scenario = Scenario(others=names, limits=Limits(max_share=0.3, at_least=5))
    scenario.stable_blue()
    for name in names:
        scenario.traffic(name, blue=0, green=1).observe(value=CRITICAL, name=name)
    scenario.after("5s").traffic(blue=0, green=1).after("35s")

    assert facts_of(scenario).breaching == 4
    assert ask(facts_of(scenario)) == ()

    scenario.observe(value=CRITICAL)

    assert facts_of(scenario).breaching == 5
    assert [veto.reason for veto in ask(facts_of(scenario))] == ["too_much_red"]


def test_without_a_deployment_there_is_nothing_to_take_back() -> None:
    scenario = Scenario()

    facts = gather(scenario.world, scenario.service, now=scenario.now, automatic=True, bad=None)

    assert [veto.guard for veto in ask(facts, READINESS)] == ["known_good_target", "target_ready"]
    assert not facts.from_live


def test_before_the_write_everything_is_asked_of_the_state_just_read() -> None:
    scenario = Scenario().decided()
    rollback, world = scenario.rollback, scenario.world

    def asked(paused: str = "", **weights: int) -> list[str]:
        facts = facts_before_write(
            world, rollback, scenario.state(**weights), now=scenario.now, paused_by_file=paused
        )
        return [veto.guard for veto in ask(facts, BEFORE_WRITE)]

    assert asked() == []
    assert asked(paused="the pause file is there") == ["paused"]
    assert asked(blue=1, green=0) == ["still_live"]
    scenario.shows("blue", ready=0)
    assert asked(blue=0, green=1) == ["target_ready"]


def test_a_version_that_was_replaced_in_place_is_not_live_any_more() -> None:
    scenario = Scenario().shows("green", version="v2").shows("blue", version="v1").decided()

    scenario.shows("green", version="v3")
    state = scenario.state()
    facts = facts_before_write(scenario.world, scenario.rollback, state, now=scenario.now, paused_by_file="")

    assert [veto.guard for veto in ask(facts, BEFORE_WRITE)] == ["still_live"]


def test_a_better_target_than_the_decided_one_stops_the_write() -> None:
    scenario = Scenario().decided()
    elsewhere = replace(scenario.rollback, to_variant="red")

    facts = facts_before_write(
        scenario.world, elsewhere, scenario.state(), now=scenario.now, paused_by_file=""
    )

    assert [(veto.guard, veto.reason) for veto in ask(facts, BEFORE_WRITE)] == [
        ("known_good_target", "target_changed")
    ]


def test_a_pause_by_a_person_names_him() -> None:
    scenario = Scenario().green_deployed()
    paused = replace(scenario.world, paused_by_file="the pause file is there")

    facts = gather(paused, scenario.service, now=scenario.now, automatic=True, bad=scenario.on("green"))

    assert facts.paused == "the pause file is there"


# -- asked again right before the write


def before_write(scenario: Scenario, /, *, world: Any = None, **weights: int) -> list[tuple[str, str]]:
    facts = facts_before_write(
        world or scenario.world,
        scenario.rollback,
        scenario.state(**weights),
        now=scenario.now,
        paused_by_file="",
    )
    return [(veto.guard, veto.reason) for veto in ask(facts, BEFORE_WRITE)]


def test_a_mark_on_the_target_that_was_set_since_the_decision_stops_the_write() -> None:
    scenario = Scenario().decided()
    marked = replace(scenario.state(), paused="by bob")

    facts = facts_before_write(
        scenario.world, scenario.rollback, marked, now=scenario.now, paused_by_file="the pause file exists"
    )

    assert [veto.detail for veto in ask(facts, BEFORE_WRITE)] == [
        "the pause file exists; paused by a mark on the target: by bob"
    ]


def test_a_mark_on_the_target_stops_the_decision_and_its_end_lets_it_go() -> None:
    scenario = Scenario().green_deployed()
    marked = replace(scenario.state(), paused="by bob")
    scenario.world = replace(scenario.world, services={"trips": replace(scenario.service, traffic=marked)})

    scenario.green_is_bad()
    assert scenario.vetoes == [("paused", "paused")]
    assert "by bob" in scenario.rollback.vetoes[0].detail

    scenario.traffic().green_is_bad(1)
    scenario.rollback_is(RollbackState.INTENDED)


def test_all_kill_switches_that_are_set_are_named() -> None:
    scenario = Scenario().green_deployed()
    scenario.ask(RequestKind.PAUSE, reason="release freeze")
    service = replace(scenario.service, traffic=replace(scenario.state(), paused="by bob"))
    world = replace(scenario.world, paused_by_file="the pause file exists", services={"trips": service})

    facts = gather(world, service, now=scenario.now, automatic=True, bad=scenario.on("green"))

    assert facts.paused == (
        "the pause file exists; paused by alice: release freeze; paused by a mark on the target: by bob"
    )


def test_a_pause_without_a_reason_names_who_set_it() -> None:
    scenario = Scenario().green_deployed()
    scenario.ask(RequestKind.PAUSE)

    assert facts_of(scenario).paused == "paused by alice"


def test_a_service_that_people_must_approve_since_the_decision_is_not_written_without_them() -> None:
    scenario = Scenario().decided().mode(Mode.APPROVE)

    assert before_write(scenario) == [("mode", "not_approved")]


def test_what_a_person_approved_is_written() -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided()
    scenario.ask(RequestKind.APPROVE, scenario.incident.id)

    assert before_write(scenario.rollback_is(RollbackState.INTENDED)) == []
    assert before_write(scenario.mode(Mode.OBSERVE)) == [("mode", "observe")]


def test_an_approval_is_for_one_intent_and_not_for_the_next() -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided()
    scenario.ask(RequestKind.APPROVE, scenario.incident.id)
    scenario.outcome(OutcomeKind.VETOED, vetoes=(Veto(guard="target_ready", reason="not_ready", detail="x"),))
    scenario.mode(Mode.ENFORCE).green_is_bad(1).rollback_is(RollbackState.INTENDED)

    assert before_write(scenario.mode(Mode.APPROVE)) == [("mode", "not_approved")]


def test_another_version_that_came_since_the_decision_may_be_the_bad_one() -> None:
    scenario = Scenario(of_service()).shows("red", ready=1, total=1).traffic(blue=1, green=0, red=0)
    scenario.healthy_for("11m").after("5s").traffic(blue=0, green=1).after("35s").traffic()
    scenario.green_is_bad(rule="load").rollback_is(RollbackState.INTENDED)

    assert before_write(scenario) == []
    assert before_write(scenario, red=1) == [("still_live", "not_attributable")]
    assert before_write(scenario, red=0, blue=1) == [], "half of our own change is no other version"


def test_half_of_our_own_change_need_not_stand_in_for_itself() -> None:
    """Blue takes traffic already because we sent it there: it must be able to take green's, and no more."""
    scenario = Scenario().decided()
    scenario.shows("blue", ready=4, total=10).shows("green", ready=5, total=5)

    assert before_write(scenario, blue=1, green=1) == []
    assert before_write(scenario.shows("blue", ready=3), blue=1, green=1) == [("target_ready", "not_ready")]


def test_a_rule_that_names_the_version_accuses_it_whatever_came_since() -> None:
    scenario = Scenario().shows("red", ready=1, total=1).traffic(blue=1, green=0, red=0)
    scenario.healthy_for("11m").after("5s").traffic(blue=0, green=1).after("35s").traffic().green_is_bad()

    assert before_write(scenario, red=1) == []


def test_a_target_that_was_live_beside_the_bad_version_is_a_version_like_any_other() -> None:
    scenario = Scenario(rule(), of_service()).stable_blue().after("5s").traffic(blue=1, green=1).after("35s")
    scenario.traffic().green_is_bad(rule="errors").rollback_is(RollbackState.INTENDED)
    assert scenario.rollback.change is not None
    assert scenario.rollback.change.beside
    unnamed = replace(scenario.rollback, rules=(scenario.rules[1],))

    def reasons(*rules: Any) -> list[str]:
        facts = facts_before_write(
            scenario.world,
            replace(unnamed, rules=rules),
            scenario.state(),
            now=scenario.now,
            paused_by_file="",
        )
        return [veto.reason for veto in ask(facts, BEFORE_WRITE)]

    assert reasons(scenario.rules[1]) == ["not_attributable"]
    assert reasons(scenario.rules[1], scenario.rules[0]) == []
    assert reasons() == []


def test_a_person_need_not_say_which_version_is_bad() -> None:
    scenario = Scenario(of_service()).shows("red", ready=1, total=1).traffic(blue=1, green=0, red=0)
    scenario.healthy_for("11m").after("5s").traffic(blue=0, green=1).after("35s").traffic()
    scenario.green_is_bad(1, value=CRITICAL, rule="load")
    assert scenario.ask(RequestKind.ROLLBACK, reason="I know").status == 202
    assert scenario.rollback.rules

    assert before_write(scenario, red=1) == []


# -- counted


def test_half_a_switch_is_a_switch_for_the_cooldown() -> None:
    scenario = Scenario().decided()
    before = scenario.now
    scenario.after("1m").outcome(OutcomeKind.HALF_DONE, state=scenario.state(blue=1, green=1))
    assert scenario.rollback.applied_at is None

    assert facts_of(scenario).switched_at == before + MINUTE
    assert facts_of(scenario, own=scenario.rollback).switched_at is None


def test_what_was_stopped_before_the_write_moved_nothing() -> None:
    scenario = Scenario().decided()
    assert facts_of(scenario).switched_at is None
    scenario.outcome(OutcomeKind.VETOED, vetoes=(Veto(guard="paused", reason="paused", detail="x"),))

    facts = facts_of(scenario)

    assert (facts.switched_at, facts.rollbacks_today, facts.recent_rollbacks) == (None, 0, 0)


def test_the_last_of_several_switches_counts_of_whomever() -> None:
    scenario = Scenario().switched()
    first = scenario.rollback
    assert first.applied_at is not None
    later = replace(first, id="rb-later", automatic=False, applied_at=first.applied_at + MINUTE)
    earlier = replace(first, id="rb-earlier", applied_at=first.applied_at - MINUTE)
    service = replace(scenario.service, rollbacks={one.id: one for one in (earlier, later, first)})
    world = replace(scenario.world, services={"trips": service})

    def switched_at(own: Any) -> Any:
        return gather(world, service, now=scenario.now, automatic=True, bad=None, own=own).switched_at

    assert switched_at(None) == later.applied_at
    assert switched_at(later) == first.applied_at


def test_of_several_rules_that_accuse_a_version_one_that_was_fine_before_is_enough_for_an_approval() -> None:
    scenario = Scenario(rule(), rule("latency"), mode=Mode.APPROVE).stable_blue()
    scenario.after("30s").observe("errors", value=CRITICAL).observe("latency", value=OK)
    scenario.after("5s").traffic().after("5s").traffic(blue=0, green=1).after("35s").traffic()
    scenario.green_is_bad(rule="errors")
    assert scenario.vetoes == [("mode", "not_approved"), ("not_already_bad", "already_bad")]
    scenario.green_is_bad(rule="latency").rollback_is(RollbackState.AWAITING_APPROVAL)
    assert [one.name for one in scenario.rollback.rules] == ["errors", "latency"]

    assert scenario.ask(RequestKind.APPROVE, scenario.incident.id).status == 202
    assert before_write(scenario.rollback_is(RollbackState.INTENDED)) == []


def test_what_nobody_told_is_never_a_comfortable_default() -> None:
    bare = GuardFacts(now=T0, automatic=True, policy=RollbackPolicy(confirm=("latency",)), mode=Mode.ENFORCE)

    assert [(veto.guard, veto.reason) for veto in ask(bare)] == [
        ("leader", "not_leader"),
        ("armed", "not_armed"),
        ("known_good_target", "no_variant"),
        ("target_ready", "no_target"),
        ("still_live", "not_live"),
        ("not_already_bad", "no_baseline"),
        ("breaker", "too_many_rollbacks"),
        ("confirmed", "not_confirmed"),
    ]
    counted = (bare.rollbacks_today, bare.recent_rollbacks, bare.max_rollbacks, bare.breaching, bare.services)
    assert counted == (0, 0, 0, 0, 0)
    assert (bare.max_share, bare.max_share_at_least, bare.approved, bare.forbidden) == (1.0, 0, False, False)


def test_facts_are_what_they_were_when_the_guards_were_asked() -> None:
    with pytest.raises(AttributeError):
        FREE.leader = False  # type: ignore[misc]


@pytest.mark.parametrize(
    ("guard", "facts", "detail"),
    [
        ("known_good_target", {"target_variant": ""}, "no known good version to go to: none"),
        (
            "known_good_target",
            {"target_problem": "tainted", "target_detail": "v1 burns"},
            "no known good version to go to: v1 burns",
        ),
        ("still_live", {"from_live": False}, "v2 takes no traffic any more"),
        (
            "still_live",
            {"from_live": False, "from_version": ""},
            "the version that breached takes no traffic any more",
        ),
        (
            "cooldown",
            {"switched_at": T0 - 5 * MINUTE},
            "the last rollback was just now; 10m of cooldown left",
        ),
    ],
)
def test_a_veto_says_to_people_what_it_knows(guard: str, facts: dict[str, Any], detail: str) -> None:
    assert [veto.detail for veto in ask(replace(FREE, **facts), (guard,))] == [detail]
