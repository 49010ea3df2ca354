"""What is skipped because nothing can change surely changes nothing: random scripts, played with and without it."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.lab.scripts import (
    ALIVE,
    DEPTH,
    ERRORS,
    ONE_LADDER,
    deployed,
    feed,
    planned,
    script,
    service,
    standing,
    wanted,
)
from watchdog.core.mute import MuteWindow
from watchdog.core.request import RequestKind
from watchdog.core.routing import Gather, Route
from watchdog.core.rule import Holds
from watchdog.core.service import Mode
from watchdog.lab.play import Player
from watchdog.lab.script import ClockSet, Down, Patched, Planned, Script

RULES = (replace(ERRORS, hold=Holds()), DEPTH, ALIVE)
WISHES = (
    RequestKind.ACKNOWLEDGE,
    RequestKind.UNACKNOWLEDGE,
    RequestKind.PAUSE,
    RequestKind.RESUME,
    RequestKind.CLOSE,
    RequestKind.APPROVE,
    RequestKind.REJECT,
    RequestKind.ALERT,
)
LUNCH = MuteWindow(name="lunch", zone="UTC", start=10 * 60 + 3, end=10 * 60 + 9)


def values(rng: random.Random, good: float, bad: float) -> list[tuple[float | str | None, int]]:
    choices: tuple[float | str | None, ...] = (good, good, bad, bad, None, "error")
    return [(rng.choice(choices), rng.randint(1, 12)) for _ in range(12)]


def event(rng: random.Random) -> Planned:
    at = f"{rng.randrange(20 * 60)}s"
    match rng.randrange(8):
        case 0 | 1:
            version, variant = rng.choice((("v1", "blue"), ("v2", "green"), ("v3", "green")))
            return deployed(at, version, variant, announced=rng.random() < 0.7)
        case 2:
            live = rng.choice(("blue", "green"))
            variants = standing(live, blue="v1", green="v2")
            return planned(at, Patched(service="trips", variants=variants))
        case 3:
            return planned(at, Down(service="trips", lasts=timedelta(seconds=rng.randint(1, 200))))
        case 4:
            return planned(at, Down(channel="ops", lasts=timedelta(seconds=rng.randint(1, 300))))
        case 5:
            return planned(at, ClockSet(by=timedelta(seconds=rng.choice((-4000, -90, -3, 2, 60, 7000)))))
        case 6:
            return wanted(at, rng.choice((RequestKind.ROLLBACK, RequestKind.SILENCE)), reason="so")
        case _:
            return wanted(at, rng.choice(WISHES))


def anything(seed: int) -> Script:
    rng = random.Random(seed)
    gather = Gather(wait=timedelta(seconds=20), interval=timedelta(minutes=2))
    return script(
        feed(*values(rng, 0.001, 0.3), version="v1"),
        feed(*values(rng, 0.001, 0.3), version="v2"),
        feed(*values(rng, 1.0, 200.0), rule=DEPTH),
        feed(*values(rng, 1.0, 0.0), rule=ALIVE),
        rules=RULES,
        services=(
            service(*RULES, mode=rng.choice((Mode.ENFORCE, Mode.ENFORCE, Mode.APPROVE)), warmup=timedelta()),
        ),
        routes=(
            Route(
                policy=replace(ONE_LADDER, repeat_after=timedelta(minutes=4)),
                gather=rng.choice((None, gather)),
                mutes=rng.choice(((), (), (LUNCH,))),
            ),
        ),
        events=(
            wanted("0s", RequestKind.MARK_GOOD, version="v1", reason="known"),
            *(event(rng) for _ in range(rng.randint(1, 8))),
        ),
        until="22m",
        seed=seed,
    )


@pytest.mark.parametrize("seed", range(6))
def test_skipping_what_changes_nothing_changes_nothing(seed: int) -> None:
    story = anything(seed)

    assert Player(story).play() == Player(story, thorough=True).play()
