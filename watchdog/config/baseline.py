"""`baseline` of a rule: what a value is compared with, and how much worse it may be (`watchdog.config.margins`).

This module must never look at anything but the rule itself; what a source can remember is asked of its kind elsewhere.
"""

from __future__ import annotations

from datetime import timedelta

from watchdog.config.margins import margins_of, usual_margins
from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote, unknown
from watchdog.config.schema import BaselineShape, TwoSampleShape, WorseByShape
from watchdog.config.shape import shape
from watchdog.core.baseline import USUAL_FLOOR, USUAL_OVER
from watchdog.core.rule import (
    Against,
    Aggregate,
    Baseline,
    Direction,
    Form,
    Gauge,
    ProbeForm,
    Quantile,
    Query,
    Rate,
    Ratio,
    Thresholds,
    Unit,
)
from watchdog.core.two_samples import TwoSample, certain_from
from watchdog.core.units import format_duration, parse_duration
from watchdog.core.variables import names_in
from watchdog.core.widening import PLACES, widened

_NAMES = (Against.BEFORE_DEPLOYMENT.value, Against.PREVIOUS_VERSION.value, Against.USUAL.value)
_LEVELS = ("warning", "critical", "rollback")
#: From how short to how long a time anybody can say what is usual.
_SHORTEST, _LONGEST = timedelta(hours=1), timedelta(days=60)
#: A time has at least so many windows: fewer values have no quantile that far out.
_WINDOWS = 20
_TEST = "mann-whitney"


def baseline_of(
    rule: Node,
    form: Form | None,
    *,
    unit: Unit | None,
    window: timedelta,
    direction: Direction | None,
    problems: Problems,
) -> Baseline | None:
    """The baseline of a rule that has the key; `None` when it has mistakes.

    `form` is `None` where it has mistakes of its own, and so are `unit` and `direction`.
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
    usual = against is not None and against[0] is Against.USUAL
    margins = None
    if "worse_by" not in broken and (against is not None or "against" in broken):
        most = _most_deviations(form, unit, direction) if usual else None
        margins = _worse_by(place, direction, problems, usual=usual, most=most)
    over = None if "over" in broken else _over(place, written, window, problems, usual=usual)
    test = None if "test" in broken else _test(place, against, problems)
    if against is None or margins is None or len(problems) > before or rule.has("threshold"):
        return None
    word, ago = against
    return Baseline(against=word, ago=ago, margins=margins, over=over, test=test)


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
    if text == Against.USUAL and form is not None and (words := _not_usual(form)):
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


def _not_usual(form: Form) -> str:
    """Why it cannot be said what is usual for this form; empty when it can."""
    if isinstance(form, ProbeForm):
        return ""
    named = [name for text in _texts(form) for name in names_in(text) if name in PLACES]
    if not named:
        return ""
    advice = f"; leave ${named[0]} out, or compare with `before-deployment`"
    if isinstance(form, Rate) or (isinstance(form, Gauge) and form.by is Aggregate.SUM):
        word = "rate" if isinstance(form, Rate) else "sum"
        return (
            f"what is `usual` is that of all versions together, of which the {word} of one is a part{advice}"
        )
    try:
        widened(form)
    except ValueError as fault:
        return f"what is `usual` is that of whatever versions there were, and {fault}{advice}"
    return ""


def _names_version(form: Form) -> bool:
    return any(name in ("version", "variant") for text in _texts(form) for name in names_in(text))


def _texts(form: Form) -> list[str]:
    return [
        value for value in (getattr(form, name) for name in form.__struct_fields__) if isinstance(value, str)
    ]


def _most_deviations(form: Form | None, unit: Unit | None, direction: Direction | None) -> float | None:
    """From how many deviations on a limit is never reached, as none is smaller than a share of the reference.

    A number that may be negative has no such limit, and neither has a share of what went well: its deviations are
    counted in what went wrong.
    """
    positive = isinstance(form, Rate | Ratio | Quantile)
    if direction is not Direction.BELOW or unit in (None, Unit.RATIO) or not positive:
        return None
    return 1 / USUAL_FLOOR


def _over(
    place: Node, written: BaselineShape, window: timedelta, problems: Problems, *, usual: bool
) -> timedelta | None:
    if not usual:
        if place.has("over") and written.against in _NAMES:
            problems.add(place.at_key("over"), "'over' goes with `against: usual`; leave it out")
        return None
    over = USUAL_OVER if written.over is None else written.over
    at = place.at_value("over") if place.has("over") else place.at_value("against")
    if not _SHORTEST <= over <= _LONGEST:
        shown, shortest, longest = (format_duration(one) for one in (over, _SHORTEST, _LONGEST))
        problems.add(at, f"{shown} is no time to tell what is usual; write from {shortest} to {longest}")
    elif over < _WINDOWS * window:
        needed = format_duration(_WINDOWS * window)
        words = f"{format_duration(over)} is fewer than {_WINDOWS} windows of {format_duration(window)}; write at least"
        problems.add(at, f"{words} {needed}, or a shorter window")
    return over


def _test(
    place: Node, against: tuple[Against, timedelta | None] | None, problems: Problems
) -> TwoSample | None:
    node = place.get("test")
    if node is None:
        return None
    if against is not None and against[0] is not Against.PREVIOUS_VERSION:
        words = "'test' compares two versions that serve at the same time; it goes with `previous-version`"
        problems.add(place.at_key("test"), words)
        return None
    if node.entries is None:
        if node.text == _TEST:
            return TwoSample()
        if not node.reported:
            problems.add(node.at, f"expected a mapping or {_TEST}, found {node.describe()}")
        return None
    written, _ = shape(TwoSampleShape, node, problems)
    if written is None:
        return None
    test = TwoSample(confidence=written.confidence, effect=written.effect, samples=written.samples)
    if test.samples < (least := certain_from(test.confidence)):
        words = f"{test.samples} values of each version can never be told apart with that confidence"
        problems.add(node.at_value("samples"), f"{words}; write at least {least}")
    return test


def _worse_by(
    place: Node, direction: Direction | None, problems: Problems, *, usual: bool, most: float | None
) -> Thresholds | None:
    node = place.find(("worse_by",))
    shaped, broken = shape(WorseByShape, node, problems)
    written = {} if shaped is None else shaped.levels()
    if not written:
        if not broken and shaped is not None:
            problems.add(node.at, f"at least one of {', '.join(_LEVELS)} is needed")
        return None
    if direction is None:
        return None
    margins, mistakes = (
        usual_margins(written, most=most) if usual else margins_of(written, direction=direction)
    )
    for mistake in mistakes:
        if not node.find((mistake.level,)).reported:
            problems.add(node.at_value(mistake.level), mistake.message)
    return None if mistakes or broken else margins
