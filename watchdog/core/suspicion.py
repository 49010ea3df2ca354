"""What people are told of a check without usable data: since when, when it last had some, what probably happened.

A check cannot know why there is silence; what it remembers and what was answered leave few explanations, and each has
another remedy. This module must never guess where nothing points one way, and never call silence good or bad.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from watchdog.core.check import CheckId, CheckState, Reason
from watchdog.core.observe import NO_EVENTS

_RENAMED = "a metric was renamed, a label changed, or what exposed it is gone"
_NEVER = "its name or a label is misspelt, or nothing exposes the metric"
_QUIET = "there is no traffic: the metric is there and does not rise"
_DOCTOR = "Nothing is rolled back while this lasts. See what is missing: watchdog doctor -c FILE"
_WHY = {
    Reason.NOT_A_NUMBER: "the query divides by nothing: there is no traffic, or a part of it has no series",
    Reason.SEVERAL_SERIES: "a new label or a second exporter split the series: the rule must say how to join them",
    Reason.BEYOND_BUCKETS: "values are larger than the histogram's buckets can show",
    Reason.FUTURE: "the clocks of the source and of the watchdog differ",
    Reason.PARTIAL: "a part of the source does not answer, so its answers are not whole",
    Reason.QUERY_ERROR: "the source cannot work with the rule's query",
    Reason.OUT_OF_RANGE: "the rule's selectors count different things: no share lies outside 0% to 100%",
    Reason.MALFORMED: "something else answers in the source's place",
    Reason.UNABLE: "the watchdog could not even ask: its own machine, network or name service",
}


def quiet(state: CheckState) -> bool:
    """Whether there is a metric and nothing that it counts: no traffic, as far as anybody can tell."""
    verdict = state.verdict
    return verdict is not None and verdict.reason is Reason.EMPTY and NO_EVENTS in verdict.explanation


def last_data_at(state: CheckState) -> datetime | None:
    """When a check last had usable data; `None` when it never had any that it remembers."""
    return state.sampled_at or (state.known.at if state.known is not None else None)


def probably(state: CheckState) -> str:
    """What probably happened, in words; empty where nothing points one way."""
    if state.verdict is None:
        return ""
    if quiet(state):
        return _QUIET
    if state.verdict.reason in (Reason.EMPTY, Reason.STALE):
        return _NEVER if last_data_at(state) is None and state.verdict.reason is Reason.EMPTY else _RENAMED
    return _WHY.get(state.verdict.reason, "")


def facts(checks: Iterable[tuple[CheckId, CheckState]]) -> tuple[tuple[str, str], ...]:
    """One line for each check: since when, the last data, what was answered, and what that probably means."""
    return tuple((_name(check), _line(state)) for check, state in checks)


def next_step(checks: Iterable[tuple[CheckId, CheckState]]) -> str:
    """The one thing to do: where only traffic is missing, the doctor will find nothing else."""
    states = [state for _, state in checks]
    if states and all(quiet(state) for state in states):
        return (
            "Nothing can be judged without traffic. See whether there should be some; if such a silence is usual, "
            "a longer blind_after tells of it later."
        )
    return _DOCTOR


def _name(check: CheckId) -> str:
    return f"{check.rule}@{check.version}" if check.version else check.rule


def _line(state: CheckState) -> str:
    since = (
        f"no usable data since {_clock(state.blind_since)}" if state.blind_since is not None else "no data"
    )
    last = last_data_at(state)
    had = f"last data {_clock(last)}" if last is not None else "never any so far"
    said = f": {state.verdict.explanation}" if state.verdict is not None and state.verdict.explanation else ""
    guess = probably(state)
    return f"{since} ({had}){said}" + (f"; probably {guess}" if guess else "")


def _clock(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")
