"""Every end of a rollback: told once, to the right people, with a command that exists and that really closes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from tests.core.commands import Command, commands
from tests.core.scenario import OK, ROLLBACK, Scenario
from watchdog.core.checks import checks_of
from watchdog.core.events import OutcomeKind
from watchdog.core.message import Message, MessageKind
from watchdog.core.observation import NoData, NoDataReason, Observation, Value
from watchdog.core.request import RequestKind
from watchdog.core.rollback import ENDS, RollbackState
from watchdog.core.rollback_news import ENDED_AS
from watchdog.core.rule import Severity
from watchdog.core.service import GitOps, Mode

ABOUT_ROLLBACKS = {
    MessageKind.ROLLBACK_BLOCKED,
    MessageKind.APPROVAL_WANTED,
    MessageKind.ROLLBACK_COMPLETED,
    MessageKind.ROLLBACK_ENDED,
    MessageKind.SWITCH_UNDONE,
}
NOTHING = NoData(reason=NoDataReason.EMPTY)


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a story ends, what people hear of it, and what the bad version goes on to show until somebody acts.

    `closes` is what the command that is named first begins with, empty where none is needed. `target` is false where
    what is live then is none that a later deployment may be rolled back to.
    """

    story: Callable[[], Scenario]
    state: RollbackState
    headline: str
    human: bool = True
    severity: Severity = Severity.CRITICAL
    shows: float | None = ROLLBACK
    closes: str = "rollback"
    target: bool = True


def ineffective() -> Scenario:
    story = Scenario().verified()
    while not story.rollback.over:
        story.after("10s").observe(value=ROLLBACK, on="blue").traffic()
    return story


def not_moved() -> Scenario:
    story = Scenario().shows("blue", requests=100).shows("green", requests=100).verified()
    story.shows("blue", requests=150).shows("green", requests=200)
    return story.after("70s").traffic()


def unverified() -> Scenario:
    story = Scenario().verified()
    while not story.rollback.over:
        story.after("10s").silence(on="blue").traffic()
    return story


def unread() -> Scenario:
    return Scenario().switched().after("10s").unreadable().blue_recovers().after("5m").tick()


def contested() -> Scenario:
    return Scenario().verified().after("10s").traffic(blue=0, green=1)


def overtaken() -> Scenario:
    story = Scenario().decided().after("1s").outcome(OutcomeKind.OVERTAKEN, detail="traffic was moved first")
    return story.after("1s").traffic(red=1, green=0)


def moved_on() -> Scenario:
    return Scenario().verified().after("10s").traffic(blue=0, red=1)


def partial() -> Scenario:
    story = Scenario().decided().after("1s")
    return story.outcome(OutcomeKind.HALF_DONE, detail="given up halfway").after("1s").traffic(blue=1)


def failed() -> Scenario:
    return Scenario().decided().after("1s").outcome(OutcomeKind.REFUSED, detail="no rights")


def lapsed() -> Scenario:
    return Scenario().decided().after("5m").outcome(OutcomeKind.LAPSED, detail="unreachable")


def unanswered() -> Scenario:
    return Scenario(mode=Mode.APPROVE).decided().after("15m").tick()


def rejected() -> Scenario:
    story = Scenario(mode=Mode.APPROVE).decided()
    assert story.ask(RequestKind.REJECT, story.incident.id, reason="we fix forward").status == 200
    return story


def by_hand(kind: OutcomeKind) -> Scenario:
    """A person rolls back what no rule complains about, and it does not work."""
    story = Scenario().green_deployed()
    assert story.ask(RequestKind.ROLLBACK, reason="it looks odd").status == 202
    return story.after("1s").outcome(kind, detail="because of this")


def completed() -> Scenario:
    return Scenario().verified().blue_recovers().after("70s").traffic()


def paused() -> Scenario:
    story = Scenario().green_deployed()
    story.ask(RequestKind.PAUSE, reason="we are looking")
    return story.green_is_bad()


def not_ready() -> Scenario:
    return Scenario().shows("blue", ready=0).decided()


def tainted() -> Scenario:
    story = Scenario().green_deployed()
    story.ask(RequestKind.TAINT, version="blue", reason="it leaks")
    return story.green_is_bad()


def forbidden() -> Scenario:
    story = Scenario().stable_blue()
    story.post("v2", "green", rollback="forbidden")
    return story.after("5s").traffic(blue=0, green=1).after("35s").traffic().green_is_bad()


def managed() -> Scenario:
    story = Scenario(gitops=GitOps.VETO).green_deployed()
    seen = story.service.traffic
    assert seen is not None
    service = msgspec.structs.replace(
        story.service, traffic=msgspec.structs.replace(seen, managed_by="argocd")
    )
    story.world = msgspec.structs.replace(story.world, services={"trips": service})
    return story.green_is_bad()


def blocked(
    story: Callable[[], Scenario],
    *,
    closes: str = "incidents close",
    version: str = "green",
    target: bool = True,
) -> End:
    headline = f"trips {version} should be rolled back and was NOT: "
    return End(story=story, state=RollbackState.BLOCKED, headline=headline, closes=closes, target=target)


HAD = "trips: the rollback to blue {}: {}"
TABLE: dict[str, End] = {
    "ineffective": End(
        story=ineffective,
        state=RollbackState.INEFFECTIVE,
        headline=HAD.format(ENDED_AS[RollbackState.INEFFECTIVE], "still bad on blue: errors"),
        closes="incidents close",
    ),
    "traffic did not move": End(
        story=not_moved,
        state=RollbackState.INEFFECTIVE,
        headline=HAD.format(ENDED_AS[RollbackState.INEFFECTIVE], "traffic did not move: 67% of the requests"),
        closes="incidents close",
    ),
    "unverified": End(
        story=unverified,
        state=RollbackState.UNVERIFIED,
        headline=HAD.format(ENDED_AS[RollbackState.UNVERIFIED], "recovery could not be measured: errors"),
        shows=None,
        closes="incidents close",
    ),
    "not read again": End(
        story=unread,
        state=RollbackState.UNVERIFIED,
        headline=HAD.format(ENDED_AS[RollbackState.UNVERIFIED], "the switch could not be read again"),
        shows=None,
        closes="",
    ),
    "contested": End(
        story=contested,
        state=RollbackState.CONTESTED,
        headline=HAD.format(ENDED_AS[RollbackState.CONTESTED], "green takes traffic again instead of blue"),
    ),
    "overtaken before": End(
        story=overtaken,
        state=RollbackState.SUPERSEDED,
        headline=HAD.format(ENDED_AS[RollbackState.SUPERSEDED], "traffic was moved first"),
        human=False,
        severity=Severity.MEDIUM,
        shows=OK,
        closes="",
    ),
    "overtaken after": End(
        story=moved_on,
        state=RollbackState.SUPERSEDED,
        headline=HAD.format(ENDED_AS[RollbackState.SUPERSEDED], "traffic was moved to another variant"),
        human=False,
        severity=Severity.MEDIUM,
        shows=OK,
        closes="",
    ),
    "partial": End(
        story=partial,
        state=RollbackState.PARTIAL,
        headline=HAD.format(ENDED_AS[RollbackState.PARTIAL], "given up halfway"),
    ),
    "failed": End(
        story=failed,
        state=RollbackState.FAILED,
        headline=HAD.format(ENDED_AS[RollbackState.FAILED], "no rights"),
    ),
    "expired": End(
        story=lapsed,
        state=RollbackState.EXPIRED,
        headline=HAD.format(ENDED_AS[RollbackState.EXPIRED], "unreachable"),
    ),
    "nobody approved": End(
        story=unanswered,
        state=RollbackState.EXPIRED,
        headline=HAD.format(ENDED_AS[RollbackState.EXPIRED], "nobody approved in time"),
    ),
    "rejected": End(
        story=rejected,
        state=RollbackState.EXPIRED,
        headline=HAD.format(ENDED_AS[RollbackState.EXPIRED], "rejected by alice: we fix forward"),
        human=False,
        severity=Severity.MEDIUM,
    ),
    "failed by hand": End(
        story=lambda: by_hand(OutcomeKind.REFUSED),
        state=RollbackState.FAILED,
        headline=HAD.format(ENDED_AS[RollbackState.FAILED], "because of this"),
        shows=OK,
    ),
    "half done by hand": End(
        story=lambda: by_hand(OutcomeKind.HALF_DONE),
        state=RollbackState.PARTIAL,
        headline=HAD.format(ENDED_AS[RollbackState.PARTIAL], "because of this"),
        shows=OK,
    ),
    "completed": End(
        story=completed,
        state=RollbackState.COMPLETED,
        headline="trips: recovered on blue after 1m",
        human=False,
        severity=Severity.HIGH,
        shows=OK,
        closes="",
    ),
    "approval": End(
        story=lambda: Scenario(mode=Mode.APPROVE).decided(),
        state=RollbackState.AWAITING_APPROVAL,
        headline="trips: approve the rollback from green to blue?",
        closes="approve",
    ),
    "paused": blocked(paused, closes="resume"),
    "not ready": blocked(not_ready),
    "tainted": blocked(tainted, closes="mark-good"),
    "forbidden": blocked(forbidden, version="v2", target=False),
    "managed": blocked(managed),
    "observe": blocked(lambda: Scenario(mode=Mode.OBSERVE).decided(), closes="rollback"),
}
table = pytest.mark.parametrize("name", TABLE)


def told(story: Scenario) -> Message:
    """What people heard of where the story stands: one message, the last of all that is said of rollbacks."""
    about = [one for one in story.messages if one.kind in ABOUT_ROLLBACKS]
    if story.rollback.state is not RollbackState.AWAITING_APPROVAL:
        about = [one for one in about if one.kind is not MessageKind.APPROVAL_WANTED]
    assert len(about) == 1, [(one.kind, one.headline) for one in about]
    return about[0]


def lives_on(story: Scenario, shows: float | None, text: str, *, every: str = "30s") -> None:
    """Whatever is live goes on to show this, but what stands beside the bad version; it is polled and looked at."""
    story.looks_every = 50
    rounds = int(timedelta(minutes=float(text.rstrip("m"))) / timedelta(seconds=float(every.rstrip("s"))))
    for _ in range(rounds):
        story.after(every)
        for check in checks_of(story.service):
            beside = check.variant == story.rollback.to_variant and len(checks_of(story.service)) > 1
            value = OK if beside else shows
            seen: Observation = NOTHING if value is None else Value(value=value, at=story.now)
            story.sees(check, seen)
        story.traffic().tick()


def at_rest(story: Scenario) -> None:
    """Nothing is open, and nothing waits."""
    assert story.service.incidents == {}
    assert [one.state for one in story.service.rollbacks.values() if not one.over] == []


def carry_out(story: Scenario) -> None:
    """The executor and the switch do what an intent says, and it helps."""
    rollback = story.rollback_is(RollbackState.INTENDED).rollback
    weights = {rollback.to_variant: 1, rollback.from_variant: 0}
    story.after("1s").outcome(OutcomeKind.APPLIED, state=story.state(**weights)).after("2s").traffic()
    lives_on(story, OK, "4m", every="10s")
    story.rollback_is(RollbackState.COMPLETED)


def follow(story: Scenario, command: Command) -> None:
    """A person copies the command."""
    assert command.kind is not None, f"{command.text} asks for nothing"
    reply = story.after("1m").ask(command.kind, command.target, **command.body)
    assert reply.status < 300, f"{command.text}: {reply.detail}"


@table
def test_every_end_is_told_once_and_to_the_right_people(name: str) -> None:
    end = TABLE[name]
    story = end.story().rollback_is(end.state)
    message = told(story)
    assert message.headline.startswith(end.headline)
    assert (message.needs_human, message.severity) == (end.human, end.severity)
    assert (message.rollback, message.incident) == (story.rollback.id, story.rollback.incident)
    assert dict(message.facts)["why"]
    # Nobody does anything: no further word on it, and no second switch.
    before = len(story.service.rollbacks)
    lives_on(story, end.shows, "10m")
    assert told(story) == message
    assert len(story.service.rollbacks) == before
    assert sum(one.switched for one in story.service.rollbacks.values()) == story.rollback.switched


@table
def test_the_command_that_a_message_names_exists_and_closes_it(name: str) -> None:
    end = TABLE[name]
    story = end.story()
    message = told(story)
    found = commands(message.next_step.replace("VERSION", "blue"))
    assert found, message.next_step
    for command in found:
        assert command.target in {"", "trips", story.rollback.incident}, command.text
    if end.closes:
        command = found[0]
        assert " ".join(command.path) == end.closes
        follow(story, command)
        if command.kind in (RequestKind.RESUME, RequestKind.MARK_GOOD):
            story.green_is_bad(1)
        if story.rollback.state is RollbackState.INTENDED:
            carry_out(story)
    at_peace(story)
    if end.target:
        protected_again(story)


@table
def test_an_incident_can_always_be_closed_by_hand_and_is_over_then(name: str) -> None:
    """Whatever else a message advises: nothing can be left open that a person cannot end."""
    story = TABLE[name].story()
    for identity in list(story.service.incidents):
        assert story.after("1m").ask(RequestKind.CLOSE, identity, reason="seen").status == 200
    assert story.service.incidents == {}
    at_peace(story, every="300s")


def at_peace(story: Scenario, *, every: str = "60s") -> None:
    """From here on all is well, and nobody hears of it again; what still waited is over with the time to act."""
    heard = len(story.messages)
    lives_on(story, OK, "75m", every=every)
    assert [one.headline for one in story.messages[heard:] if one.kind in ABOUT_ROLLBACKS] == []
    assert [one for one in story.messages[heard:] if one.needs_human] == []
    at_rest(story)


def protected_again(story: Scenario) -> None:
    """A later deployment is rolled back like any other."""
    story.configure(mode=Mode.ENFORCE)
    (live,) = story.service.traffic.live if story.service.traffic else ()
    other = "green" if live != "green" else "blue"
    for variant in (live, other):
        story.shows(variant, ready=10)
    story.post("v9", other)
    story.after("5s").traffic(**{live: 0, other: 1}).after("35s").traffic()
    for _ in range(2):
        story.after("10s").observe(value=ROLLBACK, on=other)
    assert story.rollback.state is RollbackState.INTENDED, story.vetoes
    assert (story.rollback.from_version, story.rollback.to_variant) == ("v9", live)


def test_whatever_pauses_it_the_message_says_how_to_lift_it() -> None:
    """The command lifts one of three kill switches; the others are what somebody put there."""
    step = told(paused()).next_step
    assert "the pause file" in step
    assert "the mark on the target" in step


def test_a_target_of_which_nobody_can_say_whether_it_is_ready_needs_somebody_to_ask() -> None:
    story = Scenario().shows("blue", ready=None).decided()
    assert "`ready` probe" in told(story).next_step


def test_every_end_stands_in_the_table() -> None:
    assert {end.state for end in TABLE.values()} >= ENDS
