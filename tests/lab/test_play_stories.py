"""What can come between a bad version and the way back: people, clocks, silence, switches and channels."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from tests.lab.scripts import (
    ALIVE,
    ERRORS,
    ONE_LADDER,
    bad_deployment,
    deployed,
    feed,
    planned,
    played,
    script,
    service,
    standing,
    told,
    vouched,
    wanted,
)
from watchdog.core.mute import MuteWindow
from watchdog.core.request import RequestKind
from watchdog.core.routing import Gather, Route
from watchdog.core.service import Limits, Mode
from watchdog.lab.play import play
from watchdog.lab.recording import What
from watchdog.lab.script import ClockSet, Down, Patched, Planned, Script

LADDER = (Route(policy=ONE_LADDER),)
V2_AGAIN = Patched(service="trips", variants=standing(live="green", blue="v1", green="v2"))
V1_BY_HAND = Patched(service="trips", variants=standing(live="blue", blue="v1", green="v2"))


def quick(*, until: str = "14m", **changes: object) -> Script:
    """v2 is so bad that it is decided at 7:00."""
    found = script(
        feed((0.001, 100), version="v1"),
        feed((None, 10), (0.2, 90), version="v2"),
        events=(vouched(), deployed("5m")),
        until=until,
    )
    return replace(found, **changes)


def with_events(one: Script, *events: Planned) -> Script:
    return replace(one, events=(*one.events, *events))


def test_a_hand_at_the_moment_of_the_decision_lands_before_the_write() -> None:
    recording = played(with_events(quick(), planned("7m", V1_BY_HAND)))

    assert told(recording, What.ROLLBACK, "state", "because")[1:] == [
        ("7:00", "intended", "all guards allow it; green → blue"),
        ("7:00", "superseded", "traffic was moved first"),
    ]
    assert told(recording, What.SWITCH) == []


def test_a_hand_before_the_decision_is_seen_by_the_next_look() -> None:
    recording = played(with_events(quick(), planned("6m52s", V1_BY_HAND)))

    assert told(recording, What.ROLLBACK) == []
    assert ("6:55", "v2", "superseded") in told(recording, What.DEPLOYMENT, "version", "state")


def test_a_switch_that_is_undone_is_contested_within_a_second() -> None:
    recording = played(with_events(quick(), planned("7m17s", V2_AGAIN)))

    assert told(recording, What.ROLLBACK, "state")[-1] == ("7:18", "contested")


def test_a_pause_blocks_until_somebody_resumes() -> None:
    pause, resume = wanted("6m", RequestKind.PAUSE), wanted("9m10s", RequestKind.RESUME)
    recording = played(with_events(quick(), pause, resume))

    assert told(recording, What.GUARD, "guard", "reason", "when") == [
        ("7:00", "paused", "paused", "decision")
    ]
    assert told(recording, What.SWITCH, "to") == [("9:30", "v1")]
    assert told(recording, What.REPLY, "request", "status")[-2:] == [
        ("6:00", "pause", "200.0"),
        ("9:10", "resume", "200.0"),
    ]


def test_without_a_baseline_nothing_is_moved_and_the_guard_says_why() -> None:
    recording = played(
        replace(quick(), feeds=(feed((None, 60), version="v1"), feed((None, 10), (0.2, 50), version="v2")))
    )

    assert told(recording, What.GUARD, "guard", "reason") == [("7:00", "not_already_bad", "no_baseline")]
    assert told(recording, What.SWITCH) == []


def test_a_clock_that_is_set_moves_no_deadline_and_breaks_what_was_pending() -> None:
    clocks = (
        planned("6m40s", ClockSet(by=timedelta(hours=-3))),
        planned("8m", ClockSet(by=timedelta(hours=5))),
    )
    recording = played(with_events(quick(until="20m"), *clocks))

    reasons = {reason for _, reason in told(recording, What.VERDICT, "reason")}
    assert told(recording, What.SWITCH) != []
    assert told(recording, What.ROLLBACK, "state")[-1][1] == "completed"
    assert reasons <= {"within", "beyond", "not_significant", "warming_up", "empty", "stale", "future"}
    undisturbed = played(quick(until="20m"))
    assert told(undisturbed, What.SWITCH) < told(recording, What.SWITCH)


def test_a_correction_of_the_clock_changes_nothing() -> None:
    corrected = with_events(quick(), planned("6m40s", ClockSet(by=timedelta(seconds=2))))

    assert told(played(corrected), What.ROLLBACK, "state") == told(played(quick()), What.ROLLBACK, "state")


def test_a_service_without_data_is_told_as_blind() -> None:
    recording = played(script(feed((0.001, 10), (None, 20), (0.001, 20)), until="20m"))

    assert told(recording, What.INCIDENT, "kind", "state", "rule") == [
        ("8:00", "blind", "opened", "errors"),
        ("15:00", "blind", "closed", "errors"),
    ]


def test_a_feed_that_has_ended_is_silence_and_not_health() -> None:
    recording = played(script(feed((0.001, 10)), until="10m"))

    assert told(recording, What.VERDICT, "level", "reason")[-1] == ("10:00", "unknown", "empty")
    assert told(recording, What.INCIDENT, "kind", "state") == [("9:00", "blind", "opened")]


def test_a_source_that_does_not_answer_is_one_incident_of_the_source() -> None:
    recording = played(script(feed((0.001, 10), ("error", 10), (0.001, 20)), until="15m"))

    assert told(recording, What.INCIDENT, "kind", "service", "state") == [
        ("8:00", "source", "prometheus", "opened"),
        ("10:00", "source", "prometheus", "closed"),
    ]


def test_who_is_next_is_told_until_somebody_acknowledges() -> None:
    recording = played(
        script(
            feed((0.001, 10), (0.009, 80)),
            rules=(replace(ERRORS, thresholds=replace(ERRORS.thresholds, critical=None, rollback=None)),),
            routes=LADDER,
            events=(wanted("12m", RequestKind.ACKNOWLEDGE, **{"for": "20m"}),),
            until="40m",
        )
    )

    assert told(recording, What.ESCALATION, "step", "channel", "repeat") == [
        ("10:00", "2.0", "lead", "False"),
        ("37:00", "2.0", "lead", "False"),
    ]
    assert told(recording, What.INCIDENT, "state", "kind")[:2] == [
        ("5:00", "opened", "breach"),
        ("12:00", "acknowledged", "breach"),
    ]


def test_an_acknowledgement_that_ends_begins_the_ladder_anew() -> None:
    acknowledged = wanted("12m", RequestKind.ACKNOWLEDGE, **{"for": "5m"})
    recording = played(
        script(feed((0.001, 10), (0.2, 70)), routes=LADDER, events=(acknowledged,), until="30m")
    )

    assert ("17:00", "unacknowledged") in told(recording, What.INCIDENT, "state")
    assert told(recording, What.ESCALATION, "step", "channel")[-1] == ("22:00", "2.0", "lead")


def test_a_channel_that_takes_nothing_hands_over_to_the_next_and_gets_its_messages_later() -> None:
    down = planned("2m", Down(channel="ops", lasts=timedelta(minutes=8)))
    recording = played(script(feed((0.001, 10), (0.2, 70)), routes=LADDER, events=(down,), until="14m"))
    sent = told(recording, What.NOTIFICATION, "kind", "channel")

    assert ("6:00", "channel_late", "lead") in sent
    assert ("6:00", "escalated", "lead") in sent
    first = next(one for one in recording.of(What.NOTIFICATION) if one.facts["channel"] == "ops")
    assert first.facts["kind"] == "incident_opened"
    assert timedelta(minutes=10) <= first.at <= timedelta(minutes=10, seconds=30)


def test_a_message_that_nobody_took_for_a_day_is_given_up() -> None:
    routes = (Route(to=("ops", "mail")),)
    down = planned("0s", Down(channel="ops", lasts=timedelta(hours=26)))
    every = timedelta(minutes=6)
    recording = play(
        script(
            feed((0.001, 10), (0.2, 10), every=every),
            rules=(replace(ERRORS, interval=every),),
            routes=routes,
            events=(down,),
            until="26h",
        )
    )

    sent = told(recording, What.NOTIFICATION, "kind", "channel")
    assert {channel for _, _, channel in sent} == {"mail"}
    assert "channel_failed" in {kind for _, kind, _ in sent}


def test_news_that_can_wait_leaves_together() -> None:
    gather = Gather(by=("service",), wait=timedelta(seconds=30), interval=timedelta(minutes=5))
    recording = played(
        script(feed((0.001, 10), (0.009, 3), (0.001, 20)), routes=(Route(to=("ops",), gather=gather),))
    )

    assert told(recording, What.NOTIFICATION, "kind") == [
        ("5:30", "incident_opened"),
        ("10:30", "incident_closed"),
    ]


def test_a_switch_that_does_not_answer_is_written_as_soon_as_it_does() -> None:
    recording = played(
        with_events(quick(), planned("6m58s", Down(service="trips", lasts=timedelta(seconds=30))))
    )

    ((at, target),) = told(recording, What.SWITCH, "to")
    assert target == "v1"
    assert at.startswith("7:3")
    assert told(recording, What.INCIDENT, "kind", "state")[2:4] == [
        ("7:02", "switch", "opened"),
        ("7:28", "switch", "closed"),
    ]


def test_a_switch_that_never_answers_ends_the_intent() -> None:
    recording = played(
        with_events(quick(), planned("6m58s", Down(service="trips", lasts=timedelta(minutes=30))))
    )

    assert told(recording, What.ROLLBACK, "state")[-1][1] == "expired"
    assert told(recording, What.SWITCH) == []


def test_a_person_approves_what_waits() -> None:
    approving = replace(quick(), services=(service(ERRORS, mode=Mode.APPROVE),))
    recording = played(with_events(approving, wanted("8m10s", RequestKind.APPROVE)))

    assert told(recording, What.SWITCH, "to") == [("8:10", "v1")]
    assert told(recording, What.ROLLBACK, "state")[1] == ("7:00", "awaiting_approval")


def test_what_nobody_approves_expires() -> None:
    approving = replace(quick(until="30m"), services=(service(ERRORS, mode=Mode.APPROVE),))
    recording = played(approving)

    assert told(recording, What.ROLLBACK, "state")[2:] == [("22:00", "expired")]


def test_a_person_moves_traffic_by_hand_and_a_guard_may_refuse() -> None:
    asked = wanted("6m10s", RequestKind.ROLLBACK, reason="a bad feeling")
    refused = wanted("1m", RequestKind.ROLLBACK, reason="to where?")
    recording = played(with_events(quick(), refused, asked))

    assert told(recording, What.SWITCH, "to") == [("6:10", "v1")]
    assert ("1:00", "known_good_target", "alice") in told(recording, What.GUARD, "guard", "by")
    assert ("1:00", "rollback", "409.0") in told(recording, What.REPLY, "request", "status")


def test_a_probe_that_dies_is_asked_more_often_and_rolls_back() -> None:
    recording = played(
        script(
            feed((1.0, 14), (0.0, 3), (1.0, 20), rule=ALIVE),
            rules=(ALIVE,),
            events=(vouched(), deployed("5m")),
            until="12m",
        )
    )

    assert told(recording, What.INCIDENT, "level", "state")[:2] == [
        ("7:10", "critical", "opened"),
        ("7:20", "rollback", "worsened"),
    ]
    assert told(recording, What.SWITCH, "to") == [("7:20", "v1")]


def test_a_mute_window_holds_back_what_can_wait_until_it_ends() -> None:
    window = MuteWindow(name="lunch", zone="UTC", start=10 * 60, end=10 * 60 + 20)
    muted = (Route(to=("ops",), mutes=(window,)),)
    recording = played(script(feed((0.001, 10), (0.009, 60)), routes=muted, until="30m"))

    assert told(recording, What.INCIDENT, "state") == [("5:00", "opened")]
    assert told(recording, What.NOTIFICATION, "kind") == [("20:00", "incident_opened")]


def test_a_silence_holds_back_until_it_ends() -> None:
    silence = wanted("1m", RequestKind.SILENCE, reason="known", **{"for": "10m"})
    recording = played(script(feed((0.001, 10), (0.009, 60)), events=(silence,), until="15m"))

    assert told(recording, What.NOTIFICATION, "kind") == [("11:00", "incident_opened")]


def test_what_is_forbidden_is_never_rolled_back() -> None:
    forbidden = replace(quick(), events=(vouched(), deployed("5m", rollback_allowed=False)))
    recording = played(forbidden)

    assert told(recording, What.SWITCH) == []
    assert "forbidden" in {reason for _, reason in told(recording, What.GUARD, "reason")}


def many(count: int) -> Script:
    """So many services whose new versions turn bad together."""
    names = [f"shop{number}" for number in range(count)]
    return script(
        *(feed((0.001, 60), version="v1", service=name) for name in names),
        *(feed((None, 10), (0.2, 50), version="v2", service=name) for name in names),
        services=tuple(service(ERRORS, name=name) for name in names),
        traffic={name: standing(blue="v1") for name in names},
        events=tuple(one for name in names for one in (vouched(name), deployed("5m", name=name))),
        limits=Limits(max_rollbacks=2, max_share=1.0, at_least=count),
        until="10m",
    )


def test_the_breaker_stops_after_so_many_switches() -> None:
    recording = played(many(4))

    assert len(told(recording, What.SWITCH)) == 2
    assert {guard for _, guard in told(recording, What.GUARD, "guard")} == {"breaker"}
    assert "breaker_open" in {kind for _, kind in told(recording, What.NOTIFICATION, "kind")}


def test_two_services_have_nothing_to_do_with_each_other() -> None:
    both = many(2)
    calm = replace(
        both, feeds=tuple(one for one in both.feeds if (one.service, one.version) != ("shop1", "v2"))
    )
    calm = replace(calm, feeds=(*calm.feeds, feed((None, 10), (0.001, 50), version="v2", service="shop1")))
    recording = played(calm)

    assert {name for _, name in told(recording, What.ROLLBACK, "service")} == {"shop0"}
    assert {name for _, name in told(recording, What.INCIDENT, "service")} == {"shop0"}


def test_the_same_script_gives_the_same_recording_and_a_long_one_is_no_trouble() -> None:
    one = bad_deployment(until="40m")

    assert played(one) == played(one)
