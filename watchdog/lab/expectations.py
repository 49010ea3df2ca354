"""Expectations: what a rule test says must happen, or must not, and whether a recording did it.

Pure. A failed expectation says what was expected, what came nearest, and when. This module must never know a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import msgspec

from watchdog.core.units import format_duration
from watchdog.lab.recording import FIELDS, Happening, Recording, What

Fact = str | float | bool

#: What somebody would notice. In a strict test, one of these that nothing expects is a failure.
ACTIONS = (What.INCIDENT, What.ROLLBACK, What.SWITCH, What.NOTIFICATION, What.ESCALATION)
#: Numbers are equal when they differ by less than this share.
_CLOSE = 1e-9
#: So many happenings are listed where an expectation came too often.
_LISTED = 5
#: Longest text of a fact in a failure.
_LONGEST = 100
_NO_TIME = timedelta()


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """One expectation. `facts` are the fields that must be equal to one of the values; the others do not matter.

    Only what happens from `after` to `by` counts, both included. It must happen exactly `times`, where that is said;
    else at least once. 0 is never. `place` is where it was written.
    """

    what: What
    facts: Mapping[str, tuple[Fact, ...]] = {}
    after: timedelta | None = None
    by: timedelta | None = None
    times: int | None = None
    place: str = ""

    def __str__(self) -> str:
        return " ".join([self.what, *(f"{name}={_either(values)}" for name, values in self.facts.items())])


class Failed(msgspec.Struct, frozen=True, kw_only=True):
    """An expectation that was not met, or an action that none was about: `expected`, and what was there instead."""

    place: str
    expected: str
    instead: str


def judge(
    expectations: Sequence[Expectation], recording: Recording, *, strict: bool = False
) -> tuple[Failed, ...]:
    """Every failure, those of expectations in their order first; none where all is as expected."""
    failed = [found for one in expectations if (found := _missed(one, recording)) is not None]
    if strict:
        failed += _unexpected(expectations, recording)
    return tuple(failed)


def fits(expectation: Expectation, happening: Happening) -> bool:
    """Whether this is what is expected, at a time at which it is."""
    return (
        happening.what is expectation.what
        and _in_time(expectation, happening.at)
        and not _differing(expectation, happening)
    )


def shown(happening: Happening) -> str:
    """A happening in one line, without its time: its kind, and its facts in their order."""
    facts = (
        (name, happening.facts[name])
        for name in FIELDS[happening.what]
        if name in happening.facts and happening.facts[name] != ""
    )
    return " ".join([happening.what, *(f"{name}={_word(value)}" for name, value in facts)])


def _missed(one: Expectation, recording: Recording) -> Failed | None:
    found = [happening for happening in recording.of(one.what) if fits(one, happening)]
    if one.times is None and found:
        return None
    if one.times is not None and len(found) == one.times:
        return None
    expected = f"{one}, {_when(one)}"
    if len(found) > (one.times or 0):
        return Failed(
            place=one.place, expected=expected, instead=f"came {_count(len(found))}: {_list(found)}"
        )
    nearest = _nearest(one, [it for it in recording.of(one.what) if not fits(one, it)])
    if found:
        nearest = f"came {_count(len(found))}: {_list(found)}; {nearest}"
    return Failed(place=one.place, expected=expected, instead=nearest)


def _unexpected(expectations: Sequence[Expectation], recording: Recording) -> list[Failed]:
    wanted = [one for one in expectations if one.times != 0]
    return [
        Failed(
            place="",
            expected="nothing else (strict)",
            instead=f"{shown(happening)}, at {format_duration(happening.at)}",
        )
        for happening in recording.happenings
        if happening.what in ACTIONS and not any(fits(one, happening) for one in wanted)
    ]


def _nearest(one: Expectation, others: Iterable[Happening]) -> str:
    """The happening of that kind that differs least: in the fewest facts, then least in time."""
    ordered = sorted(others, key=lambda it: (len(_differing(one, it)), _off(one, it.at), it.at))
    if not ordered:
        return f"there was no {one.what} at all"
    best = ordered[0]
    differing = _differing(one, best)
    line = f"nearest, at {format_duration(best.at)}: {shown(best)}"
    if not differing:
        return f"{line}; {_too(one, best.at)}"
    words = [
        f"{name} is {_word(best.facts.get(name, ''))}, not {_either(one.facts[name])}" for name in differing
    ]
    if not _in_time(one, best.at):
        words.append(_too(one, best.at))
    return f"{line}; {', '.join(words)}"


def _differing(one: Expectation, happening: Happening) -> list[str]:
    return [
        name
        for name, wanted in one.facts.items()
        if name not in happening.facts or not any(_equal(happening.facts[name], value) for value in wanted)
    ]


def _equal(fact: Fact, wanted: Fact) -> bool:
    if isinstance(fact, bool) or isinstance(wanted, bool):
        return fact is wanted
    if isinstance(fact, int | float) and isinstance(wanted, int | float):
        return abs(fact - wanted) <= _CLOSE * max(abs(fact), abs(wanted))
    return fact == wanted


def _in_time(one: Expectation, at: timedelta) -> bool:
    return (one.after is None or at >= one.after) and (one.by is None or at <= one.by)


def _off(one: Expectation, at: timedelta) -> timedelta:
    """How far a moment lies from when it was expected."""
    early = one.after - at if one.after is not None else _NO_TIME
    late = at - one.by if one.by is not None else _NO_TIME
    return max(early, late, _NO_TIME)


def _too(one: Expectation, at: timedelta) -> str:
    late = one.by is not None and at > one.by
    return f"{format_duration(_off(one, at))} too {'late' if late else 'early'}"


def _when(one: Expectation) -> str:
    """`at 5m`, `within 5m to 6m`, `by 6m, exactly 2 times`, `never` and so on."""
    span = ""
    if one.after is not None and one.after == one.by:
        span = f"at {format_duration(one.after)}"
    elif one.after is not None and one.by is not None:
        span = f"within {format_duration(one.after)} to {format_duration(one.by)}"
    elif one.by is not None:
        span = f"by {format_duration(one.by)}"
    elif one.after is not None:
        span = f"from {format_duration(one.after)} on"
    match one.times:
        case None:
            return span or "at any time"
        case 0:
            return f"never {span}".rstrip()
        case times:
            return f"{span}, exactly {_count(times)}".removeprefix(", ")


def _count(times: int) -> str:
    return "once" if times == 1 else "twice" if times == 2 else f"{times} times"


def _list(found: Sequence[Happening]) -> str:
    listed = "; ".join(f"at {format_duration(it.at)} {shown(it)}" for it in found[:_LISTED])
    more = len(found) - _LISTED
    return f"{listed}; and {more} more" if more > 0 else listed


def _either(values: tuple[Fact, ...]) -> str:
    return " or ".join(_word(value) for value in values)


def _word(value: Fact) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.6g}"
    text = value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
    return text if text and " " not in text else repr(text)
