"""What proves that a switch helped: counters that moved, rules that are ok again, and how long that may take.

Pure questions about one service and one rollback; `watchdog.core.verifying` draws the conclusions. This module must
never read silence as recovery.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from watchdog.core.check import CheckState
from watchdog.core.checks import bound
from watchdog.core.rollback import Rollback
from watchdog.core.rule import Level, Rule, rank
from watchdog.core.traffic import TrafficState
from watchdog.core.world import ServiceWorld

#: The bad version may still get this share of requests (connections that were open before) and count as left.
LEFTOVER = 0.05

#: A scrape interval that was not learnt yet (design §5, "Fresh").
UNLEARNT = timedelta(seconds=30)

#: What is recorded instead of a proof that traffic moved, when nothing counts requests.
NOT_MEASURABLE = "not_measurable"


def counters(state: TrafficState | None) -> dict[str, int]:
    """Where the switch's own request counters stand."""
    if state is None:
        return {}
    return {name: spot.requests for name, spot in state.variants.items() if spot.requests is not None}


def scrapes_of(service: ServiceWorld, rollback: Rollback) -> dict[str, timedelta]:
    """The scrape intervals learnt behind the rules that breached."""
    return {
        check.rule: state.scrape_interval
        for check, state in service.checks.items()
        if state.scrape_interval is not None and check.variant in ("", rollback.from_variant)
    }


def verify_for(
    rules: Iterable[Rule], least: timedelta, scrapes: Mapping[str, timedelta], recheck: timedelta
) -> timedelta:
    """How long proof may take (design §6).

    At least `verify`, raised to the longest breached window, its clear samples, and two scrape intervals. Samples come
    no faster than they are scraped, nor than they are polled. An interval not learnt counts as 30 s, or as the rule's
    own where that is shorter. Probes have neither window nor scrapes.
    """
    longest = least
    for rule in rules:
        pace = min(rule.interval, recheck)
        if rule.is_probe:
            longest = max(longest, rule.clear * pace)
            continue
        learnt = scrapes.get(rule.name)
        scrape = learnt or min(rule.interval, UNLEARNT)
        longest = max(longest, rule.window + rule.clear * max(pace, learnt or pace) + 2 * scrape)
    return longest


def counted(service: ServiceWorld, rollback: Rollback) -> tuple[int, int] | None:
    """Requests since the switch to the target and to the bad variant; `None` where the switch does not count."""
    good = _since_switch(service, rollback, rollback.to_variant)
    bad = _since_switch(service, rollback, rollback.from_variant)
    return None if good is None or bad is None else (good, bad)


def _since_switch(service: ServiceWorld, rollback: Rollback, variant: str) -> int | None:
    """Requests a variant got since the switch; `None` without counters or when they started over."""
    spot = service.traffic.variants.get(variant) if service.traffic else None
    start = rollback.requests_at_switch.get(variant)
    if spot is None or spot.requests is None or start is None or spot.requests < start:
        return None
    return spot.requests - start


def counter_proof(rollback: Rollback, good: int, bad: int) -> str:
    """The sentence that says that requests moved, by the switch's counters; empty when they do not show it (yet)."""
    if not good or bad / (bad + good) > LEFTOVER:
        return ""
    return f"{good} requests to {rollback.to_variant}, {bad} to {rollback.from_variant} since the switch"


def events_proof(service: ServiceWorld, rollback: Rollback) -> str:
    """The same by a rule that names the version: it has counted events on the target since the switch."""
    for rule in rollback.rules:
        state = service.checks.get(bound(rule, rollback))
        if rule.per_version and state is not None and state.verdict is not None:
            fresh = rollback.applied_at is not None and state.verdict.at > rollback.applied_at
            if fresh and state.verdict.events:
                return f"{state.verdict.events:.0f} events of {rule.name} on {rollback.to_version}"
    return ""


def recovered(service: ServiceWorld, rollback: Rollback) -> bool:
    """Every breached rule has its clear samples on the target."""
    if not rollback.rules:
        return True
    states = [(rule, service.checks.get(bound(rule, rollback), CheckState())) for rule in rollback.rules]
    return all(state.clears >= rule.clear for rule, state in states)


def summary(rollback: Rollback) -> str:
    """What the end of a rollback was proved by, no more than was seen."""
    moved = rollback.traffic_proof not in ("", NOT_MEASURABLE)
    if not rollback.rules:
        measured = "traffic moved" if moved else "whether traffic moved was not measured"
        return f"in place and uncontested; there was no rule to prove it by; {measured}"
    if moved:
        return "proved: traffic moved and the rules recovered"
    return "the rules recovered and nobody undid it; whether traffic moved was not measured"


def standing(service: ServiceWorld, rollback: Rollback) -> tuple[list[str], list[str]]:
    """The breached rules that are known bad on the target now, and those that are unknown."""
    bad, unknown = [], []
    for rule in rollback.rules:
        state = service.checks.get(bound(rule, rollback), CheckState())
        level = state.verdict.level if state.verdict else Level.UNKNOWN
        if level is Level.UNKNOWN:
            unknown.append(rule.name)
        elif rank(level) > rank(Level.OK):
            bad.append(rule.name)
    return bad, unknown
