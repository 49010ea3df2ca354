"""The margins of a baseline, from what people write: shares of the reference, or deviations from what is usual.

Computed in decimal, as thresholds are. This module must never look at anything but the numbers and their direction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import pairwise

from watchdog.config.problems import quote
from watchdog.config.thresholds import Mistake
from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Direction, Thresholds, Unit
from watchdog.core.units import is_percentage, parse_number, parse_percentage

_LEVELS = ("warning", "critical", "rollback")
#: A margin beyond, written without `%`, is a slip of the hand.
_MOST_BARE = 10
_DEVIATIONS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s+deviations?")
#: Nothing that happens lies so many deviations off; whoever writes more means something else.
_MOST_DEVIATIONS = 1000


def usual_margins(written: Mapping[str, str], *, most: float | None) -> tuple[Thresholds, list[Mistake]]:
    """The margins of `usual`, in deviations; `written` by level, mildest first.

    A percentage at `rollback` is one of critical's deviations. From `most` deviations on a limit cannot be reached.
    """
    margins: dict[str, Decimal] = {}
    mistakes: list[Mistake] = []
    for level, text in written.items():
        try:
            if level == "rollback" and is_percentage(text):
                if (margin := _of_critical(text, margins.get("critical"), written, "6 deviations")) is None:
                    continue
                what = f"{quote(text)} of critical is {_counted(margin)}, which"
            else:
                margin, what = _deviations(text), quote(text)
            _must_be_in_reach(margin, what, most)
            margins[level] = margin
        except ValueError as fault:
            mistakes.append(Mistake(level=level, message=str(fault)))
    return _ordered(margins, mistakes, _counted, lambda worse, _: _more_than_all(worse, written[worse]))


def _deviations(text: str) -> Decimal:
    found = _DEVIATIONS.fullmatch(text.strip())
    if found is None:
        words = "is not a number of deviations, in which `usual` counts; write for example 4 deviations"
        raise ValueError(f"{quote(text)} {words}")
    if not (count := Decimal(found.group(1))):
        raise ValueError(f"{quote(text)}: a margin must be more than 0 deviations")
    return count


def _must_be_in_reach(margin: Decimal, what: str, most: float | None) -> None:
    if most is not None and margin >= most:
        words = (
            f"with `direction: below` a deviation is at least {format_quantity(1 / most, Unit.RATIO)} of what"
        )
        raise ValueError(f"{what} can never be reached: {words} is usual; write fewer than {most:.2g}")
    if margin > _MOST_DEVIATIONS:
        raise ValueError(f"{what} is too many: at most {_MOST_DEVIATIONS} deviations")


def _counted(margin: Decimal) -> str:
    return f"{margin.normalize():f} deviation{'' if margin == 1 else 's'}"


def margins_of(written: Mapping[str, str], *, direction: Direction) -> tuple[Thresholds, list[Mistake]]:
    """The margins, as shares of the reference; `written` by level, mildest first.

    A percentage at `rollback` is a share of critical's margin, as it is with thresholds (design §5).
    """
    margins: dict[str, Decimal] = {}
    mistakes: list[Mistake] = []
    for level, text in written.items():
        try:
            if level == "rollback" and is_percentage(text):
                if (margin := _share(text, margins.get("critical"), written, direction)) is not None:
                    margins[level] = margin
            else:
                margins[level] = _margin(text, direction)
        except ValueError as fault:
            mistakes.append(Mistake(level=level, message=str(fault)))
    return _ordered(
        margins,
        mistakes,
        _shown,
        lambda worse, milder: _hint(worse, written[worse], margins[milder], direction),
    )


def _ordered(
    margins: Mapping[str, Decimal],
    mistakes: list[Mistake],
    shown: Callable[[Decimal], str],
    hint: Callable[[str, str], str],
) -> tuple[Thresholds, list[Mistake]]:
    """The margins, and one more mistake for each that is not worse than the milder one before it."""
    for milder, worse in pairwise(level for level in _LEVELS if level in margins):
        if margins[worse] <= margins[milder]:
            words = f"{worse} ({shown(margins[worse])}) must be above {milder} ({shown(margins[milder])})"
            mistakes.append(Mistake(level=worse, message=words + hint(worse, milder)))
    return Thresholds(**{level: float(margin) for level, margin in margins.items()}), mistakes


def _more_than_all(level: str, text: str) -> str:
    if level != "rollback" or not is_percentage(text):
        return ""
    return f"; a percentage here is a share of critical, so more than 100% is needed, not {text}"


def _margin(text: str, direction: Direction) -> Decimal:
    try:
        margin = Decimal(str(parse_number(text, Unit.RATIO)))
    except ValueError:
        usual = "; deviations are those from what is `usual`" if _DEVIATIONS.fullmatch(text.strip()) else ""
        raise ValueError(f"{quote(text)} is not a margin; write for example 30% or 0.3{usual}") from None
    hint = "" if is_percentage(text) else f"; did you mean {margin.normalize():f}%?"
    if margin <= 0:
        raise ValueError(f"{quote(text)}: a margin must be above 0%")
    _must_be_reachable(margin, quote(text), direction, hint if margin >= 1 else "")
    if hint and margin > _MOST_BARE:
        raise ValueError(f"{quote(text)} is {_shown(margin)} of the reference{hint}")
    return margin


def _share(
    text: str, critical: Decimal | None, written: Mapping[str, str], direction: Direction
) -> Decimal | None:
    """`text` as a percentage of critical's margin; `None` when critical has a mistake of its own."""
    margin = _of_critical(text, critical, written, "0.75")
    if margin is None:
        return None
    _must_be_reachable(margin, f"{quote(text)} of critical is {_shown(margin)}, which", direction, "")
    return margin


def _of_critical(
    text: str, critical: Decimal | None, written: Mapping[str, str], example: str
) -> Decimal | None:
    share = Decimal(str(parse_percentage(text)))
    if critical is not None:
        return share * critical
    if "critical" in written:
        return None
    words = "is a percentage of critical, and there is no critical; write for example"
    raise ValueError(f"{quote(text)} {words} {example}")


def _must_be_reachable(margin: Decimal, what: str, direction: Direction, hint: str) -> None:
    if direction is Direction.BELOW and margin >= 1:
        words = (
            f"{what} can never be reached: with `direction: below` nothing is that much below the reference"
        )
        raise ValueError(words + hint)
    if margin > 1_000_000:
        raise ValueError(f"{what} is too large")


def _hint(level: str, text: str, milder: Decimal, direction: Direction) -> str:
    if level != "rollback" or not is_percentage(text):
        return ""
    share = Decimal(str(parse_percentage(text)))
    words = "; a percentage here is a share of critical"
    if milder < share and (share < 1 or direction is Direction.ABOVE):
        return f"{words}; write {share.normalize():f} for a margin of its own"
    return f"{words}, so more than 100% is needed, not {text}" if share <= 1 else ""


def _shown(margin: Decimal) -> str:
    return format_quantity(float(margin), Unit.RATIO)
