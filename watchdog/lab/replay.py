"""Replays a rule over a track: what its check would have said, by the daemon's own `evaluate` on an injected clock.

There is no second implementation: samples that cannot change anything are only skipped, and what they leave behind
in the check's memory is what `evaluate` would have left. This module must never look at a later sample than the one
it judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import msgspec

from watchdog.core.check import CheckState
from watchdog.core.evaluate import Evaluated, evaluate
from watchdog.core.rule import Level, Rule
from watchdog.lab.burns import Burns
from watchdog.lab.replay_poll import Polls
from watchdog.lab.replay_skip import Stretches
from watchdog.lab.replay_tally import Blindness, Episode, Tally
from watchdog.lab.track import Track
from watchdog.lab.usual import References

__all__ = ["Blindness", "Episode", "Replayed", "replay", "verdicts"]


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a check would have said over a track.

    `episodes` by level, oldest first: those of `warning` include what became worse. `known` and `unknown` are numbers
    of samples with and without a verdict; `reasons` how many verdicts had which reason. `missed` are polls at which
    the track has no sample at all (a gap): they are judged as no data, and in no other number. `notes` say in words
    what was judged otherwise than the daemon would; `without_evidence`: every sample that is beyond counts.
    """

    episodes: Mapping[Level, tuple[Episode, ...]]
    blind: tuple[Blindness, ...]
    known: int
    unknown: int
    reasons: Mapping[str, int]
    missed: int = 0
    notes: tuple[str, ...] = ()
    without_evidence: bool = False


def replay(
    rule: Rule,
    track: Track,
    *,
    references: References | None = None,
    burns: Burns | None = None,
    first: int = 0,
) -> Replayed:
    """Every sample of the track, from index `first` on, through `evaluate`, each at its own time as if just polled.

    `references` says for a rule with a baseline what each sample is compared with, `burns` for one with an `slo` what
    was burnt at each; left out, that follows from a track of shares (`watchdog.lab.burns.burns_of`).
    Never raises for what is in a track; raises `ValueError` for a rule that cannot be replayed from one track (a probe,
    another version's values).
    """
    polls = Polls(rule, track, references, burns)
    tally, stretches = Tally(polls), Stretches(polls, first)
    state, index, count = CheckState(), first, len(track)
    while index < count:
        skip = stretches.skip(state, index)
        if skip is not None:
            tally.skipped(skip.known, known=True)
            tally.skipped(skip.unknown, known=False)
            state, index = skip.state, skip.end
        state = _one(polls, tally, state, index, first).state
        index += 1
    return _replayed(polls, tally)


def plain(
    rule: Rule,
    track: Track,
    *,
    references: References | None = None,
    burns: Burns | None = None,
    first: int = 0,
) -> Replayed:
    """The same, sample by sample: what the fast way must agree with, in full."""
    polls = Polls(rule, track, references, burns)
    tally = Tally(polls)
    for _ in _judged(polls, tally, first):
        pass
    return _replayed(polls, tally)


def verdicts(
    rule: Rule,
    track: Track,
    *,
    references: References | None = None,
    burns: Burns | None = None,
) -> list[tuple[datetime, Level]]:
    """The level held at each sample, `unknown` where there is no verdict: the plain way, sample by sample."""
    polls = Polls(rule, track, references, burns)
    return [
        (one.verdict.at, one.state.held if one.counted else Level.UNKNOWN)
        for one in _judged(polls, Tally(polls), 0)
    ]


def _judged(polls: Polls, tally: Tally, first: int) -> Iterator[Evaluated]:
    """Every sample, one after the other."""
    state = CheckState()
    for index in range(first, len(polls.track)):
        evaluated = _one(polls, tally, state, index, first)
        yield evaluated
        state = evaluated.state


def _one(polls: Polls, tally: Tally, state: CheckState, index: int, first: int) -> Evaluated:
    """One sample, after the polls before it that were missed."""
    count, moments = polls.missed(index) if index > first else (0, ())
    for moment in moments:
        missed = evaluate(polls.rule, state, polls.nothing(), now=moment, interval=polls.interval)
        tally.missing(count, missed)
        state, count = missed.state, 0
    now = polls.at(index)
    evaluated = evaluate(polls.rule, state, polls.observation(index), now=now, interval=polls.interval)
    tally.seen(index, evaluated)
    return evaluated


def _replayed(polls: Polls, tally: Tally) -> Replayed:
    tally.finish()
    return Replayed(
        episodes={level: tuple(found) for level, found in tally.episodes.items()},
        blind=tuple(tally.blind),
        known=tally.known,
        unknown=tally.unknown,
        reasons=dict(tally.reasons),
        missed=tally.missed,
        notes=polls.notes,
        without_evidence=bool(polls.notes),
    )
