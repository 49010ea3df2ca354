"""Random schedules of everything that can happen to an incident on its ladder, beside a model that counts boot time.

Acknowledgements, silences, worsening, dead channels, restarts, reloads, clocks that are set, and ticks that come late,
in any order: no step is skipped while nobody has it and nothing is silent, none is told twice or out of order, none too
early, and none after the end.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from tests.core.ladders import ESCALATED, OPENED, REPEATED, WORSENED, Ladders
from tests.core.scenario import CRITICAL, OK, WARNING
from tests.soak import Counted
from watchdog.core.events import Ticked
from watchdog.core.ladder import Policy, Step
from watchdog.core.message import Message, MessageKind
from watchdog.core.request import RequestKind
from watchdog.core.routing import Route
from watchdog.core.rule import Severity

UNACKED, REMINDED = MessageKind.INCIDENT_UNACKNOWLEDGED, MessageKind.ACKNOWLEDGEMENT_REMINDER
FAILED, CLOSED = MessageKind.CHANNEL_FAILED, MessageKind.INCIDENT_CLOSED
WATCHED = {OPENED, WORSENED, ESCALATED, REPEATED, UNACKED, REMINDED, FAILED, CLOSED}
ZERO = timedelta()


class Model:
    """What should be told, by a clock that nobody sets. Everything is a plain attribute and looked at in turn."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.boot = ZERO
        self.severity: Severity | None = None  # of what people heard
        self.bad = Severity.MEDIUM  # of what is the case
        self.start, self.step, self.delegated = ZERO, 0, False
        self.hurried: timedelta | None = None
        self.repeat_at: timedelta | None = None
        self.acked, self.until, self.remind_at = False, None, None
        self.silent_until: timedelta | None = None
        self.held_back = False
        self.expected: list[str] = []

    until: timedelta | None
    remind_at: timedelta | None

    @property
    def steps(self) -> tuple[Step, ...]:
        order = list(Severity)
        at = order.index(self.severity or self.bad)
        wanted = next(one for one in (*order[at:], *reversed(order[:at])) if one in self.policy.ladders)
        return self.policy.ladders[wanted]

    @property
    def silent(self) -> bool:
        return self.silent_until is not None and self.boot < self.silent_until

    def begins(self) -> None:
        self.start, self.step, self.hurried = self.boot, 0, None
        self.delegated = any(one in self.policy.delegate for one in self.steps[0].to)
        self.repeat_at = self._again(self.boot, self.policy.repeat_after)

    def _again(self, due: timedelta, after: timedelta | None) -> timedelta | None:
        if after is None:
            return None
        return due + after if due + after > self.boot else self.boot + after

    def news(self, kind: MessageKind) -> None:
        """It began, or became worse: told, or held back."""
        if self.silent:
            self.held_back = True
            return
        self.expected.append(kind)
        self.held_back = False
        if self.severity is None or list(Severity).index(self.bad) > list(Severity).index(self.severity):
            self.severity = self.bad
            self.begins()

    def takes(self, lasts: timedelta | None) -> None:
        if self.severity is None:
            self.severity = self.bad
            self.begins()
        lasts = lasts or self.policy.acknowledged_for
        self.acked, self.hurried = True, None
        self.until = self.boot + lasts if lasts else None
        self.remind_at = self._again(self.boot, self.policy.remind_after)

    def gives_back(self, *, heard: bool) -> None:
        if not self.acked:
            return
        if heard:
            self.expected.append(UNACKED)
        self.acked = False
        self.begins()
        self.delegated = False  # what was taken there stays taken there

    def dies(self, step: int | None, channel: str) -> None:
        """`step` is that of the lost message, `None` for a repeat."""
        if self.severity is not None and not self.acked:
            at = self.step if step is None else step
            owned = self.delegated and channel not in self.policy.delegate
            if at >= self.step and not owned:
                if self.delegated and self.step + 1 >= len(self.steps):
                    self.repeat_at = self._again(self.boot, self.policy.repeat_after)
                self.delegated = False
                self.hurried = self.boot if self.step + 1 < len(self.steps) else None
                self.due()
        self.expected.append(FAILED)

    def tick(self) -> None:
        if self.silent_until is not None and not self.silent:
            self.silent_until = None
            if self.held_back:
                self.news(OPENED)
        self.due()

    def due(self) -> None:
        if self.severity is None or self.silent:
            return
        if self.acked and self.until is not None and self.until <= self.boot:
            self.gives_back(heard=True)
        elif self.acked and self.remind_at is not None and self.remind_at <= self.boot:
            self.expected.append(REMINDED)
            self.remind_at = self._again(self.remind_at, self.policy.remind_after)
        if self.acked:
            return
        while self.step + 1 < len(self.steps) and not self.delegated:
            at = self.hurried if self.hurried is not None else self.start + self.steps[self.step + 1].after
            if at > self.boot:
                return
            self.step, self.hurried = self.step + 1, None
            self.expected.append(f"{ESCALATED}:{self.step}")
            self.repeat_at = self._again(at, self.policy.repeat_after)
        if self.repeat_at is not None and self.repeat_at <= self.boot:
            self.expected.append(REPEATED)
            self.repeat_at = self._again(self.repeat_at, self.policy.repeat_after)


class Run:
    """One schedule: what happens is done to the watchdog's core and told to the model, which must agree each time."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.policy = _policy(self.rng)
        self.story = Ladders(policy=self.policy)
        self.model = Model(self.policy)
        self.seen = len(self.story.messages)
        self.log: list[str] = []
        self.over = False
        self.told = 0

    def play(self, actions: int) -> None:
        self._open()
        for _ in range(actions):
            self.rng.choice(
                [self._wait] * 6
                + [self._ack, self._unack, self._silence, self._worse, self._dead, self._dead]
                + [self._restart, self._clock, self._reload]
            )()
        self._close()
        for _ in range(3):
            self._wait()

    def _done(self, what: str) -> None:
        self.log.append(f"{self.model.boot} {what}")
        told = [_word(one) for one in self.story.messages[self.seen :] if one.kind in WATCHED]
        self.seen = len(self.story.messages)
        self.told += len(told)
        expected, self.model.expected = [str(one) for one in self.model.expected], []
        assert told == expected, "\n".join([*self.log, f"policy: {self.policy}"])

    def _passes(self, by: timedelta) -> None:
        self.story.now += by
        self.model.boot += by

    def _open(self) -> None:
        if self.rng.random() < 0.2:
            self._silence()
        self.model.news(OPENED)
        self.story.observe(value=WARNING)
        self._done("opened")

    def _wait(self) -> None:
        longest = self.rng.choice((60, 3600, 6 * 3600))
        self._passes(timedelta(seconds=self.rng.randint(1, longest)))
        self.story.tick()
        if not self.over:
            self.model.tick()
        self._done("tick")

    def _ack(self) -> None:
        lasts = self.rng.choice((None, None, timedelta(seconds=self.rng.randint(1, 20000))))
        body: dict[str, Any] = {"for_seconds": lasts.total_seconds()} if lasts else {}
        self._passes(timedelta(seconds=1))
        self.model.takes(lasts)
        self.story.ask(RequestKind.ACKNOWLEDGE, self.story.incident.id, **body)
        self._done(f"ack for {lasts}")

    def _unack(self) -> None:
        self._passes(timedelta(seconds=1))
        before = self.story.incident
        self.model.gives_back(heard=before.told or bool(before.heard_by))
        self.story.ask(RequestKind.UNACKNOWLEDGE, before.id)
        self._done("unack")

    def _silence(self) -> None:
        if self.model.silent_until is not None:
            return
        lasts = self.rng.randint(60, 20000)
        self.model.silent_until = self.model.boot + timedelta(seconds=lasts)
        service = {"service": "trips"}
        self.story.ask(RequestKind.SILENCE, matchers=service, reason="known", for_seconds=lasts)
        self._done(f"silence for {lasts} s")

    def _worse(self) -> None:
        if self.model.bad is Severity.HIGH or self.model.silent_until is not None:
            return
        self._passes(timedelta(seconds=5))
        self.model.bad = Severity.HIGH
        self.model.news(WORSENED)
        self.story.observe(value=CRITICAL)
        self._done("worse")

    def _dead(self) -> None:
        kinds = (OPENED, WORSENED, ESCALATED, REPEATED, UNACKED)
        lost = [one for one in self.story.messages if one.kind in kinds]
        if not lost:
            return
        message, channel = lost[-1], self.rng.choice(("a0", "a1", "b0", "gone"))
        self._passes(timedelta(seconds=1))
        words = _word(message).split(":")
        step = None if message.kind is REPEATED else int(words[1]) if len(words) > 1 else 0
        self.model.dies(step, channel)
        count = len(self.story.messages)
        self.story.may_repeat(f"{FAILED}:{message.key}@{channel}").dies(channel, message)
        assert len(self.story.messages) > count
        self._done(f"{channel} dies for {message.key}")

    def _restart(self) -> None:
        self.story.reborn()
        self._done("restart")

    def _reload(self) -> None:
        """The configuration has another policy from now on; whoever is on a ladder stays there."""
        if self.model.severity is None or Severity.HIGH not in self.policy.ladders:
            return
        known = Route(match={"service": "nobody"}, policy=self.policy)
        other = Policy(name="other", ladders={one: (Step(to=("new",)),) for one in Severity})
        self.story.reloaded(known, Route(policy=other))
        self._done("reload")

    def _clock(self) -> None:
        by = timedelta(seconds=self.rng.choice((-1, 1)) * self.rng.randint(6, 100_000))
        self.story.feed(Ticked(stepped=by))
        self.story.now += by
        self._done(f"clock set by {by}")

    def _close(self) -> None:
        for _ in range(2):
            self._passes(timedelta(seconds=10))
            self.story.observe(value=OK)
        told = self.model.severity is not None and not (self.model.held_back and not self.story_heard())
        self.model.expected = [CLOSED] if told else []
        self.over = True
        self._done("closed")

    def story_heard(self) -> bool:
        """Whether anybody heard of the incident."""
        return any(
            one.kind in (OPENED, WORSENED, UNACKED, FAILED) and one.incident for one in self.story.messages
        )


def _policy(rng: random.Random) -> Policy:
    def ladder(letter: str) -> tuple[Step, ...]:
        afters = sorted(rng.sample(range(60, 20000), rng.randint(0, 3)))
        return (
            Step(to=(f"{letter}0", "shared")),
            *(Step(after=timedelta(seconds=one), to=(f"{letter}{n + 1}",)) for n, one in enumerate(afters)),
        )

    ladders = {Severity.MEDIUM: ladder("a"), Severity.HIGH: ladder("b")}
    if rng.random() < 0.2:
        del ladders[rng.choice((Severity.MEDIUM, Severity.HIGH))]

    def perhaps(low: int, high: int) -> timedelta | None:
        return rng.choice((None, timedelta(seconds=rng.randint(low, high))))

    return Policy(
        name="random",
        ladders=ladders,
        repeat_after=perhaps(60, 20000),
        acknowledged_for=perhaps(60, 30000),
        remind_after=perhaps(60, 10000),
        delegate=("a0",) if rng.random() < 0.2 else (),
    )


def _word(message: Message) -> str:
    if message.kind is not ESCALATED:
        return str(message.kind)
    return f"{message.kind}:{message.key.rpartition(':')[2]}"


def _play(seeds: range, counted: Counted) -> None:
    told = 0
    for seed in seeds:
        run = Run(seed)
        run.play(25)
        told += run.told
    counted(len(seeds), "schedules of incidents on ladders")
    counted(told, "messages that a model of ladders foretold")


@pytest.mark.parametrize("part", range(4))
def test_random_schedules_tell_every_step_once_in_order_and_in_time(part: int, counted: Counted) -> None:
    _play(range(part * 30, part * 30 + 30), counted)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(8))
def test_thousands_of_schedules(part: int, counted: Counted) -> None:
    _play(range(1000 + part * 1000, 2000 + part * 1000), counted)
