"""A rollback that is carried out while others act: a story with an executor and a switch of its own.

v1 on blue is known good, v2 on green is bad, red stands by. What the switch shows is the truth; `writes` is what the
watchdog wrote into it. The executor's judgement is the real one; only its calls are played here, one moment at a time.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Self

from tests.core.scenario import OK, ROLLBACK, Scenario
from watchdog.core.checks import checks_of
from watchdog.core.events import OutcomeKind
from watchdog.core.facts import facts_before_write
from watchdog.core.guards import BEFORE_WRITE, ask
from watchdog.core.observation import Value
from watchdog.core.recovery import Next, next_move
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.service import Mode
from watchdog.core.traffic import TrafficState


class Interrupted(Scenario):
    """`telling`: whether the switch says which version a variant carries. `carries` is what is really there."""

    def __init__(self, *, telling: bool, mode: Mode = Mode.ENFORCE) -> None:
        super().__init__(mode=mode)
        self.telling = telling
        self.carries = {"blue": "v1", "green": "v2", "red": "v0"}
        self.live: dict[str, int] = {"blue": 1, "green": 0, "red": 0}
        self.writes: list[tuple[str, str]] = []
        self.pause_file = ""
        self.looks_every = 200
        self._seen: TrafficState | None = None

    def again(self) -> Self:
        """The same story once more, to go on with in another way. Values in it are never changed."""
        other = copy.copy(self)
        for name, held in vars(self).items():
            if isinstance(held, list | dict | set):
                setattr(other, name, copy.copy(held))
        return other

    def after(self, text: str) -> Self:
        super().after(text)
        return self

    # What is really there

    def look(self) -> Self:
        """The switch is read, unless the executor has the word."""
        self.traffic(**self._shown())
        return self

    def _shown(self) -> dict[str, int]:
        if self.telling:
            for variant, version in self.carries.items():
                self.shows(variant, version=version)
        return self.live

    def move(self, **weights: int) -> Self:
        """Somebody sets these weights, and the rest to 0."""
        self.live = {name: weights.get(name, 0) for name in self.live}
        return self

    def poll(self) -> Self:
        """Every check is polled: v2 is bad, everything else is well."""
        for check in checks_of(self.service):
            bad = self.carries[check.variant] == "v2" if check.variant else False
            self.sees(check, Value(value=ROLLBACK if bad else OK, at=self.now))
        return self

    def live_for(self, text: str, *, every: str = "10s") -> Self:
        """Time passes: the switch is read, rules are polled, intents are carried out."""
        end = self.now + timedelta(minutes=float(text.removesuffix("m")))
        while self.now < end:
            self.after(every)
            self.look().poll().tick(paused=self.pause_file)
            self.execute()
        return self

    # The executor, in its three moments

    @property
    def intent(self) -> Rollback | None:
        found = [one for one in self.service.rollbacks.values() if one.state is RollbackState.INTENDED]
        return found[0] if found else None

    def read(self) -> Self:
        """It reads the switch."""
        self._seen = self.state(**self._shown())
        return self

    def write(self, *, ours: bool = False) -> bool:
        """It asks what to do about what it read, and writes when it may and nobody wrote since."""
        intent, seen = self.intent, self._seen
        assert intent is not None
        assert seen is not None
        assert intent.change is not None
        move = next_move(intent, seen, expired=False, ours=ours)
        if move is Next.DONE:
            self.outcome(OutcomeKind.FOUND_DONE, state=seen)
        elif move in (Next.FOREIGN, Next.HALF, Next.LAPSED):
            self.outcome(OutcomeKind.OVERTAKEN, state=seen, detail="traffic was moved first")
        elif move in (Next.WRITE, Next.FINISH):
            facts = facts_before_write(self.world, intent, seen, now=self.now, paused_by_file=self.pause_file)
            vetoes = ask(facts, BEFORE_WRITE)
            if vetoes:
                self.outcome(OutcomeKind.VETOED, state=seen, vetoes=vetoes, facts=facts)
            elif self.state(**self._shown()).revision == seen.revision:
                self.live |= {intent.change.target: 1} | dict.fromkeys(intent.change.away, 0)
                away = ", ".join(f"{name} {self.carries[name]}" for name in intent.change.away)
                target = intent.change.target
                self.writes.append((away, f"{target} {self.carries[target]}"))
                self._seen = self.state(**self._shown())
                return True
        return False  # a conflict: it reads again

    def record(self) -> Self:
        """What it read back right after it wrote becomes known."""
        if self.intent is not None:
            self.outcome(OutcomeKind.APPLIED, state=self._seen)
        return self

    def execute(self) -> Self:
        """All of it at once, for whatever is intended."""
        for _ in range(3):
            if self.intent is not None and self.read().write():
                self.record()
        return self


def begun(*, telling: bool, mode: Mode = Mode.ENFORCE) -> Interrupted:
    """After v0, v1 proved itself; v2 took its place, and its warm-up is over. v1 could carry the traffic of two."""
    story = Interrupted(telling=telling, mode=mode)
    story.shows("blue", ready=20, total=20)
    for version, variant, text in (("v0", "red", "1m"), ("v1", "blue", "12m"), ("v2", "green", "0m")):
        story.post(version, variant)
        story.move(**{variant: 1})
        story.look().live_for(text, every="30s")
        story.after("5s")
    story.after("35s").look()
    return story


def bad(story: Interrupted) -> Interrupted:
    for _ in range(2):
        story.after("10s").look().poll()
    return story


def blocked(*, telling: bool) -> Interrupted:
    """Blue is not ready; it is, as soon as anything else happens."""
    story = begun(telling=telling)
    story.shows("blue", ready=0)
    story.look()
    bad(story).rollback_is(RollbackState.BLOCKED)
    story.shows("blue", ready=20)
    return story


def asked(*, telling: bool) -> Interrupted:
    return bad(begun(telling=telling, mode=Mode.APPROVE))


def intended(*, telling: bool) -> Interrupted:
    return bad(begun(telling=telling)).after("1s")


def read(*, telling: bool) -> Interrupted:
    return intended(telling=telling).read()


def written(*, telling: bool) -> Interrupted:
    story = read(telling=telling)
    assert story.write()
    return story


def applied(*, telling: bool) -> Interrupted:
    return written(telling=telling).record()


def verified(*, telling: bool) -> Interrupted:
    return applied(telling=telling).after("2s").look()


def proved(*, telling: bool) -> Interrupted:
    """Traffic was seen to move: the switch counts requests."""
    story = intended(telling=telling)
    for variant in ("blue", "green"):
        story.shows(variant, requests=100)
    story.execute().after("2s").look()
    story.shows("blue", requests=200)
    story.after("8s").look()
    return story


def recovering(*, telling: bool) -> Interrupted:
    """The rules are ok again, the contest window is still open."""
    story = verified(telling=telling)
    for _ in range(3):
        story.after("5s").look().poll()
    return story


def uncontested(*, telling: bool) -> Interrupted:
    """Nobody undid it, and the rules could not be asked."""
    story = proved(telling=telling)
    return story.after("70s").look()


#: Every step of a rollback, with the state it has there.
STEPS: dict[str, tuple[Callable[..., Interrupted], RollbackState]] = {
    "blocked": (blocked, RollbackState.BLOCKED),
    "awaiting approval": (asked, RollbackState.AWAITING_APPROVAL),
    "intended, before the read": (intended, RollbackState.INTENDED),
    "between read and write": (read, RollbackState.INTENDED),
    "between write and record": (written, RollbackState.INTENDED),
    "applied": (applied, RollbackState.APPLIED),
    "verified_object": (verified, RollbackState.VERIFIED_OBJECT),
    "verified_traffic": (proved, RollbackState.VERIFIED_TRAFFIC),
    "recovered": (recovering, RollbackState.VERIFIED_OBJECT),
    "uncontested": (uncontested, RollbackState.UNCONTESTED),
}


@functools.cache
def _at(step: str, telling: bool) -> Interrupted:
    make, state = STEPS[step]
    story = make(telling=telling)
    assert story.rollback.state is state, f"{step}: {story.rollback.state}"
    return story


def at(step: str, *, telling: bool) -> Interrupted:
    """A rollback that has come to this step, and a second later."""
    story = _at(step, telling).again()
    story.after("1s")
    return story


def go_on(story: Interrupted, step: str) -> None:
    """The executor goes on where it was, then everything else for four minutes."""
    story.after("1s")
    if step == "between read and write" and story.intent is not None:
        if story.write():
            story.record()
    elif step == "between write and record":
        story.record()
    story.execute()
    story.live_for("4m")
