"""`watchdog backtest`: what rules would have done over history, before anybody is woken by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from watchdog.cli.backtest_options import (
    LAST,
    Csv,
    DeploymentsFile,
    From,
    Html,
    Keep,
    Last,
    MaxNoise,
    MaxRollbacks,
    NoCache,
    Recorded,
    Rules,
    Services,
    Step,
    To,
    WindowAfter,
)
from watchdog.cli.failure import Failure
from watchdog.cli.options import ConfigFile, Json

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from pathlib import Path

    from watchdog.config.loaded import Configuration
    from watchdog.core.rule import Rule
    from watchdog.lab.backtest import Checked
    from watchdog.lab.backtest_inputs import Inputs
    from watchdog.lab.deployments import Deployments
    from watchdog.lab.report import Budget, Report


def backtest(
    config: ConfigFile,
    begin: From = None,
    end: To = None,
    last: Last = None,
    service: Services = None,
    rule: Rules = None,
    csv: Csv = None,
    step: Step = None,
    deployments: DeploymentsFile = None,
    window_after: WindowAfter = None,
    max_rollbacks: MaxRollbacks = None,
    max_noise: MaxNoise = None,
    html: Html = None,
    cache: Keep = None,
    no_cache: NoCache = False,
    record: Recorded = False,
    json: Json = False,
) -> None:
    """Replay rules over history and say what they would have done; nobody is told, and nothing is switched.

    Every sample is judged by the daemon's own evaluation. docs/how-to/backtest.md says how to read the answer. What was
    answered is kept, so that a run that was interrupted goes on where it was.
    """
    import os

    from watchdog.cli.output import note, say_json
    from watchdog.config.load import load
    from watchdog.lab.report import Budget

    configuration = load(config, environ=os.environ)
    since, until = _span(begin, end, last, bare=csv is not None)
    asking = _Asking(
        services=tuple(service or ()),
        rules=tuple(rule or ()),
        since=since,
        until=until,
        step=_duration(step, "--step"),
        armed_for=_duration(window_after, "--window-after"),
    )
    known = _deployments(configuration, deployments, since)
    if csv is not None:
        inputs = _read(configuration, csv, asking, known)
    else:
        inputs = _asked(configuration, asking, known, _folder(cache, none=no_cache))
    report = _report(inputs, Budget(rollbacks=max_rollbacks, noise=max_noise))
    if html is not None:
        from watchdog.lab.report_html import html_of

        try:
            html.write_text(html_of(report), encoding="utf-8")
        except OSError as fault:
            raise Failure(f"{html} cannot be written: {fault.strerror or fault}") from None
    for remark in report.notes:
        note(f"note: {remark}")
    if json:
        say_json(report.plain)
    else:
        _show(report)
    if record:
        _record(configuration, report)
    raise typer.Exit(1 if report.beyond else 0)


class _Asking:
    """What is asked for."""

    def __init__(
        self,
        *,
        services: tuple[str, ...],
        rules: tuple[str, ...],
        since: datetime | None,
        until: datetime | None,
        step: timedelta | None,
        armed_for: timedelta | None,
    ) -> None:
        self.services, self.rules = services, rules
        self.since, self.until = since, until
        self.step, self.armed_for = step, armed_for


def _span(
    begin: str | None, end: str | None, last: str | None, *, bare: bool
) -> tuple[datetime | None, datetime | None]:
    """The time that is meant; with `bare`, files say it where nobody else does."""
    from datetime import UTC, datetime

    if begin is not None and last is not None:
        raise Failure("--from and --last say the same; give one of them", code=2)
    until = _moment(end, "--to")
    since = _moment(begin, "--from")
    lasting = _duration(last, "--last")
    if bare and last is not None and until is None:
        raise Failure("with --csv, --last needs --to: files have no now", code=2)
    if bare and last is None and (since is None or until is None):
        return since, until
    until = until or datetime.now(UTC).replace(microsecond=0)
    if since is None:
        span = lasting or _duration(LAST, "--last")
        if span is None:
            raise RuntimeError("a default cannot be left out")
        try:
            since = until - span
        except OverflowError:
            raise Failure(f"--last {last} before {until:%Y-%m-%d} is before all time") from None
    if since >= until:
        raise Failure(f"--from {since:%Y-%m-%dT%H:%M:%SZ} is not before --to {until:%Y-%m-%dT%H:%M:%SZ}")
    return since, until


def _moment(text: str | None, option: str) -> datetime | None:
    from datetime import UTC, datetime

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Failure(f"{option}: {text!r} is not a time such as 2026-10-01T06:00:00Z") from None


def _duration(text: str | None, option: str) -> timedelta | None:
    from watchdog.core.units import parse_duration

    if text is None:
        return None
    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise Failure(f"{option}: {error}") from None
    if not duration:
        raise Failure(f"{option}: it must last")
    return duration


def _deployments(configuration: Configuration, file: Path | None, since: datetime | None) -> Deployments:
    from watchdog.lab.deployments import read_deployments, stored_deployments

    if file is not None:
        return read_deployments(file, configuration.services)
    return stored_deployments(configuration, since=since)


def _read(configuration: Configuration, path: Path, asking: _Asking, known: Deployments) -> Inputs:
    """Series from files, for one rule."""
    from watchdog.config.problems import unknown
    from watchdog.core.service import RollbackPolicy
    from watchdog.lab.backtest_inputs import read_inputs

    if asking.step is not None:
        raise Failure("--step is for a source that can be asked; a file has the samples that it has", code=2)
    if len(asking.services) > 1:
        raise Failure("--csv takes one --service: whose series it is", code=2)
    service = asking.services[0] if asking.services else None
    policy = RollbackPolicy()
    if service is not None:
        if service not in configuration.services:
            raise Failure(unknown("service", service, configuration.services))
        policy = configuration.services[service].service.rollback
    return read_inputs(
        path,
        _one_rule(configuration, asking.rules),
        begin=asking.since,
        end=asking.until,
        service=service,
        deployments=known,
        armed_for=asking.armed_for or policy.armed_for,
    )


def _one_rule(configuration: Configuration, names: tuple[str, ...]) -> Rule:
    from watchdog.config.problems import unknown

    known = configuration.rules
    if len(names) != 1 and len(known) != 1:
        raise Failure(f"--csv is the history of one rule: say which with --rule ({', '.join(known)})", code=2)
    name = names[0] if names else next(iter(known))
    if name not in known:
        raise Failure(unknown("rule", name, known))
    return known[name]


def _folder(chosen: Path | None, *, none: bool) -> Path | None:
    from watchdog.lab.cache import default_folder

    if none and chosen is not None:
        raise Failure("--cache and --no-cache exclude each other", code=2)
    return None if none else chosen or default_folder()


def _asked(configuration: Configuration, asking: _Asking, known: Deployments, folder: Path | None) -> Inputs:
    """Histories from the sources."""
    from watchdog.lab.backtest_inputs import asked_inputs, wanted
    from watchdog.lab.cache import Cache
    from watchdog.lab.history import Span

    if asking.since is None or asking.until is None:
        raise RuntimeError("a source is asked for a span of time")
    checks = wanted(configuration, services=asking.services, rules=asking.rules)
    with _bar("asking") as told:
        return asked_inputs(
            configuration,
            checks,
            Span(begin=asking.since, end=asking.until, step=asking.step),
            deployments=known,
            armed_for=asking.armed_for,
            cache=None if folder is None else Cache(folder),
            progress=told,
        )


def _report(inputs: Inputs, budget: Budget) -> Report:
    """Replay everything. Fails where there is nothing to say at all."""
    from datetime import UTC, datetime

    from watchdog.lab.backtest import check
    from watchdog.lab.history import Unasked
    from watchdog.lab.report import Report

    checks: list[Checked] = []
    unasked = list(inputs.unasked)
    with _bar("replaying") as told:
        for number, subject in enumerate(inputs.subjects):
            told(number, len(inputs.subjects))
            try:
                checks.append(check(subject))
            except ValueError as error:
                unasked.append(Unasked(service=subject.service, rule=subject.rule.name, reason=str(error)))
    if not any(one.known for one in checks):
        why = [f"{one.service}/{one.rule}: {one.reason}" for one in unasked]
        why += [f"{one.subject.service}/{one.subject.rule.name}: {_without(one)}" for one in checks]
        raise Failure(
            "there is nothing to back-test:\n" + "\n".join(f"  {line}" for line in (*why, *inputs.notes))
        )
    return Report(
        made_at=datetime.now(UTC).replace(microsecond=0),
        checks=tuple(checks),
        unasked=tuple(unasked),
        notes=inputs.notes,
        budget=budget,
    )


def _without(one: Checked) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(one.reasons.items()))
    return f"none of {one.samples} samples has a verdict ({reasons})"


def _show(report: Report) -> None:
    from watchdog.cli.output import note, say, table

    columns = [
        "SERVICE",
        "RULE",
        "INCIDENTS",
        "A WEEK",
        "ROLLBACKS",
        "ARMED",
        "BLIND",
        "VALUES",
        "PLAIN ALERTS",
    ]
    table(columns, [_row(one) for one in report.checks])
    for one in report.checks:
        for remark in one.notes:
            note(f"note: {one.subject.service}/{one.subject.rule.name}: {remark}")
    for left in report.unasked:
        note(f"not back-tested: {left.service}/{left.rule}: {left.reason}")
    for (service, rule), words in report.beyond.items():
        say(f"Beyond the budget: {service}/{rule}: {'; '.join(words)}.")


def _row(one: Checked) -> list[str]:
    from datetime import timedelta

    from watchdog.core.quantity import format_quantity
    from watchdog.core.units import format_duration

    values = one.values
    unit = one.subject.rule.unit
    blind = timedelta(seconds=round(one.longest_blindness))
    return [
        one.subject.service,
        one.subject.rule.name,
        str(len(one.incidents)),
        f"{one.incidents_per_week:.2f}",
        str(one.rollbacks),
        "?" if one.near_deployments is None else str(one.near_deployments),
        format_duration(blind) if blind else "-",
        "-"
        if values is None
        else f"{format_quantity(values.median, unit)}, at most {format_quantity(values.max, unit)}",
        "-" if one.plain is None else f"{one.plain.alerts} ({one.plain.alerts_per_week:.2f} a week)",
    ]


def _record(configuration: Configuration, report: Report) -> None:
    """Keep the figures of what was judged as the daemon judges it, and of services that there are."""
    from watchdog.cli.output import note
    from watchdog.lab.record import record

    kept = []
    for one in report.checks:
        where = f"{one.subject.service}/{one.subject.rule.name}"
        if one.subject.service not in configuration.services:
            note(f"not recorded: {where}: --service does not say whose series it is")
        elif not one.known:
            note(f"not recorded: {where}: {_without(one)}")
        elif one.without_evidence:
            note(f"not recorded: {where}: it was judged without its evidence")
        else:
            kept.append(one.record(report.made_at))
    if kept:
        record(configuration.backtest.file, kept)
        note(f"recorded {len(kept)} in {configuration.backtest.file}")


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while something lasts; nothing where that is no terminal."""
    import sys

    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
