"""What a person who is woken up reads: what was done, why, by what evidence, how to take it back; only then jargon."""

from __future__ import annotations

from datetime import timedelta

from tests.core.commands import commands
from tests.core.scenario import Scenario, rule
from watchdog.channels.rendering import as_text
from watchdog.core.comparing import compared
from watchdog.core.events import OutcomeKind
from watchdog.core.message import MessageKind
from watchdog.core.observation import Answer
from watchdog.core.rule import Evidence, Ratio, Rule, Thresholds, Unit

ERROR_RATE: Rule = rule(
    "error-rate",
    form=Ratio(
        bad='requests_total{version="$version",status=~"5.."}', total='requests_total{version="$version"}'
    ),
    unit=Unit.RATIO,
    thresholds=Thresholds(warning=0.005, critical=0.01, rollback=0.015),
    window=timedelta(minutes=1),
    evidence=Evidence(min_events=20, min_bad=10, confidence=0.99),
    runbook="https://runbooks.example.com/error-rate",
)
UNDO = "watchdog mark-good trips v1.4.2 --reason TEXT && watchdog rollback trips --to v1.4.2 --reason TEXT"
SWITCHED = f"""\
[critical] trips: traffic moved back from v1.4.2 to v1.4.1: error-rate: 8.25% of 412 events were bad in 1m, above 1.5%
Nobody needs to do anything.
service trips, version v1.4.2, environment production, 2026-03-02 10:15:51 UTC
error-rate: 8.25% (limit 1.5%) since 2026-03-02 10:13:20 UTC
why: 8.25% of 412 events were bad in 1m, above 1.5%
asked by: watchdog
from: v1.4.2 on green
to: v1.4.1 on blue
Next: It is being verified now; how it ends is told. To stop the automation: watchdog pause trips
To take it back: {UNDO}
Why, in full: watchdog explain rb-1
Runbook: https://runbooks.example.com/error-rate
incident inc-1, rollback rb-1"""
COMPLETED = f"""\
[high] trips: recovered on v1.4.1 after 1m17s
Nobody needs to do anything.
service trips, version v1.4.1, environment production, 2026-03-02 10:17:08 UTC
why: proved: traffic moved and the rules recovered
ended as: completed
traffic: 400 events of error-rate on v1.4.1
asked by: watchdog
from: v1.4.2 on green
to: v1.4.1 on blue
Next: Traffic stays on blue. Find out what is wrong with v1.4.2 before it is deployed again; it is tainted, so no \
rollback goes there. What was seen: watchdog explain rb-1.
To take it back: {UNDO}
Why, in full: watchdog explain rb-1
Runbook: https://runbooks.example.com/error-rate
incident inc-1, rollback rb-1"""


def polled(story: Scenario, on: str, *, bad: float, of: float) -> None:
    """The source says so many of so many requests."""
    parts: dict[str, tuple[float, ...]] = {
        "bad": (bad,),
        "total": (of,),
        "newest": (story.now.timestamp(),),
        "samples": (4.0,),
    }
    answer = Answer(parts=parts, evaluated_at=story.now)
    story.sees(story.check(on=on), compared(ERROR_RATE, answer, None, now=story.now))


def rolled_back() -> Scenario:
    story = Scenario(ERROR_RATE).shows("blue", version="v1.4.1").shows("green", version="v1.4.2")
    story.traffic(blue=1, green=0)
    for _ in range(25):
        story.after("30s")
        polled(story, "blue", bad=0, of=400)
        story.traffic()
    story.after("5s").traffic(blue=0, green=1).after("35s").traffic()
    while not story.service.rollbacks:
        story.after("10s")
        polled(story, "green", bad=34, of=412)
    return story.after("1s").outcome(OutcomeKind.APPLIED, state=story.state(blue=1, green=0))


def test_the_message_of_a_switch_word_for_word() -> None:
    story = rolled_back()
    message = story.message(MessageKind.ROLLBACK_SWITCHED)
    text = as_text(message).replace(str(message.incident), "inc-1").replace(str(message.rollback), "rb-1")
    assert text == SWITCHED


def test_the_message_of_its_end_word_for_word() -> None:
    story = rolled_back().after("2s").traffic()
    for _ in range(3):
        story.after("5s")
        polled(story, "blue", bad=0, of=400)
    story.after("60s").traffic()
    message = story.message(MessageKind.ROLLBACK_COMPLETED)
    text = as_text(message).replace(str(message.incident), "inc-1").replace(str(message.rollback), "rb-1")
    assert text == COMPLETED


def test_the_commands_that_take_it_back_do() -> None:
    story = rolled_back().after("2s").traffic()
    mark_good, back = commands(story.message(MessageKind.ROLLBACK_SWITCHED).undo)
    for command, status in ((mark_good, 200), (back, 202)):
        assert command.kind is not None
        assert story.ask(command.kind, command.target, **command.body).status == status
    assert (story.rollback.from_variant, story.rollback.to_variant) == ("blue", "green")
    story.after("1s").outcome(OutcomeKind.APPLIED, state=story.state(blue=0, green=1))
    assert story.on("green").version == "v1.4.2"
    assert [one.headline for one in story.messages][
        -1
    ] == "trips: traffic moved back from v1.4.1 to v1.4.2: TEXT"
