"""The command `watchdog`: every subcommand in one place. Heavy parts are imported when a subcommand runs.

Exit codes: 0 done, 1 failed, 2 called wrongly, 130 interrupted; `deploy --wait` adds 3 and 4 (design §8).
"""

from __future__ import annotations

from typing import Annotated

import typer

from watchdog import __version__
from watchdog.cli import asking, completing, local, looking, schemas, silences
from watchdog.cli.audit import audit
from watchdog.cli.backtest import backtest
from watchdog.cli.deploy import deploy
from watchdog.cli.failure import PoliteGroup
from watchdog.cli.gitops import gitops
from watchdog.cli.help import CONFIG, epilog
from watchdog.cli.lab import lab
from watchdog.cli.link import Link, linked
from watchdog.cli.outbox import outbox
from watchdog.cli.routes import routes
from watchdog.cli.rules import rules

app = typer.Typer(
    name="watchdog",
    cls=PoliteGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=epilog("watchdog demo", "watchdog status --url http://127.0.0.1:9911", "watchdog rollback --help"),
)


def main() -> None:
    """The entry point of `watchdog`, `rollback-watchdog` and `python -m watchdog`."""
    app(prog_name="watchdog")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"rollback-watchdog {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Stands behind every deployment and moves traffic back when the new version is bad."""


@linked
def explain(
    identity: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="An incident's or a rollback's id.", autocompletion=completing.decisions
        ),
    ],
    link: Link,
) -> None:
    """Replay a decision from its record, and say why.

    Every decision is taken once more from what was recorded, and must come out the same.
    """
    from watchdog.cli.explain import explain as replay_decision

    raise typer.Exit(replay_decision(identity, link.where, as_json=link.json))


app.command(epilog=epilog(f"watchdog run -c {CONFIG}", done="stopped cleanly"))(local.run)
app.command(
    epilog=epilog(
        f"watchdog check -c {CONFIG}",
        f"watchdog check -c {CONFIG} --json",
        done="no mistakes",
        codes={1: "mistakes, one a line on standard output"},
    )
)(local.check)
app.command(
    epilog=epilog(
        f"watchdog doctor -c {CONFIG}",
        f"watchdog doctor -c {CONFIG} --json",
        f"watchdog doctor -c {CONFIG} --role",
        f"watchdog doctor -c {CONFIG} --send-test log",
        done="all would work",
        codes={1: "something would not; the table says what to do"},
    )
)(local.doctor)
app.command(
    epilog=epilog("watchdog demo", "watchdog demo --json", "watchdog demo --keep", done="rolled back")
)(local.demo)
app.command(
    epilog=epilog(
        "watchdog status",
        "watchdog status trips",
        "watchdog status --watch --interval 5s",
        f"watchdog status -c {CONFIG} --json",
        done="shown, whatever it shows",
    )
)(looking.status)
app.command(
    epilog=epilog(
        "watchdog explain rb-1f3a",
        "watchdog explain inc-1f3a",
        done="every decision came out as it was recorded",
        codes={1: "one did not, or there is no such id"},
    )
)(explain)
app.command(
    epilog=epilog(
        "watchdog deploy trips --version v1.4.2 --variant green",
        "watchdog deploy trips --version v1.4.2 --variant green --wait --timeout 40m",
        "watchdog deploy trips --version v1.4.2 --variant green --rollback forbidden --label commit=4f2c",
        done="recorded; with --wait: stable",
        codes={3: "rolled back", 4: "undecided at the timeout, or superseded"},
    )
)(deploy)
app.command(
    epilog=epilog(
        'watchdog rollback trips --reason "checkout is broken"',
        'watchdog rollback trips --to v1.4.1 --reason "checkout is broken"',
        done="under way",
    )
)(asking.rollback)
app.command(epilog=epilog("watchdog ack inc-1f3a", "watchdog ack inc-1f3a --for 4h", done="acknowledged"))(
    asking.ack
)
app.command(
    epilog=epilog('watchdog unack inc-1f3a --reason "not my service"', done="not acknowledged any more")
)(asking.unack)
app.command(epilog=epilog("watchdog approve inc-1f3a", done="approved"))(asking.approve)
app.command(epilog=epilog('watchdog reject inc-1f3a --reason "it is the load test"', done="rejected"))(
    asking.reject
)
app.command(
    epilog=epilog('watchdog pause trips --reason "database migration"', "watchdog pause --all", done="paused")
)(asking.pause)
app.command(epilog=epilog("watchdog resume trips", "watchdog resume --all", done="resumed"))(asking.resume)
app.command(epilog=epilog('watchdog taint trips v1.4.1 --reason "leaks memory"', done="tainted"))(
    asking.taint
)
app.command(
    epilog=epilog('watchdog untaint trips v1.4.1 --reason "it was the database"', done="not tainted")
)(asking.untaint)
app.command(
    name="mark-good",
    epilog=epilog('watchdog mark-good trips v1.4.1 --reason "served for a year"', done="stable"),
)(asking.mark_good)
app.command(
    epilog=epilog(
        'watchdog silence --service trips --for 2h --reason "load test"',
        'watchdog silence --service trips --rule error-rate --for 30m --reason "known, being repaired"',
        'watchdog silence --match label.team=booking --severity medium --for 1d --reason "moving house"',
        done="silent",
    )
)(silences.silence)
app.add_typer(
    looking.incidents,
    name="incidents",
    epilog=epilog(
        "watchdog incidents",
        "watchdog incidents --service trips --all --limit 50",
        "watchdog incidents inc-1f3a",
    ),
)
app.add_typer(
    silences.silences,
    name="silences",
    epilog=epilog("watchdog silences", "watchdog silences --all --json", "watchdog silences expire sil-1f3a"),
)
app.add_typer(
    outbox,
    name="outbox",
    epilog=epilog(
        "watchdog outbox",
        "watchdog outbox --state dead",
        "watchdog outbox --state pending --channel log --json",
        "watchdog outbox retry KEY",
    ),
)
app.add_typer(
    gitops,
    name="gitops",
    epilog=epilog('watchdog gitops resume trips --reason "v1.4.2 is reverted in Git"', done="resumed"),
)
app.command(
    epilog=epilog(
        f"watchdog backtest -c {CONFIG} --last 30d",
        f"watchdog backtest -c {CONFIG} --from 2026-10-01 --to 2026-11-01 --html report.html",
        f"watchdog backtest -c {CONFIG} --rule error-rate --csv errors.csv --max-rollbacks 0 --max-noise 2 --json",
        done="replayed, and within the budget where there is one",
        codes={1: "a rule is beyond the budget, or there is nothing to replay"},
    )
)(backtest)
app.add_typer(routes, name="routes")
app.add_typer(rules, name="rules")
app.add_typer(lab, name="lab")
app.add_typer(audit, name="audit")
app.add_typer(schemas.schema, name="schema")
