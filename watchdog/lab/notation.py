"""Series as people write them in a rule test: `0.01 x5, 0.08 x4, none x2, error x1, 0.01+0.005 x10`.

`xN` is exactly N samples; an item without it is one. `A+B xN` begins at A and adds B with every sample, `A-B xN` takes
it away. `none` is no data, `error` a question that failed, `ok` and `fail` are a probe's answers, and `12/400` is 12
bad events of 400. Numbers carry the rule's unit where they have one. This module must never know a rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from watchdog.core.rule import Unit
from watchdog.core.units import parse_number
from watchdog.settings.registry import nearest

#: So many samples may one test have in all: a month at the interval of half a minute.
MOST_SAMPLES = 100_000
_NOTHING, _ERROR = "none", "error"
_ALIVE = {"ok": 1.0, "fail": 0.0}
_TIMES = re.compile(
    r"(?P<item>.*?)(?:\s*\bx\s*(?P<times>[^\s,]*)|(?<=[\d%])x(?P<close>[^\s,]*))?\s*", re.DOTALL
)
_QUANTITY = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?:%|[A-Za-wyz]{1,2})?"
_NUMBER = re.compile(rf"(?P<first>[+-]?{_QUANTITY})(?:\s*(?P<sign>[+-])\s*(?P<step>{_QUANTITY}))?")
_SHARE = re.compile(r"(?P<bad>\d+(?:\.\d+)?)\s*/\s*(?P<total>\d+(?:\.\d+)?)")


class Drawn(msgspec.Struct, frozen=True):
    """One sample: a value of `events` events (as far as said), no data, or (`failed`) an error."""

    value: float | None = None
    events: float | None = None
    failed: bool = False


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """What can be drawn: numbers in a unit, a ratio's counts too, or a probe's answers."""

    unit: Unit = Unit.NONE
    probe: bool = False
    ratio: bool = False


class NotationError(ValueError):
    """What cannot be read; `offset` is where it begins in the text, from 0."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


def drawn(text: str, form: Form, *, most: int = MOST_SAMPLES) -> tuple[Drawn, ...]:
    """The samples that a text stands for, in order. Raises `NotationError` for the first mistake.

    `most` is how many there may be.
    """
    samples: list[Drawn] = []
    for offset, item in _items(text):
        words, times = _repeated(item, offset)
        if len(samples) + times > most:
            raise NotationError(offset, f"too many samples: a test may have {MOST_SAMPLES} in all its series")
        samples.extend(_samples(words, times, form, offset))
    return tuple(samples)


def _items(text: str) -> Iterator[tuple[int, str]]:
    """What stands between the commas, with where it begins."""
    offset = 0
    for part in text.split(","):
        bare = part.strip()
        begins = offset + len(part) - len(part.lstrip())
        if not bare:
            raise NotationError(min(offset, max(len(text) - 1, 0)), "a sample is missing here")
        yield begins, bare
        offset += len(part) + 1


def _repeated(item: str, offset: int) -> tuple[str, int]:
    """An item without its `xN`, and N."""
    match = _TIMES.fullmatch(item)
    which = "times" if match is not None and match["times"] is not None else "close"
    if match is None or match[which] is None:
        return item, 1
    written = match[which]
    at = offset + match.start(which)
    if not match["item"]:
        raise NotationError(offset, f"a sample is missing before 'x{written}'")
    if not re.fullmatch(r"[0-9]{1,9}", written):
        shown = f"'x{written}'" if written else "'x' with nothing behind it"
        raise NotationError(at - 1, f"{shown} is no count; write for example x5")
    if int(written) < 1:
        raise NotationError(at - 1, f"'x{written}' is no sample at all; leave it out, or write x1 or more")
    return match["item"], int(written)


def _samples(words: str, times: int, form: Form, offset: int) -> Iterator[Drawn]:
    if words in {_NOTHING, _ERROR}:
        return iter([Drawn(failed=words == _ERROR)] * times)
    if words in _ALIVE or form.probe:
        return iter([_answer(words, form, offset)] * times)
    if (share := _SHARE.fullmatch(words)) is not None:
        return iter([_share(share, form, offset)] * times)
    number = _NUMBER.fullmatch(words)
    if number is None:
        raise NotationError(offset, _unreadable(words, form))
    first = _number(number["first"], form, offset)
    if number["step"] is None:
        return iter([Drawn(first)] * times)
    step = _number(number["step"], form, offset + number.start("step"))
    signed = -step if number["sign"] == "-" else step
    # Rounded: ten steps of 0.005 are 0.05, whatever binary fractions say.
    return (Drawn(float(f"{first + nth * signed:.12g}")) for nth in range(times))


def _answer(words: str, form: Form, offset: int) -> Drawn:
    if not form.probe:
        raise NotationError(offset, f"{words!r} is a probe's answer, and this rule is no probe")
    if words not in _ALIVE:
        raise NotationError(offset, _unreadable(words, form))
    return Drawn(_ALIVE[words])


def _share(match: re.Match[str], form: Form, offset: int) -> Drawn:
    if not form.ratio:
        raise NotationError(offset, f"{match[0]!r} are events of a ratio, and this rule is none")
    bad, total = float(match["bad"]), float(match["total"])
    if bad > total:
        raise NotationError(offset, f"{match[0]!r} are more bad events than there are; write BAD/TOTAL")
    return Drawn(bad / total, total) if total else Drawn()


def _number(text: str, form: Form, offset: int) -> float:
    try:
        return parse_number(text, form.unit)
    except ValueError as fault:
        raise NotationError(offset, str(fault)) from None


def _unreadable(words: str, form: Form) -> str:
    if form.probe:
        known, example = (*_ALIVE, _NOTHING, _ERROR), "ok x5, fail x3"
    else:
        known, example = (_NOTHING, _ERROR), "0.01 x5, 0.01+0.005 x10, none x2"
    guess = nearest(words.lower(), known)
    shown = words if len(words) <= 40 else words[:39] + "…"
    hint = f"; did you mean {guess!r}?" if guess else f"; write for example {example}"
    return f"{shown!r} is no sample{hint}"
