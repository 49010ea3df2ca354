"""Suggestions in words: a snippet of YAML to paste, with the reason for every number beside it, and the same as JSON.

This module must never choose a number.
"""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Direction, Hold, Level, Quantile, Query, Ratio, Rule, Samples, Unit
from watchdog.core.units import format_duration
from watchdog.lab.suggest_levels import NOISE
from watchdog.lab.suggest_look import DAILY_SHARE, DRIFT, SHORT, Look
from watchdog.lab.track import Track

if TYPE_CHECKING:
    from watchdog.lab.suggest import Noise, Proposal, Suggestion

#: Fewer samples with a value are worth a word.
_MOST_KNOWN = 0.95
#: So much rarer than its polls, a rule's history says little of its noise.
_RARER = 2.0


class Origins(msgspec.Struct, frozen=True, kw_only=True):
    """Where the unit and the direction are from, for people. `pasted`: under a rule whose form is not known here."""

    unit: str
    direction: str
    pasted: bool = False


# -- what to know of a history


def remarks(track: Track, seen: Look, proposal: Proposal) -> tuple[str, ...]:
    """What whoever pastes a proposal should know of the history, one sentence each."""
    found = [*_of_time(seen, proposal.rule), *_of_shape(seen), *_of_events(track, proposal)]
    for level, one in proposal.noise.items():
        if one.per_week > NOISE[Level(level)]:
            most = _rate(NOISE[Level(level)])
            found.append(
                f"{level} is noisy: {_rate(one.per_week)} a week on the held-out part, at most {most} were aimed at; "
                "see whether those were incidents"
            )
    if "rollback" not in proposal.limits:
        found.append(
            "no rollback is proposed: no limit within reach is quiet enough to move traffic by; let another rule decide"
        )
    return tuple(found)


def _of_time(seen: Look, rule: Rule) -> list[str]:
    found = []
    if seen.span < SHORT:
        found.append(
            f"only {_lasting(seen.span.total_seconds())} of history: what differs by weekday was not seen"
        )
    if seen.marked:
        found.append(
            f"{seen.marked} samples are marked as anomalous: neither learnt from nor counted as noise"
        )
    if seen.known < _MOST_KNOWN:
        found.append(f"{1 - seen.known:.0%} of the samples have no value: nothing was learnt from them")
    if seen.step_seconds > _RARER * rule.interval.total_seconds():
        every, polled = _lasting(seen.step_seconds), format_duration(rule.interval)
        found.append(
            f"one sample every {every}, and the rule is polled every {polled}: shorter peaks were not seen"
        )
    return found


def _of_shape(seen: Look) -> list[str]:
    found = []
    if seen.daily >= DAILY_SHARE:
        found.append(
            f"values follow the hour of the day, which explains {seen.daily:.0%} of how they vary: a fixed limit fits "
            "the worst hour and is slack in the others"
        )
    if abs(seen.drift) >= DRIFT:
        side = "higher" if seen.drift > 0 else "lower"
        by = "" if math.isinf(seen.drift) else f" by {abs(seen.drift):.1f} deviations"
        found.append(
            f"values drift: in the last quarter they lie {side}{by} than in the first; suggest again later"
        )
    return found


def _of_events(track: Track, proposal: Proposal) -> list[str]:
    evidence, rule = proposal.rule.evidence, proposal.rule
    if evidence is None:
        return []
    if track.events is None:
        return [
            "noise was measured without evidence: this history does not say how many events are behind a value"
        ]
    events = track.events[np.isfinite(track.events)]
    if not len(events):
        return []
    found, usual = [], float(np.median(events))
    few = float(np.mean(events < evidence.min_events))
    if few > 1 - _MOST_KNOWN:
        found.append(
            f"{few:.0%} of the windows have fewer than {evidence.min_events} events and no verdict; a longer `window` "
            "has more"
        )
    limit = rule.thresholds.rollback
    if evidence.bound and limit is not None and usual > 0:
        share = limit if rule.direction is Direction.ABOVE else 1 - limit
        if share * usual < evidence.min_bad:
            needed = format_quantity(min(evidence.min_bad / usual, 1.0), Unit.RATIO)
            found.append(
                f"a usual window has {usual:.0f} events: for the {evidence.min_bad} bad ones that a rollback needs, "
                f"{needed} of them must be bad; with a longer `window` it takes fewer"
            )
    return found


# -- the snippet


def snippet(suggestion: Suggestion, origins: Origins) -> str:
    """Keys of a rule, as YAML, with a comment on each; to be pasted in the place of those that the rule has."""
    proposal, seen = suggestion.proposal, suggestion.seen
    rule = proposal.rule
    learnt, held = _lasting(suggestion.learnt), _lasting(suggestion.held_out)
    lines = [
        f"# {suggestion.name}: {seen.history()}",
        f"# values lie {seen.values(rule.unit)}",
        f"# learnt from the first {learnt}; noise was measured on the {held} after them, by which no limit was chosen",
        *(f"# note: {note}" for note in suggestion.notes),
        f"unit: {rule.unit}  # {origins.unit}",
        f"direction: {rule.direction}  # {origins.direction}",
        *(_fixed(suggestion, held) if rule.baseline is None else _learnt(suggestion, held)),
        "hold:",
        *(
            f"  {level}: {hold_text(rule.hold.of(Level(level)))}{_why_hold(level)}"
            for level in proposal.limits
        ),
        *_evidence(rule, origins),
        *_beside(suggestion),
    ]
    return "".join(f"{line}\n" for line in lines)


def _fixed(suggestion: Suggestion, held: str) -> list[str]:
    proposal, unit = suggestion.proposal, suggestion.proposal.rule.unit
    side = "above" if proposal.rule.direction is Direction.ABOVE else "below"
    lines = ["threshold:"]
    for level, text in proposal.limits.items():
        one = proposal.found.get(level)
        if one is not None and math.isfinite(one.deviations):
            median = format_quantity(suggestion.seen.median, unit)
            why = f"{one.deviations:.1f} deviations {side} the median of {median}"
        elif text.endswith("%") and level == "rollback" and text == "150%":
            limit = proposal.rule.thresholds.rollback
            why = f"of critical: {format_quantity(limit if limit is not None else math.nan, unit)}"
        else:
            why = f"{side} all that is usual"
        lines.append(f"  {level}: {text}  # {why}; {_told(proposal.noise[level], held)}")
    return lines


def _learnt(suggestion: Suggestion, held: str) -> list[str]:
    proposal = suggestion.proposal
    baseline = proposal.rule.baseline
    over = format_duration(baseline.over) if baseline is not None and baseline.over is not None else ""
    lines = [
        "baseline:",
        "  against: usual  # the median of the time below, and how far values usually lie from it",
        f"  over: {over}  # as much as there is to learn from, two weeks at most",
        "  worse_by:",
    ]
    for level, text in proposal.limits.items():
        why = "of critical; " if level == "rollback" else ""
        lines.append(f"    {level}: {text}  # {why}{_told(proposal.noise[level], held)}")
    return lines


def _told(noise: Noise, held: str) -> str:
    times = "once" if noise.count == 1 else f"{noise.count} times"
    return f"{times} in {held}: {_rate(noise.per_week)} a week, at most {_rate(noise.most_per_week)} (95 %)"


def _why_hold(level: str) -> str:
    most = NOISE[Level(level)]
    often = f"{_rate(most)} times a week" if most > 1 else f"once in {_rate(1 / most)} weeks"
    often = "once a week" if most == 1 else often
    return f"  # the shortest with which {level} fired at most {often} while learning"


def _evidence(rule: Rule, origins: Origins) -> list[str]:
    evidence = rule.evidence
    if evidence is None:
        if origins.pasted:
            return [
                "# evidence: left as the rule has it: this history does not say how many events are behind a value"
            ]
        return ["evidence: none  # this rule does not count events"] if isinstance(rule.form, Query) else []
    lines = ["evidence:"]
    if isinstance(rule.form, Query) and rule.form.events and not origins.pasted:
        lines.append(f"  events: {_quoted(rule.form.events)}  # as the rule has it")
    why = (
        "a quantile of fewer says little"
        if isinstance(rule.form, Quantile)
        else "fewer say little: no verdict"
    )
    lines.append(f"  min_events: {evidence.min_events}  # in a window; {why}")
    if evidence.bound:
        lines += [
            f"  min_bad: {evidence.min_bad}  # in a window, before traffic is moved; the default",
            f"  confidence: {evidence.confidence * 100:g}%  # that the share is beyond its limit; the default",
            f"  excess: {evidence.excess * 100:g}%  # of one window, beyond critical, for a rollback; the default",
        ]
    return lines


def _beside(suggestion: Suggestion) -> list[str]:
    """What else was tried, and why it is not proposed."""
    other, proposal = suggestion.other, suggestion.proposal
    if other is None:
        return []
    kind = "fixed limits" if other.rule.baseline is None else "learnt limits (baseline: usual)"
    rates = ", ".join(f"{level} {_rate(one.per_week)}" for level, one in other.noise.items())
    if proposal.quiet and not other.quiet:
        why = "these are noisier"
    elif not proposal.quiet:
        why = "these are no quieter"
    elif proposal.distance <= other.distance:
        why = "these lie further from what is usual, so that they see less"
    elif sum(one.count for one in other.noise.values()) > sum(one.count for one in proposal.noise.values()):
        why = "these are nearer to what is usual, but noisier"
    else:
        why = "these are hardly nearer to what is usual, and what is fixed is plain to everybody"
    return [f"# tried beside it: {kind}, told in a week: {rates}; {why}"]


def hold_text(hold: Hold) -> str:
    """A hold as it is written."""
    if isinstance(hold, Samples):
        return "1 sample" if hold.count == 1 else f"{hold.count} samples"
    return format_duration(hold.duration)


def plain(suggestion: Suggestion, origins: Origins) -> dict[str, Any]:
    """As JSON types: keys as in a rule, and everything that was measured."""
    proposal, seen = suggestion.proposal, suggestion.seen
    rule = proposal.rule
    return {
        "name": suggestion.name,
        "unit": rule.unit.value,
        "unit_from": origins.unit,
        "direction": rule.direction.value,
        "direction_from": origins.direction,
        **_plain(proposal),
        "samples": seen.samples,
        "known_share": seen.known,
        "step_seconds": seen.step_seconds,
        "from": seen.begin.isoformat().replace("+00:00", "Z"),
        "to": seen.end.isoformat().replace("+00:00", "Z"),
        "learnt_seconds": suggestion.learnt,
        "held_out_seconds": suggestion.held_out,
        "median": seen.median,
        "daily_share": seen.daily,
        "drift_deviations": seen.drift if math.isfinite(seen.drift) else None,
        "notes": list(suggestion.notes),
        "beside": None if suggestion.other is None else _plain(suggestion.other),
        "yaml": snippet(suggestion, origins),
    }


def _plain(proposal: Proposal) -> dict[str, Any]:
    rule, evidence = proposal.rule, proposal.rule.evidence
    limits: dict[str, Any] = {"threshold": dict(proposal.limits)}
    if rule.baseline is not None:
        over = format_duration(rule.baseline.over or timedelta())
        limits = {"baseline": {"against": "usual", "over": over, "worse_by": dict(proposal.limits)}}
    bound = isinstance(rule.form, Ratio) and evidence is not None
    return {
        **limits,
        "hold": {level: hold_text(rule.hold.of(Level(level))) for level in proposal.limits},
        "evidence": None
        if evidence is None
        else {
            "min_events": evidence.min_events,
            **({"min_bad": evidence.min_bad} if bound else {}),
            **({"confidence": evidence.confidence, "excess": evidence.excess} if bound else {}),
        },
        "noise": {level: msgspec.to_builtins(one) for level, one in proposal.noise.items()},
    }


def _rate(rate: float) -> str:
    return f"{rate:.2g}" if rate < 10 else f"{rate:.0f}"


def _lasting(seconds: float) -> str:
    """Whole minutes of what lasts long."""
    return format_duration(timedelta(seconds=round(seconds / 60) * 60 if seconds >= 3600 else round(seconds)))


def _quoted(text: str) -> str:
    """As a scalar of YAML between single quotes."""
    return "'" + text.replace("'", "''") + "'"
