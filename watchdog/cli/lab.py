"""`watchdog lab …`: how often rules are wrong, and how soon they are right: labelled series, simulated requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from watchdog.cli.failure import Failure
from watchdog.cli.help import epilog
from watchdog.cli.options import Json

if TYPE_CHECKING:
    from watchdog.core.rule import Direction, Rule
    from watchdog.lab.score import Card
    from watchdog.lab.score_figures import Figures
    from watchdog.lab.simulate_plan import Outcome, Plan
    from watchdog.lab.track import Track

lab = typer.Typer(
    no_args_is_help=True, help="Measure how often rules are wrong, and how soon they are right."
)

RuleName = Annotated[
    str | None,
    typer.Option("--rule", metavar="NAME", help="Which rule of the file. [default: its only one]"),
]
#: The longest that is simulated: beyond it somebody mistyped.
_MOST = 100_000


@lab.callback()
def _group() -> None:
    """Measure how often rules are wrong, and how soon they are right; no daemon is asked, and nothing is switched."""


@lab.command(
    epilog=epilog(
        "watchdog lab score docs/samples/series",
        "watchdog lab score docs/samples/series --json",
        "watchdog lab score docs/samples/series --rules docs/samples/crashes.yaml --rule crashes",
        done="scored, whatever the score is",
        codes={1: "a series or a rule with mistakes, which are told; the rest is scored"},
    )
)
def score(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Labelled series: every *.csv below it, with TimeStamp, Value and Label (1 is anomalous).",
            show_default=False,
        ),
    ],
    direction: Annotated[
        str, typer.Option(metavar="WORD", help="Which values are worse: those above, or those below.")
    ] = "above",
    rules: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Score a rule of this file. [default: one that each series teaches]"
        ),
    ] = None,
    rule: RuleName = None,
    json: Json = False,
) -> None:
    """Score a rule on labelled series, beside the plain rules that people write.

    The first fifth of each series calibrates and is never scored; the rest is judged sample by sample. Events count,
    not points. docs/score-card.md says what is counted how.
    """
    from watchdog.cli.output import note, say_json
    from watchdog.lab.csv_track import read_folder
    from watchdog.lab.score import score as scored

    worse = _direction(direction)
    chosen = _rule(rules, rule)
    read = read_folder(folder, readable=True)
    for problem in read.problems:
        note(f"{problem}; the file is left out")
    tracks = [one.track for one in read.series]
    for said in (*read.skipped, *(f"{one.path}: {text}" for one in read.series for text in one.notes)):
        note(f"note: {said}")
    _labelled(tracks, folder)
    with _progress("scored", len(tracks)) as done:
        try:
            card = scored(tracks, rule=chosen, direction=worse, done=done)
        except ValueError as error:
            raise Failure(str(error)) from error
    for said in card.notes:
        note(f"note: {said}")
    if json:
        say_json(card.plain)
    else:
        _show_card(card)
    if read.problems:
        raise typer.Exit(1)


@lab.command(
    epilog=epilog(
        "watchdog lab simulate --weeks 1 --faults 20",
        "watchdog lab simulate --weeks 1 --faults 20 --blips 2 --blip-length 3m --blip-share 5% --json",
        "watchdog lab simulate rules/web.yaml --rule error-rate --rate 10 --fault 20% --weeks 1 --faults 20",
        done="simulated, whatever was found",
        codes={1: "a rule that cannot be simulated, or a file with mistakes"},
    )
)
def simulate(
    rules: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RULES_FILE]",
            help="Rules, of which one ratio is simulated. [default: 1 % of errors is critical, 1.5 % a rollback]",
            show_default=False,
        ),
    ] = None,
    rule: RuleName = None,
    rate: Annotated[
        list[float] | None,
        typer.Option(
            metavar="NUMBER", help="Requests a second; may be given again. [default: 1, 10 and 100]"
        ),
    ] = None,
    base: Annotated[str, typer.Option(metavar="SHARE", help="How many fail of a healthy service.")] = "0.5%",
    burst: Annotated[
        float,
        typer.Option(
            metavar="NUMBER",
            help="How much that differs from one half minute to the next (its coefficient of variation).",
        ),
    ] = 0.0,
    blips: Annotated[
        float, typer.Option(metavar="NUMBER", help="Short troubles a day that no rollback would help.")
    ] = 0.0,
    blip_length: Annotated[str, typer.Option(metavar="DURATION", help="How long each lasts.")] = "3m",
    blip_share: Annotated[str, typer.Option(metavar="SHARE", help="How many fail meanwhile.")] = "5%",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHARE",
            help="How many fail from some moment on; may be given again. [default: 100% and 20%]",
        ),
    ] = None,
    weeks: Annotated[int, typer.Option(metavar="NUMBER", help="Service-weeks of every rate.")] = 4,
    faults: Annotated[int, typer.Option(metavar="NUMBER", help="Faults of every share and rate.")] = 100,
    recheck: Annotated[
        bool, typer.Option("--recheck/--no-recheck", help="Poll every 5 s while a breach is pending.")
    ] = True,
    seed: Annotated[int, typer.Option(metavar="NUMBER", help="Another one gives other requests.")] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(metavar="NUMBER", help="How many processes. [default: one for each processor]"),
    ] = None,
    json: Json = False,
) -> None:
    """Say how often a healthy service would be rolled back, and how soon a fault is believed.

    Simulated requests are judged by the daemon's own evaluation. Guards are left out, the window after a deployment,
    too: every service counts as armed all the time. The same seed gives the same figures.
    """
    import os

    from msgspec.structs import replace

    from watchdog.cli.output import say_json
    from watchdog.lab.noise import SLOT, Noise
    from watchdog.lab.simulate import DEFAULT, judge_of
    from watchdog.lab.simulate_plan import SOME_RATES, Plan
    from watchdog.lab.simulate_plan import simulate as simulated

    chosen = _rule(rules, rule)
    judge = DEFAULT if chosen is None else judge_of(chosen)
    lasts = _duration("--blip-length", blip_length)
    plan = Plan(
        judge=replace(judge, recheck=recheck),
        noise=Noise(
            healthy=_share("--base", base, least=0.0),
            burst=_within("--burst", burst, 0, 10),
            blips_a_day=_within("--blips", blips, 0, 1000),
            blip_slots=max(1, round(lasts / SLOT)),
            blip_share=_share("--blip-share", blip_share),
        ),
        rates=tuple(dict.fromkeys(_within("--rate", one, 0.001, _MOST) for one in rate or SOME_RATES)),
        weeks=int(_within("--weeks", weeks, 1, _MOST)),
        shares=tuple(dict.fromkeys(_share("--fault", one) for one in fault or ("100%", "20%"))),
        faults=int(_within("--faults", faults, 1, _MOST)),
        seed=seed,
    )
    with _progress("simulated", plan.steps) as done:
        outcomes = simulated(plan, jobs=jobs or os.cpu_count() or 1, done=done)
    if json:
        say_json(_plain(plan, outcomes))
    else:
        _show_outcomes(plan, outcomes)


def _direction(word: str) -> Direction:
    from watchdog.core.rule import Direction

    try:
        return Direction(word)
    except ValueError:
        raise typer.BadParameter(f"{word!r} is no direction; write above or below") from None


def _rule(file: Path | None, name: str | None) -> Rule | None:
    """The rule that was named, if one was."""
    if file is None:
        if name is not None:
            raise typer.BadParameter("--rule names a rule of a file, and no file is given")
        return None
    from watchdog.lab.score_rules import rule_in

    return rule_in(file, name)


def _labelled(tracks: list[Track], folder: Path) -> None:
    """Refuse series that nobody labelled: what is in them would count as health."""
    bare = [track.name for track in tracks if track.labels is None]
    if bare:
        shown = "\n".join(
            f"{folder / name if folder.is_dir() else folder}:1:1: no column Label" for name in bare
        )
        raise Failure(f"labels say what is anomalous, and there are none:\n{shown}")


def _share(option: str, text: str, *, least: float | None = None) -> float:
    """A share of requests: `20%` or 0.2, up to all of them."""
    from watchdog.core.rule import Unit
    from watchdog.core.units import parse_number

    try:
        share = parse_number(text, Unit.RATIO)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None
    if not (0 < share <= 1 or share == least):
        raise typer.BadParameter(f"{option}: {text!r} is no share of requests; write for example 20%")
    return share


def _duration(option: str, text: str) -> float:
    """Seconds."""
    from watchdog.core.units import parse_duration

    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None


def _within(option: str, number: float, least: float, most: float) -> float:
    if not least <= number <= most:
        raise typer.BadParameter(f"{option}: {number:g} is not within {least:g} and {most:g}")
    return number


@contextmanager
def _progress(what: str, steps: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error while something lasts; nothing where that is no terminal."""
    import sys

    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=steps)
        yield lambda: bar.advance(task)


_COLUMNS = (
    *("precision", "recall", "F1", "false a week (95 %)"),
    *("delay, samples", "delay, median", "delay, 95 %", "no verdict"),
)


def _show_card(card: Card) -> None:
    from watchdog.cli.output import say, table

    groups = list(card.folders.items())
    if len(groups) > 1:
        groups.append(("in all", card.total))
    for number, (name, scored) in enumerate(groups):
        say(("\n" if number else "") + f"{name}: {scored.series} series, {scored.events} events")
        levels, baselines = scored.figures
        rows = [(level, *_cells(figures)) for level, figures in levels.items()]
        rows += [(_BESIDE[rule], *_cells(figures)) for rule, figures in baselines.items()]
        table(("level", *_COLUMNS), rows)


_BESIDE = {"naive": "one sample above 150 %", "for3": "for: 3", "burn_rate": "burn rate"}


def _cells(figures: Figures) -> tuple[str, ...]:
    interval = figures.false_per_week_ci
    weekly = _shown(figures.false_per_week)
    return (
        _shown(figures.precision),
        _shown(figures.recall),
        _shown(figures.f1),
        weekly if interval is None else f"{weekly} ({interval[0]:.2f}–{interval[1]:.2f})",
        _shown(figures.delay_samples_median, "g"),
        _lasting(figures.delay_seconds_median),
        _lasting(figures.delay_seconds_p95),
        "–" if figures.abstention is None else f"{figures.abstention:.1%}",
    )


def _shown(number: float | None, form: str = ".2f") -> str:
    return "–" if number is None else format(number, form)


def _lasting(seconds: float | None) -> str:
    from datetime import timedelta

    from watchdog.core.units import format_duration

    return "–" if seconds is None else format_duration(timedelta(seconds=round(seconds)))


def _plain(plan: Plan, outcomes: list[Outcome]) -> dict[str, Any]:
    """As JSON types: what was simulated, every rate, and all of them together."""
    import msgspec

    rows: list[dict[str, Any]] = msgspec.to_builtins(outcomes)
    together = rows.pop()
    del together["rate"]
    return {
        "rule": plan.judge.rule.name,
        "seed": plan.seed,
        "poll_seconds": plan.judge.rule.interval.total_seconds(),
        "recheck": plan.judge.recheck,
        "noise": plan.noise.plain,
        **together,
        "rates": rows,
    }


def _show_outcomes(plan: Plan, outcomes: list[Outcome]) -> None:
    from watchdog.cli.output import say, table
    from watchdog.core.units import format_duration

    rule = plan.judge.rule
    say(
        f"{rule.name}, polled every {format_duration(rule.interval)}: {plan.weeks} service-weeks of health and "
        f"{plan.faults} faults of each share, at every rate; seed {plan.seed}"
    )
    shares = [f"{share:.3g} %" for share in (100 * one for one in plan.shares)]
    columns = (
        "requests/s",
        "false rollbacks a service-week (95 %)",
        *(f"{one} fail: decided after" for one in shares),
    )
    rows = []
    for one in outcomes:
        low, high = one.false_per_week_ci
        delays = [
            f"{_lasting(fault.delay_seconds_median)}, 95 %: {_lasting(fault.delay_seconds_p95)}"
            for fault in one.faults
        ]
        name = "in all" if one.rate is None else f"{one.rate:g}"
        rows.append((name, f"{one.false_per_week:.3g} ({low:.3g}–{high:.3g})", *delays))
    table(columns, rows)
    if any(fault.decided < fault.faults for one in outcomes for fault in one.faults):
        say("– is not decided within half an hour: that is left to people.")
