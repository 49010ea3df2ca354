"""`baseline` of a rule: what a value is compared with, and how much worse it may be.

Margins are computed in decimal, as thresholds are. This module must never look at anything but the rule itself; what
a source can remember is asked of its kind elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote, unknown
from watchdog.config.schema import BaselineShape, WorseByShape
from watchdog.config.shape import shape
from watchdog.config.thresholds import Mistake
from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Against, Baseline, Direction, Form, Gauge, ProbeForm, Query, Thresholds, Unit
from watchdog.core.units import format_duration, is_percentage, parse_duration, parse_number, parse_percentage
from watchdog.core.variables import names_in

_NAMES = (Against.BEFORE_DEPLOYMENT.value, Against.PREVIOUS_VERSION.value)
_LEVELS = ("warning", "critical", "rollback")
#: A margin beyond, written without `%`, is a slip of the hand.
_MOST_BARE = 10


def baseline_of(
    rule: Node, form: Form | None, *, window: timedelta, direction: Direction | None, problems: Problems
) -> Baseline | None:
    """The baseline of a rule that has the key; `None` when it has mistakes.

    `form` is `None` where it has mistakes of its own, and so is `direction`.
    """
    place = rule.get("baseline")
    if place is None or place.reported:
        return None
    if isinstance(form, ProbeForm) or (form is None and rule.has("probe")):
        words = "'baseline' does nothing on a probe; write `threshold: {critical: 3 failures}`"
        problems.add(rule.at_key("baseline"), words)
        return None
    if rule.has("threshold"):
        line = rule.at_key("threshold").line
        words = f"a rule has `threshold` or `baseline`, never both; 'threshold' stands in line {line}"
        problems.add(rule.at_key("baseline"), words)
    before = len(problems)
    written, broken = shape(BaselineShape, place, problems)
    if written is None:
        return None
    against = None if "against" in broken else _against(rule, place, written.against, form, window, problems)
    margins = None if "worse_by" in broken else _worse_by(place, direction, problems)
    if against is None or margins is None or len(problems) > before or rule.has("threshold"):
        return None
    word, ago = against
    return Baseline(against=word, ago=ago, margins=margins)


def _against(
    rule: Node, place: Node, text: str, form: Form | None, window: timedelta, problems: Problems
) -> tuple[Against, timedelta | None] | None:
    at = place.at_value("against")
    if text == Against.PREVIOUS_VERSION and rule.has("match"):
        words = (
            "`previous-version` compares versions, and a rule with `match` names none: it is asked once for all "
            "services; leave `match` out and name $version, or compare with `before-deployment`"
        )
        problems.add(at, words)
        return None
    if text == Against.PREVIOUS_VERSION and form is not None and not _names_version(form):
        words = "`previous-version` compares versions, and this rule names neither $version nor $variant"
        problems.add(at, words)
        return None
    if text in _NAMES:
        return Against(text), None
    if not text[:1].isdigit():
        problems.add(at, unknown("baseline", text, _NAMES) + ", or a duration such as 24h")
        return None
    try:
        ago = parse_duration(text)
    except ValueError as fault:
        problems.add(at, str(fault))
        return None
    if not ago:
        problems.add(at, f"{quote(text)}: a value cannot be compared with itself; write for example 24h")
        return None
    if form is not None and not isinstance(form, Query | Gauge) and ago < window:
        shown = format_duration(window)
        words = f"{quote(text)} is shorter than the window of {shown}: both values would be made of the same samples"
        problems.add(at, words)
        return None
    return Against.EARLIER, ago


def _names_version(form: Form) -> bool:
    texts = [
        value for value in (getattr(form, name) for name in form.__struct_fields__) if isinstance(value, str)
    ]
    return any(name in ("version", "variant") for text in texts for name in names_in(text))


def _worse_by(place: Node, direction: Direction | None, problems: Problems) -> Thresholds | None:
    node = place.find(("worse_by",))
    shaped, broken = shape(WorseByShape, node, problems)
    written = {} if shaped is None else shaped.levels()
    if not written:
        if not broken and shaped is not None:
            problems.add(node.at, f"at least one of {', '.join(_LEVELS)} is needed")
        return None
    if direction is None:
        return None
    margins, mistakes = margins_of(written, direction=direction)
    for mistake in mistakes:
        if not node.find((mistake.level,)).reported:
            problems.add(node.at_value(mistake.level), mistake.message)
    return None if mistakes or broken else margins


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
    for milder, worse in pairwise(level for level in _LEVELS if level in margins):
        if margins[worse] <= margins[milder]:
            shown = f"{worse} ({_shown(margins[worse])}) must be above {milder} ({_shown(margins[milder])})"
            hint = _hint(worse, written[worse], margins[milder], direction)
            mistakes.append(Mistake(level=worse, message=shown + hint))
    return Thresholds(**{level: float(margin) for level, margin in margins.items()}), mistakes


def _margin(text: str, direction: Direction) -> Decimal:
    try:
        margin = Decimal(str(parse_number(text, Unit.RATIO)))
    except ValueError:
        raise ValueError(f"{quote(text)} is not a margin; write for example 30% or 0.3") from None
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
    share = Decimal(str(parse_percentage(text)))
    if critical is None:
        if "critical" in written:
            return None
        words = f"{quote(text)} is a percentage of critical, and there is no critical; write for example 0.75"
        raise ValueError(words)
    margin = share * critical
    _must_be_reachable(margin, f"{quote(text)} of critical is {_shown(margin)}, which", direction, "")
    return margin


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
