"""Incidents on their ladders: who is told while nobody acknowledges, and what stops it."""

from __future__ import annotations

from msgspec.structs import replace

from tests.core.ladders import ESCALATED, HOUR, MINUTE, OPENED, PRODUCTION, REPEATED, WORSENED, Ladders
from tests.core.scenario import CRITICAL, OK, WARNING
from watchdog.core.incident import IncidentState
from watchdog.core.ladder import Policy, Step
from watchdog.core.message import MessageKind
from watchdog.core.request import RequestKind
from watchdog.core.routing import Route
from watchdog.core.rule import Severity

ACKED, UNACKED = MessageKind.INCIDENT_ACKNOWLEDGED, MessageKind.INCIDENT_UNACKNOWLEDGED
REMINDED, CLOSED = MessageKind.ACKNOWLEDGEMENT_REMINDER, MessageKind.INCIDENT_CLOSED
FAILED, LATE = MessageKind.CHANNEL_FAILED, MessageKind.CHANNEL_LATE


def bad(*routes: Route, policy: Policy = PRODUCTION) -> Ladders:
    """A service that is critical (severity high) from the beginning of the story on."""
    story = Ladders(*routes, policy=policy)
    story.forget().observe(value=CRITICAL)
    return story


def test_each_step_is_told_when_its_time_has_come_and_only_to_its_channels() -> None:
    story = bad().minutes(60)
    assert story.tells() == [
        ("0m", OPENED, {"ops", "mail"}),
        ("15m", ESCALATED, {"manager"}),
        ("45m", ESCALATED, {"director"}),
    ]
    assert story.incident.heard_by == ("ops", "mail", "manager", "director")


def test_a_step_says_how_long_nobody_acknowledged_who_was_told_and_who_is_next() -> None:
    message = bad().minutes(16).newest(ESCALATED)
    facts = dict(message.facts)
    assert message.headline.startswith("nobody acknowledged for 15m: trips")
    assert message.headline.endswith("25, above 20")
    assert facts["told so far"] == "ops, mail"
    assert facts["told now"] == "manager"
    assert facts["next"] == "director at 2026-03-02 10:56:30 UTC"
    assert "errors" in facts
    assert message.needs_human
    assert message.severity is Severity.HIGH
    assert f"watchdog ack {message.incident}" in message.next_step


def test_after_the_last_step_everybody_is_told_again_every_four_hours() -> None:
    story = bad().minutes(10 * 60, every=5)
    everybody = {"ops", "mail", "manager", "director"}
    assert story.tells()[3:] == [
        ("285m", REPEATED, everybody),
        ("525m", REPEATED, everybody),
    ]
    assert "still open and not acknowledged after 8h45m" in story.newest(REPEATED).headline


def test_who_slept_tells_every_step_once_in_order_and_one_repeat() -> None:
    story = bad().at_minute(3 * 24 * 60)
    assert [(at, kind) for at, kind, _ in story.tells()] == [
        ("0m", OPENED),
        ("4320m", ESCALATED),
        ("4320m", ESCALATED),
    ]
    story.forget().minutes(3 * 24 * 60 + 239, every=10)
    assert story.tells() == []
    assert [at for at, _, _ in story.minutes(3 * 24 * 60 + 240).tells()] == ["4560m"]


def test_a_repeat_that_is_late_is_told_once_and_the_next_as_long_after_it() -> None:
    story = bad().minutes(60, every=15).forget().at_minute(2000)
    assert [kind for _, kind, _ in story.tells()] == [REPEATED]
    assert story.minute_of_next() == 2000 + 240


def test_a_plain_route_repeats_and_has_no_other_steps() -> None:
    story = bad(Route(to=("ops", "mail"), repeat_after=30 * MINUTE)).minutes(70)
    both = {"ops", "mail"}
    assert story.tells() == [("0m", OPENED, both), ("30m", REPEATED, both), ("60m", REPEATED, both)]
    assert story.climb.policy.name == ""


def test_a_route_that_never_repeats_does_not() -> None:
    story = bad(Route(to=("ops",), repeat_after=None)).minutes(20 * 60, every=60)
    assert [kind for _, kind, _ in story.tells()] == [OPENED]


def test_louder_news_begin_the_louder_ladder_and_quieter_ones_nothing() -> None:
    story = Ladders().forget()
    story.observe(value=WARNING)
    story.minutes(30).observe(value=CRITICAL)
    story.minutes(80)
    assert story.tells() == [
        ("0m", OPENED, {"ops"}),
        ("30m", WORSENED, {"ops", "mail"}),
        ("45m", ESCALATED, {"manager"}),
        ("75m", ESCALATED, {"director"}),
    ]


def test_an_acknowledgement_stops_the_ladder_and_reminds_of_itself() -> None:
    story = bad().minutes(10)
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id)
    story.minutes(140)
    heard = {"ops", "mail"}
    assert story.tells() == [
        ("0m", OPENED, heard),
        ("10m", ACKED, heard),
        ("70m", REMINDED, heard),
        ("130m", REMINDED, heard),
    ]
    assert not story.newest(REMINDED).needs_human


def test_an_acknowledgement_ends_after_eight_hours_and_the_ladder_begins_again() -> None:
    story = bad().minutes(20)
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id)
    story.minutes(499, every=15).forget().minutes(520)
    assert story.incident.state is IncidentState.OPEN
    assert story.incident.acknowledged_by is None
    assert story.tells() == [
        ("500m", UNACKED, {"ops", "mail", "manager"}),
        ("515m", ESCALATED, {"manager"}),
    ]
    message = story.newest(UNACKED)
    assert "alice acknowledged it 8h ago" in message.headline
    assert message.needs_human
    assert "incident_unacknowledged" in story.recorded


def test_an_acknowledgement_for_a_while_lasts_as_long_as_its_owner_said() -> None:
    story = bad()
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id, for_seconds=1800)
    assert story.climb.acknowledged_until == story.now + 30 * MINUTE
    assert [(at, kind) for at, kind, _ in story.minutes(31).tells()][2:] == [("30m", UNACKED)]


def test_acknowledging_again_extends_it_and_tells_nobody() -> None:
    story = bad()
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id, for_seconds=1800)
    story.minutes(20).ask(RequestKind.ACKNOWLEDGE, story.incident.id, for_seconds=1800)
    assert [kind for _, kind, _ in story.minutes(49).tells()] == [OPENED, ACKED]
    assert story.minutes(50).tells()[-1][1] is UNACKED


def test_an_acknowledgement_for_ever_does_not_end() -> None:
    policy = replace(PRODUCTION, acknowledged_for=None, remind_after=None)
    story = bad(policy=policy)
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id)
    assert story.climb.next_at is None
    assert [kind for _, kind, _ in story.minutes(5000, every=200).tells()] == [OPENED, ACKED]


def test_who_gives_it_back_is_named_and_the_ladder_begins_again() -> None:
    story = bad()
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id)
    story.minutes(30)
    reply = story.ask(RequestKind.UNACKNOWLEDGE, story.incident.id, by="bob", reason="not my service")
    assert reply.status == 200
    assert reply.body["state"] == "open"
    story.minutes(45)
    assert story.tells()[2:] == [("30m", UNACKED, {"ops", "mail"}), ("45m", ESCALATED, {"manager"})]
    message = story.newest(UNACKED)
    assert "bob took it back from alice: not my service" in message.headline


def test_taken_again_by_the_same_person_is_told_again() -> None:
    story = bad()
    for minute in (1, 2):
        story.at_minute(minute).ask(RequestKind.ACKNOWLEDGE, story.incident.id)
        story.ask(RequestKind.UNACKNOWLEDGE, story.incident.id)
    assert [kind for _, kind, _ in story.tells()] == [OPENED, ACKED, UNACKED, ACKED, UNACKED]


def test_what_nobody_has_cannot_be_given_back() -> None:
    story = bad()
    before = story.incident
    assert story.ask(RequestKind.UNACKNOWLEDGE, before.id).status == 200
    assert story.incident == before
    assert [kind for _, kind, _ in story.tells()] == [OPENED]


def test_what_gets_worse_in_somebodys_hands_is_told_and_its_ladder_waits() -> None:
    story = Ladders().forget()
    story.observe(value=WARNING)
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id, for_seconds=7200)
    story.minutes(5).observe(value=CRITICAL)
    story.minutes(136)
    assert story.tells() == [
        ("0m", OPENED, {"ops"}),
        ("0m", ACKED, {"ops"}),
        ("5m", WORSENED, {"ops", "mail"}),
        ("60m", REMINDED, {"ops", "mail"}),
        ("120m", UNACKED, {"ops", "mail"}),
        ("135m", ESCALATED, {"manager"}),
    ]


def test_the_end_is_told_wherever_anything_was_and_ends_the_climb() -> None:
    story = bad().minutes(50)
    for _ in range(2):
        story.after("30s").observe(value=OK)
    at, kind, to = story.tells()[-1]
    assert (at, kind, to) == ("51m", CLOSED, {"ops", "mail", "manager", "director"})
    (closed,) = [one for one in story.last.incidents if not one.open]
    assert closed.climb is not None
    assert closed.climb.next_at is None
    assert story.minutes(2000, every=60).tells()[-1][1] is CLOSED


def test_a_silence_holds_steps_back_and_what_is_due_is_told_when_it_ends() -> None:
    story = bad().minutes(5)
    story.ask(RequestKind.SILENCE, matchers={"service": "trips"}, reason="we know", for_seconds=3600)
    assert [kind for _, kind, _ in story.minutes(64).tells()] == [OPENED]
    assert story.minutes(66).tells()[1:] == [
        ("65m", ESCALATED, {"manager"}),
        ("65m", ESCALATED, {"director"}),
    ]


def test_what_is_silenced_from_the_start_climbs_when_people_first_hear_of_it() -> None:
    story = Ladders().forget()
    story.ask(RequestKind.SILENCE, matchers={"service": "trips"}, reason="load test", for_seconds=1200)
    story.observe(value=CRITICAL)
    assert story.incident.climb is None
    assert story.minutes(40).tells() == [
        ("20m", OPENED, {"ops", "mail"}),
        ("35m", ESCALATED, {"manager"}),
    ]


def test_what_was_taken_before_anybody_heard_of_it_begins_when_it_is_given_back() -> None:
    story = Ladders().forget()
    story.ask(RequestKind.SILENCE, matchers={"service": "trips"}, reason="load test", for_seconds=600)
    story.observe(value=CRITICAL)
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id, for_seconds=1200)
    story.minutes(36)
    assert [(at, kind) for at, kind, _ in story.tells()] == [
        ("10m", OPENED),
        ("20m", UNACKED),
        ("35m", ESCALATED),
    ]


# -- channels that own the ladder, and channels that fail

DELEGATED = replace(
    PRODUCTION,
    delegate=("oncall",),
    ladders={Severity.HIGH: (Step(to=("oncall", "ops")), Step(after=5 * MINUTE, to=("manager",)))},
)


def test_where_a_channel_owns_the_ladder_nobody_else_is_told() -> None:
    story = bad(policy=DELEGATED).minutes(600, every=30)
    assert story.tells() == [
        ("0m", OPENED, {"oncall", "ops"}),
        ("240m", REPEATED, {"oncall"}),  # who may have closed by itself what nobody there took
        ("480m", REPEATED, {"oncall"}),
    ]
    assert story.climb.delegated


def test_when_the_owner_of_the_ladder_dies_ours_goes_on_at_once() -> None:
    story = bad(policy=DELEGATED).minutes(1)
    story.dies("oncall", story.newest(OPENED))
    assert story.tells()[1:] == [
        ("1m", ESCALATED, {"manager"}),
        ("1m", FAILED, {"ops", "manager"}),
    ]
    assert not story.climb.delegated
    assert [kind for _, kind, _ in story.minutes(300, every=30).tells()][3:] == [REPEATED]


def test_when_nobody_has_it_any_more_ours_goes_on_because_the_owner_holds_it_for_taken() -> None:
    story = bad(policy=DELEGATED).minutes(1)
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id, for_seconds=1200)
    story.minutes(300)
    assert [(at, kind) for at, kind, _ in story.tells()][-3:] == [
        ("21m", UNACKED),
        ("26m", ESCALATED),
        ("266m", REPEATED),
    ]


def test_when_another_channel_dies_the_owner_still_has_it() -> None:
    story = bad(policy=DELEGATED).minutes(1)
    story.dies("ops", story.newest(OPENED)).minutes(60)
    assert [kind for _, kind, _ in story.tells()] == [OPENED, FAILED]


def test_a_message_that_is_given_up_makes_the_next_step_due_at_once_and_only_once() -> None:
    story = bad().minutes(2)
    lost = story.newest(OPENED)
    story.dies("ops", lost).dies("mail", lost).minutes(44)
    assert [(at, kind) for at, kind, _ in story.tells()] == [
        ("0m", OPENED),
        ("2m", ESCALATED),
        ("2m", FAILED),
        ("2m", FAILED),
    ]
    assert story.minutes(45).tells()[-1] == ("45m", ESCALATED, {"director"})


def test_the_news_of_a_failed_channel_carries_what_was_lost_to_all_others() -> None:
    story = bad().minutes(2)
    lost = story.newest(OPENED)
    story.dies("ops", lost)
    news = story.newest(FAILED)
    assert dict(news.facts)["not delivered"] == lost.headline
    assert set(lost.facts) <= set(news.facts)
    assert news.incident == lost.incident
    assert news.next_step.startswith(lost.next_step)
    assert "Repair the channel ops" in news.next_step
    assert story.tells()[-1][2] == {"mail", "oncall", "team-lead", "manager", "director"}


def test_nobody_is_hurried_for_what_somebody_has() -> None:
    story = bad()
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id)
    story.dies("ops", story.newest(OPENED))
    assert [kind for _, kind, _ in story.tells()] == [OPENED, ACKED, FAILED]


def test_what_is_lost_of_an_incident_that_is_over_opens_nothing_elsewhere() -> None:
    story = bad()
    for _ in range(2):
        story.after("30s").observe(value=OK)
    story.dies("ops", story.newest(CLOSED))
    assert story.newest(FAILED).incident is None


def test_a_channel_that_is_late_is_told_once_for_each_outage() -> None:
    story = bad().minutes(2)
    lost = story.newest(OPENED)
    story.late("ops", lost, since=1)
    assert [(kind, to) for _, kind, to in story.tells()[1:]] == [
        (ESCALATED, {"manager"}),
        (LATE, {"mail", "oncall", "team-lead", "manager", "director"}),
    ]
    key = story.newest(LATE).key
    story.may_repeat(key).late("ops", story.newest(ESCALATED), since=1)
    assert story.newest(LATE).key == key


def test_what_only_a_late_channel_was_told_is_told_elsewhere_for_each_incident() -> None:
    story = bad(Route(match={"service": "trips"}, to=("ops",)), Route(to=("mail",)))
    story.late("ops", story.newest(OPENED))
    first = story.newest(LATE)
    assert first.key.endswith(str(story.incident.id))
    assert story.tells()[-1][2] == {"mail"}


# -- what is configured now, and what was when it began


def test_a_reload_changes_no_ladder_on_which_somebody_is_on_the_way() -> None:
    story = bad().minutes(5)
    other = Policy(name="production", ladders={Severity.HIGH: (Step(to=("ops",)),)})
    story.reloaded(Route(policy=other), Route(to=("manager", "director"))).minutes(16)
    assert story.tells()[-1] == ("15m", ESCALATED, {"manager"})


def test_a_channel_that_is_gone_is_left_out_and_where_all_are_the_routes_say_who() -> None:
    story = bad().minutes(5).reloaded(Route(to=("chat",)), Route(to=("director",)))
    assert story.minutes(50).tells()[1:] == [
        ("15m", ESCALATED, {"chat"}),
        ("45m", ESCALATED, {"director"}),
    ]


def test_a_restart_goes_on_where_it_was_and_tells_what_was_due_meanwhile_once() -> None:
    story = bad().minutes(14).reborn()
    climb = story.climb
    assert story.at_minute(50).tells()[1:] == [
        ("50m", ESCALATED, {"manager"}),
        ("50m", ESCALATED, {"director"}),
    ]
    assert climb.policy == PRODUCTION
    story.reborn().minutes(120, every=5)
    assert len(story.tells()) == 3


def test_a_step_that_could_not_be_written_has_the_same_key_again() -> None:
    story = bad().minutes(14)
    before, count = story.world, len(story.messages)
    story.at_minute(15)
    first = {message.key for message in story.messages[count:]}
    story.world = before
    story.may_repeat(*first).at_minute(16)
    assert {message.key for message in story.messages[count:]} == first


def test_what_was_open_before_there_were_ladders_begins_its_own_at_the_first_tick() -> None:
    story = bad()
    service = story.service
    old = replace(story.incident, climb=None)
    services = {"trips": replace(service, incidents={old.id: old})}
    story.world = replace(story.world, services=services)
    assert story.minutes(20, every=10).tells()[1:] == []
    assert story.minutes(26).tells()[1:] == [("25m", ESCALATED, {"manager"})]


# -- what is told to be left to the report


def quiet(severity: Severity = Severity.LOW) -> Ladders:
    """A service whose incident is as quiet as can be. The story begins on Monday, 2 March, at 10:11."""
    story = Ladders(Route(policy=replace(PRODUCTION, ladders={severity: PRODUCTION.ladders[Severity.LOW]})))
    story.forget().observe(value=WARNING)
    return story


def test_what_is_left_to_the_report_is_told_once_a_week_while_it_is_open() -> None:
    story = quiet().minutes(15 * 24 * 60, every=120)
    reports = [entry for entry in story.tells() if entry[1] is MessageKind.WEEKLY_REPORT]
    assert [to for _, _, to in reports] == [{"mail"}, {"mail"}]
    keys = [message.key for message in story.messages if message.kind is MessageKind.WEEKLY_REPORT]
    assert [key.split(":")[1] for key in keys] == ["2026-W11", "2026-W12"]
    assert len(story.tells()) == 3, "opened once, and no repeats"
    assert story.newest(MessageKind.WEEKLY_REPORT).headline == (
        "weekly report 2026-W12: 1 incident still open that nobody acknowledged"
    )


def test_a_report_that_was_missed_is_told_once() -> None:
    story = quiet().minutes(30 * 60, every=60).forget()
    story.at_minute(16 * 24 * 60).minutes(16 * 24 * 60 + 300, every=60)
    assert [kind for _, kind, _ in story.tells()] == [MessageKind.WEEKLY_REPORT]


def test_what_somebody_has_is_in_no_report() -> None:
    story = quiet().minutes(30 * 60, every=60).forget()
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id, for_seconds=(14 * 24 * HOUR).total_seconds())
    kinds = {kind for _, kind, _ in story.minutes(10 * 24 * 60, every=240).tells()}
    assert MessageKind.WEEKLY_REPORT not in kinds


def test_several_incidents_stand_in_one_report() -> None:
    policy = replace(PRODUCTION, ladders={Severity.MEDIUM: PRODUCTION.ladders[Severity.LOW]})
    story = Ladders(policy=policy, others=("cars",))
    story.traffic("cars", blue=1, green=0)
    story.forget().observe(value=WARNING)
    story.observe(value=WARNING, name="cars")
    story.minutes(7 * 24 * 60, every=120)
    report = story.message(MessageKind.WEEKLY_REPORT)
    assert [name for name, _ in report.facts] == ["trips", "cars"]
