"""`watchdog rules suggest`: thresholds, holds and evidence for a rule, learnt from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchdog.cli import completing
from watchdog.cli.failure import Failure
from watchdog.cli.help import CONFIG, epilog
from watchdog.cli.options import Json

if TYPE_CHECKING:
    from datetime import timedelta

    from watchdog.config.loaded import Configuration
    from watchdog.core.rule import Rule
    from watchdog.lab.suggest import Suggestion
    from watchdog.lab.suggest_words import Origins
    from watchdog.lab.track import Track

#: How far back a source is asked without --last.
LAST = "14d"
EPILOG = epilog(
    "watchdog rules suggest --csv docs/samples/series/latency/api.csv --unit none --direction above",
    "watchdog rules suggest --csv docs/samples/series/crashes --unit count --direction above --json",
    f"watchdog rules suggest -c {CONFIG} --rule error-rate --service trips --last 14d",
    done="suggested",
    codes={1: "nothing can be suggested, or something is missing; what and why stands on standard error"},
)


def suggest(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration with the rule.")
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            metavar="NAME",
            help="The rule that is to get limits; those that it has do not matter.",
            autocompletion=completing.rules,
        ),
    ] = None,
    service: Annotated[
        str | None,
        typer.Option(
            "--service",
            metavar="NAME",
            help="On which service. [default: the only one that uses the rule]",
            autocompletion=completing.services,
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(
            "--last",
            metavar="DURATION",
            help=f"How far back the rule's source is asked. [default: {LAST}]",
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="PATH",
            help="Learn from series (TimeStamp,Value[,Label][,Events][,Bad]) of one file, or of every *.csv below a "
            "folder, instead.",
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit",
            metavar="WORD",
            help="What values in files are: ratio (0 to 1), seconds, bytes, count or none.",
        ),
    ] = None,
    direction: Annotated[
        str | None,
        typer.Option("--direction", metavar="WORD", help="Which values in files are worse: above or below."),
    ] = None,
    json: Json = False,
) -> None:
    """Propose limits for a rule, from what it measured, with the noise that they would make.

    What is printed is YAML, to be pasted into the rule: every number has its reason beside it. The first part of the
    history teaches, the rest measures the noise. Unit and direction are those of the rule or of the options, never
    guessed. docs/how-to/suggest.md says how limits are found.
    """
    from watchdog.cli.output import note, say_json
    from watchdog.lab.suggest import Unsuggestable
    from watchdog.lab.suggest import suggest as suggested
    from watchdog.lab.suggest_words import plain, snippet

    subjects, origins = _subjects(config, rule, service, last, csv, unit, direction)
    found: list[Suggestion] = []
    failed: list[str] = []
    with _bar("suggesting") as told:
        for number, (asked, track) in enumerate(subjects):
            told(number, len(subjects))
            try:
                found.append(suggested(asked, track))
            except Unsuggestable as error:
                failed.append(str(error))
    if not found:
        raise Failure("\n".join(failed))
    for reason in failed:
        note(f"note: {reason}")
    if json:
        say_json({"suggestions": [plain(one, origins) for one in found]})
    else:
        _say("\n".join(snippet(one, origins) for one in found).rstrip("\n"))


def _say(yaml: str) -> None:
    """YAML on standard output: a line keeps its indentation, and nothing in it moves a cursor."""
    from watchdog.telemetry.redact import one_line

    for line in yaml.split("\n"):
        text = line.lstrip(" ")
        typer.echo(" " * (len(line) - len(text)) + one_line(text))


def _subjects(
    config: Path | None,
    rule: str | None,
    service: str | None,
    last: str | None,
    csv: Path | None,
    unit: str | None,
    direction: str | None,
) -> tuple[list[tuple[Rule, Track]], Origins]:
    """What is to be suggested for, and where unit and direction are from."""
    from watchdog.lab.suggest_words import Origins

    if csv is not None and (service is not None or last is not None):
        raise typer.BadParameter(
            "--service and --last are for a source that is asked; --csv has its own time"
        )
    if (config is None) != (rule is None):
        raise typer.BadParameter("a rule is named by both -c FILE and --rule NAME")
    if config is None or rule is None:
        if csv is None:
            raise typer.BadParameter("learn from what? Give -c FILE and --rule NAME, or --csv PATH")
        tracks = _read(csv)
        subjects = [(_bare(track, *_meaning(track, unit, direction)), track) for track in tracks]
        return subjects, Origins(unit="from --unit", direction="from --direction", pasted=True)
    if unit is not None or direction is not None:
        raise typer.BadParameter("--unit and --direction are for --csv without a rule; the rule has its own")
    configuration, found = _configured(config, rule)
    origins = Origins(unit="the rule's", direction="the rule's")
    if csv is not None:
        return [(found, track) for track in _read(csv)], origins
    return [(found, _asked(configuration, found, service, _duration(last or LAST)))], origins


def _configured(config: Path, name: str) -> tuple[Configuration, Rule]:
    """The configuration, and its rule of that name."""
    import os

    from watchdog.config.load import load
    from watchdog.config.problems import unknown

    configuration = load(config, environ=os.environ)
    if name not in configuration.rules:
        raise Failure(unknown("rule", name, configuration.rules))
    rule = configuration.rules[name]
    if rule.is_probe:
        raise Failure(f"{name} is a probe: its limits are counts of failures, and no history tells them")
    if rule.slo is not None:
        raise Failure(f"{name} has an `slo`: its limits follow from the objective, not from history")
    return configuration, rule


def _asked(configuration: Configuration, rule: Rule, service: str | None, span: timedelta) -> Track:
    """What the rule's source remembers of it, on one service."""
    from datetime import UTC, datetime

    from watchdog.cli.output import note
    from watchdog.lab.cache import Cache, default_folder
    from watchdog.lab.history import Span, histories

    name = _service(configuration, rule, service)
    until = datetime.now(UTC).replace(microsecond=0)
    with _bar("asking") as told:
        answered = histories(
            configuration,
            [(name, rule.name)],
            Span(begin=until - span, end=until),
            cache=Cache(default_folder()),
            progress=told,
        )
    for remark in answered.notes:
        note(f"note: {remark}")
    for left in answered.unasked:
        raise Failure(f"{left.service}/{left.rule}: {left.reason}")
    (history,) = answered.found
    for remark in history.notes:
        note(f"note: {remark}")
    return history.track


def _service(configuration: Configuration, rule: Rule, wanted: str | None) -> str:
    """The service that is meant: the only one that uses the rule need not be named."""
    from watchdog.config.problems import unknown

    using = [name for name, entry in configuration.services.items() if rule.name in entry.service.rules]
    if wanted is None:
        if len(using) == 1:
            return using[0]
        many = f"{len(using)} services use {rule.name}: say which with --service ({', '.join(using)})"
        raise Failure(many if using else f"no service uses {rule.name}")
    if wanted not in configuration.services:
        raise Failure(unknown("service", wanted, configuration.services))
    if wanted not in using:
        raise Failure(f"service {wanted!r} does not use {rule.name}")
    return wanted


def _read(path: Path) -> list[Track]:
    from watchdog.cli.output import note
    from watchdog.lab.csv_track import read_folder

    read = read_folder(path)
    for said in (*read.skipped, *(f"{one.path}: {text}" for one in read.series for text in one.notes)):
        note(f"note: {said}")
    return [one.track for one in read.series]


def _meaning(track: Track, unit: str | None, direction: str | None) -> tuple[str, str]:
    """Unit and direction, which nobody guesses: what is missing is asked for, with what the values look like."""
    from watchdog.core.rule import Unit
    from watchdog.lab.suggest_look import look

    missing = []
    if unit is None:
        missing.append("--unit (ratio, seconds, bytes, count or none) says what that is")
    if direction is None:
        missing.append("--direction (above or below) says which values are worse")
    if missing:
        seen = look(track)
        values = f"values lie {seen.values(Unit.NONE)}" if seen.usable else "there are no values"
        raise Failure(f"{track.name}: {values}; {' and '.join(missing)}")
    return unit or "", direction or ""


def _bare(track: Track, unit: str, direction: str) -> Rule:
    """A rule around a series of which no rule is known: what is pasted goes under the form that somebody wrote."""
    from datetime import timedelta

    from watchdog.core.rule import Aggregate, Direction, Gauge, Query, Ratio, Rule, Unit

    try:
        what, side = Unit(unit), Direction(direction)
        if what is Unit.TIMES:
            raise ValueError(unit)
    except ValueError as fault:
        word = unit if repr(unit) in str(fault) or str(fault) == unit else direction
        known = "ratio, seconds, bytes, count or none" if word == unit else "above or below"
        raise typer.BadParameter(f"{word!r} is not one of {known}") from None
    step = timedelta(seconds=track.step or 60.0)
    form: Ratio | Query | Gauge = Gauge(of="value", by=Aggregate.MAX)
    if track.events is not None:
        bad = what is Unit.RATIO
        form = Ratio(bad="bad", total="total") if bad else Query(query="value", events="events")
    return Rule(name=track.name, form=form, unit=what, direction=side, interval=step, window=step)


def _duration(text: str) -> timedelta:
    from watchdog.core.units import parse_duration

    try:
        duration = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"--last: {error}") from None
    if not duration:
        raise typer.BadParameter("--last: it must last")
    return duration


@contextmanager
def _bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error while something lasts; nothing where that is no terminal."""
    import sys

    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what)
        yield lambda done, total: bar.update(task, completed=done, total=total)
