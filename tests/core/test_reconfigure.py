"""The configuration changes while something is under way: what goes on, what begins anew, what ends."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.scenario import CRITICAL, MINUTE, OK, ROLLBACK, WARNING, Scenario, of_service, probe, rule
from watchdog.core.deployment import DeploymentState
from watchdog.core.events import Observed, OutcomeKind, TrafficSeen, TrafficUnseen
from watchdog.core.incident import IncidentKind
from watchdog.core.ladder import Policy, ReportTime, Step
from watchdog.core.message import MessageKind
from watchdog.core.mute import MuteWindow
from watchdog.core.observation import FailReason, Value
from watchdog.core.reconfigure import ConfigBroken, Reconfigured, busy, reconfigure, sources_of
from watchdog.core.request import RequestKind
from watchdog.core.restore import restore_service
from watchdog.core.rollback import RollbackState
from watchdog.core.routing import Gather, Route
from watchdog.core.rule import Level, Rule, Severity, Thresholds
from watchdog.core.service import Limits, Mode
from watchdog.core.step import Stepped
from watchdog.core.world import ServiceWorld, SourceWorld

LOOSER = Thresholds(warning=10.0, critical=40.0, rollback=60.0)
STRICTER = Thresholds(warning=1.0, critical=2.0, rollback=3.0)


def change(scenario: Scenario, *rules: Rule, **changes: Any) -> Reconfigured:
    """The configuration that is in force, with other rules of every service, or with something else changed."""
    world = scenario.world
    chosen = rules or scenario.rules
    services = {
        name: replace(one.service, rules=tuple(each.name for each in chosen))
        for name, one in world.services.items()
    }
    made = Reconfigured(
        services=services,
        rules={one.name: one for one in chosen},
        sources=tuple(world.sources),
        limits=world.limits,
        routes=world.routes,
        recheck=world.recheck,
        before="before",
        after="after",
    )
    return replace(made, **changes)


def take(scenario: Scenario, changed: Reconfigured | ConfigBroken) -> Stepped:
    """Take it in; the world before is left alone."""
    frozen = copy.deepcopy(scenario.world)
    stepped = reconfigure(scenario.world, changed, scenario.now)
    assert scenario.world == frozen
    for record in stepped.services:
        assert record == stepped.world.services[record.name].record()
    keys = [message.key for message in stepped.messages]
    assert len(keys) == len(set(keys))
    scenario.world = stepped.world
    scenario.messages.extend(stepped.messages)
    scenario.audit.extend(stepped.audit)
    return stepped


def without(changed: Reconfigured, *names: str) -> Reconfigured:
    return replace(
        changed, services={name: one for name, one in changed.services.items() if name not in names}
    )


def recorded(stepped: Stepped) -> dict[str, Any]:
    found = [draft.body for draft in stepped.audit if draft.kind == "config_reloaded"]
    assert len(found) == 1
    return {key: value for key, value in found[0].items() if key not in ("before", "after")}


# What stays


@pytest.mark.parametrize(
    "story", [Scenario.stable_blue, Scenario.decided, Scenario.switched, Scenario.verified]
)
def test_the_same_configuration_changes_nothing(story: Callable[[Scenario], Scenario]) -> None:
    scenario = story(Scenario(others=("hotels",)))
    before = scenario.world
    stepped = take(scenario, change(scenario))
    assert replace(stepped.world, edition=before.edition) == before
    assert recorded(stepped) == {}
    assert (stepped.incidents, stepped.rollbacks, stepped.messages, stepped.forgotten) == ((), (), (), ())


def test_an_equal_rule_stays_the_very_same_object() -> None:
    scenario = Scenario().stable_blue()
    kept = scenario.service.rules["errors"]
    take(scenario, change(scenario, copy.deepcopy(kept)))
    assert scenario.service.rules["errors"] is kept


@pytest.mark.parametrize(
    "changes",
    [
        {"summary": "failing"},
        {"runbook": "https://runbooks.example.com/x"},
        {"tags": ("web",)},
        {"interval": timedelta(seconds=7)},
        {"blind_after": timedelta(minutes=9)},
    ],
)
def test_other_words_leave_what_a_check_remembers(changes: dict[str, Any]) -> None:
    scenario = Scenario().green_deployed().green_is_bad(times=1)
    before = scenario.remembers()
    take(scenario, change(scenario, rule(**changes)))
    assert scenario.remembers() == before
    scenario.green_is_bad(times=1)
    scenario.rollback_is(RollbackState.INTENDED)


def test_policy_limits_routes_and_mode_count_from_the_next_turn_on() -> None:
    scenario = Scenario().stable_blue()
    limits, routes = Limits(max_rollbacks=7), (Route(to=("ops",)),)
    changed = change(scenario, limits=limits, routes=routes, recheck=timedelta(seconds=9))
    other = replace(changed.services["trips"], mode=Mode.OBSERVE)
    stepped = take(scenario, replace(changed, services={"trips": other}))
    assert (scenario.world.limits, scenario.world.routes) == (limits, routes)
    assert scenario.world.recheck == timedelta(seconds=9)
    assert recorded(stepped).keys() == {"services_changed", "limits", "routes"}
    scenario.after("5s").traffic(blue=0, green=1).after("35s").traffic().green_is_bad()
    assert [guard for guard, _ in scenario.vetoes] == ["mode"]


# What begins anew


def test_ladders_and_mute_windows_are_exchanged_while_who_is_on_the_way_to_be_told_stays() -> None:
    ladder = (Step(to=("ops",)), Step(to=("lead",), after=5 * MINUTE))
    policy = Policy(name="p", ladders={Severity.HIGH: ladder})
    scenario = Scenario()
    scenario.world = replace(scenario.world, routes=(Route(policy=policy),))
    scenario.traffic(blue=1, green=0).after("30s").observe(value=CRITICAL)
    climb = scenario.incident.climb
    assert climb is not None
    night = MuteWindow(name="night", zone="Asia/Seoul", start=1320, end=420)
    report = replace(ladder[1], digest=ReportTime(zone="Asia/Seoul"))
    other = Policy(name="p", ladders={Severity.LOW: (ladder[0], report)}, repeat_after=None)
    routes = (Route(policy=other, mutes=(night,), gather=Gather(by=("team",))), Route(to=("lead",)))

    stepped = take(scenario, change(scenario, routes=routes))

    assert scenario.world.routes == routes
    assert scenario.incident.climb == climb
    assert json.loads(json.dumps(recorded(stepped)))["routes"][0][0]["mutes"][0]["zone"] == "Asia/Seoul"
    scenario.after("5m").tick()
    assert scenario.message(MessageKind.ESCALATED).only_to == ("lead",)


def test_a_changed_threshold_counts_once_no_incident_holds_the_check_to_the_old_one() -> None:
    scenario = Scenario().green_deployed().green_is_bad(times=1)
    check = scenario.check()
    stepped = take(scenario, change(scenario, rule(thresholds=STRICTER)))
    assert stepped.forgotten == (), "the first bad sample opened an incident, which keeps its rule"
    assert check in scenario.service.stale


def test_a_check_that_nothing_holds_forgets_what_another_rule_saw() -> None:
    scenario = Scenario(of_service()).traffic(blue=1, green=0).after("10s").observe("load", value=OK)
    check = scenario.check("load")
    stepped = take(scenario, change(scenario, of_service(thresholds=STRICTER)))
    assert stepped.forgotten == (check,)
    assert check not in scenario.service.checks
    assert recorded(stepped)["rules"]["load"].keys() == {"before", "after"}


def test_an_answer_to_the_old_question_judges_nothing() -> None:
    scenario = Scenario(of_service()).traffic(blue=1, green=0)
    check, asked_in = scenario.check("load"), scenario.world.edition
    take(scenario, change(scenario, of_service(thresholds=LOOSER)))
    late = Observed(
        check=check,
        observation=Value(value=ROLLBACK, at=scenario.now),
        arrived_at=scenario.now,
        edition=asked_in,
    )
    assert scenario.feed(late) == Stepped(world=scenario.world)
    assert check not in scenario.service.checks
    scenario.feed(replace(late, edition=scenario.world.edition))
    assert check in scenario.service.checks


def test_an_answer_to_a_question_that_stayed_counts_whenever_it_was_asked() -> None:
    scenario = Scenario(of_service(), of_service("queue")).traffic(blue=1, green=0)
    check, asked_in = scenario.check("queue"), scenario.world.edition
    take(scenario, change(scenario, of_service(thresholds=LOOSER), of_service("queue")))
    value = Value(value=OK, at=scenario.now)
    scenario.feed(Observed(check=check, observation=value, arrived_at=scenario.now, edition=asked_in))
    assert check in scenario.service.checks


def test_another_source_makes_another_question() -> None:
    scenario = Scenario(of_service(), probe()).traffic(blue=1, green=0).observe("load", value=OK)
    scenario.probed(alive=True)
    scenario.world = replace(
        scenario.world,
        sources={
            "prometheus": SourceWorld(
                name="prometheus", up=False, error="refused", failing_since=scenario.now
            )
        },
    )
    alive = scenario.check("healthy")
    stepped = take(scenario, change(scenario, new_sources=frozenset({"prometheus"})))
    assert stepped.forgotten == (scenario.check("load"),)
    assert alive in scenario.service.checks, "a probe asks no source"
    assert scenario.world.sources["prometheus"] == SourceWorld(name="prometheus")
    assert recorded(stepped) == {"sources_changed": ["prometheus"]}


def test_a_first_answer_from_the_old_source_judges_nothing() -> None:
    scenario = Scenario(of_service()).traffic(blue=1, green=0)
    check = scenario.check("load")
    take(scenario, change(scenario, new_sources=frozenset({"prometheus"})))
    value = Value(value=OK, at=scenario.now)
    late = Observed(check=check, observation=value, arrived_at=scenario.now)
    assert scenario.feed(late) == Stepped(world=scenario.world)


# The time before a deployment


@pytest.mark.parametrize("limits", [LOOSER, STRICTER], ids=["looser", "stricter"])
def test_a_changed_threshold_may_still_roll_back_a_deployment_from_before_it(limits: Thresholds) -> None:
    scenario = Scenario().green_deployed()
    take(scenario, change(scenario, rule(thresholds=limits)))
    scenario.green_is_bad(times=3, value=70.0)
    scenario.rollback_is(RollbackState.INTENDED)


def test_a_rule_that_asks_something_else_knows_nothing_of_the_time_before() -> None:
    scenario = Scenario().green_deployed()
    take(scenario, change(scenario, rule(query='other{version="$version"}')))
    scenario.green_is_bad(times=3, value=70.0)
    assert scenario.vetoes == [("not_already_bad", "no_baseline")]


# Rules that change or go while they fire


def test_a_rule_that_is_changed_while_it_fires_ends_by_the_old_one_and_begins_anew() -> None:
    scenario = Scenario(of_service()).traffic(blue=1, green=0).healthy_for("1m")
    scenario.after("30s").observe("load", value=CRITICAL)
    old = scenario.incident.breaches["trips/load"].rule
    stricter = of_service(thresholds=STRICTER)
    take(scenario, change(scenario, stricter))
    for _ in range(2):
        scenario.after("30s").observe("load", value=5.0)  # fine by the old one, beyond the new one
    closed = scenario.message(MessageKind.INCIDENT_CLOSED)
    assert closed.incident is not None
    assert old.thresholds.critical == 20.0
    scenario.after("30s").observe("load", value=5.0)
    assert scenario.remembers("load").latched is Level.CRITICAL
    assert scenario.service.stale == frozenset()
    assert scenario.incident.breaches["trips/load"].rule == stricter


def test_a_rule_that_is_put_back_while_its_incident_is_open_forgets_nothing() -> None:
    scenario = Scenario(of_service()).traffic(blue=1, green=0).healthy_for("1m")
    scenario.after("30s").observe("load", value=CRITICAL)
    take(scenario, change(scenario, of_service(thresholds=STRICTER)))
    take(scenario, change(scenario, of_service()))
    assert scenario.service.stale == frozenset()
    scenario.after("30s").observe("load", value=OK).after("30s").observe("load", value=OK)
    assert MessageKind.INCIDENT_CLOSED in scenario.told
    assert scenario.remembers("load").clears == 2


@pytest.mark.parametrize("stage", range(6))
def test_an_incident_whose_rule_is_removed_at_any_step_is_completed_all_the_same(stage: int) -> None:
    """Failure catalogue E2: the rule goes, the incident stays with it until it is over."""
    scenario = Scenario().green_deployed()
    steps: list[Callable[[], object]] = [
        lambda: scenario.green_is_bad(times=1),
        lambda: scenario.green_is_bad(times=1),
        lambda: scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0)),
        lambda: scenario.after("2s").traffic(),
        lambda: scenario.blue_recovers(times=1),
        lambda: scenario.blue_recovers(times=2),
    ]
    for number, one in enumerate(steps):
        one()
        if number == stage:
            take(scenario, change(scenario, of_service("another")))
    for _ in range(60):
        if not scenario.service.incidents:
            break
        scenario.after("5s").traffic().tick()
        if ("trips", "errors") in {(check.service, check.rule) for check in scenario.service.checks}:
            scenario.observe("errors", value=OK, on="blue")
    scenario.rollback_is(RollbackState.COMPLETED)
    assert scenario.service.incidents == {}
    scenario.after("1s").tick()
    assert {check.rule for check in scenario.service.checks} <= {"another"}


# Services that come and go


def test_a_new_service_is_what_the_store_knows_of_it() -> None:
    scenario = Scenario().stable_blue()
    changed = change(scenario)
    hotels = replace(changed.services["trips"], name="hotels")
    known = restore_service(
        hotels, changed.rules, record=None, deployments=(), incidents=(), rollbacks=(), checks=()
    )
    services = {**changed.services, "hotels": hotels, "fresh": replace(hotels, name="fresh")}
    stepped = take(scenario, replace(changed, services=services, restored={"hotels": known}))
    assert scenario.world.services["hotels"] is known
    assert scenario.world.services["fresh"] == ServiceWorld(
        service=services["fresh"], rules={"errors": scenario.rules[0]}
    )
    assert recorded(stepped) == {"services_added": ["hotels", "fresh"]}
    assert [(draft.kind, draft.subject) for draft in stepped.audit[1:]] == [
        ("service_added", "hotels"),
        ("service_added", "fresh"),
    ]


def test_a_service_that_is_gone_is_retired_and_its_incident_closed_and_told() -> None:
    scenario = Scenario(others=("hotels",), mode=Mode.OBSERVE).decided()
    scenario.rollback_is(RollbackState.BLOCKED)
    incident, checks = scenario.incident, set(scenario.service.checks)
    stepped = take(scenario, without(change(scenario), "trips"))
    assert list(scenario.world.services) == ["hotels"]
    assert [(one.id, one.closed_because) for one in stepped.incidents] == [
        (incident.id, "no longer configured")
    ]
    assert [one.state for one in stepped.rollbacks] == [RollbackState.EXPIRED]
    assert set(stepped.forgotten) == checks
    assert [message.kind for message in stepped.messages] == [MessageKind.INCIDENT_CLOSED]
    assert recorded(stepped) == {"services_removed": ["trips"]}
    assert ("service_retired", "trips") in [(draft.kind, draft.subject) for draft in stepped.audit]


@pytest.mark.parametrize("story", [Scenario.decided, Scenario.switched, Scenario.verified])
def test_a_service_with_a_rollback_under_way_stays_until_that_is_over(
    story: Callable[[Scenario], Scenario],
) -> None:
    scenario = story(Scenario(others=("hotels",)))
    before = scenario.service
    assert busy(before)
    gone = without(change(scenario), "trips")
    stepped = take(scenario, gone)
    assert scenario.service == before
    assert recorded(stepped) == {"services_waiting": ["trips"]}
    if scenario.rollback.state is RollbackState.INTENDED:
        scenario.after("1s").outcome(OutcomeKind.REFUSED, detail="no")
    else:
        scenario.after("1s").traffic(blue=0, green=1)
    assert scenario.rollback.over
    stepped = take(scenario, gone)
    assert list(scenario.world.services) == ["hotels"]
    assert recorded(stepped) == {"services_removed": ["trips"]}
    assert [one.kind for one in stepped.incidents] == [IncidentKind.BREACH]


def test_what_is_asked_of_a_service_that_is_gone_is_answered_so() -> None:

    scenario = Scenario(others=("hotels",)).stable_blue()
    take(scenario, without(change(scenario), "trips"))
    assert scenario.ask(RequestKind.PAUSE, "trips").status == 404


# Switches and sources


def test_another_switch_is_a_first_sight_and_arms_nothing() -> None:
    scenario = Scenario().stable_blue()
    asked_in = scenario.world.edition
    late = TrafficSeen(service="trips", state=scenario.state(blue=0, green=1), edition=asked_in)
    everything = frozenset({"trips"})
    stepped = take(scenario, change(scenario, new_switches=everything, moved=everything))
    assert stepped.looks == ("trips",)
    assert scenario.service.traffic is None
    assert recorded(stepped) == {"switches_changed": ["trips"]}
    assert scenario.feed(late) == Stepped(world=scenario.world), "the old switch has nothing to say"
    unseen = TrafficUnseen(service="trips", error="closed", edition=asked_in)
    assert scenario.feed(unseen) == Stepped(world=scenario.world)

    scenario.feed(TrafficSeen(service="trips", state=scenario.state(blue=0, green=1), edition=1))
    assert (scenario.on("green").state, scenario.on("green").armed) == (DeploymentState.ADOPTED, False)


def test_the_same_object_asked_in_another_way_stays_known() -> None:
    scenario = Scenario().stable_blue()
    before = scenario.service.traffic
    stepped = take(scenario, change(scenario, new_switches=frozenset({"trips"})))
    assert scenario.service.traffic == before
    assert stepped.looks == ("trips",)


def test_a_variant_that_names_other_servers_now_is_nothing_that_anybody_knows() -> None:
    scenario = Scenario().green_deployed()
    old = scenario.on("blue")
    everything = frozenset({"trips"})
    swapped = {"trips": frozenset({"blue", "green"})}
    stepped = take(scenario, change(scenario, new_switches=everything, moved=everything, exchanged=swapped))
    assert {one.variant for one in stepped.deployments} == {"blue", "green"}, "stored, so known after a start"
    scenario.after("1s").traffic(blue=1, green=0)
    assert scenario.on("blue").id != old.id
    assert (scenario.on("blue").state, scenario.on("blue").armed) == (DeploymentState.ADOPTED, False)

    scenario.after("30s").traffic(blue=0, green=1).after("35s").traffic().green_is_bad(3)
    scenario.rollback_is(RollbackState.BLOCKED, "what blue carries never proved itself")
    assert ("known_good_target", "not_stable") in scenario.vetoes


def test_a_variant_that_keeps_its_servers_keeps_what_is_known_of_it() -> None:
    scenario = Scenario().stable_blue()
    everything = frozenset({"trips"})
    others = {"trips": frozenset({"green"})}
    take(scenario, change(scenario, new_switches=everything, moved=everything, exchanged=others))
    scenario.after("1s").traffic(blue=1, green=0)
    assert scenario.on("blue").state is DeploymentState.STABLE


def test_a_switch_that_a_rollback_needs_is_not_changed_under_it() -> None:
    scenario = Scenario().switched()
    traffic = scenario.service.traffic
    everything = frozenset({"trips"})
    changed = change(scenario, new_switches=everything, moved=everything)
    stepped = take(scenario, changed)
    assert (scenario.service.traffic, stepped.looks) == (traffic, ())
    assert recorded(stepped) == {"switches_waiting": ["trips"]}
    scenario.after("2s").traffic()
    scenario.rollback_is(RollbackState.VERIFIED_OBJECT)


def test_a_source_is_known_as_long_as_an_open_incident_asks_it() -> None:
    scenario = Scenario(of_service()).traffic(blue=1, green=0).healthy_for("1m")
    scenario.after("30s").observe("load", value=WARNING)
    gone = change(scenario, of_service("other", source=None), sources=())
    take(scenario, gone)
    assert sources_of(scenario.world) == {"prometheus"}
    assert list(scenario.world.sources) == ["prometheus"]
    scenario.after("30s").observe("load", value=OK).after("30s").observe("load", value=OK).tick()
    assert sources_of(scenario.world) == frozenset()
    stepped = take(scenario, gone)
    assert scenario.world.sources == {}
    assert recorded(stepped) == {"sources_removed": ["prometheus"]}


def test_the_incident_of_a_source_that_is_gone_is_closed() -> None:
    scenario = Scenario(of_service()).traffic(blue=1, green=0)
    for _ in range(9):
        scenario.after("30s").fails("load", reason=FailReason.UNREACHABLE).tick()
    assert scenario.world.sources["prometheus"].incident is not None
    stepped = take(scenario, change(scenario, of_service("other", source=None), sources=()))
    assert [one.kind for one in stepped.incidents] == [IncidentKind.SOURCE]
    assert not stepped.incidents[0].open


# Files that cannot be used


BROKEN = ConfigBroken(
    problems=("watchdog.yaml:3:1: unknown key", "watchdog.yaml:4:1: another"), file="watchdog.yaml"
)


def test_a_broken_configuration_changes_nothing_but_that_it_is_told() -> None:
    scenario = Scenario().stable_blue()
    before = scenario.world
    stepped = take(scenario, BROKEN)
    told = scenario.message(MessageKind.CONFIG_BROKEN)
    assert "watchdog.yaml:3:1: unknown key (and 1 more)" in told.headline
    assert told.needs_human
    assert replace(stepped.world, config_fault="", config_fault_at=None) == before
    assert [draft.kind for draft in stepped.audit] == ["config_refused"]


def test_the_same_mistakes_have_one_key_while_it_stays_broken() -> None:
    scenario = Scenario().stable_blue()
    first = take(scenario, BROKEN).messages[0].key
    scenario.after("1m")
    assert reconfigure(scenario.world, BROKEN, scenario.now).messages[0].key == first
    other = ConfigBroken(problems=("elsewhere",), file="watchdog.yaml")
    assert reconfigure(scenario.world, other, scenario.now).messages[0].key != first
    take(scenario, change(scenario))
    scenario.after("1m")
    assert take(scenario, BROKEN).messages[0].key != first


def test_a_repaired_configuration_is_told_when_it_was_told_as_broken() -> None:
    scenario = Scenario().stable_blue()
    take(scenario, BROKEN)
    scenario.after("5m")
    take(scenario, change(scenario))
    assert scenario.message(MessageKind.CONFIG_REPAIRED).facts == (("was broken for", "5m"),)
    assert (scenario.world.config_fault, scenario.world.config_fault_at) == ("", None)


def test_what_needs_a_restart_is_told() -> None:
    scenario = Scenario().stable_blue()
    stepped = take(scenario, change(scenario, restart=("store.url", "server.listen")))
    assert "store.url and server.listen" in scenario.message(MessageKind.CONFIG_NEEDS_RESTART).headline
    assert recorded(stepped) == {"needs_restart": ["store.url", "server.listen"]}
