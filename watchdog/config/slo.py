"""`slo` of a rule: an objective, and which burn rates over which windows are too fast.

Rates are computed in decimal, as thresholds are. This module must never look at anything but the rule itself; what a
source can remember is asked of its kind elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

from watchdog.config.nodes import Node
from watchdog.config.problems import Problems, quote
from watchdog.config.schema import BurnRateShape, BurnShape, SloShape
from watchdog.config.shape import shape
from watchdog.core.burning import LEVELS, BurnLimit, Slo
from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Direction, Form, Ratio, Thresholds, Unit
from watchdog.core.units import format_duration, is_percentage, parse_number, parse_percentage

#: The windows and factors of The Site Reliability Workbook; the objective in it is not looked at.
_DEFAULT = Slo(objective=0.999)


def slo_of(rule: Node, form: Form | None, *, direction: Direction | None, problems: Problems) -> Slo | None:
    """The objective of a rule that has the key; `None` when it has mistakes.

    `form` is `None` where it has mistakes of its own, and so is `direction`.
    """
    place = rule.get("slo")
    if place is None or place.reported:
        return None
    before = len(problems)
    _alone(rule, form, direction, problems)
    written, broken = shape(SloShape, place, problems)
    if written is None or "objective" in broken:
        return None
    objective = _objective(place, written.objective, problems)
    if "burn" in broken:
        return None
    burn = place.get("burn")
    limits = _DEFAULT.limits if burn is None else _limits(burn, problems)
    if limits is not None and objective is not None:
        _check_reachable(place, objective, limits, problems)
    if limits is None or objective is None or len(problems) > before:
        return None
    return Slo(objective=objective, **{level: limits.get(level) for level in LEVELS})


def thresholds_of(slo: Slo) -> Thresholds:
    """Its factors."""
    return Thresholds(**{level: limit.factor for level, limit in slo.limits.items()})


def check_windows(rule: Node, slo: Slo, fault: Callable[[timedelta], str], problems: Problems) -> None:
    """Tell which windows can never have data, where each is written; of the defaults only the longest."""
    told = set()
    for level, limit in slo.limits.items():
        for name, window in (("long", limit.long), ("short", limit.short)):
            written = rule.get("slo", "burn", level, name)
            at = written.at if written is not None else rule.at_value("slo", "objective")
            words = fault(window)
            if words and (written is not None or at not in told):
                told.add(at)
                problems.add(at, words if written is not None else f"{words}; write shorter ones in `burn`")


def _alone(rule: Node, form: Form | None, direction: Direction | None, problems: Problems) -> None:
    """What cannot stand beside it."""
    at = rule.at_key("slo")
    if not isinstance(form, Ratio) and not (form is None and rule.has("ratio")):
        words = "an `slo` goes with a `ratio`, which counts all events and the bad ones"
        problems.add(at, words)
    for other in ("threshold", "baseline"):
        if rule.has(other):
            line = rule.at_key(other).line
            words = (
                f"a rule has `threshold`, `baseline` or `slo`, one of them; {other!r} stands in line {line}"
            )
            problems.add(at, words)
    if rule.has("window"):
        words = "'window' does nothing beside an `slo`; its windows stand in `burn`"
        problems.add(rule.at_key("window"), words)
    if direction is Direction.BELOW:
        words = "`direction: below` does not go with an `slo`: `bad` must count the bad events"
        problems.add(rule.at_value("direction"), words)
    evidence = rule.get("evidence")
    if evidence is not None and evidence.has("excess"):
        words = "'excess' does nothing beside an `slo`: its windows say how long it must have been bad"
        problems.add(evidence.at_key("excess"), words)


def _objective(place: Node, text: str, problems: Problems) -> float | None:
    at = place.at_value("objective")
    try:
        objective = parse_number(text, Unit.RATIO)
    except ValueError:
        problems.add(at, f"{quote(text)} is not an objective; write for example 99.9% or 0.999")
        return None
    if 0 < objective < 1:
        return objective
    hint = f"; did you mean {text.strip()}%?" if not is_percentage(text) and 1 < objective < 100 else ""
    words = f"{quote(text)}: an objective must lie between 0% and 100%, neither of them included"
    problems.add(at, words + hint)
    return None


def _limits(burn: Node, problems: Problems) -> dict[str, BurnLimit] | None:
    """The levels below `burn`, mildest first; what a level does not say is as in the defaults."""
    before = len(problems)
    shaped, broken = shape(BurnShape, burn, problems)
    if shaped is None:
        return None
    written = [level for level in LEVELS if burn.has(level) and level not in broken]
    if not written and not broken:
        problems.add(burn.at, f"at least one of {', '.join(LEVELS)} is needed")
    rates: dict[str, Decimal] = {}
    limits: dict[str, BurnLimit] = {}
    for level in written:
        place = burn.find((level,))
        try:
            if level == "rollback" and is_percentage(place.text):
                rate, like = _share(place.text or "", burn, rates.get("critical"), limits.get("critical"))
            else:
                rate, like = _limit(level, place, problems)
        except ValueError as fault:
            problems.add(place.at, str(fault))
            continue
        if rate is not None and like is not None:
            rates[level], limits[level] = rate, like
    for milder, worse in pairwise(limits):
        if rates[worse] <= rates[milder]:
            shown = f"{worse} ({_shown(rates[worse])}) must be above {milder} ({_shown(rates[milder])})"
            hint = (
                "; a percentage here is a share of critical's rate"
                if is_percentage(burn.find((worse,)).text)
                else ""
            )
            problems.add(_at_rate(burn, worse).at, shown + hint)
    # What is no value at all was told when the file was read: there may be nothing new to tell, and no level.
    whole = not broken and len(limits) == len(written)
    return limits if whole and len(problems) == before else None


def _limit(level: str, place: Node, problems: Problems) -> tuple[Decimal | None, BurnLimit | None]:
    default = _DEFAULT.limits[level]
    shaped, broken = shape(BurnRateShape, place, problems)
    if shaped is None or broken:
        return None, None
    rate = Decimal(str(default.factor))
    if shaped.rate is not None:
        try:
            rate = Decimal(str(parse_number(shaped.rate, Unit.TIMES)))
        except ValueError:
            words = f"{quote(shaped.rate)} is not a burn rate; write for example {default.factor:g}"
            problems.add(place.at_value("rate"), words)
            return None, None
        if rate <= 0:
            problems.add(place.at_value("rate"), f"{quote(shaped.rate)}: a burn rate must be above 0")
            return None, None
    limit = BurnLimit(
        factor=float(rate), long=shaped.long or default.long, short=shaped.short or default.short
    )
    if limit.short >= limit.long:
        longer, shorter = format_duration(limit.long), format_duration(limit.short)
        words = f"the short window ({shorter}) must be shorter than the long one ({longer})"
        problems.add(place.at_value("short" if place.has("short") else "long"), words)
        return None, None
    return rate, limit


def _share(
    text: str, burn: Node, critical: Decimal | None, like: BurnLimit | None
) -> tuple[Decimal | None, BurnLimit | None]:
    """A percentage of critical's rate, over critical's windows."""
    share = Decimal(str(parse_percentage(text)))
    if critical is None or like is None:
        if burn.has("critical"):
            return None, None  # that has a mistake of its own
        raise ValueError(f"{quote(text)} is a percentage of critical, and there is no critical")
    rate = share * critical
    return rate, BurnLimit(factor=float(rate), long=like.long, short=like.short)


def _check_reachable(place: Node, objective: float, limits: dict[str, BurnLimit], problems: Problems) -> None:
    """Burning everything is the fastest there is: once over all events, against the share that may be bad."""
    most = 1 / (1 - Decimal(str(objective)))
    for level, limit in limits.items():
        if Decimal(str(limit.factor)) >= most:
            at = (
                _at_rate(place.find(("burn",)), level).at
                if place.has("burn")
                else place.at_value("objective")
            )
            words = (
                f"{level} ({_shown(Decimal(str(limit.factor)))}) can never be reached: when everything fails, "
                f"{format_quantity(objective, Unit.RATIO)} burns {_shown(most)}"
            )
            hint = "" if place.has("burn") else "; write lower rates in `burn`"
            problems.add(at, words + hint)


def _at_rate(burn: Node, level: str) -> Node:
    """Where a level's rate is written, or the level itself."""
    return burn.find((level, "rate"))


def _shown(rate: Decimal) -> str:
    return format_quantity(float(rate), Unit.TIMES)
