"""`watchdog rules …`: what can be done with rules before anybody is woken by them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchdog.cli import completing, suggest
from watchdog.cli.failure import Failure
from watchdog.cli.help import epilog
from watchdog.cli.options import Json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from watchdog.lab.testfile_run import Ran

rules = typer.Typer(no_args_is_help=True, help="Test rules, and find their thresholds.")


@rules.callback()
def _group() -> None:
    """Test rules, and find their thresholds; no daemon is asked, and nothing is switched."""


@rules.command(
    name="test",
    epilog=epilog(
        "watchdog rules test rules/web.test.yaml",
        "watchdog rules test rules/canary.test.yaml --coverage",
        "watchdog rules test rules --filter blip --json",
        "watchdog rules test rules/*.test.yaml -k errors --junit report.xml",
        done="every test came out as expected",
        codes={1: "one did not, or a file has mistakes: each a line FILE:LINE:COL: message"},
    ),
)
def play(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE…",
            help="Files with tests of rules, or folders in which every *.test.yaml is one.",
            autocompletion=completing.rule_tests,
        ),
    ],
    only: Annotated[
        str, typer.Option("--filter", "-k", metavar="TEXT", help="Only tests whose names contain this.")
    ] = "",
    coverage: Annotated[
        bool, typer.Option("--coverage", help="List the rules and levels that no test reached.")
    ] = False,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML there, for a CI service.")
    ] = None,
    json: Json = False,
) -> None:
    """Play tests of rules, and say what did not come out as expected.

    Each test is a series of values, what happens meanwhile, and what must come of it. The daemon's own evaluation,
    guards, routes and escalations are played on a virtual clock: an hour takes milliseconds, and nothing is asked.
    """
    import os
    import time

    from watchdog.cli import tested
    from watchdog.cli.output import say, say_json
    from watchdog.lab.testfile_run import covered, run

    ran: list[Ran] = []
    for path in _files(files):
        ran.append(run(path, environ=os.environ, timer=time.perf_counter, only=only))
        if not json:
            tested.show(ran[-1])
    if only and not any(one.outcomes or one.problems for one in ran):
        raise Failure(f"no test's name contains {only!r}")
    if junit is not None:
        _write(junit, ran)
    reached = covered(ran) if coverage else None
    if json:
        say_json(tested.plain(ran, reached))
    else:
        if reached is not None:
            tested.show_covered(reached)
        say(tested.summary(ran))
    raise typer.Exit(0 if all(one.ok for one in ran) else 1)


rules.command(name="suggest", epilog=suggest.EPILOG)(suggest.suggest)


def _files(named: Sequence[Path]) -> list[Path]:
    """The files themselves, and those in folders, each once."""
    from watchdog.config.rule_files import is_test

    found: dict[Path, None] = {}
    for path in named:
        if not path.is_dir():
            found[path] = None
            continue
        inside = sorted(one for one in path.rglob("*") if is_test(one.name) and one.is_file())
        if not inside:
            raise Failure(f"there is no *.test.yaml in {path}")
        found |= dict.fromkeys(inside)
    return list(found)


def _write(path: Path, ran: Sequence[Ran]) -> None:
    from watchdog.lab.junit import junit

    try:
        path.write_text(junit(ran), encoding="utf-8")
    except OSError as fault:
        raise Failure(f"{path} cannot be written: {fault.strerror or fault}") from None
