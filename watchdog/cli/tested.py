"""What `watchdog rules test` shows: a line for each test, what failed with a chart of it, and what was never reached.

What stands in files may hold escape sequences; this module must never hand one to a terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from watchdog.cli.output import say
from watchdog.telemetry.redact import one_line

if TYPE_CHECKING:
    from watchdog.lab.expectations import Failed
    from watchdog.lab.testfile_run import Covered, Outcome, Ran

_COLOURS: dict[str, dict[str, Any]] = {
    "green": {"fg": "green"},
    "yellow": {"fg": "yellow"},
    "magenta": {"fg": "magenta"},
    "cyan": {"fg": "cyan"},
    "red": {"fg": "red"},
    "bold red": {"fg": "red", "bold": True},
    "bold yellow": {"fg": "yellow", "bold": True},
    "bold": {"bold": True},
    "dim": {"dim": True},
}
#: How far what belongs to a test is set in.
_INDENT = "      "
#: Without a terminal lines are as long as this.
_WIDTH = 100


def show(ran: Ran) -> None:
    """One file: its name, and a line for each test; for one with mistakes these alone, as `watchdog check` has them."""
    if ran.problems:
        for problem in ran.problems:
            say(str(problem))
        return
    if ran.outcomes:
        say(str(ran.path))
    for outcome in ran.outcomes:
        _outcome(outcome)


def summary(ran: Sequence[Ran]) -> str:
    """How many tests there were, how many failed, in how many seconds."""
    outcomes = [outcome for one in ran for outcome in one.outcomes]
    failed = sum(not one.ok for one in outcomes)
    broken = sum(bool(one.problems) for one in ran)
    words = [_counted(len(outcomes), "test"), f"{failed} failed"]
    if broken:
        words.append(f"{_counted(broken, 'file')} with mistakes")
    return f"{', '.join(words)}, {sum(one.seconds for one in outcomes):.2f} s"


def show_covered(covered: Covered) -> None:
    """The rules and levels that no test reached."""
    say(
        f"{covered.reached} of {_counted(covered.levels, 'level')} of {_counted(covered.rules, 'rule')} reached"
    )
    for name, levels in covered.missing:
        _say([(f"  {name}: never {', '.join(levels)}", "")])


def plain(ran: Sequence[Ran], covered: Covered | None) -> dict[str, Any]:
    """Everything, for programs."""
    outcomes = [outcome for one in ran for outcome in one.outcomes]
    answer: dict[str, Any] = {
        "ok": all(one.ok for one in ran),
        "tests": len(outcomes),
        "failed": sum(not one.ok for one in outcomes),
        "seconds": round(sum(one.seconds for one in outcomes), 3),
        "files": [
            {
                "file": str(one.path),
                "problems": [
                    {
                        "file": str(problem.at.file),
                        "line": problem.at.line,
                        "column": problem.at.column,
                        "message": problem.message,
                    }
                    for problem in one.problems
                ],
                "tests": [_plain(outcome) for outcome in one.outcomes],
            }
            for one in ran
        ],
    }
    if covered is not None:
        answer["coverage"] = {
            "rules": covered.rules,
            "levels": covered.levels,
            "reached": covered.reached,
            "missing": {name: list(levels) for name, levels in covered.missing},
        }
    return answer


def _plain(outcome: Outcome) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "name": outcome.case.name,
        "line": outcome.case.at.line,
        "ok": outcome.ok,
        "seconds": round(outcome.seconds, 3),
        "failures": [
            {"place": one.place, "expected": one.expected, "instead": one.instead} for one in outcome.failed
        ],
    }
    if not outcome.ok:
        answer["happenings"] = [
            {"at_seconds": one.at.total_seconds(), "what": one.what, **one.facts}
            for one in outcome.recording.happenings
        ]
    return answer


def _outcome(outcome: Outcome) -> None:
    word, colour = ("ok", "green") if outcome.ok else ("FAIL", "bold red")
    _say([(f"  {word:<4}", colour), (f"  {outcome.case.name}", "")])
    if outcome.ok:
        return
    for one in outcome.failed:
        _failed(one)
    _picture(outcome)


def _failed(one: Failed) -> None:
    place = f"{one.place}: " if one.place else ""
    _say([(f"{_INDENT}{place}expected {one.expected}", "")])
    _say([(f"{_INDENT}  {one.instead}", "")])


def _picture(outcome: Outcome) -> None:
    from watchdog.lab.timeline_picture import PLAIN, Strokes, picture

    width = shutil.get_terminal_size((_WIDTH, 24)).columns - len(_INDENT)
    rules = [
        str(rule) for one in outcome.case.expectations for rule in one.facts.get("rule", ()) if one.place
    ]
    strokes = Strokes() if _writes("▁█╌·▲│…→") else PLAIN
    for line in picture(outcome.case.script, outcome.recording, width=width, first=rules, strokes=strokes):
        _say([(_INDENT, ""), *line])


def _say(spans: Sequence[tuple[str, str]]) -> None:
    """One line with colours, where they are wanted."""
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    text = "".join(
        typer.style(clean, **_COLOURS[style]) if coloured and style and clean else clean
        for clean, style in ((_harmless(text), style) for text, style in spans)
    ).rstrip()
    typer.echo(text if _writes(text) else text.encode("ascii", "replace").decode())


def _harmless(text: str) -> str:
    """The text on one line, with its blanks at both ends."""
    return one_line(f"|{text}|")[1:-1]


def _writes(text: str) -> bool:
    """Whether what reads us can show this."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
