"""The command `watchdog`: every subcommand in one place. Heavy parts are imported when a subcommand runs.

Exit codes: 0 done, 1 failed, 2 called wrongly, 130 interrupted; `deploy --wait` adds 3 and 4 (design §8).
"""

from __future__ import annotations

from typing import Annotated

import typer

from watchdog import __version__
from watchdog.cli import asking, local, looking
from watchdog.cli.audit import audit
from watchdog.cli.deploy import deploy
from watchdog.cli.failure import PoliteGroup
from watchdog.cli.options import Json, MaybeConfigFile, Token, Url

app = typer.Typer(
    name="watchdog",
    cls=PoliteGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: watchdog demo",
)

_CONFIG = "/etc/rollback-watchdog/watchdog.yaml"


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


def explain(
    identity: Annotated[str, typer.Argument(metavar="ID", help="An incident's or a rollback's id.")],
    url: Url = None,
    token: Token = None,
    config: MaybeConfigFile = None,
    json: Json = False,
) -> None:
    """Replay a decision from its record, and say why."""
    from watchdog.cli.explain import explain as replay_decision

    raise typer.Exit(replay_decision(identity, url=url, token=token, config=config, as_json=json))


app.command(epilog=f"Example: watchdog run -c {_CONFIG}")(local.run)
app.command(epilog=f"Example: watchdog check -c {_CONFIG}")(local.check)
app.command(epilog=f"Example: watchdog doctor -c {_CONFIG}")(local.doctor)
app.command(epilog="Example: watchdog demo --json")(local.demo)
app.command(epilog="Example: watchdog status trips --url http://127.0.0.1:9911")(looking.status)
app.add_typer(
    looking.incidents,
    name="incidents",
    epilog="Example: watchdog incidents --service trips --all\n\nwatchdog incidents ID shows one.",
)
app.command(epilog="Example: watchdog explain rb-1f3a")(explain)
app.command(epilog="Example: watchdog deploy trips --version v1.4.2 --variant green --wait")(deploy)
app.command(epilog='Example: watchdog rollback trips --reason "checkout is broken"')(asking.rollback)
app.command(epilog="Example: watchdog ack inc-1f3a")(asking.ack)
app.command(epilog="Example: watchdog approve inc-1f3a")(asking.approve)
app.command(epilog='Example: watchdog reject inc-1f3a --reason "it is the load test"')(asking.reject)
app.command(epilog='Example: watchdog pause trips --reason "database migration"')(asking.pause)
app.command(epilog="Example: watchdog resume --all")(asking.resume)
app.add_typer(audit, name="audit")
