"""What was last known about a rule on a service: runs of equal verdicts, for the guard `not_already_bad`.

Silence leaves no trace here. This module must never hold more than a bounded number of runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from watchdog.core.check import KnownLog, KnownRun, Verdict
from watchdog.core.rule import Level, Rule, rank

#: How far back the guard looks (design §7).
LOOK_BACK = timedelta(hours=24)
#: Runs that ended longer ago than this are of no use to anybody: the look-back and an hour to be sure.
KEPT_FOR = timedelta(hours=25)
#: The most runs of one rule on one service; a flapping rule loses its oldest ones first.
KEPT_RUNS = 200


def known_of(logs: Mapping[str, KnownLog], rule: Rule) -> KnownLog:
    """What is known of a rule: nothing, where the rule of that name asked something else then."""
    log = logs.get(rule.name, KnownLog())
    if log.question not in ("", rule.question):
        return KnownLog(question=rule.question)
    return log if log.question else msgspec.structs.replace(log, question=rule.question)


def remember(log: KnownLog, verdict: Verdict, version: str) -> KnownLog:
    """The log with one more verdict on `version`. Unknown verdicts and repeated samples change nothing.

    The version's newest run is extended when the level is the same, whatever other versions were judged in
    between; else a run begins.
    """
    if verdict.level is Level.UNKNOWN or not verdict.fresh:
        return log
    runs = [run for run in log.runs if verdict.at - run.last_at <= KEPT_FOR]
    for index in reversed(range(len(runs))):
        run = runs[index]
        if run.version != version:
            continue
        if run.level is verdict.level:
            runs[index] = msgspec.structs.replace(run, last_at=max(run.last_at, verdict.at))
            return msgspec.structs.replace(log, runs=tuple(runs))
        break
    runs.append(KnownRun(level=verdict.level, version=version, first_at=verdict.at, last_at=verdict.at))
    return msgspec.structs.replace(log, runs=tuple(runs[-KEPT_RUNS:]))


def newest_before(
    log: KnownLog, at: datetime, *, within: timedelta = LOOK_BACK
) -> tuple[Level, datetime] | None:
    """The newest level known at or before `at`, and when; `None` when that is longer than `within` earlier.

    Of several versions known at the same moment the worst one answers.
    """
    found: tuple[datetime, int, Level] | None = None
    for run in log.runs:
        if run.first_at > at:
            continue
        candidate = (min(at, run.last_at), rank(run.level), run.level)
        if found is None or candidate[:2] > found[:2]:
            found = candidate
    if found is None or at - found[0] > within:
        return None
    return found[2], found[0]
