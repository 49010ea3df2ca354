"""The simulator: how often a healthy service would be rolled back, and how soon a fault is believed.

Simulated requests go through the daemon's own `evaluate`, with its holds and rechecks. Guards are left out, so an
episode is what a rollback would have been, were a deployment armed all the time. Polls of a service at which nothing
could be beyond a threshold are skipped; what they leave behind is made by those before the next one that could.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

import msgspec
import numpy as np

from watchdog.core.check import CheckState
from watchdog.core.errors import ConfigError
from watchdog.core.evaluate import evaluate, wants_recheck
from watchdog.core.evidence import EXCESS_WINDOWS, deviations
from watchdog.core.rule import Direction, Evidence, Holds, Level, Ratio, Rule, Samples, Thresholds, Unit
from watchdog.lab.noise import SLOT, WEEK, Counts, Fault, Noise, counts, moment

#: Episodes that are closer together are one.
APART = 600 // SLOT
#: A fault that is not believed within so long is left to people; before it there is health for so long.
_PATIENCE, _BEFORE = 1800 // SLOT, 1200 // SLOT
#: What the bound of a share may lose by another order of adding.
_ROUNDING = 1e-9


class Judge(msgspec.Struct, frozen=True, kw_only=True):
    """A way to judge: the rule, and whether (and how often, in slots) it is polled while a breach is pending."""

    name: str
    rule: Rule
    recheck: bool = True
    recheck_slots: int = 1

    @property
    def poll(self) -> int:
        """Slots between two polls."""
        return max(1, round(self.rule.interval.total_seconds() / SLOT))

    @property
    def window(self) -> int:
        """Slots that one poll looks at."""
        return max(1, round(self.rule.window.total_seconds() / SLOT))


def judge_of(rule: Rule, *, recheck: bool = True, recheck_slots: int = 1) -> Judge:
    """A judge by a rule of a file. Raises `ConfigError` for a rule that counts no requests, or never rolls back."""
    if not isinstance(rule.form, Ratio) or rule.baseline is not None or rule.slo is not None:
        raise ConfigError(
            f"rule {rule.name!r} is no `ratio` with thresholds of its own; the simulator knows requests that fail, "
            "and nothing else"
        )
    if rule.thresholds.rollback is None:
        raise ConfigError(f"rule {rule.name!r} never rolls back; there is nothing to simulate")
    return Judge(name=rule.name, rule=rule, recheck=recheck, recheck_slots=recheck_slots)


def error_rate(evidence: Evidence | None, samples: int = 2) -> Rule:
    """The rule of the design's example: critical beyond 1 % of errors, rollback beyond 1.5 %, polled every 30 s."""
    return Rule(
        name="error-rate",
        form=Ratio(bad="bad", total="total"),
        unit=Unit.RATIO,
        thresholds=Thresholds(critical=0.01, rollback=0.015),
        evidence=evidence,
        hold=Holds(rollback=Samples(samples)),
        window=timedelta(minutes=1),
        interval=timedelta(seconds=30),
    )


DEFAULT = Judge(name="the default evidence", rule=error_rate(Evidence()))
BARE = Judge(name="one sample above 150 %", rule=error_rate(None, 1))
NO_EVIDENCE = Judge(name="evidence: none", rule=error_rate(None))
FOR_3 = Judge(name="for: 3", rule=error_rate(None, 3), recheck=False)
JUDGES = (DEFAULT, BARE, NO_EVIDENCE, FOR_3)


def held(judge: Judge, seen: Counts, slots: int, *, skip: bool = True) -> Iterator[int]:
    """The slots in which a rollback would be decided. Without `skip` every poll is judged: the answer is the same."""
    rule, poll, window = judge.rule, judge.poll, judge.window
    good = rule.direction is Direction.BELOW
    following = _next_beyond(judge, seen) if skip else None
    warm = EXCESS_WINDOWS * window + (rule.clear + 2) * poll
    state, slot = CheckState(), window
    while slot <= slots:
        if following is not None and not state.streaks and state.latched is Level.OK:
            idle = (int(following[slot]) - slot - warm) // poll
            if idle > 0:
                state, slot = CheckState(), slot + idle * poll
                continue
        now = moment(slot)
        result = evaluate(rule, state, seen.seen(slot, window, good=good), now=now)
        state = result.state
        if state.held is Level.ROLLBACK and result.counted:
            yield slot
        slot += judge.recheck_slots if judge.recheck and wants_recheck(state, now) else poll


def _next_beyond(judge: Judge, seen: Counts) -> np.ndarray:
    """For each slot the next one at which a poll could be beyond the mildest threshold; beyond the end for none."""
    rule = judge.rule
    bad, total = seen.windows(judge.window)
    limit = rule.thresholds.mildest
    least = limit if rule.direction is Direction.ABOVE else 1 - limit
    evidence = rule.evidence
    if evidence is None or not evidence.bound:
        beyond = bad > (least - _ROUNDING) * total
    else:
        z = deviations(evidence.confidence)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = z * np.sqrt(bad * ((total - bad) / total) + z * z / 4)
            bound = (bad + z * z / 2 - spread) / (total + z * z)
        beyond = bound > least - _ROUNDING
    if evidence is not None:
        beyond &= total >= evidence.min_events
    beyond &= total > 0
    places = np.where(beyond, np.arange(len(beyond)), len(beyond) + WEEK)
    following: np.ndarray = np.minimum.accumulate(places[::-1])[::-1]
    return following


def episodes(judge: Judge, noise: Noise, rate: float, *, slots: int = WEEK, seed: str) -> int:
    """How often a healthy service would be rolled back, counting what is less than ten minutes apart once."""
    count, last = 0, None
    for slot in held(judge, counts(noise, rate, slots, seed=seed), slots):
        count += last is None or slot - last > APART
        last = slot
    return count


def delay(judge: Judge, share: float, rate: float, *, noise: Noise | None = None, seed: str) -> float | None:
    """Seconds from the beginning of a fault until the rollback is decided; `None` when it is not within half an hour.

    Health for twenty minutes; the fault begins at any moment between two polls.
    """
    before = max(_BEFORE, (EXCESS_WINDOWS + 5) * judge.window)
    before += random.Random(f"begins/{seed}").randrange(judge.poll)
    slots = before + _PATIENCE
    fault = Fault(share=share, begins=before)
    seen = counts(noise or Noise(), rate, slots, seed=seed, fault=fault)
    first = next((slot for slot in held(judge, seen, slots) if slot > before), None)
    return None if first is None else float(SLOT * (first - before))
