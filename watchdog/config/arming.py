"""The arming gate: which rules may act by themselves, judged by the records of their back-tests.

What is found is told as notes, and, where a service asks for it (`require_backtest`), compiled for the guard
`backtested`. This module must never let a rule pass for want of a record that could have been made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from watchdog.config.backtests import BackTest, BackTests
from watchdog.config.loaded import Configuration, Position, Problem, ServiceEntry
from watchdog.config.problems import Problems
from watchdog.core.arming import Proof, unproven
from watchdog.core.rule import Against, Rule
from watchdog.core.service import Mode
from watchdog.core.units import format_duration

#: Services named in one note.
_NAMED = 5


def has_history(rule: Rule) -> bool:
    """Whether a rule can be replayed over what was measured: a probe and another version's values leave nothing."""
    against = rule.baseline.against if rule.baseline is not None else None
    return not rule.is_probe and against is not Against.PREVIOUS_VERSION


def proofs_of(service: str, rules: Iterable[Rule], tests: BackTests) -> dict[str, Proof]:
    """By rule what its back-tests showed, for all that could act on the service."""
    return {rule.name: _proof(service, rule, tests) for rule in rules if rule.can_roll_back}


def _proof(service: str, rule: Rule, tests: BackTests) -> Proof:
    if not has_history(rule):
        return Proof(judgement=rule.judgement)
    record = tests.records.get((service, rule.name))
    reason, words = _shortfall(rule, record, tests)
    until = _counts_until(record, tests.max_age) if record is not None and tests.max_age is not None else None
    detail = f"{rule.name} {words}" if words else ""
    return Proof(judgement=rule.judgement, reason=reason, detail=detail, until=until)


def _counts_until(record: BackTest, age: timedelta) -> datetime | None:
    """When a record gets too old. No time can have been replayed before it was over, whatever the file says."""
    try:
        return min(record.until, record.made_at) + age
    except OverflowError:
        return None  # the end of all time


def _shortfall(rule: Rule, record: BackTest | None, tests: BackTests) -> tuple[str, str]:
    """Why a record does not do, as reason and words; its age is another matter."""
    if record is None:
        return "never_backtested", "was never back-tested"
    if record.judgement != rule.judgement:
        return "changed_since", f"was changed since it was back-tested on {record.made_at:%Y-%m-%d}"
    if not record.samples * record.known > 0 or record.until < record.since:
        return "too_short", f"was back-tested on {record.samples} samples, and none of them had a verdict"
    span = format_duration(record.span)
    if tests.min_span is not None and record.span < tests.min_span:
        return (
            "too_short",
            f"was back-tested over {span}, at least {format_duration(tests.min_span)} are wanted",
        )
    if tests.max_rollbacks is not None and record.rollbacks > tests.max_rollbacks:
        asked, most = record.rollbacks, tests.max_rollbacks
        return (
            "beyond_budget",
            f"would have asked for {asked} rollbacks in {span}, at most {most} are allowed",
        )
    if tests.max_noise is not None and record.incidents_per_week > tests.max_noise:
        noise, allowed = f"{record.incidents_per_week:.3g}", f"{tests.max_noise:.3g}"
        return "beyond_budget", f"would have made {noise} incidents a week, at most {allowed} are allowed"
    return "", ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A rule that could act and has not proved that it should; `refused`: it will not, `require_backtest` is set."""

    service: str
    rule: str
    reason: str
    detail: str
    refused: bool


def gaps(
    entries: Mapping[str, ServiceEntry], rules: Mapping[str, Rule], tests: BackTests, now: datetime | None
) -> list[Gap]:
    """Every gap of services that may act without being asked. Without `now`, no record is too old."""
    found = []
    for name, entry in entries.items():
        service = entry.service
        if service.mode is not Mode.ENFORCE:
            continue
        used = [rules[rule] for rule in service.rules if rule in rules]
        proofs = service.proofs if service.proofs is not None else proofs_of(name, used, tests)
        for rule in (rule for rule in used if rule.name in proofs):
            proof = proofs[rule.name]
            reason, detail = (proof.reason, proof.detail) if now is None else unproven(proofs, rule, now=now)
            if reason:
                refused = service.proofs is not None
                found.append(Gap(service=name, rule=rule.name, reason=reason, detail=detail, refused=refused))
    return found


def silent(found: Iterable[Gap], tests: BackTests) -> bool:
    """Whether nobody ever spoke of back-tests here: then one word about them is enough."""
    return not tests.configured and not tests.records and not any(gap.refused for gap in found)


def tell(found: list[Gap], places: Mapping[str, Position], problems: Problems) -> None:
    """One note at each rule for each thing that is missing, naming the services."""
    grouped: dict[tuple[str, str, bool], list[str]] = {}
    for gap in found:
        grouped.setdefault((gap.rule, gap.detail, gap.refused), []).append(gap.service)
    for (rule, detail, refused), services in grouped.items():
        problems.note(places[rule], f"{detail} (on {_listed(services)})" + _so(refused=refused))


def _so(*, refused: bool) -> str:
    return ": it will not roll back by itself" if refused else ""


def _listed(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def remarks(configuration: Configuration, now: datetime | None) -> tuple[Problem, ...]:
    """What only `watchdog check` says: that nothing was ever back-tested, and which records are too old by now."""
    tests = configuration.backtest
    found = gaps(configuration.services, configuration.rules, tests, now)
    if silent(found, tests):
        names = sorted({gap.rule for gap in found})
        at = Position(file=configuration.path, line=1, column=1)
        return (Problem(at=at, message=never(names)),) if names else ()
    at = Position(file=tests.file, line=1, column=1)
    old = [gap for gap in found if gap.reason == "too_old"]
    return tuple(
        Problem(at=at, message=f"{gap.detail} (on {gap.service}){_so(refused=gap.refused)}") for gap in old
    )


def never(names: list[str]) -> str:
    """That none of these rules was ever tried on history."""
    rules = "rule that may roll back was" if len(names) == 1 else "rules that may roll back were"
    return f"{len(names)} {rules} never back-tested: {_listed(names)}; see `watchdog backtest --help`"
