"""From a held verdict, or a person's word, to an intent or the guards that stop it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.scenario import CRITICAL, MINUTE, OK, ROLLBACK, Scenario, of_service, rule
from watchdog.core.audit import ChainHead, link
from watchdog.core.deployment import DeploymentState
from watchdog.core.events import Asked, OutcomeKind
from watchdog.core.message import MessageKind
from watchdog.core.observation import Value
from watchdog.core.replay import replay
from watchdog.core.request import Request, RequestKind
from watchdog.core.rollback import RollbackState, Veto
from watchdog.core.rollback_news import ENDED_AS
from watchdog.core.rule import Holds, Samples, Severity, Thresholds
from watchdog.core.service import Limits, Mode

BLOCKED, ENDED, WANTED = (
    MessageKind.ROLLBACK_BLOCKED,
    MessageKind.ROLLBACK_ENDED,
    MessageKind.APPROVAL_WANTED,
)
#: Longer than a wish of a person waits to be done.
LATE = timedelta(minutes=5, seconds=1)
#: The other guards' no before a write.
PAUSED = Veto(guard="paused", reason="paused", detail="the pause file is there")


def faithful(scenario: Scenario, kind: str) -> bool:
    """Whether the newest record of a kind replays to the same decision."""
    draft = [one for one in scenario.audit if one.kind == kind][-1]
    again = replay(link(ChainHead(), draft))
    assert again is not None
    return again.faithful


# -- automatic


def test_a_held_rollback_verdict_becomes_an_intent() -> None:
    scenario = Scenario().decided()

    rollback = scenario.rollback
    assert rollback.state is RollbackState.INTENDED
    assert (rollback.from_version, rollback.from_variant) == ("green", "green")
    assert (rollback.to_version, rollback.to_variant) == ("blue", "blue")
    assert (rollback.automatic, rollback.requested_by) == (True, "watchdog")
    assert rollback.key == f"auto:trips:{scenario.on('green').id}"
    assert rollback.incident == scenario.incident.id
    assert rollback.observed_at == scenario.now
    assert [one.name for one in rollback.rules] == ["errors"]
    assert rollback.expires_at == scenario.now + 5 * MINUTE


def test_the_intent_is_a_change_of_the_state_it_was_decided_on() -> None:
    scenario = Scenario().decided()
    change, traffic = scenario.rollback.change, scenario.service.traffic

    assert change is not None
    assert traffic is not None
    assert (change.target, change.away, change.expect) == ("blue", ("green",), traffic.revision)
    assert change.mark == scenario.rollback.id
    assert not change.beside


def test_an_intent_beside_a_live_target_says_so() -> None:
    scenario = Scenario().shows("green", ready=1, total=1).stable_blue().after("5s")
    scenario.traffic(blue=9, green=1).after("35s").green_is_bad()

    assert scenario.rollback.change is not None
    assert scenario.rollback.change.beside


def test_the_decision_can_be_reached_again_from_its_record_alone() -> None:
    assert faithful(Scenario().decided(), "rollback_intended")
    assert faithful(Scenario().shows("blue", ready=0).decided(), "rollback_blocked")
    assert faithful(Scenario(mode=Mode.APPROVE).decided(), "approval_asked")


def test_one_sample_is_not_enough() -> None:
    scenario = Scenario().green_deployed().green_is_bad(1)

    assert scenario.service.rollbacks == {}


def test_only_a_rollback_verdict_decides_not_one_held_from_before() -> None:
    scenario = Scenario().shows("blue", ready=0).decided()
    sampled = scenario.now
    scenario.shows("blue", ready=10).after("5s").traffic()

    scenario.sees(scenario.check(on="green"), Value(value=ROLLBACK, at=sampled))
    scenario.rollback_is(RollbackState.BLOCKED, "it is the sample that was blocked")
    scenario.after("5s").silence(on="green")
    scenario.rollback_is(RollbackState.BLOCKED)
    scenario.after("5s").fails()
    scenario.rollback_is(RollbackState.BLOCKED)
    scenario.after("5s").observe(value=CRITICAL)
    scenario.rollback_is(RollbackState.BLOCKED)
    scenario.after("5s").observe(value=ROLLBACK)
    scenario.rollback_is(RollbackState.BLOCKED, "the hold begins anew")
    scenario.observe(value=ROLLBACK, sampled="0s")
    scenario.rollback_is(RollbackState.BLOCKED, "the same sample is no second one")
    scenario.after("5s").observe(value=ROLLBACK)
    scenario.rollback_is(RollbackState.INTENDED)


def test_nothing_is_decided_twice_while_the_executor_has_it() -> None:
    scenario = Scenario().decided()
    before = scenario.rollback

    scenario.green_is_bad(3)

    assert scenario.rollback == before
    assert scenario.recorded.count("rollback_intended") == 1


def test_another_rule_that_says_the_same_becomes_part_of_the_proof() -> None:
    scenario = Scenario(rule(), rule("latency")).green_deployed().green_is_bad(rule="errors")
    scenario.green_is_bad(rule="latency")

    assert [one.name for one in scenario.rollback.rules] == ["errors", "latency"]


def test_there_is_at_most_one_switch_for_a_deployment() -> None:
    scenario = Scenario(cooldown=timedelta(0)).switched()
    scenario.after("10s").traffic(blue=0, green=1).after("35s")
    scenario.rollback_is(RollbackState.CONTESTED)

    scenario.green_is_bad(3)

    assert len(scenario.service.rollbacks) == 1, "what came back is the same again"
    scenario.rollback_is(RollbackState.CONTESTED)
    assert scenario.told.count(ENDED) == 1
    assert BLOCKED not in scenario.told, "people know that it was undone"


def test_what_was_undone_is_told_again_when_it_is_bad_again_later() -> None:
    scenario = Scenario(cooldown=timedelta(0)).switched()
    scenario.after("10s").traffic(blue=0, green=1).after("35s").ask(RequestKind.CLOSE, scenario.incident.id)

    scenario.green_is_bad(3)

    assert scenario.message(BLOCKED).incident == scenario.incident.id
    assert "armed" in [guard for guard, _ in scenario.vetoes], "what came back is a return"
    assert sum(one.switched for one in scenario.service.rollbacks.values()) == 1


def test_a_rule_without_a_rollback_threshold_never_decides() -> None:
    scenario = Scenario(rule(thresholds=Thresholds(warning=10.0, critical=20.0))).green_deployed()
    scenario.green_is_bad(10)

    assert scenario.service.rollbacks == {}
    assert scenario.told == [MessageKind.INCIDENT_OPENED]


def test_a_rule_that_names_no_version_only_pages_while_two_are_live() -> None:
    scenario = Scenario(of_service()).shows("green", ready=1, total=1).stable_blue().after("5s")
    scenario.traffic(blue=9, green=1).after("35s")
    for _ in range(2):
        scenario.after("10s").observe(value=ROLLBACK)

    assert scenario.vetoes == [("still_live", "not_attributable")]


def test_a_rule_that_names_no_version_can_roll_back_what_is_alone_live() -> None:
    scenario = Scenario(of_service()).green_deployed()
    for _ in range(2):
        scenario.after("10s").observe(value=ROLLBACK)

    scenario.rollback_is(RollbackState.INTENDED)


# -- blocked


def test_what_stops_it_is_told_once_for_each_set_of_guards() -> None:
    scenario = Scenario().shows("blue", ready=0).decided()
    assert scenario.vetoes == [("target_ready", "not_ready")]

    for ready in (0, None, 1, 0):  # other reasons of the same guard are recorded, not told
        scenario.shows("blue", ready=ready).after("1s").traffic().green_is_bad(1)
    assert scenario.told.count(BLOCKED) == 1

    scenario.configure(mode=Mode.OBSERVE).green_is_bad(1).configure(mode=Mode.ENFORCE).green_is_bad(1)
    scenario.configure(mode=Mode.OBSERVE).green_is_bad(1)
    assert scenario.told.count(BLOCKED) == 2


def test_a_blocked_message_says_which_guards_and_what_to_do() -> None:
    scenario = Scenario().shows("blue", ready=0).decided()

    message = scenario.message(BLOCKED)
    assert message.headline.startswith("trips green should be rolled back and was NOT: blue has 0 ready")
    assert ("guard target_ready", "blue has 0 ready, 8 needed") in message.facts
    assert message.next_step == (
        "Bring blue up, or give the switch a `ready` probe where nobody can tell; then it goes on by itself. "
        "Or move traffic by hand. "
        f"If it shall stay as it is: watchdog incidents close {scenario.incident.id} --reason TEXT"
    )
    assert message.severity is Severity.CRITICAL
    assert message.needs_human


def test_what_is_blocked_is_tried_again_while_the_verdict_stays() -> None:
    scenario = Scenario().shows("blue", ready=0).decided()

    scenario.shows("blue", ready=10).after("5s").traffic().green_is_bad(1)

    scenario.rollback_is(RollbackState.INTENDED)
    assert [passage.state.value for passage in scenario.rollback.history] == [
        "decided",
        "blocked",
        "intended",
    ]


def test_every_rule_that_spoke_while_it_was_blocked_is_part_of_the_proof() -> None:
    scenario = Scenario(rule(), rule("latency")).shows("blue", ready=0).green_deployed()
    scenario.green_is_bad(rule="errors").green_is_bad(rule="latency")

    scenario.shows("blue", ready=10).after("5s").traffic().green_is_bad(1, rule="errors")

    assert {one.name for one in scenario.rollback.rules} == {"errors", "latency"}


def test_a_blip_that_was_blocked_does_not_use_up_the_one_rollback() -> None:
    scenario = Scenario().shows("blue", ready=0).decided()
    for _ in range(2):
        scenario.after("10s").observe(value=OK)
    assert not scenario.service.incidents
    scenario.rollback_is(RollbackState.BLOCKED)

    scenario.shows("blue", ready=10).after("5m").traffic().green_is_bad()

    scenario.rollback_is(RollbackState.INTENDED)
    assert scenario.rollback.incident == scenario.incident.id


def test_a_new_incident_is_told_again_what_stops_it() -> None:
    scenario = Scenario().shows("blue", ready=0).decided()
    for _ in range(2):
        scenario.after("10s").observe(value=OK)
    scenario.after("1m").green_is_bad()

    assert scenario.told.count(BLOCKED) == 2


def test_a_blocked_one_ends_when_its_time_is_over_and_nothing_is_wrong() -> None:
    scenario = Scenario().shows("blue", ready=0).decided()
    for _ in range(2):
        scenario.after("10s").observe(value=OK)

    scenario.after("60m").tick()

    scenario.rollback_is(RollbackState.EXPIRED)
    assert "rollback_expired" in scenario.recorded
    assert ENDED not in scenario.told, "people heard that its incident is over"


def test_a_blocked_one_stays_while_its_incident_is_open() -> None:
    scenario = Scenario().shows("blue", ready=0).decided().after("2h").tick()

    scenario.rollback_is(RollbackState.BLOCKED)


def test_nobody_is_told_that_something_adopted_should_go_back_more_than_once() -> None:
    scenario = Scenario().traffic(blue=1, green=0).after("30s")
    for _ in range(5):
        scenario.observe(value=ROLLBACK, on="blue").after("10s")

    assert ("armed", "not_armed") in scenario.vetoes
    assert scenario.told.count(BLOCKED) == 1


def test_a_newer_deployment_ends_what_was_blocked() -> None:
    scenario = Scenario().shows("blue", ready=0).decided()

    scenario.after("20m").post("v3", "green")

    scenario.rollback_is(RollbackState.SUPERSEDED)


def test_that_nothing_is_live_ends_no_decision() -> None:
    scenario = Scenario().shows("blue", ready=0).decided().after("5s").traffic(blue=0, green=0)

    scenario.rollback_is(RollbackState.BLOCKED)


@pytest.mark.parametrize("how", ["observe", "file", "person", "follower"])
def test_what_is_not_allowed_is_never_intended(how: str) -> None:
    scenario = Scenario().green_deployed()
    match how:
        case "observe":
            scenario.mode(Mode.OBSERVE)
        case "file":
            scenario.tick(paused="the pause file is there")
        case "person":
            scenario.ask(RequestKind.PAUSE, reason="freeze")
        case _:
            scenario.tick(leader=False)

    scenario.green_is_bad(5)

    expected = {"observe": "mode", "file": "paused", "person": "paused", "follower": "leader"}
    assert [guard for guard, _ in scenario.vetoes] == [expected[how]]
    assert scenario.rollback.intended_at is None


def test_when_the_pause_is_over_the_verdict_decides() -> None:
    scenario = Scenario().green_deployed()
    scenario.ask(RequestKind.PAUSE)
    scenario.green_is_bad()
    scenario.ask(RequestKind.RESUME)
    scenario.rollback_is(RollbackState.BLOCKED)

    scenario.green_is_bad(1)

    scenario.rollback_is(RollbackState.INTENDED)


def test_a_veto_right_before_the_write_blocks_and_is_retried() -> None:
    scenario = Scenario().decided().after("1s").outcome(OutcomeKind.VETOED, vetoes=(PAUSED,))

    scenario.rollback_is(RollbackState.BLOCKED)
    assert (scenario.rollback.change, scenario.rollback.intended_at) == (None, None)
    assert scenario.message(BLOCKED).headline.endswith("the pause file is there")
    assert scenario.last.looks == ("trips",)

    scenario.green_is_bad(1)
    scenario.rollback_is(RollbackState.INTENDED)
    assert scenario.rollback.attempts == 1


def test_what_was_rolled_back_is_never_gone_back_to() -> None:
    scenario = Scenario(cooldown=timedelta(0)).verified().blue_recovers().after("60s").traffic()
    scenario.rollback_is(RollbackState.COMPLETED)
    scenario.after("1m").post("v1", "blue")
    scenario.after("1m").post("v3", "blue")
    scenario.after("35s")
    for _ in range(3):
        scenario.after("10s").observe(value=ROLLBACK, on="blue")

    assert "known_good_target" in [guard for guard, _ in scenario.vetoes]
    assert scenario.rollback.intended_at is None


# -- the limits over all services


def test_the_breaker_is_told_once_for_all_services() -> None:
    names = tuple(f"other-{number}" for number in range(7))
    scenario = Scenario(others=names, limits=Limits(max_share=0.3, at_least=5))
    every = ("trips", *names)
    for name in every:
        scenario.traffic(name, blue=1, green=0)
    for _ in range(22):
        scenario.after("30s")
        for name in every:
            scenario.observe(value=OK, name=name).traffic(name, blue=1, green=0)
    scenario.after("5s")
    for name in every:
        scenario.traffic(name, blue=0, green=1)
    scenario.after("35s")
    for _ in range(4):
        for name in every:
            scenario.observe(value=ROLLBACK, name=name)
        scenario.after("10s").tick()

    intended = [one for one in scenario.world.rollbacks() if one.intended_at is not None]
    assert len(intended) == 0, "all of them were critical before any was at rollback"
    assert scenario.told.count(MessageKind.BREAKER_OPEN) == 1
    assert scenario.told.count(BLOCKED) == 0
    assert "8 of 8 services are breaching" in scenario.message(MessageKind.BREAKER_OPEN).headline
    assert scenario.world.breaker


def test_the_service_that_decides_counts_as_red_itself() -> None:
    at_once = Holds(warning=Samples(1), critical=Samples(1), rollback=Samples(1))
    scenario = Scenario(rule(hold=at_once), limits=Limits(max_share=0.3, at_least=1)).green_deployed()

    scenario.green_is_bad(1)

    assert scenario.vetoes == [("breaker", "too_much_red")]


def test_the_breaker_closes_when_nobody_waits_for_it() -> None:
    scenario = Scenario(limits=Limits(max_rollbacks=0)).decided().tick()
    assert scenario.told.count(MessageKind.BREAKER_OPEN) == 1
    assert scenario.vetoes == [("breaker", "too_many_rollbacks")]

    scenario.after("5s").traffic(blue=1, green=0).tick()

    assert scenario.world.breaker == ""


def waiting_for_the_limit(*names: str) -> Scenario:
    """Services of which none may be rolled back, all on a bad version that nobody looked at yet."""
    scenario = Scenario(others=names, limits=Limits(max_rollbacks=0))
    every = ("trips", *names)
    for name in every:
        scenario.traffic(name, blue=1, green=0)
    for _ in range(22):
        scenario.after("30s")
        for name in every:
            scenario.observe(value=OK, name=name).traffic(name, blue=1, green=0)
    scenario.after("5s")
    for name in every:
        scenario.traffic(name, blue=0, green=1)
    return scenario.after("35s")


def goes_bad(scenario: Scenario, *names: str) -> Scenario:
    for _ in range(2):
        scenario.after("5s")
        for name in names:
            scenario.observe(value=ROLLBACK, name=name)
    return scenario.tick()


def breakers(scenario: Scenario) -> list[str]:
    return [dict(one.facts)["services"] for one in scenario.messages if one.kind is MessageKind.BREAKER_OPEN]


def test_services_that_wait_for_the_breaker_later_are_told_together_once_a_minute() -> None:
    scenario = goes_bad(waiting_for_the_limit("maps", "rides", "users"), "trips")
    assert breakers(scenario) == ["trips"]

    goes_bad(goes_bad(scenario, "maps"), "rides")
    assert breakers(scenario) == ["trips"], "not twice within a minute"
    assert BLOCKED not in scenario.told, "nor each on its own"
    assert "3 waiting" in scenario.world.breaker, "and what is shown is what is"

    scenario.after("40s").tick()
    assert breakers(scenario) == ["trips", "maps, rides, trips"]
    assert len({one.conversation for one in scenario.messages if one.kind is MessageKind.BREAKER_OPEN}) == 1
    scenario.after("10m").tick()
    assert len(breakers(scenario)) == 2, "no news"


def test_what_recovered_does_not_wait_for_the_breaker_any_more() -> None:
    scenario = goes_bad(waiting_for_the_limit("maps"), "trips")
    for _ in range(2):
        scenario.after("10s").observe(value=OK, name="trips")
    scenario.tick()
    assert scenario.service.incidents == {}
    assert scenario.world.breaker == ""
    began, over = scenario.message(MessageKind.BREAKER_OPEN), scenario.message(MessageKind.BREAKER_CLOSED)
    assert (over.conversation, over.ends, over.needs_human) == (began.conversation, True, False)

    goes_bad(scenario.after("20m"), "maps")

    assert breakers(scenario) == ["trips", "maps"]
    assert "1 waiting: maps" in scenario.world.breaker


def test_whoever_heard_that_it_waits_for_the_breaker_hears_that_it_waits_no_more() -> None:
    scenario = goes_bad(waiting_for_the_limit("maps"), "trips")
    goes_bad(scenario, "maps")
    assert breakers(scenario) == ["trips"], "nobody heard of maps"

    scenario.after("5s").traffic("maps", blue=1, green=0).tick()
    assert MessageKind.ROLLBACK_ENDED not in scenario.told
    scenario.after("5s").traffic(blue=1, green=0).tick()

    message = scenario.message(MessageKind.ROLLBACK_ENDED)
    assert message.headline == "trips: the rollback to blue was overtaken: green takes no traffic any more"
    assert (message.service, message.needs_human) == ("trips", False)


def test_a_breaker_that_is_still_open_after_a_restart_is_the_same_news() -> None:
    scenario = Scenario(limits=Limits(max_rollbacks=0)).decided().tick()
    key = scenario.message(MessageKind.BREAKER_OPEN).key
    scenario.restart()
    scenario._keys.discard(key)  # noqa: SLF001 - the outbox knows the key and keeps the first

    scenario.after("1s").tick()

    assert [one.key for one in scenario.messages if one.kind is MessageKind.BREAKER_OPEN] == [key, key]


# -- mode approve


def test_mode_approve_asks_a_person() -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided()

    scenario.rollback_is(RollbackState.AWAITING_APPROVAL)
    assert scenario.rollback.expires_at == scenario.now + 15 * MINUTE
    message = scenario.message(WANTED)
    assert f"watchdog approve {scenario.incident.id}" in message.next_step
    assert message.headline.startswith("trips: approve the rollback from green to blue? errors: ")


def test_it_is_asked_once() -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided().green_is_bad(5)

    assert scenario.told.count(WANTED) == 1


def test_an_approval_is_an_intent() -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided()

    reply = scenario.ask(RequestKind.APPROVE, scenario.incident.id)

    assert (reply.status, reply.body["state"]) == (202, "intended")
    assert scenario.rollback.requested_by == "watchdog, approved by alice"
    assert scenario.audit[-1].body["approved_by"] == "alice"


def test_an_approval_does_not_overrule_the_other_guards() -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided()
    scenario.shows("blue", ready=0).after("5s").traffic()

    reply = scenario.ask(RequestKind.APPROVE, scenario.incident.id)

    assert (reply.status, reply.detail) == (409, "blue has 0 ready, 8 needed")
    scenario.rollback_is(RollbackState.AWAITING_APPROVAL)
    assert scenario.recorded[-1] == "approval_vetoed"


def test_an_approval_is_for_the_version_alone_live_when_the_rule_names_none() -> None:
    scenario = Scenario(of_service(), mode=Mode.APPROVE).shows("green", ready=1, total=1).green_deployed()
    for _ in range(2):
        scenario.after("10s").observe(value=ROLLBACK)
    scenario.after("5s").traffic(blue=1, green=9)

    reply = scenario.ask(RequestKind.APPROVE, scenario.incident.id)

    assert reply.status == 409
    assert "does not say which one is bad" in reply.detail


def test_a_rejection_ends_it_and_is_told() -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided()

    reply = scenario.ask(RequestKind.REJECT, scenario.incident.id, reason="we fix forward")

    assert (reply.status, reply.body["state"]) == (200, "expired")
    message = scenario.message(ENDED)
    assert message.headline.endswith("rejected by alice: we fix forward")
    assert message.next_step
    assert (message.needs_human, message.severity) == (False, Severity.MEDIUM), "a person has decided"
    scenario.green_is_bad(3)
    scenario.rollback_is(RollbackState.EXPIRED)


def test_a_request_that_nobody_answers_expires_and_people_are_told() -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided()

    scenario.after("14m59s").tick()
    scenario.rollback_is(RollbackState.AWAITING_APPROVAL)
    scenario.after("1s").tick()

    scenario.rollback_is(RollbackState.EXPIRED)
    message = scenario.message(ENDED)
    assert (message.needs_human, message.severity) == (True, Severity.CRITICAL)
    assert "nobody approved in time" in message.headline


@pytest.mark.parametrize("late", ["15m", "3h"])
def test_an_approval_that_comes_too_late_is_refused(late: str) -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided().after(late)

    reply = scenario.ask(RequestKind.APPROVE, scenario.incident.id)

    assert reply.status == 409
    assert "nobody approved in time" in reply.detail
    scenario.rollback_is(RollbackState.EXPIRED)


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.OBSERVE])
def test_a_question_to_people_is_not_answered_by_another_mode(mode: Mode) -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided().configure(mode=mode).green_is_bad(3)
    scenario.rollback_is(RollbackState.AWAITING_APPROVAL)
    assert scenario.message(WANTED).kind == WANTED
    assert BLOCKED not in scenario.told

    reply = scenario.ask(RequestKind.APPROVE, scenario.incident.id)

    if mode is Mode.ENFORCE:
        assert reply.status == 202
        scenario.rollback_is(RollbackState.INTENDED)
    else:
        assert (reply.status, "mode observe" in reply.detail) == (409, True)
        scenario.rollback_is(RollbackState.AWAITING_APPROVAL)
        assert scenario.ask(RequestKind.REJECT, scenario.incident.id).status == 200


def test_there_is_nothing_to_approve_where_nobody_asked() -> None:
    scenario = Scenario().decided()

    for kind in (RequestKind.APPROVE, RequestKind.REJECT):
        reply = scenario.ask(kind, scenario.incident.id)
        assert reply.status == 409
        assert "waits for approval" in reply.detail


@pytest.mark.parametrize("how", ["it recovers", "a person closes it"])
def test_what_is_bad_again_after_its_incident_was_closed_is_asked_about_again(how: str) -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided()
    first = scenario.incident.id
    if how == "it recovers":
        for _ in range(2):
            scenario.after("10s").observe(value=OK)
    else:
        scenario.after("10s").ask(RequestKind.CLOSE, first)
    scenario.rollback_is(RollbackState.BLOCKED)
    assert scenario.vetoes == [("mode", "not_approved")]
    assert ENDED not in scenario.told
    assert scenario.ask(RequestKind.APPROVE, first).status in (404, 409)

    scenario.after("20m").tick().green_is_bad(3)
    scenario.rollback_is(RollbackState.AWAITING_APPROVAL)
    assert scenario.told.count(WANTED) == 2
    assert scenario.rollback.incident == scenario.incident.id != first
    assert scenario.ask(RequestKind.APPROVE, scenario.incident.id).status == 202


def test_a_request_for_approval_ends_with_its_incident_when_the_time_to_roll_back_is_over() -> None:
    scenario = Scenario(mode=Mode.APPROVE, armed_for=5 * MINUTE).decided().after("6m")
    for _ in range(2):
        scenario.after("10s").observe(value=OK)

    scenario.rollback_is(RollbackState.EXPIRED)
    assert ENDED not in scenario.told, "people heard that its incident is over"


def test_a_request_for_approval_ends_when_traffic_is_moved() -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided().after("5s").traffic(blue=1, green=0)

    scenario.rollback_is(RollbackState.SUPERSEDED)


def test_a_service_that_other_guards_stop_is_not_asked_about() -> None:
    scenario = Scenario(mode=Mode.APPROVE).shows("blue", ready=0).decided()

    scenario.rollback_is(RollbackState.BLOCKED)
    assert scenario.vetoes == [("mode", "not_approved"), ("target_ready", "not_ready")]

    scenario.shows("blue", ready=10).after("5s").traffic().green_is_bad(1)
    scenario.rollback_is(RollbackState.AWAITING_APPROVAL)


def test_another_rule_while_waiting_becomes_part_of_the_proof() -> None:
    scenario = Scenario(rule(), rule("latency"), mode=Mode.APPROVE).green_deployed()
    scenario.green_is_bad(rule="errors").green_is_bad(rule="latency")

    assert [one.name for one in scenario.rollback.rules] == ["errors", "latency"]


def test_approved_and_stopped_before_the_write_it_is_asked_again() -> None:
    scenario = Scenario(mode=Mode.APPROVE).decided()
    scenario.ask(RequestKind.APPROVE, scenario.incident.id)
    scenario.after("1s").outcome(OutcomeKind.VETOED, vetoes=(PAUSED,)).green_is_bad(1)

    scenario.rollback_is(RollbackState.AWAITING_APPROVAL)
    assert scenario.told.count(WANTED) == 2


# -- a person's word


def test_a_person_rolls_back_what_no_rule_complains_about() -> None:
    scenario = Scenario(mode=Mode.OBSERVE).green_deployed()

    reply = scenario.ask(RequestKind.ROLLBACK, reason="customers call")

    assert (reply.status, reply.body["state"]) == (202, "intended")
    rollback = scenario.rollback
    assert (rollback.automatic, rollback.requested_by, rollback.reason) == (False, "alice", "customers call")
    assert rollback.key == "manual:req-1"
    assert rollback.rules == ()


def test_a_person_names_the_version_to_go_to() -> None:
    scenario = Scenario().shows("blue", version="v1").shows("red", version="v0").shows("green", version="v2")
    scenario.traffic(red=1, blue=0, green=0).healthy_for("11m").after("5s")
    scenario.traffic(red=0, blue=1).healthy_for("11m").after("5s").traffic(blue=0, green=1)

    reply = scenario.ask(RequestKind.ROLLBACK, to="v0")

    assert reply.body["to_variant"] == "red"


@pytest.mark.parametrize(
    ("how", "guard"),
    [
        ("paused", "paused"),
        ("follower", "leader"),
        ("not ready", "target_ready"),
        ("unknown", "target_ready"),
    ],
)
def test_what_even_a_person_cannot_skip_is_answered_with_409(how: str, guard: str) -> None:
    scenario = Scenario().green_deployed()
    match how:
        case "paused":
            scenario.ask(RequestKind.PAUSE)
        case "follower":
            scenario.tick(leader=False)
        case "not ready":
            scenario.shows("blue", ready=0).after("1s").traffic()
        case _:
            scenario.shows("blue", ready=None).after("1s").traffic()

    reply = scenario.ask(RequestKind.ROLLBACK)

    assert reply.status == 409
    assert reply.detail.startswith(f"{guard}: ")
    assert scenario.service.rollbacks == {}
    assert scenario.recorded[-1] == "rollback_request_refused"


@pytest.mark.parametrize("late", [LATE, -LATE], ids=["late", "from the future"])
def test_what_a_person_wanted_long_ago_moves_no_traffic_now(late: timedelta) -> None:
    """Stored a moment before the machine went down: what was bad then may be long gone."""
    scenario = Scenario().green_deployed()
    wish = Request(
        id="req-1", kind=RequestKind.ROLLBACK, target="trips", by="alice", at=scenario.now - late, body={}
    )

    (reply,) = scenario.feed(Asked(request=wish)).replies

    assert (reply.status, "ask again" in reply.detail) == (409, True)
    assert scenario.service.rollbacks == {}
    assert scenario.recorded[-1] == "rollback_request_too_late"


def test_what_a_person_wanted_of_a_version_that_is_gone_moves_no_traffic() -> None:
    """A button on an old message says what it was about; another version is live by now."""
    scenario = Scenario().green_deployed()

    reply = scenario.ask(RequestKind.ROLLBACK, **{"from": "v0"})

    assert reply.status == 409
    assert reply.detail.endswith("is live now, not v0; ask again if it is still wanted")
    assert scenario.service.rollbacks == {}
    assert scenario.recorded[-1] == "rollback_request_outdated"
    live = scenario.service.current()
    assert live is not None
    assert scenario.ask(RequestKind.ROLLBACK, **{"from": live.version}).status == 202


def test_a_short_standstill_is_no_reason_to_ask_again() -> None:
    scenario = Scenario().green_deployed()
    at = scenario.now - 5 * MINUTE
    wish = Request(id="req-1", kind=RequestKind.ROLLBACK, target="trips", by="alice", at=at, body={})

    (reply,) = scenario.feed(Asked(request=wish)).replies

    assert reply.status == 202


def test_a_person_is_not_led_to_a_tainted_version_either() -> None:
    scenario = Scenario().verified().blue_recovers().after("60s").traffic()

    reply = scenario.ask(RequestKind.ROLLBACK)

    assert reply.status == 409
    assert reply.detail.startswith("known_good_target: ")


def test_a_person_skips_cooldown_limits_age_and_baseline() -> None:
    scenario = Scenario(max_per_day=0, limits=Limits(max_rollbacks=0), confirm=("errors",))
    scenario.stable_blue().after("25h").traffic().traffic(blue=0, green=1).after("3h").traffic()

    assert scenario.ask(RequestKind.ROLLBACK).status == 202


def test_one_at_a_time() -> None:
    scenario = Scenario().decided()

    reply = scenario.ask(RequestKind.ROLLBACK)

    assert (reply.status, "is under way (intended)" in reply.detail) == (409, True)


@pytest.mark.parametrize("mode", [Mode.ENFORCE, Mode.APPROVE])
def test_a_person_overtakes_a_decision_that_waits(mode: Mode) -> None:
    scenario = Scenario(mode=mode).shows("blue", ready=0 if mode is Mode.ENFORCE else 10).decided()
    scenario.shows("blue", ready=10).after("1s").traffic()
    waiting = scenario.rollback.id

    reply = scenario.ask(RequestKind.ROLLBACK)

    assert reply.status == 202
    assert scenario.service.rollbacks[waiting].state is RollbackState.SUPERSEDED
    assert [one.name for one in scenario.rollback.rules] == ["errors"], "what breached must recover"
    assert not scenario.message(ENDED).needs_human


def test_a_person_who_is_stopped_before_the_write_hears_so() -> None:
    scenario = Scenario().green_deployed()
    scenario.ask(RequestKind.ROLLBACK)

    scenario.after("1s").outcome(OutcomeKind.VETOED, vetoes=(PAUSED,))

    scenario.rollback_is(RollbackState.EXPIRED)
    assert "the pause file is there" in scenario.message(ENDED).headline
    assert scenario.message(ENDED).next_step


def test_a_person_takes_a_rollback_back_while_it_is_being_verified() -> None:
    scenario = Scenario().verified().after("5s")
    first = scenario.rollback.id
    assert scenario.ask(RequestKind.ROLLBACK, to="green", reason="a mistake").status == 409, "it is tainted"
    scenario.rollback_is(RollbackState.VERIFIED_OBJECT)

    assert scenario.ask(RequestKind.MARK_GOOD, version="green", reason="it was the load test").status == 200
    assert scenario.ask(RequestKind.ROLLBACK, to="green", reason="it was the load test").status == 202

    assert scenario.service.rollbacks[first].state is RollbackState.SUPERSEDED
    assert not scenario.message(ENDED).needs_human
    back = scenario.rollback_is(RollbackState.INTENDED).rollback
    assert (back.from_variant, back.to_variant, back.automatic) == ("blue", "green", False)


@pytest.mark.parametrize("to", ["", "blue"])
def test_whoever_asks_for_what_was_just_done_is_not_taken_one_version_further_back(to: str) -> None:
    scenario = Scenario().traffic(red=1, blue=0, green=0).healthy_for("11m").after("5s")
    scenario.traffic(red=0, blue=1).healthy_for("11m").after("5s").traffic(blue=0, green=1)
    scenario.after("35s").traffic().green_is_bad().after("1s")
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0)).after("2s").traffic()

    reply = scenario.ask(RequestKind.ROLLBACK, reason="do something", **({"to": to} if to else {}))

    assert (reply.status, "under way" in reply.detail) == (409, True)
    scenario.rollback_is(RollbackState.VERIFIED_OBJECT)


def test_of_two_live_versions_the_one_that_a_person_names_stays() -> None:
    scenario = Scenario().green_deployed().traffic(blue=1).after("5s")

    assert scenario.ask(RequestKind.ROLLBACK, to="blue", reason="finish it").status == 202

    rollback = scenario.rollback
    assert (rollback.from_variant, rollback.to_variant) == ("green", "blue")
    assert rollback.change is not None
    assert rollback.change.beside


def test_what_was_undone_is_rolled_back_by_hand_for_the_rules_that_were_breached() -> None:
    scenario = Scenario().verified().after("10s").traffic(blue=0, green=1)
    scenario.rollback_is(RollbackState.CONTESTED)

    assert scenario.ask(RequestKind.ROLLBACK, reason="the deploy job is off").status == 202

    assert scenario.rollback.incident == scenario.incident.id
    assert [one.name for one in scenario.rollback.rules] == ["errors"], "the proof needs them"


@pytest.mark.parametrize("kind", [OutcomeKind.REFUSED, OutcomeKind.LAPSED, OutcomeKind.HALF_DONE])
def test_who_asked_for_a_rollback_and_did_not_get_it_is_called(kind: OutcomeKind) -> None:
    scenario = Scenario().green_deployed()
    scenario.ask(RequestKind.ROLLBACK, reason="it looks odd")

    scenario.after("1s").outcome(kind, detail="because")

    assert scenario.message(ENDED).needs_human


def test_before_anything_is_known_nobody_can_roll_back() -> None:
    scenario = Scenario()

    reply = scenario.ask(RequestKind.ROLLBACK)

    assert (reply.status, "is the switch readable?" in reply.detail) == (409, True)


def test_a_person_can_take_back_a_stable_version() -> None:
    scenario = Scenario().green_deployed().healthy_for("11m")
    scenario.ask(RequestKind.ROLLBACK)
    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))

    assert scenario.on("green").state is DeploymentState.ROLLED_BACK
    assert "green" in scenario.service.taints


# -- the ends before the switch


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (OutcomeKind.OVERTAKEN, RollbackState.SUPERSEDED),
        (OutcomeKind.REFUSED, RollbackState.FAILED),
        (OutcomeKind.HALF_DONE, RollbackState.PARTIAL),
        (OutcomeKind.LAPSED, RollbackState.EXPIRED),
    ],
)
def test_an_intent_that_cannot_be_carried_out_ends_says_why_and_what_to_do(
    kind: OutcomeKind, state: RollbackState
) -> None:
    scenario = Scenario().decided().after("1s").outcome(kind, detail="because of this")

    scenario.rollback_is(state)
    assert scenario.rollback.ended_at == scenario.now
    message = scenario.message(ENDED)
    assert message.headline == f"trips: the rollback to blue {ENDED_AS[state]}: because of this"
    assert message.next_step
    assert message.needs_human is (state is not RollbackState.SUPERSEDED)
    assert scenario.last.looks == ("trips",)

    scenario.green_is_bad(3)
    scenario.rollback_is(state, "never a second time")


def test_a_half_switch_pages_though_no_incident_asked_for_it() -> None:
    scenario = Scenario().stable_blue().after("5s").traffic(blue=0, green=1)
    scenario.after("35s").traffic().ask(RequestKind.ROLLBACK, reason="it looks odd")
    scenario.after("1s").outcome(OutcomeKind.HALF_DONE, detail="unknown whether it was written")

    scenario.rollback_is(RollbackState.PARTIAL)
    assert scenario.message(ENDED).needs_human
    assert scenario.service.active_rollback() is None


def test_an_outcome_of_something_else_changes_nothing() -> None:
    scenario = Scenario().green_deployed()
    before = scenario.service
    scenario.outcome(OutcomeKind.APPLIED, rollback="rb-unknown")
    assert scenario.service == before

    scenario.green_is_bad().after("1s").outcome(OutcomeKind.REFUSED)
    ended = scenario.rollback
    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))
    assert scenario.rollback == ended


def test_a_rule_held_at_once_decides_at_the_first_sample() -> None:
    scenario = Scenario(rule(hold=Holds(rollback=Samples(1)))).green_deployed().green_is_bad(1)

    scenario.rollback_is(RollbackState.INTENDED)
